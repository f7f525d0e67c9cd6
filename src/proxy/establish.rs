//! What comes before the first request, or before the first byte that is carried on.
//!
//! ```text
//! socket ──► PROXY header ─┬─► plain ────────────────────────────────────────► requests
//!                          ├─► the name in the ClientHello ──► TLS handshake ──► requests
//!                          │              └─ of a host whose TLS ends elsewhere ──► tunnel
//!                          └─► a listener that carries connections ─────────────► tunnel
//! ```

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use rustls::server::{Accepted, Acceptor};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

use super::client_certificate::CertificateValues;
use super::connection::{Connection, TlsSession, address_value};
use super::deadline::Deadline;
use super::listener::{Place, Serves, Settings, TlsDoor};
use super::pace::Paces;
use super::proxy_protocol::{self, Proxied};
use super::socket::Socket;
use super::spooling::Spooling;
use super::stream::{ClientStream, Transport};
use super::tunnel::Arrival;
use super::worker::{OpenConnections, Worker};
use crate::snapshot::tunnel::Tunnel;
use crate::telemetry::metrics::Rejection;
use crate::tls::{Agreement, ClientHello, Disagreement, Handshake, Hello, LARGEST_HELLO, Policy, ServerTls, Site};

pub enum Established {
    Http1(Box<ClientStream>),
    Http2(Box<ClientStream>),
    Carried(Box<Arrival>),
}

/// None: the connection is over.
pub async fn establish(
    mut stream: Socket,
    peer: SocketAddr,
    place: &Arc<Place>,
    settings: &Settings,
    worker: &Worker,
) -> Option<Established> {
    // Without it the second piece of an answer waits for the client's acknowledgement of the first.
    let _ = stream.set_nodelay(true);
    let deadline = Deadline::register(&*stream);
    deadline.wait_busy(settings.header_timeout);
    let reject = |reason: Rejection| {
        let reason = if deadline.expired() { Rejection::Timeout } else { reason };
        let listener = &place.listener;
        listener.metrics.rejected(reason);
        let (listener, reason) = (&listener.name, reason.as_str());
        tracing::debug!(%listener, client = %peer, reason, "rejected a connection");
    };
    let told = match proxy_header(&mut stream, peer, settings).await {
        Ok(told) => told,
        Err(reason) => {
            reject(reason);
            return None;
        }
    };
    let arrived = Arrived { place, settings, peer, told, open: worker.connections() };
    let (transport, tls) = match &settings.serves {
        Serves::Tunnel(tunnel) => return Some(arrived.carried(stream, deadline, tunnel.clone(), None)),
        Serves::Requests { tls: None, .. } => (Transport::Plain(stream), None),
        Serves::Requests { tls: Some(door), .. } => {
            // The other half is for the handshake itself.
            let patience = settings.header_timeout / 2;
            match Box::pin(handshake(stream, door, patience, worker.tls())).await {
                Ok(Handshaken::Here(stream, session)) => (Transport::Tls(stream), Some(session)),
                Ok(Handshaken::Elsewhere(stream, tunnel, hello)) => {
                    return Some(arrived.carried(stream, deadline, tunnel, Some(hello)));
                }
                Ok(Handshaken::Over) => return None,
                Err(_) => {
                    reject(Rejection::Handshake);
                    return None;
                }
            }
        }
    };
    Some(arrived.of_requests(transport, tls, deadline))
}

/// What the proxy in front says; none where none is asked for, or where it speaks for itself.
async fn proxy_header(
    stream: &mut Socket,
    peer: SocketAddr,
    settings: &Settings,
) -> Result<Option<Proxied>, Rejection> {
    let Some(expected) = &settings.proxy_protocol else { return Ok(None) };
    if !expected.trusted.iter().any(|network| network.contains(&peer.ip().to_canonical())) {
        return Err(Rejection::Untrusted);
    }
    proxy_protocol::read(stream).await.map_err(|_| Rejection::ProxyHeader)
}

/// A connection, as far as it is known before anybody reads from it.
struct Arrived<'a> {
    place: &'a Arc<Place>,
    settings: &'a Settings,
    peer: SocketAddr,
    /// By a PROXY header.
    told: Option<Proxied>,
    open: &'a OpenConnections,
}

