//! Numbers that many threads add to and one scrape reads: plain relaxed atomics.
//!
//! Relaxed is enough: a scrape needs each number to be some recent value, not all of one moment.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub fn increment(&self) {
        self.add(1);
    }

    #[inline]
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Adds what the other has counted.
    pub(super) fn take_in(&self, other: &Self) {
        self.add(other.value());
    }
}

/// The upper bounds, in seconds. Dense where the promises are: 50 ms for an asset, 200 ms for an API.
pub(super) const BOUNDS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// [`BOUNDS`] as the request path compares them.
const BOUNDS_NANOSECONDS: [u64; BOUNDS.len()] = {
    let mut nanoseconds = [0; BOUNDS.len()];
    let mut index = 0;
    while index < BOUNDS.len() {
        nanoseconds[index] = (BOUNDS[index] * 1e9) as u64;
        index += 1;
    }
    nanoseconds
};

/// Durations. One observation is two additions.
#[derive(Debug, Default)]
pub struct Histogram {
    /// Not cumulative; the last takes what is longer than every bound.
    buckets: [Counter; BOUNDS.len() + 1],
    /// 584 years of them fit.
    nanoseconds: Counter,
}

impl Histogram {
    #[inline]
    pub fn observe(&self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_NANOSECONDS.partition_point(|bound| *bound < nanoseconds);
        self.buckets[bucket].increment();
        self.nanoseconds.add(nanoseconds);
    }

    /// Adds what the other has observed.
    pub(super) fn take_in(&self, other: &Self) {
        self.buckets.iter().zip(&other.buckets).for_each(|(bucket, other)| bucket.take_in(other));
        self.nanoseconds.take_in(&other.nanoseconds);
    }

    pub fn count(&self) -> u64 {
        self.buckets.iter().map(Counter::value).sum()
    }

    pub(super) fn buckets(&self) -> impl Iterator<Item = u64> {
        self.buckets.iter().map(Counter::value)
    }

    pub(super) fn seconds(&self) -> f64 {
        self.nanoseconds.value() as f64 / 1e9
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_own_bucket() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_micros(500));
        histogram.observe(Duration::from_nanos(500_001));
        histogram.observe(Duration::from_secs(31));
        let buckets: Vec<_> = histogram.buckets().collect();
        assert_eq!((buckets[0], buckets[1], buckets[BOUNDS.len()]), (1, 1, 1));
        assert_eq!(histogram.count(), 3);
        assert!((histogram.seconds() - 31.001).abs() < 1e-3);
    }
}
