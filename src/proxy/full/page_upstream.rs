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
use http::{HeaderName, HeaderValue, Uri};
use pingora::connectors::http::Connector;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, OrErr, Result};

use super::own_connector::OwnConnector;
use super::page::Shown;
use crate::proxy::client_address::Client;
use crate::proxy::connection::address_value;
use crate::proxy::fields::without_port;
use crate::proxy::request_id::RequestId;
use crate::snapshot::upstream::{Outcome, PickRequest, Upstream};

/// From the error to the last byte of the page: the client has waited for the error already.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// A page is kept in memory and sent whole.
const SIZE_LIMIT: usize = 1 << 20;
/// Pooled connections that turn out to be closed.
const STALE_ATTEMPTS: usize = 4;

/// Of the page, beside its body.
const FIELDS: [HeaderName; 4] = [CONTENT_TYPE, CONTENT_LANGUAGE, CONTENT_ENCODING, CACHE_CONTROL];

/// One for each worker.
#[derive(Default)]
pub struct Fetcher {
    connector: OwnConnector,
}

pub(super) struct Question<'a> {
    pub upstream: &'a Arc<Upstream>,
    pub path: &'a str,
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
        let peer = lease.endpoint().peer(without_port(host_of(&request)));
        let connector = self.connector.get().await;
        let connector = connector.or_err(ErrorType::InternalError, "cannot connect to upstreams")?;
        for _ in 0..STALE_ATTEMPTS {
            let (session, is_reused) = match connector.get_http_session(&*peer).await {
                Ok(connected) => connected,
                Err(error) => {
                    lease.report(Outcome::ConnectFailed, Instant::now());
                    return Err(error);
                }
            };
            match exchange(connector, session, &peer, request.clone(), question.upstream).await {
                Ok(shown) => {
                    let now = Instant::now();
                    lease.report(Outcome::Answered { status: shown.status, latency: None }, now);
                    return Ok(shown);
                }
                Err(_) if is_reused => {}
                Err(error) => {
                    lease.report(Outcome::Reset, Instant::now());
                    return Err(error);
                }
            }
        }
        Error::e_explain(ErrorType::ConnectionClosed, "every pooled connection was closed")
    }
}

async fn exchange(
    connector: &Connector,
    mut session: HttpSession,
    peer: &HttpPeer,
    mut request: RequestHeader,
    upstream: &Upstream,
) -> Result<Shown> {
    let timeouts = &upstream.definition().timeouts;
    session.set_read_timeout(Some(timeouts.read));
    session.set_write_timeout(Some(timeouts.write));
    if session.as_http2().is_some() {
        speak_http2(&mut request, upstream)?;
    }
    session.write_request_header(Box::new(request)).await?;
    session.finish_request_body().await?;
    session.read_response_header().await?;
    while session.response_header().is_some_and(|head| head.status.is_informational()) {
        session.read_response_header().await?;
    }
    let head = session.response_header().cloned();
    let head = head.ok_or_else(|| Error::explain(ErrorType::InvalidHTTPHeader, "an answer without a head"))?;
    let body = whole_body(&mut session).await?;
    let idle = Some(upstream.definition().keepalive.idle_timeout);
    connector.release_http_session(session, peer, idle).await;
    Ok(Shown { status: head.status.as_u16(), fields: fields(&head), body })
}

async fn whole_body(session: &mut HttpSession) -> Result<Bytes> {
    let mut body = BytesMut::new();
    while let Some(piece) = session.read_response_body().await? {
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
    if let Some(client) = question.client {
        request.insert_header("X-Forwarded-For", address_value(client.address))?;
        request.insert_header("X-Forwarded-Proto", client.scheme.as_str())?;
    }
    Ok(request)
}

fn host_of(request: &RequestHeader) -> &str {
    request.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default()
}

fn speak_http2(request: &mut RequestHeader, upstream: &Upstream) -> Result<()> {
    let scheme = if upstream.definition().tls.is_some() { "https" } else { "http" };
    let host = host_of(request);
    let uri: Uri = format!("{scheme}://{host}{}", String::from_utf8_lossy(request.raw_path()))
        .parse()
        .or_err(ErrorType::InternalError, "the URL of a page")?;
    request.remove_header(&HOST);
    request.set_uri(uri);
    request.set_version(http::Version::HTTP_2);
    Ok(())
}
