//! Requests in flight, counted by key: a key is kept while it has some.
//!
//! ```text
//! hash of the key ──► shard (a lock) ──► how many are in flight ──enter──► Place ──drop──► one less
//! ```

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SHARDS: usize = 32;

/// Keys in flight at once. A bound, not a policy: listeners admit fewer connections, each of them costs far more.
const MOST_KEYS: usize = 1 << 18;

#[derive(Debug)]
pub(super) struct Places {
    shards: Box<[Shard]>,
}

/// On a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard(Mutex<InFlight>);

type InFlight = HashMap<u64, NonZeroU32, BuildHasherDefault<AsItIs>>;

/// One request's place, given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    key: u64,
}

impl Places {
    pub fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Shard::default()).collect() }
    }

    /// None where `max` are in flight already, or where there are more keys than can be kept.
    pub fn enter(self: &Arc<Self>, key: u64, max: NonZeroU32) -> Option<Place> {
        let mut in_flight = self.shard(key);
        let is_full = in_flight.len() >= MOST_KEYS / SHARDS;
        match in_flight.entry(key) {
            Entry::Occupied(mut count) => {
                let raised = count.get().checked_add(1).filter(|raised| *raised <= max)?;
                count.insert(raised);
            }
            Entry::Vacant(_) if is_full => return None,
            Entry::Vacant(place) => drop(place.insert(NonZeroU32::MIN)),
        }
        Some(Place { places: Arc::clone(self), key })
    }

    pub fn in_flight(&self, key: u64) -> u32 {
        self.shard(key).get(&key).map_or(0, |count| count.get())
    }

    fn leave(&self, key: u64) {
        let mut in_flight = self.shard(key);
        if let Entry::Occupied(mut count) = in_flight.entry(key) {
            match NonZeroU32::new(count.get().get() - 1) {
                Some(fewer) => drop(count.insert(fewer)),
                None => drop(count.remove()),
            }
        }
    }

    fn shard(&self, key: u64) -> MutexGuard<'_, InFlight> {
        let shard = (key >> (u64::BITS - SHARDS.ilog2())) as usize;
        // Nothing between two lines can panic and leave a count half changed.
        self.shards[shard].0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn keys(&self) -> usize {
        self.shards.iter().map(|shard| shard.0.lock().unwrap().len()).sum()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.leave(self.key);
    }
}

/// The keys are hashes already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }

    /// For completeness: the keys are `u64`.
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::upstream::random::mix;

    const TWO: NonZeroU32 = NonZeroU32::new(2).unwrap();

    #[test]
    fn no_more_than_the_limit_are_in_flight() {
        let places = Arc::new(Places::new());
        let first = places.enter(7, TWO).unwrap();
        let second = places.enter(7, TWO).unwrap();
        assert!(places.enter(7, TWO).is_none());
        assert!(places.enter(8, TWO).is_some(), "another key has places of its own");
        drop(first);
        assert_eq!(places.in_flight(7), 1);
        assert!(places.enter(7, TWO).is_some());
        drop(second);
        assert_eq!((places.in_flight(7), places.keys()), (0, 0));
    }

    #[test]
    fn a_lower_limit_lets_nobody_in_until_enough_have_left() {
        let places = Arc::new(Places::new());
        let held: Vec<_> = (0..2).map(|_| places.enter(7, TWO).unwrap()).collect();
        assert!(places.enter(7, NonZeroU32::MIN).is_none());
        drop(held);
        assert!(places.enter(7, NonZeroU32::MIN).is_some());
    }

    #[test]
    fn keys_are_bounded_and_forgotten_when_nobody_is_there() {
        let places = Arc::new(Places::new());
        let held: Vec<_> = (0..1_000_000).filter_map(|n| places.enter(mix(n), TWO)).collect();
        assert_eq!(held.len(), MOST_KEYS);
        assert_eq!(places.keys(), MOST_KEYS);
        drop(held);
        assert_eq!(places.keys(), 0);
    }

    #[test]
    fn threads_leave_nothing_behind() {
        let places = Arc::new(Places::new());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..20_000u64).for_each(|n| drop(places.enter(mix(n % 50), TWO))));
            }
        });
        assert_eq!(places.keys(), 0);
    }
}
