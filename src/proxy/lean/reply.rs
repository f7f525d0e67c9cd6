//! The head of an upstream's answer: read strictly where its body is concerned, and written anew for the client.
//!
//! ```text
//! bytes ──► Reply { status, reason, framing, may the connection be used again } ──hop-by-hop fields out, edits──► bytes
//! ```

use std::mem::MaybeUninit;

use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue};
use httparse::{Header, ParserConfig, Response, Status};
use pingora::protocols::http::date::get_cached_date;

use super::body::Framing;
use super::fields::{Fields, ResponseFields, Spelling};
use super::head::After;
use crate::proxy::fields::length;
use crate::proxy::filters::Head;
use crate::proxy::span::Field;

/// As many fields as Pingora's parser has room for.
const MOST_FIELDS: usize = 256;

/// What answers may need for their heads; Pingora's bound.
pub const LARGEST: usize = 1 << 20;

/// What most answers fit in; the others are parsed once more with room for all.
const USUAL_FIELDS: usize = 40;

pub struct Reply<'a> {
    pub status: u16,
    reason: &'a str,
    pub length: usize,
    pub framing: Framing,
    /// Whether the upstream takes another request on its connection.
    pub after: After,
    pub fields: Fields<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    Partial,
    /// It is no HTTP, or says two things of its body.
    Wrong,
}

impl<'a> Reply<'a> {
    /// `method`: of the request.
    pub fn parse(bytes: &'a [u8], method: &str) -> Result<Self, Unread> {
        let mut few = [const { MaybeUninit::uninit() }; USUAL_FIELDS];
        match Self::parse_into(bytes, method, &mut few) {
            Err(TooMany) => {
                let mut many = [const { MaybeUninit::uninit() }; MOST_FIELDS];
                Self::parse_into(bytes, method, &mut many).unwrap_or(Err(Unread::Wrong))
            }
            Ok(read) => read,
        }
    }

    fn parse_into(
        bytes: &'a [u8],
        method: &str,
        room: &mut [MaybeUninit<Header<'a>>],
    ) -> Result<Result<Self, Unread>, TooMany> {
        let mut parser = ParserConfig::default();
        // As Pingora: some servers write so.
        parser.allow_spaces_after_header_name_in_responses(true);
        parser.allow_obsolete_multiline_headers_in_responses(true);
        let mut response = Response::new(&mut []);
        let length = match parser.parse_response_with_uninit_headers(&mut response, bytes, room) {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) => return Ok(Err(Unread::Partial)),
            Err(httparse::Error::TooManyHeaders) => return Err(TooMany),
            Err(_) => return Ok(Err(Unread::Wrong)),
        };
        let (Some(status @ 100..), Some(version)) = (response.code, response.version) else {
            return Ok(Err(Unread::Wrong));
        };
        let reason = response.reason.unwrap_or_default();
        let line = StatusLine { status, reason, version };
        Ok(Self::of(line, &bytes[..length], response.headers, method).ok_or(Unread::Wrong))
    }

