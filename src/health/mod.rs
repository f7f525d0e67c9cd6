//! Active health checks: one owner for each upstream, one task below it for each endpoint.
//!
//! ```text
//! Upstream.changes() ──► owner ──► a task for each endpoint: probe ──► Upstream.record_probe ──► log, observer
//! ```
//!
//! Runs on the control plane. An endpoint without a verdict is probed at once, so that a start is settled within
//! one probe; after that the probes of different endpoints are spread over the interval. This room knows nothing
//! of requests: what a verdict means to them is the upstream's business.

mod grpc;
mod probe;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};

pub use probe::Prober;

use crate::model::{self, UpstreamName};
use crate::snapshot::upstream::{Endpoint, Health, HealthChange, Upstream, random};

/// Asks an endpoint how it is. The error says what is wrong, in words.
#[async_trait]
pub trait Check: Send + Sync + 'static {
    async fn check(&self, endpoint: &Endpoint, check: &model::HealthCheck) -> Result<(), Arc<str>>;
}

/// Told of every change, after it took effect; metrics count them.
pub type Observer = Arc<dyn Fn(&UpstreamName, &HealthChange) + Send + Sync>;

/// The checks of one upstream. They stop when this is dropped.
#[derive(Debug)]
pub struct HealthChecks {
    _owner: JoinSet<()>,
}

impl HealthChecks {
    /// Starts them on the current Tokio runtime. None where the upstream has no health check.
    pub fn start(upstream: Arc<Upstream>, check: Arc<dyn Check>, observer: Observer) -> Option<Self> {
        upstream.definition().health_check.as_ref()?;
        let mut owner = JoinSet::new();
        owner.spawn(own(upstream, check, observer));
        Some(Self { _owner: owner })
    }
}

/// Keeps a task for each endpoint there is. Ends never; its tasks end with it.
async fn own(upstream: Arc<Upstream>, check: Arc<dyn Check>, observer: Observer) {
    let mut changes = upstream.changes();
    let mut tasks = JoinSet::new();
    let mut watched: Vec<(Arc<Endpoint>, AbortHandle)> = Vec::new();
    loop {
        changes.mark_unchanged();
        let set = upstream.endpoints();
        watched.retain(|(endpoint, task)| {
            let stays = set.endpoints().any(|other| other.is_checked_as(endpoint));
            if !stays {
                task.abort();
            }
            stays
        });
        for endpoint in set.endpoints() {
            if !watched.iter().any(|(other, _)| other.is_checked_as(endpoint)) {
                let watch =
                    watch(Arc::clone(&upstream), Arc::clone(endpoint), Arc::clone(&check), Arc::clone(&observer));
                watched.push((Arc::clone(endpoint), tasks.spawn(watch)));
            }
        }
        drop(set);
        // The sender lives in the upstream, which is held here: this only ever says that something changed.
        let _ = changes.changed().await;
        while tasks.try_join_next().is_some() {}
    }
}

async fn watch(upstream: Arc<Upstream>, endpoint: Arc<Endpoint>, check: Arc<dyn Check>, observer: Observer) {
    let Some(definition) = &upstream.definition().health_check else { return };
    if endpoint.health() == Health::Unknown {
        probe(&upstream, &endpoint, definition, &*check, &observer).await;
    }
    let first = Instant::now() + definition.interval.mul_f64(random::fraction());
    let mut ticks = tokio::time::interval_at(first, definition.interval.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        probe(&upstream, &endpoint, definition, &*check, &observer).await;
    }
}

async fn probe(
    upstream: &Upstream,
    endpoint: &Endpoint,
    definition: &model::HealthCheck,
    check: &dyn Check,
    observer: &Observer,
) {
    let verdict = match tokio::time::timeout(definition.timeout, check.check(endpoint, definition)).await {
        Ok(verdict) => verdict,
        Err(_) => Err(format!("no answer within {}", model::format_duration(definition.timeout)).into()),
    };
    if let Some(change) = upstream.record_probe(endpoint, &verdict, Instant::now().into_std()) {
        log(&upstream.definition().name, &change, &verdict);
        observer(&upstream.definition().name, &change);
    }
}

fn log(upstream: &UpstreamName, change: &HealthChange, verdict: &Result<(), Arc<str>>) {
    let (upstream, endpoint) = (upstream.as_str(), change.endpoint);
    match verdict {
        Ok(()) => tracing::info!(upstream, %endpoint, "endpoint is healthy"),
        Err(error) => tracing::warn!(upstream, %endpoint, %error, "endpoint is unhealthy"),
    }
}

#[cfg(test)]
mod tests;
