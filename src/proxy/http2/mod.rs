//! The life of an HTTP/2 connection: its streams become requests; bounds and drain are ours.
//!
//! ```text
//! preface ──► frames ──(watched)──► streams ──(a task each)──► lean lane, or HttpProxy
//!    │           │ a flood: GOAWAY ENHANCE_YOUR_CALM                         ▲ with a body, a WebSocket, or a pace: as an Exchange
//!    │           │ idle-timeout, max-requests, drain: GOAWAY, then the open streams finish
//!    └ header-timeout
//! ```

mod exchange;
mod flood;
mod request;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures::future::BoxFuture;
use h2::Reason;
use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{self, H2Accept, H2Options, HttpSession};
use pingora::protocols::{Digest, GetProxyDigest, Stream};
use tokio::time::{Instant, sleep_until, timeout};

use self::exchange::Exchange;
use self::flood::{Rejections, Signals, Watched};
use super::connection::Connection;
use super::lean::{self, After};
use super::stream::{ClientStream, Fence};
use super::worker::Worker;
use crate::model::ConnectionLimits;

/// What one stream may send before Weir has passed it on, and all streams of a connection together.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// What Weir holds of one stream's answer while its client does not read.
const SEND_BUFFER: usize = 128 << 10;
/// Between a GOAWAY and the first look whether the connection has come to its end: what was on its way may still arrive. What comes
/// later is refused.
const FAREWELL: Duration = Duration::from_secs(1);

type ClientConnection = h2::server::Connection<Stream, bytes::Bytes>;

pub async fn serve(mut stream: Box<ClientStream>, limits: &ConnectionLimits, worker: &Arc<Worker>) {
    // Where a message ends is not for the stream to know; and closed with care, or a client that is still sending
    // loses the GOAWAY that says why.
    stream.set_fence(Fence::Frames);
    stream.deadline().clear();
    let digest = Arc::new(Digest { proxy_digest: stream.get_proxy_digest(), ..Digest::default() });
    let streams = Arc::new(Streams::new(stream.connection().clone(), limits.clone()));
    let signals = Arc::new(Signals::default());
    let handshake = server::handshake(Box::new(Watched::new(stream, signals.clone())), Some(options(limits)));
    // A client that does not complete the preface in time is not owed an answer.
    let Ok(Ok(mut connection)) = timeout(limits.header_timeout, handshake).await else { return };
    match serve_streams(&mut connection, &digest, &signals, &streams, worker).await {
        End::Closed => {}
        End::Flood(of) => {
            let (listener, client) = (&streams.connection.listener.name, streams.connection.peer);
            tracing::info!(%listener, %client, of, "ended an HTTP/2 connection that did not behave");
            connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            // A client that does not take it is left with a closed connection.
            let _ = timeout(FAREWELL, poll_fn(|cx| connection.poll_closed(cx))).await;
        }
    }
}

enum End {
    Closed,
    /// Of what.
    Flood(&'static str),
}

async fn serve_streams(
    connection: &mut ClientConnection,
    digest: &Arc<Digest>,
    signals: &Signals,
    streams: &Arc<Streams>,
    worker: &Arc<Worker>,
) -> End {
    let limits = &streams.limits;
    let mut shutdown = worker.shutdown().clone();
    let mut check = std::pin::pin!(sleep_until(Instant::now() + limits.idle_timeout));
    let (mut accepted, mut rejected, mut leaving) = (0, Rejections::default(), None);
    let mut leave = worker.draining();
    loop {
        if leave && leaving.is_none() {
            leaving = Some(Leaving::begin());
            connection.graceful_shutdown();
            check.as_mut().reset(Instant::now() + FAREWELL);
        }
        tokio::select! {
            biased;
            _ = shutdown.changed(), if leaving.is_none() => leave = true,
            next = next_request(connection, digest, signals, &streams.connection) => match next {
                Ok(stream) if leaving.as_ref().is_some_and(Leaving::takes_no_more) => refuse(*stream),
                Ok(stream) => {
                    accepted += 1;
                    leave |= accepted >= limits.max_requests || streams.connection.listener.is_removed();
                    streams.spawn(stream, worker);
                }
                Err(Instead::Rejected) if rejected.is_too_many(Instant::now()) => {
                    return End::Flood("requests that are none");
                }
                Err(Instead::Rejected) => {}
                Err(Instead::Flood) => return End::Flood("frames that carry nothing"),
                Err(Instead::Closed) => return End::Closed,
            },
            () = check.as_mut() => match (&mut leaving, streams.idle_for()) {
                (Some(leaving), idle) => {
                    let silence = leaving.silence(signals.content());
                    if idle.is_some_and(|idle| idle.min(silence) >= limits.body_timeout) {
                        return End::Closed;
                    }
                    check.as_mut().reset(Instant::now() + FAREWELL);
                }
                (None, idle) => match limits.idle_timeout.checked_sub(idle.unwrap_or_default()) {
                    Some(left) if !left.is_zero() => check.as_mut().reset(Instant::now() + left),
                    _ => leave = true,
                },
            },
        }
    }
}

/// A connection that was told to end.
struct Leaving {
    since: Instant,
    /// What goes out: h2 holds a part of the last answers for as long as the client takes its time.
    seen: Option<u64>,
    flowed: Option<Instant>,
}

impl Leaving {
    fn begin() -> Self {
        Self { since: Instant::now(), seen: None, flowed: None }
    }

