//! A concurrency limit at work.

use std::sync::Arc;

use super::places::{Place, Places};
use super::{Keys, is_allowed};
use crate::model::{self, Counted};
use crate::snapshot::request::RequestView;
use crate::telemetry::metrics::LimitMetrics;

/// What limits of one name have in common.
#[derive(Debug)]
pub struct ConcurrencyState {
    keys: Keys,
    places: Arc<Places>,
}

impl ConcurrencyState {
    pub(super) fn new(counted: &Counted) -> Self {
        Self { keys: Keys::new(counted), places: Arc::new(Places::new()) }
    }

    pub(super) fn counts(&self, counted: &Counted) -> bool {
        self.keys.are_of(counted)
    }
}

#[derive(Debug)]
pub struct ConcurrencyLimit {
    definition: model::ConcurrencyLimit,
    state: Arc<ConcurrencyState>,
    pub metrics: Arc<LimitMetrics>,
}

/// What came of asking for a place.
#[derive(Debug)]
pub enum Entry {
    /// The request has no key, or its client is not limited.
    NotCounted,
    Entered(Place),
    Full,
}

impl ConcurrencyLimit {
    pub fn new(definition: model::ConcurrencyLimit, state: Arc<ConcurrencyState>, metrics: Arc<LimitMetrics>) -> Self {
        Self { definition, state, metrics }
    }

    pub fn definition(&self) -> &model::ConcurrencyLimit {
        &self.definition
    }

    pub fn enter(&self, request: &RequestView<'_>) -> Entry {
        let Some(key) = self.key(request) else { return Entry::NotCounted };
        self.state.places.enter(key, self.definition.max).map_or(Entry::Full, Entry::Entered)
    }

    /// How many requests are in flight that count together with this one. None: it is not counted.
    pub fn in_flight(&self, request: &RequestView<'_>) -> Option<u32> {
        self.key(request).map(|key| self.state.places.in_flight(key))
    }

    fn key(&self, request: &RequestView<'_>) -> Option<u64> {
        if is_allowed(&self.definition.counted, request.client) {
            return None;
        }
        self.state.keys.of(request)
    }
}
