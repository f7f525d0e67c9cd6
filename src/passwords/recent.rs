//! Which passwords were right a short while ago, so that a connection that is kept pays for its hash once.
//!
//! ```text
//! hash in the file, password ──HMAC with a key of the process──► 32 bytes ──► shard (a lock) ──► until when
//! ```
//!
//! Wrong ones are not remembered: they would fill it, and cost less than they should. Since the hash is part of the key, a password
//! that is changed in the file, or a user that is taken out, is forgotten at once.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use aws_lc_rs::rand::SystemRandom;

/// Longer than people pause, shorter than it takes to steal a memory image.
pub const REMEMBERED_FOR: Duration = Duration::from_secs(300);
/// Locks are held for some hundred nanoseconds.
const SHARDS: usize = 16;
/// At most, 1 MiB in all shards: 16,384 users within five minutes.
const MOST_IN_A_SHARD: usize = 1024;

pub struct Recent {
    key: hmac::Key,
    shards: [Mutex<HashMap<Proof, Instant>>; SHARDS],
}

/// Tells nothing of the password to whoever does not have the key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Proof([u8; 32]);

impl Recent {
    /// Fails where the system has no randomness to give.
    pub fn new() -> Result<Self, aws_lc_rs::error::Unspecified> {
        let key = hmac::Key::generate(HMAC_SHA256, &SystemRandom::new())?;
        Ok(Self { key, shards: Default::default() })
    }

    /// `hash` is as it stands in the file; it holds no zero byte.
    pub fn proof(&self, hash: &str, password: &[u8]) -> Proof {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(hash.as_bytes());
        context.update(&[0]);
        context.update(password);
        let mut proof = [0; 32];
        // A tag of HMAC-SHA-256 has 32 bytes.
        proof.copy_from_slice(context.sign().as_ref());
        Proof(proof)
    }

    pub fn knows(&self, proof: &Proof, now: Instant) -> bool {
        self.shard(proof).get(proof).is_some_and(|until| now < *until)
    }

    pub fn remember(&self, proof: Proof, now: Instant) {
        let mut shard = self.shard(&proof);
        if shard.len() >= MOST_IN_A_SHARD {
            shard.retain(|_, until| now < *until);
        }
        if shard.len() >= MOST_IN_A_SHARD {
            // Whoever is forgotten pays once more.
            shard.clear();
        }
        shard.insert(proof, now + REMEMBERED_FOR);
    }

    fn shard(&self, proof: &Proof) -> MutexGuard<'_, HashMap<Proof, Instant>> {
        // A thread that panicked here has left a map that is whole.
        self.shards[usize::from(proof.0[0]) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_for_a_while_and_for_its_hash_alone() {
        let (recent, now) = (Recent::new().unwrap(), Instant::now());
        let proof = recent.proof("hash", b"secret");
        assert!(!recent.knows(&proof, now));
        recent.remember(proof, now);
        assert!(recent.knows(&proof, now + REMEMBERED_FOR - Duration::from_secs(1)));
        assert!(!recent.knows(&proof, now + REMEMBERED_FOR));
        for (hash, password) in [("other", &b"secret"[..]), ("hash", b"Secret"), ("has", b"hsecret")] {
            assert!(!recent.knows(&recent.proof(hash, password), now));
        }
        let other = Recent::new().unwrap();
        assert!(other.proof("hash", b"secret") != proof, "each process has a key of its own");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (recent, now) = (Recent::new().unwrap(), Instant::now());
        for user in 0..3 * SHARDS * MOST_IN_A_SHARD {
            recent.remember(recent.proof("hash", &user.to_le_bytes()), now);
        }
        let count: usize = recent.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert!(count <= SHARDS * MOST_IN_A_SHARD, "{count}");
    }
}
