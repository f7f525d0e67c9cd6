//! Requests that wait for a place when every endpoint has its limit of connections: first come, first served,
//! bounded in number and time.
//!
//! ```text
//! acquire ──(no place)──► join ──► [waiter, waiter, …] ◄── serve ◄── a lease drops, an endpoint gets better
//!                                        └──► Lease
//! ```
//!
//! The lock is taken only where an upstream has a limit and someone waits. No wake-up is lost: a waiter joins
//! before it looks for a place once more, a lease gives its place back before it looks for waiters, and both
//! orders are sequentially consistent.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::lease::Lease;
use super::{PickError, PickRequest, Saturation, Upstream};

#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: AtomicUsize,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    tickets: u64,
    waiters: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    upstream: Arc<Upstream>,
    wish: Wish,
    place: oneshot::Sender<Lease>,
}

/// A [`PickRequest`] of its own.
#[derive(Debug)]
struct Wish {
    /// When it came; what is known of ejections since then is used all the same.
    since: Instant,
    key: Option<u64>,
    sticky: Option<Box<[u8]>>,
    exclude: Box<[SocketAddr]>,
}

impl Wish {
    fn of(request: &PickRequest<'_>) -> Self {
        Self {
            since: request.now,
            key: request.key,
            sticky: request.sticky.map(Box::from),
            exclude: request.exclude.into(),
        }
    }

    fn request(&self) -> PickRequest<'_> {
        PickRequest { now: self.since, key: self.key, sticky: self.sticky.as_deref(), exclude: &self.exclude }
    }
}

impl Queue {
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Waits for the first place that comes free, at whichever endpoint: at the session's own, where that one has it.
    pub(super) async fn wait(
        &self,
        upstream: &Arc<Upstream>,
        request: &PickRequest<'_>,
        deadline: Option<Instant>,
    ) -> Result<Lease, PickError> {
        let limits = &upstream.definition.limits;
        let left = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(request.now));
        let (place, arrival) = oneshot::channel();
        let _ticket = self.join(upstream, Wish::of(request), place, limits.queue)?;
        self.serve();
        match tokio::time::timeout(limits.queue_timeout.min(left), arrival).await {
            Ok(Ok(lease)) => Ok(lease),
            Ok(Err(_)) | Err(_) => Err(PickError::Saturated(Saturation::QueueTimeout)),
        }
    }

    fn join(
        &self,
        upstream: &Arc<Upstream>,
        wish: Wish,
        place: oneshot::Sender<Lease>,
        bound: usize,
    ) -> Result<Ticket<'_>, PickError> {
        let mut line = self.line();
        if line.waiters.len() >= bound {
            return Err(PickError::Saturated(Saturation::QueueFull));
        }
        line.tickets += 1;
        let ticket = line.tickets;
        line.waiters.push_back(Waiter { ticket, upstream: Arc::clone(upstream), wish, place });
        self.waiting.store(line.waiters.len(), Ordering::SeqCst);
        Ok(Ticket { queue: self, ticket })
    }

    /// Gives free places to those who wait longest.
    pub(super) fn serve(&self) {
        while self.waiting() > 0 {
            let Some((waiter, lease)) = self.next_served() else { return };
            // Outside the lock: a lease that nobody takes any more is dropped, and that serves the queue again.
            let _ = waiter.place.send(lease);
        }
    }

    fn next_served(&self) -> Option<(Waiter, Lease)> {
        let mut line = self.line();
        let front = line.waiters.front()?;
        let lease = front.upstream.select(&front.wish.request()).ok()?;
        let waiter = line.waiters.pop_front()?;
        self.waiting.store(line.waiters.len(), Ordering::SeqCst);
        Some((waiter, lease))
    }

    fn leave(&self, ticket: u64) {
        let mut line = self.line();
        line.waiters.retain(|waiter| waiter.ticket != ticket);
        self.waiting.store(line.waiters.len(), Ordering::SeqCst);
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the line, given up when the waiting ends, however it ends.
struct Ticket<'a> {
    queue: &'a Queue,
    ticket: u64,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.queue.leave(self.ticket);
    }
}
