//! The attempts at one request, and whether there may be another; the same policy in both lanes.
//!
//! Another attempt is made only when it is safe: nothing was sent, or the method is idempotent and the body can be
//! sent again; and never once a byte of an answer has gone to the client. It is bounded by tries, time and the
//! upstream's budget.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::model::{Retry, RetryOn};
use crate::snapshot::table::Forward;
use crate::snapshot::upstream::{Lease, Outcome, Upstream};

/// Those that there were, and the one that is under way.
#[derive(Default)]
pub struct Attempts {
    pub begun: u32,
    /// Of those, the ones that found a pooled connection which the upstream had closed: they count for nothing.
    pub stale: u32,
    pub first: Option<Instant>,
    /// When the time for the whole request is over.
    pub deadline: Option<Instant>,
    /// When the one under way began.
    pub current: Option<Instant>,
    /// When it took a pooled connection, where it waited for something before.
    pub taken: Option<Instant>,
    /// When its endpoint had the request's last byte, on its way at least. None: the client is still sending.
    pub sent: Option<Instant>,
    pub lease: Option<Lease>,
    /// Endpoints that have failed this request.
    pub tried: Vec<SocketAddr>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    Nothing,
    Something,
}

/// Whether the request could be sent once more as it is (RFC 9110 §9.2.2).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    Possible,
    /// The method forbids it, or a part of the body is gone.
    Impossible,
}

/// Dead connections that one request takes out of Pingora's pool before it gives up; the lean lane's own is left alone after the first.
const STALE_ATTEMPTS: u32 = 64;

/// What was closed while it was idle breaks at once. An upstream that breaks off later has been at work.
const STALE_WITHIN: Duration = Duration::from_secs(1);

impl Attempts {
    /// `deadline`: when the time for the whole request is over.
    pub fn until(deadline: Option<Instant>) -> Self {
        Self { deadline, ..Self::default() }
    }

    /// Whether the time for the whole request has passed.
    pub fn is_over_time(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| now >= deadline)
    }

    /// Asks the policy, the clock and the budget; a yes is spent, and the next attempt goes elsewhere, where there is an elsewhere.
    pub fn may_try_again(&mut self, forward: &Forward, condition: RetryOn, sent: Sent, replay: Replay) -> bool {
        let now = Instant::now();
        let allowed = self.is_in_bounds(&forward.retry, condition, now)
            && match sent {
                // It cost the upstream nothing, so it costs the budget nothing.
                Sent::Nothing => true,
                Sent::Something => replay == Replay::Possible && forward.upstream.may_retry(now, forward.retry.budget),
            };
        if allowed && let Some(lease) = self.lease.take() {
            self.tried.push(lease.endpoint().address);
        }
        allowed
    }

    /// Nothing is spent.
    pub fn is_in_bounds(&self, retry: &Retry, condition: RetryOn, now: Instant) -> bool {
        let begun = self.first.unwrap_or(now);
        retry.on.contains(&condition)
            && self.begun - self.stale < retry.attempts.get()
            && retry.timeout.is_none_or(|limit| now - begun < limit)
            && !self.is_over_time(now)
    }

    /// A pooled connection turned out to be dead, or used up; whether another may be taken.
    pub fn was_stale(&mut self) -> bool {
        self.stale += 1;
        self.stale < STALE_ATTEMPTS
    }

    /// Whether the one under way may have found such a connection.
    pub fn may_be_stale(&self) -> bool {
        self.taken.or(self.current).is_some_and(|begun| begun.elapsed() < STALE_WITHIN)
    }

    /// The time for the whole request is over. That speaks against the endpoint where it had the better part of it, and not where
    /// the client, a queue or other endpoints took it.
    pub fn report_over_time(&self, limit: Option<Duration>) {
        let had = self.sent.map_or(Duration::ZERO, |sent| sent.elapsed());
        if limit.is_some_and(|limit| had * 2 >= limit) {
            self.report(Outcome::TimedOut);
        }
    }

    pub fn report(&self, outcome: Outcome) {
        if let Some(lease) = &self.lease {
            lease.report(outcome, Instant::now());
        }
    }

    /// The endpoint agreed on no TLS. Where the name that was asked for is the client's choice, that says nothing of the endpoint.
    pub fn report_no_tls(&self, upstream: &Upstream) {
        if self.lease.as_ref().is_some_and(|lease| upstream.server_name(lease.endpoint()).is_some()) {
            self.report(Outcome::ConnectFailed);
        }
    }

    /// The endpoint has answered, and is told how it did. Returns the present.
    pub fn answered(&self, status: u16) -> Instant {
        let now = Instant::now();
        if let Some(lease) = &self.lease {
            let latency = self.sent.map(|sent| now - sent);
            lease.report(Outcome::Answered { status, latency }, now);
        }
        now
    }
}
