//! A client connection as Pingora reads and writes it: one buffer out, one message in.
//!
//! ```text
//! socket ──► (TLS) ──► read-ahead ──fence──► Pingora ──► write buffer ──flush──► (TLS) ──► socket
//! ```
//!
//! Writes are gathered, so that a head and a small body leave in one send; whatever waits goes out when the session
//! turns to reading, as it does while the upstream is silent. The buffer is borrowed from a pool of
//! the thread only while it holds something (an idle connection keeps none). Reads stop at the fence, the end of the
//! current message, so that what a client pipelines behind it stays here until its turn.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::chunks::Chunks;
use super::connection::Connection;
use super::deadline::Deadline;
use super::listener::Place;
use super::pace::{Direction, Paces};
use super::socket::Socket;
use super::spooling::Intake;
use super::worker::OpenConnection;

/// Writes of this size and above go straight to the socket.
const WRITE_BUFFER: usize = 16 << 10;
/// What is read ahead of the current message; then the client has to wait.
const READ_AHEAD: usize = 16 << 10;
/// Write buffers that a thread keeps for its next connections.
const POOLED_BUFFERS: usize = 64;

/// How much of an unfinished message is read and thrown away before the connection is closed, and for how long.
const LINGER_BYTES: usize = 1 << 20;
const LINGER_TIME: Duration = Duration::from_secs(2);

thread_local! {
    static BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_AHEAD]);
}

pub enum Transport {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

/// Where the current message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// After so many more bytes.
    At(u64),
    /// Where its chunks say: it is found as they are read.
    Chunked,
    /// Of HTTP/2: whoever reads finds it.
    Frames,
    /// Nowhere, once another protocol has taken over. What comes before that may be the next request: the upstream may decline.
    Open,
}

pub struct ClientStream {
    // Before the transport: it refers to the socket by number.
    deadline: Deadline,
    /// None only while it is dropped.
    transport: Option<Transport>,
    read_ahead: BytesMut,
    fence: Fence,
    /// What has been seen of a body in chunks.
    chunks: Chunks,
    written: Vec<u8>,
    /// A body that is taken in, or was and is read now.
    intake: Option<Box<Intake>>,
    /// Since when the client is waited for, in a body.
    waiting: Option<Instant>,
    about: Arc<Connection>,
    /// Carries the same to where only Pingora's session is at hand; made when the first one begins.
    digest: OnceLock<Arc<ProxyDigest>>,
}

impl ClientStream {
    pub fn new(transport: Transport, deadline: Deadline, about: Arc<Connection>, read_ahead: BytesMut) -> Self {
        let transport = Some(transport);
        Self {
            deadline,
            transport,
            read_ahead,
            fence: Fence::At(0),
            chunks: Chunks::default(),
            written: Vec::new(),
            intake: None,
            waiting: None,
            about,
            digest: OnceLock::new(),
        }
    }

    pub fn connection(&self) -> &Arc<Connection> {
        &self.about
    }

    pub fn deadline(&self) -> &Deadline {
        &self.deadline
    }

    /// What has been read and belongs to no message yet.
    pub fn read_ahead(&mut self) -> &mut BytesMut {
        &mut self.read_ahead
    }

    /// The same, to look at.
    pub fn ahead(&self) -> &[u8] {
        &self.read_ahead
    }

    pub fn set_fence(&mut self, fence: Fence) {
        self.intake = None;
        self.fence = fence;
        self.chunks = Chunks::default();
    }

    /// Whether what comes next from the client is another request.
    pub fn is_between_messages(&self) -> bool {
        self.fence() == Fence::At(0)
    }

    /// As it stands now.
    fn fence(&self) -> Fence {
        match self.fence {
            Fence::Open if !self.about.has_switched.load(Ordering::Relaxed) => Fence::At(0),
            fence => fence,
        }
    }

