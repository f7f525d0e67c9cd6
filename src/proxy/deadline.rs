//! Coarse deadlines: one store per await instead of one timer.
//!
//! ```text
//! connection ──(expire_at)──► Deadline ◄──(every 250 ms)── sweeper ──► shutdown(2) of what is late
//! ```
//!
//! A connection that waits for a client (idle, a header on its way) sets when that must end. The sweeper of
//! its thread half-closes the socket of a late one, so that the pending read ends, and the connection's own task
//! finds `expired` set and says goodbye properly. A timer per await costs 0.8 µs a request (measured); this costs none.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How late a deadline may be noticed.
pub const RESOLUTION: Duration = Duration::from_millis(250);

/// What one connection waits for. Its thread sweeps it; only `Stream`'s bounds ask for more than a `Cell`.
pub struct Deadline {
    fd: RawFd,
    slot: usize,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// On the clock of its thread; 0: nothing is awaited from the client, the upstream's timeouts hold.
    at: AtomicU64,
    /// Waiting for a first byte: not for long any more when the process drains.
    idle: AtomicBool,
    expired: AtomicBool,
}

#[derive(Default)]
struct Registry {
    slots: Vec<Option<(RawFd, Arc<State>)>>,
    free: Vec<usize>,
}

thread_local! {
    static REGISTRY: RefCell<Registry> = RefCell::default();
    /// Milliseconds, as of the last sweep; begins at 1, as 0 means "none" in a `State`.
    static NOW: Cell<u64> = const { Cell::new(1) };
}

impl Deadline {
    /// Must be dropped before the socket is closed: it holds the socket's number.
    pub fn register(socket: &impl AsRawFd) -> Self {
        let fd = socket.as_raw_fd();
        let state = Arc::new(State::default());
        let slot = REGISTRY.with_borrow_mut(|registry| {
            let entry = Some((fd, state.clone()));
            match registry.free.pop() {
                Some(slot) => {
                    registry.slots[slot] = entry;
                    slot
                }
                None => {
                    registry.slots.push(entry);
                    registry.slots.len() - 1
                }
            }
        });
        Self { fd, slot, state }
    }

    /// The connection waits for a request to begin.
    pub fn wait_idle(&self, limit: Duration) {
        self.state.idle.store(true, Relaxed);
        self.set(limit);
    }

    /// The client has begun something that must be whole by then.
    pub fn wait_busy(&self, limit: Duration) {
        self.state.idle.store(false, Relaxed);
        self.set(limit);
    }

    fn set(&self, limit: Duration) {
        self.state.at.store(after(limit), Relaxed);
    }

    pub fn clear(&self) {
        self.state.idle.store(false, Relaxed);
        self.state.at.store(0, Relaxed);
    }

    /// Whether the sweeper ended the wait.
    pub fn expired(&self) -> bool {
        self.state.expired.load(Relaxed)
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        // At thread exit the registry may be gone already; then there is nothing to sweep either.
        let _ = REGISTRY.try_with(|registry| {
            let mut registry = registry.borrow_mut();
            debug_assert_eq!(registry.slots[self.slot].as_ref().map(|(fd, _)| *fd), Some(self.fd));
            registry.slots[self.slot] = None;
            registry.free.push(self.slot);
        });
    }
}

/// Ends late waits of this thread for as long as it is polled.
pub async fn sweep() {
    let start = Instant::now();
    let mut tick = tokio::time::interval(RESOLUTION);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let now = 1 + start.elapsed().as_millis() as u64;
        NOW.set(now);
        end_late(now);
    }
}

/// Shortens the wait of every idle connection of this thread: the process drains.
pub fn hurry_idle(limit: Duration) {
    let latest = after(limit);
    REGISTRY.with_borrow(|registry| {
        let idle = registry.slots.iter().flatten().filter(|(_, state)| state.idle.load(Relaxed));
        idle.for_each(|(_, state)| _ = state.at.fetch_min(latest, Relaxed));
    });
}

/// On the clock of this thread. It stands still between sweeps: one step more, so that no wait ends early.
fn after(limit: Duration) -> u64 {
    let limit = u64::try_from((limit + RESOLUTION).as_millis()).unwrap_or(u64::MAX);
    NOW.get().saturating_add(limit)
}

fn end_late(now: u64) {
    REGISTRY.with_borrow(|registry| {
        for (fd, state) in registry.slots.iter().flatten() {
            let late = (1..=now).contains(&state.at.load(Relaxed));
            if late && !state.expired.load(Relaxed) {
                state.expired.store(true, Relaxed);
                half_close(*fd);
            }
        }
    });
}

/// Ends pending reads; what is being written still goes out.
fn half_close(fd: RawFd) {
    // SAFETY: the descriptor is open: a `Deadline` is dropped before its socket (fields drop in order).
    let socket = unsafe { BorrowedFd::borrow_raw(fd) };
    // A socket that the client has closed already is fine.
    let _ = socket2::SockRef::from(&socket).shutdown(std::net::Shutdown::Read);
}
