//! The gRPC health protocol: `grpc.health.v1.Health/Check`.
//!
//! ```text
//! HealthCheckRequest { service } ──► HTTP/2 ──► HealthCheckResponse { status }, grpc-status in the trailers
//! ```
//!
//! Two messages of one field each: written and read by hand rather than by a compiler for them.

use bytes::Bytes;
use http::HeaderMap;
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::protocols::ALPN;
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::http::v2::client::Http2Session;
use pingora::upstreams::peer::HttpPeer;

use super::probe::in_words;

const PATH: &[u8] = b"/grpc.health.v1.Health/Check";

/// Far more than the answer can need.
const ANSWER_LIMIT: usize = 4 << 10;

const SERVING: u64 = 1;

pub(super) async fn probe(connector: &Connector, mut peer: Box<HttpPeer>, service: &str) -> Result<(), String> {
    // gRPC is HTTP/2, whatever else the upstream may speak.
    peer.options.alpn = ALPN::H2;
    let authority = if peer.sni.is_empty() { peer._address.to_string() } else { peer.sni.clone() };
    let (session, _) = connector.get_http_session(&*peer).await.map_err(in_words)?;
    let HttpSession::H2(mut session) = session else {
        return Err("the endpoint does not speak HTTP/2, which gRPC needs".into());
    };
    session.write_request_header(Box::new(request(&authority)?), false).map_err(in_words)?;
    session.write_request_body(framed(service), true).await.map_err(in_words)?;
    session.read_response_header().await.map_err(in_words)?;
    verdict(&mut session).await
}

fn request(authority: &str) -> Result<RequestHeader, String> {
    let mut request = RequestHeader::build("POST", PATH, None).map_err(in_words)?;
    for (name, value) in [("host", authority), ("content-type", "application/grpc"), ("te", "trailers")] {
        request.insert_header(name, value).map_err(in_words)?;
    }
    Ok(request)
}

async fn verdict(session: &mut Http2Session) -> Result<(), String> {
    let head = session.response_header().ok_or("the answer has no head")?;
    let status = head.status.as_u16();
    if status != 200 {
        return Err(format!("answered {status}, expected a gRPC answer"));
    }
    // An error without a message comes in the head alone.
    check_status(&head.headers)?;
    let mut answer = Vec::new();
    while let Some(piece) = session.read_response_body().await.map_err(in_words)? {
        if answer.len() + piece.len() > ANSWER_LIMIT {
            return Err("the answer is no HealthCheckResponse: it is too long".into());
        }
        answer.extend_from_slice(&piece);
    }
    if let Some(trailers) = session.read_trailers().await.map_err(in_words)? {
        check_status(&trailers)?;
    }
    match serving_status(&answer) {
        Some(SERVING) => Ok(()),
        Some(status) => Err(format!("the service is {}", status_name(status))),
        None => Err("the answer is no HealthCheckResponse".into()),
    }
}

fn check_status(headers: &HeaderMap) -> Result<(), String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status") {
        None | Some("0") => Ok(()),
        Some("5") => Err("grpc-status 5: the endpoint does not know the service".into()),
        Some("12") => Err("grpc-status 12: the endpoint does not implement grpc.health.v1.Health".into()),
        Some(status) => match text("grpc-message") {
            Some(message) => Err(format!("grpc-status {status}: {message}")),
            None => Err(format!("grpc-status {status}")),
        },
    }
}

/// Flag, length, and the message: field 1 is the service's name, left out where it is empty.
fn framed(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.push(length as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let mut frame = vec![0];
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(&message);
    frame.into()
}

/// Field 1 of the message in the frame; a message without it means zero, UNKNOWN.
fn serving_status(frame: &[u8]) -> Option<u64> {
    let (head, message) = frame.split_at_checked(5)?;
    let length = u32::from_be_bytes(head[1..].try_into().ok()?) as usize;
    if head[0] != 0 || message.len() != length {
        return None;
    }
    let (mut rest, mut status) = (message, 0);
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        match (tag >> 3, tag & 7) {
            (1, 0) => status = varint(&mut rest)?,
            (_, 0) => drop(varint(&mut rest)?),
            (_, 1) => rest = rest.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            (_, 5) => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn status_name(status: u64) -> String {
    match status {
        0 => "UNKNOWN".into(),
        2 => "NOT_SERVING".into(),
        3 => "SERVICE_UNKNOWN".into(),
        other => format!("in a state that gRPC does not name ({other})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_a_frame_with_the_service_name() {
        assert_eq!(framed(""), [0, 0, 0, 0, 0].as_slice());
        assert_eq!(framed("api"), [0, 0, 0, 0, 5, 0x0a, 3, b'a', b'p', b'i'].as_slice());
        let long = framed(&"s".repeat(300));
        assert_eq!(long[5..8], [0x0a, 0xac, 0x02]);
    }

    #[test]
    fn the_status_is_found_among_fields_that_are_not_known() {
        assert_eq!(serving_status(&[0, 0, 0, 0, 2, 0x08, 1]), Some(SERVING));
        assert_eq!(serving_status(&[0, 0, 0, 0, 0]), Some(0));
        let with_others = [0, 0, 0, 0, 7, 0x12, 1, b'x', 0x18, 5, 0x08, 2];
        assert_eq!(serving_status(&with_others), Some(2));
    }

    #[test]
    fn what_is_no_answer_is_none() {
        for rubbish in [&[][..], &[0, 0, 0, 0, 9, 8, 1], &[1, 0, 0, 0, 2, 8, 1], &[0, 0, 0, 0, 2, 8, 0x80]] {
            assert_eq!(serving_status(rubbish), None, "{rubbish:?}");
        }
    }
}
