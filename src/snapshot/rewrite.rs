//! What a matched request becomes: the target that goes upstream, or the `Location` of a redirect.
//!
//! ```text
//! normalized path ──► full | prefix | regex ──► percent-encoded ─┬─► upstream: path?query
//! raw target, where nothing rewrites the path ──► untouched ─────┴─► Location: scheme://host:port/path?query
//! ```
//!
//! Text from the file keeps its own escapes (`/caf%C3%A9` and `/café` are the same); text from the request is
//! encoded, `%` included, so that nothing is decoded twice; in a query so that it stays within its parameter. A rewritten path begins with
//! one slash and holds no `//`. Nothing that comes out holds a control byte, a space or a byte that is not ASCII, save the raw target.

use std::borrow::Cow;

use regex::Captures;

use crate::model::{LocationForm, PathMatch, PathRewrite, Piece, QueryRewrite, Redirect, Replacement, Scheme};

use super::path::{encode_byte, escape_byte, hex_digit};
use super::request::RequestView;
use super::router::prefix_text;

#[cfg(test)]
mod tests;

/// Why there is nothing that may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRewrite {
    /// `^/img(.*)` to `/files/$1` makes `/files/../x` of `/img../x`: the way out of many an nginx `alias`.
    #[error("the rewritten path would hold a dot segment")]
    DotSegment,
    #[error("the request names no host that the redirect could lead to")]
    NoHost,
    /// What a redirect would change is not there: it would lead to itself.
    #[error("nothing is served at this path")]
    NoMatch,
}

impl BadRewrite {
    /// What it is answered with.
    pub fn status(self) -> u16 {
        match self {
            BadRewrite::DotSegment | BadRewrite::NoHost => 400,
            BadRewrite::NoMatch => 404,
        }
    }
}

/// Path and query for the upstream. `raw` is the client's, which goes on untouched where no rewrite applies.
pub fn upstream_target<'a>(
    rewrite: Option<&PathRewrite>,
    query: QueryRewrite,
    matched: &PathMatch,
    request: &RequestView<'_>,
    raw: &'a str,
) -> Result<Cow<'a, str>, BadRewrite> {
    match rewritten(rewrite, query, matched, request)? {
        Rewritten::Target(target) => Ok(Cow::Owned(target)),
        Rewritten::Nothing => Ok(Cow::Borrowed(raw)),
        Rewritten::QueryDropped => Ok(Cow::Borrowed(without_query(raw))),
    }
}

/// The `Location` of a redirect. `raw` is the client's path and query.
///
/// A port is written where it is not the scheme's own. The client's port stays unless the scheme changes: it
/// belongs to the other scheme then. Nor does it go along to another host. A request without a host can only be redirected on the same server.
pub fn location(
    redirect: &Redirect,
    matched: &PathMatch,
    request: &RequestView<'_>,
    raw: &str,
) -> Result<String, BadRewrite> {
    let scheme = redirect.scheme.unwrap_or(request.scheme);
    let host = match redirect.form {
        LocationForm::Absolute => redirect.host.as_deref().unwrap_or(request.host),
        LocationForm::Relative => "",
    };
    let kept_port = if scheme == request.scheme && redirect.host.is_none() { request.port } else { None };
    let (port, moves) = (redirect.port.or(kept_port), scheme != request.scheme || redirect.port.is_some());
    if host.is_empty() && moves {
        return Err(BadRewrite::NoHost);
    }
    let rewritten = rewritten(redirect.path.as_ref(), redirect.query, matched, request)?;
    let changes = redirect.path.is_some() || redirect.query == QueryRewrite::Drop;
    if changes && rewritten == Rewritten::Nothing && redirect.host.is_none() && !moves {
        return Err(BadRewrite::NoMatch);
    }
    let mut location = origin(scheme, host, port, raw.len());
    match rewritten {
        Rewritten::Target(target) => push_visible(&mut location, &target),
        Rewritten::QueryDropped => push_raw(&mut location, without_query(raw)),
        Rewritten::Nothing => push_raw(&mut location, raw),
    }
    Ok(location)
}

/// `scheme://host:port`, and room for `more`. Empty where there is no host: what follows is on the same server.
pub(super) fn origin(scheme: Scheme, host: &str, port: Option<u16>, more: usize) -> String {
    let mut origin = String::with_capacity(scheme.as_str().len() + host.len() + more + 16);
    if !host.is_empty() {
        origin.push_str(scheme.as_str());
        origin.push_str("://");
        push_visible(&mut origin, host);
        if let Some(port) = port.filter(|port| *port != scheme.default_port()) {
            origin.push_str(&format!(":{port}"));
        }
    }
    origin
}

/// The path and query as they came. Two slashes at the beginning of a URL without a host would name one.
pub(super) fn push_raw(location: &mut String, raw: &str) {
    if location.is_empty() {
        location.push('/');
        push_visible(location, raw.trim_start_matches('/'));
    } else {
        push_visible(location, raw);
    }
}

