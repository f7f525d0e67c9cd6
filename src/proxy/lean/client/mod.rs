//! Whom a request is from, and who gets its answer: a connection of HTTP/1, or a stream of HTTP/2.
//!
//! ```text
//! ClientStream ─┐          ┌── what has arrived of a body ──► upload ──► upstream
//!               ├─ Client ─┤
//! Stream ───────┘          └── begin, write, end ◄── answer ◄── upstream
//! ```

mod connection;
mod stream;

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pingora::http::ResponseHeader;

use super::body::{Framing, Outgoing};
use super::exchange::Broken;
use super::fields::ResponseFields;
use super::head::After;
use super::reply::Reply;
use crate::proxy::connection::Connection;
use crate::proxy::head::Body;
use crate::telemetry::record::Protocol;

pub use stream::Stream;

pub trait Client: Send {
    const PROTOCOL: Protocol;

    /// Whether a body that nobody wants has to be read all the same before the next request can be.
    const READS_PAST_BODIES: bool;

    /// Whether it may listen for a while before it sends on, when an answer flows already.
    const CONVERSES: bool;

    fn connection(&self) -> &Arc<Connection>;

    /// How the request's body comes.
    fn framing(body: Body) -> Framing;

    /// What has arrived of the body, and was not taken.
    fn arrived(&self) -> &[u8];

    fn take(&mut self, length: usize);

    /// Waits for more, when all that had arrived was taken; 0 where no more will.
    fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>>;

    /// All of the body was taken: what comes behind it is not the request's.
    fn body_is_whole(&mut self);

    /// Ready when nobody waits for the answer any more.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// An answer before the answer; whether the client is told of it.
    fn inform(&mut self, reply: &Reply<'_>) -> bool;

    /// An upstream's answer begins. `after`: what becomes of the connection. An error where its head cannot be sent.
    fn begin(&mut self, head: ResponseFields<'_>, after: After) -> Result<(), Unsendable>;

    /// The same with an answer of Weir's own.
    fn begin_own(&mut self, head: ResponseHeader, after: After);

    /// How the answer's body goes out.
    fn outgoing(framing: Framing) -> Outgoing;

    /// What is put here leaves with the next flush, or before.
    fn write_buffer(&mut self) -> &mut Vec<u8>;

    fn poll_write(&mut self, cx: &mut Context<'_>, piece: &[u8]) -> Poll<io::Result<usize>>;

    /// Nothing more of the answer follows what was written.
    fn end(&mut self);

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// A part of the answer is all that it gets.
    fn break_off(&mut self, broken: &Broken);
}

/// None where the client leaves before the step is done.
pub async fn unless_gone<T>(client: &mut impl Client, step: impl Future<Output = T>) -> Option<T> {
    let mut step = pin!(step);
    poll_fn(|cx| match step.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => client.poll_gone(cx).map(|()| None),
    })
    .await
}

/// There are fields in a head that are none.
#[derive(Debug)]
pub struct Unsendable;
