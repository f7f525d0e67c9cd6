//! One request and its answer, both under way at once on two connections.
//!
//! ```text
//! client ──Upload──► upstream          (as long as there is something to send)
//! client ◄──relay── Buffer ◄── upstream
//! client left? ──► nothing more is wanted of the upstream
//! ```

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};

use super::body::{Incoming, Outgoing};
use super::buffer::Buffer;
use super::client::Client;
use super::patience::in_time;
use super::pool::Link;
use super::upload::{Pauses, Upload, UploadFailure};
use crate::proxy::chunks::Piece;

pub struct Exchange<'a, C> {
    pub client: &'a mut C,
    pub upstream: &'a mut Link,
    /// The request's body, where there is one.
    pub upload: &'a mut Option<Box<Upload>>,
    pub buffer: Buffer,
    pub timeouts: Timeouts,
    /// When the request was; the first wait begins there, and reads no clock.
    pub sent: Option<Instant>,
    /// The answer's head has come.
    pub is_answered: bool,
}

/// How long each step may take.
#[derive(Clone, Copy)]
pub struct Timeouts {
    /// For the upstream to send something.
    pub read: Duration,
    /// For the upstream to take something.
    pub write: Duration,
    /// For the client to take something.
    pub client: Duration,
    /// When the time for the whole request is over.
    pub deadline: Option<Instant>,
}

/// Why an exchange did not come to its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Broken {
    ClientGone,
    /// It stopped sending its body, or reading its answer.
    ClientLate,
    BodyTooLarge,
    BodyMalformed,
    /// The upstream closed its connection, or the network did.
    Reset,
    UpstreamLate,
    /// The time for the whole request is over.
    OverTime,
    /// What the upstream sent is not HTTP.
    Protocol,
}

impl Broken {
    pub fn is_by_client(&self) -> bool {
        match self {
            Broken::ClientGone | Broken::ClientLate | Broken::BodyTooLarge | Broken::BodyMalformed => true,
            Broken::Reset | Broken::UpstreamLate | Broken::OverTime | Broken::Protocol => false,
        }
    }
}

impl From<UploadFailure> for Broken {
    fn from(failure: UploadFailure) -> Self {
        match failure {
            UploadFailure::ClientGone => Broken::ClientGone,
            UploadFailure::ClientLate => Broken::ClientLate,
            UploadFailure::TooLarge => Broken::BodyTooLarge,
            UploadFailure::Malformed => Broken::BodyMalformed,
            UploadFailure::UpstreamGone => Broken::Reset,
            UploadFailure::UpstreamLate => Broken::UpstreamLate,
        }
    }
}