impl Arrived<'_> {
    fn of_requests(self, transport: Transport, tls: Option<Box<TlsSession>>, deadline: Deadline) -> Established {
        let http2 = matches!(&transport, Transport::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2"));
        let peer = self.told.map_or(self.peer, |told| told.source);
        let local_port = self.told.map_or(self.settings.address.port(), |told| told.destination.port());
        let connection = Connection {
            paces: Paces::default(),
            spooling: Spooling::default(),
            waited: AtomicU64::new(0),
            has_switched: AtomicBool::new(false),
            listener: self.place.listener.clone(),
            place: Arc::downgrade(self.place),
            open: self.open.clone(),
            peer,
            peer_value: address_value(peer.ip()),
            port_value: local_port.into(),
            tls,
        };
        let stream = Box::new(ClientStream::new(transport, deadline, Arc::new(connection), BytesMut::new()));
        if http2 { Established::Http2(stream) } else { Established::Http1(stream) }
    }

    fn carried(self, stream: Socket, deadline: Deadline, tunnel: Arc<Tunnel>, hello: Option<LookedAt>) -> Established {
        drop(deadline);
        let here = || Proxied { source: self.peer, destination: stream.local_addr().unwrap_or(self.settings.address) };
        let between = self.told.unwrap_or_else(here);
        Established::Carried(Box::new(Arrival { between, tunnel, hello, stream }))
    }
}

enum Handshaken {
    Here(Box<TlsStream<Socket>>, Box<TlsSession>),
    Elsewhere(Socket, Arc<Tunnel>, LookedAt),
    /// An ACME authority has looked at our answer, and goes.
    Over,
}

/// A ClientHello that was read and has to be read again by whoever holds the handshake.
pub struct LookedAt {
    pub bytes: Vec<u8>,
    pub server_name: Option<Box<str>>,
}

async fn handshake(mut stream: Socket, door: &TlsDoor, patience: Duration, tls: &ServerTls) -> io::Result<Handshaken> {
    let policy = &door.policy;
    if !policy.looks_first() {
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        return hold(start, policy, patience, tls).await;
    }
    let hello = look(&mut stream).await?;
    match policy.elsewhere(hello.server_name.as_deref()) {
        Some(tunnel) => {
            let tunnel = door.tunnels.get(tunnel).cloned().flatten();
            tunnel.map(|tunnel| Handshaken::Elsewhere(stream, tunnel, hello)).ok_or(io::ErrorKind::NotFound.into())
        }
        None => hold(StartHandshake::from_parts(accepted(&hello.bytes)?, stream), policy, patience, tls).await,
    }
}

/// How much is read at one time of what may be a ClientHello: most are smaller.
const PIECE: usize = 4 << 10;

async fn look(stream: &mut Socket) -> io::Result<LookedAt> {
    let mut bytes = Vec::new();
    loop {
        let room = LARGEST_HELLO.saturating_sub(bytes.len()).min(PIECE);
        bytes.reserve(room);
        if (&mut *stream).take(room as u64).read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match ClientHello::read(&bytes) {
            Hello::More => {}
            Hello::Whole(hello) => return Ok(LookedAt { bytes, server_name: hello.server_name }),
            Hello::NotTls => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// What rustls makes of a hello that is whole, and of what came behind it.
fn accepted(mut bytes: &[u8]) -> io::Result<Accepted> {
    let mut acceptor = Acceptor::default();
    while !bytes.is_empty() {
        if acceptor.read_tls(&mut bytes)? == 0 {
            break;
        }
    }
    let accepted = acceptor.accept().map_err(|(error, _)| io::Error::new(io::ErrorKind::InvalidData, error))?;
    accepted.ok_or(io::ErrorKind::UnexpectedEof.into())
}

async fn hold(
    start: StartHandshake<Socket>,
    policy: &Policy,
    patience: Duration,
    tls: &ServerTls,
) -> io::Result<Handshaken> {
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
            Ok(Handshaken::Here(Box::new(stream), Box::new(session)))
        }
        Handshake::Challenge(config) => {
            start.into_stream(config.clone()).await?.shutdown().await?;
            Ok(Handshaken::Over)
        }
    }
}

fn tls_session(stream: &TlsStream<Socket>, site: &Site) -> Result<TlsSession, Disagreement> {
    let (_, session) = stream.get_ref();
    let agreement = Agreement::of(session, site, SystemTime::now())?;
    Ok(TlsSession {
        server_name: session.server_name().map(|name| name.to_ascii_lowercase().into()),
        certificate: CertificateValues::of(&agreement.client),
        agreement,
    })
}
