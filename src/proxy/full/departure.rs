//! The request leaves for the upstream: rewritten, with what the upstream needs to know of the client.
//!
//! Pingora has removed hop-by-hop fields before this. `X-Forwarded-*` of a client that is no trusted proxy are
//! replaced, not appended to: an upstream may believe them.
//!
//! Field names go out in lower case, as from Envoy and HAProxy and as HTTP/2 clients send them: Pingora's map of the
//! client's spelling makes each field that is set here five times as dear (5 % of a small request, measured).

use std::time::Instant;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, FORWARDED, HOST, TE, TRAILER};
use http::{HeaderMap, HeaderName, HeaderValue};
use pingora::http::RequestHeader;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;

use super::context::{Context, Forwarding};
use super::pooled::Turn;
use super::sign_in;
use crate::model::{ForwardCredentials, ForwardedField};
use crate::proxy::client_address::{Client, Through};
use crate::proxy::client_certificate;
use crate::proxy::connection::{Connection, address_value};
use crate::proxy::filters::{self, Place};
use crate::snapshot::table::CertificateFields;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub fn prepare(session: &Session, request: &mut RequestHeader, ctx: &Context) -> Result<()> {
    let (Some(forwarding), Some(client), Some(connection)) =
        (ctx.forwarding.as_deref(), ctx.client, Connection::of(session.digest()))
    else {
        return Err(Error::explain(ErrorType::InternalError, "a request leaves that has not arrived"));
    };
    let nothing = RequestHeader::from(http::Request::new(()).into_parts().0);
    let mut parts: http::request::Parts = std::mem::replace(request, nothing).into();
    let headers = &mut parts.headers;
    tell_of_client(headers, &client, connection, forwarding.host.as_ref())?;
    tell_of_certificate(headers, forwarding.route.certificate_fields, client.through, connection);
    headers.insert(X_REQUEST_ID, ctx.request_id.to_header_value());
    match (forwarding.forwarded, client.through) {
        (ForwardedField::Send, _) => append_forwarded(headers, &client, connection, forwarding)?,
        (ForwardedField::Omit, Through::TrustedProxy) => {}
        (ForwardedField::Omit, Through::Nobody) => drop(headers.remove(FORWARDED)),
    }
    // An upgraded connection serves no other request anyway, and its `Connection` is needed.
    if forwarding.attempt.turn == Turn::Last && !session.is_upgrade_req() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    // HTTP/1 trailers end here, so none may be announced.
    headers.remove(TRAILER);
    // The one value that crosses HTTP/2 hops (RFC 9113 §8.2.2); gRPC servers insist on it.
    if parts.version == http::Version::HTTP_2 && session.req_header().headers.get(TE).is_some_and(|te| te == "trailers")
    {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(host) = &forwarding.forward().host {
        headers.insert(HOST, host.clone());
    } else if forwarding.host.is_none()
        && let Some(lease) = &forwarding.attempt.lease
        && let Ok(address) = HeaderValue::try_from(lease.endpoint().address.to_string())
    {
        // HTTP/1.0 needs no Host; the HTTP/1.1 that we speak does (RFC 9112 §3.2).
        headers.insert(HOST, address);
    }
    let chain = &forwarding.route.chain;
    if let Some(sign_in) = &chain.sign_in {
        if sign_in.basic.as_ref().is_some_and(|auth| auth.forward == ForwardCredentials::Omit) {
            headers.remove(AUTHORIZATION);
        }
        sign_in::vouch(headers, sign_in, &ctx.vouched);
    }
    let edits = &chain.request_edits;
    if !edits.is_empty()
        && let Some(view) = ctx.view_for_edits(&session.req_header().headers)
    {
        filters::apply(edits, headers, &ctx.facts(&view, session.req_header()));
    }
    *request = RequestHeader::from(parts);
    if let Some(target) = &forwarding.target {
        request.set_raw_path(target.as_bytes())?;
    }
    let sign_in = chain.sign_in.as_ref();
    match sign_in.and_then(|sign_in| sign_in::target_without_token(sign_in, request.raw_path())) {
        Some(target) => request.set_raw_path(target.as_bytes()),
        None => Ok(()),
    }
}

/// Tells somebody else than the upstream of the client, by the same fields. `client_fields` are as the client sent them.
pub fn introduce(
    fields: &mut HeaderMap,
    client_fields: &HeaderMap,
    host: Option<&HeaderValue>,
    session: &Session,
    ctx: &Context,
) {
    let (Some(client), Some(connection)) = (ctx.client, Connection::of(session.digest())) else { return };
    // What a trusted proxy said is gone on with, whether it is among the fields that are passed or not.
    for name in [X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PORT] {
        fields.remove(&name);
        if client.through == Through::TrustedProxy {
            fields.extend(client_fields.get_all(&name).iter().map(|value| (name.clone(), value.clone())));
        }
    }
    // Fails only where joined values are no header value, which they are.
    let _ = tell_of_client(fields, &client, connection, host);
    if let Some(route) = &ctx.route {
        tell_of_certificate(fields, route.certificate_fields, client.through, connection);
    }
    fields.insert(X_REQUEST_ID, ctx.request_id.to_header_value());
    if client.through == Through::Nobody {
        fields.remove(FORWARDED);
    }
}

fn tell_of_client(
    headers: &mut HeaderMap,
    client: &Client,
    connection: &Connection,
    host: Option<&HeaderValue>,
) -> Result<()> {
    let peer = &connection.peer_value;
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(client.scheme.as_str()));
    match client.through {
        Through::Nobody => {
            headers.insert(X_FORWARDED_FOR, peer.clone());
            headers.insert(X_REAL_IP, peer.clone());
            headers.insert(X_FORWARDED_PORT, connection.port_value.clone());
            set_or_remove(headers, X_FORWARDED_HOST, host.cloned());
        }
        Through::TrustedProxy => {
            append_list(headers, X_FORWARDED_FOR, peer)?;
            headers.insert(X_REAL_IP, address_value(client.address));
            if !headers.contains_key(X_FORWARDED_PORT) {
                headers.insert(X_FORWARDED_PORT, connection.port_value.clone());
            }
            if !headers.contains_key(X_FORWARDED_HOST) {
                set_or_remove(headers, X_FORWARDED_HOST, host.cloned());
            }
        }
    }
    Ok(())
}