fn without_query(raw: &str) -> &str {
    raw.split_once('?').map_or(raw, |(path, _)| path)
}

#[derive(PartialEq, Eq)]
enum Rewritten {
    /// Path and query stay as they were sent.
    Nothing,
    /// The path stays.
    QueryDropped,
    /// Path and query.
    Target(String),
}

fn rewritten(
    rewrite: Option<&PathRewrite>,
    query: QueryRewrite,
    matched: &PathMatch,
    request: &RequestView<'_>,
) -> Result<Rewritten, BadRewrite> {
    let untouched = match query {
        QueryRewrite::Drop if request.query.is_some() => Rewritten::QueryDropped,
        QueryRewrite::Keep | QueryRewrite::Drop => Rewritten::Nothing,
    };
    let (path, added) = match rewrite {
        None => return Ok(untouched),
        Some(PathRewrite::Full(text)) => {
            (expand(text.path(), None, PathWriter::default()).finish(), query_of(text, None))
        }
        Some(PathRewrite::Prefix(replacement)) => match replace_prefix(replacement, matched, request.path) {
            Some(path) => (path, None),
            None => return Ok(untouched),
        },
        Some(PathRewrite::Regex { pattern, replacement }) => match pattern.regex().captures(request.path) {
            Some(captures) => {
                (replace_match(&captures, replacement, request.path)?, query_of(replacement, Some(&captures)))
            }
            None => return Ok(Rewritten::Nothing),
        },
    };
    let kept = request.query.filter(|_| query == QueryRewrite::Keep);
    Ok(Rewritten::Target(joined(path, added, kept)))
}

/// What is written comes first, as in nginx; a query that is there but empty says nothing.
fn joined(mut target: String, added: Option<String>, kept: Option<&str>) -> String {
    let (added, kept) = (added.filter(|added| !added.is_empty()), kept.filter(|kept| !kept.is_empty()));
    for (query, separator) in [(added.as_deref(), '?'), (kept, if added.is_some() { '&' } else { '?' })] {
        if let Some(query) = query {
            target.push(separator);
            target.push_str(query);
        }
    }
    target
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

fn replace_match(captures: &Captures<'_>, replacement: &Replacement, path: &str) -> Result<String, BadRewrite> {
    let whole = captures.get_match();
    let writer = PathWriter::for_length(path.len() + replacement.as_str().len()).request(&path[..whole.start()]);
    let rewritten = expand(replacement.path(), Some(captures), writer).request(&path[whole.end()..]).finish();
    let is_dots = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
    if rewritten.split('/').any(is_dots) { Err(BadRewrite::DotSegment) } else { Ok(rewritten) }
}

/// A group that took no part in the match is empty.
fn expand(pieces: &[Piece], captures: Option<&Captures<'_>>, mut writer: PathWriter) -> PathWriter {
    for piece in pieces {
        writer = match piece {
            Piece::Text(text) => writer.file(text),
            Piece::Group(number) => writer.request(captured(captures, *number)),
        };
    }
    writer
}

fn captured<'a>(captures: Option<&Captures<'a>>, number: usize) -> &'a str {
    captures.and_then(|captures| captures.get(number)).map_or("", |captured| captured.as_str())
}

fn query_of(replacement: &Replacement, captures: Option<&Captures<'_>>) -> Option<String> {
    let mut query = String::new();
    for piece in replacement.query()? {
        match piece {
            Piece::Text(text) => push_visible(&mut query, &text.replace('#', "%23")),
            Piece::Group(number) => captured(captures, *number).bytes().for_each(|byte| match byte {
                // What could end the parameter, or is read as something else in one.
                b'&' | b';' | b'+' => escape_byte(&mut query, byte),
                byte => encode_byte(&mut query, byte),
            }),
        }
    }
    Some(query)
}

/// A path under construction: encoded, with one slash at the beginning and none after another.
pub(super) struct PathWriter {
    out: String,
}

impl Default for PathWriter {
    fn default() -> Self {
        Self::for_length(0)
    }
}

impl PathWriter {
    pub(super) fn for_length(length: usize) -> Self {
        let mut out = String::with_capacity(length + 16);
        out.push('/');
        Self { out }
    }

    /// Text of the request, decoded.
    pub(super) fn request(mut self, text: &str) -> Self {
        text.bytes().for_each(|byte| self.push(byte));
        self
    }

    /// Text of the file; its escapes stay.
    pub(super) fn file(mut self, text: &str) -> Self {
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

    pub(super) fn finish(self) -> String {
        self.out
    }
}

/// Appends a piece of a URL; what could end a header line, or end the URL in it, is percent-encoded.
pub(super) fn push_visible(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'\\' {
            out.push(char::from(byte));
        } else {
            escape_byte(out, byte);
        }
    }
}
