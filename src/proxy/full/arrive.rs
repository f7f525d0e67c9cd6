//! A request arrives: who sends it, which route takes it, whether the checks let it pass.
//!
//! ```text
//! session ──► client, host, path ──► RequestView ──► router ──► checks ──► forward, or an Answer
//! ```

use std::borrow::Cow;
use std::sync::Arc;

use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, HOST, UPGRADE};
use http::{HeaderName, HeaderValue};
use pingora::http::RequestHeader;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;

use super::cache;
use super::context::{Context, Forwarding, KeptView, Pooling, Purpose};
use super::files::Wanted;
use super::mirror;
use super::pace;
use crate::model::{ClientAuthRefusal, ForwardedField, Redirect};
use crate::proxy::Shared;
use crate::proxy::affinity::Affinity;
use crate::proxy::answer::{self, Answer};
use crate::proxy::attempts::Attempts;
use crate::proxy::client_address;
use crate::proxy::connection::Connection;
use crate::proxy::fields::{self, closes_by_a_later_field, content_length};
use crate::proxy::filters::{self, Verdict};
use crate::proxy::head;
use crate::proxy::refusal::{Refused, judged};
use crate::proxy::request_id::RequestId;
use crate::sharded::Common;
use crate::snapshot::Snapshot;
use crate::snapshot::error_pages::ErrorPages;
use crate::snapshot::host::Authority;
use crate::snapshot::path::{Resource, Target};
use crate::snapshot::request::{HeaderFields, RequestView};
use crate::snapshot::rewrite::{self, BadRewrite};
use crate::snapshot::table::{Action, Forward, Lookup, Route};
use crate::telemetry::record::{Ended, RequestRecord};
use crate::tls::{Agreement, HTTP_CHALLENGE_PATH, Unmet};

/// What becomes of a request.
pub enum Decision {
    /// It goes on to an upstream.
    Forward,
    Answer(Answer),
    /// From a folder.
    Serve(Wanted),
}

pub fn decide(shared: &Shared, session: &mut Session, ctx: &mut Context) -> Result<Decision> {
    pace::forget(session);
    tidy(session)?;
    let Some(connection) = Connection::of(session.digest()) else {
        return Err(Error::explain(ErrorType::InternalError, "a session without its connection"));
    };
    if session.subrequest_ctx.is_some() {
        ctx.purpose = Purpose::Refresh;
    }
    let snapshot = connection.listener.snapshot(shared);
    introduce(&snapshot, session, connection, ctx);
    if let Some(answer) = challenge_answer(shared, session.req_header()) {
        return Ok(Decision::Answer(answer));
    }
    let refused = match admit(shared, &snapshot, session, connection, ctx) {
        Ok(outcome) => {
            cache::heed_body(session, ctx);
            return Ok(outcome);
        }
        Err(refused) => refused,
    };
    Ok(Decision::Answer(page(refused, session, ctx)))
}

/// What a filter that was asked later says.
pub fn answer_of(filter: &'static str, verdict: Verdict, session: &Session, ctx: &mut Context) -> Answer {
    judged(filter, verdict, &mut ctx.record).unwrap_or_else(|refused| page(refused, session, ctx))
}

fn page(refused: Refused, session: &Session, ctx: &mut Context) -> Answer {
    refused.page(ctx.request_id.as_str(), answer::accept(session), &mut ctx.record)
}

