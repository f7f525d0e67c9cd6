//! The webhook's sockets: HTTP/1.1 over TLS, a connection for as long as the API server keeps it.
//!
//! ```text
//! accept ──► TLS ──► read a request ──► judge (a thread that may take its time) ──► answer ──► read the next
//! stop: what is asked is answered, and nothing more is read
//! ```

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::connection::TlsConnection;
use super::identity::Shown;

/// What ingress-nginx's webhook is asked at: manifests carry over.
const PATH: &str = "/networking/v1/ingresses";

/// An API server keeps few; more wait in the kernel's queue. Each may hold a body.
const MAX_CONNECTIONS: usize = 32;
/// An object may have 1.5 MiB in etcd, and an update sends the old one along.
const MAX_BODY: usize = 8 << 20;
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// For one request and its answer: API servers wait for ten seconds unless they are told otherwise, thirty at most.
const EXCHANGE_LIMIT: Duration = Duration::from_secs(30);
/// Between requests. API servers keep idle connections for 90 s.
const IDLE_LIMIT: Duration = Duration::from_secs(120);
/// For the first one. An API server connects when it has one; who has none takes its place.
const FIRST_LIMIT: Duration = Duration::from_secs(5);
/// After an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers what an API server asks.
pub trait Judge: Send + Sync + 'static {
    /// The answer's body, in JSON. May take its time.
    fn judge(&self, body: &[u8]) -> Result<Vec<u8>, Refused>;
}

/// No verdict: the webhook's `failurePolicy` says what follows.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    pub status: StatusCode,
    pub reason: String,
}

/// Dropped, it stops.
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.accepting.abort();
    }
}

impl Server {
    /// Must be called on the control plane's runtime: its tasks live there. A successor may bind the same address.
    pub fn bind(address: SocketAddr, shown: Shown, judge: Arc<dyn Judge>) -> io::Result<Self> {
        let listener = listen(address)?;
        let address = listener.local_addr()?;
        let acceptor = TlsAcceptor::from(Arc::new(tls(shown).map_err(io::Error::other)?));
        let (stop, stopped) = watch::channel(false);
        let accepting = tokio::spawn(accept(listener, acceptor, judge, stopped));
        Ok(Self { address, stop, accepting })
    }

    /// With the port that the kernel chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(128)?;
    TcpListener::from_std(socket.into())
}

fn tls(shown: Shown) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(crate::tls::provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(shown));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, judge: Arc<dyn Judge>, stopped: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((socket, _)) => {
                let (acceptor, judge, mut stopped) = (acceptor.clone(), judge.clone(), stopped.clone());
                tokio::spawn(async move {
                    if let Err(error) = serve(socket, acceptor, judge, &mut stopped).await {
                        tracing::debug!(%error, "a connection to the admission webhook failed");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the admission webhook cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(
    socket: TcpStream,
    acceptor: TlsAcceptor,
    judge: Arc<dyn Judge>,
    stopped: &mut watch::Receiver<bool>,
) -> anyhow::Result<()> {
    socket.set_nodelay(true)?;
    let tls = tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(socket)).await??;
    let mut stream: Stream = Box::new(TlsConnection(Box::new(tls)));
    let mut patience = FIRST_LIMIT;
    loop {
        let mut session = ServerSession::new_http1(stream);
        session.set_keepalive(Some(IDLE_LIMIT.as_secs()));
        let is_asked = tokio::select! {
            asked = tokio::time::timeout(patience, session.read_request()) => asked??,
            // An error says the same.
            _ = stopped.wait_for(|stopped| *stopped) => false,
        };
        if !is_asked {
            return Ok(());
        }
        tokio::time::timeout(EXCHANGE_LIMIT, exchange(&mut session, &judge)).await??;
        // What the client sent before it had an answer would be lost.
        let Some((next, None)) = session.finish().await?.map(|kept| kept.into_parts()) else { return Ok(()) };
        (stream, patience) = (next, IDLE_LIMIT);
    }
}

async fn exchange(session: &mut ServerSession, judge: &Arc<dyn Judge>) -> anyhow::Result<()> {
    // Before anything is answered: what is not read would be taken for the next request.
    let body = read_body(session).await?;
    let request = session.req_header();
    let answer = match (&request.method, request.uri.path(), body) {
        (&Method::POST, PATH, Some(body)) => {
            let judge = judge.clone();
            tokio::task::spawn_blocking(move || judge.judge(&body)).await?
        }
        (_, _, None) => {
            session.set_keepalive(None);
            Err(refused(StatusCode::PAYLOAD_TOO_LARGE, "no object of a cluster is as large"))
        }
        (_, PATH, Some(_)) => Err(refused(StatusCode::METHOD_NOT_ALLOWED, "send an AdmissionReview with POST")),
        (_, _, Some(_)) => Err(refused(StatusCode::NOT_FOUND, "the webhook answers at /networking/v1/ingresses")),
    };
    let (status, kind, body) = match answer {
        Ok(body) => (StatusCode::OK, "application/json", body),
        Err(Refused { status, reason }) => (status, "text/plain; charset=utf-8", reason.into_bytes()),
    };
    let mut head = ResponseHeader::build(status, Some(2))?;
    head.insert_header(header::CONTENT_TYPE, kind)?;
    head.insert_header(header::CONTENT_LENGTH, body.len())?;
    session.write_response_header(Box::new(head)).await?;
    session.write_response_body(body.into(), true).await?;
    Ok(())
}

fn refused(status: StatusCode, reason: &str) -> Refused {
    Refused { status, reason: reason.into() }
}

/// None: it is too large.
async fn read_body(session: &mut ServerSession) -> anyhow::Result<Option<Bytes>> {
    let mut whole = Vec::new();
    while let Some(part) = session.read_request_body().await? {
        if whole.len() + part.len() > MAX_BODY {
            return Ok(None);
        }
        whole.extend_from_slice(&part);
    }
    Ok(Some(whole.into()))
}