    /// Reads some more into the read-ahead; 0 at the end of the stream.
    pub async fn read_more(&mut self) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll_read_ahead(cx)).await
    }

    /// What is put here leaves with the next flush, or before.
    pub fn write_buffer(&mut self) -> &mut Vec<u8> {
        if self.written.capacity() == 0 {
            self.written = borrow_buffer();
        }
        &mut self.written
    }

    /// Ready when the client has left. What it sends meanwhile is kept, up to a bound.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_fenced(cx).map(|_| ())
    }

    pub fn poll_read_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buf = ReadBuf::new(scratch);
            ready!(transport(&mut self.transport).poll_read(cx, &mut buf))?;
            self.read_ahead.extend_from_slice(buf.filled());
            Poll::Ready(Ok(buf.filled().len()))
        })
    }

    /// Counts how long the client is waited for.
    fn time<T>(&mut self, polled: &Poll<T>) {
        if polled.is_pending() {
            self.waiting.get_or_insert_with(Instant::now);
        } else if let Some(since) = self.waiting.take() {
            let waited = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.about.waited.fetch_add(waited, Ordering::Relaxed);
        }
    }

    /// Takes the current message in. Nothing of it is handed on before it is whole.
    fn poll_intake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.read_ahead.is_empty() {
                let polled = self.poll_read_ahead(cx);
                self.time(&polled);
                if ready!(polled)? == 0 {
                    return Poll::Ready(Ok(()));
                }
            }
            let spooling = &self.about.spooling;
            let intake = match (&mut self.intake, spooling.order()) {
                (Some(intake), _) => intake,
                (none, Some(order)) => none.insert(Box::new(Intake::new(order, self.fence))),
                (None, None) => return Poll::Pending,
            };
            let paces = paces(&self.about);
            let most = ready!(poll_pace(paces, Direction::Request, cx, self.read_ahead.len()));
            match intake.put(&mut self.read_ahead, most) {
                Ok(bytes) => {
                    spend(paces, Direction::Request, bytes);
                    spooling.received(bytes);
                }
                Err(failure) => {
                    spooling.end(Err(failure));
                    return Poll::Pending;
                }
            }
            if intake.is_whole() {
                // Its chunks need not be looked for any more: what comes behind it stays here.
                self.fence = Fence::At(intake.length());
                // Whoever asked is polled again by this.
                spooling.end(Ok(()));
                return Poll::Pending;
            }
        }
    }

    /// What has just been read may hold the end of a body in chunks: what stands behind it is the next request's.
    fn keep_what_follows_chunks(&mut self, buf: &mut ReadBuf<'_>, read: usize) -> io::Result<()> {
        let begin = buf.filled().len() - read;
        let body = self.chunks.feed(&buf.filled()[begin..]).map_err(|_| io::ErrorKind::InvalidData)?;
        if body < read {
            // In front of what waits already: it came before that.
            let mut follows = BytesMut::from(&buf.filled()[begin + body..]);
            follows.extend_from_slice(&self.read_ahead);
            self.read_ahead = follows;
            buf.set_filled(begin + body);
        }
        if self.chunks.is_whole() {
            self.fence = Fence::At(0);
        }
        Ok(())
    }

    /// Behind the fence nothing is handed on, but a client that leaves is noticed.
    fn poll_fenced(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.read_ahead.len() < READ_AHEAD {
            if ready!(self.poll_read_ahead(cx))? == 0 {
                // With a request waiting the client has only finished sending; its answers are still owed.
                return if self.read_ahead.is_empty() { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
        }
        Poll::Pending
    }

    /// Whether the socket holds what nobody has read, such as a request behind an answer that is the last.
    fn has_more_come(&self) -> bool {
        self.transport.as_ref().is_some_and(|transport| transport.socket().peek().is_ok_and(|length| length > 0))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut sent = 0;
        let result = loop {
            if sent == self.written.len() {
                break Poll::Ready(Ok(()));
            }
            let paces = paces(&self.about);
            let allowed = match poll_pace(paces, Direction::Response, cx, self.written.len() - sent) {
                Poll::Ready(allowed) => allowed,
                Poll::Pending => break Poll::Pending,
            };
            match transport(&mut self.transport).poll_write(cx, &self.written[sent..sent + allowed]) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => {
                    spend(paces, Direction::Response, n);
                    sent += n;
                }
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        if sent == self.written.len() {
            give_back(std::mem::take(&mut self.written));
        } else {
            self.written.drain(..sent);
        }
        result
    }

    fn poll_send_paced(&mut self, cx: &mut Context<'_>, piece: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(cx))?;
        let paces = paces(&self.about);
        let allowed = ready!(poll_pace(paces, Direction::Response, cx, piece.len()));
        let sent = ready!(transport(&mut self.transport).poll_write(cx, &piece[..allowed]))?;
        spend(paces, Direction::Response, sent);
        Poll::Ready(Ok(sent))
    }

    /// The buffer and a large piece in one send, where the transport can.
    fn poll_send_with(&mut self, cx: &mut Context<'_>, piece: &[u8]) -> Poll<io::Result<usize>> {
        if paces(&self.about).is_some() {
            return self.poll_send_paced(cx, piece);
        }
        while !self.written.is_empty() {
            let n = match transport(&mut self.transport) {
                Transport::Plain(io) => {
                    let both = [IoSlice::new(&self.written), IoSlice::new(piece)];
                    ready!(Pin::new(io).poll_write_vectored(cx, &both))?
                }
                Transport::Tls(_) => {
                    ready!(self.poll_send(cx))?;
                    break;
                }
            };
            if n < self.written.len() {
                self.written.drain(..n);
                continue;
            }
            let of_piece = n - self.written.len();
            give_back(std::mem::take(&mut self.written));
            if of_piece > 0 {
                return Poll::Ready(Ok(of_piece));
            }
        }
        transport(&mut self.transport).poll_write(cx, piece)
    }
}

/// None where nothing is slowed down.
fn paces(about: &Connection) -> Option<&Paces> {
    Some(&about.paces).filter(|paces| paces.any())
}

fn poll_pace(paces: Option<&Paces>, direction: Direction, cx: &mut Context<'_>, wanted: usize) -> Poll<usize> {
    paces.map_or(Poll::Ready(wanted), |paces| paces.poll(direction, cx, wanted))
}

fn spend(paces: Option<&Paces>, direction: Direction, bytes: usize) {
    if let Some(paces) = paces {
        paces.spend(direction, bytes);
    }
}

fn transport(slot: &mut Option<Transport>) -> &mut Transport {
    slot.as_mut().unwrap_or_else(|| unreachable!("only drop takes the transport"))
}

fn borrow_buffer() -> Vec<u8> {
    BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(WRITE_BUFFER))
}

fn give_back(mut buffer: Vec<u8>) {
    if buffer.capacity() < WRITE_BUFFER {
        return;
    }
    buffer.clear();
    BUFFERS.with_borrow_mut(|buffers| {
        if buffers.len() < POOLED_BUFFERS {
            buffers.push(buffer);
        }
    });
}

impl Transport {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Transport::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Transport::Tls(io) => Pin::new(io).poll_read(cx, buf),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Transport::Plain(io) => Pin::new(io).poll_write(cx, data),
            Transport::Tls(io) => Pin::new(io).poll_write(cx, data),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Transport::Plain(_) => Poll::Ready(Ok(())),
            Transport::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Transport::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Transport::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }

    fn socket(&self) -> &Socket {
        match self {
            Transport::Plain(io) => io,
            Transport::Tls(io) => io.get_ref().0,
        }
    }
}

