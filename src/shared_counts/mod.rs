//! What several processes count together, in a Redis.
//!
//! ```text
//! Settings (model, password, CA) ──► Store ◄── all workers: whether Redis answers, metrics
//!                                      ▲
//! request ──[Bucket]──► Links (a worker's own) ─► Link: one connection, kept by a task ──script──► Redis
//!                           └──► Counted, or Unanswered
//! ```
//!
//! All limits of a request are asked in one round trip of one connection, which a worker's requests share. No request waits
//! longer than the time that is set, and none at all while Redis is known to be away. What a limit is, and what becomes of a
//! request that Redis does not judge, is not known here.

mod link;
mod script;
mod settings;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::telemetry::metrics::RedisMetrics;
use link::{Failure, Link};

pub use settings::{Settings, load};

/// One limit that is asked about, for one key. The numbers are those of a leaky bucket, in thousandths of a request.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Without the prefix.
    pub key: String,
    /// So much leaks in a period.
    pub amount: u64,
    /// Milliseconds.
    pub period: u64,
    pub burst: u32,
    pub beyond: Beyond,
}

/// What it means that a bucket would hold more than its burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beyond {
    /// Nothing is counted, in no bucket.
    Refused,
    /// It is not counted in this one.
    Noted,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Counted {
    /// By the nth bucket, which would hold so much. Nothing was counted.
    Refused { nth: usize, excess: u32 },
    /// What each bucket holds with it, or would hold.
    Passed(Vec<u32>),
}

/// Redis did not answer, or not what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unanswered;

/// A Redis, as all workers see it.
#[derive(Debug)]
pub struct Store {
    settings: Arc<Settings>,
    client: redis::Client,
    metrics: Arc<RedisMetrics>,
    /// Links that have no answer.
    down: AtomicUsize,
}

impl Store {
    /// Connects to nothing yet.
    pub fn new(settings: Arc<Settings>, metrics: Arc<RedisMetrics>) -> redis::RedisResult<Self> {
        Ok(Self { client: settings.client()?, settings, metrics, down: AtomicUsize::new(0) })
    }

    pub fn is_of(&self, settings: &Settings) -> bool {
        *self.settings == *settings
    }

    fn timeout(&self) -> Duration {
        self.settings.redis.timeout
    }

    /// A link has lost its answer. Said once for all of them.
    fn lost(&self, reason: &str) {
        if self.down.fetch_add(1, Ordering::Relaxed) == 0 {
            self.metrics.lost();
            tracing::warn!(redis = %self.settings.redis.url, reason, "Redis does not answer: limits are left to on-redis-failure");
        }
    }

    fn found(&self) {
        if self.down.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.metrics.found();
            tracing::info!(redis = %self.settings.redis.url, "Redis answers again");
        }
    }

    /// A link that had no answer is needed no more.
    fn left(&self) {
        if self.down.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.metrics.found();
        }
    }
}

/// A worker's own links: one, to the Redis that was asked for last.
#[derive(Debug, Default)]
pub struct Links(Mutex<Option<(Arc<Store>, Arc<Link>)>>);

impl Links {
    /// Counts a request in all its buckets, or in none. To be called on the worker's runtime.
    pub async fn count(&self, store: &Arc<Store>, buckets: &[Bucket]) -> Result<Counted, Unanswered> {
        let (link, begun) = (self.to(store), Instant::now());
        let answer = match tokio::time::timeout(store.timeout(), link.ask(buckets)).await {
            Ok(answer) => answer,
            Err(_) => Err(link.was_silent()),
        };
        let metrics = &store.metrics;
        match answer {
            Ok(counted) => {
                metrics.answered(begun.elapsed());
                Ok(counted)
            }
            Err(failure) => {
                match failure {
                    Failure::Silent => metrics.timeouts.increment(),
                    Failure::Wrong => metrics.errors.increment(),
                    Failure::Away => metrics.unasked.increment(),
                }
                Err(Unanswered)
            }
        }
    }

    /// The lock is the worker's own: nobody waits for it. What linked to another Redis ends.
    fn to(&self, store: &Arc<Store>) -> Arc<Link> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*held {
            Some((of, link)) if Arc::ptr_eq(of, store) => link.clone(),
            Some(_) | None => {
                let link = Arc::new(Link::open(store.clone()));
                *held = Some((store.clone(), link.clone()));
                link
            }
        }
    }
}
