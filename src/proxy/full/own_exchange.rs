//! An exchange of a worker's own with an endpoint: on a pooled connection or a new one, in HTTP/1 or HTTP/2, counted as requests' are.
//!
//! ```text
//! lease ──open──► connection ──ask, send──► ──answer, body──► leave: into the pool
//!                     └──────────────┴─────────┴───► Broken: stale, or the endpoint's fault
//! ```

use std::os::fd::RawFd;
use std::time::Instant;

use bytes::Bytes;
use http::Uri;
use http::header::{CONNECTION, HOST, TE, TRANSFER_ENCODING};
use pingora::connectors::http::Connector;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, OrErr, Result};

use super::pooled::{self, Afterwards, Connected, Turn};
use crate::proxy::fields::without_port;
use crate::snapshot::upstream::{Lease, Outcome, Upstream};
use crate::telemetry::metrics::UpstreamMetrics;
use crate::telemetry::record::UpstreamConnection;

/// Dead connections that one exchange takes out of the pool before it gives up.
pub const STALE_ATTEMPTS: u32 = 64;

/// Idle connections of each are found by nobody else.
#[derive(Clone, Copy)]
pub enum Pool {
    Auth,
    Mirror,
    Page,
}

impl Pool {
    fn at(self, lease: &Lease) -> u64 {
        lease.endpoint().pool()
            ^ match self {
                Pool::Auth => 0x0a17_4007_0a17_4007,
                Pool::Mirror => 0x5bad_0e55_5bad_0e55,
                Pool::Page => 0x0e44_0404_0e44_0404,
            }
    }
}

pub struct Exchange<'a> {
    upstream: &'a Upstream,
    session: HttpSession,
    peer: Box<HttpPeer>,
    pool: u64,
    /// None where several requests share one.
    socket: Option<RawFd>,
    afterwards: Afterwards,
    origin: Connected,
    turn: Turn,
}

/// Why there was no answer.
pub struct Broken {
    /// A pooled connection that the endpoint closed while it was idle says nothing of the endpoint.
    pub is_stale: bool,
    pub outcome: Outcome,
    pub reason: String,
}

impl<'a> Exchange<'a> {
    /// `host`: of the request, for TLS where nothing else gives a name.
    pub async fn open(
        connector: &Connector,
        lease: &Lease,
        upstream: &'a Upstream,
        (host, pool): (&str, Pool),
        metrics: &UpstreamMetrics,
    ) -> Result<Self, Broken> {
        let begun = Instant::now();
        let keepalive = &upstream.definition().keepalive;
        let mut peer = lease.endpoint().peer(without_port(host));
        let pool = pool.at(lease);
        let afterwards = pooled::decide(&mut peer, keepalive, pool);
        let (mut session, reused) = connector.get_http_session(&*peer).await.map_err(|error| Broken {
            is_stale: false,
            outcome: Outcome::ConnectFailed,
            reason: in_words(&error),
        })?;
        let origin = if reused { Connected::FromPool } else { Connected::Anew };
        metrics.connected(match origin {
            Connected::Anew => UpstreamConnection::New { took: begun.elapsed() },
            Connected::FromPool => UpstreamConnection::Reused,
        });
        session.set_read_timeout(peer.options.read_timeout);
        session.set_write_timeout(peer.options.write_timeout);
        let socket = session.stream().map(|stream| stream.id());
        let mut exchange = Self { upstream, session, peer, pool, socket, afterwards, origin, turn: Turn::Any };
        match exchange.take_turn() {
            Ok(turn) => exchange.turn = turn,
            Err(error) => return Err(exchange.end(&error).await),
        }
        Ok(exchange)
    }

    fn take_turn(&self) -> Result<Turn> {
        let Some(socket) = self.socket else { return Ok(Turn::Any) };
        pooled::taken(self.pool, socket, self.origin);
        let definition = self.upstream.definition();
        pooled::take_turn(&definition.keepalive, definition.protocol, socket, self.session.digest(), self.origin)
    }

    /// Sends the head, in the form that the connection speaks.
    pub async fn ask(&mut self, mut head: RequestHeader) -> Result<()> {
        if self.session.as_http2().is_some() {
            speak_http2(&mut head, self.upstream)?;
        } else {
            head.remove_header(&TE);
            if self.turn == Turn::Last {
                head.insert_header(CONNECTION, "close")?;
            }
        }
        self.session.write_request_header(Box::new(head)).await
    }

    pub async fn send(&mut self, piece: Bytes) -> Result<()> {
        self.session.write_request_body(piece, false).await
    }

    pub async fn finish(&mut self) -> Result<()> {
        self.session.finish_request_body().await
    }

    /// The head of the answer, whatever came before it.
    pub async fn answer(&mut self) -> Result<ResponseHeader> {
        loop {
            self.session.read_response_header().await?;
            match self.session.response_header() {
                Some(head) if head.status.is_informational() => {}
                Some(head) => return Ok(head.clone()),
                None => return Err(Error::explain(ErrorType::InvalidHTTPHeader, "the answer has no head")),
            }
        }
    }

    pub async fn read(&mut self) -> Result<Option<Bytes>> {
        self.session.read_response_body().await
    }

    /// The answer is whole: the connection may be used again.
    pub async fn leave(self, connector: &Connector) {
        if let Some(socket) = self.socket {
            pooled::left(self.pool, socket, self.afterwards);
        }
        connector.release_http_session(self.session, &*self.peer, self.peer.options.idle_timeout).await;
    }

    pub async fn hang_up(mut self) {
        self.session.shutdown().await;
    }

    /// It has failed.
    pub async fn end(self, error: &Error) -> Broken {
        let timed_out = matches!(error.etype(), ErrorType::ReadTimedout | ErrorType::WriteTimedout);
        let is_stale = self.origin == Connected::FromPool && !timed_out;
        self.hang_up().await;
        let outcome = if timed_out { Outcome::TimedOut } else { Outcome::Reset };
        Broken { is_stale, outcome, reason: in_words(error) }
    }
}

fn speak_http2(head: &mut RequestHeader, upstream: &Upstream) -> Result<()> {
    let scheme = if upstream.definition().tls.is_some() { "https" } else { "http" };
    let host = host_of(head);
    let uri: Uri = format!("{scheme}://{host}{}", String::from_utf8_lossy(head.raw_path()))
        .parse()
        .or_err(ErrorType::InvalidHTTPHeader, "a URL that HTTP/2 cannot have")?;
    for name in [HOST, TRANSFER_ENCODING, CONNECTION] {
        head.remove_header(&name);
    }
    head.set_uri(uri);
    head.set_version(http::Version::HTTP_2);
    Ok(())
}

pub fn host_of(head: &RequestHeader) -> &str {
    head.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default()
}

fn in_words(error: &Error) -> String {
    match error.root_etype() {
        ErrorType::ConnectRefused => "connection refused".into(),
        ErrorType::ConnectTimedout => "no connection in time".into(),
        ErrorType::ConnectionClosed => "the connection was closed before the answer was complete".into(),
        other => format!("{}: {}", other.as_str(), error.root_cause()),
    }
}
