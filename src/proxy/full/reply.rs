//! An answer on its way to the client: the upstream's, or Weir's own.

use std::borrow::Cow;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, SET_COOKIE, TRAILER, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;

use super::arrive::asks_for_tunnel;
use super::cache;
use super::compression;
use super::context::{Context, Purpose, Replaced};
use super::pace;
use super::page;
use super::page_upstream::Fetcher;
use super::pooled::{self, Afterwards};
use super::retry;
use super::sign_in;
use crate::model::{Logging, RetryOn, Scheme};
use crate::proxy::Shared;
use crate::proxy::answer::{self, Answer};
use crate::proxy::attempts::Sent;
use crate::proxy::connection::Connection;
use crate::proxy::fields::{closes_by_a_later_field, content_length, length, named_by_connection};
use crate::proxy::filters;
use crate::snapshot::host::Authority;
use crate::telemetry::record::{Ended, RequestText};

/// The upstream has sent a head. One whose status is to be tried elsewhere becomes an error while that is possible.
pub fn received(session: &Session, response: &ResponseHeader, ctx: &mut Context) -> Result<()> {
    let status = response.status.as_u16();
    if !says_clearly_where_it_ends(response) {
        return Err(unreadable("the upstream's answer says two things of its body"));
    }
    if response.status.is_informational() && status != 101 {
        return Ok(());
    }
    if status == 101 && !session.is_upgrade_req() {
        // What follows would be read as something that nobody has asked for (RFC 9110 §15.2.2).
        return Err(unreadable("the upstream has changed to a protocol that the client does not ask for"));
    }
    let now = note_answer(status, ctx);
    let Some(forwarding) = ctx.forwarding.as_deref_mut() else { return Ok(()) };
    if forwarding.forward().retry.on.contains(&RetryOn::Status(status))
        && retry::may_try_again(session, forwarding, RetryOn::Status(status), Sent::Something)
    {
        return Err(Error::explain(ErrorType::HTTPStatus(status), "the upstream answered with this").into_up());
    }
    if status >= 400 && cache::gives_way(session, status, ctx) {
        return Err(Error::explain(ErrorType::HTTPStatus(status), "something that is kept is shown instead").into_up());
    }
    if status == 304 {
        cache::note_validation(response, ctx);
    }
    ctx.record.first_byte = Some(now - ctx.record.started);
    let Some(forwarding) = ctx.forwarding.as_deref_mut() else { return Ok(()) };
    if status == 101 || response.version == http::Version::HTTP_2 {
        forwarding.pooling.afterwards = Afterwards::NotCounted;
    } else if forwarding.attempt.sent.is_none() || closes_by_a_later_field(&response.headers) {
        pooled::spoil(forwarding.pooling.socket);
    }
    if status == 101 {
        // Known from here on: the time for the request ends with the handshake.
        ctx.record.status = status;
    } else if response.status.is_success() && asks_for_tunnel(session) {
        // The client is told that it is none. The endpoint is not to blame: whoever asks it for a tunnel may be.
        ctx.record.ended = Ended::UpstreamProtocol;
    }
    Ok(())
}

fn unreadable(detail: &'static str) -> Box<Error> {
    Error::explain(ErrorType::InvalidHTTPHeader, detail).into_up()
}

/// Pingora lets a coding win over whatever length stands beside it, and takes the last coding for the only one: two readers of such an
/// answer could differ (RFC 9112 §6.3). The same length several times is one (RFC 9110 §8.6).
fn says_clearly_where_it_ends(response: &ResponseHeader) -> bool {
    let mut codings = response.headers.get_all(TRANSFER_ENCODING).iter();
    let is_chunked_at_most = match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    };
    let lengths = response.headers.get_all(CONTENT_LENGTH).iter();
    let mut lengths =
        lengths.flat_map(|value| value.as_bytes().split(|b| *b == b',')).map(|text| length(text.trim_ascii()));
    let first = lengths.next();
    is_chunked_at_most && first != Some(None) && lengths.all(|length| Some(length) == first)
}

