//! From an accepted socket to a connection that can be served.
//!
//! ```text
//! accept ──► max-connections ──► establish: PROXY protocol ──► TLS ──► ClientStream ──► http1 / http2
//!                                                  └──────────┴► tunnel
//! ```
//!
//! A listener has one socket per worker (SO_REUSEPORT); they share one `ListenerState`. Its settings may change under
//! it without the sockets being touched.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use futures::future::BoxFuture;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::establish::{Established, establish};
use super::socket::Socket;
use super::worker::{self, Farewell, Worker};
use super::{Shared, http1, http2, tunnel};
use crate::model::{self, ConnectionLimits, ListenerName, ProxyProtocol};
use crate::snapshot::Snapshot;
use crate::snapshot::table::Table;
use crate::snapshot::tunnel::Tunnel;
use crate::telemetry::metrics::{ListenerMetrics, OpenConnection, Rejection};
use crate::tls::Policy;

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
    pub name: ListenerName,
    pub address: SocketAddr,
    pub max_connections: usize,
    /// The PROXY header and the TLS handshake must be over by then.
    pub header_timeout: Duration,
    pub proxy_protocol: Option<ProxyProtocol>,
    pub serves: Serves,
}

/// What its connections are for.
pub enum Serves {
    Requests {
        limits: ConnectionLimits,
        /// Present where the listener speaks TLS.
        tls: Option<TlsDoor>,
    },
    Tunnel(Arc<Tunnel>),
}

pub struct TlsDoor {
    pub policy: Arc<Policy>,
    /// As the policy counts them; one whose upstream is lost is none, and who asks for it is turned away.
    pub tunnels: Vec<Option<Arc<Tunnel>>>,
}

impl Settings {
    pub fn of_requests(listener: &model::Listener, tls: Option<TlsDoor>) -> Self {
        Self {
            name: listener.name.clone(),
            address: listener.address,
            max_connections: listener.limits.max_connections,
            header_timeout: listener.limits.header_timeout,
            proxy_protocol: listener.proxy_protocol.clone(),
            serves: Serves::Requests { limits: listener.limits.clone(), tls },
        }
    }

    pub fn of_tunnel(listener: &model::TcpListener, tunnel: Arc<Tunnel>) -> Self {
        Self {
            name: listener.name.clone(),
            address: listener.address,
            max_connections: listener.max_connections,
            header_timeout: listener.header_timeout,
            proxy_protocol: listener.proxy_protocol.clone(),
            serves: Serves::Tunnel(tunnel),
        }
    }

    /// What bounds a connection that requests come by.
    pub fn limits(&self) -> Option<&ConnectionLimits> {
        match &self.serves {
            Serves::Requests { limits, .. } => Some(limits),
            Serves::Tunnel(_) => None,
        }
    }

    /// Whether connections of the one are for what those of the other are for.
    pub fn is_like(&self, other: &Settings) -> bool {
        std::mem::discriminant(&self.serves) == std::mem::discriminant(&other.serves)
    }
}

impl ListenerState {
    pub fn new(settings: Settings, metrics: Arc<ListenerMetrics>) -> Self {
        Self {
            name: settings.name.clone(),
            address: settings.address,
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
        let serves_requests = matches!(self.settings.load().serves, Serves::Requests { .. });
        // What is carried on needs no snapshot.
        if serves_requests && self.table(next).is_none() {
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
    mut close: oneshot::Receiver<Farewell>,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            _ = &mut close => break,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => admit(stream.into(), peer, &listener, &worker),
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
            admit(stream.into(), peer, &listener, &worker);
        }
    }
}

fn admit(stream: Socket, peer: SocketAddr, listener: &Arc<ListenerState>, worker: &Arc<Worker>) {
    let settings = listener.settings.load();
    match Place::take(listener, worker, settings.max_connections) {
        Some(place) => {
            drop(tokio::spawn(serve(Box::new(Accepted { stream, peer }), place, settings.clone(), worker.clone())))
        }
        None => listener.metrics.rejected(Rejection::TooMany),
    }
}

/// A connection's place among the open ones; given back when it is dropped, by whoever has the socket last.
pub struct Place {
    pub listener: Arc<ListenerState>,
    _counted: OpenConnection,
    /// Taken before the connection's task first runs: who drains waits for it already.
    _open: worker::OpenConnection,
}

impl Place {
    fn take(listener: &Arc<ListenerState>, worker: &Worker, max: usize) -> Option<Arc<Self>> {
        let place = Place {
            listener: listener.clone(),
            _counted: listener.metrics.accepted(),
            _open: worker.connections().begin(),
        };
        // Counted first: two workers cannot both take the last place.
        (listener.open.fetch_add(1, Relaxed) < max).then(|| Arc::new(place))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.listener.open.fetch_sub(1, Relaxed);
    }
}

/// Boxed, as is all that only the beginning of a connection needs: it must not stay with it.
struct Accepted {
    stream: Socket,
    peer: SocketAddr,
}

/// No `async fn`: see [`Accepted`].
fn begin<'a>(
    Accepted { stream, peer }: Accepted,
    place: &'a Arc<Place>,
    settings: &'a Settings,
    worker: &'a Worker,
) -> BoxFuture<'a, Option<Established>> {
    Box::pin(establish(stream, peer, place, settings, worker))
}

async fn serve(accepted: Box<Accepted>, place: Arc<Place>, settings: Arc<Settings>, worker: Arc<Worker>) {
    let Some(established) = begin(*accepted, &place, &settings, &worker).await else { return };
    // Boxed: few connections take these ways, and all would pay for their size.
    match (established, &settings.serves) {
        (Established::Http1(stream), Serves::Requests { limits, .. }) => {
            match http1::serve(stream, limits, &worker).await {
                http1::Ended::Closed => {}
                http1::Ended::Http2(stream) => Box::pin(http2::serve(stream, limits, &worker)).await,
            }
        }
        (Established::Http2(stream), Serves::Requests { limits, .. }) => {
            Box::pin(http2::serve(stream, limits, &worker)).await;
        }
        (Established::Carried(arrival), _) => Box::pin(tunnel::serve(arrival, &worker)).await,
        // Nobody establishes requests where there is nothing but a tunnel.
        (Established::Http1(_) | Established::Http2(_), Serves::Tunnel(_)) => {}
    }
    drop(place);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::connection::Connection;
    use crate::proxy::stream::ClientStream;

    fn size_of_result<A, B, C, D, F>(_: fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    /// Each byte is there for every client that only waits.
    #[test]
    fn an_idle_connection_is_small() {
        let (task, stream, connection) = (size_of_result(serve), size_of::<ClientStream>(), size_of::<Connection>());
        assert!(task + stream + connection <= 1000, "{task} + {stream} + {connection}");
    }
}
