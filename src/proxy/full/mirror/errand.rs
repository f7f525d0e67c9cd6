//! A copy on its way: a task of the worker's, on the worker's own connections.
//!
//! ```text
//! (first piece of the body) ──► endpoint ──► connection ──► head, body ──► answer, read and dropped ──► counted
//! ```
//!
//! Bounded: by the client while it sends, then by the upstream's timeouts and the filter's. Nothing is tried again, but what met a
//! connection that was dead already.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use http::header::HOST;
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;

use super::super::own_connector::OwnConnector;
use super::super::own_exchange::{self, Broken, Exchange, Pool, STALE_ATTEMPTS};
use super::feed::Body;
use crate::proxy::affinity::Affinity;
use crate::snapshot::mirror::Mirror;
use crate::snapshot::outage::Asked;
use crate::snapshot::upstream::{Lease, Outcome, PickError, PickRequest};
use crate::telemetry::metrics::{MirrorOutcome, MirrorPlace};

pub struct Errand {
    pub connector: Arc<OwnConnector>,
    pub mirror: Arc<Mirror>,
    pub affinity: Affinity,
    pub head: RequestHeader,
    pub place: MirrorPlace,
    /// Where it is sent.
    pub body: Option<Body>,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no connection can be made")]
    NoConnector,
    #[error(transparent)]
    NoPlace(#[from] PickError),
    #[error("{0}")]
    Broken(String),
}

impl Errand {
    /// Where it is ended from outside, its place says that it was abandoned.
    pub async fn run(mut self) {
        if let Some(body) = &mut self.body {
            // No endpoint is kept waiting for a client that has sent nothing yet.
            body.begun().await;
        }
        let begun = Instant::now();
        let outcome = self.deliver().await;
        let (upstream, filter) = (&self.mirror.definition().upstream, &self.mirror.definition().place);
        match outcome {
            Ok(()) => {
                self.place.outcome = MirrorOutcome::Answered;
                self.mirror.metrics.duration.observe(begun.elapsed());
                if self.mirror.outage.note(Asked::Answered, Instant::now()) {
                    tracing::info!(%filter, %upstream, "a shadow answers again");
                }
            }
            Err(failure) => {
                self.place.outcome = MirrorOutcome::Failed;
                match self.mirror.outage.note(Asked::Failed, Instant::now()) {
                    true => tracing::warn!(%filter, %upstream, error = %failure, "a shadow misses requests"),
                    false => tracing::debug!(%filter, %upstream, error = %failure, "a shadow misses a request"),
                }
            }
        }
    }

    async fn deliver(&mut self) -> Result<(), Failure> {
        let connector = self.connector.clone();
        let connector = connector.get().await.map_err(|_| Failure::NoConnector)?;
        let now = Instant::now();
        let (key, sticky) = (self.affinity.key, self.affinity.sticky.as_deref());
        let pick = PickRequest { key, sticky, ..PickRequest::at(now) };
        let lease = self.mirror.upstream.acquire(&pick, Some(now + self.mirror.definition().timeout)).await?;
        if !self.head.headers.contains_key(HOST)
            && let Ok(address) = HeaderValue::try_from(lease.endpoint().address.to_string())
        {
            // HTTP/1.0 needs no Host; the HTTP/1.1 that we speak does (RFC 9112 §3.2).
            let _ = self.head.insert_header(HOST, address);
        }
        for _ in 0..STALE_ATTEMPTS {
            match self.meet(connector, &lease).await {
                Ok(()) => return Ok(()),
                Err(broken) if broken.is_stale && self.body.as_mut().is_none_or(Body::rewind) => {}
                Err(broken) => {
                    lease.report(broken.outcome, Instant::now());
                    return Err(Failure::Broken(broken.reason));
                }
            }
        }
        Err(Failure::Broken("every pooled connection was closed".into()))
    }

    async fn meet(&mut self, connector: &Connector, lease: &Lease) -> Result<(), Broken> {
        let mirror = self.mirror.clone();
        let (upstream, metrics) = (&mirror.upstream, &mirror.upstream_metrics);
        let host = own_exchange::host_of(&self.head).to_owned();
        let mut exchange = Exchange::open(connector, lease, upstream, (&host, Pool::Mirror), metrics).await?;
        if let Err(error) = self.tell(&mut exchange).await {
            // Who has seen enough says so, and hears no more.
            let patience = Self::PATIENCE_AFTER_FAILURE;
            let Ok(Ok(head)) = tokio::time::timeout(patience, exchange.answer()).await else {
                return Err(exchange.end(&error).await);
            };
            lease.report(Outcome::Answered { status: head.status.as_u16(), latency: None }, Instant::now());
            exchange.hang_up().await;
            return Ok(());
        }
        self.hear(exchange, connector, lease).await
    }

    const PATIENCE_AFTER_FAILURE: Duration = Duration::from_millis(100);

    async fn tell(&mut self, exchange: &mut Exchange<'_>) -> pingora::Result<()> {
        exchange.ask(self.head.clone()).await?;
        if let Some(body) = &mut self.body {
            while let Some(piece) = body.next().await {
                exchange.send(piece).await?;
            }
        }
        exchange.finish().await
    }

    /// Of an answer that is longer than there is time for, the rest is not read.
    async fn hear(&self, mut exchange: Exchange<'_>, connector: &Connector, lease: &Lease) -> Result<(), Broken> {
        let (sent, timeout) = (Instant::now(), self.mirror.definition().timeout);
        let until = tokio::time::Instant::from_std(sent + timeout);
        let head = match tokio::time::timeout_at(until, exchange.answer()).await {
            Ok(Ok(head)) => head,
            Ok(Err(error)) => return Err(exchange.end(&error).await),
            Err(_) => {
                exchange.hang_up().await;
                let reason = format!("no answer within {} ms", timeout.as_millis());
                return Err(Broken { is_stale: false, outcome: Outcome::TimedOut, reason });
            }
        };
        let status = head.status.as_u16();
        lease.report(Outcome::Answered { status, latency: Some(sent.elapsed()) }, Instant::now());
        let is_whole = loop {
            match tokio::time::timeout_at(until, exchange.read()).await {
                Ok(Ok(Some(_))) => {}
                Ok(Ok(None)) => break true,
                Ok(Err(_)) | Err(_) => break false,
            }
        };
        match is_whole {
            true => exchange.leave(connector).await,
            false => exchange.hang_up().await,
        }
        Ok(())
    }
}
