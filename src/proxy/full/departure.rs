//! The request leaves for the upstream: rewritten, with what the upstream needs to know of the client.
//!
//! Pingora has removed hop-by-hop fields before this.
//!
//! Field names go out in lower case, as from Envoy and HAProxy and as HTTP/2 clients send them: Pingora's map of the
//! client's spelling makes each field that is set here five times as dear (5 % of a small request, measured).

use std::time::Instant;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, HOST, TE, TRAILER};
use http::{HeaderMap, HeaderValue};
use pingora::http::RequestHeader;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;

use super::context::Context;
use super::pooled::Turn;
use super::sign_in;
use crate::model::ForwardCredentials;
use crate::proxy::connection::Connection;
use crate::proxy::filters::{self, Place};
use crate::proxy::introduction::Introduction;

pub fn prepare(session: &Session, request: &mut RequestHeader, ctx: &Context) -> Result<()> {
    let (Some(forwarding), Some(client), Some(connection)) =
        (ctx.forwarding.as_deref(), ctx.client, Connection::of(session.digest()))
    else {
        return Err(Error::explain(ErrorType::InternalError, "a request leaves that has not arrived"));
    };
    let nothing = RequestHeader::from(http::Request::new(()).into_parts().0);
    let mut parts: http::request::Parts = std::mem::replace(request, nothing).into();
    let headers = &mut parts.headers;
    let host = forwarding.host.as_ref();
    let introduction = Introduction { client: &client, connection, host, request_id: &ctx.request_id };
    introduction.make(headers, forwarding.route.certificate_fields, forwarding.forwarded);
    // An upgraded connection serves no other request anyway, and its `Connection` is needed.
    if forwarding.pooling.turn == Turn::Last && !session.is_upgrade_req() {
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
    let introduction = Introduction { client: &client, connection, host, request_id: &ctx.request_id };
    introduction.make_to_others(fields, client_fields, ctx.route.as_ref().map(|route| route.certificate_fields));
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
