//! Requests of the control plane's own: to ACME authorities, DNS APIs and whoever else configuration names.
//!
//! ```text
//! request ──► HttpClient { roots, time limit, size limit } ──► whole answer
//! ```
//!
//! For few and small exchanges. Requests of clients never come here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

/// For a whole exchange, connecting included.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// Directories, chains and API answers take a few KiB; more is something else.
const SIZE_LIMIT: usize = 1 << 20;

/// Cheap to clone: clones share connections.
#[derive(Clone)]
pub struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    time_limit: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// In words, with the innermost cause.
    #[error("{0}")]
    Connection(String),
    #[error("no answer within {} s", .0.as_secs())]
    Slow(Duration),
    #[error("the answer is longer than {SIZE_LIMIT} bytes, or was cut short: {0}")]
    Body(String),
}

impl HttpClient {
    /// Trusts the system's roots and these.
    pub fn new(extra_roots: &[CertificateDer<'static>]) -> Result<Self, rustls::Error> {
        Self::with_roots(roots(extra_roots))
    }

    /// Trusts these roots alone.
    pub fn trusting(only: &[CertificateDer<'static>]) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        only.iter().try_for_each(|root| roots.add(root.clone()))?;
        Self::with_roots(Arc::new(roots))
    }

    fn with_roots(roots: Arc<RootCertStore>) -> Result<Self, rustls::Error> {
        let provider = crate::tls::provider();
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector), time_limit: TIME_LIMIT })
    }

    pub fn with_time_limit(self, time_limit: Duration) -> Self {
        Self { time_limit, ..self }
    }

    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let exchange = async {
            let answer = self.client.request(request.map(Full::new)).await;
            let (head, body) = answer.map_err(|error| HttpError::Connection(innermost(&error)))?.into_parts();
            let body = Limited::new(body, SIZE_LIMIT).collect().await;
            let body = body.map_err(|error| HttpError::Body(error.to_string()))?.to_bytes();
            Ok(Response::from_parts(head, body))
        };
        tokio::time::timeout(self.time_limit, exchange).await.unwrap_or(Err(HttpError::Slow(self.time_limit)))
    }
}

/// What a system without roots leaves out, the request's error tells.
fn roots(extra: &[CertificateDer<'static>]) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().unwrap_or_default());
    roots.add_parsable_certificates(extra.iter().cloned());
    Arc::new(roots)
}

/// Hyper wraps causes several times over, and says of each only that it is one.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