/// A socket that is closed with unread bytes resets the connection, and the client may never see the answer that told
/// it to stop (413, 408). So what is left of a message is read and thrown away for a moment first.
impl Drop for ClientStream {
    fn drop(&mut self) {
        let unread = match self.fence() {
            Fence::At(left) => left > 0 || !self.read_ahead.is_empty() || self.has_more_come(),
            Fence::Chunked | Fence::Frames => true,
            Fence::Open => false,
        };
        if let (true, Some(transport), Ok(runtime)) =
            (unread, self.transport.take(), tokio::runtime::Handle::try_current())
        {
            runtime.spawn(linger(transport, self.about.open.begin(), self.about.place.upgrade()));
        }
    }
}

/// Open until then, and counted as one of the listener's: what the client has not received yet would be lost with the process.
async fn linger(mut transport: Transport, _open: OpenConnection, _place: Option<Arc<Place>>) {
    let discard = async {
        std::future::poll_fn(|cx| transport.poll_shutdown(cx)).await?;
        let mut left = LINGER_BYTES;
        let mut scratch = [0; 4096];
        while left > 0 {
            let mut buf = ReadBuf::new(&mut scratch);
            std::future::poll_fn(|cx| transport.poll_read(cx, &mut buf)).await?;
            match buf.filled().len() {
                0 => break,
                n => left = left.saturating_sub(n),
            }
        }
        io::Result::Ok(())
    };
    // A client that goes away meanwhile, or never does, has had its chance.
    let _ = tokio::time::timeout(LINGER_TIME, discard).await;
}

