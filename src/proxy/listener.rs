//! From an accepted socket to a connection that can be served.
//!
//! ```text
//! accept ──► max-connections ──► PROXY protocol ──► TLS ──► ClientStream ──► http1 / http2
//! ```
//!
//! A listener has one socket per worker (SO_REUSEPORT); they share one `ListenerState`. Its settings may change under
//! it without the sockets being touched.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, Guard};
use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::client_certificate::CertificateValues;
use super::connection::{Connection, TlsSession, address_value};
use super::deadline::Deadline;
use super::pace::Paces;
use super::spooling::Spooling;
use super::stream::{ClientStream, Transport};
use super::worker::{self, Worker};
use super::{Shared, http1, http2, proxy_protocol};
use crate::model;
use crate::snapshot::Snapshot;
use crate::snapshot::table::Table;
use crate::telemetry::metrics::{ListenerMetrics, OpenConnection, Rejection};
use crate::tls::{Agreement, Disagreement, Handshake, Policy, ServerTls, Site};

/// One listener, over all workers and reloads. Connections refer to it even when it is closed: under another name at
/// the same address they go on with what is served there now; else with what was served last, until they can end.
pub struct ListenerState {
    pub name: model::ListenerName,
    address: SocketAddr,
    /// Set when it is removed.
    last: OnceLock<Arc<Snapshot>>,
    pub settings: ArcSwap<Settings>,
    pub metrics: Arc<ListenerMetrics>,
    open: AtomicUsize,
}

/// What may change under an open listener.
pub struct Settings {
    pub listener: model::Listener,
    /// Present where the listener speaks TLS.
    pub tls: Option<Arc<Policy>>,
}

impl ListenerState {
    pub fn new(settings: Settings, metrics: Arc<ListenerMetrics>) -> Self {
        Self {
            name: settings.listener.name.clone(),
            address: settings.listener.address,
            last: OnceLock::new(),
            settings: ArcSwap::from_pointee(settings),
            metrics,
            open: AtomicUsize::new(0),
        }
    }

    /// What a request on a connection of this listener is served by.
    pub fn snapshot(&self, shared: &Shared) -> Guard<Arc<Snapshot>> {
        let current = shared.snapshot.load();
        match self.last.get() {
            Some(last) if self.table(&current).is_none() => Guard::from_inner(last.clone()),
            Some(_) | None => current,
        }
    }

    pub fn table<'s>(&self, snapshot: &'s Snapshot) -> Option<&'s Table> {
        let renamed = || snapshot.model.listeners.iter().find(|listener| listener.address == self.address);
        snapshot.tables.get(&self.name).or_else(|| snapshot.tables.get(&renamed()?.name))
    }

    /// Keeps what is served now for connections that are open, where `next` serves nothing here. Call it before `next`
    /// is in force.
    pub fn outlive(&self, current: &Arc<Snapshot>, next: &Snapshot) {
        if self.table(next).is_none() {
            // Removed a second time, it has what it served before.
            let _ = self.last.set(current.clone());
        }
    }

    /// Its connections are to end when they can.
    pub fn is_removed(&self) -> bool {
        self.last.get().is_some()
    }
}

