//! The life of an HTTP/2 connection: its streams become requests; bounds and drain are ours.
//!
//! ```text
//! preface ──► streams ──(a task each)──► HttpProxy
//!    │           │ idle-timeout, max-requests, drain: GOAWAY, then the open streams finish
//!    └ header-timeout
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{self, H2Accept, H2Options, HttpSession};
use pingora::protocols::{Digest, GetProxyDigest};
use tokio::time::Instant;

use super::stream::{ClientStream, Fence};
use super::worker::Worker;
use crate::model::ConnectionLimits;

/// What one stream may send before Weir has passed it on, and all streams of a connection together.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Streams that the session refused (a head that no request can be made of) before the client is sent away.
const MAX_REJECTED: usize = 32;

pub async fn serve(mut stream: Box<ClientStream>, limits: &ConnectionLimits, worker: &Arc<Worker>) {
    stream.set_fence(Fence::Open);
    stream.deadline().clear();
    let digest = Arc::new(Digest { proxy_digest: stream.get_proxy_digest(), ..Digest::default() });
    let handshake = server::handshake(stream, Some(options(limits)));
    // A client that does not complete the preface in time is not owed an answer.
    let Ok(Ok(mut connection)) = tokio::time::timeout(limits.header_timeout, handshake).await else { return };
    let streams = Arc::new(Streams::default());
    let mut shutdown = worker.shutdown().clone();
    let mut idle_until = Instant::now() + limits.idle_timeout;
    let (mut accepted, mut rejected, mut leaving) = (0, 0, worker.draining());
    if leaving {
        connection.graceful_shutdown();
    }
    loop {
        tokio::select! {
            biased;
            _ = shutdown.changed(), if !leaving => {
                leaving = true;
                connection.graceful_shutdown();
            }
            next = HttpSession::from_h2_conn(&mut connection, digest.clone()) => match next {
                Ok(Some(H2Accept::Session(session))) => {
                    accepted += 1;
                    if accepted >= limits.max_requests && !leaving {
                        leaving = true;
                        connection.graceful_shutdown();
                    }
                    streams.spawn(session, limits.body_timeout, worker);
                }
                Ok(Some(H2Accept::Rejected)) => {
                    rejected += 1;
                    if rejected > MAX_REJECTED {
                        return;
                    }
                }
                Ok(None) | Err(_) => return,
            },
            () = tokio::time::sleep_until(idle_until) => {
                let idle = streams.idle_for();
                if idle < limits.idle_timeout {
                    idle_until = Instant::now() + (limits.idle_timeout - idle);
                } else if leaving {
                    return;
                } else {
                    leaving = true;
                    connection.graceful_shutdown();
                    idle_until = Instant::now() + Duration::from_secs(1);
                }
            }
        }
    }
}

fn options(limits: &ConnectionLimits) -> H2Options {
    let mut options = server::default_h2_options();
    options
        .max_concurrent_streams(limits.max_streams)
        .max_header_list_size(u32::try_from(limits.max_header_size.0).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    options
}

/// The open streams of one connection.
#[derive(Default)]
struct Streams {
    open: AtomicUsize,
    last_end: std::sync::Mutex<Option<Instant>>,
}

impl Streams {
    fn spawn(self: &Arc<Self>, session: HttpSession, body_timeout: Duration, worker: &Arc<Worker>) {
        self.open.fetch_add(1, Ordering::Relaxed);
        let open = OpenStream(self.clone());
        let worker = worker.clone();
        let mut session = ServerSession::new_http2(session);
        session.set_write_timeout(Some(body_timeout));
        tokio::spawn(async move {
            let _open = open;
            worker.proxy().process_new_http(session, worker.shutdown()).await;
        });
    }

    fn idle_for(&self) -> Duration {
        if self.open.load(Ordering::Relaxed) > 0 {
            return Duration::ZERO;
        }
        match *self.last_end.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) {
            Some(end) => end.elapsed(),
            // Nothing ever came.
            None => Duration::MAX,
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
