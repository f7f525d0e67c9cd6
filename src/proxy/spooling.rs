//! A request's body is taken in as a whole before anybody is asked for an answer: what the lane and the stream say to each other.
//!
//! ```text
//! full lane ──ask──► Spooling (of a connection on HTTP/1) ◄── ClientStream: spools what comes, says when it is whole
//! ```
//!
//! On HTTP/1 the body is spooled as it comes, framing and all: Pingora reads it afterwards as if it came from the socket.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, BytesMut};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::chunks::Chunks;
use super::spool::Spool;
use super::stream::Fence;
use crate::model::BodyBuffer;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Order {
    pub buffer: Arc<BodyBuffer>,
    /// Bytes of content.
    pub most: u64,
}

/// Why a body was not taken in.
#[derive(Debug)]
pub enum Failure {
    TooLarge,
    /// Its chunks are none.
    Malformed,
    /// It has no place here.
    Disk(io::Error),
}

/// Of one connection.
#[derive(Default)]
pub struct Spooling {
    is_asked: AtomicBool,
    state: Mutex<State>,
    news: Notify,
}

#[derive(Default)]
struct State {
    order: Option<Order>,
    outcome: Option<Result<(), Failure>>,
    progress: Option<Progress>,
}

/// Of the body, so far.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pub received: u64,
    pub last: Instant,
}

impl Spooling {
    /// Whoever reads from the connection next gets nothing until the body is whole.
    pub fn ask(&self, order: Order) {
        *self.state() = State { order: Some(order), outcome: None, progress: None };
        self.is_asked.store(true, Ordering::Relaxed);
    }

    pub fn is_asked(&self) -> bool {
        self.is_asked.load(Ordering::Relaxed)
    }

    pub fn order(&self) -> Option<Order> {
        self.state().order.clone()
    }

    pub fn progress(&self) -> Option<Progress> {
        self.state().progress
    }

    pub fn received(&self, bytes: usize) {
        let mut state = self.state();
        let received = state.progress.map_or(0, |progress| progress.received) + bytes as u64;
        state.progress = Some(Progress { received, last: Instant::now() });
    }

    pub fn end(&self, outcome: Result<(), Failure>) {
        self.is_asked.store(false, Ordering::Relaxed);
        self.state().outcome = Some(outcome);
        self.news.notify_one();
    }

    /// Nobody waits any more: what is read is handed on again.
    pub fn forget(&self) {
        self.is_asked.store(false, Ordering::Relaxed);
    }

    /// Waits for the end.
    pub async fn outcome(&self) -> Result<(), Failure> {
        loop {
            if let Some(outcome) = self.state().outcome.take() {
                return outcome;
            }
            self.news.notified().await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body on HTTP/1 that is being taken in.
#[derive(Debug)]
pub struct Intake {
    pub spool: Spool,
    order: Order,
    left: Left,
    /// As it came, framing and all.
    length: u64,
}

#[derive(Debug)]
enum Left {
    Bytes(u64),
    Chunks(Chunks),
}

impl Intake {
    pub fn new(order: Order, fence: Fence) -> Self {
        let left = match fence {
            Fence::At(bytes) => Left::Bytes(bytes),
            Fence::Chunked => Left::Chunks(Chunks::default()),
            // What has no end is not asked for.
            Fence::Frames | Fence::Open => Left::Bytes(0),
        };
        Self { spool: Spool::new(&order.buffer), order, left, length: 0 }
    }

    pub fn is_whole(&self) -> bool {
        match &self.left {
            Left::Bytes(left) => *left == 0,
            Left::Chunks(chunks) => chunks.is_whole(),
        }
    }

    pub fn length(&self) -> u64 {
        self.length
    }

    /// Takes what belongs to the body, `most` at a time. How much that was.
    pub fn put(&mut self, from: &mut BytesMut, most: usize) -> Result<usize, Failure> {
        let here = &from[..from.len().min(most)];
        let n = match &mut self.left {
            Left::Bytes(left) => {
                let n = usize::try_from(*left).unwrap_or(usize::MAX).min(here.len());
                *left -= n as u64;
                n
            }
            Left::Chunks(chunks) => {
                let n = chunks.feed(here).map_err(|_| Failure::Malformed)?;
                if chunks.content() > self.order.most {
                    return Err(Failure::TooLarge);
                }
                n
            }
        };
        self.spool.put(&here[..n], self.order.buffer.folder.as_deref()).map_err(Failure::Disk)?;
        from.advance(n);
        self.length += n as u64;
        Ok(n)
    }
}

/// A body on HTTP/2: what was taken in of it, for the stream to hand on.
#[derive(Debug, Default)]
pub struct Kept {
    spool: Mutex<Option<Spool>>,
    /// How long the client was waited for, in microseconds.
    pub waited: AtomicU64,
}

impl Kept {
    pub fn keep(&self, spool: Spool) {
        *self.spool.lock().unwrap_or_else(PoisonError::into_inner) = Some(spool);
    }

    pub fn is_drained(&self) -> bool {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_none_or(Spool::is_drained)
    }

    /// None where nothing is left.
    pub fn take(&self, most: usize) -> Option<io::Result<bytes::Bytes>> {
        let mut spool = self.spool.lock().unwrap_or_else(PoisonError::into_inner);
        let spool = spool.as_mut().filter(|spool| !spool.is_drained())?;
        Some(spool.take(most))
    }

    /// Whether there was one, so that no retry finds the body where it was.
    pub fn was_used(&self) -> bool {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}
