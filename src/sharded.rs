//! What many threads write with every request, kept apart by thread and put together when somebody reads.
//!
//! ```text
//! worker 1 ──own──► shard 1 ┐
//! worker 2 ──own──► shard 2 ┼──all──► who reads
//! the others ─────► shard 0 ┘
//! ```
//!
//! A cache line that two cores write travels from one to the other each time: the more cores, the longer each of them waits.

use std::cell::Cell;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// Threads beyond these share: ten thousand routes would else keep numbers for each of a hundred cores.
const SHARDS: usize = 8;

thread_local! {
    static SHARD: Cell<usize> = const { Cell::new(0) };
}

/// The calling thread is the worker of this number.
pub fn enter(worker: usize) {
    SHARD.set(worker % SHARDS);
}

/// One `T` for each shard that uses it.
pub struct Sharded<T>([OnceLock<Box<Shard<T>>>; SHARDS]);

/// On cache lines of its own; two of them, because the processor fetches pairs.
#[repr(align(128))]
#[derive(Default)]
struct Shard<T>(T);

impl<T: Default> Sharded<T> {
    /// The calling thread's.
    #[inline]
    pub fn own(&self) -> &T {
        self.own_or(T::default)
    }

    /// All shards' together.
    pub fn sum(&self, take_in: impl Fn(&T, &T)) -> T {
        let sum = T::default();
        self.all().for_each(|shard| take_in(&sum, shard));
        sum
    }
}

impl<T> Sharded<T> {
    #[inline]
    fn own_or(&self, first: impl FnOnce() -> T) -> &T {
        &self.0[SHARD.get()].get_or_init(|| Box::new(Shard(first()))).0
    }

    /// Those that have been used.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().filter_map(|shard| shard.get().map(|shard| &shard.0))
    }
}

impl<T> Default for Sharded<T> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| OnceLock::new()))
    }
}

impl<T: fmt::Debug> fmt::Debug for Sharded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all()).finish()
    }
}

/// A shared value whose owners are counted by shard: each request owns what it goes by, for as long as it lasts.
#[derive(Debug)]
pub struct Common<T> {
    value: Arc<T>,
    owners: Sharded<Owned<T>>,
}

/// Owns the value, as an [`Arc`] does.
#[derive(Debug)]
#[expect(clippy::redundant_allocation, reason = "the outer one's count is the shard's own")]
pub struct Owned<T>(Arc<Arc<T>>);

impl<T> Common<T> {
    pub fn new(value: T) -> Self {
        Self { value: Arc::new(value), owners: Sharded::default() }
    }

    pub fn own(&self) -> Owned<T> {
        self.owners.own_or(|| Owned(Arc::new(Arc::clone(&self.value)))).clone()
    }
}

impl<T> Deref for Common<T> {
    type Target = Arc<T>;

    fn deref(&self) -> &Arc<T> {
        &self.value
    }
}

impl<T> Clone for Owned<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Owned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn each_worker_writes_its_own_and_all_are_read() {
        let numbers = Sharded::<AtomicU64>::default();
        assert_eq!(numbers.all().count(), 0);
        std::thread::scope(|scope| {
            for worker in 0..=SHARDS {
                let numbers = &numbers;
                scope.spawn(move || {
                    enter(worker);
                    numbers.own().fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        let mut counts: Vec<_> = numbers.all().map(|number| number.load(Ordering::Relaxed)).collect();
        counts.sort_unstable();
        assert_eq!(counts, [1, 1, 1, 1, 1, 1, 1, 2]);
    }

    #[test]
    fn who_owns_a_value_keeps_it_when_the_place_it_came_from_is_gone() {
        let common = Common::new(String::from("route"));
        let (value, owned) = (Arc::downgrade(&common), common.own());
        drop(common);
        assert_eq!(*owned, "route");
        drop(owned);
        assert!(value.upgrade().is_none());
    }
}
