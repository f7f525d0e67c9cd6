//! A request's place at an endpoint: counted while it lives, given back when it is dropped.
//!
//! ```text
//! pick ──► Lease ──report──► counters, latency, outlier detection
//!            └─────drop────► in flight − 1, and a waiting request moves up
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::endpoint::Endpoint;
use super::moment::Moment;
use super::outlier;
use super::set::{EndpointSet, Seat};
use crate::sharded::{Common, Owned};

/// What an endpoint that gave no answer counts as in its latency: enough to send the traffic elsewhere, little
/// enough to be forgotten within a minute.
const FAILURE_LATENCY: Duration = Duration::from_secs(1);

/// How an attempt at an endpoint ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `latency` is from the request's last byte to the head of the answer; none where the head came before that
    /// byte: then it says how fast the client sends.
    Answered {
        status: u16,
        latency: Option<Duration>,
    },
    /// A connection was made that is carried on: how it ends does not speak for or against anybody.
    Connected {
        took: Duration,
    },
    ConnectFailed,
    /// The connection broke before an answer.
    Reset,
    TimedOut,
}

/// An outcome that speaks against the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Connect,
    Reset,
    Timeout,
    Status(u16),
}

/// Held while a request is with the endpoint.
#[derive(Debug)]
pub struct Lease {
    set: Owned<EndpointSet>,
    seat: Seat,
    begun: Moment,
}

impl Lease {
    /// Takes a place at the endpoint, where its limit leaves one.
    pub(super) fn take(set: &Common<EndpointSet>, seat: Seat, begun: Moment) -> Option<Self> {
        let entered = set.at(seat).state.enter(set.definition.limits.max_connections);
        entered.then(|| Self { set: set.own(), seat, begun })
    }

    pub fn endpoint(&self) -> &Arc<Endpoint> {
        self.set.at(self.seat)
    }

    /// Says how the attempt ended, once. A request that the client gave up says nothing.
    pub fn report(&self, outcome: Outcome, now: Instant) {
        let now = Moment::from(now);
        let endpoint = self.endpoint();
        let failure = self.failure_in(outcome);
        match outcome {
            Outcome::Answered { latency: Some(latency), .. } | Outcome::Connected { took: latency } => {
                endpoint.state.note_latency(latency, now);
            }
            Outcome::Answered { latency: None, .. } => {}
            Outcome::ConnectFailed | Outcome::Reset | Outcome::TimedOut => {
                endpoint.state.note_latency(FAILURE_LATENCY, now)
            }
        }
        match failure {
            None => endpoint.ejection.note_success(&endpoint.state, self.begun),
            Some(failure) => {
                endpoint.state.note_failure();
                outlier::note_failure(&self.set, endpoint, failure, now);
            }
        }
    }

    fn failure_in(&self, outcome: Outcome) -> Option<Failure> {
        match outcome {
            Outcome::Connected { .. } => None,
            Outcome::ConnectFailed => Some(Failure::Connect),
            Outcome::Reset => Some(Failure::Reset),
            Outcome::TimedOut => Some(Failure::Timeout),
            Outcome::Answered { status, .. } => {
                let detection = self.set.definition.outlier_detection.as_ref()?;
                detection.statuses.iter().any(|range| range.contains(status)).then_some(Failure::Status(status))
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.endpoint().state.leave(self.set.definition.limits.max_connections);
        // Asked without looking at this set's limit: a reload may have brought one since, and waiters with it.
        self.set.shared.queue.serve();
    }
}

impl Failure {
    /// As it is kept in an atomic. Statuses begin at 100; zero is none.
    pub(super) fn code(self) -> u32 {
        match self {
            Failure::Connect => 1,
            Failure::Reset => 2,
            Failure::Timeout => 3,
            Failure::Status(status) => u32::from(status),
        }
    }

    pub(super) fn from_code(code: u32) -> Option<Self> {
        match code {
            0 => None,
            1 => Some(Failure::Connect),
            2 => Some(Failure::Reset),
            3 => Some(Failure::Timeout),
            status => u16::try_from(status).ok().map(Failure::Status),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Connect => f.write_str("the connection could not be made"),
            Failure::Reset => f.write_str("the connection broke before an answer"),
            Failure::Timeout => f.write_str("no answer in time"),
            Failure::Status(status) => write!(f, "answered {status}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_survive_being_kept_as_a_number() {
        for failure in [Failure::Connect, Failure::Reset, Failure::Timeout, Failure::Status(503)] {
            assert_eq!(Failure::from_code(failure.code()), Some(failure));
        }
        assert_eq!(Failure::from_code(0), None);
    }
}