/// The endpoint is told how it did. Returns the present.
pub fn note_answer(status: u16, ctx: &Context) -> Instant {
    ctx.forwarding.as_deref().map_or_else(Instant::now, |forwarding| forwarding.attempt.answered(status))
}

/// What the client gets of the upstream's head.
pub fn edit(session: &mut Session, response: &mut ResponseHeader, ctx: &mut Context) {
    if response.status == http::StatusCode::SWITCHING_PROTOCOLS {
        converse(session, ctx);
    }
    own_the_message(response);
    if response.status.is_informational() {
        return;
    }
    if session.is_process_shutting_down() {
        session.set_keepalive(None);
    }
    strip_hop_by_hop(response);
    cache::account(session, response, ctx);
    rewrite(session, response, ctx);
    if let Some(forwarding) = ctx.forwarding.as_deref()
        && let Some(lease) = &forwarding.attempt.lease
        && let Some(cookie) = forwarding.affinity.cookie(
            &forwarding.forward().upstream,
            lease.endpoint(),
            &forwarding.attempt.tried,
            ctx.client.map_or(Scheme::Http, |client| client.scheme),
        )
        && let Ok(cookie) = HeaderValue::try_from(cookie)
    {
        // Fails only beyond 32,768 fields.
        let _ = response.append_header(SET_COOKIE, cookie);
    }
    apply_edits(session, response, ctx);
    pace::response(session, ctx, 0);
}

/// What the upstream says of itself.
fn rewrite(session: &Session, response: &mut ResponseHeader, ctx: &Context) {
    let Some(route) = &ctx.route else { return };
    if let Some(rewrite) = &route.chain.response_rewrite
        && let Some(view) = ctx.view_for_edits(&session.req_header().headers)
    {
        let host = ctx.forwarding.as_ref().and_then(|forwarding| forwarding.host.as_ref());
        let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
        filters::rewrite(rewrite, response, &ctx.facts(&view, session.req_header()), host);
    }
}

/// Another protocol takes over: its silence is bounded by the route's timeouts, not by the listener's for requests.
fn converse(session: &mut Session, ctx: &Context) {
    if let Some(connection) = Connection::of(session.digest()) {
        connection.has_switched.store(true, Ordering::Relaxed);
    }
    if let Some(forwarding) = &ctx.forwarding {
        let timeouts = &forwarding.forward().timeouts;
        session.set_read_timeout(Some(timeouts.read));
        session.set_write_timeout(Some(timeouts.write));
    }
}

pub fn apply_edits(session: &Session, response: &mut ResponseHeader, ctx: &Context) {
    let Some(route) = &ctx.route else { return };
    for cookie in ctx.vouched.cookies(response.status.as_u16()) {
        // Fails only beyond 32,768 fields.
        let _ = response.append_header(SET_COOKIE, cookie.clone());
    }
    if filters::edits(&route.chain)
        && let Some(view) = ctx.view_for_edits(&session.req_header().headers)
    {
        // What a check or a filter answers is nothing to keep.
        let is_kept = ctx.record.ended == Ended::Completed && ctx.replaced == Replaced::Nothing;
        let facts = ctx.facts(&view, session.req_header());
        filters::edit(&route.chain, response, &facts, is_kept.then(SystemTime::now));
    }
}

/// What Weir itself says of a message that it sends on: its own version (RFC 9112 §2.3), one length (RFC 9110 §8.6), and no
/// framing where there is no body (RFC 9112 §6.1).
fn own_the_message(response: &mut ResponseHeader) {
    if response.version == http::Version::HTTP_10 {
        response.set_version(http::Version::HTTP_11);
    }
    if let Some(length) = length_said_again(response) {
        // Replacing a field makes no new one, so this does not fail.
        let _ = response.insert_header(CONTENT_LENGTH, length);
    }
    if matches!(response.status.as_u16(), 100..=199 | 204) && response.headers.contains_key(TRANSFER_ENCODING) {
        response.remove_header(&TRANSFER_ENCODING);
    }
}

