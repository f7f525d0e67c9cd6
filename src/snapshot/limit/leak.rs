//! The arithmetic of a leaky bucket, as nginx's `limit_req` does it: in thousandths of a request and whole milliseconds.
//!
//! ```text
//! Level { excess, last } + now ──► excess after one request more ──► over the burst? how long until it has leaked?
//! ```
//!
//! One thing differs: nginx rounds `5r/m` down to 0.083 requests a second, and `1r/m` to 0.016; here a rate is what it says.

use std::num::NonZeroU32;
use std::time::Duration;

use super::Standing;
use crate::model::{Delay, Rate};

/// In thousandths of a request.
pub(super) const ONE: u64 = 1000;

/// What is in a bucket after the last request that was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    /// Thousandths of a request.
    pub excess: u32,
    /// Milliseconds.
    pub last: u64,
}

/// How fast buckets leak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leak {
    /// Thousandths of a request in a period.
    pub amount: u64,
    /// Milliseconds.
    pub period: u64,
}

impl Leak {
    pub fn of(rate: Rate) -> Self {
        let period = u64::try_from(rate.per.as_millis()).unwrap_or(u64::MAX).max(1);
        Self { amount: u64::from(rate.count.get()) * ONE, period }
    }

    /// What the bucket holds with one request more. Time that runs backwards, as between two threads, counts as none.
    pub fn with_one_more(self, level: Level, now: u64) -> u32 {
        // What saturates is more than any bucket holds.
        let leaked = self.amount.saturating_mul(now.saturating_sub(level.last)) / self.period;
        let excess = (u64::from(level.excess) + ONE).saturating_sub(leaked);
        u32::try_from(excess).unwrap_or(u32::MAX)
    }

    /// Whether the next request finds what the first one of all finds.
    pub fn is_as_new(self, level: Level, now: u64) -> bool {
        self.with_one_more(level, now) == 0
    }

    /// Until so much has leaked; nginx rounds it down.
    pub fn time_for(self, thousandths: u32) -> Duration {
        Duration::from_millis(u64::from(thousandths).saturating_mul(self.period) / self.amount)
    }
}

/// What a limit makes of an excess, in thousandths of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub leak: Leak,
    pub burst: u32,
    /// None: nothing is delayed.
    pub undelayed: Option<u32>,
}

impl Bounds {
    pub fn of(limit: &crate::model::RateLimit) -> Self {
        let thousandths = |requests: u32| requests.saturating_mul(ONE as u32);
        Self {
            leak: Leak::of(limit.rate),
            burst: thousandths(limit.burst.get()),
            undelayed: match limit.delay {
                Delay::None => None,
                Delay::All => Some(0),
                Delay::After(requests) => Some(thousandths(requests.get())),
            },
        }
    }

    /// For one of so many, which get the same traffic. What a bucket holds means the same to all of them.
    pub fn shared_by(self, replicas: NonZeroU32) -> Self {
        Self {
            leak: Leak { period: self.leak.period.saturating_mul(replicas.get().into()), ..self.leak },
            burst: self.burst / replicas,
            undelayed: self.undelayed.map(|free| free / replicas),
        }
    }

    pub fn standing(self, excess: u32) -> Standing {
        if excess > self.burst {
            return Standing::Exceeds { excess, wait: self.wait(excess) };
        }
        Standing::Passes { excess, delay: self.delay(excess) }
    }

    fn delay(self, excess: u32) -> Duration {
        self.undelayed.map_or(Duration::ZERO, |free| self.leak.time_for(excess.saturating_sub(free)))
    }

