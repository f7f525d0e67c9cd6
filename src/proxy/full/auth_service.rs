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
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderMap, Method};
use pingora::connectors::http::Connector;
use pingora::http::{RequestHeader, ResponseHeader};

use super::own_connector::OwnConnector;
use super::own_exchange::{Broken, Exchange, Pool, STALE_ATTEMPTS};
use crate::model::RetryOn;
use crate::proxy::filters::forward_auth;
use crate::snapshot::forward_auth::{AuthAnswer, ForwardAuth};
use crate::snapshot::upstream::{Lease, Outcome, PickError, PickRequest, Upstream};

/// Idle connections to services, of one worker in all. Endpoints bound their own.
pub const POOL_SIZE: usize = 1024;
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
        let attempt = Attempt { deadline, is_over: false, auth, upstream, lease: &lease, question };
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
            Outcome::Reset | Outcome::Answered { .. } | Outcome::Connected { .. } => RetryOn::Reset,
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

/// At one endpoint. Where it is cut short for want of time, the endpoint is to blame.
struct Attempt<'a> {
    deadline: Instant,
    is_over: bool,
    auth: &'a ForwardAuth,
    upstream: &'a Upstream,
    lease: &'a Lease,
    question: &'a Question,
}

impl Attempt<'_> {
    async fn run(mut self, connector: &Connector) -> Result<(ResponseHeader, Bytes), Broken> {
        let outcome = self.meet(connector).await;
        self.is_over = true;
        outcome
    }

    async fn meet(&self, connector: &Connector) -> Result<(ResponseHeader, Bytes), Broken> {
        let name = self.question.host.to_str().unwrap_or_default();
        let metrics = &self.auth.upstream_metrics;
        let mut exchange = Exchange::open(connector, self.lease, self.upstream, (name, Pool::Auth), metrics).await?;
        let sent = Instant::now();
        match self.speak(&mut exchange).await {
            Ok((head, body)) => {
                let status = head.status.as_u16();
                self.lease.report(Outcome::Answered { status, latency: Some(sent.elapsed()) }, Instant::now());
                match &body {
                    Some(_) => exchange.leave(connector).await,
                    None => exchange.hang_up().await,
                }
                Ok((head, body.unwrap_or_default()))
            }
            Err(error) => Err(exchange.end(&error).await),
        }
    }

    /// The answer; no body where it was longer than is read.
    async fn speak(&self, exchange: &mut Exchange<'_>) -> pingora::Result<(ResponseHeader, Option<Bytes>)> {
        exchange.ask(self.head()?).await?;
        exchange.finish().await?;
        let head = exchange.answer().await?;
        let mut body = BytesMut::new();
        while let Some(piece) = exchange.read().await? {
            if body.len() + piece.len() > LONGEST_BODY {
                return Ok((head, None));
            }
            body.extend_from_slice(&piece);
        }
        Ok((head, Some(body.freeze())))
    }

    fn head(&self) -> pingora::Result<RequestHeader> {
        let target = self.auth.definition().service.target.as_bytes();
        let mut head = RequestHeader::build(self.auth.method.clone(), target, None)?;
        for (name, value) in &self.question.fields {
            head.append_header(name.clone(), value.clone())?;
        }
        head.insert_header(HOST, self.question.host.clone())?;
        if !matches!(self.auth.method, Method::GET | Method::HEAD) {
            head.insert_header(CONTENT_LENGTH, "0")?;
        }
        Ok(head)
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
