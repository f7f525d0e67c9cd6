//! A rate limit that is counted in Redis, together with other processes.

use std::sync::Arc;

use super::key::Digests;
use super::{LocalKey, RateLimit, Standing};
use crate::model::{LimitMode, OnRedisFailure};
use crate::shared_counts::{Beyond, Bucket, Store};
use crate::snapshot::request::RequestView;

#[derive(Debug)]
pub struct SharedRateLimit {
    digests: Digests,
    pub store: Arc<Store>,
    pub on_failure: OnRedisFailure,
    /// What counts while Redis does not answer, if it should.
    pub local: RateLimit,
}

impl SharedRateLimit {
    pub fn new(local: RateLimit, store: Arc<Store>, on_failure: OnRedisFailure) -> Self {
        Self { digests: Digests::new(&local.definition().counted), store, on_failure, local }
    }

    /// What Redis is asked, and what this process would count under. None: the request is not counted.
    pub fn bucket(&self, request: &RequestView<'_>) -> Option<(Bucket, LocalKey)> {
        let local = self.local.key(request)?;
        let (definition, bounds) = (self.local.definition(), self.local.bounds());
        let bucket = Bucket {
            key: format!("{}:{}", definition.name, self.digests.of(request)),
            amount: bounds.leak.amount,
            period: bounds.leak.period,
            burst: bounds.burst,
            beyond: match definition.mode {
                LimitMode::Enforce => Beyond::Refused,
                LimitMode::DryRun => Beyond::Noted,
            },
        };
        Some((bucket, local))
    }

    /// What it means that its bucket holds so much.
    pub fn standing(&self, excess: u32) -> Standing {
        self.local.bounds().standing(excess)
    }
}
