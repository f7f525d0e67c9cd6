//! A request arrives: who sends it, which route takes it, whether the checks let it pass.
//!
//! ```text
//! session ──► client, host, path ──► RequestView ──► router ──► checks ──► forward, or an Answer
//! ```

use std::borrow::Cow;
use std::sync::Arc;

use http::HeaderValue;
use http::header::{COOKIE, HOST};
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;

use super::affinity::Affinity;
use super::context::{Attempts, Context, Forwarding, KeptView};
use crate::model::{ForwardedField, Redirect};
use crate::proxy::Shared;
use crate::proxy::answer::{self, Answer};
use crate::proxy::client_address::{self, Through};
use crate::proxy::connection::Connection;
use crate::proxy::filters::{self, Verdict};
use crate::proxy::request_id::RequestId;
use crate::snapshot::host::Authority;
use crate::snapshot::path::{Resource, Target};
use crate::snapshot::request::RequestView;
use crate::snapshot::rewrite::{self, BadRewrite};
use crate::snapshot::table::{Action, Forward, Lookup, Route};
use crate::telemetry::record::Ended;

/// `None`: the request goes on to an upstream.
pub fn decide(shared: &Shared, session: &mut Session, ctx: &mut Context) -> Result<Option<Answer>> {
    join_cookies(session)?;
    let header = session.req_header();
    let Some(connection) = Connection::of(session.digest()) else {
        return Err(Error::explain(ErrorType::InternalError, "a session without its connection"));
    };
    let snapshot = connection.listener.snapshot(shared);
    let trusted = &snapshot.model.process.trusted_proxies;
    let client = client_address::resolve(connection.peer.ip(), connection.scheme(), &header.headers, trusted);
    ctx.begin(connection, client, version(session));
    ctx.request_id = match client.through {
        Through::TrustedProxy => RequestId::given(header.headers.get("x-request-id")),
        Through::Nobody => RequestId::generate(),
    };
    let refuse = |status, detail: &str, ctx: &mut Context| {
        ctx.record.ended = Ended::Refused("request");
        Ok(Some(Answer::error(status, detail, ctx.request_id(), answer::accept(session))))
    };

    if let Some(status) = refused_method(header) {
        return refuse(status, "this method is not served", ctx);
    }
    let host_value = authority(header);
    let Authority { host, port } = match Authority::parse(host_value.as_ref().map_or(&b""[..], |v| v.as_bytes())) {
        Ok(authority) => authority,
        Err(reason) => return refuse(400, &reason.to_string(), ctx),
    };
    let target = match Target::parse(header.raw_path()) {
        Ok(Target::Resource(target)) => target,
        // A question for the server as a whole (RFC 9110 §9.3.7): that it answers is the answer.
        Ok(Target::Server) if header.method == http::Method::OPTIONS => return Ok(Some(Answer::empty(204))),
        Ok(Target::Server) => return refuse(400, "only OPTIONS may ask for the server as a whole", ctx),
        Err(reason) => return refuse(400, &reason.to_string(), ctx),
    };
    let view = RequestView {
        method: header.method.as_str(),
        path: &target.path,
        query: target.query,
        host: &host,
        headers: &header.headers,
        client: client.address,
        scheme: client.scheme,
    };
    if misdirected(shared, session, connection, &host) {
        return refuse(421, "this connection's certificate is not that host's", ctx);
    }
    let route = match connection.listener.table(&snapshot).map(|table| table.find(&view)) {
        Some(Lookup::Route(route)) => route,
        Some(Lookup::NoHost) => return refuse(404, "no such host here", ctx),
        Some(Lookup::NoRoute) => return refuse(404, "nothing is served at this path", ctx),
        // Only a snapshot that never served this listener has nothing for it.
        None => return refuse(503, "this listener has been removed", ctx),
    };
    route.metrics.begin();
    ctx.route = Some(route.clone());
    if let Some((filter, verdict)) = filters::run(&route.chain.checks, &view, &target.raw) {
        ctx.record.ended = Ended::Refused(filter);
        return Ok(Some(match verdict {
            Verdict::Refuse { status, detail } => {
                Answer::error(status, detail, ctx.request_id(), answer::accept(session))
            }
            Verdict::Redirect { status, location } => Answer::redirect(status, location),
        }));
    }
    if route.needs.view {
        ctx.view = Some(KeptView::of(&view));
    }
    let arrival = Arrival {
        uri: &header.uri,
        view: &view,
        target: &target,
        port,
        host: host_value.as_deref(),
        forwarded: snapshot.model.process.forwarded,
    };
    let outcome = act(session, ctx, route, &arrival);
    if session.is_upgrade_req() {
        converse(session, route);
    }
    outcome
}

/// What the client speaks: a session of our own is a stream of HTTP/2, even where its request reads as HTTP/1.
fn version(session: &Session) -> http::Version {
    let session = session.as_downstream();
    if session.is_custom() { http::Version::HTTP_2 } else { session.req_header().version }
}

