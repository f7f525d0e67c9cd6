//! What is counted of each upstream: connections, retries, durations. Its endpoints count for themselves, because the
//! balancers go by those numbers.

use super::cells::{Counter, Histogram};
use crate::snapshot::upstream::Health;
use crate::telemetry::record::{RequestRecord, UpstreamConnection};

#[derive(Debug, Default)]
#[repr(align(128))]
pub struct UpstreamMetrics {
    pub(super) connections_new: Counter,
    pub(super) connections_reused: Counter,
    pub(super) retries: Counter,
    pub(super) became_healthy: Counter,
    pub(super) became_unhealthy: Counter,
    pub(super) connect: Histogram,
    pub(super) duration: Histogram,
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

    /// A health check has changed its mind of an endpoint.
    pub fn health_changed(&self, to: Health) {
        match to {
            Health::Healthy => self.became_healthy.increment(),
            Health::Unhealthy => self.became_unhealthy.increment(),
            Health::Unknown => {}
        }
    }

    /// A request that this upstream was asked for is over, and its record finished.
    #[inline]
    pub fn end(&self, record: &RequestRecord) {
        if let Some(duration) = record.upstream_time {
            self.duration.observe(duration);
        }
    }

    pub(super) fn was_connected(&self) -> bool {
        self.connections_new.value() > 0 || self.connections_reused.value() > 0
    }
}
