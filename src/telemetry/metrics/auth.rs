//! Numbers of the filters that ask who it is.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use super::Named;
use super::cells::{Counter, Histogram};
use super::exposition::Exposition;

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

pub(super) fn families(out: &mut Exposition, named: &Named) {
    forward_auths(out, named);
    jwts(out, named);
    key_sets(out, named);
}

fn forward_auths(out: &mut Exposition, named: &Named) {
    let mut outcomes = Vec::new();
    for (place, metrics) in &named.forward_auths {
        for (outcome, count) in metrics.outcomes() {
            outcomes.push(([("filter", &**place), ("outcome", outcome)], count as f64));
        }
    }
    out.counter(
        "weir_forward_auth_total",
        "Requests at a forward-auth, and what became of them there; failed is refused for want of an answer.",
        outcomes,
    );
    let filters = || named.forward_auths.iter();
    out.counter(
        "weir_forward_auth_kept_total",
        "Of those, the ones that an answer was kept for.",
        filters().map(|(place, metrics)| ([("filter", &**place)], metrics.kept.value() as f64)).collect(),
    );
    out.histogram(
        "weir_forward_auth_duration_seconds",
        "What asking the service took.",
        filters().map(|(place, metrics)| ([("filter", &**place)], &metrics.duration)).collect(),
    );
}

fn jwts(out: &mut Exposition, named: &Named) {
    let mut outcomes = Vec::new();
    for (place, metrics) in &named.jwts {
        for (outcome, count) in metrics.outcomes() {
            outcomes.push(([("filter", &**place), ("outcome", outcome)], count as f64));
        }
    }
    out.counter("weir_jwt_total", "Requests at a jwt, and what became of them there.", outcomes);
}

fn key_sets(out: &mut Exposition, named: &Named) {
    let sets = || named.key_sets.iter().map(|(url, metrics)| ([("jwks", &**url)], metrics));
    let mut attempts = Vec::new();
    for ([url], metrics) in sets() {
        for (result, count) in metrics.attempts() {
            attempts.push(([url, ("result", result)], count as f64));
        }
    }
    out.counter("weir_jwks_fetches_total", "Attempts to fetch a set of keys, by how they ended.", attempts);
    let keys = sets().map(|(url, metrics)| (url, metrics.keys() as f64));
    out.gauge("weir_jwks_keys", "Keys in the set that is used.", keys.collect());
    let fetched = sets().filter_map(|(url, metrics)| Some((url, metrics.last_fetched()? as f64)));
    let help = "When a set of keys was fetched last, in seconds since 1970.";
    out.gauge("weir_jwks_last_fetch_success_timestamp_seconds", help, fetched.collect());
}
