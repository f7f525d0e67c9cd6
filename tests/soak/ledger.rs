//! What went wrong, and when; how long what went well took. Of bounded size, however long it goes on.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Enough to see a pattern.
const MOST_TOLD: usize = 40;

pub struct Ledger {
    begun: Instant,
    failures: AtomicU64,
    told: Mutex<Vec<String>>,
    /// How often something was done that is not a timed request.
    deeds: Mutex<BTreeMap<&'static str, u64>>,
}

impl Ledger {
    pub fn open() -> Ledger {
        Ledger { begun: Instant::now(), failures: AtomicU64::new(0), told: Mutex::default(), deeds: Mutex::default() }
    }

    pub fn fail(&self, what: impl Display) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let line = format!("after {:.1?}: {what}", self.begun.elapsed());
        let mut told = self.told.lock().expect("no panic while held");
        if told.len() < MOST_TOLD {
            // At once: whoever watches half an hour wants to know.
            eprintln!("{line}");
            told.push(line);
        }
    }

    /// What the harness panics about is a failure like any other: the rest goes on.
    pub fn watch<T>(&self, deed: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
        catch_unwind(AssertUnwindSafe(deed)).unwrap_or_else(|panic| {
            let words = panic.downcast_ref::<String>().cloned();
            Err(words.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default())
        })
    }

    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub fn told(&self) -> String {
        self.told.lock().expect("no panic while held").join("\n")
    }

    pub fn done(&self, deed: &'static str) {
        *self.deeds.lock().expect("no panic while held").entry(deed).or_default() += 1;
    }

    pub fn deeds(&self) -> BTreeMap<&'static str, u64> {
        self.deeds.lock().expect("no panic while held").clone()
    }
}

/// A step of the histogram: finer than anybody's promise.
const STEP: Duration = Duration::from_micros(100);
/// What takes longer than their sum counts as the last.
const STEPS: usize = 200_000;

/// How many requests took how long, and the longest.
pub struct Times {
    steps: Vec<AtomicU64>,
    longest_micros: AtomicU64,
}

impl Times {
    pub fn new() -> Times {
        let steps = std::iter::repeat_with(AtomicU64::default).take(STEPS).collect();
        Times { steps, longest_micros: AtomicU64::new(0) }
    }

    pub fn note(&self, taken: Duration) {
        let step = (taken.as_micros() / STEP.as_micros()) as usize;
        self.steps[step.min(STEPS - 1)].fetch_add(1, Ordering::Relaxed);
        self.longest_micros.fetch_max(taken.as_micros() as u64, Ordering::Relaxed);
    }

    pub fn add(&self, other: &Times) {
        for (mine, others) in self.steps.iter().zip(&other.steps) {
            mine.fetch_add(others.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.longest_micros.fetch_max(other.longest_micros.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    pub fn count(&self) -> u64 {
        self.steps.iter().map(|step| step.load(Ordering::Relaxed)).sum()
    }

    /// So many of a thousand took no longer.
    pub fn share(&self, per_mille: u64) -> Duration {
        let wanted = (self.count() * per_mille).div_ceil(1000);
        let mut seen = 0;
        let within = self.steps.iter().position(|step| {
            seen += step.load(Ordering::Relaxed);
            seen >= wanted
        });
        STEP * u32::try_from(within.unwrap_or(0) + 1).expect("few enough")
    }

    pub fn longest(&self) -> Duration {
        Duration::from_micros(self.longest_micros.load(Ordering::Relaxed))
    }
}

impl Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [half, most, nearly_all] = [500, 990, 999].map(|per_mille| self.share(per_mille));
        let count = self.count();
        write!(f, "{count:>9}  {half:>8.1?} {most:>8.1?} {nearly_all:>8.1?} {:>9.1?}", self.longest())
    }
}
