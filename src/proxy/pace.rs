//! How fast a body flows: evenly, each message by itself.
//!
//! ```text
//! filter ──► Paces (of a connection on HTTP/1, of a stream on HTTP/2) ◄── whoever reads or writes asks how much may go now
//! ```
//!
//! What may go now is a sixteenth of a second's worth at least and an eighth at most, so that neither timers nor pauses show; a
//! timer that fires late is made up for, silence of the other side is not. Nothing else waits meanwhile.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::model::ByteRate;

/// A second has so many slices.
const SLICES: u64 = 16;

/// Less is not worth a packet.
const SMALLEST_SLICE: u64 = 256;

/// More than anybody takes at once.
const LARGEST_SLICE: u64 = 1 << 40;

/// Of one message, in one direction.
pub struct Pace {
    /// Bytes in a second.
    rate: u64,
    slice: u64,
    /// What goes at once yet, before anything is slowed down.
    free: u64,
    /// What may go now, as of `seen`; below zero where a piece went that could not be parted.
    credit: i64,
    seen: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    /// It begins with one slice.
    pub fn new(ByteRate(rate): ByteRate, free: u64, now: Instant) -> Self {
        let slice = (rate.get() / SLICES).clamp(SMALLEST_SLICE, LARGEST_SLICE);
        Self { rate: rate.get(), slice, free, credit: slice as i64, seen: now, timer: None }
    }

    /// How much of it may go now; at least a slice, where it has so much.
    fn poll(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<usize> {
        loop {
            let now = Instant::now();
            match self.allowed(wanted as u64, now) {
                Ok(bytes) => return Poll::Ready(usize::try_from(bytes).unwrap_or(usize::MAX)),
                Err(pause) => {
                    let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(now + pause)));
                    timer.as_mut().reset(now + pause);
                    if timer.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    /// Or after how long there will be enough.
    fn allowed(&mut self, wanted: u64, now: Instant) -> Result<u64, Duration> {
        let since = now.saturating_duration_since(self.seen);
        let earned = i64::try_from(since.as_micros() * u128::from(self.rate) / 1_000_000).unwrap_or(i64::MAX);
        if earned > 0 {
            self.credit = self.credit.saturating_add(earned).min(2 * self.slice as i64);
            self.seen = now;
        }
        let enough = wanted.min(self.slice);
        let available = self.credit.saturating_add_unsigned(self.free);
        let missing = i128::from(enough) - i128::from(available);
        if missing <= 0 {
            return Ok(wanted.min(available.unsigned_abs()));
        }
        let missing = missing.unsigned_abs() * 1_000_000;
        Err(Duration::from_micros(u64::try_from(missing.div_ceil(self.rate.into())).unwrap_or(u64::MAX)))
    }

    fn spend(&mut self, bytes: u64) {
        let free = bytes.min(self.free);
        self.free -= free;
        self.credit = self.credit.saturating_sub_unsigned(bytes - free);
    }
}

/// Which way a body flows.
#[derive(Clone, Copy)]
pub enum Direction {
    /// From the client.
    Request,
    /// To the client.
    Response,
}

/// Those of the message that is under way. The locks are of one task: nobody waits for them.
#[derive(Default)]
pub struct Paces {
    /// Whether there is one.
    any: AtomicBool,
    request: Mutex<Option<Box<Pace>>>,
    response: Mutex<Option<Box<Pace>>>,
}

impl Paces {
    pub fn set(&self, direction: Direction, pace: Pace) {
        *self.of(direction) = Some(Box::new(pace));
        self.any.store(true, Ordering::Relaxed);
    }

    /// The next message goes at its own.
    pub fn clear(&self) {
        if self.any.swap(false, Ordering::Relaxed) {
            *self.of(Direction::Request) = None;
            *self.of(Direction::Response) = None;
        }
    }

    pub fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// How much may go now: all of it where there is no pace.
    pub fn poll(&self, direction: Direction, cx: &mut Context<'_>, wanted: usize) -> Poll<usize> {
        if !self.any() {
            return Poll::Ready(wanted);
        }
        self.of(direction).as_mut().map_or(Poll::Ready(wanted), |pace| pace.poll(cx, wanted))
    }

    /// So much has gone.
    pub fn spend(&self, direction: Direction, bytes: usize) {
        if self.any()
            && let Some(pace) = self.of(direction).as_mut()
        {
            pace.spend(bytes as u64);
        }
    }

    fn of(&self, direction: Direction) -> MutexGuard<'_, Option<Box<Pace>>> {
        let pace = match direction {
            Direction::Request => &self.request,
            Direction::Response => &self.response,
        };
        pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

    fn pace(rate: u64, free: u64) -> (Pace, Instant) {
        let now = Instant::now();
        (Pace::new(ByteRate(NonZeroU64::new(rate).unwrap()), free, now), now)
    }

    /// Sends as much as it may until the time is over. What went, and the longest pause.
    fn send(pace: &mut Pace, from: Instant, until: Duration, late: Duration) -> (u64, Duration) {
        let (mut now, mut sent, mut longest) = (from, 0, Duration::ZERO);
        while now - from < until {
            match pace.allowed(64 << 10, now) {
                Ok(bytes) => {
                    sent += bytes;
                    pace.spend(bytes);
                }
                Err(pause) => {
                    longest = longest.max(pause);
                    now += pause + late;
                }
            }
        }
        (sent, longest)
    }

    #[test]
    fn a_body_flows_evenly_at_its_rate() {
        for rate in [1_000, 100_000, 3_333_333, 1_000_000_000] {
            let (mut pace, start) = pace(rate, 0);
            let (sent, longest) = send(&mut pace, start, Duration::from_secs(10), Duration::ZERO);
            let (least, most) = (10 * rate, 10 * rate + 2 * pace.slice);
            assert!((least..=most).contains(&sent), "{sent} at {rate}");
            assert!(longest <= Duration::from_millis(300), "{longest:?} at {rate}");
        }
    }

    #[test]
    fn a_piece_that_cannot_be_parted_is_made_up_for() {
        let (mut pace, start) = pace(10_000, 0);
        let (mut now, mut pieces) = (start, 0);
        while now - start < Duration::from_secs(100) {
            match pace.allowed(u64::MAX, now) {
                Ok(_) => (pieces, ()) = (pieces + 1, pace.spend(16_384)),
                Err(pause) => now += pause,
            }
        }
        assert!((60..=63).contains(&pieces), "{pieces}");
    }

    #[test]
    fn timers_that_fire_late_do_not_slow_it_down() {
        let (mut pace, start) = pace(1_000_000, 0);
        let (sent, _) = send(&mut pace, start, Duration::from_secs(10), Duration::from_millis(40));
        assert!((9_900_000..=10_200_000).contains(&sent), "{sent}");
    }

    #[test]
    fn what_is_free_goes_at_once_and_silence_earns_nothing() {
        let (mut pace, start) = pace(16_000, 50_000);
        let (sent, _) = send(&mut pace, start, Duration::from_nanos(1), Duration::ZERO);
        assert_eq!(sent, 50_000 + 1_000);
        let later = start + Duration::from_secs(100);
        let (sent, _) = send(&mut pace, later, Duration::from_nanos(1), Duration::ZERO);
        assert_eq!(sent, 2_000);
    }
}
