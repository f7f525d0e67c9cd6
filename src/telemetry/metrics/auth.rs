//! Numbers of the filters that ask who it is.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use super::cells::{Counter, Histogram};

/// How requests fared at a `forward-auth`.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ForwardAuthMetrics {
    pub passed: Counter,
    pub refused: Counter,
    /// The service gave no answer, or none that says yes or no: these were refused, too.
    pub failed: Counter,
    /// Of those passed and refused, the ones for which the service was not asked.
    pub kept: Counter,
    /// Of the questions that were asked.
    pub duration: Histogram,
}

impl ForwardAuthMetrics {
    pub(super) fn outcomes(&self) -> [(&'static str, u64); 3] {
        let Self { passed, refused, failed, .. } = self;
        [("passed", passed), ("refused", refused), ("failed", failed)]
            .map(|(outcome, counter)| (outcome, counter.value()))
    }
}

/// How requests fared at a `jwt`.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct JwtMetrics {
    pub passed: Counter,
    /// Without a token, where none is needed.
    pub anonymous: Counter,
    /// Without a token, or with one that is not valid.
    pub refused: Counter,
    /// With a valid one that says too little.
    pub forbidden: Counter,
    /// While there were no keys.
    pub without_keys: Counter,
}

impl JwtMetrics {
    pub(super) fn outcomes(&self) -> [(&'static str, u64); 5] {
        let Self { passed, anonymous, refused, forbidden, without_keys } = self;
        [
            ("passed", passed),
            ("anonymous", anonymous),
            ("refused", refused),
            ("forbidden", forbidden),
            ("no-keys", without_keys),
        ]
        .map(|(outcome, counter)| (outcome, counter.value()))
    }
}

/// Of a set of keys that is fetched.
#[derive(Debug, Default)]
pub struct KeySetMetrics {
    fetched: Counter,
    pub failed: Counter,
    keys: AtomicU64,
    /// Seconds since 1970; zero is never.
    last_fetched: AtomicU64,
}

impl KeySetMetrics {
    pub fn fetched(&self, keys: usize, at: SystemTime) {
        self.fetched.increment();
        self.keys.store(keys as u64, Relaxed);
        self.last_fetched.store(at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()), Relaxed);
    }

    pub(super) fn attempts(&self) -> [(&'static str, u64); 2] {
        [("fetched", self.fetched.value()), ("failed", self.failed.value())]
    }

    pub(super) fn keys(&self) -> u64 {
        self.keys.load(Relaxed)
    }

    pub(super) fn last_fetched(&self) -> Option<u64> {
        Some(self.last_fetched.load(Relaxed)).filter(|at| *at > 0)
    }
}
