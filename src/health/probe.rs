//! The probes themselves, over the upstream's own TLS and protocol.
//!
//! ```text
//! Endpoint::peer ──(own port)──► connect ──► HTTP: request, status, body
//!                                        ├─► TCP: nothing more
//!                                        └─► gRPC: `grpc`
//! ```
//!
//! Each probe opens a connection of its own and closes it: an endpoint that accepts none is not healthy.

use std::sync::Arc;

use async_trait::async_trait;
use pingora::connectors::TransportConnector;
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};

use super::{Check, grpc};
use crate::model::{self, HttpProbe, Probe, StatusRange};
use crate::snapshot::upstream::Endpoint;

/// How much of a body is looked at.
const BODY_LIMIT: usize = 64 << 10;

/// What the origin's access log shows.
const USER_AGENT: &str = concat!("weir/", env!("CARGO_PKG_VERSION"), " (health check)");

/// Probes for real. One is enough for the process: it holds the system's roots.
pub struct Prober {
    http: Connector,
    transport: TransportConnector,
}

impl Prober {
    /// Panics where `SSL_CERT_FILE` names a file that isn't there, as Pingora's connectors do.
    pub fn new() -> Self {
        Self { http: Connector::new(None), transport: TransportConnector::new(None) }
    }
}

impl Default for Prober {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Check for Prober {
    async fn check(&self, endpoint: &Endpoint, check: &model::HealthCheck) -> Result<(), Arc<str>> {
        let verdict = match &check.probe {
            Probe::Http(http) => self.http(endpoint, check, http).await,
            Probe::Tcp => self.tcp(endpoint, check).await,
            Probe::Grpc { service } => grpc::probe(&self.http, peer(endpoint, check, ""), service).await,
        };
        verdict.map_err(Arc::from)
    }
}

impl Prober {
    async fn tcp(&self, endpoint: &Endpoint, check: &model::HealthCheck) -> Result<(), String> {
        self.transport.new_stream(&*peer(endpoint, check, "")).await.map(drop).map_err(in_words)
    }

    async fn http(&self, endpoint: &Endpoint, check: &model::HealthCheck, probe: &HttpProbe) -> Result<(), String> {
        let peer = peer(endpoint, check, probe.host.as_deref().map(without_port).unwrap_or_default());
        let host = probe.host.as_deref().map_or_else(|| peer._address.to_string(), str::to_owned);
        let mut request =
            RequestHeader::build(probe.method.as_bytes(), probe.path.as_bytes(), None).map_err(in_words)?;
        request.insert_header("host", host).map_err(in_words)?;
        request.insert_header("user-agent", USER_AGENT).map_err(in_words)?;

        let (mut session, _) = self.http.get_http_session(&*peer).await.map_err(in_words)?;
        if matches!(session, HttpSession::H1(_)) {
            request.insert_header("connection", "close").map_err(in_words)?;
        }
        session.write_request_header(Box::new(request)).await.map_err(in_words)?;
        session.finish_request_body().await.map_err(in_words)?;
        let status = final_status(&mut session).await?;
        if !probe.status.iter().any(|range| range.contains(status)) {
            return Err(format!("answered {status}, expected {}", listed(&probe.status)));
        }
        match &probe.body {
            None => Ok(()),
            Some(pattern) => {
                let body = body(&mut session).await?;
                match pattern.is_match(&String::from_utf8_lossy(&body)) {
                    true => Ok(()),
                    false => Err(format!("answered {status}, but its body does not match {pattern:?}")),
                }
            }
        }
    }
}

/// The endpoint as the health check reaches it.
fn peer(endpoint: &Endpoint, check: &model::HealthCheck, host: &str) -> Box<HttpPeer> {
    let mut peer = endpoint.peer(host);
    if let Some(port) = check.port {
        let mut address = endpoint.address;
        address.set_port(port);
        peer._address = address.into();
    }
    // A connection that allows one stream is not kept for the next probe.
    peer.options.max_h2_streams = 1;
    peer
}

/// Skips 1xx.
async fn final_status(session: &mut HttpSession) -> Result<u16, String> {
    loop {
        session.read_response_header().await.map_err(in_words)?;
        match session.response_header().map(|header| header.status.as_u16()) {
            Some(100..=199) => {}
            Some(status) => return Ok(status),
            None => return Err("the answer has no head".into()),
        }
    }
}

async fn body(session: &mut HttpSession) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while body.len() < BODY_LIMIT {
        match session.read_response_body().await.map_err(in_words)? {
            Some(piece) => body.extend_from_slice(&piece[..piece.len().min(BODY_LIMIT - body.len())]),
            None => break,
        }
    }
    Ok(body)
}

/// What went wrong, for people: Pingora's types where they say it, else the cause at the bottom.
#[expect(clippy::boxed_local, reason = "Pingora's errors come boxed, and map_err hands them over whole")]
pub(super) fn in_words(error: Box<Error>) -> String {
    let cause = || error.root_cause().to_string();
    match error.root_etype() {
        ErrorType::ConnectRefused => "connection refused".into(),
        ErrorType::ConnectNoRoute => "no route to the address".into(),
        ErrorType::ConnectTimedout => "no connection in time".into(),
        ErrorType::ConnectionClosed => "the connection was closed before the answer was complete".into(),
        ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert => format!("TLS failed: {}", cause()),
        other => format!("{}: {}", other.as_str(), cause()),
    }
}

fn listed(ranges: &[StatusRange]) -> String {
    let one = |range: &StatusRange| match range.from == range.to {
        true => range.from.to_string(),
        false => format!("{}-{}", range.from, range.to),
    };
    ranges.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.ends_with(':') && port.bytes().all(|b| b.is_ascii_digit()) => name,
        Some(_) | None => host,
    }
}
