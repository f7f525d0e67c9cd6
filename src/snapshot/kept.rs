//! What was found out dearly and holds for a while, by a digest of what it was found out from.
//!
//! ```text
//! parts ──SHA-256──► 32 bytes ──► shard (a lock) ──► value, until when
//! ```
//!
//! Bounded: where a shard is full, what is over makes room first, then whatever comes to hand. Whoever is forgotten is asked for again.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest;

/// Locks are held for some hundred nanoseconds, but while a shard is swept.
const SHARDS: usize = 16;
/// A shard that is full of what still holds is not searched for what is over more often.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

pub struct Kept<V> {
    shards: [Mutex<Shard<V>>; SHARDS],
    most_in_a_shard: usize,
}

struct Shard<V> {
    entries: HashMap<Digest, (Instant, V)>,
    swept: Option<Instant>,
}

/// No two texts have the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Parts do not run into each other.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            context.update(&part.len().to_le_bytes());
            context.update(part);
        }
        let mut bytes = [0; 32];
        // SHA-256 has 32 bytes.
        bytes.copy_from_slice(context.finish().as_ref());
        Self(bytes)
    }
}

impl<V: Clone> Kept<V> {
    /// At most so many, rounded up to a multiple of the shards.
    pub fn new(most: NonZeroUsize) -> Self {
        let shard = || Mutex::new(Shard { entries: HashMap::new(), swept: None });
        Self { shards: std::array::from_fn(|_| shard()), most_in_a_shard: most.get().div_ceil(SHARDS) }
    }

    pub fn get(&self, digest: &Digest, now: Instant) -> Option<V> {
        let shard = self.shard(digest);
        let (until, value) = shard.entries.get(digest)?;
        (now < *until).then(|| value.clone())
    }

    pub fn insert(&self, digest: Digest, until: Instant, value: V, now: Instant) {
        let mut shard = self.shard(&digest);
        if shard.entries.len() >= self.most_in_a_shard && !shard.entries.contains_key(&digest) {
            if shard.swept.is_none_or(|swept| now >= swept + SWEEP_EVERY) {
                shard.entries.retain(|_, (until, _)| now < *until);
                shard.swept = Some(now);
            }
            if shard.entries.len() >= self.most_in_a_shard
                && let Some(any) = shard.entries.keys().next().copied()
            {
                shard.entries.remove(&any);
            }
        }
        shard.entries.insert(digest, (until, value));
    }

    fn shard(&self, digest: &Digest) -> MutexGuard<'_, Shard<V>> {
        // A thread that panicked here has left a map that is whole.
        self.shards[usize::from(digest.0[0]) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> fmt::Debug for Kept<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kept(at most {})", self.most_in_a_shard * SHARDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: usize) -> Digest {
        Digest::of([&n.to_le_bytes()[..]])
    }

    fn count(kept: &Kept<usize>) -> usize {
        kept.shards.iter().map(|shard| shard.lock().unwrap().entries.len()).sum()
    }

    #[test]
    fn a_value_is_kept_until_it_is_over() {
        let (kept, now) = (Kept::new(NonZeroUsize::new(100).unwrap()), Instant::now());
        let second = Duration::from_secs(1);
        kept.insert(digest(1), now + second, 5, now);
        assert_eq!((kept.get(&digest(1), now), kept.get(&digest(2), now)), (Some(5), None));
        assert_eq!(kept.get(&digest(1), now + second), None);
        kept.insert(digest(1), now + second, 6, now);
        assert_eq!(kept.get(&digest(1), now), Some(6));
    }

    #[test]
    fn it_never_grows_beyond_its_bound_and_what_is_over_goes_first() {
        let (kept, now) = (Kept::new(NonZeroUsize::new(160).unwrap()), Instant::now());
        let (soon, later) = (now + Duration::from_secs(5), now + Duration::from_secs(500));
        (0..10_000).for_each(|n| kept.insert(digest(n), soon, n, now));
        assert!((150..=160).contains(&count(&kept)), "{}", count(&kept));
        kept.insert(digest(10_000), later, 0, soon + Duration::from_secs(1));
        assert!(count(&kept) < 160);
        assert_eq!(kept.get(&digest(10_000), soon), Some(0));
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert!(Digest::of([&b"ab"[..], b"c"]) != Digest::of([&b"a"[..], b"bc"]));
        assert!(Digest::of([&b"a"[..]]) != Digest::of([&b"a"[..], b""]));
    }
}