/// An ACME authority looks whether this name is ours (RFC 8555 §8.3): before hosts, redirects and checks, on any listener.
/// A token that we were not given is somebody else's, and routed like any other path.
fn challenge_answer(shared: &Shared, header: &RequestHeader) -> Option<Answer> {
    let token = header.raw_path().strip_prefix(HTTP_CHALLENGE_PATH.as_bytes())?;
    if !matches!(header.method, http::Method::GET | http::Method::HEAD) {
        return None;
    }
    let body = shared.tls.challenges().key_authorization(std::str::from_utf8(token).ok()?)?;
    let kind = (http::header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    Some(Answer { headers: vec![kind], body, ..Answer::empty(200) })
}

/// Who sends it, and what it is called from here on.
fn introduce(snapshot: &Snapshot, session: &Session, connection: &Connection, ctx: &mut Context) {
    let headers = &session.req_header().headers;
    let trusted = &snapshot.model.process.trusted_proxies;
    let client = client_address::resolve(connection.peer.ip(), connection.scheme(), headers, trusted);
    ctx.begin(connection, client, version(session));
    let ids = snapshot.model.process.request_ids;
    ctx.request_id = RequestId::of(ids, client.through, headers.first("x-request-id"));
}

/// What it asks for, which route takes it, and whether that route's checks let it pass.
fn admit(
    shared: &Shared,
    snapshot: &Snapshot,
    session: &Session,
    connection: &Connection,
    ctx: &mut Context,
) -> Result<Decision, Refused> {
    let header = session.req_header();
    let client = ctx.client.ok_or_else(|| Refused::new(500, "the request has no client"))?;
    // HTTP/1 heads were inspected before they came here; HTTP/2 ones come straight.
    if matches!(header.method, http::Method::TRACE | http::Method::CONNECT) {
        return Err(Refused::new(405, "this method is not served"));
    }
    let is_stream = version(session) == http::Version::HTTP_2;
    if is_stream && header.headers.values().any(|value| fields::is_spaced(value.as_bytes())) {
        return Err(Refused::new(400, "a header field's value begins or ends with a space"));
    }
    if is_stream && header.headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some() {
        return Err(Refused::new(400, "there are two Content-Length fields"));
    }
    let host_value = authority(header);
    let host_bytes = host_value.as_ref().map_or(&b""[..], |value| value.as_bytes());
    let Authority { host, port } =
        Authority::parse(host_bytes).map_err(|reason| Refused::new(400, reason.to_string()))?;
    let target = match Target::parse(header.raw_path()).map_err(|reason| Refused::new(400, reason.to_string()))? {
        Target::Resource(target) => target,
        // A question for the server as a whole (RFC 9110 §9.3.7): that it answers is the answer.
        Target::Server if header.method == http::Method::OPTIONS => return Ok(Decision::Answer(Answer::empty(204))),
        Target::Server => return Err(Refused::new(400, "only OPTIONS may ask for the server as a whole")),
    };
    if is_stream && connection.misdirects(&host, &shared.tls) {
        return Err(Refused::new(421, "this connection's certificate is not that host's"));
    }
    let view = RequestView {
        method: header.method.as_str(),
        path: &target.path,
        query: target.query,
        host: &host,
        port,
        headers: &header.headers,
        client: client.address,
        scheme: client.scheme,
    };
    let route = locate(snapshot, connection, &view, &mut ctx.pages)?;
    ctx.arm = route.arm(&view);
    if ctx.purpose == Purpose::Client {
        route.metrics(ctx.arm).begin();
    }
    ctx.route = Some(route.own());
    if let Some(outcome) = on_its_terms(route, connection, &view, &target.raw, &mut ctx.record) {
        return outcome;
    }
    if ctx.purpose == Purpose::Client {
        ctx.admission = match filters::admit(&route.chain, &view, &target.raw, ctx.record.started) {
            Ok(admission) => admission,
            Err((filter, verdict)) => return judged(filter, verdict, &mut ctx.record).map(Decision::Answer),
        };
    }
    if route.needs.view {
        ctx.view = Some(KeptView::of(&view));
    }
    let (host, forwarded) = (host_value.as_deref(), snapshot.model.process.forwarded);
    act(ctx, route, &Arrival { header, view: &view, target: &target, host, forwarded })
}

fn locate<'s>(
    snapshot: &'s Snapshot,
    connection: &Connection,
    view: &RequestView<'_>,
    pages: &mut Option<Arc<ErrorPages>>,
) -> Result<&'s Common<Route>, Refused> {
    match connection.listener.table(snapshot).map(|table| table.find(view)) {
        Some(Lookup::Route(route)) => Ok(route),
        Some(Lookup::Elsewhere(_)) => Err(Refused::new(421, "this host is spoken with on a connection of its own")),
        Some(Lookup::NoHost(shown)) => {
            *pages = shown.cloned();
            Err(Refused::new(404, "no such host here"))
        }
        Some(Lookup::NoRoute(terms, shown)) => {
            *pages = shown.cloned();
            // Not even that is for everybody to know.
            terms.judge(agreement(connection)).map_err(unmet)?;
            Err(Refused::new(404, "nothing is served at this path"))
        }
        // Only a snapshot that never served this listener has nothing for it.
        None => Err(Refused::new(503, "this listener has been removed")),
    }
}

