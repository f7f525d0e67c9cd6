//! A worker's connection to Redis, and the task that keeps it.
//!
//! ```text
//! Connecting ──it counts──► Up ──broke, or silent three times──► Connecting ──failed──► Down ──after a pause──► tried again
//!  requests wait             requests are asked                                          requests are told at once
//! ```
//!
//! Up means that it has counted: a Redis that is loading, full, a replica or somebody else's is as good as none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisResult};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Beyond, Bucket, Counted, Store, script};

/// Doubled after each failure in a row.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// So long after Redis has come back it is asked again, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Connections that break sooner, one after another, are no success.
const LASTING: Duration = Duration::from_secs(1);

/// One answer that is late may be chance.
const SILENCES: u32 = 3;

#[derive(Debug)]
pub(super) struct Link {
    state: watch::Receiver<State>,
    /// The last connection that turned out to be of no use, by number.
    broken: watch::Sender<u64>,
    silences: AtomicU32,
    store: Arc<Store>,
    _keeper: JoinSet<()>,
}

#[derive(Clone, Debug)]
enum State {
    Connecting,
    /// With the connection's number, from 1.
    Up(MultiplexedConnection, u64),
    Down,
}

pub(super) enum Failure {
    /// The time was over.
    Silent,
    /// It answered with an error, or the connection broke.
    Wrong,
    /// It was not asked.
    Away,
}

impl Link {
    /// Connects on the current Tokio runtime, which has to be the worker's.
    pub fn open(store: Arc<Store>) -> Self {
        let ((state, seen), (broken, breaks)) = (watch::channel(State::Connecting), watch::channel(0));
        let mut keeper = JoinSet::new();
        keeper.spawn(keep(store.clone(), state, breaks));
        Self { state: seen, broken, silences: AtomicU32::new(0), store, _keeper: keeper }
    }

    /// A connection that breaks is made anew once: Redis may have been restarted while nobody asked.
    pub async fn ask(&self, buckets: &[Bucket]) -> Result<Counted, Failure> {
        let prefix = &self.store.settings.redis.key_prefix;
        let mut failure = Failure::Away;
        for _ in 0..2 {
            let Some((mut connection, number)) = self.connection().await else { return Err(failure) };
            match script::run(&mut connection, prefix, buckets).await {
                Ok(counted) => {
                    self.silences.store(0, Ordering::Relaxed);
                    return Ok(counted);
                }
                Err(error) => {
                    tracing::debug!(%error, "Redis did not count");
                    self.give_up(number);
                    failure = Failure::Wrong;
                }
            }
        }
        Err(failure)
    }

    /// A request has waited for as long as it may.
    pub fn was_silent(&self) -> Failure {
        if self.silences.fetch_add(1, Ordering::Relaxed) + 1 >= SILENCES
            && let State::Up(_, number) = &*self.state.borrow()
        {
            self.silences.store(0, Ordering::Relaxed);
            self.give_up(*number);
        }
        Failure::Silent
    }

    /// Waits while there may be one soon.
    async fn connection(&self) -> Option<(MultiplexedConnection, u64)> {
        let broken = *self.broken.borrow();
        let mut state = self.state.clone();
        let told = state.wait_for(|state| match state {
            State::Connecting => false,
            State::Up(_, number) => *number > broken,
            State::Down => true,
        });
        match told.await.as_deref() {
            Ok(State::Up(connection, number)) => Some((connection.clone(), *number)),
            Ok(State::Connecting | State::Down) | Err(_) => None,
        }
    }

    fn give_up(&self, number: u64) {
        self.broken.send_if_modified(|broken| {
            let is_news = number > *broken;
            *broken = (*broken).max(number);
            is_news
        });
    }
}

/// Whether this link counts among those that are down.
struct Standing {
    store: Arc<Store>,
    is_down: bool,
}

impl Standing {
    fn down(&mut self, reason: &str) {
        if !std::mem::replace(&mut self.is_down, true) {
            self.store.lost(reason);
        }
    }

    fn up(&mut self) {
        if std::mem::replace(&mut self.is_down, false) {
            self.store.found();
        }
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        if self.is_down {
            self.store.left();
        }
    }
}

/// Ends when the link is dropped.
async fn keep(store: Arc<Store>, state: watch::Sender<State>, mut breaks: watch::Receiver<u64>) {
    let mut standing = Standing { store: store.clone(), is_down: false };
    let (mut number, mut pause, mut short_lives) = (0, FIRST_PAUSE, 0u32);
    loop {
        let reason = match connect(&store, &state).await {
            Ok(connection) => {
                number += 1;
                standing.up();
                store.metrics.found_first();
                let begun = Instant::now();
                state.send_replace(State::Up(connection, number));
                if breaks.wait_for(|broken| *broken >= number).await.is_err() {
                    return;
                }
                state.send_replace(State::Connecting);
                if begun.elapsed() >= LASTING {
                    (pause, short_lives) = (FIRST_PAUSE, 0);
                    continue;
                }
                // It may have been unlucky, once.
                short_lives += 1;
                if short_lives == 1 {
                    continue;
                }
                "the connection broke".into()
            }
            Err(reason) => reason,
        };
        standing.down(&reason);
        state.send_replace(State::Down);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Whoever waits for it does so no longer than for an answer: from then on it counts as down, until it is there.
async fn connect(store: &Store, state: &watch::Sender<State>) -> Result<MultiplexedConnection, String> {
    let connected = tokio::time::timeout(store.settings.connect_limit(), open(store));
    tokio::pin!(connected);
    let outcome = match tokio::time::timeout(store.timeout(), &mut connected).await {
        Ok(outcome) => outcome,
        Err(_) => {
            state.send_replace(State::Down);
            connected.await
        }
    };
    match outcome {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer in time".into()),
    }
}

async fn open(store: &Store) -> RedisResult<MultiplexedConnection> {
    // Times are measured here, not there.
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    let mut connection = store.client.get_multiplexed_async_connection_with_config(&config).await?;
    let probe = Bucket { key: "probe".into(), amount: 1000, period: 1, burst: 0, beyond: Beyond::Noted };
    script::run(&mut connection, &store.settings.redis.key_prefix, &[probe]).await?;
    Ok(connection)
}
