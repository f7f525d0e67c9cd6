//! What active health checks say of an endpoint: three states and the streaks between them.
//!
//! ```text
//!            first verdict              unhealthy_after failures
//! Unknown ─────────────────► Healthy ◄──────────────────────────► Unhealthy
//!                                        healthy_after successes
//! ```
//!
//! Unknown counts as usable: a new endpoint serves until a check says otherwise. The first verdict needs no
//! streak, so that a start or a new endpoint is settled within one probe.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::model;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    Unknown,
    Healthy,
    Unhealthy,
}

/// As the state is kept in its atomic; whatever else stands there (zero, at first) is unknown.
const HEALTHY: u8 = 1;
const UNHEALTHY: u8 = 2;

/// Written by the one task that checks the endpoint; read by every pick.
#[derive(Debug, Default)]
pub(super) struct CheckedHealth {
    health: AtomicU8,
    /// Verdicts in a row that speak against the present state.
    against: AtomicU32,
    /// Why the last check failed. Only the control plane looks.
    last_failure: Mutex<Option<Arc<str>>>,
}

impl CheckedHealth {
    pub(super) fn get(&self) -> Health {
        match self.health.load(Ordering::Relaxed) {
            HEALTHY => Health::Healthy,
            UNHEALTHY => Health::Unhealthy,
            _ => Health::Unknown,
        }
    }

    pub(super) fn last_failure(&self) -> Option<Arc<str>> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes one probe's verdict in; returns the states before and after where it changed something.
    pub(super) fn record(
        &self,
        verdict: &Result<(), Arc<str>>,
        thresholds: &model::HealthCheck,
    ) -> Option<(Health, Health)> {
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = verdict.clone().err();
        let before = self.get();
        let (voted, needed) = match verdict {
            Ok(()) => (Health::Healthy, thresholds.healthy_after.get()),
            Err(_) => (Health::Unhealthy, thresholds.unhealthy_after.get()),
        };
        if voted == before {
            self.against.store(0, Ordering::Relaxed);
            return None;
        }
        let against = self.against.load(Ordering::Relaxed) + 1;
        if before != Health::Unknown && against < needed {
            self.against.store(against, Ordering::Relaxed);
            return None;
        }
        self.against.store(0, Ordering::Relaxed);
        self.health.store(if voted == Health::Healthy { HEALTHY } else { UNHEALTHY }, Ordering::Relaxed);
        Some((before, voted))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;

    fn thresholds(unhealthy_after: u32, healthy_after: u32) -> model::HealthCheck {
        model::HealthCheck {
            probe: model::Probe::Tcp,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            unhealthy_after: NonZeroU32::new(unhealthy_after).unwrap(),
            healthy_after: NonZeroU32::new(healthy_after).unwrap(),
            port: None,
        }
    }

    fn refused() -> Result<(), Arc<str>> {
        Err("connection refused".into())
    }

    #[test]
    fn the_first_verdict_needs_no_streak() {
        for (verdict, after) in [(Ok(()), Health::Healthy), (refused(), Health::Unhealthy)] {
            let checked = CheckedHealth::default();
            assert_eq!(checked.record(&verdict, &thresholds(3, 3)), Some((Health::Unknown, after)));
        }
    }

    #[test]
    fn a_state_turns_only_after_its_streak_and_a_break_starts_it_again() {
        let (checked, three_two) = (CheckedHealth::default(), thresholds(3, 2));
        checked.record(&Ok(()), &three_two);
        for verdict in [refused(), refused(), Ok(()), refused(), refused()] {
            assert_eq!(checked.record(&verdict, &three_two), None);
        }
        assert_eq!(checked.record(&refused(), &three_two), Some((Health::Healthy, Health::Unhealthy)));
        assert_eq!(checked.last_failure().as_deref(), Some("connection refused"));
        assert_eq!(checked.record(&Ok(()), &three_two), None);
        assert_eq!(checked.record(&Ok(()), &three_two), Some((Health::Unhealthy, Health::Healthy)));
        assert_eq!(checked.last_failure(), None);
    }
}
