//! An endpoint's latency as peak-EWMA sees it: a rise is believed at once, a fall only with time.
//!
//! ```text
//! report ──► observe(latency, now) ──► [value, when] ──► at(now) ──► policy/peak_ewma
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::moment::{AtomicMoment, Moment};

/// In which a value falls to 1/e. Long enough to bridge the gaps of a quiet service, short enough to forget a hiccup.
const DECAY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct PeakEwma {
    /// Microseconds, as the bits of an `f64`.
    value: AtomicU64,
    updated: AtomicMoment,
}

impl Default for PeakEwma {
    fn default() -> Self {
        Self { value: AtomicU64::new(0f64.to_bits()), updated: AtomicMoment::new(Moment::NEVER) }
    }
}

impl PeakEwma {
    pub(super) fn observe(&self, latency: Duration, now: Moment) {
        // Every interval is claimed by one observer, so two at a time don't decay the value twice.
        let keep = decay(now.since(self.updated.raise(now)));
        let sample = latency.as_secs_f64() * 1e6;
        let average = |bits: u64| {
            let value = f64::from_bits(bits);
            let next = if sample > value { sample } else { value * keep + sample * (1.0 - keep) };
            Some(next.to_bits())
        };
        let _ = self.value.fetch_update(Ordering::Relaxed, Ordering::Relaxed, average);
    }

    /// Microseconds; decayed towards zero while nothing is observed, so that an endpoint once slow is tried again.
    pub(super) fn at(&self, now: Moment) -> f64 {
        let value = f64::from_bits(self.value.load(Ordering::Relaxed));
        if value == 0.0 { 0.0 } else { value * decay(now.since(self.updated.get())) }
    }

    /// As last observed, and when; None before the first.
    pub(super) fn last(&self) -> Option<(Moment, Duration)> {
        let value = f64::from_bits(self.value.load(Ordering::Relaxed));
        (value > 0.0).then(|| (self.updated.get(), Duration::from_secs_f64(value / 1e6)))
    }
}

fn decay(elapsed: Duration) -> f64 {
    (-elapsed.as_secs_f64() / DECAY.as_secs_f64()).exp()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_peak_is_believed_at_once_and_forgotten_slowly() {
        let ewma = PeakEwma::default();
        let start = Instant::now() + Duration::from_secs(1);
        ewma.observe(Duration::from_millis(10), start.into());
        ewma.observe(Duration::from_millis(500), start.into());
        assert_eq!(ewma.last(), Some((start.into(), Duration::from_millis(500))));

        ewma.observe(Duration::from_millis(10), (start + DECAY).into());
        let after = ewma.last().unwrap().1.as_secs_f64();
        let expected = 0.5 / std::f64::consts::E + 0.01 * (1.0 - 1.0 / std::f64::consts::E);
        assert!((after - expected).abs() < 0.001, "{after} is not {expected}");
    }

    #[test]
    fn silence_lets_the_value_fall() {
        let ewma = PeakEwma::default();
        let start = Instant::now() + Duration::from_secs(1);
        ewma.observe(Duration::from_millis(100), start.into());
        let later = ewma.at((start + DECAY * 5).into());
        assert!(later < 1_000.0, "{later} µs after five times the decay");
    }
}
