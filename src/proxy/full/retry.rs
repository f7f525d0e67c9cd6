//! An attempt has failed: what is to be learned from it, and may there be another?

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
use crate::proxy::attempts::{Replay, Sent};
use crate::snapshot::upstream::Outcome;
use crate::telemetry::record::Ended;

/// A connection that was never made: nothing was sent.
pub fn after_connect_failure(session: &Session, ctx: &mut Context, mut error: Box<Error>) -> Box<Error> {
    let timed_out = matches!(error.etype(), ConnectTimedout | TLSHandshakeTimedout);
    let Some(forwarding) = ctx.forwarding.as_deref_mut() else { return error };
    let (attempt, forward) = (&forwarding.attempt, forwarding.forward());
    ctx.record.ended = match error.etype() {
        _ if timed_out && attempt.is_over_time(Instant::now()) => Ended::RequestTimeout,
        _ if timed_out => Ended::UpstreamConnectTimeout,
        TLSHandshakeFailure | InvalidCert => Ended::UpstreamTlsFailed,
        _ => Ended::UpstreamConnectFailed,
    };
    match ctx.record.ended {
        Ended::RequestTimeout => attempt.report_over_time(forward.timeouts.request),
        Ended::UpstreamTlsFailed => attempt.report_no_tls(&forward.upstream),
        _ => attempt.report(if timed_out { Outcome::TimedOut } else { Outcome::ConnectFailed }),
    }
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
            error.set_retry(forwarding.attempt.was_stale());
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
    let was_closed = condition == RetryOn::Reset && *error.etype() != InvalidHTTPHeader;
    let stale = origin == Connected::FromPool
        && was_closed
        && ctx.record.first_byte.is_none()
        && forwarding.attempt.may_be_stale();
    if stale && session.response_written().is_none() && replay(session, forwarding) == Replay::Possible {
        forwarding.received_body = 0;
        error.set_retry(forwarding.attempt.was_stale());
        return error;
    }
    // An answer has been reported when it began.
    if ctx.record.first_byte.is_none() {
        match ended {
            Ended::RequestTimeout => forwarding.attempt.report_over_time(forwarding.forward().timeouts.request),
            _ => forwarding.attempt.report(outcome),
        }
    }
    let again = session.response_written().is_none() && may_try_again(session, forwarding, condition, Sent::Something);
    error.set_retry(again);
    ctx.record.ended = ended;
    error
}

/// Asks the policy, the clock and the budget; a yes is spent.
pub fn may_try_again(session: &Session, forwarding: &mut Forwarding, condition: RetryOn, sent: Sent) -> bool {
    let replay = replay(session, forwarding);
    let Some(forward) = forwarding.route.forward(forwarding.arm) else { return false };
    let allowed = forwarding.attempt.may_try_again(forward, condition, sent, replay);
    if allowed {
        forwarding.received_body = 0;
    }
    allowed
}

/// Whether there may be another attempt if the budget allows it. Nothing is spent.
pub fn is_left(session: &Session, forwarding: &Forwarding, condition: RetryOn) -> bool {
    forwarding.attempt.is_in_bounds(&forwarding.forward().retry, condition, Instant::now())
        && replay(session, forwarding) == Replay::Possible
}

/// The body must have been kept whole.
fn replay(session: &Session, forwarding: &Forwarding) -> Replay {
    let kept = !session.as_downstream().retry_buffer_truncated()
        && forwarding.received_body <= forwarding.forward().retry.max_body.0;
    if kept && session.req_header().method.is_idempotent() { Replay::Possible } else { Replay::Impossible }
}
