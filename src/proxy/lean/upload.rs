//! A request's body on its way to the upstream, in step with the answer.
//!
//! ```text
//! client ──arrived──► Incoming ──content──► ready (framed anew) ──► upstream
//!                                               └─► kept, while it is small enough to be sent once more
//! ```

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use tokio::io::AsyncWrite;

use super::body::{Framing, Incoming, Outgoing};
use super::client::Client;
use super::pool::Link;
use crate::proxy::attempts::Replay;
use crate::proxy::chunks::Piece;

/// What is framed ahead of what the upstream takes.
const READY: usize = 32 << 10;

pub struct Upload {
    incoming: Incoming,
    outgoing: Outgoing,
    bounds: Bounds,
    ready: Vec<u8>,
    sent: usize,
    /// All that was framed; none where it may not, or cannot, be sent once more.
    kept: Option<Vec<u8>>,
    /// Whom it waits for since it last got on.
    waits: Option<Waits>,
    pauses: Pauses,
    end: Option<End>,
}

/// How long the client may pause.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pauses {
    Bounded,
    /// An answer flows, and it may listen to that first.
    Free,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Waits {
    ForClient,
    ForUpstream,
}

/// Nothing more of it will be sent.
#[derive(Clone, Copy)]
enum End {
    Sent(Instant),
    /// The upstream took no more.
    BrokenOff,
}

/// What a body may come to.
#[derive(Clone, Copy)]
pub struct Bounds {
    /// Content, in bytes.
    pub max: Option<u64>,
    /// Kept for another attempt, in bytes.
    pub kept: u64,
    /// Between two pieces from the client.
    pub client_timeout: Duration,
    /// Between two pieces to the upstream.
    pub write_timeout: Duration,
    /// For the upstream to go on with its answer.
    pub read_timeout: Duration,
    /// When the time for the whole request is over.
    pub deadline: Option<Instant>,
}

/// Why no more of it comes through.
#[derive(Debug)]
pub enum UploadFailure {
    ClientGone,
    ClientLate,
    TooLarge,
    Malformed,
    UpstreamGone,
    UpstreamLate,
}

/// Whether all of it can be, for another attempt.
fn may_be_kept(framing: Framing, replay: Replay, most: u64) -> bool {
    let is_too_long = matches!(framing, Framing::Length(length) if length > most);
    replay == Replay::Possible && !is_too_long
}

impl Upload {
    /// `replay`: whether the method allows it.
    pub fn new(framing: Framing, replay: Replay, bounds: Bounds) -> Self {
        Self {
            incoming: Incoming::new(framing),
            outgoing: Outgoing::of(framing),
            bounds,
            ready: Vec::new(),
            sent: 0,
            kept: may_be_kept(framing, replay, bounds.kept).then(Vec::new),
            waits: None,
            pauses: Pauses::Bounded,
            end: None,
        }
    }

    /// Bytes of content that have come.
    pub fn received(&self) -> u64 {
        self.incoming.content
    }

    pub fn replay(&self) -> Replay {
        if self.kept.is_some() { Replay::Possible } else { Replay::Impossible }
    }

    /// Another attempt begins: all of it is sent once more. `Impossible` where that is so, and something was sent.
    pub fn rewind(&mut self) -> Replay {
        match &self.kept {
            Some(kept) => self.ready.clone_from(kept),
            None if self.incoming.content == 0 && self.ready.is_empty() => {}
            None => return Replay::Impossible,
        }
        // The time that the client had is over with the connection that kept it.
        (self.sent, self.waits, self.end) = (0, None, None);
        Replay::Possible
    }

    /// What has come already goes with the head, in one send.
    pub fn begin(&mut self, client: &mut impl Client, out: &mut Vec<u8>) -> Result<(), UploadFailure> {
        if self.ready.is_empty() {
            let mut nobody = Context::from_waker(Waker::noop());
            if client.arrived().is_empty()
                && let Poll::Ready(Ok(0)) = client.poll_arrival(&mut nobody)
                && self.incoming.ends_with_its_carrier()
            {
                self.incoming.end();
            }
            self.frame(client)?;
        }
        out.extend_from_slice(&self.ready[self.sent..]);
        self.sent = self.ready.len();
        if self.incoming.is_whole() {
            self.end = Some(End::Sent(Instant::now()));
        }
        Ok(())
    }

    pub fn set_pauses(&mut self, pauses: Pauses) {
        (self.pauses, self.waits) = (pauses, None);
    }

    /// There will be no other attempt.
    pub fn answer_begins(&mut self, pauses: Pauses) {
        self.kept = None;
        if self.is_over() {
            self.ready = Vec::new();
        }
        if self.pauses != pauses {
            self.set_pauses(pauses);
        }
    }

    /// Whether all wait for the client to go on with it.
    pub fn is_awaited(&self) -> bool {
        !self.is_over() && self.pauses == Pauses::Bounded
    }

    /// All of it is sent.
    pub fn is_whole(&self) -> bool {
        self.sent_at().is_some()
    }

    /// It is whole, or will never be.
    pub fn is_over(&self) -> bool {
        self.end.is_some()
    }

    /// When the last of it was.
    pub fn sent_at(&self) -> Option<Instant> {
        match self.end? {
            End::Sent(at) => Some(at),
            End::BrokenOff => None,
        }
    }

