//! A question to the service that says who may come in, on the worker's own connections.
//!
//! ```text
//! question ──► endpoint (balanced, bounded) ──► pooled connection, or a new one ──► head, body ──► AuthAnswer
//!    ▲                                            │ stale, or none: elsewhere
//!    └────────────────────────────────────────────┘
//! ```
//!
//! All of it within the filter's timeout. A question has no body and changes nothing: it may be asked twice.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST};
use http::{HeaderMap, Method};
use pingora::connectors::http::Connector;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};

use super::own_connector::OwnConnector;
use super::pooled::{self, Afterwards, Connected, Turn};
use crate::model::{Keepalive, RetryOn};
use crate::proxy::fields::without_port;
use crate::proxy::filters::forward_auth;
use crate::snapshot::forward_auth::{AuthAnswer, ForwardAuth};
use crate::snapshot::upstream::{Lease, Outcome, PickError, PickRequest, Upstream};
use crate::telemetry::record::UpstreamConnection;

/// Idle connections to services, of one worker in all. Endpoints bound their own.
pub const POOL_SIZE: usize = 1024;
/// Idle connections here are not those that requests find.
const OTHER_POOL: u64 = 0x0a17_4007_0a17_4007;
/// Dead connections that one question takes out of the pool before it gives up.
const STALE_ATTEMPTS: u32 = 64;
/// More than any page that says no; of a longer one the connection is not used again.
const LONGEST_BODY: usize = 64 << 10;

/// Why nothing is known.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("there is no such upstream")]
    NoUpstream,
    #[error(transparent)]
    NoPlace(#[from] PickError),
    #[error("no answer within {} ms", .0.as_millis())]
    Slow(Duration),
    #[error("{0}")]
    Broken(String),
    #[error("it answered {0}, which says neither yes nor no")]
    Unclear(u16),
}

/// What is asked, and as whom.
pub struct Question {
    /// Without `Host`.
    pub fields: HeaderMap,
    pub host: http::HeaderValue,
}

/// The answer, and whether the service lets it be kept.
pub async fn ask(
    connector: &OwnConnector,
    auth: &ForwardAuth,
    question: &Question,
) -> Result<(AuthAnswer, bool), Failure> {
    let timeout = auth.definition().timeout;
    // Made once: the service has no part in how long that takes.
    let connector = connector.get().await.map_err(|_| Failure::Broken("no connection can be made".into()))?;
    let begun = Instant::now();
    let exchange = async {
        let upstream = auth.upstream.as_ref().ok_or(Failure::NoUpstream)?;
        let (head, body) = exchange(connector, auth, upstream, question, begun).await?;
        let status = head.status.as_u16();
        let answer = forward_auth::read(auth, status, &head.headers, body).ok_or(Failure::Unclear(status))?;
        Ok((answer, forward_auth::may_be_kept(&head.headers)))
    };
    let answered = tokio::time::timeout(timeout, exchange).await.unwrap_or(Err(Failure::Slow(timeout)));
    auth.metrics.duration.observe(begun.elapsed());
    answered
}

async fn exchange(
    connector: &Connector,
    auth: &ForwardAuth,
    upstream: &std::sync::Arc<Upstream>,
    question: &Question,
    begun: Instant,
) -> Result<(ResponseHeader, Bytes), Failure> {
    let definition = upstream.definition();
    let deadline = begun + auth.definition().timeout;
    let (mut tried, mut attempts, mut stale): (Vec<SocketAddr>, u32, u32) = (Vec::new(), 0, 0);
    upstream.note_request(begun);
    loop {
        let pick = PickRequest { exclude: &tried, ..PickRequest::at(Instant::now()) };
        let lease = upstream.acquire(&pick, Some(deadline)).await?;
        let attempt = Attempt::new(auth, &lease, question, &definition.keepalive, deadline);
        let failed = match attempt.run(connector).await {
            Ok(answer) => return Ok(answer),
            Err(failed) => failed,
        };
        if failed.is_stale {
            stale += 1;
            if stale < STALE_ATTEMPTS {
                continue;
            }
        }
        attempts += 1;
        lease.report(failed.outcome, Instant::now());
        let condition = match failed.outcome {
            Outcome::ConnectFailed => RetryOn::Connect,
            Outcome::TimedOut => RetryOn::Timeout,
            Outcome::Reset | Outcome::Answered { .. } => RetryOn::Reset,
        };
        let may_retry = definition.retry.on.contains(&condition)
            && attempts < definition.retry.attempts.get()
            && (condition == RetryOn::Connect || upstream.may_retry(Instant::now(), definition.retry.budget));
        if !may_retry {
            return Err(Failure::Broken(failed.reason));
        }
        auth.upstream_metrics.retried();
        tried.push(lease.endpoint().address);
    }
}

struct Failed {
    /// A pooled connection that the service closed while it was idle says nothing of the service.
    is_stale: bool,
    outcome: Outcome,
    reason: String,
}

/// At one endpoint. Where it is cut short for want of time, the endpoint is to blame.
struct Attempt<'a> {
    deadline: Instant,
    is_over: bool,
    auth: &'a ForwardAuth,
    lease: &'a Lease,
    question: &'a Question,
    keepalive: &'a Keepalive,
    peer: Box<HttpPeer>,
    afterwards: Afterwards,
}

