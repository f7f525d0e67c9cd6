//! The life of an HTTP/1 connection: wait, read a head within bounds, hand the request over, again.
//!
//! ```text
//! idle ──first byte──► head ──whole──► inspect ──► lean lane, or HttpProxy ──reused──► idle
//!  │ idle-timeout,      │ header-timeout: 408      │ refused: 400/405/431/505
//!  │ drain: LINGER      │                          │
//!  └──────────────► closed ◄───────────────────────┘
//! ```

use std::time::Duration;

use bytes::BytesMut;
use futures::future::BoxFuture;
use pingora::apps::{HttpServerApp, ReusedHttpStream};
use pingora::protocols::Shutdown;
use pingora::protocols::http::ServerSession;

use super::answer;
use super::head::{self, Body, Refusal, Request};
use super::lean::{self, After};
use super::stream::{ClientStream, Fence};
use super::worker::Worker;
use crate::model::ConnectionLimits;

/// What HTTP/2 with prior knowledge begins with (RFC 9113 §3.4), as far as it looks like a head.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// How long a draining process waits for the next request of a kept-alive connection. It may be on its way already, and
/// is answered with `Connection: close`; a connection that is closed under a request costs the client an error.
pub const LINGER: Duration = Duration::from_millis(500);

/// How serving ended.
pub enum Ended {
    Closed,
    /// The client speaks HTTP/2; its preface stands in the read-ahead.
    Http2(Box<ClientStream>),
}

pub async fn serve(mut stream: Box<ClientStream>, limits: &ConnectionLimits, worker: &Worker) -> Ended {
    for served in 1.. {
        let patience = if is_ending(&stream, worker) { LINGER.min(limits.idle_timeout) } else { limits.idle_timeout };
        let request = match next_request(&mut stream, limits, patience).await {
            Next::Request(request) => request,
            Next::Http2 => return Ended::Http2(stream),
            Next::Gone => return Ended::Closed,
            Next::Refused(refusal) => {
                worker.refused(stream.connection(), refusal);
                answer::refuse(&mut stream, refusal);
                stream.shutdown().await;
                return Ended::Closed;
            }
        };
        stream.deadline().clear();
        stream.set_fence(match request.head.body {
            Body::None => Fence::At(0),
            Body::Length(length) => Fence::At(length),
            Body::Chunked => Fence::Chunked,
            Body::Upgrade => Fence::Open,
        });
        let last = served >= limits.max_requests || is_ending(&stream, worker);
        let carrier = lean::Carrier { limits, worker, after: if last { After::Close } else { After::KeepAlive } };
        let bytes = match lean::serve(&mut *stream, request, carrier).await {
            Ok(After::KeepAlive) if stream.is_between_messages() => continue,
            Ok(After::KeepAlive | After::Close) => {
                stream.shutdown().await;
                return Ended::Closed;
            }
            Err(bytes) => bytes,
        };
        let Some(reused) = hand_over(stream, bytes, last, limits, worker).await else { return Ended::Closed };
        let Ok(same) = reused.consume().0.into_any().downcast::<ClientStream>() else {
            return Ended::Closed;
        };
        stream = same;
    }
    Ended::Closed
}

/// To the full lane. No `async fn`: what is moved into the future that is returned must not stay in the connection's own.
fn hand_over<'a>(
    stream: Box<ClientStream>,
    bytes: BytesMut,
    last: bool,
    limits: &ConnectionLimits,
    worker: &'a Worker,
) -> BoxFuture<'a, Option<ReusedHttpStream>> {
    let mut session = ServerSession::new_http1(stream);
    session.set_read_timeout(Some(limits.body_timeout));
    session.set_write_timeout(Some(limits.body_timeout));
    if last {
        session.set_keepalive_reuses_remaining(Some(0));
    }
    session.set_pipelined_prefix(bytes);
    let proxy = worker.proxy();
    Box::pin(async move { proxy.process_new_http(session, worker.shutdown()).await })
}

/// Whether the next request is the last one, because nobody listens there any more.
fn is_ending(stream: &ClientStream, worker: &Worker) -> bool {
    worker.draining() || stream.connection().listener.is_removed()
}

enum Next {
    Request(Request),
    Http2,
    /// The client closed, or never began a request.
    Gone,
    Refused(Refusal),
}

async fn next_request(stream: &mut ClientStream, limits: &ConnectionLimits, patience: Duration) -> Next {
    stream.set_fence(Fence::At(0));
    if !begins_a_head(stream.read_ahead()) {
        if stream.read_ahead().is_empty() {
            // What a body came in is not held while nothing comes.
            *stream.read_ahead() = BytesMut::new();
        }
        stream.deadline().wait_idle(patience);
        while !begins_a_head(stream.read_ahead()) {
            if !matches!(stream.read_more().await, Ok(1..)) {
                return Next::Gone;
            }
        }
    }
    // From its first byte on: what trickles in later does not put it off.
    stream.deadline().wait_busy(limits.header_timeout);
    let mut searched = 0;
    loop {
        if let Some(end) = head::end_of_head(stream.read_ahead(), searched) {
            return take_head(stream.read_ahead(), end, limits);
        }
        searched = stream.read_ahead().len();
        if searched > limits.max_header_size.as_usize() {
            return Next::Refused(TOO_LARGE);
        }
        match stream.read_more().await {
            Ok(1..) => {}
            _ if stream.deadline().expired() => return Next::Refused(TOO_SLOW),
            _ => return Next::Gone,
        }
    }
}

const TOO_LARGE: Refusal = Refusal { status: 431, reason: "the request head is larger than the limit" };
const TOO_SLOW: Refusal = Refusal { status: 408, reason: "the request head did not arrive in time" };

const BAD_CHUNK: Refusal = Refusal { status: 400, reason: "the chunked body does not begin with a chunk" };

fn take_head(read_ahead: &mut BytesMut, end: usize, limits: &ConnectionLimits) -> Next {
    if &read_ahead[..end] == HTTP2_PREFACE {
        return Next::Http2;
    }
    if end > limits.max_header_size.as_usize() {
        return Next::Refused(TOO_LARGE);
    }
    let head = match head::inspect(&read_ahead[..end]) {
        Ok(head) => head,
        Err(refusal) => return Next::Refused(refusal),
    };
    if head.body == Body::Chunked && !head::begins_a_chunk(&read_ahead[end..]) {
        return Next::Refused(BAD_CHUNK);
    }
    head::spell_host_as_the_target_does(&mut read_ahead[..end], &head);
    // Taken whole where it stands alone: `split_to` would turn the buffer into shared storage.
    let bytes = if end == read_ahead.len() { std::mem::take(read_ahead) } else { read_ahead.split_to(end) };
    Next::Request(Request { bytes, head })
}

/// Some clients end a body with a line break that belongs to nothing (RFC 9112 §2.2): what is there of such is skipped.
fn begins_a_head(read_ahead: &mut BytesMut) -> bool {
    while read_ahead.starts_with(b"\r\n") {
        bytes::Buf::advance(read_ahead, 2);
    }
    !matches!(&read_ahead[..], b"" | b"\r")
}
