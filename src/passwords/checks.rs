//! Passwords are checked where waiting holds nobody up.
//!
//! ```text
//! (name, password) ──► Recent ──► known: at once
//!                        └──► a bounded queue ──► as many threads as may block ──► yes or no
//! ```
//!
//! A hash is made to be dear: unbounded, whoever sends wrong passwords would have all processors.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use tokio::sync::Semaphore;

use super::Users;
use super::recent::Recent;

/// At a tenth of a second each, nobody waits longer than a minute on one processor.
const MOST_WAITING: usize = 512;
/// No browser sends a longer password, and the dearest rounds grow with it.
const LONGEST_PASSWORD: usize = 1024;

/// Of the process.
pub struct Checks {
    recent: Recent,
    /// Half of the processors, so that the others serve.
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// So many passwords wait to be checked that this one is not.
#[derive(Debug, PartialEq, Eq)]
pub struct TooMany;

impl Checks {
    /// Fails where the system has no randomness to give.
    pub fn new() -> Result<Self, aws_lc_rs::error::Unspecified> {
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Ok(Self {
            recent: Recent::new()?,
            slots: Arc::new(Semaphore::new((processors / 2).max(1))),
            waiting: AtomicUsize::new(0),
        })
    }

    /// The user's name, where it is one and the password is right.
    pub async fn verify(&self, users: &Arc<Users>, name: &str, password: &[u8]) -> Result<Option<Arc<str>>, TooMany> {
        if password.len() > LONGEST_PASSWORD {
            return Ok(None);
        }
        let known = users.get(name).map(|(name, hash)| (name, self.recent.proof(hash.text(), password)));
        if let Some((name, proof)) = &known
            && self.recent.knows(proof, Instant::now())
        {
            return Ok(Some((*name).clone()));
        }
        if !self.check(users, name, password).await? {
            return Ok(None);
        }
        Ok(known.map(|(name, proof)| {
            self.recent.remember(proof, Instant::now());
            name.clone()
        }))
    }

    async fn check(&self, users: &Arc<Users>, name: &str, password: &[u8]) -> Result<bool, TooMany> {
        let _place = Place::take(&self.waiting)?;
        // Nobody closes it.
        let Ok(slot) = self.slots.clone().acquire_owned().await else { return Err(TooMany) };
        let (users, name, password) = (users.clone(), name.to_owned(), password.to_vec());
        let check = move || {
            // Kept until the work is done, though the client may have left meanwhile.
            let _slot = slot;
            users.verify(&name, &password)
        };
        Ok(tokio::task::spawn_blocking(check).await.unwrap_or(false))
    }
}

/// Given back when the request goes on, or ends.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Result<Self, TooMany> {
        let place = Self(waiting);
        match waiting.fetch_add(1, Relaxed) {
            before if before < MOST_WAITING => Ok(place),
            _ => Err(TooMany),
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::super::hash::PasswordHash;
    use super::*;

    fn users(entries: &[(&str, String)]) -> Arc<Users> {
        let parse = |(name, hash): &(&str, String)| ((*name).into(), PasswordHash::parse(hash).unwrap());
        Arc::new(Users::new(entries.iter().map(parse).collect::<BTreeMap<_, _>>()))
    }

    fn bcrypt(password: &str, cost: u32) -> String {
        bcrypt::hash_with_salt(password, cost, [3; 16]).unwrap().to_string()
    }

    #[tokio::test]
    async fn a_right_password_is_dear_once() {
        let (checks, users) = (Checks::new().unwrap(), users(&[("ann", bcrypt("secret", 8))]));
        let timed = async |name: &str, password: &str| {
            let begun = Instant::now();
            let known = checks.verify(&users, name, password.as_bytes()).await.unwrap();
            (known.as_deref().map(str::to_owned), begun.elapsed())
        };
        let (first, dear) = timed("ann", "secret").await;
        let (second, cheap) = timed("ann", "secret").await;
        assert_eq!((first.as_deref(), second.as_deref()), (Some("ann"), Some("ann")));
        assert!(cheap < dear / 4, "{cheap:?} after {dear:?}");
        for (name, password) in [("ann", "wrong"), ("ann", "wrong"), ("eve", "secret"), ("", "")] {
            let (known, took) = timed(name, password).await;
            assert_eq!(known, None);
            assert!(took > dear / 4, "{name} {password} took {took:?}, a right password {dear:?}");
        }
    }

    #[tokio::test]
    async fn another_hash_or_no_entry_is_seen_at_once() {
        let checks = Checks::new().unwrap();
        let before = users(&[("ann", bcrypt("old", 4)), ("bob", bcrypt("old", 4))]);
        let after = users(&[("ann", bcrypt("new", 4))]);
        let ask = async |users: &Arc<Users>, name, password: &str| {
            checks.verify(users, name, password.as_bytes()).await.unwrap().is_some()
        };
        assert!(ask(&before, "ann", "old").await && ask(&before, "bob", "old").await);
        assert!(!ask(&after, "ann", "old").await && !ask(&after, "bob", "old").await);
        assert!(ask(&after, "ann", "new").await);
        assert!(!ask(&Arc::default(), "ann", "old").await);
    }

    #[tokio::test]
    async fn a_queue_that_is_full_takes_no_more_and_an_absurd_password_is_not_hashed() {
        let (checks, users) = (Checks::new().unwrap(), users(&[("ann", bcrypt("secret", 4))]));
        checks.waiting.store(MOST_WAITING, Relaxed);
        assert_eq!(checks.verify(&users, "ann", b"secret").await, Err(TooMany));
        checks.waiting.store(MOST_WAITING - 1, Relaxed);
        assert!(checks.verify(&users, "ann", b"secret").await.unwrap().is_some());
        assert_eq!(checks.waiting.load(Relaxed), MOST_WAITING - 1);
        let begun = Instant::now();
        assert_eq!(checks.verify(&users, "ann", &vec![b'a'; 1 << 20]).await, Ok(None));
        assert!(begun.elapsed() < Duration::from_millis(100));
    }
}