    /// `head`: all of it.
    fn of(line: StatusLine<'a>, head: &'a [u8], headers: &[Header<'a>], method: &str) -> Option<Self> {
        let StatusLine { status, reason, version } = line;
        let mut said = Said::default();
        let mut fields = Fields::new(head, Spelling::Kept);
        for header in headers {
            match said.field(header) {
                Passes::On if header.value.contains(&b'\n') => fields.add(&name_of(header)?, unfolded(header.value)?),
                Passes::On => fields.push(Field::of(head, header.name.as_bytes(), header.value)),
                Passes::As(value) => fields.push(Field::of(head, header.name.as_bytes(), value)),
                Passes::Not => {}
                Passes::Unreadable => return None,
            }
        }
        // What says where the body ends is not the connection's, whatever an upstream thinks.
        for name in said.named.iter().filter(|name| **name != CONTENT_LENGTH) {
            fields.remove(name);
        }
        if said.has_wrong_length && !said.is_chunked {
            return None;
        }
        if said.is_chunked {
            // Overrides a length (RFC 9112 §6.3).
            fields.remove(&CONTENT_LENGTH);
        }
        let bodiless = method == "HEAD" || matches!(status, 100..=199 | 204 | 304);
        let framing = match said.length {
            _ if bodiless => Framing::None,
            _ if said.is_chunked => Framing::Chunked,
            Some(length) => Framing::Length(length),
            None => Framing::UntilTheEnd,
        };
        // Never where there is no body (RFC 9112 §6.1). To HEAD it tells of the one that GET gets.
        let may_be_chunked = !matches!(status, 100..=199 | 204);
        if may_be_chunked && (said.is_chunked || framing == Framing::UntilTheEnd) {
            fields.add(&TRANSFER_ENCODING, "chunked");
        }
        let is_kept = match (version, said.keep_alive) {
            (1, _) => !said.close,
            (_, keep_alive) => keep_alive && !said.close && !said.is_chunked,
        };
        let after = if is_kept && framing != Framing::UntilTheEnd { After::KeepAlive } else { After::Close };
        Some(Self { status, reason, length: head.len(), framing, after, fields })
    }

    /// What the client gets of it.
    pub fn edited(self, edit: impl FnOnce(&mut ResponseFields<'a>)) -> ResponseFields<'a> {
        let mut head = ResponseFields { status: self.status, reason: self.reason, fields: self.fields };
        edit(&mut head);
        head.set(&DATE, get_cached_date());
        head
    }

    /// One that another follows.
    pub fn write_informational(&self, out: &mut Vec<u8>) {
        write_line(out, self.status, self.reason);
        self.fields.write(out);
        out.extend_from_slice(b"\r\n");
    }
}

impl ResponseFields<'_> {
    /// For HTTP/1. `after`: what becomes of the client's connection.
    pub fn write(mut self, out: &mut Vec<u8>, after: After) {
        let connection = if after == After::KeepAlive { "keep-alive" } else { "close" };
        self.set(&CONNECTION, connection);
        write_line(out, self.status, self.reason);
        self.fields.write(out);
        out.extend_from_slice(b"\r\n");
    }
}

fn name_of(header: &Header<'_>) -> Option<HeaderName> {
    HeaderName::from_bytes(header.name.as_bytes()).ok()
}

/// A value that goes over several lines, on one (RFC 9112 §5.2).
fn unfolded(value: &[u8]) -> Option<HeaderValue> {
    let lines: Vec<&[u8]> = value.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).collect();
    HeaderValue::from_bytes(&lines.join(&b" "[..])).ok()
}

struct TooMany;

struct StatusLine<'a> {
    status: u16,
    reason: &'a str,
    version: u8,
}