/// Of a length that is said several times, the first; those that differ have been refused.
fn length_said_again(response: &ResponseHeader) -> Option<HeaderValue> {
    let mut lengths = response.headers.get_all(CONTENT_LENGTH).iter();
    let (first, is_alone) = (lengths.next()?.as_bytes(), lengths.next().is_none());
    let mut items = first.split(|b| *b == b',');
    let (item, is_all) = (items.next()?.trim_ascii(), items.next().is_none());
    if is_alone && is_all { None } else { HeaderValue::from_bytes(item).ok() }
}

/// RFC 9110 §7.6.1. Pingora writes `Connection` anew, and keeps `Upgrade` apart. What says where the body ends is not the
/// connection's, whatever an upstream thinks.
pub fn strip_hop_by_hop(response: &mut ResponseHeader) {
    if response.headers.contains_key(CONNECTION) {
        let stays = |name: &HeaderName| name == CONNECTION || name == CONTENT_LENGTH || name == TRANSFER_ENCODING;
        for name in named_by_connection(&response.headers).iter().filter(|name| !stays(name)) {
            response.remove_header(name);
        }
    }
    // HTTP/1 trailers end here, so none may be announced.
    let trailer = if response.version == http::Version::HTTP_2 { None } else { Some(TRAILER) };
    for name in [KEEP_ALIVE, PROXY_CONNECTION].into_iter().chain(trailer) {
        if response.headers.contains_key(&name) {
            response.remove_header(&name);
        }
    }
}

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Weir's own answer.
pub async fn answer(fetcher: &Fetcher, session: &mut Session, ctx: &mut Context, mut answer: Answer) -> Result<()> {
    let error = answer.status;
    page::dress(fetcher, session, ctx, &mut answer).await;
    let mut head = answer.head()?;
    apply_edits(session, &mut head, ctx);
    let body = compression::whole(session, &mut head, answer.body, ctx)?;
    pace::response(session, ctx, body.len() as u64);
    ctx.record.status = answer.status;
    match error {
        // What could not be understood may have been misunderstood, and what is late may never come: nothing more is
        // read from there.
        400 | 408 => session.set_keepalive(None),
        // No other request comes behind what would be read.
        _ if is_last(session) => {}
        _ => read_past_body(session).await,
    }
    answer::send(session, head, body).await?;
    Ok(())
}

/// Whether the connection ends with the answer, or the stream of HTTP/2, as each does.
fn is_last(session: &Session) -> bool {
    let session = session.as_downstream();
    session.is_custom() || session.get_keepalive().is_none()
}

/// A small body that nobody wants is read, so that the connection can be used again; a larger one ends it.
pub async fn read_past_body(session: &mut Session) {
    const SMALL: u64 = 64 << 10;
    let headers = &session.req_header().headers;
    let length = content_length(headers);
    // Who expects 100-continue sends nothing before it was told to.
    if length.is_none_or(|length| length > SMALL) || headers.contains_key(EXPECT) {
        return;
    }
    session.set_total_drain_timeout(Some(READ_PAST_LIMIT));
    if let Err(error) = session.drain_request_body().await {
        tracing::debug!(%error, "the rest of a request body did not come");
    }
}

/// For the rest of a small body to arrive.
const READ_PAST_LIMIT: Duration = Duration::from_secs(5);

/// The time for the whole request holds for an answer that trickles, too.
pub fn watch_deadline(ctx: &mut Context) -> Result<()> {
    let Some(forwarding) = ctx.forwarding.as_deref() else { return Ok(()) };
    let attempt = &forwarding.attempt;
    if attempt.deadline.is_none() || ctx.record.status == 101 || !attempt.is_over_time(Instant::now()) {
        return Ok(());
    }
    ctx.record.ended = Ended::RequestTimeout;
    Err(Error::explain(ErrorType::ReadTimedout, "the time for the request is over").into_up())
}