/// Whether the host is spoken with as it demands. Who comes without TLS may still be shown the way to it.
fn on_its_terms(
    route: &Route,
    connection: &Connection,
    view: &RequestView<'_>,
    raw: &str,
    record: &mut RequestRecord,
) -> Option<Result<Decision, Refused>> {
    let reason = route.terms.judge(agreement(connection)).err()?;
    match filters::run(&route.chain.checks, view, raw) {
        Some((filter, Verdict::Redirect { status, location }))
            if reason == Unmet::Plain && location.as_bytes().starts_with(b"https:") =>
        {
            record.ended = Ended::Refused(filter);
            Some(Ok(Decision::Answer(Answer::redirect(status, location))))
        }
        Some(_) | None => Some(shown_the_way(route, reason, record).ok_or_else(|| unmet(reason))),
    }
}

/// To the page that says how one comes by a certificate, where there is such a page.
fn shown_the_way(route: &Route, reason: Unmet, record: &mut RequestRecord) -> Option<Decision> {
    match (reason, &route.terms.client.as_ref()?.refusal) {
        (Unmet::NoCertificate | Unmet::BadCertificate, ClientAuthRefusal::Request { page: Some(page) }) => {
            record.ended = Ended::Refused("request");
            let page = HeaderValue::from_str(page).ok()?;
            Some(Decision::Answer(Answer::redirect(302, page)))
        }
        (_, ClientAuthRefusal::Request { .. } | ClientAuthRefusal::Handshake) => None,
    }
}

fn agreement(connection: &Connection) -> Option<&Agreement> {
    connection.tls.as_ref().map(|tls| &tls.agreement)
}

/// 421 where another connection will do (RFC 9110 §15.5.20).
fn unmet(reason: Unmet) -> Refused {
    match reason {
        Unmet::Version => Refused::new(421, "this host demands a newer TLS version than this connection has"),
        Unmet::Certificate => {
            Refused::new(421, "this host demands a client certificate that this connection was not asked for")
        }
        Unmet::Plain => Refused::new(403, "this host demands a client certificate: speak TLS with it"),
        Unmet::NoCertificate => Refused::new(400, "No required SSL certificate was sent"),
        Unmet::BadCertificate => Refused::new(400, "The SSL certificate error"),
        Unmet::Subject => Refused::new(403, "this host is not for the name in the client's certificate"),
    }
}

/// Brings the head into the one form that everything after us reads.
fn tidy(session: &mut Session) -> Result<()> {
    let version = version(session);
    if closes_by_a_later_field(&session.req_header().headers) {
        session.set_keepalive(None);
    }
    let header = session.req_header_mut();
    join_cookies(header)?;
    let upgrades = |value: &HeaderValue| {
        value.as_bytes().split(|b| *b == b',').any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    };
    // Without `Connection: upgrade` the field was meant for somebody else (RFC 9110 §7.8).
    if header.headers.contains_key(UPGRADE) && !header.headers.get_all(CONNECTION).iter().any(upgrades) {
        header.remove_header(&UPGRADE);
    }
    // What HTTP/1 heads are refused for before they come here.
    if version == http::Version::HTTP_2 {
        let imitates = |name: &&HeaderName| head::imitates(name.as_str().as_bytes());
        let imitations: Vec<HeaderName> = header.headers.keys().filter(imitates).cloned().collect();
        for name in &imitations {
            header.remove_header(name);
        }
        let is_padded = |value: &HeaderValue| fields::is_padded(value.as_bytes());
        if header.headers.get(CONTENT_LENGTH).is_some_and(is_padded)
            && let Some(length) = content_length(&header.headers)
        {
            header.insert_header(CONTENT_LENGTH, length.to_string())?;
        }
    }
    Ok(())
}

/// What the client speaks: a session of our own is a stream of HTTP/2, even where its request reads as HTTP/1.
pub fn version(session: &Session) -> http::Version {
    let session = session.as_downstream();
    if session.is_custom() || session.is_http2() { http::Version::HTTP_2 } else { session.req_header().version }
}

/// By an extended CONNECT, to which any success would be a yes.
pub fn asks_for_tunnel(session: &Session) -> bool {
    session.as_downstream().is_custom() && session.is_upgrade_req()
}

/// Clients may split the field, HTTP/2 ones do; whatever comes after us expects one (RFC 9113 §8.2.3).
fn join_cookies(header: &mut RequestHeader) -> Result<()> {
    if header.headers.get_all(COOKIE).iter().nth(1).is_none() {
        return Ok(());
    }
    let pieces: Vec<&[u8]> = header.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let joined = HeaderValue::from_bytes(&pieces.join(&b"; "[..]))
        .map_err(|_| Error::explain(ErrorType::InternalError, "joined header values are a header value"))?;
    header.insert_header(COOKIE, joined)
}

