//! Leaky buckets, one for each key, in bounded memory.
//!
//! ```text
//! hash of the key ──high bits──► shard (a lock) ──low bits──► set of 8 ──► the key's bucket
//!                                  sets double while one overflows, up to a bound; from there on the oldest of a set yields
//! ```
//!
//! A key that lost its bucket begins with an empty one: who floods the table with keys of his own frees others, and never
//! limits them. Keys are kept as hashes with a seed of the process, so that nobody can choose two that meet.
//!
//! A bucket takes 20 bytes. Memory follows the keys that are in use: a place whose bucket has leaked empty is taken again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::leak::{Leak, Level};

/// Locks are held for some ten nanoseconds: so many keep as many threads apart.
const SHARDS: usize = 32;
/// At most: with those of 32 shards room for 131,072 keys of one limit, in 2.5 MiB.
const SETS: usize = 512;
const WAYS: usize = 8;

#[cfg(test)]
const MOST_KEYS: usize = SHARDS * SETS * WAYS;

#[derive(Debug)]
pub(super) struct Buckets {
    shards: Box<[Shard]>,
}

/// On a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard(Mutex<Vec<Set>>);

/// Keys first, side by side: they are what is searched. 0 is none.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct Set {
    keys: [u64; WAYS],
    lasts: [u64; WAYS],
    excesses: [u32; WAYS],
}

const EMPTY: Set = Set { keys: [0; WAYS], lasts: [0; WAYS], excesses: [0; WAYS] };

/// Whether a request is put into its bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    Never,
    /// Where the bucket holds no more than this with it, in thousandths.
    UpTo(u32),
    Always,
}

impl Buckets {
    pub fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Shard::default()).collect() }
    }

    /// What the key's bucket would hold with one request more, in thousandths of one.
    pub fn count(&self, key: u64, leak: Leak, now: u64, count: Count) -> u32 {
        let key = key.max(1);
        let mut sets = self.shard(key);
        if let Some((set, way)) = find(&sets, key) {
            let set = &mut sets[set];
            let excess = leak.with_one_more(set.level(way), now);
            if count.takes(excess) {
                set.excesses[way] = excess;
                set.lasts[way] = set.lasts[way].max(now);
            }
            return excess;
        }
        if count.takes(0) {
            insert(&mut sets, key, leak, now);
        }
        0
    }

    fn shard(&self, key: u64) -> MutexGuard<'_, Vec<Set>> {
        let shard = (key >> (u64::BITS - SHARDS.ilog2())) as usize;
        // Each change is of plain numbers: a panic leaves nothing half done that could be told.
        self.shards[shard].0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        let sets = |shard: &Shard| shard.0.lock().unwrap().capacity() * size_of::<Set>();
        self.shards.iter().map(sets).sum::<usize>() + SHARDS * size_of::<Shard>()
    }

    #[cfg(test)]
    pub fn keys(&self) -> usize {
        let used = |set: &Set| set.keys.iter().filter(|key| **key != 0).count();
        self.shards.iter().map(|shard| shard.0.lock().unwrap().iter().map(used).sum::<usize>()).sum()
    }
}

impl Count {
    fn takes(self, excess: u32) -> bool {
        match self {
            Count::Never => false,
            Count::UpTo(most) => excess <= most,
            Count::Always => true,
        }
    }
}

impl Set {
    fn level(&self, way: usize) -> Level {
        Level { excess: self.excesses[way], last: self.lasts[way] }
    }

    fn put(&mut self, way: usize, key: u64, level: Level) {
        (self.keys[way], self.lasts[way], self.excesses[way]) = (key, level.last, level.excess);
    }

    /// A place that nobody needs.
    fn free(&self, leak: Leak, now: u64) -> Option<usize> {
        (0..WAYS).find(|way| self.keys[*way] == 0 || leak.is_as_new(self.level(*way), now))
    }

    fn oldest(&self) -> usize {
        (0..WAYS).min_by_key(|way| self.lasts[*way]).unwrap_or(0)
    }
}

/// The number of sets is a power of two.
fn set_of(sets: &[Set], key: u64) -> usize {
    key as usize & (sets.len() - 1)
}

fn find(sets: &[Set], key: u64) -> Option<(usize, usize)> {
    if sets.is_empty() {
        return None;
    }
    let set = set_of(sets, key);
    sets[set].keys.iter().position(|known| *known == key).map(|way| (set, way))
}

