//! A request's body on its way to a shadow: what the upstream has been sent waits here for a slower one, so much of it at most.
//!
//! ```text
//! piece ──► Feed ──► (waiting, in memory) ──► Body ──► the shadow
//!             └─ too much waits, or the request ended too soon: the task is ended
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;

use crate::model::ByteSize;
use crate::proxy::filters::Place;

/// What a piece takes beside its bytes.
const PIECE_OVERHEAD: usize = 64;
/// Of a body: so much is kept, so that a connection that turns out to be dead costs no copy.
const MOST_KEPT: usize = 64 << 10;

pub fn channel(most: ByteSize) -> (Unbound, Body) {
    // Bounded by bytes.
    let (sender, receiver) = unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let body =
        Body { receiver, waiting: waiting.clone(), first: None, kept: Some(Vec::new()), kept_bytes: 0, again: 0 };
    (Unbound { sender, waiting, most: most.as_usize() }, body)
}

/// Without its task.
pub struct Unbound {
    sender: UnboundedSender<Bytes>,
    waiting: Arc<AtomicUsize>,
    most: usize,
}

impl Unbound {
    pub fn to(self, task: AbortHandle) -> Feed {
        Feed { channel: self, task, is_whole: false, attempt: 0, position: 0, passed: 0 }
    }
}

/// The request's end. Where it is dropped before the body is whole, there is no copy.
pub struct Feed {
    channel: Unbound,
    task: AbortHandle,
    is_whole: bool,
    /// Of the request at its upstream: another one begins with the body's first byte again.
    attempt: u32,
    /// Within that attempt.
    position: u64,
    passed: u64,
}

impl Feed {
    /// False: nothing more is to be passed.
    pub fn pass(&mut self, piece: Option<&Bytes>, place: Place, attempt: u32) -> bool {
        if attempt != self.attempt {
            (self.attempt, self.position) = (attempt, 0);
        }
        if let Some(piece) = piece
            && !self.pass_piece(piece)
        {
            return false;
        }
        self.is_whole = place == Place::End;
        !self.is_whole
    }

    /// By a good part of what it may be.
    pub fn is_behind(&self) -> bool {
        self.channel.waiting.load(Relaxed) > self.channel.most / 4
    }

    fn pass_piece(&mut self, piece: &Bytes) -> bool {
        let begins = self.position;
        self.position += piece.len() as u64;
        let known = usize::try_from(self.passed.saturating_sub(begins)).unwrap_or(usize::MAX);
        let fresh = piece.slice(known.min(piece.len())..);
        if fresh.is_empty() {
            return true;
        }
        self.passed += fresh.len() as u64;
        let weight = fresh.len() + PIECE_OVERHEAD;
        let waiting = self.channel.waiting.fetch_add(weight, Relaxed);
        // A single piece may always wait: how large it is, the client chose.
        (waiting == 0 || waiting + weight <= self.channel.most) && self.channel.sender.send(fresh).is_ok()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if !self.is_whole {
            self.task.abort();
        }
    }
}

/// The shadow's end.
pub struct Body {
    receiver: UnboundedReceiver<Bytes>,
    waiting: Arc<AtomicUsize>,
    first: Option<Bytes>,
    /// From the first byte on; none when it has become too much.
    kept: Option<Vec<Bytes>>,
    kept_bytes: usize,
    /// How many of those are to come again, counted from the end.
    again: usize,
}

impl Body {
    /// None: the body is whole.
    pub async fn next(&mut self) -> Option<Bytes> {
        if let Some(kept) = self.kept.as_ref().filter(|_| self.again > 0) {
            let piece = kept[kept.len() - self.again].clone();
            self.again -= 1;
            return Some(piece);
        }
        let piece = match self.first.take() {
            Some(piece) => piece,
            None => self.receive().await?,
        };
        self.kept_bytes += piece.len();
        if self.kept_bytes > MOST_KEPT {
            self.kept = None;
        }
        if let Some(kept) = &mut self.kept {
            kept.push(piece.clone());
        }
        Some(piece)
    }

    /// Until something of it has come, or it is known that there is nothing.
    pub async fn begun(&mut self) {
        self.first = self.receive().await;
    }

    async fn receive(&mut self) -> Option<Bytes> {
        let piece = self.receiver.recv().await?;
        self.waiting.fetch_sub(piece.len() + PIECE_OVERHEAD, Relaxed);
        Some(piece)
    }

    /// Whether it can begin anew.
    pub fn rewind(&mut self) -> bool {
        self.again = self.kept.as_ref().map_or(0, Vec::len);
        self.kept.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(most: u64) -> (Feed, Body) {
        let (unbound, body) = channel(ByteSize(most));
        (unbound.to(tokio::spawn(std::future::pending::<()>()).abort_handle()), body)
    }

    async fn all(body: &mut Body) -> Vec<u8> {
        let mut whole = Vec::new();
        while let Some(piece) = body.next().await {
            whole.extend_from_slice(&piece);
        }
        whole
    }

    #[tokio::test]
    async fn what_is_sent_again_to_the_upstream_is_passed_once() {
        let (mut feed, mut body) = feed(1000);
        let piece = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
        assert!(feed.pass(piece("abc").as_ref(), Place::Within, 1));
        assert!(feed.pass(piece("ab").as_ref(), Place::Within, 2));
        assert!(feed.pass(piece("cdef").as_ref(), Place::Within, 2));
        assert!(feed.pass(piece("abcdefg").as_ref(), Place::Within, 3));
        assert!(!feed.pass(None, Place::End, 3));
        drop(feed);
        body.begun().await;
        assert_eq!(all(&mut body).await, b"abcdefg");
        assert!(body.rewind());
        assert_eq!(all(&mut body).await, b"abcdefg");
    }

    #[tokio::test]
    async fn what_waits_is_bounded_and_what_has_gone_makes_room() {
        let (mut feed, mut body) = feed(1000);
        let piece = Bytes::from_static(&[0; 400]);
        assert!(feed.pass(Some(&piece), Place::Within, 1));
        assert!(feed.pass(Some(&piece), Place::Within, 1));
        body.next().await.unwrap();
        assert!(feed.pass(Some(&piece), Place::Within, 1));
        assert!(!feed.pass(Some(&piece), Place::Within, 1));
        let task = feed.task.clone();
        drop(feed);
        tokio::task::yield_now().await;
        assert!(task.is_finished(), "a copy that cannot be whole is given up");
    }

    #[tokio::test]
    async fn a_long_body_does_not_begin_anew() {
        let (mut feed, mut body) = feed(1 << 20);
        assert!(feed.pass(Some(&Bytes::from(vec![0; MOST_KEPT])), Place::Within, 1));
        body.next().await.unwrap();
        assert!(body.rewind());
        assert_eq!(body.next().await.unwrap().len(), MOST_KEPT);
        assert!(!feed.pass(Some(&Bytes::from_static(b"x")), Place::End, 1));
        assert_eq!(body.next().await.unwrap(), "x");
        assert!(!body.rewind());
    }
}
