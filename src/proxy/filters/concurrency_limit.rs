//! `concurrency-limit`: how many at once.

use super::Verdict;
use crate::model::LimitMode;
use crate::snapshot::limit::{ConcurrencyLimit, Entry, Place};
use crate::snapshot::request::RequestView;

/// The places that a request takes, one at each limit that counts it; given back when they are dropped. Most routes have one
/// limit at most: the first needs no allocation.
#[derive(Debug, Default)]
pub struct Places {
    first: Option<Place>,
    others: Vec<Place>,
}

impl Places {
    fn add(&mut self, place: Place) {
        match self.first {
            None => self.first = Some(place),
            Some(_) => self.others.push(place),
        }
    }

    pub fn extend(&mut self, other: Places) {
        other.first.into_iter().chain(other.others).for_each(|place| self.add(place));
    }

    /// Whether any was taken.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }
}

/// A place at every limit, or at none.
pub fn run(limits: &[ConcurrencyLimit], request: &RequestView<'_>) -> Result<Places, Verdict> {
    let mut places = Places::default();
    for limit in limits {
        match (limit.enter(request), limit.definition().mode) {
            (Entry::NotCounted, _) => {}
            (Entry::Entered(place), _) => {
                limit.metrics.passed.increment();
                places.add(place);
            }
            (Entry::Full, LimitMode::Enforce) => {
                limit.metrics.limited.increment();
                return Err(Verdict::refuse(limit.definition().status, "too many requests at once: try again later"));
            }
            (Entry::Full, LimitMode::DryRun) => {
                limit.metrics.dry_run.increment();
                let name = limit.definition().name.as_str();
                tracing::debug!(limit = name, "a concurrency limit would have refused this request");
            }
        }
    }
    Ok(places)
}

/// For `explain`: as it stands now, without a place being taken.
pub fn in_words(limit: &ConcurrencyLimit, request: &RequestView<'_>) -> String {
    let max = limit.definition().max;
    match limit.in_flight(request) {
        None => format!("{max} at once: this request is not counted"),
        Some(count) if count < max.get() => format!("{max} at once: passes, {count} are in flight"),
        Some(count) => format!("{max} at once: {count} are in flight, which is too many"),
    }
}