impl AsyncRead for ClientStream {
    /// Whoever turns to reading has nothing more to write for now: what stands in the write buffer goes out.
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.written.is_empty()
            && let Poll::Ready(Err(error)) = self.as_mut().poll_flush(cx)
        {
            return Poll::Ready(Err(error));
        }
        if self.about.spooling.is_asked() {
            return self.poll_intake(cx);
        }
        let limit = match self.fence() {
            Fence::At(0) => return self.poll_fenced(cx),
            Fence::At(left) => usize::try_from(left).unwrap_or(usize::MAX).min(buf.remaining()),
            Fence::Chunked | Fence::Frames | Fence::Open => buf.remaining(),
        };
        let this = &mut *self;
        if let Some(intake) = this.intake.as_mut().filter(|intake| !intake.spool.is_drained()) {
            let read = intake.spool.read(buf.initialize_unfilled_to(limit))?;
            buf.advance(read);
            if let Fence::At(left) = &mut this.fence {
                *left -= read as u64;
            }
            return Poll::Ready(Ok(()));
        }
        let paces = paces(&this.about);
        let limit = limit.min(ready!(poll_pace(paces, Direction::Request, cx, limit)));
        let read = if this.read_ahead.is_empty() {
            let polled = poll_read_limited(transport(&mut this.transport), cx, buf, limit);
            this.time(&polled);
            ready!(polled)?
        } else {
            let n = limit.min(this.read_ahead.len());
            buf.put_slice(&this.read_ahead[..n]);
            this.read_ahead.advance(n);
            n
        };
        spend(self::paces(&this.about), Direction::Request, read);
        match &mut this.fence {
            Fence::At(left) => *left -= read as u64,
            Fence::Chunked => this.keep_what_follows_chunks(buf, read)?,
            Fence::Frames | Fence::Open => {}
        }
        Poll::Ready(Ok(()))
    }
}

fn poll_read_limited(
    transport: &mut Transport,
    cx: &mut Context<'_>,
    buf: &mut ReadBuf<'_>,
    limit: usize,
) -> Poll<io::Result<usize>> {
    let mut limited = buf.take(limit);
    ready!(transport.poll_read(cx, &mut limited))?;
    let read = limited.filled().len();
    // SAFETY: `limited` is the head of what `buf` has not filled, and the transport has just filled `read` bytes of it.
    unsafe { buf.assume_init(read) };
    buf.advance(read);
    Poll::Ready(Ok(read))
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if self.written.len() + data.len() > WRITE_BUFFER {
            return self.poll_send_with(cx, data);
        }
        if self.written.capacity() == 0 {
            self.written = borrow_buffer();
        }
        self.written.extend_from_slice(data);
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        transport(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        transport(&mut self.transport).poll_shutdown(cx)
    }
}

impl fmt::Debug for ClientStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientStream").field("fence", &self.fence).finish_non_exhaustive()
    }
}

#[async_trait]
impl Shutdown for ClientStream {
    /// Sends what waits, as far as the client takes it.
    async fn shutdown(&mut self) {
        // A client that is gone already needs no goodbye.
        let _ = tokio::time::timeout(LINGER_TIME, AsyncWriteExt::shutdown(self)).await;
    }
}

impl UniqueID for ClientStream {
    fn id(&self) -> UniqueIDType {
        self.transport.as_ref().map_or(-1, |transport| transport.socket().as_raw_fd())
    }
}

impl GetProxyDigest for ClientStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        Some(self.digest.get_or_init(|| self.about.digest()).clone())
    }
}

impl GetTimingDigest for ClientStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetSocketDigest for ClientStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

impl Ssl for ClientStream {}
impl Peek for ClientStream {}
