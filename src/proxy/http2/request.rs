//! A stream's request as a head of HTTP/1, for the lean lane, which goes by the bytes of one.

use bytes::BytesMut;
use http::header::{COOKIE, HOST};
use http::{HeaderMap, HeaderValue};
use pingora::protocols::http::v2::server::HttpSession;

use crate::proxy::fields::is_spaced;
use crate::proxy::head::{self, Body, Request};

/// Beside the fields: the request line, and what separates.
const USUAL_REST: usize = 128;

/// None where HTTP/1 has no such request, or one that would be refused: the full lane says what is to be said of it.
pub fn read(session: &HttpSession) -> Option<Request> {
    let request = session.req_header();
    let (uri, fields) = (&request.uri, &request.headers);
    let host = uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = host.or_else(|| fields.get(HOST).map(HeaderValue::as_bytes))?;
    let target = uri.path_and_query()?.as_str();
    if fields.values().any(|value| is_spaced(value.as_bytes())) {
        return None;
    }
    let length = fields.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>();
    let mut bytes = BytesMut::with_capacity(length + target.len() + host.len() + USUAL_REST);
    for part in [request.method.as_str(), " ", target, " HTTP/1.1\r\n"] {
        bytes.extend_from_slice(part.as_bytes());
    }
    write(&mut bytes, HOST.as_str(), host);
    for (name, value) in fields.iter().filter(|(name, _)| **name != HOST && **name != COOKIE) {
        write(&mut bytes, name.as_str(), value.as_bytes());
    }
    write_cookies(&mut bytes, fields);
    bytes.extend_from_slice(b"\r\n");
    let mut head = head::inspect(&bytes).ok()?;
    if head.body == Body::None && !session.is_body_empty() {
        // Of no length that is said: it ends with the stream.
        head.body = Body::Chunked;
    }
    Some(Request { bytes, head })
}

fn write(bytes: &mut BytesMut, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        bytes.extend_from_slice(part);
    }
}

/// Clients may split the field; whatever comes after us expects one (RFC 9113 §8.2.3).
fn write_cookies(bytes: &mut BytesMut, fields: &HeaderMap) {
    let mut pieces = fields.get_all(COOKIE).iter();
    let Some(first) = pieces.next() else { return };
    bytes.extend_from_slice(b"cookie: ");
    bytes.extend_from_slice(first.as_bytes());
    for piece in pieces {
        bytes.extend_from_slice(b"; ");
        bytes.extend_from_slice(piece.as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
}
