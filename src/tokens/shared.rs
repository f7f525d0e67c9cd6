//! A set of keys that is fetched: shared by who fetches it and who verifies with it, over reloads.
//!
//! ```text
//! fetcher ──store──► Keys ◄──load── verifiers
//!    ▲                 │ a token may be of a key that is not there: fetch again, but not too often
//!    └─────wanted──────┘
//! ```

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, watch};

use super::KeySet;
use crate::model::KeysUrl;

/// Whoever makes tokens up must not make us ask for keys more often.
const FETCHED_ON_DEMAND_EVERY: Duration = Duration::from_secs(10);
/// Whoever has a token of a new key waits so long for it.
const PATIENCE: Duration = Duration::from_secs(3);

/// Of one URL.
#[derive(Debug)]
pub struct Keys {
    pub source: KeysUrl,
    set: ArcSwapOption<KeySet>,
    wanted: Notify,
    last_wanted: Mutex<Option<Instant>>,
    /// Whether what is wanted is being fetched.
    under_way: AtomicBool,
    /// Counts the attempts that have ended.
    attempts: watch::Sender<u64>,
}

/// By where they are fetched from.
pub type KeySets = BTreeMap<KeysUrl, Arc<Keys>>;

/// How an attempt to fetch a set ended.
#[derive(Debug)]
pub enum FetchOutcome {
    Got(KeySet),
    /// What was there before stays.
    Failed,
}

impl Keys {
    pub fn new(source: KeysUrl) -> Self {
        Self {
            source,
            set: ArcSwapOption::empty(),
            wanted: Notify::new(),
            last_wanted: Mutex::default(),
            under_way: AtomicBool::new(false),
            attempts: watch::Sender::new(0),
        }
    }

    /// None until there was a first one.
    pub fn set(&self) -> Option<Arc<KeySet>> {
        self.set.load_full()
    }

    /// Whether a first attempt has ended, well or not.
    pub fn is_settled(&self) -> bool {
        *self.attempts.borrow() > 0
    }

    /// A token may be of a key that is not in `seen`. Returns what is there after an attempt to fetch it; none where nothing else came, or
    /// it was too soon to ask again. Many who ask at once cause one attempt.
    pub async fn newer_than(&self, seen: &KeySet, now: Instant) -> Option<Arc<KeySet>> {
        let newer = || self.set().filter(|set| set.id != seen.id);
        if let Some(set) = newer() {
            return Some(set);
        }
        let mut attempts = self.attempts.subscribe();
        if self.may_be_wanted(now) {
            self.under_way.store(true, Ordering::SeqCst);
            self.wanted.notify_one();
        } else if !self.under_way.load(Ordering::SeqCst) {
            return None;
        }
        // What comes later serves the next one.
        let _ = tokio::time::timeout(PATIENCE, attempts.changed()).await;
        newer()
    }

    fn may_be_wanted(&self, now: Instant) -> bool {
        let mut last = self.last_wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let may = last.is_none_or(|last| now >= last + FETCHED_ON_DEMAND_EVERY);
        if may {
            *last = Some(now);
        }
        may
    }

    /// For the fetcher: somebody wants it now.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// For the fetcher. True where the set is another one than before.
    pub fn conclude(&self, outcome: FetchOutcome) -> bool {
        let changed = match outcome {
            FetchOutcome::Failed => false,
            FetchOutcome::Got(set) => {
                let is_new = self.set.load().as_ref().is_none_or(|before| **before != set);
                if is_new {
                    self.set.store(Some(Arc::new(set)));
                }
                is_new
            }
        };
        self.under_way.store(false, Ordering::SeqCst);
        self.attempts.send_modify(|count| *count += 1);
        changed
    }
}
