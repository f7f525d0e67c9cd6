//! The retry budget: retries may be a share of the requests of the last ten seconds, three are always allowed.
//!
//! ```text
//! first attempt ──► note_request ─┐
//!                                 ├─► ten buckets of one second ──► may another retry begin?
//! retry         ──► withdraw ─────┘
//! ```
//!
//! No lock: a bucket is one word of one thread, and whoever first comes to a stale one empties it.

use std::sync::atomic::{AtomicU64, Ordering};

use super::moment::Moment;
use crate::model::Percent;
use crate::sharded::Sharded;

const BUCKETS: usize = 10;

/// A service with little traffic may still retry.
const ALWAYS: u64 = 3;

const RETRY: u64 = 1;
const REQUEST: u64 = 1 << 16;

#[derive(Debug, Default)]
pub(super) struct RetryBudget(Sharded<Buckets>);

/// From the top: 24 bits of the second (194 days until they repeat), 24 bits of requests, 16 bits of retries.
#[derive(Debug, Default)]
struct Buckets([AtomicU64; BUCKETS]);

impl RetryBudget {
    pub(super) fn note_request(&self, now: Moment) {
        self.0.own().add(now, REQUEST);
    }

    /// Takes one retry out of the budget where there is one left.
    pub(super) fn withdraw(&self, now: Moment, share: Percent) -> bool {
        let bucket = self.0.own().add(now, RETRY);
        let (requests, retries) = self
            .0
            .all()
            .map(|buckets| buckets.totals(now))
            .fold((0, 0), |sum, of_thread| (sum.0 + of_thread.0, sum.1 + of_thread.1));
        let granted = retries <= ALWAYS || retries * 100 <= requests * u64::from(share.0);
        if !granted {
            bucket.fetch_sub(RETRY, Ordering::Relaxed);
        }
        granted
    }
}

impl Buckets {
    fn add(&self, now: Moment, amount: u64) -> &AtomicU64 {
        let stamp = stamp(now.seconds());
        let bucket = &self.0[now.seconds() as usize % BUCKETS];
        let seen = bucket.load(Ordering::Relaxed);
        if stamp_of(seen) != stamp {
            // Who loses the race finds the bucket emptied by the winner.
            let _ = bucket.compare_exchange(seen, stamp, Ordering::Relaxed, Ordering::Relaxed);
        }
        bucket.fetch_add(amount, Ordering::Relaxed);
        bucket
    }

    fn totals(&self, now: Moment) -> (u64, u64) {
        let oldest = now.seconds().saturating_sub(BUCKETS as u64 - 1);
        (oldest..=now.seconds()).fold((0, 0), |(requests, retries), second| {
            let word = self.0[second as usize % BUCKETS].load(Ordering::Relaxed);
            match stamp_of(word) == stamp(second) {
                true => (requests + ((word >> 16) & 0xff_ffff), retries + (word & 0xffff)),
                false => (requests, retries),
            }
        })
    }
}

/// Offset by one, so that an untouched bucket belongs to no second.
fn stamp(second: u64) -> u64 {
    (second + 1) << 40
}

fn stamp_of(word: u64) -> u64 {
    word >> 40 << 40
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn after(start: Instant, seconds: u64) -> Moment {
        (start + Duration::from_secs(seconds)).into()
    }

    #[test]
    fn three_retries_are_allowed_without_any_request() {
        let (budget, now) = (RetryBudget::default(), Moment::from(Instant::now()));
        assert_eq!((0..5).filter(|_| budget.withdraw(now, Percent(20))).count(), 3);
    }

    #[test]
    fn retries_stay_within_their_share_of_the_requests() {
        let (budget, now) = (RetryBudget::default(), Moment::from(Instant::now()));
        (0..100).for_each(|_| budget.note_request(now));
        assert_eq!((0..100).filter(|_| budget.withdraw(now, Percent(20))).count(), 20);
        assert!(!budget.withdraw(now, Percent(20)), "a refused retry must not count");
    }

    #[test]
    fn requests_older_than_ten_seconds_no_longer_pay() {
        let (budget, start) = (RetryBudget::default(), Instant::now() + Duration::from_secs(1));
        (0..100).for_each(|_| budget.note_request(after(start, 0)));
        assert_eq!((0..100).filter(|_| budget.withdraw(after(start, 9), Percent(10))).count(), 10);
        assert_eq!((0..100).filter(|_| budget.withdraw(after(start, 30), Percent(10))).count(), 3);
    }
}
