//! What is counted of each limit.

use super::cells::Counter;

/// How a request fared at a limit that was asked about it. Aligned as a route's numbers are.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct LimitMetrics {
    pub passed: Counter,
    pub delayed: Counter,
    pub limited: Counter,
    /// Would have been delayed or limited.
    pub dry_run: Counter,
}

impl LimitMetrics {
    pub(super) fn outcomes(&self) -> [(&'static str, u64); 4] {
        let Self { passed, delayed, limited, dry_run } = self;
        [("passed", passed), ("delayed", delayed), ("limited", limited), ("dry-run", dry_run)]
            .map(|(outcome, counter)| (outcome, counter.value()))
    }
}
