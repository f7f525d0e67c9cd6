//! What is counted of each upstream and of each of its endpoints.
//!
//! ```text
//! proxy ──► UpstreamMetrics: connections, retries, durations
//!   └─────► EndpointMetrics: requests, failures        health checks ──► state
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use super::cells::{Counter, Histogram};
use crate::telemetry::record::{RequestRecord, UpstreamConnection};

#[derive(Debug, Default)]
#[repr(align(128))]
pub struct UpstreamMetrics {
    pub(super) connections_new: Counter,
    pub(super) connections_reused: Counter,
    pub(super) retries: Counter,
    pub(super) connect: Histogram,
    pub(super) duration: Histogram,
    /// Locked when endpoints come and go and at a scrape, not by requests.
    endpoints: Mutex<BTreeMap<SocketAddr, Arc<EndpointMetrics>>>,
}

impl UpstreamMetrics {
    /// An attempt has a connection.
    #[inline]
    pub fn connected(&self, connection: UpstreamConnection) {
        match connection {
            UpstreamConnection::Reused => self.connections_reused.increment(),
            UpstreamConnection::New { took } => {
                self.connections_new.increment();
                self.connect.observe(took);
            }
        }
    }

    #[inline]
    pub fn retried(&self) {
        self.retries.increment();
    }

    /// A request that this upstream was asked for is over, and its record finished.
    #[inline]
    pub fn end(&self, record: &RequestRecord) {
        if let Some(duration) = record.upstream_time {
            self.duration.observe(duration);
        }
    }

    /// The endpoint's numbers, carried over if it was there before.
    pub fn endpoint(&self, address: SocketAddr) -> Arc<EndpointMetrics> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner).entry(address).or_default().clone()
    }

    /// Forgets the endpoints that are not in `addresses`.
    pub fn retain_endpoints(&self, addresses: &BTreeSet<SocketAddr>) {
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        endpoints.retain(|address, _| addresses.contains(address));
    }

    pub(super) fn endpoints(&self) -> Vec<(String, Arc<EndpointMetrics>)> {
        let endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        endpoints.iter().map(|(address, metrics)| (address.to_string(), metrics.clone())).collect()
    }

    pub(super) fn was_connected(&self) -> bool {
        self.connections_new.value() > 0 || self.connections_reused.value() > 0
    }
}

#[derive(Debug)]
#[repr(align(128))]
pub struct EndpointMetrics {
    pub(super) requests: Counter,
    pub(super) failures: Counter,
    healthy: AtomicBool,
}

/// Until it is known better, an endpoint is believed to be healthy: it gets traffic.
impl Default for EndpointMetrics {
    fn default() -> Self {
        Self { requests: Counter::default(), failures: Counter::default(), healthy: AtomicBool::new(true) }
    }
}

/// Whether an endpoint gets traffic: an unhealthy or ejected one does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointState {
    Healthy,
    Unhealthy,
}

impl EndpointMetrics {
    /// A request (or another attempt of one) goes to this endpoint.
    #[inline]
    pub fn chosen(&self) {
        self.requests.increment();
    }

    /// The attempt failed: no connection, no answer, or a status that counts as a failure.
    #[inline]
    pub fn failed(&self) {
        self.failures.increment();
    }

    pub fn set_state(&self, state: EndpointState) {
        self.healthy.store(state == EndpointState::Healthy, Relaxed);
    }

    pub(super) fn state(&self) -> EndpointState {
        if self.healthy.load(Relaxed) { EndpointState::Healthy } else { EndpointState::Unhealthy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_keep_their_numbers_while_they_are_named_and_vanish_after() {
        let upstream = UpstreamMetrics::default();
        let [one, two] = [1, 2].map(|last| SocketAddr::from(([10, 0, 0, last], 80)));
        upstream.endpoint(one).chosen();
        upstream.endpoint(two).chosen();
        upstream.retain_endpoints(&BTreeSet::from([one]));
        assert_eq!(upstream.endpoint(one).requests.value(), 1);
        assert_eq!(upstream.endpoint(two).requests.value(), 0);
    }
}
