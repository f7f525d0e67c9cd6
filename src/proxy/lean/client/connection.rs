//! A connection of HTTP/1 as a client: bytes in, bytes out.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Buf;
use pingora::http::ResponseHeader;
use tokio::io::AsyncWrite;

use super::{Client, Unsendable};
use crate::proxy::connection::Connection;
use crate::proxy::head::Body;
use crate::proxy::lean::body::{Framing, Outgoing};
use crate::proxy::lean::exchange::Broken;
use crate::proxy::lean::fields::ResponseFields;
use crate::proxy::lean::head::After;
use crate::proxy::lean::reply::Reply;
use crate::proxy::stream::{ClientStream, Fence};
use crate::telemetry::record::Protocol;

impl Client for ClientStream {
    const PROTOCOL: Protocol = Protocol::Http11;
    const READS_PAST_BODIES: bool = true;
    const CONVERSES: bool = false;

    fn connection(&self) -> &Arc<Connection> {
        self.connection()
    }

    fn framing(body: Body) -> Framing {
        match body {
            Body::Length(length) => Framing::Length(length),
            Body::Chunked => Framing::Chunked,
            Body::None | Body::Upgrade => Framing::None,
        }
    }

    fn arrived(&self) -> &[u8] {
        self.ahead()
    }

    fn take(&mut self, length: usize) {
        self.read_ahead().advance(length);
    }

    fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.poll_read_ahead(cx)
    }

    /// What comes behind it is the next request's.
    fn body_is_whole(&mut self) {
        self.set_fence(Fence::At(0));
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_gone(cx)
    }

    fn inform(&mut self, reply: &Reply<'_>) -> bool {
        reply.write_informational(self.write_buffer());
        true
    }

    fn begin(&mut self, head: ResponseFields<'_>, after: After) -> Result<(), Unsendable> {
        head.write(self.write_buffer(), after);
        Ok(())
    }

    /// As Pingora writes it.
    fn begin_own(&mut self, head: ResponseHeader, after: After) {
        let out = self.write_buffer();
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(head.status.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(head.get_reason_phrase().unwrap_or_default().as_bytes());
        out.extend_from_slice(b"\r\n");
        head.header_to_h1_wire(out);
        out.extend_from_slice(match after {
            After::KeepAlive => b"Connection: keep-alive\r\n\r\n",
            After::Close => b"Connection: close\r\n\r\n",
        });
    }

    fn outgoing(framing: Framing) -> Outgoing {
        Outgoing::of(framing)
    }

    fn write_buffer(&mut self) -> &mut Vec<u8> {
        self.write_buffer()
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, piece: &[u8]) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(self), cx, piece)
    }

    /// The framing says so.
    fn end(&mut self) {}

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(self), cx)
    }

    /// It is closed.
    fn break_off(&mut self, _: &Broken) {}
}
