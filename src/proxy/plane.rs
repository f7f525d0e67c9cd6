//! The data plane: workers and the listeners' sockets, as the control plane sees them.
//!
//! ```text
//! app ──apply(listeners)──► DataPlane ──► a socket per worker and listener
//!                                      └► settings swapped under open ones
//! ```

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::Shared;
use super::datagrams::Ports;
use super::listener::{ListenerState, Settings};
use super::worker::{Command, Workers};
use crate::model::{self, ListenerName};
use crate::snapshot::Snapshot;
use crate::snapshot::tunnel::Datagrams;
use crate::telemetry::metrics::Metrics;

/// Connections that the kernel keeps while a worker is busy.
const BACKLOG: i32 = 4096;

pub struct DataPlane {
    metrics: Arc<Metrics>,
    workers: Workers,
    listeners: BTreeMap<ListenerName, Open>,
    datagrams: Ports,
    /// Closed, but connections of theirs may be open.
    closed: Vec<Weak<ListenerState>>,
    /// Sockets that a predecessor handed over, not yet asked for.
    inherited: BTreeMap<SocketAddr, Vec<TcpListener>>,
}

/// What could not be listened on, and why.
pub type Unopened = (ListenerName, SocketAddr, io::Error);

/// Addresses that must be had.
#[derive(Default)]
pub struct Wanted {
    pub connections: Vec<(ListenerName, SocketAddr)>,
    pub datagrams: Vec<(ListenerName, SocketAddr)>,
}

struct Open {
    state: Arc<ListenerState>,
    /// As bound: a port 0 has become a real one.
    address: SocketAddr,
    /// As asked for.
    wanted: SocketAddr,
    /// Kept to be handed over to a successor; the workers have duplicates.
    sockets: Vec<TcpListener>,
}

