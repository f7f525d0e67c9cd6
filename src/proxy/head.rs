//! Refuses a request head that two parsers could read differently, before anything else reads it.
//!
//! ```text
//! bytes ──► end_of_head ──► inspect ──► Head { version, method, target, fields, body } ──► lean lane, or Pingora's parser
//!                              └──► Refusal ──► 400/405/431/505 and close
//! ```
//!
//! Request smuggling lives in what is ambiguous: bare LF, two lengths, folded lines, a space before a colon, control
//! bytes. RFC 9112 lets a proxy mend some of these; we refuse them all. The lean lane goes on with what was read here;
//! Pingora parses the head again.

use bytes::BytesMut;
use memchr::memchr;
use pingora::http::RequestHeader;
use pingora::protocols::http::authority::validate_request_authority;

use super::fields::{is_padded, length};
use super::span::{Field, Span};

/// A request whose head has come.
pub struct Request {
    /// The head, and nothing behind it.
    pub bytes: BytesMut,
    pub head: Head,
}

/// A head that everybody reads alike.
#[derive(Debug)]
pub struct Head {
    pub version: Version,
    pub method: Span,
    pub target: Span,
    pub fields: Vec<Field>,
    pub body: Body,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Http10,
    Http11,
}

/// Where the message ends, seen from the end of its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    None,
    Length(u64),
    Chunked,
    /// The request asks for another protocol; whatever follows belongs to that.
    Upgrade,
}

/// Why a head is refused, and with which status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub reason: &'static str,
}

const fn bad(reason: &'static str) -> Refusal {
    Refusal { status: 400, reason }
}

/// Where the head ends: behind its empty line. `from` is how much was searched before.
/// An empty line of bare LF ends it too, so that such a head is refused at once and not waited for.
pub fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from.saturating_sub(3);
    while let Some(lf) = memchr(b'\n', &bytes[at..]) {
        let next = at + lf + 1;
        match &bytes[next..] {
            [b'\n', ..] => return Some(next + 1),
            [b'\r', b'\n', ..] => return Some(next + 2),
            _ => at = next,
        }
    }
    None
}

/// Reads a whole head, its empty line included.
pub fn inspect(head: &[u8]) -> Result<Head, Refusal> {
    let mut lines = Lines { head, at: 0 };
    let RequestLine { method, target, version } = inspect_request_line(lines.next()?)?;
    let authority = authority_of(target);
    if target[0] != b'/' && !says_clearly_whom_it_asks(target) {
        return Err(bad("the request target is no URL that says clearly which host it asks"));
    }
    let mut seen = Seen { head, fields: Vec::with_capacity(USUAL_FIELDS), authority, ..Seen::default() };
    loop {
        let line = lines.next()?;
        if line.is_empty() {
            break;
        }
        seen.field(line)?;
    }
    let body = seen.body(version)?;
    Ok(Head { version, method: Span::of(head, method), target: Span::of(head, target), fields: seen.fields, body })
}

/// Writes the host into the `Host` field as an absolute target spells it: that one counts (RFC 9112 §3.2.2), and Pingora takes two
/// spellings of a host for two hosts.
pub fn spell_host_as_the_target_does(bytes: &mut [u8], head: &Head) {
    let Some(authority) = authority_of(head.target.in_bytes(bytes)).map(|authority| Span::of(bytes, authority)) else {
        return;
    };
    let is_host = |field: &&Field| field.name.in_bytes(bytes).eq_ignore_ascii_case(b"host");
    if let Some(host) = head.fields.iter().find(is_host).map(|field| field.value) {
        // Of one length: they differ in case at most, or the head was refused.
        bytes.copy_within(authority.start()..authority.end(), host.start());
    }
}

struct Lines<'a> {
    head: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Result<&'a [u8], Refusal> {
        let rest = &self.head[self.at..];
        let end = memchr(b'\n', rest).ok_or(bad("the head is incomplete"))?;
        let Some(line) = rest[..end].strip_suffix(b"\r") else {
            return Err(bad("a line ends without a carriage return"));
        };
        self.at += end + 1;
        Ok(line)
    }
}

struct RequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
    version: Version,
}

