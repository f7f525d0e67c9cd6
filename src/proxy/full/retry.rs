//! An attempt has failed: what is to be learned from it, and may there be another?
//!
//! Another attempt is made only when it is safe: nothing was sent, or the method is idempotent and the body can be
//! sent again; and never once a byte of an answer has gone to the client. It is bounded by tries, time and the
//! upstream's budget.

use std::time::Instant;

use pingora::ErrorType::{
    ConnectTimedout, HTTPStatus, InvalidCert, InvalidH2, InvalidHTTPHeader, ReadTimedout, TLSHandshakeFailure,
    TLSHandshakeTimedout, WriteTimedout,
};
use pingora::{Error, ErrorSource};
use pingora_proxy::Session;

use super::cache;
use super::context::{Context, Forwarding};
use super::pooled::{Connected, USED_UP};
use crate::model::RetryOn;
use crate::snapshot::upstream::Outcome;
use crate::telemetry::record::Ended;

/// A connection that was never made: nothing was sent.
pub fn after_connect_failure(session: &Session, ctx: &mut Context, mut error: Box<Error>) -> Box<Error> {
    let timed_out = matches!(error.etype(), ConnectTimedout | TLSHandshakeTimedout);
    ctx.record.ended = match error.etype() {
        _ if timed_out => Ended::UpstreamConnectTimeout,
        TLSHandshakeFailure | InvalidCert => Ended::UpstreamTlsFailed,
        _ => Ended::UpstreamConnectFailed,
    };
    let Some(forwarding) = ctx.forwarding.as_deref_mut() else { return error };
    report(forwarding, if timed_out { Outcome::TimedOut } else { Outcome::ConnectFailed });
    let again = may_try_again(session, forwarding, RetryOn::Connect, Sent::Nothing);
    error.set_retry(again);
    error
}

/// A connection that broke, timed out, or answered with a status that is to be tried elsewhere.
pub fn after_failure(session: &Session, ctx: &mut Context, mut error: Box<Error>, origin: Connected) -> Box<Error> {
    error.set_retry(false);
    if *error.esource() != ErrorSource::Upstream {
        return error;
    }
    let gave_way = cache::has_given_way(ctx);
    let Some(forwarding) = ctx.forwarding.as_deref_mut() else { return error };
    // What has ended the request already has nothing to do with the endpoint: `reply::watch_deadline`.
    if ctx.record.ended != Ended::Completed {
        return error;
    }
    // While the client is still sending, an endpoint has nothing to be late with.
    if *error.etype() == ReadTimedout && forwarding.attempt.sent.is_none() && ctx.record.status != 101 {
        ctx.record.ended = Ended::ClientTimeout;
        error.as_down();
        return error;
    }
    let (condition, outcome, ended) = match error.etype() {
        used_up if *used_up == USED_UP => {
            forwarding.attempt.stale += 1;
            error.set_retry(forwarding.attempt.stale < STALE_ATTEMPTS);
            return error;
        }
        // `reply::received` has reported it, and been told that it may be tried again, or that something is kept.
        HTTPStatus(_) => {
            error.set_retry(!gave_way);
            return error;
        }
        ReadTimedout | WriteTimedout if forwarding.attempt.is_over_time(Instant::now()) => {
            (RetryOn::Timeout, Outcome::TimedOut, Ended::RequestTimeout)
        }
        ReadTimedout | WriteTimedout => (RetryOn::Timeout, Outcome::TimedOut, Ended::UpstreamTimeout),
        InvalidHTTPHeader | InvalidH2 => (RetryOn::Reset, Outcome::Reset, Ended::UpstreamProtocol),
        _ => (RetryOn::Reset, Outcome::Reset, Ended::UpstreamReset),
    };
    // A pooled connection that the upstream closed while it was idle says nothing of the upstream's health.
    let stale = origin == Connected::FromPool && condition == RetryOn::Reset && ctx.record.first_byte.is_none();
    if stale && session.response_written().is_none() && is_replayable(session, forwarding) {
        forwarding.attempt.stale += 1;
        forwarding.received_body = 0;
        error.set_retry(forwarding.attempt.stale < STALE_ATTEMPTS);
        return error;
    }
    report(forwarding, outcome);
    let again = session.response_written().is_none() && may_try_again(session, forwarding, condition, Sent::Something);
    error.set_retry(again);
    ctx.record.ended = ended;
    error
}

/// Dead connections that one request takes out of the pool before it gives up.
const STALE_ATTEMPTS: u32 = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    Nothing,
    Something,
}

/// Asks the policy, the clock and the budget; a yes is spent.
pub fn may_try_again(session: &Session, forwarding: &mut Forwarding, condition: RetryOn, sent: Sent) -> bool {
    let now = Instant::now();
    let forward = forwarding.forward();
    let allowed = is_in_bounds(forwarding, condition, now)
        && match sent {
            // It cost the upstream nothing, so it costs the budget nothing.
            Sent::Nothing => true,
            Sent::Something => {
                is_replayable(session, forwarding) && forward.upstream.may_retry(now, forward.retry.budget)
            }
        };
    if allowed {
        leave_endpoint(forwarding);
    }
    allowed
}

/// Whether there may be another attempt if the budget allows it. Nothing is spent.
pub fn is_left(session: &Session, forwarding: &Forwarding, condition: RetryOn) -> bool {
    is_in_bounds(forwarding, condition, Instant::now()) && is_replayable(session, forwarding)
}

fn is_in_bounds(forwarding: &Forwarding, condition: RetryOn, now: Instant) -> bool {
    let retry = &forwarding.forward().retry;
    let begun = forwarding.attempt.first.unwrap_or(now);
    retry.on.contains(&condition)
        && forwarding.attempt.begun - forwarding.attempt.stale < retry.attempts.get()
        && retry.timeout.is_none_or(|limit| now - begun < limit)
        && !forwarding.attempt.is_over_time(now)
}

/// RFC 9110 §9.2.2, and a body that was kept whole.
fn is_replayable(session: &Session, forwarding: &Forwarding) -> bool {
    let kept = !session.as_downstream().retry_buffer_truncated()
        && forwarding.received_body <= forwarding.forward().retry.max_body.0;
    kept && session.req_header().method.is_idempotent()
}

fn report(forwarding: &mut Forwarding, outcome: Outcome) {
    if let Some(lease) = &forwarding.attempt.lease {
        lease.report(outcome, Instant::now());
    }
}

/// The next attempt goes elsewhere, where there is an elsewhere.
fn leave_endpoint(forwarding: &mut Forwarding) {
    if let Some(lease) = forwarding.attempt.lease.take() {
        forwarding.attempt.tried.push(lease.endpoint().address);
    }
    forwarding.received_body = 0;
}