/// What is known of a request that a route has taken.
struct Arrival<'a> {
    header: &'a RequestHeader,
    view: &'a RequestView<'a>,
    target: &'a Resource<'a>,
    host: Option<&'a HeaderValue>,
    forwarded: ForwardedField,
}

fn act(ctx: &mut Context, route: &Common<Route>, arrival: &Arrival<'_>) -> Result<Decision, Refused> {
    match &route.action {
        Action::Forward(forward) => onward(ctx, route, forward, arrival),
        Action::Split(split) => onward(ctx, route, &split.arms()[ctx.arm], arrival),
        Action::Redirect(redirect) => redirect_answer(route, redirect, arrival).map(Decision::Answer),
        Action::Respond(respond) => {
            // As nginx's `return` with a status alone.
            let is_bare_error = respond.status >= 400 && respond.body.is_empty();
            Ok(Decision::Answer(Answer {
                status: respond.status,
                headers: respond.headers.clone(),
                body: respond.body.clone(),
                error: is_bare_error.then_some(Cow::Borrowed("")),
            }))
        }
        Action::Files(folder) => Ok(Decision::Serve(Wanted {
            folder: folder.clone(),
            path: arrival.view.path.into(),
            query: arrival.view.query.map(Into::into),
        })),
    }
}

/// To an upstream: the only one, or that of the arm of a split.
fn onward(
    ctx: &mut Context,
    route: &Common<Route>,
    forward: &Forward,
    arrival: &Arrival<'_>,
) -> Result<Decision, Refused> {
    if let (Some(max), Some(length)) = (route.chain.max_body, content_length(&arrival.header.headers))
        && length > max
    {
        let detail = "the request body is larger than the limit";
        return Err(Refused { by: "max-body-size", ..Refused::new(413, detail) });
    }
    let forwarding = plan(route, ctx.arm, forward, arrival).map_err(unwritable)?;
    ctx.forwarding = Some(Box::new(forwarding));
    let upstream = forward.upstream.definition().name.as_str();
    ctx.caching = cache::consider(route, upstream, arrival.header, arrival.view, &arrival.target.raw);
    Ok(Decision::Forward)
}

fn plan(route: &Common<Route>, arm: usize, forward: &Forward, arrival: &Arrival<'_>) -> Result<Forwarding, BadRewrite> {
    let (view, raw) = (arrival.view, &arrival.target.raw);
    let target = match rewrite::upstream_target(forward.rewrite.as_ref(), forward.query, &route.path, view, raw)? {
        // An absolute target goes on in origin form; whatever else stands there stands in the URI to the letter.
        Cow::Borrowed(raw) => {
            (arrival.header.uri.path_and_query().map(|path| path.as_str()) != Some(raw)).then(|| raw.into())
        }
        Cow::Owned(rewritten) => Some(rewritten),
    };
    Ok(Forwarding {
        route: route.own(),
        arm,
        target,
        host: arrival.host.cloned(),
        forwarded: arrival.forwarded,
        affinity: Affinity::of(&forward.upstream, view),
        shadows: mirror::choose(&route.chain.mirrors, view),
        max_body: route.chain.max_body,
        received_body: 0,
        attempt: Attempts::default(),
        pooling: Pooling::default(),
    })
}

fn unwritable(reason: BadRewrite) -> Refused {
    Refused::new(reason.status(), reason.to_string())
}

fn redirect_answer(route: &Route, redirect: &Redirect, arrival: &Arrival<'_>) -> Result<Answer, Refused> {
    let location = rewrite::location(redirect, &route.path, arrival.view, &arrival.target.raw).map_err(unwritable)?;
    let location = HeaderValue::try_from(location)
        .map_err(|_| Refused::new(400, "the request's URL cannot be written as a header"))?;
    Ok(Answer::redirect(redirect.status.code(), location))
}

/// `:authority`, or the authority of an absolute target, or `Host`: Pingora has refused requests in which they differ.
pub fn authority(header: &RequestHeader) -> Option<Cow<'_, HeaderValue>> {
    match header.headers.get(HOST) {
        Some(host) => Some(Cow::Borrowed(host)),
        None => HeaderValue::from_str(header.uri.authority()?.as_str()).ok().map(Cow::Owned),
    }
}
