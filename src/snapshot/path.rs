//! A raw request target becomes what routing matches on, or is refused with 400.
//!
//! ```text
//! "/a//b%20c/../d?q=1" ──► path "/a/d" · query "q=1" · raw "/a//b%20c/../d?q=1" (what goes upstream)
//! ```
//!
//! The path is percent-decoded once and never again, its dot segments are resolved, its slashes merged, its
//! trailing slash kept. A clean one is borrowed after one scan; only others pay for a copy.
//!
//! The raw target goes upstream, so whatever an origin could read differently from us is a way around a
//! filter. Where readings differ, this is what happens:
//!
//! | Written | Read as | Why |
//! |---|---|---|
//! | `%2F` between plain segments | a slash, as nginx does | `/admin%2Fx` must meet the filters of `/admin`: most origins decode before they route, and refusing it would break identifiers such as `/projects/group%2Fname` |
//! | `%2F` at a dot segment (`a%2F..`), or `..` back over one | refused | segment-wise readers see another path |
//! | `..` right after an empty segment (`/a//..`) | refused | RFC 3986 removes the empty segment, nginx removes `a` |
//! | `.;x`, `..;x` | refused | servlet containers drop the parameter and climb |
//! | `;x` on a plain segment | part of the segment, as in nginx | servlet containers cut it off: in front of one, give the routes that matter a `regex` such as `^/admin(;[^/]*)?(/\|$)` |
//! | `\`, raw or encoded | refused | a slash to some origins, a character to others |
//! | `..` above the root | refused | RFC 3986 drops it, others climb |
//! | control bytes, raw or encoded; a raw space | refused | NUL ends strings, CR and LF end lines |
//! | `%` without two hex digits | refused | each reader repairs it in a way of its own |
//! | bytes that are not UTF-8, raw or decoded | refused | routes are text; lossy text would match what was not sent |
//! | `#` | refused | a fragment is never sent (RFC 9112 §3.2) |

use std::borrow::Cow;

#[cfg(test)]
mod tests;

/// What a request line (or `:path`) asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// `*`: the server as a whole. Only `OPTIONS` may ask for it (RFC 9112 §3.2.4).
    Server,
    Resource(Resource<'a>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource<'a> {
    /// From `http://authority/path`, as sent; it stands in for `Host` (RFC 9112 §3.2.2).
    pub authority: Option<&'a str>,
    /// Normalized: begins with a slash, holds no empty and no dot segment.
    pub path: Cow<'a, str>,
    /// As sent, without the question mark.
    pub query: Option<&'a str>,
    /// Path and query as sent; begins with a slash. It holds no control byte and no space.
    pub raw: Cow<'a, str>,
}

/// Why a target is refused; answered 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    #[error("the target is neither a path nor an http:// or https:// URL")]
    Form,
    #[error("the target holds bytes that are not UTF-8")]
    NotUtf8,
    #[error("the target holds a control byte")]
    Control,
    #[error("the target holds a space")]
    Space,
    #[error("the target holds a fragment (\"#\")")]
    Fragment,
    #[error("the path holds a backslash")]
    Backslash,
    #[error("the path holds a \"%\" without two hex digits after it")]
    Escape,
    #[error("\"..\" climbs above the root of the path")]
    AboveRoot,
    #[error("a dot segment stands where servers read the path differently (beside \"%2F\" or \"//\")")]
    AmbiguousDots,
    #[error("a dot segment has a parameter (\"..;\")")]
    DotParameter,
}

impl<'a> Target<'a> {
    pub fn parse(target: &'a [u8]) -> Result<Self, BadTarget> {
        let target = std::str::from_utf8(target).map_err(|_| BadTarget::NotUtf8)?;
        match target {
            "*" => Ok(Self::Server),
            _ if target.starts_with('/') => Resource::from_path(None, target).map(Self::Resource),
            _ => Resource::from_url(target).map(Self::Resource),
        }
    }
}

impl<'a> Resource<'a> {
    fn from_url(url: &'a str) -> Result<Self, BadTarget> {
        let (scheme, rest) = url.split_once("://").ok_or(BadTarget::Form)?;
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return Err(BadTarget::Form);
        }
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.is_empty() {
            return Err(BadTarget::Form);
        }
        if rest.starts_with('/') {
            return Self::from_path(Some(authority), rest);
        }
        // `http://host` and `http://host?query` ask for the root.
        let query = rest.strip_prefix('?').map(check_query).transpose()?;
        let raw = match query {
            Some(query) => Cow::Owned(format!("/?{query}")),
            None if rest.is_empty() => Cow::Borrowed("/"),
            None => return Err(BadTarget::Fragment),
        };
        Ok(Self { authority: Some(authority), path: Cow::Borrowed("/"), query, raw })
    }

    /// `raw` begins with a slash.
    fn from_path(authority: Option<&'a str>, raw: &'a str) -> Result<Self, BadTarget> {
        let clean = clean_length(raw.as_bytes());
        let (path, query) = match raw[clean..].split_once('?') {
            Some((rest, query)) => (&raw[..clean + rest.len()], Some(check_query(query)?)),
            None => (raw, None),
        };
        let path = if path.len() == clean { Cow::Borrowed(path) } else { Cow::Owned(Normalizer::run(path)?) };
        Ok(Self { authority, path, query, raw: Cow::Borrowed(raw) })
    }
}

/// Appends `text` as a path: what RFC 3986 §3.3 does not let a path hold is percent-encoded, `%` included.
pub fn encode_into(out: &mut String, text: &str) {
    text.bytes().for_each(|byte| encode_byte(out, byte));
}

pub(super) fn encode_byte(out: &mut String, byte: u8) {
    if byte == b'/' || is_path_character(byte) {
        out.push(char::from(byte));
    } else {
        escape_byte(out, byte);
    }
}

