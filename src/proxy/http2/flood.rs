//! Frames that cost work and carry nothing: counted as they come in, and too many raise an alarm.
//!
//! ```text
//! ClientStream ──bytes──► Watched ──the same bytes──► h2
//!                            │ frame headers: RST_STREAM, SETTINGS, PING, PRIORITY, empty DATA
//!                            ▼
//!                          Budget ──used up──► alarm ──► GOAWAY ENHANCE_YOUR_CALM
//! ```
//!
//! h2 bounds what such frames hold of memory; this bounds what they cost of time (CVE-2023-44487 "rapid reset",
//! CVE-2019-9512, -9513, -9515, -9518). Only frame headers are looked at, nine bytes each.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::stream::ClientStream;

/// Frames without use that a client may send at once, and again after each period.
const ALLOWANCE: u32 = 1000;
const PERIOD: Duration = Duration::from_secs(10);
/// So many bytes sent or received pay for one more: who moves data may ask for the round-trip time at each turn.
const BYTES_PER_FRAME: usize = 1024;

/// The client preface, "PRI * HTTP/2.0 …".
const PREFACE: usize = 24;
const FRAME_HEADER: usize = 9;
const DATA: u8 = 0x0;

/// What whoever drives the connection hears of the bytes.
#[derive(Default)]
pub struct Signals {
    alarm: AtomicBool,
    content: AtomicU64,
}

impl Signals {
    /// There are too many frames without use.
    pub fn is_alarm(&self) -> bool {
        self.alarm.load(Relaxed)
    }

    /// So many bytes of answers went out, or have begun to.
    pub fn content(&self) -> u64 {
        self.content.load(Relaxed)
    }
}

/// Streams that the session refused: a head that no request can be made of. So many in each period cost the client their streams;
/// a client with a flaw that shows now and then keeps its connection, however long that lives.
#[derive(Default)]
pub struct Rejections {
    count: u32,
    since: Option<tokio::time::Instant>,
}

impl Rejections {
    const MOST: u32 = 32;

    /// With one more.
    pub fn is_too_many(&mut self, now: tokio::time::Instant) -> bool {
        if self.since.is_none_or(|since| now - since >= PERIOD) {
            (self.count, self.since) = (0, Some(now));
        }
        self.count += 1;
        self.count > Self::MOST
    }
}

/// What is left for frames without use.
struct Budget {
    left: u32,
    since: Instant,
    /// Bytes that have not paid for anything yet.
    unspent: usize,
}

impl Budget {
    fn new() -> Self {
        Self { left: ALLOWANCE, since: Instant::now(), unspent: 0 }
    }

    fn moved(&mut self, bytes: usize) {
        // More than a whole allowance is never of use.
        self.unspent = (self.unspent + bytes).min(ALLOWANCE as usize * BYTES_PER_FRAME);
    }

    /// Whether there was something left.
    fn spend(&mut self, now: impl FnOnce() -> Instant) -> bool {
        if self.left == 0 {
            self.left = (self.unspent / BYTES_PER_FRAME) as u32;
            self.unspent = 0;
        }
        if self.left == 0 {
            let now = now();
            if now - self.since >= PERIOD {
                (self.left, self.since) = (ALLOWANCE, now);
            }
        }
        let spent = self.left > 0;
        self.left = self.left.saturating_sub(1);
        spent
    }
}

/// Finds the frames in a stream of bytes.
struct Frames {
    header: [u8; FRAME_HEADER],
    filled: usize,
    /// Of the preface, or of a frame's payload.
    skip: usize,
}

impl Frames {
    /// Which begin behind so many bytes.
    fn behind(skip: usize) -> Self {
        Self { header: [0; FRAME_HEADER], filled: 0, skip }
    }

    fn read(&mut self, mut bytes: &[u8], mut found: impl FnMut(Frame)) {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let taken = (FRAME_HEADER - self.filled).min(bytes.len());
            if taken == 0 {
                return;
            }
            self.header[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == FRAME_HEADER {
                let frame = Frame::of(&self.header);
                (self.filled, self.skip) = (0, frame.length);
                found(frame);
            }
        }
    }
}

struct Frame {
    length: usize,
    kind: u8,
    flags: u8,
}

