//! When a responder is asked, and how long what it said is shown. Time is passed in.
//!
//! ```text
//! answered ──► half of what the answer holds ──► asked again ──failed──► a minute, two, four, … an hour
//!                                                    └──► the old answer is shown until it is over
//! ```

use std::time::{Duration, SystemTime};

use super::response::{Span, Status};

const FIRST_RETRY: Duration = Duration::from_secs(60);
const LONGEST_RETRY: Duration = Duration::from_secs(3600);
/// Whatever an answer says of its end: a revocation becomes known within a day.
const LONGEST_TRUST: Duration = Duration::from_secs(86_400);

/// How one certificate stands.
#[derive(Debug)]
pub struct Standing {
    pub staple: Option<Staple>,
    pub next: SystemTime,
    failures: u32,
}

#[derive(Clone, Debug)]
pub struct Staple {
    pub response: Vec<u8>,
    pub until: SystemTime,
}

impl Standing {
    /// To be asked about at once.
    pub fn new(now: SystemTime) -> Self {
        Self { staple: None, next: now, failures: 0 }
    }

    pub fn is_due(&self, now: SystemTime) -> bool {
        self.next <= now
    }

    /// A revoked certificate has no staple: clients that insist on one must not be told it is good.
    pub fn answered(&mut self, status: Status, response: Vec<u8>, now: SystemTime) {
        let span = match status {
            Status::Good(span) | Status::Revoked(span) => span,
        };
        self.staple = match status {
            Status::Good(Span { until, .. }) => Some(Staple { response, until }),
            Status::Revoked(_) => None,
        };
        let half = span.until.duration_since(span.from).unwrap_or_default() / 2;
        let soonest = now + FIRST_RETRY.min(span.until.duration_since(now).unwrap_or_default() / 2);
        self.next = (span.from + half).min(now + LONGEST_TRUST).max(soonest);
        self.failures = 0;
    }

    /// What was shown is shown on. How long until the next attempt.
    pub fn failed(&mut self, now: SystemTime) -> Duration {
        let wait = FIRST_RETRY.saturating_mul(1 << self.failures.min(6)).min(LONGEST_RETRY);
        self.failures += 1;
        self.next = now + wait;
        wait
    }

    /// Whether what was shown is over.
    pub fn expire(&mut self, now: SystemTime) -> bool {
        let over = self.staple.as_ref().is_some_and(|staple| staple.until <= now);
        if over {
            self.staple = None;
        }
        over
    }

    /// When there is something to do.
    pub fn wakes(&self) -> SystemTime {
        self.staple.as_ref().map_or(self.next, |staple| staple.until.min(self.next))
    }
}