fn inspect_request_line(line: &[u8]) -> Result<RequestLine<'_>, Refusal> {
    let mut parts = line.splitn(3, |b| *b == b' ');
    let (Some(method), Some(target), Some(version)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(bad("the request line does not have three parts"));
    };
    if method.is_empty() || !is_token(method) {
        return Err(bad("the method is not a token"));
    }
    if target.is_empty() || target.iter().any(|b| *b <= b' ' || *b == 0x7f) {
        return Err(bad("the request target is empty or holds control bytes"));
    }
    if !is_written_as_a_url(target) {
        return Err(bad("the request target holds a character that must be percent-encoded in a URL"));
    }
    match method {
        b"CONNECT" => return Err(Refusal { status: 405, reason: "CONNECT is not served" }),
        b"TRACE" => return Err(Refusal { status: 405, reason: "TRACE is not served" }),
        _ => {}
    }
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        [b'H', b'T', b'T', b'P', b'/', ..] => {
            return Err(Refusal { status: 505, reason: "the HTTP version is not served" });
        }
        _ => return Err(bad("the request line does not end with an HTTP version")),
    };
    Ok(RequestLine { method, target, version })
}

/// As far as Pingora's parser insists on it (RFC 3986 does on more): it would answer such a request itself, in its own words.
fn is_written_as_a_url(target: &[u8]) -> bool {
    if std::str::from_utf8(target).is_err() {
        return false;
    }
    let mut is_path = true;
    for byte in target {
        match byte {
            // What stands behind it is passed over.
            b'#' => break,
            b'?' => is_path = false,
            b'<' | b'>' => return false,
            b'`' if is_path => return false,
            b'"' if !is_path => return false,
            _ => {}
        }
    }
    true
}

/// What Pingora asks of targets that are more than a path (RFC 9110 §4.2.4, among others). Like [`is_written_as_a_url`], it keeps Pingora
/// from answering itself.
fn says_clearly_whom_it_asks(target: &[u8]) -> bool {
    RequestHeader::build("GET", target, None).is_ok_and(|request| validate_request_authority(&request).is_ok())
}

/// Of an absolute target.
fn authority_of(target: &[u8]) -> Option<&[u8]> {
    if target[0] == b'/' {
        return None;
    }
    let scheme = target.windows(3).position(|three| three == b"://")?;
    let rest = &target[scheme + 3..];
    Some(&rest[..rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len())])
}

/// As many as Pingora's parser has room for.
const MAX_FIELDS: usize = 256;

/// Most requests have no more.
const USUAL_FIELDS: usize = 16;

/// What the target and the fields have said so far.
#[derive(Default)]
struct Seen<'a> {
    head: &'a [u8],
    fields: Vec<Field>,
    /// Of an absolute target.
    authority: Option<&'a [u8]>,
    host: Option<&'a [u8]>,
    length: Option<u64>,
    chunked: bool,
    upgrade_field: bool,
    connection_upgrade: bool,
}

impl<'a> Seen<'a> {
    fn field(&mut self, line: &'a [u8]) -> Result<(), Refusal> {
        if self.fields.len() == MAX_FIELDS {
            return Err(Refusal { status: 431, reason: "the request has too many header fields" });
        }
        if matches!(line[0], b' ' | b'\t') {
            return Err(bad("a header field is folded over two lines"));
        }
        let Some(colon) = memchr(b':', line) else {
            return Err(bad("a header field has no colon"));
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.is_empty() || !is_token(name) {
            return Err(bad("a header field's name is not a token"));
        }
        if holds_control_bytes(&line[colon + 1..]) {
            return Err(bad("a header field's value holds control bytes"));
        }
        self.fields.push(Field::of(self.head, name, value));
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.host(value)?,
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrade_field = true,
            10 if name.eq_ignore_ascii_case(b"connection") => self.connection(value),
            14 if name.eq_ignore_ascii_case(b"content-length") => self.content_length(value)?,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.transfer_encoding(value)?,
            9..=17 if imitates(name) => {
                return Err(bad("a header field would pass for one of the proxy's own where _ is read as -"));
            }
            _ => {}
        }
        Ok(())
    }

