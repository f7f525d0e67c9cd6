//! What is counted of the Redis that limits are counted in.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use super::cells::{Counter, Histogram};

#[derive(Debug, Default)]
#[repr(align(128))]
pub struct RedisMetrics {
    pub(super) duration: Histogram,
    pub errors: Counter,
    pub timeouts: Counter,
    /// It was known to be away.
    pub unasked: Counter,
    /// [`UNKNOWN`], [`LOST`] or [`FOUND`].
    up: AtomicU8,
}

/// Nobody has asked yet.
const UNKNOWN: u8 = 0;
const LOST: u8 = 1;
const FOUND: u8 = 2;

impl RedisMetrics {
    #[inline]
    pub fn answered(&self, took: Duration) {
        self.duration.observe(took);
    }

    pub fn lost(&self) {
        self.up.store(LOST, Relaxed);
    }

    pub fn found(&self) {
        self.up.store(FOUND, Relaxed);
    }

    /// The first to connect knows of nobody who could not.
    pub fn found_first(&self) {
        // Where somebody else was first it is known.
        let _ = self.up.compare_exchange(UNKNOWN, FOUND, Relaxed, Relaxed);
    }

    /// None: nobody has asked yet.
    pub(super) fn is_up(&self) -> Option<bool> {
        match self.up.load(Relaxed) {
            UNKNOWN => None,
            up => Some(up == FOUND),
        }
    }

    pub(super) fn outcomes(&self) -> [(&'static str, u64); 4] {
        [
            ("answered", self.duration.count()),
            ("error", self.errors.value()),
            ("timeout", self.timeouts.value()),
            ("unasked", self.unasked.value()),
        ]
    }
}