impl DataPlane {
    pub fn start(threads: usize, shared: &Arc<Shared>) -> io::Result<Self> {
        let (workers, metrics) = (Workers::start(threads, shared)?, shared.metrics.clone());
        let (listeners, inherited) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { metrics, workers, listeners, datagrams: Ports::default(), closed: Vec::new(), inherited })
    }

    /// Takes over sockets that listen already.
    pub fn inherit(&mut self, sockets: Vec<OwnedFd>) {
        for socket in sockets.into_iter().map(Socket::from) {
            match (socket.r#type(), socket.local_addr().ok().and_then(|address| address.as_socket())) {
                (Ok(Type::DGRAM), Some(_)) => self.datagrams.inherit(socket.into()),
                (Ok(_), Some(address)) => self.inherited.entry(address).or_default().push(socket.into()),
                // Not ours to use.
                (Err(_), _) | (_, None) => {}
            }
        }
    }

    /// Takes the addresses that would be new, without serving there yet. On an error nothing has changed.
    pub fn reserve(&mut self, wanted: &Wanted) -> Result<(), Vec<Unopened>> {
        let mut failed = self.datagrams.reserve(&wanted.datagrams, self.workers.len());
        for (name, address) in &wanted.connections {
            let address = *address;
            let held = self.listeners.values().any(|open| open.wanted == address);
            if held || self.inherited.contains_key(&address) || address.port() == 0 {
                continue;
            }
            match bind_all(address, self.workers.len(), Vec::new(), self.neighbours(address)) {
                Ok(sockets) => drop(self.inherited.insert(address, sockets)),
                Err(error) => failed.push((name.clone(), address, error)),
            }
        }
        if failed.is_empty() {
            return Ok(());
        }
        self.release();
        Err(failed)
    }

    /// Gives back what was reserved.
    pub fn release(&mut self) {
        self.inherited.clear();
        self.datagrams.release();
    }

    /// Lets open connections of listeners that `next` lacks go on with what is served now. Call it before `next` is in
    /// force.
    pub fn outlive(&mut self, current: &Arc<Snapshot>, next: &Snapshot) {
        self.closed.retain(|state| state.strong_count() > 0);
        let closed = self.closed.iter().filter_map(Weak::upgrade);
        let open = self.listeners.values().map(|open| open.state.clone());
        open.chain(closed).for_each(|state| state.outlive(current, next));
    }

    /// Opens what is new, closes what is gone, and gives the rest its new settings. What cannot be opened is returned;
    /// the others serve. Afterwards nobody is taken in where nothing listens any more.
    pub async fn apply(&mut self, wanted: Vec<Settings>, datagrams: Vec<Arc<Datagrams>>) -> Vec<Unopened> {
        let gone: Vec<ListenerName> = self
            .listeners
            .iter()
            .filter(|(name, open)| {
                let stays = |w: &Settings| {
                    w.name == **name && w.address == open.wanted && w.is_like(&open.state.settings.load())
                };
                !wanted.iter().any(stays)
            })
            .map(|(name, _)| name.clone())
            .collect();
        let gone: Vec<_> = gone.iter().filter_map(|name| self.take_out(name)).collect();
        let mut failed = self.datagrams.apply(datagrams, &self.workers, &self.metrics).await;
        for settings in wanted {
            let (name, address) = (settings.name.clone(), settings.address);
            match self.listeners.get(&name) {
                Some(open) => open.state.settings.store(Arc::new(settings)),
                None => {
                    if let Err(error) = self.open(settings) {
                        failed.push((name, address, error));
                    }
                }
            }
        }
        // From here on the workers alone hold what is closed: they empty its queue first.
        self.inherited.clear();
        for state in gone {
            self.closed.push(Arc::downgrade(&state));
            self.workers.tell_all(|done| Command::Close(state.clone(), done)).await;
        }
        failed
    }

    /// Opens what could not be before, and touches nothing else. What still cannot is returned.
    pub fn open_missing(&mut self, wanted: Vec<Settings>, datagrams: Vec<Arc<Datagrams>>) -> Vec<Unopened> {
        let mut failed = self.datagrams.open_missing(datagrams, &self.workers, &self.metrics);
        for settings in wanted {
            let (name, address) = (settings.name.clone(), settings.address);
            if !self.listeners.contains_key(&name)
                && let Err(error) = self.open(settings)
            {
                failed.push((name, address, error));
            }
        }
        failed
    }

    fn open(&mut self, settings: Settings) -> io::Result<()> {
        let (name, wanted) = (settings.name.clone(), settings.address);
        let inherited = self.inherited.remove(&wanted).unwrap_or_default();
        let sockets = bind_all(wanted, self.workers.len(), inherited, self.neighbours(wanted))?;
        let address = sockets[0].local_addr()?;
        let state = Arc::new(ListenerState::new(settings, self.metrics.listener(&name)));
        let theirs = |socket: &TcpListener| socket.set_nonblocking(true).and_then(|()| socket.try_clone());
        // All of them first: a worker that had one already would go on where the others cannot begin.
        let duplicates = sockets.iter().map(theirs).collect::<io::Result<Vec<_>>>()?;
        for (n, socket) in duplicates.into_iter().enumerate() {
            self.workers.send(n % self.workers.len(), Command::Listen(state.clone(), socket));
        }
        tracing::info!(listener = %name, %address, "listening");
        self.listeners.insert(name, Open { state, address, wanted, sockets });
        Ok(())
    }

    fn neighbours(&self, address: SocketAddr) -> Neighbours {
        let bound = self.listeners.values().map(|open| open.address);
        let ours = bound.chain(self.inherited.keys().copied());
        if ours.into_iter().any(|other| model::overlap(address, other)) { Neighbours::Ours } else { Neighbours::None }
    }

    fn take_out(&mut self, name: &ListenerName) -> Option<Arc<ListenerState>> {
        let open = self.listeners.remove(name)?;
        tracing::info!(listener = %name, address = %open.address, "no longer listening");
        // Another listener may want the address: then nobody who connects meanwhile is turned away.
        self.inherited.insert(open.wanted, open.sockets);
        Some(open.state)
    }

    pub fn addresses(&self) -> Vec<(ListenerName, SocketAddr)> {
        let connections = self.listeners.iter().map(|(name, open)| (name.clone(), open.address));
        connections.chain(self.datagrams.addresses()).collect()
    }

    /// Duplicates of every listening socket, for a successor.
    pub fn sockets(&self) -> io::Result<Vec<OwnedFd>> {
        let connections = self.listeners.values().flat_map(|open| &open.sockets);
        connections.map(|socket| socket.try_clone().map(OwnedFd::from)).chain(self.datagrams.sockets()).collect()
    }

    /// Accepts no more and waits until the last connection has ended, or the time is up. Returns how many were left.
    pub async fn drain(&mut self, limit: Duration) -> usize {
        self.listeners.clear();
        self.datagrams.forget();
        // From then on no connection is added.
        self.workers.tell_all(Command::Drain).await;
        let deadline = tokio::time::Instant::now() + limit;
        let left = loop {
            let left = self.workers.connections();
            if left == 0 || tokio::time::Instant::now() >= deadline {
                break left;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        self.workers.tell_all(Command::FlushLog).await;
        left
    }
}

/// Who listens on a part of an address, or on an address of which it is a part. The kernel gives a connection to the
/// most exact one: `0.0.0.0` and `[::]` share a port, and so do an address and the one that it gives way to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Neighbours {
    None,
    Ours,
}

/// A socket for each worker at least, those that are there already among them.
fn bind_all(
    wanted: SocketAddr,
    workers: usize,
    mut sockets: Vec<TcpListener>,
    neighbours: Neighbours,
) -> io::Result<Vec<TcpListener>> {
    let mut address = wanted;
    if sockets.is_empty() && wanted.port() != 0 && neighbours == Neighbours::None {
        refuse_to_share(wanted)?;
    }
    while sockets.len() < workers {
        let socket = bind(address)?;
        // Port 0: the further sockets share the port that the first one got.
        address = socket.local_addr()?;
        sockets.push(socket);
    }
    Ok(sockets)
}

/// With SO_REUSEPORT a second process would take half of the connections and nobody would know: ask without it first.
fn refuse_to_share(address: SocketAddr) -> io::Result<()> {
    tcp_socket(address)?.bind(&address.into())
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = tcp_socket(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn tcp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        // `[::]` means every address, IPv4 included, wherever the system's default stands.
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}