fn write_line(out: &mut Vec<u8>, status: u16, reason: &str) {
    let digit = |divisor: u16| b'0' + (status / divisor % 10) as u8;
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(&[digit(100), digit(10), digit(1), b' ']);
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// What the fields say of the message itself.
#[derive(Default)]
struct Said {
    length: Option<u64>,
    /// It is no number, or another than before: a coding overrides it (RFC 9112 §6.3), and nothing else does.
    has_wrong_length: bool,
    is_chunked: bool,
    close: bool,
    keep_alive: bool,
    /// By `Connection`: they are the connection's own.
    named: Vec<HeaderName>,
}

enum Passes<'a> {
    On,
    As(&'a [u8]),
    Not,
    Unreadable,
}

impl Said {
    fn field<'a>(&mut self, header: &Header<'a>) -> Passes<'a> {
        let (name, value) = (header.name, header.value);
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match name.len() {
            7 if is("trailer") => Passes::Not,
            10 if is("connection") => {
                self.connection(value);
                Passes::Not
            }
            10 if is("keep-alive") => Passes::Not,
            14 if is("content-length") => self.content_length(value).unwrap_or_else(|| {
                self.has_wrong_length = true;
                Passes::Not
            }),
            16 if is("proxy-connection") => Passes::Not,
            17 if is("transfer-encoding") => match std::mem::replace(&mut self.is_chunked, true) {
                false if value.eq_ignore_ascii_case(b"chunked") => Passes::Not,
                _ => Passes::Unreadable,
            },
            _ => Passes::On,
        }
    }

    fn connection(&mut self, value: &[u8]) {
        for option in value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else {
                self.named.extend(HeaderName::from_bytes(option).ok());
            }
        }
    }

    /// One, or the same several times, which is passed on as one (RFC 9110 §8.6).
    fn content_length<'a>(&mut self, value: &'a [u8]) -> Option<Passes<'a>> {
        let mut passes = if self.length.is_none() { None } else { Some(Passes::Not) };
        for item in value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
            let length = length(item)?;
            if *self.length.get_or_insert(length) != length {
                return None;
            }
            passes.get_or_insert(Passes::As(item));
        }
        passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(head: &str, method: &str) -> Result<(Framing, After), Unread> {
        let text = format!("HTTP/1.1 {head}\r\n\r\n");
        Reply::parse(text.as_bytes(), method).map(|reply| (reply.framing, reply.after))
    }

    #[test]
    fn the_body_is_where_the_head_says() {
        let keep = After::KeepAlive;
        assert_eq!(framing("200 OK\r\nContent-Length: 5", "GET"), Ok((Framing::Length(5), keep)));
        assert_eq!(
            framing("200 OK\r\nContent-Length: 5, 5\r\ncontent-length: 5", "GET"),
            Ok((Framing::Length(5), keep))
        );
        assert_eq!(framing("200 OK\r\nTransfer-Encoding: chunked", "GET"), Ok((Framing::Chunked, keep)));
        assert_eq!(framing("200 OK\r\nContent-Length: 5", "HEAD"), Ok((Framing::None, keep)));
        assert_eq!(framing("304 Not Modified\r\nContent-Length: 5", "GET"), Ok((Framing::None, keep)));
        assert_eq!(framing("200 OK", "GET"), Ok((Framing::UntilTheEnd, After::Close)));
        assert_eq!(
            framing("200 OK\r\nContent-Length: 0\r\nConnection: close", "GET"),
            Ok((Framing::Length(0), After::Close))
        );
    }

    #[test]
    fn what_says_two_things_of_its_body_is_no_answer() {
        for head in [
            "200 OK\r\nContent-Length: 5\r\nContent-Length: 6",
            "200 OK\r\nContent-Length: x",
            "200 OK\r\nTransfer-Encoding: gzip",
            "200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        ] {
            assert_eq!(framing(head, "GET"), Err(Unread::Wrong), "{head}");
        }
        assert_eq!(Reply::parse(b"HTTP/1.1 200 OK\r\nA: b\r\n", "GET").err(), Some(Unread::Partial));
        assert_eq!(Reply::parse(b"SSH-2.0-OpenSSH\r\n", "GET").err(), Some(Unread::Wrong));
    }

    #[test]
    fn what_is_the_connections_own_stays_here() {
        let text = b"HTTP/1.1 200 Fine\r\nX-Kept: 1\r\nConnection: X-Hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTrailer: A\r\nContent-Length: 9\r\nTransfer-Encoding: Chunked\r\n\r\n";
        let mut out = Vec::new();
        Reply::parse(text, "GET").unwrap().edited(|head| head.remove(&DATE)).write(&mut out, After::Close);
        let out = String::from_utf8(out).unwrap();
        let (before, after) = out.split_once("Date: ").unwrap();
        assert_eq!(before, "HTTP/1.1 200 Fine\r\nX-Kept: 1\r\nTransfer-Encoding: chunked\r\n");
        assert!(after.ends_with("\r\nConnection: close\r\n\r\n"), "{after}");
    }

    #[test]
    fn heads_of_many_fields_are_read() {
        let text = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: 1\r\n".repeat(200));
        assert!(Reply::parse(text.as_bytes(), "GET").is_ok());
        let text = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: 1\r\n".repeat(300));
        assert_eq!(Reply::parse(text.as_bytes(), "GET").err(), Some(Unread::Wrong));
    }
}