    /// Until a request like the one that was refused would be let pass.
    fn wait(self, excess: u32) -> Duration {
        self.leak.time_for(excess.saturating_sub(self.burst)) + Duration::from_millis(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `ngx_http_limit_req_lookup`, line by line, for the last of a location's limits. `rate` in thousandths a second.
    fn nginx(rate: i64, burst: i64, node: &mut Option<(i64, i64)>, now: i64) -> (bool, i64) {
        let Some((excess_before, last)) = node else {
            *node = Some((0, now));
            return (true, 0);
        };
        let ms = match now - *last {
            ms if ms < -60_000 => 1,
            ms if ms < 0 => 0,
            ms => ms,
        };
        let excess = (*excess_before - rate * ms / 1000 + 1000).max(0);
        if excess > burst {
            return (false, excess);
        }
        *excess_before = excess;
        if ms != 0 {
            *last = now;
        }
        (true, excess)
    }

    fn rate(count: u32, seconds: u64) -> Rate {
        Rate { count: NonZeroU32::new(count).unwrap(), per: Duration::from_secs(seconds) }
    }

    /// As the table of buckets keeps it.
    fn ours(leak: Leak, burst: u32, node: &mut Option<Level>, now: u64) -> (bool, u32) {
        let excess = node.map_or(0, |level| leak.with_one_more(level, now));
        let passes = excess <= burst;
        if passes {
            *node = Some(Level { excess, last: node.map_or(now, |level| level.last.max(now)) });
        }
        (passes, excess)
    }

    proptest! {
        #[test]
        fn every_request_is_judged_as_nginx_judges_it(
            count in 1u32..5000,
            burst in 0u32..100,
            steps in proptest::collection::vec(0u64..3000, 1..300),
        ) {
            let (leak, bound) = (Leak::of(rate(count, 1)), burst * 1000);
            let (mut theirs, mut own, mut now) = (None, None, 1_000_000u64);
            for step in steps {
                now += step / 7;
                let (passes, excess) = ours(leak, bound, &mut own, now);
                let expected = nginx(i64::from(count) * 1000, i64::from(bound), &mut theirs, now as i64);
                prop_assert_eq!((passes, i64::from(excess)), expected);
            }
        }

        /// Whatever comes, no more passes than the rate and the burst allow, and none is refused that they allow.
        #[test]
        fn no_more_than_rate_and_burst_pass(
            count in 1u32..200,
            seconds in prop_oneof![Just(1u64), Just(60), Just(3600), Just(86_400)],
            burst in 0u32..50,
            steps in proptest::collection::vec(0u64..5_000, 1..200),
        ) {
            let leak = Leak::of(rate(count, seconds));
            let (mut own, mut now, mut passed) = (None, 0u64, 0u64);
            for step in &steps {
                now += step;
                let (passes, excess) = ours(leak, burst * 1000, &mut own, now);
                passed += u64::from(passes);
                prop_assert!(passes || excess > burst * 1000);
                // A request is a thousandth late at most for each that passed before: leaks are whole thousandths.
                let allowed = u64::from(count) as f64 * now as f64 / (seconds as f64 * 1000.0) + f64::from(burst) + 1.0;
                prop_assert!(passed as f64 <= allowed + 1e-6, "{} of {}", passed, allowed);
            }
        }
    }

    #[test]
    fn rates_of_days_leak_what_they_say() {
        let leak = Leak::of(rate(1, 86_400));
        let level = Level { excess: 1000, last: 0 };
        assert_eq!(leak.with_one_more(level, 86_400_000), 1000);
        assert_eq!(leak.with_one_more(level, 43_200_000), 1500);
        assert_eq!(leak.time_for(1000), Duration::from_secs(86_400));
        assert!(!leak.is_as_new(level, 2 * 86_400_000 - 1) && leak.is_as_new(level, 2 * 86_400_000));
    }

    #[test]
    fn the_largest_numbers_fit() {
        let leak = Leak::of(rate(u32::MAX, 1));
        assert_eq!(leak.with_one_more(Level { excess: u32::MAX, last: 0 }, u64::MAX), 0);
        assert_eq!(leak.with_one_more(Level { excess: u32::MAX, last: 5 }, 0), u32::MAX);
    }
}
