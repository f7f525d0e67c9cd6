//! One list and watch: a kind of objects, in one namespace or in all.
//!
//! ```text
//! Init ─► InitApply… ─► InitDone      the list replaces, as a whole, what this source knew
//! Apply, Delete                       one object
//! error                               what is known stands; tried again, ever more slowly
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Resource};

use super::board::{Board, Weight};
use super::kept::Kept;

/// After a first failure, doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// An API server that comes back is followed again within this long.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// What a Role does not allow is seldom allowed later.
const FORBIDDEN_PAUSE: Duration = Duration::from_secs(60);

/// What it means that these objects may not be listed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Forbidden {
    IsAnError,
    MeansNone,
}

pub struct Source<T: Kept> {
    board: Arc<Board>,
    forbidden: Forbidden,
    /// What this source has put on the board. Another one may have other objects of the kind there.
    known: BTreeSet<T::Key>,
    /// The list that is coming in.
    listing: BTreeMap<T::Key, T>,
    has_listed: bool,
    failures: u32,
}

impl<T: Kept> Source<T> {
    pub fn new(board: Arc<Board>, forbidden: Forbidden) -> Self {
        let (known, listing) = (BTreeSet::new(), BTreeMap::new());
        Self { board, forbidden, known, listing, has_listed: false, failures: 0 }
    }

    /// For as long as it is polled.
    pub async fn follow(mut self, api: Api<T::Object>, config: watcher::Config) {
        let mut events = pin!(watcher::watcher(api, config));
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.take(event),
                Err(error) => {
                    self.note_failure(&error);
                    let is_settled = self.forbidden == Forbidden::MeansNone && is_forbidden(&error);
                    let pause = if is_settled { FORBIDDEN_PAUSE } else { pause(self.failures) };
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    fn take(&mut self, event: Event<T::Object>) {
        match event {
            // Said before anything was asked: no sign that the API server answers.
            Event::Init => self.listing.clear(),
            Event::InitApply(object) => drop(self.listing.insert(T::key(&object), T::of(&object))),
            Event::InitDone => {
                self.replace();
                self.note_success();
            }
            Event::Apply(object) => {
                let (key, kept) = (T::key(&object), T::of(&object));
                self.known.insert(key.clone());
                self.board.update(|seen| seen.put(key, kept));
                self.note_success();
            }
            Event::Delete(object) => {
                let key = T::key(&object);
                self.known.remove(&key);
                self.board.update(|seen| seen.remove::<T>(&key));
                self.note_success();
            }
        }
    }

    fn replace(&mut self) {
        let listing = std::mem::take(&mut self.listing);
        let before = std::mem::replace(&mut self.known, listing.keys().cloned().collect());
        let gone = before.difference(&self.known);
        self.board.update(|seen| {
            let removed = gone.fold(Weight::None, |weight, key| weight.or(seen.remove::<T>(key)));
            listing.into_iter().fold(removed, |weight, (key, object)| weight.or(seen.put(key, object)))
        });
        self.complete();
    }

    fn complete(&mut self) {
        if !std::mem::replace(&mut self.has_listed, true) {
            self.board.complete_one();
        }
    }

    /// Once for each outage; the retries only say it again.
    fn note_failure(&mut self, error: &watcher::Error) {
        if self.forbidden == Forbidden::MeansNone && is_forbidden(error) {
            self.complete();
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures == 1 && !is_expired(error) {
            tracing::warn!(kind = %kind::<T>(), %error, "objects cannot be watched; what is known of them stands");
        }
    }

    fn note_success(&mut self) {
        if std::mem::take(&mut self.failures) > 0 {
            tracing::info!(kind = %kind::<T>(), "objects are watched again");
        }
    }
}

fn kind<T: Kept>() -> String {
    T::Object::kind(&()).into_owned()
}

/// 410: the API server has forgotten what came since; the list begins anew, as a matter of course.
fn is_expired(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchError(status) if status.code == 410)
}

fn is_forbidden(error: &watcher::Error) -> bool {
    let asked = match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => error,
        watcher::Error::WatchError(status) => return status.code == 403,
        watcher::Error::NoResourceVersion => return false,
    };
    matches!(asked, kube::Error::Api(status) if status.code == 403)
}

/// Replicas must not all come back at one time: the last half of it is left to chance.
fn pause(failures: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(8)).min(LONGEST_PAUSE);
    let mut chance = [0; 1];
    // Without randomness they come back at one time, and it works all the same.
    let _ = aws_lc_rs::rand::fill(&mut chance);
    doubled.mul_f32(0.5 + f32::from(chance[0]) / 512.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit() {
        assert!((FIRST_PAUSE / 2..=FIRST_PAUSE).contains(&pause(1)));
        assert!((LONGEST_PAUSE / 2..=LONGEST_PAUSE).contains(&pause(6)));
        assert!((LONGEST_PAUSE / 2..=LONGEST_PAUSE).contains(&pause(u32::MAX)));
    }
}