impl<C: Client> Exchange<'_, C> {
    /// Sends what begins the request.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let limit = self.left(self.timeouts.write)?;
        let io = &mut self.upstream.io;
        let sending = async {
            io.write_all(bytes).await?;
            io.flush().await
        };
        match in_time(limit, sending).await {
            Some(sent) => sent.map_err(|_| Broken::Reset),
            None => Err(self.late()),
        }
    }

    /// Waits for more from the upstream; 0 at the end of its connection.
    pub async fn receive(&mut self) -> Result<usize, Broken> {
        let sent = self.sent.take();
        if !self.awaits_client() {
            self.upstream.patience.begin(self.left(self.timeouts.read)?, sent.unwrap_or_else(Instant::now));
        }
        std::future::poll_fn(|cx| self.poll_receive(cx)).await
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Broken>> {
        if let Poll::Ready(Err(broken)) = self.poll_upload(cx) {
            return Poll::Ready(Err(broken));
        }
        let mut room = ReadBuf::new(self.buffer.spare());
        match Pin::new(&mut self.upstream.io).poll_read(cx, &mut room) {
            Poll::Ready(Ok(())) => {
                let length = room.filled().len();
                self.buffer.came(length);
                return Poll::Ready(Ok(length));
            }
            Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Reset)),
            Poll::Pending => {}
        }
        // Asked after the upstream, whose answer there may be: who has left is noticed then as well, by writing.
        if !self.is_uploading() && self.client.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Broken::ClientGone));
        }
        if self.buffer.is_empty() {
            // Who waits holds no buffer.
            self.buffer.clear();
        }
        // While all wait for the client, the upstream has nothing to be late with.
        if self.awaits_client() {
            return Poll::Pending;
        }
        self.upstream.patience.poll_end(cx).map(|()| Err(self.late()))
    }

    /// Drives the body on; ready where there is nothing left to drive, or nobody to drive it for.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let Some(upload) = self.upload.as_mut().filter(|upload| !upload.is_over()) else {
            return Poll::Ready(Ok(()));
        };
        let ended = match ready!(upload.poll(cx, self.client, self.upstream)) {
            // An upstream that takes no more of it may have answered all the same.
            Ok(()) | Err(UploadFailure::UpstreamGone) => self.left(self.timeouts.read),
            Err(UploadFailure::UpstreamLate) if self.is_answered => self.left(self.timeouts.read),
            Err(UploadFailure::UpstreamLate) => Err(self.late()),
            Err(failure) => Err(failure.into()),
        };
        let read = ended?;
        self.upstream.patience.begin(read, Instant::now());
        Poll::Ready(Ok(()))
    }

    /// The answer has begun: there will be no other attempt.
    pub fn answer_begins(&mut self, pauses: Pauses) {
        self.is_answered = true;
        if let Some(upload) = self.upload {
            upload.answer_begins(pauses);
        }
    }

    fn set_pauses(&mut self, pauses: Pauses) {
        if let Some(upload) = self.upload {
            upload.set_pauses(pauses);
        }
    }

    pub fn is_uploading(&self) -> bool {
        self.upload.as_ref().is_some_and(|upload| !upload.is_over())
    }

    fn awaits_client(&self) -> bool {
        self.upload.as_ref().is_some_and(|upload| upload.is_awaited())
    }

    /// Passes the answer's body on, whose beginning may be in the buffer. Returns when the client has all of it.
    /// `content`: how much of it went to the client, whatever happens.
    pub async fn relay(
        &mut self,
        incoming: &mut Incoming,
        outgoing: Outgoing,
        content: &mut u64,
    ) -> Result<(), Broken> {
        loop {
            while !self.buffer.is_empty() && !incoming.is_whole() {
                let piece = incoming.next(self.buffer.filled()).map_err(|_| Broken::Protocol)?;
                match piece {
                    Piece::Framing(length) => self.buffer.consume(length),
                    Piece::Content(length) => {
                        outgoing.open(self.client.write_buffer(), length);
                        self.pass(length, content).await?;
                        outgoing.close(self.client.write_buffer());
                    }
                }
            }
            if incoming.is_whole() {
                return self.end(outgoing).await;
            }
            self.flush().await?;
            match self.receive().await? {
                0 if incoming.ends_with_its_carrier() => return self.end(outgoing).await,
                0 => return Err(Broken::Reset),
                _ => {}
            }
        }
    }

    async fn end(&mut self, outgoing: Outgoing) -> Result<(), Broken> {
        outgoing.end(self.client.write_buffer());
        self.client.end();
        self.flush().await
    }

    /// So much content from the buffer to the client.
    async fn pass(&mut self, length: usize, content: &mut u64) -> Result<(), Broken> {
        let mut left = length;
        while left > 0 {
            let limit = self.left(self.timeouts.client)?;
            let step = std::future::poll_fn(|cx| self.poll_pass(cx, left));
            let taken = in_time(limit, step).await.unwrap_or_else(|| Err(self.client_late()))?;
            self.buffer.consume(taken);
            *content += taken as u64;
            left -= taken;
        }
        Ok(())
    }

    /// The request's body goes on meanwhile.
    fn poll_pass(&mut self, cx: &mut Context<'_>, left: usize) -> Poll<Result<usize, Broken>> {
        if let Poll::Ready(Err(broken)) = self.poll_upload(cx) {
            return Poll::Ready(Err(broken));
        }
        match self.client.poll_write(cx, &self.buffer.filled()[..left]) {
            Poll::Ready(Ok(taken @ 1..)) => Poll::Ready(Ok(taken)),
            Poll::Ready(Ok(_) | Err(_)) => Poll::Ready(Err(Broken::ClientGone)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// What waits for the client goes out.
    pub async fn flush(&mut self) -> Result<(), Broken> {
        let limit = self.left(self.timeouts.client)?;
        let step = std::future::poll_fn(|cx| {
            if let Poll::Ready(Err(broken)) = self.poll_upload(cx) {
                return Poll::Ready(Err(broken));
            }
            self.client.poll_flush(cx).map_err(|_| Broken::ClientGone)
        });
        in_time(limit, step).await.unwrap_or_else(|| Err(self.client_late()))
    }

    /// The client has its answer, and is still sending.
    pub async fn finish_upload(&mut self) -> Result<(), Broken> {
        self.set_pauses(Pauses::Bounded);
        std::future::poll_fn(|cx| self.poll_upload(cx)).await
    }

    fn left(&self, limit: Duration) -> Result<Duration, Broken> {
        let Some(deadline) = self.timeouts.deadline else { return Ok(limit) };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(Broken::OverTime) } else { Ok(limit.min(left)) }
    }

    fn late(&self) -> Broken {
        if self.is_over_time() { Broken::OverTime } else { Broken::UpstreamLate }
    }

    fn client_late(&self) -> Broken {
        if self.is_over_time() { Broken::OverTime } else { Broken::ClientLate }
    }

    fn is_over_time(&self) -> bool {
        self.timeouts.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}
