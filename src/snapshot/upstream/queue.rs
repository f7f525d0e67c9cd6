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
//! orders are sequentially consistent. What nobody tells of (an ejection ends) the first in line looks for again and again.
//!
//! Everybody is served by the upstream that was put in force last. Who waits for one that is spoken with in another way
//! waits for that, and holds up nobody behind.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::lease::Lease;
use super::{PickError, PickRequest, Saturation, Upstream};

/// The first in line looks this often for what nobody tells of.
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: AtomicUsize,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    tickets: u64,
    waiters: VecDeque<Waiter>,
    /// As it was put in force last. It holds the queue.
    newest: Weak<Upstream>,
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
    /// When it came, as it was told, and when that was: time goes on while it waits.
    since: std::time::Instant,
    came: Instant,
    key: Option<u64>,
    sticky: Option<Box<[u8]>>,
    exclude: Box<[SocketAddr]>,
}

impl Wish {
    fn of(request: &PickRequest<'_>) -> Self {
        Self {
            since: request.now,
            came: Instant::now(),
            key: request.key,
            sticky: request.sticky.map(Box::from),
            exclude: request.exclude.into(),
        }
    }

    fn request(&self) -> PickRequest<'_> {
        PickRequest {
            now: self.since + self.came.elapsed(),
            key: self.key,
            sticky: self.sticky.as_deref(),
            exclude: &self.exclude,
        }
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
        deadline: Option<std::time::Instant>,
    ) -> Result<Lease, PickError> {
        let limits = &upstream.definition.limits;
        let left = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(request.now));
        let (place, arrival) = oneshot::channel();
        let ticket = self.join(upstream, Wish::of(request), place, limits.queue)?;
        self.serve();
        match tokio::time::timeout(limits.queue_timeout.min(left), self.look_until(&ticket, arrival)).await {
            Ok(Some(lease)) => Ok(lease),
            Ok(None) | Err(_) => Err(PickError::Saturated(Saturation::QueueTimeout)),
        }
    }

    async fn look_until(&self, ticket: &Ticket<'_>, mut arrival: oneshot::Receiver<Lease>) -> Option<Lease> {
        loop {
            match tokio::time::timeout(LOOK_EVERY, &mut arrival).await {
                Ok(arrived) => return arrived.ok(),
                Err(_) if self.is_first(ticket) => self.serve(),
                Err(_) => {}
            }
        }
    }

    fn is_first(&self, ticket: &Ticket<'_>) -> bool {
        self.line().waiters.front().is_some_and(|waiter| waiter.ticket == ticket.ticket)
    }

    /// From now on everybody is served by `newest`, where it is spoken with in the same way.
    pub(super) fn follow(&self, newest: &Arc<Upstream>) {
        self.line().newest = Arc::downgrade(newest);
        self.serve();
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
        let (at, lease) = line.first_placed()?;
        let waiter = line.waiters.remove(at)?;
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

impl Line {
    /// Who waits longest among those that there is a place for. Where an upstream has none for one, it has none for another:
    /// what a request has tried or where it would rather be gives way before it waits.
    fn first_placed(&self) -> Option<(usize, Lease)> {
        let newest = self.newest.upgrade();
        let mut full: Vec<*const Upstream> = Vec::new();
        self.waiters.iter().enumerate().find_map(|(at, waiter)| {
            let newest = newest.as_ref().filter(|newest| newest.speaks_as(&waiter.upstream));
            let upstream = newest.unwrap_or(&waiter.upstream);
            if full.contains(&Arc::as_ptr(upstream)) {
                return None;
            }
            let placed = upstream.select(&waiter.wish.request());
            if placed.is_err() {
                full.push(Arc::as_ptr(upstream));
            }
            placed.ok().map(|lease| (at, lease))
        })
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
