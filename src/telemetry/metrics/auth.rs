//! Numbers of the filters that ask who it is.

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