/// HTTP/2 may split the field; whatever comes after us expects one (RFC 9113 §8.2.3).
fn join_cookies(session: &mut Session) -> Result<()> {
    let version = version(session);
    let header = session.req_header_mut();
    if version != http::Version::HTTP_2 || header.headers.get_all(COOKIE).iter().nth(1).is_none() {
        return Ok(());
    }
    let pieces: Vec<&[u8]> = header.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let joined = HeaderValue::from_bytes(&pieces.join(&b"; "[..]))
        .map_err(|_| Error::explain(ErrorType::InternalError, "joined header values are a header value"))?;
    header.insert_header(COOKIE, joined)
}

/// Another protocol takes over: its silence is bounded by the route's timeouts, not by the listener's for requests.
fn converse(session: &mut Session, route: &Route) {
    if let Action::Forward(forward) = &route.action {
        session.set_read_timeout(Some(forward.timeouts.read));
        session.set_write_timeout(Some(forward.timeouts.write));
    }
}

/// What is known of a request that a route has taken.
struct Arrival<'a> {
    uri: &'a http::Uri,
    view: &'a RequestView<'a>,
    target: &'a Resource<'a>,
    /// Of the client's Host.
    port: Option<u16>,
    host: Option<&'a HeaderValue>,
    forwarded: ForwardedField,
}

fn act(session: &Session, ctx: &mut Context, route: &Arc<Route>, arrival: &Arrival<'_>) -> Result<Option<Answer>> {
    match &route.action {
        Action::Forward(forward) => {
            if let (Some(max), Some(length)) = (route.chain.max_body, content_length(session))
                && length > max
            {
                ctx.record.ended = Ended::Refused("max-body-size");
                let detail = "the request body is larger than the limit";
                return Ok(Some(Answer::error(413, detail, ctx.request_id(), answer::accept(session))));
            }
            match plan(route, forward, arrival) {
                Ok(forwarding) => {
                    ctx.forwarding = Some(Box::new(forwarding));
                    Ok(None)
                }
                Err(reason) => {
                    Ok(Some(Answer::error(400, &reason.to_string(), ctx.request_id(), answer::accept(session))))
                }
            }
        }
        Action::Redirect(redirect) => Ok(Some(redirect_answer(session, ctx, route, redirect, arrival))),
        Action::Respond(respond) => {
            Ok(Some(Answer { status: respond.status, headers: respond.headers.clone(), body: respond.body.clone() }))
        }
    }
}

fn plan(route: &Arc<Route>, forward: &Forward, arrival: &Arrival<'_>) -> Result<Forwarding, BadRewrite> {
    let (view, raw) = (arrival.view, &arrival.target.raw);
    let target = match rewrite::upstream_target(forward.rewrite.as_ref(), &route.path, view, raw)? {
        // An absolute target goes on in origin form; whatever else stands there stands in the URI to the letter.
        Cow::Borrowed(raw) => (arrival.uri.path_and_query().map(|path| path.as_str()) != Some(raw)).then(|| raw.into()),
        Cow::Owned(rewritten) => Some(rewritten),
    };
    Ok(Forwarding {
        route: route.clone(),
        target,
        host: arrival.host.cloned(),
        forwarded: arrival.forwarded,
        affinity: Affinity::of(&forward.upstream, view),
        max_body: route.chain.max_body,
        received_body: 0,
        attempt: Attempts::default(),
    })
}

fn redirect_answer(
    session: &Session,
    ctx: &Context,
    route: &Route,
    redirect: &Redirect,
    arrival: &Arrival<'_>,
) -> Answer {
    let refuse = |reason: &str| Answer::error(400, reason, ctx.request_id(), answer::accept(session));
    match rewrite::location(redirect, &route.path, arrival.view, &arrival.target.raw, arrival.port) {
        Ok(location) => match HeaderValue::try_from(location) {
            Ok(location) => Answer::redirect(redirect.status.code(), location),
            Err(_) => refuse("the request's URL cannot be written as a header"),
        },
        Err(reason) => refuse(&reason.to_string()),
    }
}

/// HTTP/1 heads were inspected before they came here; HTTP/2 ones come straight.
fn refused_method(header: &pingora::http::RequestHeader) -> Option<u16> {
    matches!(header.method, http::Method::TRACE | http::Method::CONNECT).then_some(405)
}

/// `:authority`, or the authority of an absolute target, or `Host`: Pingora has refused requests in which they differ.
fn authority(header: &pingora::http::RequestHeader) -> Option<Cow<'_, HeaderValue>> {
    match header.headers.get(HOST) {
        Some(host) => Some(Cow::Borrowed(host)),
        None => HeaderValue::from_str(header.uri.authority()?.as_str()).ok().map(Cow::Owned),
    }
}

/// A request on an HTTP/2 connection for a host that has another certificate (RFC 9110 §15.5.20).
fn misdirected(shared: &Shared, session: &Session, connection: &Connection, host: &str) -> bool {
    match &connection.tls {
        Some(tls) if version(session) == http::Version::HTTP_2 && tls.server_name.as_deref() != Some(host) => {
            shared.tls.certificates().store().misdirected(tls.server_name.as_deref(), host)
        }
        _ => false,
    }
}

fn content_length(session: &Session) -> Option<u64> {
    session.req_header().headers.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
