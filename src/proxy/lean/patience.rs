//! How long something is waited for, by a timer that is touched seldom.
//!
//! ```text
//! each wait: one store        timer fires ──► is it really late? ──no──► set anew for what is left
//! ```
//!
//! A timer that is made for each wait costs as much as the rest of a small request; here one is armed about once per timeout, not
//! once per request: a later wait only moves the end further away.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::FutureExt;
use tokio::time::Sleep;

pub struct Patience {
    timer: Pin<Box<Sleep>>,
    /// None: nothing is waited for.
    end: Option<Instant>,
}

/// As good as for ever, and no overflow.
const LONG: Duration = Duration::from_secs(365 * 24 * 3600);

impl Patience {
    pub fn new() -> Self {
        Self { timer: Box::pin(tokio::time::sleep(LONG)), end: None }
    }

    /// From now on.
    pub fn begin(&mut self, limit: Duration, now: Instant) {
        let end = now + limit.min(LONG);
        self.end = Some(end);
        if self.timer.deadline().into_std() > end {
            self.timer.as_mut().reset(end.into());
        }
    }

    pub fn end(&mut self) {
        self.end = None;
    }

    /// Ready when it has come to its end.
    pub fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(end) = self.end else { return Poll::Pending };
        while self.timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= end {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(end.into());
        }
        Poll::Pending
    }
}

/// None where it takes longer. A timer is made where the step does not succeed at once, and nowhere else.
pub async fn in_time<T>(limit: Duration, step: impl Future<Output = T>) -> Option<T> {
    let mut step = pin!(step);
    match step.as_mut().now_or_never() {
        Some(done) => Some(done),
        None => Box::pin(tokio::time::timeout(limit, step)).await.ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_ends_when_the_last_wait_does() {
        let mut patience = Patience::new();
        let begun = Instant::now();
        patience.begin(Duration::from_millis(40), begun);
        patience.begin(Duration::from_millis(120), begun);
        std::future::poll_fn(|cx| patience.poll_end(cx)).await;
        assert!(begun.elapsed() >= Duration::from_millis(120));
        let begun = Instant::now();
        patience.begin(Duration::from_secs(60), begun);
        patience.begin(Duration::from_millis(10), begun);
        std::future::poll_fn(|cx| patience.poll_end(cx)).await;
        assert!(begun.elapsed() < Duration::from_secs(30), "a shorter wait is not put off by a longer one");
        patience.end();
        assert!(std::future::poll_fn(|cx| Poll::Ready(patience.poll_end(cx).is_pending())).await);
    }
}