    /// What was on its way has arrived. h2 itself takes streams for as long as the client does not acknowledge its PING.
    fn takes_no_more(&self) -> bool {
        self.since.elapsed() >= FAREWELL
    }

    /// For how long nothing has gone out, as far as anybody has looked. `content`: in all.
    fn silence(&mut self, content: u64) -> Duration {
        if self.seen.replace(content).is_some_and(|seen| seen != content) {
            self.flowed = Some(Instant::now());
        }
        self.flowed.map_or(Duration::MAX, |at| at.elapsed())
    }
}

/// Nothing was done of it: it may be tried on another connection (RFC 9113 §8.7).
fn refuse(stream: lean::Stream) {
    stream.into_session().shutdown_with_reason(Reason::REFUSED_STREAM);
}

/// Of a request.
enum Instead {
    Rejected,
    Flood,
    Closed,
}

/// Drives the connection until a request opens a stream.
async fn next_request(
    connection: &mut ClientConnection,
    digest: &Arc<Digest>,
    signals: &Signals,
    about: &Arc<Connection>,
) -> Result<Box<lean::Stream>, Instead> {
    let mut accept = std::pin::pin!(HttpSession::from_h2_conn(connection, digest.clone()));
    poll_fn(|cx| {
        let polled = accept.as_mut().poll(cx);
        // The alarm is raised nowhere but in this poll.
        if signals.is_alarm() {
            return Poll::Ready(Err(Instead::Flood));
        }
        polled.map(|accepted| match accepted {
            // Boxed here: it is passed on several times.
            Ok(Some(H2Accept::Session(session))) => Ok(Box::new(lean::Stream::new(session, about.clone()))),
            Ok(Some(H2Accept::Rejected)) => Err(Instead::Rejected),
            Ok(None) | Err(_) => Err(Instead::Closed),
        })
    })
    .await
}

fn options(limits: &ConnectionLimits) -> H2Options {
    let mut options = server::default_h2_options();
    options
        .max_concurrent_streams(limits.max_streams)
        .max_header_list_size(u32::try_from(limits.max_header_size.0).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        // As many as may be open may be given up in one go, before the first of them was looked at.
        .max_pending_accept_reset_streams(limits.max_streams as usize)
        .enable_connect_protocol();
    options
}

/// The open streams of one connection.
struct Streams {
    connection: Arc<Connection>,
    limits: ConnectionLimits,
    open: AtomicUsize,
    last_end: std::sync::Mutex<Option<Instant>>,
}

impl Streams {
    fn new(connection: Arc<Connection>, limits: ConnectionLimits) -> Self {
        Self { connection, limits, open: AtomicUsize::new(0), last_end: std::sync::Mutex::default() }
    }

    fn spawn(self: &Arc<Self>, mut stream: Box<lean::Stream>, worker: &Arc<Worker>) {
        self.open.fetch_add(1, Ordering::Relaxed);
        let open = OpenStream(self.clone());
        let worker = worker.clone();
        tokio::spawn(async move {
            if !open.0.serve_lean(&mut stream, &worker).await {
                open.0.serve_full(*stream, &worker).await;
            }
        });
    }

    /// Or leaves it as it was.
    async fn serve_lean(&self, stream: &mut lean::Stream, worker: &Worker) -> bool {
        let Some(request) = request::read(stream.session()) else { return false };
        let carrier = lean::Carrier { limits: &self.limits, worker, after: After::KeepAlive };
        lean::serve(stream, request, carrier).await.is_ok()
    }

    fn serve_full<'a>(&self, stream: lean::Stream, worker: &'a Worker) -> BoxFuture<'a, ()> {
        let (session, paces, body_timeout) = (stream.into_session(), worker.paces(), self.limits.body_timeout);
        let mut session = if paces.is_some() || Exchange::is_needed_for(&session) {
            ServerSession::new_custom(Box::new(Exchange::new(session, body_timeout, paces)))
        } else {
            ServerSession::new_http2(session)
        };
        session.set_write_timeout(Some(body_timeout));
        let proxy = worker.proxy();
        Box::pin(async move { drop(proxy.process_new_http(session, worker.shutdown()).await) })
    }

    /// `None`: there are open streams.
    fn idle_for(&self) -> Option<Duration> {
        if self.open.load(Ordering::Relaxed) > 0 {
            return None;
        }
        match *self.last_end.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) {
            Some(end) => Some(end.elapsed()),
            // Nothing ever came.
            None => Some(Duration::MAX),
        }
    }
}

/// Closes with the task, however that ends.
struct OpenStream(Arc<Streams>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            *self.0.last_end.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(Instant::now());
        }
    }
}
