//! What is counted of each route.
//!
//! ```text
//! lane ──begin──► started        ──end──► method × status, bytes, duration
//! ```
//!
//! A request costs five relaxed additions and no lookup: the handle is resolved when a snapshot is compiled.

use std::sync::OnceLock;

use super::cells::{Counter, Histogram};
use crate::telemetry::record::{CacheOutcome, Lane, RequestRecord};

/// Aligned to two cache lines, so that threads that serve different routes do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct RouteMetrics {
    started: Counter,
    bytes_in: Counter,
    bytes_out: Counter,
    /// Of those that ended, the ones that took the lean lane.
    lean: Counter,
    pub(super) duration: Histogram,
    cache: [Counter; CacheOutcome::ALL.len()],
    /// Allocated by the first request of a method and status class: ten thousand routes would else cost 360 MB.
    methods: [OnceLock<Box<Classes>>; METHODS.len()],
}

type Classes = [OnceLock<Box<[Counter; 100]>>; 5];

/// The label's values; what is not here is `OTHER`.
const METHODS: [&str; 10] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "OTHER"];

impl RouteMetrics {
    /// A request has been routed here.
    #[inline]
    pub fn begin(&self) {
        self.started.increment();
    }

    /// It is over, and the record is finished. Called once for each [`begin`](Self::begin).
    #[inline]
    pub fn end(&self, method: &str, record: &RequestRecord) {
        self.status_counter(method, record.status).increment();
        self.bytes_out.add(record.bytes_out);
        if record.bytes_in > 0 {
            self.bytes_in.add(record.bytes_in);
        }
        self.duration.observe(record.duration);
        if record.lane == Lane::Lean {
            self.lean.increment();
        }
        if let Some(outcome) = record.cache {
            self.cache[outcome as usize].increment();
        }
    }

    /// How many the cache made what of.
    pub(super) fn cached(&self) -> impl Iterator<Item = (CacheOutcome, u64)> {
        CacheOutcome::ALL.into_iter().map(|outcome| (outcome, self.cache[outcome as usize].value()))
    }

    fn status_counter(&self, method: &str, status: u16) -> &Counter {
        let method = METHODS.iter().position(|known| *known == method).unwrap_or(METHODS.len() - 1);
        let (class, within) = slot(status);
        let classes = self.methods[method].get_or_init(Default::default);
        &classes[class].get_or_init(|| Box::new(std::array::from_fn(|_| Counter::default())))[within]
    }

    pub(super) fn was_used(&self) -> bool {
        self.started.value() > 0
    }

    pub(super) fn in_flight(&self) -> u64 {
        // The ended ones are read first: none of them can be missing from the started ones.
        let ended = self.duration.count();
        self.started.value().saturating_sub(ended)
    }

    /// How many took which lane.
    pub(super) fn lanes(&self) -> [(Lane, u64); 2] {
        // Read first, of two numbers that grow.
        let lean = self.lean.value();
        [(Lane::Lean, lean), (Lane::Full, self.duration.count().saturating_sub(lean))]
    }

    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.bytes_in.value(), self.bytes_out.value())
    }

    /// Method, status and how many, where there are any.
    pub(super) fn answers(&self) -> Vec<(&'static str, u16, u64)> {
        let mut answers = Vec::new();
        for (method, classes) in METHODS.iter().zip(&self.methods) {
            for (class, counters) in classes.get().iter().flat_map(|classes| classes.iter().enumerate()) {
                for (within, counter) in counters.get().iter().flat_map(|counters| counters.iter().enumerate()) {
                    if counter.value() > 0 {
                        answers.push((*method, status_of(class, within), counter.value()));
                    }
                }
            }
        }
        answers
    }
}

/// Class and place in it.
fn slot(status: u16) -> (usize, usize) {
    match status {
        100..=599 => (usize::from(status / 100 - 1), usize::from(status % 100)),
        _ => (0, NO_ANSWER),
    }
}

/// Requests without an answer are counted in the place of 199, which no one sends, and shown as `000`.
const NO_ANSWER: usize = 99;

fn status_of(class: usize, within: usize) -> u16 {
    match (class, within) {
        (0, NO_ANSWER) => 0,
        (class, within) => (class as u16 + 1) * 100 + within as u16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::record::testing::record;

    #[test]
    fn answers_are_counted_by_known_method_and_status() {
        let route = RouteMetrics::default();
        for (method, status) in [("GET", 200), ("GET", 200), ("BREW", 418), ("POST", 0), ("POST", 999)] {
            route.begin();
            route.end(method, &RequestRecord { status, ..record() });
        }
        assert_eq!(route.answers(), [("GET", 200, 2), ("POST", 0, 2), ("OTHER", 418, 1)]);
        assert_eq!(route.bytes(), (25, 5 * 1024));
        route.end("GET", &RequestRecord { lane: Lane::Lean, ..record() });
        assert_eq!(route.lanes(), [(Lane::Lean, 1), (Lane::Full, 5)]);
    }

    #[test]
    fn what_began_and_has_not_ended_is_in_flight() {
        let route = RouteMetrics::default();
        assert!(!route.was_used());
        route.begin();
        route.begin();
        route.end("GET", &record());
        assert_eq!(route.in_flight(), 1);
        assert!(route.was_used());
    }
}
