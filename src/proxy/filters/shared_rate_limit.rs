//! `rate-limit` with the scope `redis`: how often, over all processes.
//!
//! ```text
//! this process' limits: asked ──► Redis: asked and counted in one step ──► this process' limits: asked and counted
//!                                   └─ no answer: allowed, refused, or counted here
//! ```
//!
//! What one limit refuses is counted by none, as ever; but where two requests meet between the two questions, Redis may have
//! counted one that this process refuses.

use std::time::{Duration, Instant};

use http::HeaderValue;
use http::header::RETRY_AFTER;

use super::{Verdict, rate_limit};
use crate::model::{LimitMode, OnRedisFailure};
use crate::shared_counts::{Bucket, Counted, Links, Unanswered};
use crate::snapshot::chain::FilterChain;
use crate::snapshot::limit::{Counting, LocalKey, RateLimit, SharedRateLimit, Standing};
use crate::snapshot::request::RequestView;

/// A request that Redis is to be asked about.
#[derive(Debug)]
pub struct Pending {
    /// The limits of this process that count it, by their place in the chain.
    local: Vec<(usize, LocalKey)>,
    /// Those of all processes. Never empty.
    shared: Vec<(usize, LocalKey)>,
    /// One for each of `shared`.
    buckets: Vec<Bucket>,
}

type Item<'a> = (&'a RateLimit, LocalKey);

/// None where nobody but this process counts it.
pub fn begin(chain: &FilterChain, request: &RequestView<'_>, now: Instant) -> Result<Option<Box<Pending>>, Verdict> {
    let (mut shared, mut buckets) = (Vec::new(), Vec::new());
    for (at, limit) in chain.shared_rate_limits.iter().enumerate() {
        if let Some((bucket, key)) = limit.bucket(request) {
            shared.push((at, key));
            buckets.push(bucket);
        }
    }
    if shared.is_empty() {
        return Ok(None);
    }
    let keys = chain.rate_limits.iter().enumerate().filter_map(|(at, limit)| Some((at, limit.key(request)?)));
    let pending = Pending { local: keys.collect(), shared, buckets };
    rate_limit::would_pass(&pending.local(chain), |(limit, _)| limit, |item, counting| ask(item, now, counting))?;
    Ok(Some(Box::new(pending)))
}

pub async fn finish(pending: &Pending, chain: &FilterChain, links: &Links) -> Result<Duration, Verdict> {
    let limits = pending.shared.iter().map(|(at, key)| (&chain.shared_rate_limits[*at], *key));
    let Some((first, _)) = limits.clone().next() else { return Ok(Duration::ZERO) };
    let counted = links.count(&first.store, &pending.buckets).await;
    let (mut items, mut delay) = (pending.local(chain), Duration::ZERO);
    match counted {
        Ok(Counted::Refused { nth, excess }) => {
            let limit = &chain.shared_rate_limits[pending.shared[nth].0];
            let wait = match limit.standing(excess) {
                Standing::Exceeds { wait, .. } => wait,
                Standing::Passes { .. } | Standing::NotCounted => Duration::ZERO,
            };
            return Err(rate_limit::refuse(&limit.local, wait));
        }
        Ok(Counted::Passed(excesses)) => {
            for ((limit, _), excess) in limits.zip(excesses) {
                delay = delay.max(rate_limit::note(&limit.local, limit.standing(excess)));
            }
        }
        Err(Unanswered) => {
            for (limit, key) in limits {
                without_redis(limit, key, &mut items)?;
            }
        }
    }
    let now = Instant::now();
    let own = rate_limit::judge(&items, |(limit, _)| limit, |item, counting| ask(item, now, counting))?;
    Ok(delay.max(own))
}

fn without_redis<'a>(limit: &'a SharedRateLimit, key: LocalKey, items: &mut Vec<Item<'a>>) -> Result<(), Verdict> {
    let metrics = &limit.local.metrics;
    match (limit.on_failure, limit.local.definition().mode) {
        (OnRedisFailure::Local, _) => items.push((&limit.local, key)),
        (OnRedisFailure::Allow, _) => metrics.passed.increment(),
        (OnRedisFailure::Refuse, LimitMode::DryRun) => metrics.dry_run.increment(),
        (OnRedisFailure::Refuse, LimitMode::Enforce) => {
            metrics.limited.increment();
            return Err(Verdict::Refuse {
                status: 503,
                detail: "requests cannot be counted now: try again later",
                fields: vec![(RETRY_AFTER, HeaderValue::from_static("1"))],
            });
        }
    }
    Ok(())
}

fn ask((limit, key): &Item<'_>, now: Instant, counting: Counting) -> Standing {
    limit.ask_for(*key, now, counting)
}

impl Pending {
    fn local<'a>(&self, chain: &'a FilterChain) -> Vec<Item<'a>> {
        self.local.iter().map(|(at, key)| (&chain.rate_limits[*at], *key)).collect()
    }
}
