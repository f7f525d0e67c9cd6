//! Limits at work: what is counted of whom, and whether one request more is too much.
//!
//! ```text
//! model ─┐                ┌─ RateLimit ────────► Arc<RateState>        (keys, leaky buckets)
//! previous States ─► States ─ ConcurrencyLimit ─► Arc<ConcurrencyState> (keys, requests in flight)
//!                         └─ by name: limits of one name share one state, which is carried over reloads
//! ```
//!
//! A request allocates nothing here and takes the lock of a shard for some ten nanoseconds for each limit. Time is given.
//! What a refusal looks like, and the order in which limits are asked, is not known here.

mod buckets;
mod concurrency;
mod key;
mod leak;
mod places;
mod rate;
mod replicas;
mod shared;

pub use concurrency::{ConcurrencyLimit, ConcurrencyState, Entry};
pub use places::Place;
pub use rate::{Counting, LocalKey, RateLimit, RateState, Standing};
pub use replicas::ReplicaCount;
pub use shared::SharedRateLimit;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{self, BoundFilters, Counted, Limit, LimitName, Replicas};
use key::Keys;

/// What is counted at all limits of a model.
#[derive(Debug, Default)]
pub struct States {
    rates: BTreeMap<LimitName, Arc<RateState>>,
    concurrencies: BTreeMap<LimitName, Arc<ConcurrencyState>>,
    /// Present where it is told how many there are.
    replicas: Option<Arc<ReplicaCount>>,
}

impl States {
    /// One for each name: the one there was, where it counts the same requests together.
    pub fn of(filters: &BoundFilters<'_>, replicas: Option<&Replicas>, previous: Option<&States>) -> Self {
        let nothing = Self::default();
        let (previous, mut states) = (previous.unwrap_or(&nothing), Self::default());
        for limit in filters.limits() {
            match limit {
                Limit::Rate(limit) => {
                    states.rates.entry(limit.name.clone()).or_insert_with(|| previous.rate(limit));
                }
                Limit::Concurrency(limit) => {
                    states.concurrencies.entry(limit.name.clone()).or_insert_with(|| previous.concurrency(limit));
                }
            }
        }
        states.replicas = replicas.map(|definition| previous.replicas(definition));
        states
    }

    /// Of whom a rate may be shared.
    pub fn replica_count(&self) -> Option<&Arc<ReplicaCount>> {
        self.replicas.as_ref()
    }

    /// The count there was, where it is told in the same way.
    fn replicas(&self, definition: &Replicas) -> Arc<ReplicaCount> {
        let known = self.replicas.as_ref().filter(|count| count.is_of(definition));
        known.cloned().unwrap_or_else(|| Arc::new(ReplicaCount::new(definition.clone())))
    }

    /// A new one where none of that name counts by the same key.
    pub fn rate(&self, limit: &model::RateLimit) -> Arc<RateState> {
        let known = self.rates.get(&limit.name).filter(|state| state.counts(&limit.counted));
        known.cloned().unwrap_or_else(|| Arc::new(RateState::new(&limit.counted)))
    }

    /// As [`States::rate`].
    pub fn concurrency(&self, limit: &model::ConcurrencyLimit) -> Arc<ConcurrencyState> {
        let known = self.concurrencies.get(&limit.name).filter(|state| state.counts(&limit.counted));
        known.cloned().unwrap_or_else(|| Arc::new(ConcurrencyState::new(&limit.counted)))
    }
}

/// Whether a client is not limited at all.
fn is_allowed(counted: &Counted, client: std::net::IpAddr) -> bool {
    counted.allow.iter().any(|network| network.contains(&client))
}
