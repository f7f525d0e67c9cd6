//! Passive outlier detection: endpoints that fail the traffic itself are left out for a while.
//!
//! ```text
//! Lease::report ──► FailureWindow ──(so many within the window)──► ejected_until
//!                                  └─ unless too many are ejected already, or it is the only endpoint
//! ```
//!
//! When an ejection ends the endpoint is on probation: its first failure ejects it again at once, its first
//! success ends the probation. That is how nginx tries a failed server: with one request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::endpoint::{Endpoint, EndpointState};
use super::lease::Failure;
use super::moment::{AtomicMoment, Moment};
use super::set::EndpointSet;
use crate::model::{OutlierDetection, UpstreamName};

/// More failures than this within a window can't be told apart from this many: bounds the memory of an endpoint.
const MOST_FAILURES: usize = 1024;

/// What an endpoint needs to be judged by its traffic. It is nothing where the upstream doesn't ask for it.
#[derive(Clone, Debug, Default)]
pub(super) struct Ejection(Option<Arc<Record>>);

#[derive(Debug)]
struct Record {
    window: FailureWindow,
    probation: AtomicBool,
    /// The code of the failure that came last before the ejection, to say why.
    cause: AtomicU32,
}

impl Ejection {
    /// `previous` goes on where it counts to the same number.
    pub(super) fn new(detection: Option<&OutlierDetection>, previous: Option<&Ejection>) -> Self {
        let Some(detection) = detection else { return Self(None) };
        let size = (detection.failures.get() as usize).min(MOST_FAILURES);
        let same = |record: &&Arc<Record>| record.window.0.len() == size;
        Self(Some(match previous.and_then(|p| p.0.as_ref()).filter(same) {
            Some(record) => Arc::clone(record),
            None => Arc::new(Record {
                window: FailureWindow::new(size),
                probation: AtomicBool::new(false),
                cause: AtomicU32::new(0),
            }),
        }))
    }

    /// Of a request that began at `begun`: one from before the ejection, or sent for want of anything better, is none
    /// that the endpoint was tried with.
    pub(super) fn note_success(&self, state: &EndpointState, begun: Moment) {
        if let Some(record) = &self.0
            && record.probation.load(Ordering::Relaxed)
            && !is_ejected(state, begun)
        {
            record.probation.store(false, Ordering::Relaxed);
        }
    }

    pub(super) fn cause(&self) -> Option<Failure> {
        self.0.as_ref().and_then(|record| Failure::from_code(record.cause.load(Ordering::Relaxed)))
    }
}

/// Counts a failure, and ejects the endpoint where it was one too many.
pub(super) fn note_failure(set: &EndpointSet, endpoint: &Endpoint, failure: Failure, now: Moment) {
    let (Some(detection), Some(record)) = (&set.definition.outlier_detection, &endpoint.ejection.0) else { return };
    if is_ejected(&endpoint.state, now) {
        // An answer to a request from before the ejection.
        return;
    }
    let too_many = record.window.note(now, detection.window);
    if !too_many && !record.probation.load(Ordering::Relaxed) {
        return;
    }
    if eject(set, endpoint, detection, now) {
        record.cause.store(failure.code(), Ordering::Relaxed);
        record.probation.store(true, Ordering::Relaxed);
        record.window.clear();
        warn_of(&set.definition.name, endpoint, failure, detection.eject_for);
    }
}

pub(super) fn is_ejected(state: &EndpointState, now: Moment) -> bool {
    now < state.verdict.ejected_until.get()
}

fn eject(set: &EndpointSet, endpoint: &Endpoint, detection: &OutlierDetection, now: Moment) -> bool {
    if set.len() == 1 {
        // Nothing is gained by leaving out the only one there is; nginx does the same.
        return false;
    }
    // One at a time: two that eject together would each count without the other. Who comes second lets it be,
    // the next failure asks again.
    if set.shared.ejecting.swap(true, Ordering::Acquire) {
        return false;
    }
    // Each tier for itself: primaries may go while there are backups, whose number is no reason to keep them.
    let tier = set.tiers.iter().find(|tier| tier.endpoints.iter().any(|e| std::ptr::eq(&**e, endpoint)));
    let tier = tier.map_or(&[][..], |tier| &tier.endpoints);
    let ejected = tier.iter().filter(|e| is_ejected(&e.state, now)).count();
    let share = detection.max_ejected.0 as usize;
    // One at least: a single primary makes way for its backup.
    let most = if share == 0 { 0 } else { (tier.len() * share / 100).max(1) };
    let allowed = ejected < most;
    if allowed {
        let until = now.plus(detection.eject_for);
        endpoint.state.verdict.ejected_until.set(until);
        endpoint.state.verdict.warm_from.set(until);
        set.shared.ejections.fetch_add(1, Ordering::Relaxed);
    }
    set.shared.ejecting.store(false, Ordering::Release);
    allowed
}

fn warn_of(upstream: &UpstreamName, endpoint: &Endpoint, failure: Failure, eject_for: Duration) {
    tracing::warn!(
        upstream = upstream.as_str(),
        endpoint = %endpoint.address,
        error = %failure,
        duration_ms = eject_for.as_millis() as u64,
        "endpoint ejected: too many of its requests failed",
    );
}

/// When the last failures were: a ring as long as the number that ejects. After writing into it, the next slot
/// holds the oldest of that many; if even that one lies within the window, all of them do. Exact, and without a lock.
#[derive(Debug)]
struct FailureWindow(Box<[AtomicMoment]>, AtomicU64);

impl FailureWindow {
    fn new(size: usize) -> Self {
        Self((0..size).map(|_| AtomicMoment::new(Moment::NEVER)).collect(), AtomicU64::new(0))
    }

    fn note(&self, now: Moment, window: Duration) -> bool {
        let turn = self.1.fetch_add(1, Ordering::Relaxed) as usize;
        self.0[turn % self.0.len()].set(now);
        let oldest = self.0[(turn + 1) % self.0.len()].get();
        oldest != Moment::NEVER && now.since(oldest) <= window
    }

    fn clear(&self) {
        self.0.iter().for_each(|slot| slot.set(Moment::NEVER));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn failures_count_together_only_within_the_window() {
        let window = FailureWindow::new(3);
        let start = Instant::now() + Duration::from_secs(1);
        let mut note =
            |seconds: u64| window.note((start + Duration::from_secs(seconds)).into(), Duration::from_secs(30));
        // Three within thirty seconds, across any boundary that a fixed window would have.
        assert_eq!([0, 29, 31, 32].map(&mut note), [false, false, false, true]);
    }

    #[test]
    fn one_failure_is_enough_where_one_is_asked_for() {
        assert!(FailureWindow::new(1).note(Instant::now().into(), Duration::from_secs(1)));
    }
}
