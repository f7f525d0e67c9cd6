//! What is counted of each mirror.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::Named;
use super::cells::{Counter, Histogram};
use super::exposition::Exposition;

/// How copies fared, and how many are under way. Aligned as a route's numbers are.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct MirrorMetrics {
    answered: Counter,
    failed: Counter,
    abandoned: Counter,
    pub skipped: Counter,
    in_flight: AtomicU32,
    /// Of those that were answered: from when the copy set out to the last byte of the answer.
    pub duration: Histogram,
}

/// What became of a copy that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MirrorOutcome {
    /// With whatever status.
    Answered,
    /// There was no endpoint, no connection, no answer, or none in time.
    Failed,
    /// Its body was not sent to its end: the shadow could not keep up, or the client left.
    Abandoned,
}

/// A copy under way; counted when it is over.
#[derive(Debug)]
pub struct MirrorPlace {
    metrics: Arc<MirrorMetrics>,
    pub outcome: MirrorOutcome,
}

impl MirrorMetrics {
    /// None: there are as many as there may be.
    pub fn enter(self: &Arc<Self>, most: u32) -> Option<MirrorPlace> {
        if self.in_flight.fetch_add(1, Relaxed) >= most {
            self.in_flight.fetch_sub(1, Relaxed);
            return None;
        }
        Some(MirrorPlace { metrics: self.clone(), outcome: MirrorOutcome::Abandoned })
    }

    fn outcomes(&self) -> [(&'static str, u64); 4] {
        let Self { answered, failed, abandoned, skipped, .. } = self;
        [("answered", answered), ("failed", failed), ("abandoned", abandoned), ("skipped", skipped)]
            .map(|(outcome, counter)| (outcome, counter.value()))
    }
}

impl Drop for MirrorPlace {
    fn drop(&mut self) {
        self.metrics.in_flight.fetch_sub(1, Relaxed);
        match self.outcome {
            MirrorOutcome::Answered => self.metrics.answered.increment(),
            MirrorOutcome::Failed => self.metrics.failed.increment(),
            MirrorOutcome::Abandoned => self.metrics.abandoned.increment(),
        }
    }
}

pub(super) fn families(out: &mut Exposition, named: &Named) {
    let mirrors = || {
        named
            .mirrors
            .iter()
            .map(|((place, upstream), metrics)| ([("filter", &**place), ("upstream", upstream.as_str())], metrics))
    };
    let mut outcomes = Vec::new();
    for ([filter, upstream], metrics) in mirrors() {
        for (outcome, count) in metrics.outcomes() {
            outcomes.push(([filter, upstream, ("outcome", outcome)], count as f64));
        }
    }
    out.counter(
        "weir_mirror_requests_total",
        "Copies of requests, and what became of them; abandoned is cut short, skipped never begun for want of a place.",
        outcomes,
    );
    let in_flight = mirrors().map(|(labels, metrics)| (labels, f64::from(metrics.in_flight.load(Relaxed))));
    out.gauge("weir_mirror_in_flight", "Copies that have begun and not ended.", in_flight.collect());
    out.histogram(
        "weir_mirror_duration_seconds",
        "Of copies that were answered: from when they set out to the last byte of the answer.",
        mirrors().map(|(labels, metrics)| (labels, &metrics.duration)).collect(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back_and_its_outcome_counted() {
        let metrics = Arc::new(MirrorMetrics::default());
        let (mut first, second) = (metrics.enter(2).unwrap(), metrics.enter(2).unwrap());
        assert!(metrics.enter(2).is_none());
        first.outcome = MirrorOutcome::Answered;
        drop(first);
        assert!(metrics.enter(2).is_some(), "abandoned at once");
        drop(second);
        assert_eq!(metrics.outcomes(), [("answered", 1), ("failed", 0), ("abandoned", 2), ("skipped", 0)]);
        assert_eq!(metrics.in_flight.load(Relaxed), 0);
    }
}