fn tell_of_certificate(headers: &mut HeaderMap, fields: CertificateFields, through: Through, connection: &Connection) {
    let values = || connection.tls.as_ref().and_then(|tls| tls.certificate.as_ref());
    match (fields, through) {
        (CertificateFields::Keep, _) | (CertificateFields::KeepOfTrustedProxies, Through::TrustedProxy) => {}
        (CertificateFields::KeepOfTrustedProxies, Through::Nobody) | (CertificateFields::Remove, _) => {
            client_certificate::sanitize(headers);
        }
        (CertificateFields::Set, _) => {
            client_certificate::sanitize(headers);
            client_certificate::tell(headers, values());
        }
        (CertificateFields::SetSslClient(cert), _) => {
            client_certificate::sanitize(headers);
            client_certificate::tell_as_ssl_client(headers, values(), cert);
        }
    }
}

fn set_or_remove(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    match value {
        Some(value) => drop(headers.insert(name, value)),
        None => drop(headers.remove(name)),
    }
}

/// One field with the whole list: some upstreams read the first field only.
fn append_list(headers: &mut HeaderMap, name: HeaderName, item: &HeaderValue) -> Result<()> {
    let mut list = Vec::new();
    for value in headers.get_all(&name).iter().chain([item]) {
        if !list.is_empty() {
            list.extend_from_slice(b", ");
        }
        list.extend_from_slice(value.as_bytes());
    }
    let list = HeaderValue::from_bytes(&list)
        .map_err(|_| Error::explain(ErrorType::InternalError, "joined header values are a header value"))?;
    headers.insert(name, list);
    Ok(())
}

/// RFC 7239. What an untrusted client wrote is dropped.
fn append_forwarded(
    headers: &mut HeaderMap,
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
        Through::TrustedProxy => append_list(headers, FORWARDED, &element),
        Through::Nobody => {
            headers.insert(FORWARDED, element);
            Ok(())
        }
    }
}

/// Counts the request body on its way, notes when it is whole, and ends a request whose body grows beyond the limit.
pub fn watch_body(piece: Option<&Bytes>, place: Place, ctx: &mut Context) -> Result<()> {
    let Some(forwarding) = ctx.forwarding.as_deref_mut() else { return Ok(()) };
    let attempt = &mut forwarding.attempt;
    if attempt.sent.is_some() {
        // What comes after the request is a conversation: a WebSocket.
        return Ok(());
    }
    if place == Place::End || attempt.deadline.is_some() {
        let now = Instant::now();
        attempt.sent = (place == Place::End).then_some(now);
        if attempt.is_over_time(now) {
            let error = Error::explain(ErrorType::HTTPStatus(408), "the time for the request is over");
            return Err(error.into_down());
        }
    }
    let Some(piece) = piece else { return Ok(()) };
    forwarding.received_body += piece.len() as u64;
    match forwarding.max_body {
        Some(max) if forwarding.received_body > max => {
            let error = Error::explain(ErrorType::HTTPStatus(413), "the request body is larger than the limit");
            Err(error.into_down())
        }
        _ => Ok(()),
    }
}
