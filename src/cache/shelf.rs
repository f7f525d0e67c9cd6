//! A map that is bounded in bytes: of objects in memory, or of what is known of files. The least recently used go first.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use crate::model::Purge;

/// What a shelf keeps.
pub trait Kept: Clone {
    /// What it takes of the budget.
    fn size(&self) -> usize;
    fn is_taken_by(&self, purge: &Purge) -> bool;
}

/// A power of two: threads that look for different objects seldom meet. A lock is held for one step in a map.
const SHARDS: usize = 32;

pub struct Shelf<V> {
    shards: Box<[Mutex<LruCache<u128, V>>]>,
    used: AtomicUsize,
    limit: AtomicUsize,
}

/// What had to go, or was told to.
pub type Removed<V> = Vec<(u128, V)>;

impl<V: Kept> Shelf<V> {
    pub fn new(limit: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(LruCache::unbounded())).collect();
        Self { shards, used: AtomicUsize::new(0), limit: AtomicUsize::new(limit) }
    }

    pub fn set_limit(&self, bytes: usize) -> Removed<V> {
        self.limit.store(bytes, Relaxed);
        self.make_room(0)
    }

    pub fn limit(&self) -> usize {
        self.limit.load(Relaxed)
    }

    pub fn get(&self, key: u128) -> Option<V> {
        self.shard(key).get(&key).cloned()
    }

    /// Replaces what was there. Returns what had to go for it.
    pub fn put(&self, key: u128, value: V) -> Removed<V> {
        let size = value.size();
        let before = self.shard(key).put(key, value);
        self.used.fetch_add(size, Relaxed);
        self.forget(before.as_ref());
        self.make_room(key)
    }

    pub fn remove(&self, key: u128) -> Option<V> {
        let removed = self.shard(key).pop(&key);
        self.forget(removed.as_ref());
        removed
    }

    pub fn purge(&self, purge: &Purge) -> Removed<V> {
        let mut purged = Vec::new();
        for shard in &self.shards {
            let mut shard = lock(shard);
            let taken = shard.iter().filter(|(_, value)| value.is_taken_by(purge));
            let keys: Vec<u128> = taken.map(|(key, _)| *key).collect();
            purged.extend(keys.into_iter().filter_map(|key| Some((key, shard.pop(&key)?))));
        }
        purged.iter().for_each(|(_, value)| self.forget(Some(value)));
        purged
    }

    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Evicts from the shard of `key` first, then from its neighbours. One lock at a time.
    fn make_room(&self, key: u128) -> Removed<V> {
        let mut evicted = Vec::new();
        let mut step = 0;
        while self.used() > self.limit() && step < SHARDS {
            let oldest = lock(&self.shards[(Self::index(key) + step) % SHARDS]).pop_lru();
            match oldest {
                Some((key, value)) => {
                    self.forget(Some(&value));
                    evicted.push((key, value));
                }
                None => step += 1,
            }
        }
        evicted
    }

    fn forget(&self, value: Option<&V>) {
        if let Some(value) = value {
            self.used.fetch_sub(value.size(), Relaxed);
        }
    }

    fn shard(&self, key: u128) -> MutexGuard<'_, LruCache<u128, V>> {
        lock(&self.shards[Self::index(key)])
    }

    /// Keys are hashes already.
    fn index(key: u128) -> usize {
        key as usize % SHARDS
    }
}

/// Maps are whole after every step: a thread that died while it held one has left nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone)]
    struct Item(&'static str, usize);

    impl Kept for Item {
        fn size(&self) -> usize {
            self.1
        }

        fn is_taken_by(&self, purge: &Purge) -> bool {
            purge.takes(self.0, &["t".into()])
        }
    }

    #[test]
    fn it_stays_within_its_budget_and_evicts_the_least_recently_used() {
        let shelf = Shelf::new(100_000);
        // One shard, so that the order is known.
        for number in 0..10_u128 {
            shelf.put(number * SHARDS as u128, Item("a.test/", 20_000));
            assert!(shelf.get(0).is_some(), "asked for all the time");
        }
        assert_eq!((shelf.used(), shelf.len()), (100_000, 5));
        assert!(shelf.get(9 * SHARDS as u128).is_some() && shelf.get(SHARDS as u128).is_none());
    }

    #[test]
    fn a_smaller_budget_holds_at_once() {
        let shelf = Shelf::new(1_000_000);
        (0..100).for_each(|key| drop(shelf.put(key, Item("a.test/", 1000))));
        assert_eq!(shelf.set_limit(10_000).len(), 90);
        assert_eq!((shelf.used(), shelf.len()), (10_000, 10));
        shelf.set_limit(0);
        assert_eq!((shelf.used(), shelf.len()), (0, 0));
    }

    #[test]
    fn what_is_replaced_takes_no_room_any_more() {
        let shelf = Shelf::new(100_000);
        shelf.put(1, Item("a.test/", 60_000));
        assert!(shelf.put(1, Item("a.test/", 50_000)).is_empty());
        assert_eq!((shelf.used(), shelf.len()), (50_000, 1));
    }

    #[test]
    fn a_purge_takes_what_it_names() {
        let shelf = Shelf::new(1_000_000);
        for (key, url) in ["a.test/x/1", "a.test/x/2", "a.test/y", "b.test/x/1"].into_iter().enumerate() {
            shelf.put(key as u128, Item(url, 10));
        }
        assert_eq!(shelf.purge(&Purge::Url("a.test/y".into())).len(), 1);
        assert_eq!(shelf.purge(&Purge::Prefix("a.test/x/".into())).len(), 2);
        assert_eq!(shelf.purge(&Purge::Tag("u".into())).len(), 0);
        assert_eq!(shelf.purge(&Purge::Tag("t".into())).len(), 1);
        assert_eq!((shelf.used(), shelf.len()), (0, 0));
    }
}