impl Frame {
    fn of(header: &[u8; FRAME_HEADER]) -> Self {
        let [a, b, c, kind, flags, ..] = *header;
        Self { length: usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c), kind, flags }
    }

    /// RFC 9113 §6. Answers to Weir's own SETTINGS and PING are few, and counted all the same.
    fn is_without_use(&self) -> bool {
        const END_STREAM: u8 = 0x1;
        const PRIORITY: u8 = 0x2;
        const RST_STREAM: u8 = 0x3;
        const SETTINGS: u8 = 0x4;
        const PING: u8 = 0x6;
        match self.kind {
            DATA => self.length == 0 && self.flags & END_STREAM == 0,
            PRIORITY | RST_STREAM | SETTINGS | PING => true,
            _ => false,
        }
    }
}

/// A client connection whose frames are watched. After an alarm nothing more is read from it.
pub struct Watched {
    stream: Box<ClientStream>,
    signals: Arc<Signals>,
    frames: Frames,
    outgoing: Frames,
    budget: Budget,
}

impl Watched {
    pub fn new(stream: Box<ClientStream>, signals: Arc<Signals>) -> Self {
        let (frames, outgoing) = (Frames::behind(PREFACE), Frames::behind(0));
        Self { stream, signals, frames, outgoing, budget: Budget::new() }
    }

    fn watch(&mut self, bytes: &[u8]) {
        let Self { frames, budget, signals, .. } = self;
        budget.moved(bytes.len());
        frames.read(bytes, |frame| {
            if frame.is_without_use() && !budget.spend(Instant::now) {
                signals.alarm.store(true, Relaxed);
            }
        });
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.signals.is_alarm() {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut *self.stream).poll_read(cx, buf))?;
        self.watch(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut *self.stream).poll_write(cx, data))?;
        let Self { outgoing, budget, signals, .. } = &mut *self;
        budget.moved(written);
        outgoing.read(&data[..written], |frame| {
            if frame.kind == DATA {
                signals.content.fetch_add(frame.length as u64, Relaxed);
            }
        });
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&self.stream).finish()
    }
}

#[async_trait]
impl Shutdown for Watched {
    async fn shutdown(&mut self) {
        Shutdown::shutdown(&mut *self.stream).await;
    }
}

impl UniqueID for Watched {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl GetProxyDigest for Watched {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }
}

impl GetTimingDigest for Watched {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }
}

impl GetSocketDigest for Watched {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }
}

impl Ssl for Watched {}
impl Peek for Watched {}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &[0; 4][..], &vec![0xff; payload][..]].concat()
    }

    fn kinds(bytes: &[u8], piece: usize) -> Vec<(u8, usize)> {
        let (mut frames, mut found) = (Frames::behind(PREFACE), Vec::new());
        for piece in bytes.chunks(piece) {
            frames.read(piece, |frame| found.push((frame.kind, frame.length)));
        }
        found
    }

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let bytes = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0), frame(0, 1, 70_000), frame(6, 0, 8)];
        let bytes = bytes.concat();
        for piece in [1, 2, 7, 24, 33, 1000, bytes.len()] {
            assert_eq!(kinds(&bytes, piece), [(4, 0), (0, 70_000), (6, 8)], "in pieces of {piece}");
        }
    }

    #[test]
    fn frames_that_carry_something_are_free() {
        let useless = |kind, flags, length| Frame { length, kind, flags }.is_without_use();
        assert!(useless(0, 0, 0), "empty DATA");
        assert!(!useless(0, 1, 0), "the end of a body");
        assert!(!useless(0, 0, 1), "a body");
        assert!(!useless(1, 4, 10), "HEADERS");
        assert!(!useless(8, 0, 4), "WINDOW_UPDATE");
        assert!([2, 3, 4, 6].into_iter().all(|kind| useless(kind, 0, 8)));
    }

    #[test]
    fn rejections_are_forgotten_with_time() {
        let (mut rejections, start) = (Rejections::default(), tokio::time::Instant::now());
        let mut count = |now| (0..100).take_while(|_| !rejections.is_too_many(now)).count() as u32;
        assert_eq!(count(start), Rejections::MOST);
        assert_eq!(count(start + PERIOD / 2), 0, "too soon");
        assert_eq!(count(start + PERIOD), Rejections::MOST);
    }

    #[test]
    fn the_allowance_comes_back_with_time_and_with_what_is_moved() {
        let mut budget = Budget::new();
        let start = budget.since;
        let spend = |budget: &mut Budget, now| (0..).take_while(|_| budget.spend(|| now)).count() as u32;
        assert_eq!(spend(&mut budget, start), ALLOWANCE);
        assert_eq!(spend(&mut budget, start + PERIOD / 2), 0, "too soon");
        assert_eq!(spend(&mut budget, start + PERIOD), ALLOWANCE);
        budget.moved(10 * BYTES_PER_FRAME);
        assert_eq!(spend(&mut budget, start + PERIOD), 10);
    }
}