fn insert(sets: &mut Vec<Set>, key: u64, leak: Leak, now: u64) {
    if sets.is_empty() {
        sets.push(EMPTY);
    }
    let (set, way) = loop {
        let set = set_of(sets, key);
        match sets[set].free(leak, now) {
            Some(way) => break (set, way),
            None if sets.len() < SETS => double(sets),
            None => break (set, sets[set].oldest()),
        }
    };
    sets[set].put(way, key, Level { excess: 0, last: now });
}

/// A set's keys part into it and its new sibling, so that none overflows.
fn double(sets: &mut Vec<Set>) {
    let before = sets.len();
    sets.reserve_exact(before);
    sets.resize(before * 2, EMPTY);
    for at in 0..before {
        let old = std::mem::replace(&mut sets[at], EMPTY);
        let keys = old.keys.iter().enumerate().filter(|(_, key)| **key != 0);
        for (way, key) in keys {
            let set = set_of(sets, *key);
            sets[set].put(way, *key, old.level(way));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;
    use crate::model::Rate;
    use crate::snapshot::upstream::random::mix;

    fn leak(count: u32) -> Leak {
        Leak::of(Rate { count: NonZeroU32::new(count).unwrap(), per: Duration::from_secs(1) })
    }

    #[test]
    fn ten_million_keys_stay_within_the_budget() {
        let buckets = Buckets::new();
        let leak = leak(1);
        for n in 0..10_000_000u64 {
            // All within a second: no bucket leaks empty.
            assert_eq!(buckets.count(mix(n), leak, n / 10_000, Count::UpTo(0)), 0);
        }
        assert!(buckets.keys() <= MOST_KEYS);
        assert!(buckets.bytes() <= MOST_KEYS * 20 + SHARDS * 64, "{} bytes", buckets.bytes());
    }

    #[test]
    fn the_oldest_of_a_set_yields() {
        let buckets = Buckets::new();
        let leak = leak(1);
        for n in 1..=1_000_000u64 {
            buckets.count(mix(n), leak, n / 1000, Count::Always);
        }
        let known = |n: u64| buckets.count(mix(n), leak, 1000, Count::Never) > 0;
        let (old, new) =
            ((1..=10_000).filter(|n| known(*n)).count(), (990_001..=1_000_000).filter(|n| known(*n)).count());
        assert_eq!((old, new), (0, 10_000));
    }

    #[test]
    fn buckets_survive_growth() {
        let buckets = Buckets::new();
        let leak = leak(1);
        for n in 1..=1000u64 {
            for _ in 0..3 {
                buckets.count(mix(n), leak, 0, Count::Always);
            }
        }
        assert_eq!(buckets.keys(), 1000);
        for n in 1..=1000u64 {
            assert_eq!(buckets.count(mix(n), leak, 0, Count::Never), 3000, "of key {n}");
        }
    }

    #[test]
    fn a_bucket_that_has_leaked_empty_is_taken_again() {
        let buckets = Buckets::new();
        let leak = leak(100);
        for n in 0..200_000u64 {
            buckets.count(mix(n), leak, n, Count::Always);
        }
        assert!(buckets.keys() < 2_000, "{} keys for ten at a time", buckets.keys());
    }

    #[test]
    fn what_is_refused_or_only_asked_for_changes_nothing() {
        let buckets = Buckets::new();
        let leak = leak(1);
        assert_eq!(buckets.count(7, leak, 0, Count::Never), 0);
        assert_eq!(buckets.count(7, leak, 0, Count::UpTo(1000)), 0);
        assert_eq!(buckets.count(7, leak, 0, Count::UpTo(1000)), 1000);
        for _ in 0..3 {
            assert_eq!(buckets.count(7, leak, 0, Count::UpTo(1000)), 2000);
        }
        assert_eq!(buckets.count(7, leak, 500, Count::UpTo(1000)), 1500);
        assert_eq!(buckets.count(7, leak, 1000, Count::UpTo(1000)), 1000);
    }

    #[test]
    fn threads_count_together() {
        let buckets = Buckets::new();
        let leak = leak(1);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).map(|_| buckets.count(7, leak, 0, Count::Always)).max());
            }
        });
        assert_eq!(buckets.count(7, leak, 0, Count::Never), 40_000 * 1000);
    }
}
