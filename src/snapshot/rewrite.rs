//! What a matched request becomes: the target that goes upstream, or the `Location` of a redirect.
//!
//! ```text
//! normalized path ──► full | prefix | regex ──► percent-encoded ─┬─► upstream: path?query
//! raw target, where nothing rewrites the path ──► untouched ─────┴─► Location: scheme://host:port/path?query
//! ```
//!
//! Text from the file keeps its own escapes (`/caf%C3%A9` and `/café` are the same); text from the request is
//! encoded, `%` included, so that nothing is decoded twice. A rewritten path begins with one slash and holds no
//! `//`. Nothing that comes out holds a control byte, a space or a byte that is not ASCII, save the raw target.

use std::borrow::Cow;

use regex::Captures;

use crate::model::{PathMatch, PathRewrite, Redirect};

use super::path::{encode_byte, escape_byte, hex_digit};
use super::request::RequestView;
use super::router::prefix_text;

#[cfg(test)]
mod tests;

/// Why a rewrite gives nothing that may be sent; answered 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRewrite {
    /// `^/img(.*)` to `/files/$1` makes `/files/../x` of `/img../x`: the way out of many an nginx `alias`.
    #[error("the rewritten path would hold a dot segment")]
    DotSegment,
    #[error("the request names no host that the redirect could lead to")]
    NoHost,
}

/// Path and query for the upstream. `raw` is the client's, which goes on untouched where no rewrite applies.
pub fn upstream_target<'a>(
    rewrite: Option<&PathRewrite>,
    matched: &PathMatch,
    request: &RequestView<'_>,
    raw: &'a str,
) -> Result<Cow<'a, str>, BadRewrite> {
    let Some(mut target) = rewritten_path(rewrite, matched, request.path)? else { return Ok(Cow::Borrowed(raw)) };
    if let Some(query) = request.query {
        target.push('?');
        target.push_str(query);
    }
    Ok(Cow::Owned(target))
}

/// The `Location` of a redirect. `raw` and `port` are the client's: its path and query, and the port of its `Host`.
///
/// A port is written where it is not the scheme's own. The client's port stays unless the scheme changes: it
/// belongs to the other scheme then. Nor does it go along to another host. A request without a host can only be redirected on the same server.
pub fn location(
    redirect: &Redirect,
    matched: &PathMatch,
    request: &RequestView<'_>,
    raw: &str,
    port: Option<u16>,
) -> Result<String, BadRewrite> {
    let scheme = redirect.scheme.unwrap_or(request.scheme);
    let host = redirect.host.as_deref().unwrap_or(request.host);
    let kept_port = if scheme == request.scheme && redirect.host.is_none() { port } else { None };
    let port = redirect.port.or(kept_port).filter(|port| *port != scheme.default_port());

    let mut location = String::with_capacity(scheme.as_str().len() + host.len() + raw.len() + 16);
    if !host.is_empty() {
        location.push_str(scheme.as_str());
        location.push_str("://");
        push_visible(&mut location, host);
        if let Some(port) = port {
            location.push_str(&format!(":{port}"));
        }
    } else if scheme != request.scheme || redirect.port.is_some() {
        return Err(BadRewrite::NoHost);
    }
    match rewritten_path(redirect.path.as_ref(), matched, request.path)? {
        Some(path) => {
            location.push_str(&path);
            if let Some(query) = request.query {
                location.push('?');
                push_visible(&mut location, query);
            }
        }
        // Two slashes at the beginning of a URL without a host would name one.
        None if host.is_empty() => {
            location.push('/');
            push_visible(&mut location, raw.trim_start_matches('/'));
        }
        None => push_visible(&mut location, raw),
    }
    Ok(location)
}

/// None: the path stays as it was sent.
fn rewritten_path(
    rewrite: Option<&PathRewrite>,
    matched: &PathMatch,
    path: &str,
) -> Result<Option<String>, BadRewrite> {
    match rewrite {
        None => Ok(None),
        Some(PathRewrite::Full(text)) => Ok(Some(PathWriter::for_length(text.len()).file(text).finish())),
        Some(PathRewrite::Prefix(replacement)) => Ok(replace_prefix(replacement, matched, path)),
        Some(PathRewrite::Regex { pattern, replacement }) => match pattern.regex().captures(path) {
            Some(captures) => replace_match(&captures, replacement, path).map(Some),
            None => Ok(None),
        },
    }
}

/// As Gateway API's `ReplacePrefixMatch`. A pattern has no prefix that could be replaced: None.
fn replace_prefix(replacement: &str, matched: &PathMatch, path: &str) -> Option<String> {
    let rest = match matched {
        PathMatch::Exact(_) => "",
        PathMatch::Prefix(prefix) => path.strip_prefix(prefix_text(prefix))?,
        PathMatch::Regex(_) => return None,
    };
    Some(PathWriter::for_length(replacement.len() + rest.len()).file(replacement).request(rest).finish())
}

fn replace_match(captures: &Captures<'_>, replacement: &str, path: &str) -> Result<String, BadRewrite> {
    let whole = captures.get_match();
    let writer = PathWriter::for_length(path.len() + replacement.len()).request(&path[..whole.start()]);
    let rewritten = expand(captures, replacement, writer).request(&path[whole.end()..]).finish();
    let is_dots = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
    if rewritten.split('/').any(is_dots) { Err(BadRewrite::DotSegment) } else { Ok(rewritten) }
}

/// `$1` takes all digits that follow; `${1}` and `${name}` are told from what comes after. A group that is not
/// there is empty; any other dollar sign is itself.
fn expand(captures: &Captures<'_>, replacement: &str, mut writer: PathWriter) -> PathWriter {
    let mut rest = replacement;
    while let Some(dollar) = rest.find('$') {
        writer = writer.file(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        let (group, after) = match rest.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some(braced) => braced,
            None => rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count()),
        };
        if group.is_empty() {
            writer = writer.file("$");
            continue;
        }
        let captured = match group.parse() {
            Ok(index) => captures.get(index),
            Err(_) => captures.name(group),
        };
        writer = writer.request(captured.map_or("", |captured| captured.as_str()));
        rest = after;
    }
    writer.file(rest)
}

/// A path under construction: encoded, with one slash at the beginning and none after another.
struct PathWriter {
    out: String,
}

impl PathWriter {
    fn for_length(length: usize) -> Self {
        let mut out = String::with_capacity(length + 16);
        out.push('/');
        Self { out }
    }

    /// Text of the request, decoded.
    fn request(mut self, text: &str) -> Self {
        text.bytes().for_each(|byte| self.push(byte));
        self
    }

    /// Text of the file; its escapes stay.
    fn file(mut self, text: &str) -> Self {
        let bytes = text.as_bytes();
        for (at, byte) in bytes.iter().enumerate() {
            let is_hex = |offset: usize| bytes.get(at + offset).copied().and_then(hex_digit).is_some();
            if *byte == b'%' && is_hex(1) && is_hex(2) {
                self.out.push('%');
            } else {
                self.push(*byte);
            }
        }
        self
    }

    fn push(&mut self, byte: u8) {
        if byte != b'/' || !self.out.ends_with('/') {
            encode_byte(&mut self.out, byte);
        }
    }

    fn finish(self) -> String {
        self.out
    }
}

/// Appends a piece of a URL; what could end a header line, or end the URL in it, is percent-encoded.
fn push_visible(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'\\' {
            out.push(char::from(byte));
        } else {
            escape_byte(out, byte);
        }
    }
}