impl<'a> Attempt<'a> {
    fn new(
        auth: &'a ForwardAuth,
        lease: &'a Lease,
        question: &'a Question,
        keepalive: &'a Keepalive,
        deadline: Instant,
    ) -> Self {
        let host = question.host.to_str().unwrap_or_default();
        let mut peer = lease.endpoint().peer(without_port(host));
        let afterwards = pooled::decide(&mut peer, keepalive, pool_of(lease));
        Self { deadline, is_over: false, auth, lease, question, keepalive, peer, afterwards }
    }

    async fn run(mut self, connector: &Connector) -> Result<(ResponseHeader, Bytes), Failed> {
        let outcome = self.meet(connector).await;
        self.is_over = true;
        outcome
    }

    async fn meet(&self, connector: &Connector) -> Result<(ResponseHeader, Bytes), Failed> {
        let begun = Instant::now();
        let (mut session, reused) = connector.get_http_session(&*self.peer).await.map_err(|error| Failed {
            is_stale: false,
            outcome: Outcome::ConnectFailed,
            reason: in_words(&error),
        })?;
        let origin = if reused { Connected::FromPool } else { Connected::Anew };
        self.auth.upstream_metrics.connected(match origin {
            Connected::Anew => UpstreamConnection::New { took: begun.elapsed() },
            Connected::FromPool => UpstreamConnection::Reused,
        });
        session.set_read_timeout(self.peer.options.read_timeout);
        session.set_write_timeout(self.peer.options.write_timeout);
        let (socket, sent) = (socket_of(&session), Instant::now());
        match self.speak(&mut session, socket, origin).await {
            Ok((head, body)) => {
                let status = head.status.as_u16();
                self.lease.report(Outcome::Answered { status, latency: Some(sent.elapsed()) }, Instant::now());
                if let Some(body) = body {
                    self.leave(connector, session, socket).await;
                    return Ok((head, body));
                }
                session.shutdown().await;
                Ok((head, Bytes::new()))
            }
            Err(error) => {
                session.shutdown().await;
                let timed_out = matches!(error.etype(), ErrorType::ReadTimedout | ErrorType::WriteTimedout);
                let outcome = if timed_out { Outcome::TimedOut } else { Outcome::Reset };
                Err(Failed { is_stale: reused && !timed_out, outcome, reason: in_words(&error) })
            }
        }
    }

    /// The answer; no body where it was longer than is read.
    async fn speak(
        &self,
        session: &mut HttpSession,
        socket: Option<i32>,
        origin: Connected,
    ) -> pingora::Result<(ResponseHeader, Option<Bytes>)> {
        let mut turn = Turn::Any;
        if let Some(socket) = socket {
            pooled::taken(pool_of(self.lease), socket, origin);
            let protocol = self.auth.upstream.as_ref().map(|upstream| upstream.definition().protocol);
            if let Some(protocol) = protocol {
                turn = pooled::take_turn(self.keepalive, protocol, socket, session.digest(), origin)?;
            }
        }
        session.write_request_header(Box::new(self.head(turn)?)).await?;
        session.finish_request_body().await?;
        let head = loop {
            session.read_response_header().await?;
            match session.response_header() {
                Some(head) if head.status.is_informational() => {}
                Some(head) => break head.clone(),
                None => return Err(Error::explain(ErrorType::InvalidHTTPHeader, "the answer has no head")),
            }
        };
        let mut body = BytesMut::new();
        while let Some(piece) = session.read_response_body().await? {
            if body.len() + piece.len() > LONGEST_BODY {
                return Ok((head, None));
            }
            body.extend_from_slice(&piece);
        }
        Ok((head, Some(body.freeze())))
    }

    fn head(&self, turn: Turn) -> pingora::Result<RequestHeader> {
        let target = self.auth.definition().service.target.as_bytes();
        let mut head = RequestHeader::build(self.auth.method.clone(), target, None)?;
        for (name, value) in &self.question.fields {
            head.append_header(name.clone(), value.clone())?;
        }
        head.insert_header(HOST, self.question.host.clone())?;
        if !matches!(self.auth.method, Method::GET | Method::HEAD) {
            head.insert_header(CONTENT_LENGTH, "0")?;
        }
        if turn == Turn::Last {
            head.insert_header(CONNECTION, "close")?;
        }
        Ok(head)
    }

    async fn leave(&self, connector: &Connector, session: HttpSession, socket: Option<i32>) {
        if let Some(socket) = socket {
            pooled::left(pool_of(self.lease), socket, self.afterwards);
        }
        connector.release_http_session(session, &*self.peer, self.peer.options.idle_timeout).await;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        // Sooner it is the client that has left.
        if !self.is_over && now >= self.deadline {
            self.lease.report(Outcome::TimedOut, now);
        }
    }
}

fn pool_of(lease: &Lease) -> u64 {
    lease.endpoint().pool() ^ OTHER_POOL
}

/// None where several share one.
fn socket_of(session: &HttpSession) -> Option<i32> {
    session.stream().map(|stream| stream.id())
}

fn in_words(error: &Error) -> String {
    match error.root_etype() {
        ErrorType::ConnectRefused => "connection refused".into(),
        ErrorType::ConnectTimedout => "no connection in time".into(),
        ErrorType::ConnectionClosed => "the connection was closed before the answer was complete".into(),
        other => format!("{}: {}", other.as_str(), error.root_cause()),
    }
}
