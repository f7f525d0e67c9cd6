//! The request leaves for the upstream: rewritten, with what the upstream needs to know of the client.
//!
//! Pingora has removed hop-by-hop fields before this. `X-Forwarded-*` of a client that is no trusted proxy are
//! replaced, not appended to: an upstream may believe them.

use bytes::Bytes;
use http::header::{CONNECTION, FORWARDED, HOST, TE, TRAILER};
use http::{HeaderName, HeaderValue};
use pingora::http::RequestHeader;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;

use super::context::{Context, Forwarding};
use super::pooled::Turn;
use crate::model::{ForwardedField, Scheme};
use crate::proxy::Shared;
use crate::proxy::client_address::{Client, Through};
use crate::proxy::connection::{Connection, address_value};
use crate::proxy::filters;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub fn prepare(shared: &Shared, session: &Session, request: &mut RequestHeader, ctx: &Context) -> Result<()> {
    let (Some(forwarding), Some(client), Some(connection)) =
        (ctx.forwarding.as_deref(), ctx.client, Connection::of(session.digest()))
    else {
        return Err(Error::explain(ErrorType::InternalError, "a request leaves that has not arrived"));
    };
    if let Some(target) = &forwarding.target {
        request.set_raw_path(target.as_bytes())?;
    }
    tell_of_client(request, &client, connection, forwarding)?;
    request.insert_header(X_REQUEST_ID, ctx.request_id.clone())?;
    match (shared.snapshot.load().model.process.forwarded, client.through) {
        (ForwardedField::Send, _) => append_forwarded(request, &client, connection, forwarding)?,
        (ForwardedField::Omit, Through::TrustedProxy) => {}
        (ForwardedField::Omit, Through::Nobody) => remove(request, &FORWARDED),
    }
    // An upgraded connection serves no other request anyway, and its `Connection` is needed.
    if forwarding.attempt.turn == Turn::Last && !session.is_upgrade_req() {
        request.insert_header(CONNECTION, "close")?;
    }
    // HTTP/1 trailers end here, so none may be announced.
    remove(request, &TRAILER);
    // The one value that crosses HTTP/2 hops (RFC 9113 §8.2.2); gRPC servers insist on it.
    if request.version == http::Version::HTTP_2
        && session.req_header().headers.get(TE).is_some_and(|te| te == "trailers")
    {
        request.insert_header(TE, HeaderValue::from_static("trailers"))?;
    }
    if let Some(host) = &forwarding.forward().host {
        request.insert_header(HOST, host.clone())?;
    }
    let edits = &forwarding.route.chain.request_edits;
    if !edits.is_empty() {
        let headers = &session.req_header().headers;
        match &ctx.view {
            Some(kept) => filters::apply(edits, request, &kept.view(headers), ctx.request_id()),
            None => filters::apply(edits, request, &client.bare_view(headers), ctx.request_id()),
        }
    }
    Ok(())
}

fn tell_of_client(
    request: &mut RequestHeader,
    client: &Client,
    connection: &Connection,
    forwarding: &Forwarding,
) -> Result<()> {
    let peer = &connection.peer_value;
    match client.through {
        Through::Nobody => {
            request.insert_header(X_FORWARDED_FOR, peer.clone())?;
            request.insert_header(X_REAL_IP, peer.clone())?;
            request.insert_header(X_FORWARDED_PROTO, scheme_value(client.scheme))?;
            request.insert_header(X_FORWARDED_PORT, connection.port_value.clone())?;
            insert_or_remove(request, X_FORWARDED_HOST, forwarding.host.clone())?;
        }
        Through::TrustedProxy => {
            append_list(request, X_FORWARDED_FOR, peer)?;
            request.insert_header(X_REAL_IP, address_value(client.address))?;
            request.insert_header(X_FORWARDED_PROTO, scheme_value(client.scheme))?;
            if !request.headers.contains_key(X_FORWARDED_PORT) {
                request.insert_header(X_FORWARDED_PORT, connection.port_value.clone())?;
            }
            if !request.headers.contains_key(X_FORWARDED_HOST) {
                insert_or_remove(request, X_FORWARDED_HOST, forwarding.host.clone())?;
            }
        }
    }
    Ok(())
}

fn remove(request: &mut RequestHeader, name: &HeaderName) {
    if request.headers.contains_key(name) {
        request.remove_header(name);
    }
}

fn scheme_value(scheme: Scheme) -> HeaderValue {
    HeaderValue::from_static(scheme.as_str())
}

fn insert_or_remove(request: &mut RequestHeader, name: HeaderName, value: Option<HeaderValue>) -> Result<()> {
    match value {
        Some(value) => request.insert_header(name, value),
        None => {
            remove(request, &name);
            Ok(())
        }
    }
}

/// One field with the whole list: some upstreams read the first field only.
fn append_list(request: &mut RequestHeader, name: HeaderName, item: &HeaderValue) -> Result<()> {
    let mut list = Vec::new();
    for value in request.headers.get_all(&name).iter().chain([item]) {
        if !list.is_empty() {
            list.extend_from_slice(b", ");
        }
        list.extend_from_slice(value.as_bytes());
    }
    let list = HeaderValue::from_bytes(&list)
        .map_err(|_| Error::explain(ErrorType::InternalError, "joined header values are a header value"))?;
    request.insert_header(name, list)
}

/// RFC 7239. What an untrusted client wrote is dropped.
fn append_forwarded(
    request: &mut RequestHeader,
    client: &Client,
    connection: &Connection,
    forwarding: &Forwarding,
) -> Result<()> {
    let peer = connection.peer.ip().to_canonical();
    let node = if peer.is_ipv6() { format!("\"[{peer}]\"") } else { peer.to_string() };
    let mut element = format!("for={node};proto={}", client.scheme.as_str());
    if let Some(host) = forwarding.host.as_ref().and_then(|host| host.to_str().ok()) {
        element.push_str(&format!(";host=\"{}\"", host.replace(['"', '\\'], "")));
    }
    let element = HeaderValue::try_from(element)
        .map_err(|_| Error::explain(ErrorType::InternalError, "a Forwarded element is a header value"))?;
    match client.through {
        Through::TrustedProxy => append_list(request, FORWARDED, &element),
        Through::Nobody => request.insert_header(FORWARDED, element),
    }
}

/// Counts the request body on its way, and ends a request whose body grows beyond the limit.
pub fn watch_body(piece: Option<&Bytes>, ctx: &mut Context) -> Result<()> {
    let (Some(piece), Some(forwarding)) = (piece, ctx.forwarding.as_deref_mut()) else { return Ok(()) };
    forwarding.received_body += piece.len() as u64;
    match forwarding.max_body {
        Some(max) if forwarding.received_body > max => {
            let error = Error::explain(ErrorType::HTTPStatus(413), "the request body is larger than the limit");
            Err(error.into_down())
        }
        _ => Ok(()),
    }
}
