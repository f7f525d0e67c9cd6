//! What was told of somebody who does not answer. One that fails now and then must not fill the log.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::upstream::moment::{AtomicMoment, Moment};

#[derive(Debug)]
pub struct Outage {
    is_told: AtomicBool,
    last: AtomicMoment,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Answered,
    Failed,
}

impl Default for Outage {
    fn default() -> Self {
        Self { is_told: AtomicBool::new(false), last: AtomicMoment::new(Moment::NEVER) }
    }
}

impl Outage {
    const TOLD_EVERY: Duration = Duration::from_secs(10);

    /// Notes that there was an answer, or none. Whether that is news.
    pub fn note(&self, outcome: Asked, now: Instant) -> bool {
        match outcome {
            Asked::Answered => self.is_told.load(Relaxed) && self.is_told.swap(false, Relaxed),
            Asked::Failed => self.begins(now),
        }
    }

    fn begins(&self, now: Instant) -> bool {
        let (now, last) = (Moment::from(now), self.last.get());
        if last != Moment::NEVER && now.since(last) < Self::TOLD_EVERY {
            return false;
        }
        self.last.set(now);
        self.is_told.store(true, Relaxed);
        true
    }
}
