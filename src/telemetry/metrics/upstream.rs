//! What is counted of each upstream: connections, retries, durations. Its endpoints count for themselves, because the
//! balancers go by those numbers.

use super::cells::{Counter, Histogram};
use crate::sharded::Sharded;
use crate::snapshot::upstream::Health;
use crate::telemetry::record::{RequestRecord, UpstreamConnection};

/// Kept apart by thread, as [`RouteMetrics`](super::RouteMetrics) are.
#[derive(Debug, Default)]
pub struct UpstreamMetrics(Sharded<UpstreamCounts>);

/// What one thread has counted, or all of them.
#[derive(Debug, Default)]
pub(super) struct UpstreamCounts {
    pub connections_new: Counter,
    pub connections_reused: Counter,
    pub retries: Counter,
    pub became_healthy: Counter,
    pub became_unhealthy: Counter,
    pub connect: Histogram,
    pub duration: Histogram,
}

impl UpstreamMetrics {
    /// An attempt has a connection.
    #[inline]
    pub fn connected(&self, connection: UpstreamConnection) {
        let counts = self.0.own();
        match connection {
            UpstreamConnection::Reused => counts.connections_reused.increment(),
            UpstreamConnection::New { took } => {
                counts.connections_new.increment();
                counts.connect.observe(took);
            }
        }
    }

    #[inline]
    pub fn retried(&self) {
        self.0.own().retries.increment();
    }

    /// A health check has changed its mind of an endpoint.
    pub fn health_changed(&self, to: Health) {
        match to {
            Health::Healthy => self.0.own().became_healthy.increment(),
            Health::Unhealthy => self.0.own().became_unhealthy.increment(),
            Health::Unknown => {}
        }
    }

    /// A request that this upstream was asked for is over, and its record finished.
    #[inline]
    pub fn end(&self, record: &RequestRecord) {
        if let Some(duration) = record.upstream_time {
            self.0.own().duration.observe(duration);
        }
    }

    /// All threads' together.
    pub(super) fn read(&self) -> UpstreamCounts {
        self.0.sum(UpstreamCounts::take_in)
    }
}

impl UpstreamCounts {
    fn take_in(&self, other: &Self) {
        self.connections_new.take_in(&other.connections_new);
        self.connections_reused.take_in(&other.connections_reused);
        self.retries.take_in(&other.retries);
        self.became_healthy.take_in(&other.became_healthy);
        self.became_unhealthy.take_in(&other.became_unhealthy);
        self.connect.take_in(&other.connect);
        self.duration.take_in(&other.duration);
    }

    pub fn was_connected(&self) -> bool {
        self.connections_new.value() > 0 || self.connections_reused.value() > 0
    }
}
