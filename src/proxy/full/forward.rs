//! An attempt begins: an endpoint is chosen, and the peer that Pingora connects to is made of it.

use std::os::fd::{BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use pingora::protocols::Digest;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;

use super::context::{Context, Forwarding};
use super::delay::unless_gone;
use super::pooled::{self, Connected};
use crate::snapshot::table::Timeouts;
use crate::snapshot::upstream::{PickError, PickRequest};
use crate::telemetry::record::{Ended, RequestRecord, UpstreamConnection};

pub async fn choose_peer(session: &mut Session, ctx: &mut Context) -> Result<Box<HttpPeer>> {
    let Some(forwarding) = ctx.forwarding.as_deref_mut() else {
        return Err(Error::explain(ErrorType::InternalError, "nothing says where to forward to"));
    };
    // The place of the attempt before may be the only one.
    forwarding.attempt.lease = None;
    let forward = forwarding.forward();
    // The first attempt begins with the request, as far as a clock can tell, unless that had to wait.
    let is_prompt = forwarding.attempt.begun == 0 && ctx.admission.delay.is_zero() && !ctx.was_held;
    let now = if is_prompt { ctx.record.started } else { Instant::now() };
    if forwarding.attempt.begun == 0 && forward.retry.attempts.get() > 1 {
        forward.upstream.note_request(now);
    }
    let pick = PickRequest {
        now,
        key: forwarding.affinity.key,
        sticky: forwarding.affinity.sticky.as_deref(),
        exclude: &forwarding.attempt.tried,
    };
    let deadline = forward.timeouts.request.map(|limit| ctx.record.started + limit);
    let acquired = unless_gone(session, forward.upstream.acquire(&pick, deadline)).await;
    let lease = match acquired.inspect_err(|_| ctx.record.ended = Ended::ClientClosed)? {
        Ok(lease) => lease,
        Err(unavailable) => {
            time_left(deadline, Instant::now(), &mut ctx.record)?;
            ctx.record.ended = match unavailable {
                PickError::NoEndpoints | PickError::AllUnhealthy => Ended::NoEndpoint,
                PickError::Saturated(_) => Ended::QueueOverflow,
            };
            return Err(Error::explain(ErrorType::HTTPStatus(503), unavailable.to_string()));
        }
    };
    if forwarding.attempt.begun > 0 {
        forward.metrics.retried();
        // What became of the attempt before is not what becomes of the request.
        (ctx.record.ended, ctx.record.first_byte, ctx.record.connection) = (Ended::Completed, None, None);
    }
    // Only TLS asks for a name.
    let name = if forward.upstream.definition().tls.is_some() { host_name(forwarding) } else { "" };
    let mut peer = lease.endpoint().peer(name);
    if session.is_upgrade_req() {
        // Only HTTP/1.1 has upgrades, whatever else the endpoint speaks.
        peer.options.set_http_version(1, 1);
    }
    // Waiting for a place is not the endpoint's latency.
    let may_have_waited = forward.upstream.definition().limits.max_connections.is_some();
    let begun = if may_have_waited { Instant::now() } else { now };
    set_timeouts(&mut peer, session, &forward.timeouts, time_left(deadline, begun, &mut ctx.record)?);
    let keepalive = &forward.upstream.definition().keepalive;
    let afterwards = pooled::decide(&mut peer, keepalive, lease.endpoint().pool());
    forwarding.pooling.afterwards = afterwards;
    let attempt = &mut forwarding.attempt;
    attempt.first.get_or_insert(begun);
    attempt.deadline = deadline;
    attempt.current = Some(begun);
    // What has a body is sent when its last piece has come: `departure::watch_body` sees it.
    attempt.sent = session.as_mut().is_body_empty().then_some(begun);
    attempt.begun += 1;
    ctx.record.endpoint = Some(lease.endpoint().address);
    ctx.record.retries = attempt.begun - 1;
    attempt.lease = Some(lease);
    Ok(peer)
}

/// The route's own, and no more than what is left of the time for the whole request.
fn set_timeouts(peer: &mut HttpPeer, session: &Session, timeouts: &Timeouts, left: Duration) {
    let options = &mut peer.options;
    options.connection_timeout = Some(timeouts.connect.min(left));
    options.total_connection_timeout = Some(timeouts.connect.min(left));
    options.write_timeout = Some(timeouts.write.min(left));
    // An upgraded connection is a conversation: the request's own time ends with the handshake.
    options.read_timeout = Some(if session.is_upgrade_req() { timeouts.read } else { timeouts.read.min(left) });
}

fn time_left(deadline: Option<Instant>, now: Instant, record: &mut RequestRecord) -> Result<Duration> {
    let Some(deadline) = deadline else { return Ok(Duration::MAX) };
    let left = deadline.saturating_duration_since(now);
    if left.is_zero() {
        record.ended = Ended::RequestTimeout;
        return Err(Error::explain(ErrorType::HTTPStatus(504), "the time for the request is over"));
    }
    Ok(left)
}

/// The host that is asked for, without a port: the name for TLS where nothing else gives one.
fn host_name(forwarding: &Forwarding) -> &str {
    let host = forwarding.forward().host.as_ref().or(forwarding.host.as_ref());
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Where an endpoint takes nothing more of a body, Pingora gives up writing and goes on reading, for as long as the time to read is: it may
/// have answered already. The kernel ends the connection when nothing was taken for the time to write, which ends both.
fn bound_silence(fd: RawFd, patience: Duration) {
    // SAFETY: Pingora holds the connection, and with it the socket, while this runs.
    let socket = unsafe { BorrowedFd::borrow_raw(fd) };
    // Without it the request ends later.
    let _ = socket2::SockRef::from(&socket).set_tcp_user_timeout(Some(patience));
}

pub fn connected(origin: Connected, fd: RawFd, digest: Option<&Digest>, ctx: &mut Context) -> Result<()> {
    let Some(forwarding) = ctx.forwarding.as_deref_mut() else { return Ok(()) };
    let definition = forwarding.forward().upstream.definition();
    if let Some(lease) = &forwarding.attempt.lease {
        pooled::taken(lease.endpoint().pool(), fd, origin);
    }
    let turn = pooled::take_turn(&definition.keepalive, definition.protocol, fd, digest, origin)?;
    (forwarding.pooling.turn, forwarding.pooling.socket) = (turn, fd);
    if forwarding.attempt.sent.is_none() {
        bound_silence(fd, forwarding.forward().timeouts.write);
    }
    let connection = match (origin, forwarding.attempt.current) {
        (Connected::Anew, Some(begun)) => {
            let now = Instant::now();
            // Nothing was sent before there was a connection.
            forwarding.attempt.sent = forwarding.attempt.sent.map(|_| now);
            UpstreamConnection::New { took: now - begun }
        }
        (Connected::FromPool, _) | (Connected::Anew, None) => {
            // A body, or another request that fetches the same, may have been waited for since it began.
            forwarding.attempt.taken = Some(Instant::now());
            UpstreamConnection::Reused
        }
    };
    forwarding.forward().metrics.connected(connection);
    ctx.record.connection = Some(connection);
    Ok(())
}
