//! What is counted of each route.
//!
//! ```text
//! lane ──begin──► started        ──end──► method × status, bytes, duration
//! ```
//!
//! A request costs five relaxed additions and no lookup: the handle is resolved when a snapshot is compiled.

use std::sync::OnceLock;

use super::cells::{Counter, Histogram};
use crate::sharded::Sharded;
use crate::telemetry::record::{CacheOutcome, Lane, RequestRecord};

/// Kept apart by thread: none takes the numbers away from the others.
#[derive(Debug, Default)]
pub struct RouteMetrics(Sharded<RouteCounts>);

/// What one thread has counted, or all of them.
#[derive(Debug, Default)]
pub(super) struct RouteCounts {
    started: Counter,
    bytes_in: Counter,
    bytes_out: Counter,
    /// Of those that ended, the ones that took the lean lane.
    lean: Counter,
    pub duration: Histogram,
    cache: [Counter; CacheOutcome::ALL.len()],
    /// Allocated by the first request of a method and status class: ten thousand routes would else cost 360 MB a thread.
    methods: [OnceLock<Box<Classes>>; METHODS.len()],
}

type Classes = [OnceLock<Box<[Counter; 100]>>; 5];

/// The label's values; what is not here is `OTHER`.
const METHODS: [&str; 10] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "OTHER"];

impl RouteMetrics {
    /// A request has been routed here.
    #[inline]
    pub fn begin(&self) {
        self.0.own().started.increment();
    }

    /// It is over, and the record is finished. Called once for each [`begin`](Self::begin).
    #[inline]
    pub fn end(&self, method: &str, record: &RequestRecord) {
        let counts = self.0.own();
        counts.status_counter(method, record.status).increment();
        counts.bytes_out.add(record.bytes_out);
        if record.bytes_in > 0 {
            counts.bytes_in.add(record.bytes_in);
        }
        counts.duration.observe(record.duration);
        if record.lane == Lane::Lean {
            counts.lean.increment();
        }
        if let Some(outcome) = record.cache {
            counts.cache[outcome as usize].increment();
        }
    }

    /// All threads' together.
    pub(super) fn read(&self) -> RouteCounts {
        self.0.sum(RouteCounts::take_in)
    }
}

impl RouteCounts {
    /// Adds what another thread has counted.
    fn take_in(&self, other: &Self) {
        // In the order in which no number can be ahead of one that it is a part of: they grow meanwhile.
        self.lean.take_in(&other.lean);
        self.duration.take_in(&other.duration);
        self.started.take_in(&other.started);
        self.bytes_in.take_in(&other.bytes_in);
        self.bytes_out.take_in(&other.bytes_out);
        self.cache.iter().zip(&other.cache).for_each(|(count, other)| count.take_in(other));
        for (method, status, count) in other.answers() {
            self.status_counter(method, status).add(count);
        }
    }

    /// How many the cache made what of.
    pub fn cached(&self) -> impl Iterator<Item = (CacheOutcome, u64)> {
        CacheOutcome::ALL.into_iter().map(|outcome| (outcome, self.cache[outcome as usize].value()))
    }

    fn status_counter(&self, method: &str, status: u16) -> &Counter {
        let method = METHODS.iter().position(|known| *known == method).unwrap_or(METHODS.len() - 1);
        let (class, within) = slot(status);
        let classes = self.methods[method].get_or_init(Default::default);
        &classes[class].get_or_init(|| Box::new(std::array::from_fn(|_| Counter::default())))[within]
    }

    pub fn was_used(&self) -> bool {
        self.started.value() > 0
    }

    pub fn in_flight(&self) -> u64 {
        self.started.value().saturating_sub(self.duration.count())
    }

    /// How many took which lane.
    pub fn lanes(&self) -> [(Lane, u64); 2] {
        let lean = self.lean.value();
        [(Lane::Lean, lean), (Lane::Full, self.duration.count().saturating_sub(lean))]
    }

    pub fn bytes(&self) -> (u64, u64) {
        (self.bytes_in.value(), self.bytes_out.value())
    }

    /// Method, status and how many, where there are any.
    pub fn answers(&self) -> Vec<(&'static str, u16, u64)> {
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
        assert_eq!(route.read().answers(), [("GET", 200, 2), ("POST", 0, 2), ("OTHER", 418, 1)]);
        assert_eq!(route.read().bytes(), (25, 5 * 1024));
        route.end("GET", &RequestRecord { lane: Lane::Lean, ..record() });
        assert_eq!(route.read().lanes(), [(Lane::Lean, 1), (Lane::Full, 5)]);
    }

    #[test]
    fn what_began_and_has_not_ended_is_in_flight() {
        let route = RouteMetrics::default();
        assert!(!route.read().was_used());
        route.begin();
        route.begin();
        route.end("GET", &record());
        assert_eq!(route.read().in_flight(), 1);
        assert!(route.read().was_used());
    }
}
