//! Asks an upstream for the page of an error, as ingress-nginx asks its default backend.
//!
//! ```text
//! GET / · Host, Accept, X-Code, X-Format, X-Original-URI, X-Request-ID, X-Forwarded-* ──► an endpoint ──► status, fields, body
//! ```
//!
//! On the worker's own connections, within a time and a size; what fails costs the client no more than that time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, HOST};
use http::{HeaderName, HeaderValue};
use pingora::connectors::http::Connector;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{Error, ErrorType, OrErr, Result};

use super::own_connector::OwnConnector;
use super::own_exchange::{self, Broken, Exchange, Pool, STALE_ATTEMPTS};
use super::page::Shown;
use crate::proxy::client_address::Client;
use crate::proxy::connection::address_value;
use crate::proxy::request_id::RequestId;
use crate::snapshot::upstream::{Lease, Outcome, PickRequest, Upstream};
use crate::telemetry::metrics::UpstreamMetrics;

/// From the error to the last byte of the page: the client has waited for the error already.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// A page is kept in memory and sent whole.
const SIZE_LIMIT: usize = 1 << 20;

/// Of the page, beside its body.
const FIELDS: [HeaderName; 4] = [CONTENT_TYPE, CONTENT_LANGUAGE, CONTENT_ENCODING, CACHE_CONTROL];

/// One for each worker.
#[derive(Default)]
pub struct Fetcher {
    connector: OwnConnector,
}

pub(super) struct Question<'a> {
    pub upstream: &'a Arc<Upstream>,
    pub metrics: &'a UpstreamMetrics,
    pub path: &'a str,
    /// Fields that say where it went wrong.
    pub told: &'a [(HeaderName, HeaderValue)],
    /// Of the error.
    pub status: u16,
    pub request_id: &'a RequestId,
    pub client: Option<Client>,
}

impl Fetcher {
    pub(super) async fn fetch(&self, question: &Question<'_>, asked: &RequestHeader) -> Option<Shown> {
        let upstream = question.upstream;
        let outcome = match tokio::time::timeout(TIME_LIMIT, self.ask(question, asked)).await {
            Ok(outcome) => outcome,
            Err(_) => Error::e_explain(ErrorType::ReadTimedout, "the time for the page is over"),
        };
        outcome
            .map_err(|error| {
                let upstream = upstream.definition().name.as_str();
                tracing::warn!(upstream, status = question.status, %error, "no page for an error");
            })
            .ok()
    }

    async fn ask(&self, question: &Question<'_>, asked: &RequestHeader) -> Result<Shown> {
        let now = Instant::now();
        let lease = question.upstream.acquire(&PickRequest::at(now), Some(now + TIME_LIMIT)).await;
        let lease = lease.map_err(|error| Error::explain(ErrorType::HTTPStatus(503), error.to_string()))?;
        let request = request(question, asked)?;
        let connector = self.connector.get().await;
        let connector = connector.or_err(ErrorType::InternalError, "cannot connect to upstreams")?;
        for _ in 0..STALE_ATTEMPTS {
            match meet(connector, question, &lease, request.clone()).await {
                Ok(shown) => {
                    let now = Instant::now();
                    lease.report(Outcome::Answered { status: shown.status, latency: None }, now);
                    return Ok(shown);
                }
                Err(broken) if broken.is_stale => {}
                Err(broken) => {
                    lease.report(broken.outcome, Instant::now());
                    return Error::e_explain(ErrorType::ConnectError, broken.reason);
                }
            }
        }
        Error::e_explain(ErrorType::ConnectionClosed, "every pooled connection was closed")
    }
}

async fn meet(
    connector: &Connector,
    question: &Question<'_>,
    lease: &Lease,
    request: RequestHeader,
) -> std::result::Result<Shown, Broken> {
    let host = own_exchange::host_of(&request).to_owned();
    let mut exchange =
        Exchange::open(connector, lease, question.upstream, (&host, Pool::Page), question.metrics).await?;
    match speak(&mut exchange, request).await {
        Ok(shown) => {
            exchange.leave(connector).await;
            Ok(shown)
        }
        Err(error) => Err(exchange.end(&error).await),
    }
}

async fn speak(exchange: &mut Exchange<'_>, request: RequestHeader) -> Result<Shown> {
    exchange.ask(request).await?;
    exchange.finish().await?;
    let head = exchange.answer().await?;
    let body = whole_body(exchange).await?;
    Ok(Shown { status: head.status.as_u16(), fields: fields(&head), body })
}

async fn whole_body(exchange: &mut Exchange<'_>) -> Result<Bytes> {
    let mut body = BytesMut::new();
    while let Some(piece) = exchange.read().await? {
        if body.len() + piece.len() > SIZE_LIMIT {
            return Error::e_explain(ErrorType::InternalError, "the page is larger than 1 MiB");
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

fn fields(head: &ResponseHeader) -> Vec<(HeaderName, HeaderValue)> {
    FIELDS.iter().filter_map(|name| Some((name.clone(), head.headers.get(name)?.clone()))).collect()
}

/// No cookie and no password of the client's: a page is none of their business.
fn request(question: &Question<'_>, asked: &RequestHeader) -> Result<RequestHeader> {
    let mut request = RequestHeader::build("GET", question.path.as_bytes(), Some(8))?;
    let authority = asked.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    let host = asked.headers.get(HOST).cloned().or(authority);
    request.insert_header(HOST, host.unwrap_or(HeaderValue::from_static("localhost")))?;
    if let Some(accept) = asked.headers.get(ACCEPT) {
        request.insert_header(ACCEPT, accept.clone())?;
        request.insert_header("X-Format", accept.clone())?;
    }
    request.insert_header("X-Code", question.status.to_string())?;
    if let Ok(target) = HeaderValue::from_bytes(asked.raw_path()) {
        request.insert_header("X-Original-URI", target)?;
    }
    request.insert_header("X-Request-ID", question.request_id.to_header_value())?;
    for (name, value) in question.told {
        request.insert_header(name, value)?;
    }
    if let Some(client) = question.client {
        request.insert_header("X-Forwarded-For", address_value(client.address))?;
        request.insert_header("X-Forwarded-Proto", client.scheme.as_str())?;
    }
    Ok(request)
}