pub(super) fn escape_byte(out: &mut String, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(HEX[usize::from(byte >> 4)]));
    out.push(char::from(HEX[usize::from(byte & 15)]));
}

/// `pchar` without the escapes.
fn is_path_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte)
}

fn check_query(query: &str) -> Result<&str, BadTarget> {
    match query.bytes().find(|byte| *byte <= b' ' || *byte == 0x7F || *byte == b'#') {
        None => Ok(query),
        Some(b' ') => Err(BadTarget::Space),
        Some(b'#') => Err(BadTarget::Fragment),
        Some(_) => Err(BadTarget::Control),
    }
}

#[derive(Clone, Copy)]
enum Class {
    Plain,
    Slash,
    /// Ends the path, must be decoded, or must be refused.
    Stop,
}

static CLASS: [Class; 256] = {
    let mut table = [Class::Plain; 256];
    let mut byte = 0;
    while byte <= b' ' as usize {
        table[byte] = Class::Stop;
        byte += 1;
    }
    table[0x7F] = Class::Stop;
    table[b'%' as usize] = Class::Stop;
    table[b'?' as usize] = Class::Stop;
    table[b'#' as usize] = Class::Stop;
    table[b'\\' as usize] = Class::Stop;
    table[b'/' as usize] = Class::Slash;
    table
};

/// How much of the target's beginning is a path that is normal already.
fn clean_length(target: &[u8]) -> usize {
    target
        .iter()
        .enumerate()
        .position(|(at, byte)| match CLASS[usize::from(*byte)] {
            Class::Plain => false,
            Class::Slash => !begins_plain_segment(&target[at + 1..]),
            Class::Stop => true,
        })
        .unwrap_or(target.len())
}

/// False where an empty segment begins, or one of dots.
fn begins_plain_segment(rest: &[u8]) -> bool {
    match rest {
        [b'/', ..] => false,
        [b'.', rest @ ..] => {
            let rest = rest.strip_prefix(b".").unwrap_or(rest);
            !matches!(rest, [] | [b'/' | b'?' | b';', ..])
        }
        _ => true,
    }
}

/// What stands at either end of a segment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Edge {
    Slash,
    EncodedSlash,
    End,
}

/// Writes the normalized path segment by segment.
struct Normalizer {
    /// Ends with a slash wherever a segment begins.
    out: Vec<u8>,
    /// Where the current segment begins in `out`.
    segment: usize,
    opened_by: Edge,
    /// `..` must not step back from here or before: what it would remove is read in two ways.
    ambiguous: usize,
}

impl Normalizer {
    /// `path` begins with a slash and has no query.
    fn run(path: &str) -> Result<String, BadTarget> {
        let mut out = Vec::with_capacity(path.len());
        out.push(b'/');
        let mut normalizer = Self { out, segment: 1, opened_by: Edge::Slash, ambiguous: 0 };
        let mut rest = &path.as_bytes()[1..];
        while let [byte, after @ ..] = rest {
            rest = after;
            match byte {
                b'/' => normalizer.end_segment(Edge::Slash)?,
                b'%' => {
                    let (decoded, after) = decode_escape(rest)?;
                    rest = after;
                    match decoded {
                        b'/' => normalizer.end_segment(Edge::EncodedSlash)?,
                        _ => normalizer.push(decoded)?,
                    }
                }
                b' ' => return Err(BadTarget::Space),
                b'#' => return Err(BadTarget::Fragment),
                byte => normalizer.push(*byte)?,
            }
        }
        normalizer.end_segment(Edge::End)?;
        String::from_utf8(normalizer.out).map_err(|_| BadTarget::NotUtf8)
    }

    fn push(&mut self, byte: u8) -> Result<(), BadTarget> {
        match byte {
            b'\\' => Err(BadTarget::Backslash),
            _ if byte.is_ascii_control() => Err(BadTarget::Control),
            _ => {
                self.out.push(byte);
                Ok(())
            }
        }
    }

    fn end_segment(&mut self, closed_by: Edge) -> Result<(), BadTarget> {
        let encoded = self.opened_by == Edge::EncodedSlash || closed_by == Edge::EncodedSlash;
        match &self.out[self.segment..] {
            b"" => self.ambiguous = self.segment,
            b"." | b".." if encoded => return Err(BadTarget::AmbiguousDots),
            b"." => self.out.truncate(self.segment),
            b".." => self.step_back()?,
            [b'.', b';', ..] | [b'.', b'.', b';', ..] => return Err(BadTarget::DotParameter),
            _ if closed_by == Edge::End => {}
            _ => {
                self.out.push(b'/');
                if encoded {
                    self.ambiguous = self.out.len();
                }
            }
        }
        self.segment = self.out.len();
        self.opened_by = closed_by;
        Ok(())
    }

    /// Removes the current `..` and the segment before it.
    fn step_back(&mut self) -> Result<(), BadTarget> {
        if self.segment <= self.ambiguous {
            return Err(BadTarget::AmbiguousDots);
        }
        let before = &self.out[..self.segment - 1];
        let slash = before.iter().rposition(|byte| *byte == b'/').ok_or(BadTarget::AboveRoot)?;
        self.out.truncate(slash + 1);
        Ok(())
    }
}

/// The byte that two hex digits stand for, and what follows them.
fn decode_escape(rest: &[u8]) -> Result<(u8, &[u8]), BadTarget> {
    let [high, low, after @ ..] = rest else { return Err(BadTarget::Escape) };
    match (hex_digit(*high), hex_digit(*low)) {
        (Some(high), Some(low)) => Ok((high << 4 | low, after)),
        (None, _) | (_, None) => Err(BadTarget::Escape),
    }
}

pub(super) fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}