/// Accepts until it is told to close, by a word or by nobody being left to say it. Who is in the queue then has been
/// welcomed by the kernel, and is served.
pub async fn accept(
    socket: TcpListener,
    listener: Arc<ListenerState>,
    worker: Arc<Worker>,
    mut close: oneshot::Receiver<()>,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            _ = &mut close => break,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => admit(stream, peer, &listener, &worker),
            Err(error) => {
                // Out of file descriptors, mostly: others must close first.
                tracing::warn!(listener = %listener.name, %error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    // The runtime may not have heard of the last ones yet: ask the kernel.
    let Ok(socket) = socket.into_std() else { return };
    while let Ok((stream, peer)) = socket.accept() {
        let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
        if let Ok(stream) = stream {
            admit(stream, peer, &listener, &worker);
        }
    }
}

fn admit(stream: TcpStream, peer: SocketAddr, listener: &Arc<ListenerState>, worker: &Arc<Worker>) {
    let settings = listener.settings.load();
    match Place::take(listener, worker, settings.listener.limits.max_connections) {
        Some(place) => drop(tokio::spawn(serve(stream, peer, place, settings.clone(), worker.clone()))),
        None => listener.metrics.rejected(Rejection::TooMany),
    }
}

/// A connection's place among the open ones; given back when it is dropped.
struct Place {
    listener: Arc<ListenerState>,
    _counted: OpenConnection,
    /// Taken before the connection's task first runs: who drains waits for it already.
    _open: worker::OpenConnection,
}

impl Place {
    fn take(listener: &Arc<ListenerState>, worker: &Worker, max: usize) -> Option<Self> {
        let place = Place {
            listener: listener.clone(),
            _counted: listener.metrics.accepted(),
            _open: worker.connection_opened(),
        };
        // Counted first: two workers cannot both take the last place.
        (listener.open.fetch_add(1, Relaxed) < max).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.listener.open.fetch_sub(1, Relaxed);
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, place: Place, settings: Arc<Settings>, worker: Arc<Worker>) {
    let Some(stream) = establish(stream, peer, &place.listener, &settings, &worker).await else { return };
    let limits = &settings.listener.limits;
    match stream {
        Established::Http1(stream) => match http1::serve(stream, limits, &worker).await {
            http1::Ended::Closed => {}
            // Boxed: few connections take this way, and all would pay for its size.
            http1::Ended::Http2(stream) => Box::pin(http2::serve(stream, limits, &worker)).await,
        },
        Established::Http2(stream) => Box::pin(http2::serve(stream, limits, &worker)).await,
    }
    drop(place);
}

enum Established {
    Http1(Box<ClientStream>),
    Http2(Box<ClientStream>),
}

async fn establish(
    mut stream: TcpStream,
    mut peer: SocketAddr,
    listener: &Arc<ListenerState>,
    settings: &Settings,
    worker: &Worker,
) -> Option<Established> {
    // Without it the second piece of an answer waits for the client's acknowledgement of the first.
    let _ = stream.set_nodelay(true);
    let deadline = Deadline::register(&stream);
    deadline.wait_busy(settings.listener.limits.header_timeout);
    let socket_peer = peer;
    let reject = |reason: Rejection| {
        let reason = if deadline.expired() { Rejection::Timeout } else { reason };
        listener.metrics.rejected(reason);
        let (listener, reason) = (&listener.name, reason.as_str());
        tracing::debug!(%listener, client = %socket_peer, reason, "rejected a connection");
    };
    let mut local_port = settings.listener.address.port();
    if let Some(expected) = &settings.listener.proxy_protocol {
        if !expected.trusted.iter().any(|network| network.contains(&peer.ip().to_canonical())) {
            reject(Rejection::Untrusted);
            return None;
        }
        let Ok(header) = proxy_protocol::read(&mut stream).await else {
            reject(Rejection::ProxyHeader);
            return None;
        };
        if let Some(proxied) = header {
            (peer, local_port) = (proxied.source, proxied.destination.port());
        }
    }
    let (transport, tls) = match &settings.tls {
        None => (Transport::Plain(stream), None),
        Some(policy) => {
            // The other half is for the handshake itself.
            let patience = settings.listener.limits.header_timeout / 2;
            let Ok(handshaken) = Box::pin(handshake(stream, policy, patience, worker.tls())).await else {
                reject(Rejection::Handshake);
                return None;
            };
            let (stream, session) = handshaken?;
            (Transport::Tls(Box::new(stream)), Some(session))
        }
    };
    let http2 = matches!(&transport, Transport::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2"));
    let connection = Connection {
        paces: Paces::default(),
        spooling: Spooling::default(),
        waited: AtomicU64::new(0),
        listener: listener.clone(),
        peer,
        peer_value: address_value(peer.ip()),
        port_value: local_port.into(),
        tls,
    };
    let stream = Box::new(ClientStream::new(transport, deadline, connection.into_digest(), BytesMut::new()));
    Some(if http2 { Established::Http2(stream) } else { Established::Http1(stream) })
}

/// None: an ACME authority has looked at our answer, and goes.
async fn handshake(
    stream: TcpStream,
    policy: &Policy,
    patience: Duration,
    tls: &ServerTls,
) -> io::Result<Option<(TlsStream<TcpStream>, TlsSession)>> {
    let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
    let hello = start.client_hello();
    let name = hello.server_name().map(|name| name.strip_suffix('.').unwrap_or(name));
    let unknown = name.filter(|name| tls.certificates().store().covering(name).is_none());
    match policy.choose(&hello) {
        Handshake::Serve(site) => {
            if let Some(name) = unknown.map(Box::<str>::from) {
                // Then it is shown what there is.
                let _ = tokio::time::timeout(patience, tls.on_demand().wait_for(&name)).await;
            }
            let stream = start.into_stream(site.config.clone()).await?;
            let session = tls_session(&stream, site).map_err(io::Error::other)?;
            Ok(Some((stream, session)))
        }
        Handshake::Challenge(config) => {
            start.into_stream(config.clone()).await?.shutdown().await?;
            Ok(None)
        }
    }
}

fn tls_session(stream: &TlsStream<TcpStream>, site: &Site) -> Result<TlsSession, Disagreement> {
    let (_, session) = stream.get_ref();
    let agreement = Agreement::of(session, site, SystemTime::now())?;
    Ok(TlsSession {
        server_name: session.server_name().map(|name| name.to_ascii_lowercase().into()),
        certificate: CertificateValues::of(&agreement.client),
        agreement,
    })
}
