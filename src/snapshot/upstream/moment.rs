//! Time as balancers and limits keep it: one number, so that it fits an atomic. It is always given, never asked for.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Where counting begins. Whatever came before it counts as its first microsecond.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Microseconds since the epoch of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    /// Before every other moment.
    pub(crate) const NEVER: Moment = Moment(0);

    pub(crate) fn plus(self, duration: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
    }

    /// Zero where `earlier` is not earlier.
    pub(crate) fn since(self, earlier: Moment) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    pub(crate) fn milliseconds(self) -> u64 {
        self.0 / 1_000
    }

    pub(crate) fn seconds(self) -> u64 {
        self.0 / 1_000_000
    }
}

impl From<Instant> for Moment {
    fn from(instant: Instant) -> Self {
        let since = instant.saturating_duration_since(*EPOCH);
        Moment(u64::try_from(since.as_micros()).unwrap_or(u64::MAX).saturating_add(1))
    }
}

/// A moment that many threads read and write; they order nothing else by it.
#[derive(Debug)]
pub(crate) struct AtomicMoment(AtomicU64);

impl AtomicMoment {
    pub(crate) const fn new(moment: Moment) -> Self {
        Self(AtomicU64::new(moment.0))
    }

    pub(crate) fn get(&self) -> Moment {
        Moment(self.0.load(Ordering::Relaxed))
    }

    pub(crate) fn set(&self, moment: Moment) {
        self.0.store(moment.0, Ordering::Relaxed);
    }

    /// Moves forward to `moment`, never back; returns what was there.
    pub(crate) fn raise(&self, moment: Moment) -> Moment {
        Moment(self.0.fetch_max(moment.0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_keep_the_distance_of_their_instants() {
        let start = Instant::now() + Duration::from_secs(1);
        let (a, b) = (Moment::from(start), Moment::from(start + Duration::from_millis(250)));
        assert_eq!(b.since(a), Duration::from_millis(250));
        assert_eq!(a.since(b), Duration::ZERO);
        assert_eq!(a.plus(Duration::from_millis(250)), b);
        assert!(Moment::NEVER < a);
    }
}
