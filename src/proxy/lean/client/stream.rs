//! A stream of HTTP/2 as a client: Pingora's session for its head and its body, h2's own end for what is sent.
//!
//! ```text
//! head, written ──flush──► HEADERS, DATA … (END_STREAM with the last of it)
//! ```

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::SendStream;
use http::{Response, StatusCode};
use pingora::http::ResponseHeader;
use pingora::protocols::http::v2::server::HttpSession;

use super::{Client, Unsendable};
use crate::proxy::connection::Connection;
use crate::proxy::head::Body;
use crate::proxy::lean::body::{Framing, Outgoing};
use crate::proxy::lean::exchange::Broken;
use crate::proxy::lean::fields::ResponseFields;
use crate::proxy::lean::head::After;
use crate::proxy::lean::reply::Reply;
use crate::telemetry::record::Protocol;

/// Pieces below this size are gathered, so that a head and a small body leave together.
const GATHERED: usize = 16 << 10;

/// As much is copied at once of what upstreams send.
const LARGEST_PIECE: usize = 64 << 10;

pub struct Stream {
    session: HttpSession,
    connection: Arc<Connection>,
    /// Of the request's body.
    arrived: Bytes,
    /// Until it is sent.
    head: Option<Box<ResponseHeader>>,
    /// From when it is.
    body: Option<SendStream<Bytes>>,
    written: Vec<u8>,
    /// Of what was written, as much as h2 does not take yet.
    leaving: Bytes,
    answer: Answer,
}

/// How far the answer has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Open,
    /// All of it was written.
    Ended,
    /// All of it was sent.
    Closed,
}

impl Stream {
    pub fn new(session: HttpSession, connection: Arc<Connection>) -> Self {
        Self {
            session,
            connection,
            arrived: Bytes::new(),
            head: None,
            body: None,
            written: Vec::new(),
            leaving: Bytes::new(),
            answer: Answer::Open,
        }
    }

    pub fn session(&self) -> &HttpSession {
        &self.session
    }

    /// As it was, where nothing was read and nothing begun.
    pub fn into_session(self) -> HttpSession {
        self.session
    }

    fn send_head(&mut self) -> io::Result<()> {
        let Some(head) = self.head.take() else { return Ok(()) };
        let is_all = self.answer == Answer::Ended && self.written.is_empty();
        self.session.write_response_header(head, is_all).map_err(io::Error::other)?;
        self.body = self.session.take_response_body_writer();
        if is_all {
            self.answer = Answer::Closed;
        }
        Ok(())
    }

    fn poll_send_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.send_head()?;
        loop {
            if self.leaving.is_empty() {
                if self.written.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                self.leaving = Bytes::from(std::mem::take(&mut self.written));
            }
            let room = ready!(self.poll_room(cx, self.leaving.len()))?;
            let piece = self.leaving.split_to(room);
            let is_last = self.leaving.is_empty() && self.written.is_empty();
            self.send(piece, is_last)?;
        }
    }

    /// `is_last`: of what was written.
    fn send(&mut self, piece: Bytes, is_last: bool) -> io::Result<()> {
        let ends = is_last && self.answer == Answer::Ended;
        let body = self.body.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        body.send_data(piece, ends).map_err(io::Error::other)?;
        if ends {
            self.answer = Answer::Closed;
        }
        Ok(())
    }

    /// How much of so many bytes may be sent now.
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        let body = self.body.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        body.reserve_capacity(wanted);
        let mut room = body.capacity();
        while room == 0 {
            room = match ready!(body.poll_capacity(cx)) {
                Some(room) => room.map_err(io::Error::other)?,
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            };
        }
        Poll::Ready(Ok(room.min(wanted)))
    }
}

impl Client for Stream {
    const PROTOCOL: Protocol = Protocol::Http2;
    const READS_PAST_BODIES: bool = false;
    const CONVERSES: bool = true;

    fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// What has no length ends with the stream.
    fn framing(body: Body) -> Framing {
        match body {
            Body::Length(length) => Framing::Length(length),
            Body::Chunked => Framing::UntilTheEnd,
            Body::None | Body::Upgrade => Framing::None,
        }
    }

    fn arrived(&self) -> &[u8] {
        &self.arrived
    }

    fn take(&mut self, length: usize) {
        self.arrived.advance(length);
    }

    fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            match ready!(self.session.poll_read_body_bytes(cx)) {
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(Ok(piece)) => {
                    self.arrived = piece;
                    return Poll::Ready(Ok(self.arrived.len()));
                }
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => return Poll::Ready(Ok(0)),
            }
        }
    }

    /// Nothing can come behind it.
    fn body_is_whole(&mut self) {}

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.body {
            Some(body) => body.poll_reset(cx).map(|_| ()),
            None => Pin::new(&mut self.session.idle()).poll(cx).map(|_| ()),
        }
    }

    /// As in the full lane: Pingora's sessions do not.
    fn inform(&mut self, _: &Reply<'_>) -> bool {
        false
    }

    /// Pingora's session takes out what is HTTP/1's own.
    fn begin(&mut self, head: ResponseFields<'_>, _: After) -> Result<(), Unsendable> {
        let (mut parts, ()) = Response::new(()).into_parts();
        parts.status = StatusCode::from_u16(head.status).map_err(|_| Unsendable)?;
        parts.headers = head.fields.to_map().ok_or(Unsendable)?;
        self.head = Some(Box::new(parts.into()));
        Ok(())
    }

    fn begin_own(&mut self, head: ResponseHeader, _: After) {
        self.head = Some(Box::new(head));
    }

    fn outgoing(_: Framing) -> Outgoing {
        Outgoing::AsItIs
    }

    fn write_buffer(&mut self) -> &mut Vec<u8> {
        &mut self.written
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, piece: &[u8]) -> Poll<io::Result<usize>> {
        if self.written.len() + piece.len() <= GATHERED {
            self.written.extend_from_slice(piece);
            return Poll::Ready(Ok(piece.len()));
        }
        ready!(self.poll_send_written(cx))?;
        let room = ready!(self.poll_room(cx, piece.len().min(LARGEST_PIECE)))?;
        self.send(Bytes::copy_from_slice(&piece[..room]), false)?;
        Poll::Ready(Ok(room))
    }

    fn end(&mut self) {
        self.answer = Answer::Ended;
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send_written(cx))?;
        if self.answer == Answer::Ended {
            self.send(Bytes::new(), true)?;
        }
        Poll::Ready(Ok(()))
    }

    /// A stream that is let go of is cancelled; of what is not the client's doing it is told.
    fn break_off(&mut self, broken: &Broken) {
        if !broken.is_by_client() {
            self.session.shutdown();
        }
    }
}