    /// Ready when all of it is sent.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut impl Client,
        upstream: &mut Link,
    ) -> Poll<Result<(), UploadFailure>> {
        loop {
            if self.sent < self.ready.len() {
                if let Err(failure) = ready!(self.poll_send(cx, upstream)) {
                    self.end = Some(End::BrokenOff);
                    return Poll::Ready(Err(failure));
                }
                continue;
            }
            // What TLS has gathered.
            if let Err(failure) = ready!(self.poll_flush(cx, upstream)) {
                self.end = Some(End::BrokenOff);
                return Poll::Ready(Err(failure));
            }
            if self.incoming.is_whole() {
                self.end = Some(End::Sent(Instant::now()));
                return Poll::Ready(Ok(()));
            }
            if client.arrived().is_empty() {
                match client.poll_arrival(cx) {
                    Poll::Ready(Ok(1..)) => self.waits = None,
                    Poll::Ready(Ok(0)) if self.incoming.ends_with_its_carrier() => self.incoming.end(),
                    Poll::Ready(Ok(_) | Err(_)) => return Poll::Ready(Err(UploadFailure::ClientGone)),
                    Poll::Pending => {
                        let late = self.poll_patience(cx, Waits::ForClient, upstream);
                        return late.map(|()| Err(UploadFailure::ClientLate));
                    }
                }
            }
            if let Err(failure) = self.frame(client) {
                return Poll::Ready(Err(failure));
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, upstream: &mut Link) -> Poll<Result<(), UploadFailure>> {
        match Pin::new(&mut upstream.io).poll_write(cx, &self.ready[self.sent..]) {
            Poll::Ready(Ok(length @ 1..)) => {
                self.sent += length;
                self.got_on(upstream);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(_) | Err(_)) => Poll::Ready(Err(UploadFailure::UpstreamGone)),
            Poll::Pending => {
                let late = self.poll_patience(cx, Waits::ForUpstream, upstream);
                late.map(|()| Err(UploadFailure::UpstreamLate))
            }
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, upstream: &mut Link) -> Poll<Result<(), UploadFailure>> {
        match Pin::new(&mut upstream.io).poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                self.got_on(upstream);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(_)) => Poll::Ready(Err(UploadFailure::UpstreamGone)),
            Poll::Pending => {
                let late = self.poll_patience(cx, Waits::ForUpstream, upstream);
                late.map(|()| Err(UploadFailure::UpstreamLate))
            }
        }
    }

    /// Ready when it was waited for too long. The upstream's own patience is not needed before all of the body is sent.
    fn poll_patience(&mut self, cx: &mut Context<'_>, whom: Waits, upstream: &mut Link) -> Poll<()> {
        if whom == Waits::ForClient && self.pauses == Pauses::Free {
            return Poll::Pending;
        }
        if self.waits.replace(whom) != Some(whom) {
            let limit = match whom {
                Waits::ForClient => self.bounds.client_timeout,
                Waits::ForUpstream => self.bounds.write_timeout,
            };
            self.begin_wait(upstream, limit);
        }
        upstream.patience.poll_end(cx)
    }

    /// The upstream takes more.
    fn got_on(&mut self, upstream: &mut Link) {
        if self.waits.take_if(|whom| *whom == Waits::ForUpstream).is_some() && self.pauses == Pauses::Free {
            // Nobody is timed now but who answers.
            self.begin_wait(upstream, self.bounds.read_timeout);
        }
    }

    fn begin_wait(&self, upstream: &mut Link, limit: Duration) {
        let now = Instant::now();
        let left = self.bounds.deadline.map_or(limit, |deadline| deadline.saturating_duration_since(now));
        upstream.patience.begin(limit.min(left), now);
    }

    /// Takes what the client has sent, as far as it is the body's.
    fn frame(&mut self, client: &mut impl Client) -> Result<(), UploadFailure> {
        self.ready.clear();
        self.sent = 0;
        while !self.incoming.is_whole() && !client.arrived().is_empty() && self.ready.len() < READY {
            let bytes = client.arrived();
            let piece = self.incoming.next(bytes).map_err(|_| UploadFailure::Malformed)?;
            let length = match piece {
                Piece::Framing(length) => length,
                Piece::Content(length) => {
                    self.outgoing.put(&mut self.ready, &bytes[..length]);
                    length
                }
            };
            client.take(length);
            if self.bounds.max.is_some_and(|max| self.incoming.content > max) {
                return Err(UploadFailure::TooLarge);
            }
        }
        if self.incoming.is_whole() {
            self.outgoing.end(&mut self.ready);
            client.body_is_whole();
        }
        self.keep();
        Ok(())
    }

    /// As far as it is small enough.
    fn keep(&mut self) {
        let is_small = |kept: &Vec<u8>| (kept.len() + self.ready.len()) as u64 <= self.bounds.kept;
        self.kept = self.kept.take().filter(is_small);
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(&self.ready);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_is_too_long_to_be_kept_is_not_begun_as_one_that_can_be_sent_again() {
        let bounds = Bounds {
            max: None,
            kept: 100,
            client_timeout: Duration::MAX,
            write_timeout: Duration::MAX,
            read_timeout: Duration::MAX,
            deadline: None,
        };
        let replay = |framing| Upload::new(framing, Replay::Possible, bounds).replay() == Replay::Possible;
        assert_eq!([100, 101].map(|length| replay(Framing::Length(length))), [true, false]);
        assert!(replay(Framing::Chunked));
    }
}