/// The last phase of every request: it is counted, and written to the log.
pub fn finish(shared: &Shared, session: &mut Session, error: Option<&Error>, ctx: &mut Context) {
    let now = Instant::now();
    let record = &mut ctx.record;
    // Given back before anything is counted: who reads a metric sees the place free.
    ctx.admission.places = filters::Places::default();
    if let Some(forwarding) = ctx.forwarding.as_deref_mut() {
        if let Some(lease) = forwarding.attempt.lease.take()
            && error.is_none()
        {
            pooled::left(lease.endpoint().pool(), forwarding.pooling.socket, forwarding.pooling.afterwards);
        }
        record.upstream_time = forwarding.attempt.first.map(|first| now - first);
    }
    if let Some(written) = session.response_written() {
        record.status = written.status.as_u16();
    }
    record.ended = match record.ended {
        Ended::Completed if error.is_some() && ctx.replaced == Replaced::Nothing => Ended::ClientClosed,
        Ended::Completed if record.status == 101 => Ended::Upgraded,
        ended => ended,
    };
    record.bytes_out = session.body_bytes_sent() as u64;
    record.bytes_in = session.body_bytes_read() as u64;
    record.finish(now);
    if let Some(forwarding) = &ctx.forwarding {
        forwarding.forward().metrics.end(record);
    }
    if ctx.purpose == Purpose::Refresh {
        return;
    }
    let method = session.req_header().method.as_str();
    match &ctx.route {
        Some(route) => route.metrics(ctx.arm).end(method, record),
        None => {
            if let Some(connection) = Connection::of(session.digest()) {
                let unrouted = &connection.listener.metrics.unrouted;
                unrouted.begin();
                unrouted.end(method, record);
            }
        }
    }
    if ctx.route.as_ref().is_some_and(|route| route.chain.logging == Logging::Off) {
        return;
    }
    if let Some(log) = &*shared.access_log.load()
        && let Some(connection) = Connection::of(session.digest())
    {
        let (host, target) = (host_of(session), target_of(session, ctx));
        log.write(&ctx.record, &text(session, ctx, connection, &host, &target));
    }
}

/// As it is routed: lowercase, without the port. Empty where there is none, or none that could be read.
pub fn host_of(session: &Session) -> Cow<'_, str> {
    let request = session.req_header();
    let field = match request.headers.get(http::header::HOST) {
        Some(host) => host.as_bytes(),
        None => request.uri.authority().map_or(&b""[..], |authority| authority.as_str().as_bytes()),
    };
    Authority::parse(field).map(|authority| authority.host).unwrap_or_default()
}

/// As the client sent it, but for what is nobody's to read.
fn target_of<'a>(session: &'a Session, ctx: &Context) -> Cow<'a, [u8]> {
    let raw = session.req_header().raw_path();
    let shown = ctx.route.as_ref().and_then(|route| sign_in::target_for_log(route, raw));
    shown.map_or(Cow::Borrowed(raw), |target| Cow::Owned(target.into_bytes()))
}

fn text<'a>(
    session: &'a Session,
    ctx: &'a Context,
    connection: &'a Connection,
    host: &'a str,
    target: &'a [u8],
) -> RequestText<'a> {
    let request = session.req_header();
    let header = |name: HeaderName| request.headers.get(name).map(HeaderValue::as_bytes);
    RequestText {
        request_id: ctx.request_id(),
        user: ctx.user.as_deref(),
        listener: connection.listener.name.as_str(),
        method: request.method.as_str(),
        target,
        host,
        route: ctx.route.as_ref().map(|route| route.name.as_str()),
        upstream: ctx.forwarding.as_ref().map(|forwarding| forwarding.forward().upstream.definition().name.as_str()),
        sni: connection.tls.as_ref().and_then(|tls| tls.server_name.as_deref()),
        user_agent: header(http::header::USER_AGENT),
        referer: header(http::header::REFERER),
    }
}
