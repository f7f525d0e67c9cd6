//! Which endpoints a request may go to: asked by every policy, and by `weir explain`.
//!
//! ```text
//! request + leniency ──► Ask ──► admits(endpoint)?
//! ```
//!
//! A request is asked for strictly first; each further leniency lets in endpoints that are worse than nothing
//! better: ones that it has tried, then ones that are known to fail.

use std::net::SocketAddr;
use std::time::Duration;

use super::checked::Health;
use super::endpoint::Endpoint;
use super::moment::Moment;
use super::outlier::is_ejected;
use super::random;
use super::set::{EndpointSet, Turns};

/// One attempt of a request at choosing among the endpoints of a set.
pub(super) struct Ask<'a> {
    pub(super) set: &'a EndpointSet,
    pub(super) now: Moment,
    pub(super) key: Option<u64>,
    pub(super) exclude: &'a [SocketAddr],
    pub(super) leniency: Leniency,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Leniency {
    /// Usable and not yet tried by this request.
    None,
    /// A retry with nowhere else to go.
    Tried,
    /// Every endpoint is known to fail, and the upstream says to try all the same.
    Failing,
    FailingAndTried,
}

/// What stands against an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Unhealthy,
    Ejected,
}

impl Ask<'_> {
    pub(super) fn admits(&self, endpoint: &Endpoint) -> bool {
        let may_be_tried = matches!(self.leniency, Leniency::Tried | Leniency::FailingAndTried);
        let may_fail = matches!(self.leniency, Leniency::Failing | Leniency::FailingAndTried);
        (may_fail || self.fault(endpoint).is_none())
            && (may_be_tried || !self.has_tried(endpoint))
            && !self.is_full(endpoint)
    }

    /// As `admits`, and during its slow start only as often as the endpoint is warm.
    pub(super) fn takes(&self, endpoint: &Endpoint) -> bool {
        self.admits(endpoint) && {
            let warmth = endpoint.warmth(self.slow_start(), self.now);
            warmth >= 1.0 || random::fraction() < warmth
        }
    }

    pub(super) fn fault(&self, endpoint: &Endpoint) -> Option<Fault> {
        let definition = &self.set.definition;
        if definition.health_check.is_some() && endpoint.health() == Health::Unhealthy {
            return Some(Fault::Unhealthy);
        }
        (definition.outlier_detection.is_some() && is_ejected(&endpoint.state, self.now)).then_some(Fault::Ejected)
    }

    pub(super) fn has_tried(&self, endpoint: &Endpoint) -> bool {
        self.exclude.contains(&endpoint.address)
    }

    pub(super) fn is_full(&self, endpoint: &Endpoint) -> bool {
        self.set.definition.limits.max_connections.is_some_and(|limit| endpoint.in_flight() >= limit.get())
    }

    pub(super) fn slow_start(&self) -> Option<Duration> {
        self.set.definition.slow_start
    }

    pub(super) fn turns(&self) -> &Turns {
        &self.set.shared.turns
    }
}