    fn host(&mut self, value: &'a [u8]) -> Result<(), Refusal> {
        if value.contains(&b'@') {
            return Err(bad("the Host field holds a user name or password (\"@\")"));
        }
        match self.host.replace(value) {
            None => Ok(()),
            Some(_) => Err(bad("there are two Host fields")),
        }
    }

    fn connection(&mut self, value: &[u8]) {
        let mut options = value.split(|b| *b == b',').map(<[u8]>::trim_ascii);
        self.connection_upgrade |= options.any(|option| option.eq_ignore_ascii_case(b"upgrade"));
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.length.is_some() {
            return Err(bad("there are two Content-Length fields"));
        }
        if is_padded(value) {
            return Err(bad("Content-Length begins with a zero, which some read as octal"));
        }
        self.length = Some(length(value).ok_or(bad("Content-Length is not a number"))?);
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(bad("Transfer-Encoding is something else than one \"chunked\""));
        }
        self.chunked = true;
        Ok(())
    }

    /// When all fields were seen.
    fn body(&self, version: Version) -> Result<Body, Refusal> {
        if self.host.is_none() && version == Version::Http11 {
            return Err(bad("there is no Host field"));
        }
        if let (Some(authority), Some(host)) = (self.authority, self.host)
            && !authority.eq_ignore_ascii_case(host)
        {
            return Err(bad("the request target and the Host field name different hosts"));
        }
        if self.chunked && self.length.is_some() {
            return Err(bad("there are both Content-Length and Transfer-Encoding"));
        }
        if self.chunked && version == Version::Http10 {
            return Err(bad("HTTP/1.0 has no Transfer-Encoding"));
        }
        Ok(match self.length {
            None | Some(0) if self.upgrade_field && self.connection_upgrade && !self.chunked => Body::Upgrade,
            _ if self.chunked => Body::Chunked,
            None | Some(0) => Body::None,
            Some(length) => Body::Length(length),
        })
    }
}

/// Fields that Weir sets itself, the framing among them, as CGI and WSGI would read them from an imitation with underscores.
const OWN_FIELDS: [&[u8]; 8] = [
    b"content-length",
    b"transfer-encoding",
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-real-ip",
    b"x-request-id",
];

/// Whether a name stands for one of ours in the eyes of an origin that takes underscores for dashes.
pub fn imitates(name: &[u8]) -> bool {
    imitates_any(&OWN_FIELDS, name)
}

pub fn imitates_any(own: &[&[u8]], name: &[u8]) -> bool {
    let dashed = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    name.contains(&b'_')
        && own.iter().any(|own| own.len() == name.len() && name.iter().map(dashed).eq(own.iter().copied()))
}

/// Whether what has come of a chunked body can be its beginning. Of no bytes nothing can be said.
pub fn begins_a_chunk(bytes: &[u8]) -> bool {
    let digits = bytes.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    match &bytes[digits..] {
        [] => digits <= MAX_CHUNK_DIGITS,
        [b'\r'] | [b'\r', b'\n', ..] | [b';' | b' ' | b'\t', ..] => (1..=MAX_CHUNK_DIGITS).contains(&digits),
        _ => false,
    }
}

/// A chunk's size below 2⁶⁴.
const MAX_CHUNK_DIGITS: usize = 16;

fn is_token(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| TOKEN[usize::from(*byte)])
}

/// Which bytes tokens are made of (RFC 9110 §5.6.2).
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte as usize] = is_token_byte(byte);
        byte += 1;
    }
    table
};

pub const fn is_token_byte(byte: u8) -> bool {
    matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'z' | b'|' | b'~')
        || byte.is_ascii_digit()
        || byte.is_ascii_uppercase()
}

/// All are looked at, whatever is found: so the compiler looks at many at once.
fn holds_control_bytes(value: &[u8]) -> bool {
    value.iter().fold(false, |found, byte| found | is_control_byte(*byte))
}

/// What no value holds (RFC 9110 §5.5).
pub const fn is_control_byte(byte: u8) -> bool {
    ((byte < b' ') & (byte != b'\t')) | (byte == 0x7f)
}

#[cfg(test)]
mod tests;
