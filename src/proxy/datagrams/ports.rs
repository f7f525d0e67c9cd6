//! Ports of datagrams, as the control plane sees them: a socket per worker each, kept to be handed on.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};

use super::DatagramListener;
use super::socket::ask_who_was_asked;
use crate::model::{self, ListenerName};
use crate::proxy::plane::Unopened;
use crate::proxy::worker::{Command, Workers};
use crate::snapshot::tunnel::Datagrams;
use crate::telemetry::metrics::Metrics;

#[derive(Default)]
pub struct Ports {
    open: BTreeMap<ListenerName, Open>,
    /// Not yet asked for: a predecessor's, or reserved.
    inherited: BTreeMap<SocketAddr, Vec<UdpSocket>>,
}

struct Open {
    listener: Arc<DatagramListener>,
    /// As bound: a port 0 has become a real one.
    address: SocketAddr,
    /// As asked for.
    wanted: SocketAddr,
    /// The workers have duplicates.
    sockets: Vec<UdpSocket>,
}

impl Ports {
    pub fn inherit(&mut self, socket: UdpSocket) {
        if let Ok(address) = socket.local_addr() {
            self.inherited.entry(address).or_default().push(socket);
        }
    }

    /// Takes what would be new, without serving there yet. What cannot be had is returned.
    pub fn reserve(&mut self, wanted: &[(ListenerName, SocketAddr)], workers: usize) -> Vec<Unopened> {
        let mut failed = Vec::new();
        for (name, address) in wanted {
            let held = self.open.values().any(|open| open.wanted == *address);
            if held || self.inherited.contains_key(address) || address.port() == 0 {
                continue;
            }
            match self.bind_all(*address, workers, Vec::new()) {
                Ok(sockets) => drop(self.inherited.insert(*address, sockets)),
                Err(error) => failed.push((name.clone(), *address, error)),
            }
        }
        failed
    }

    /// Gives back what was reserved.
    pub fn release(&mut self) {
        self.inherited.clear();
    }

    /// Opens what is new, closes what is gone, and tells the rest where to carry to. What cannot be opened is returned.
    pub async fn apply(&mut self, wanted: Vec<Arc<Datagrams>>, workers: &Workers, metrics: &Metrics) -> Vec<Unopened> {
        let stays = |open: &Open, name: &ListenerName| {
            wanted.iter().any(|w| w.definition.name == *name && w.definition.address == open.wanted)
        };
        let gone: Vec<_> = self.open.extract_if(.., |name, open| !stays(open, name)).collect();
        for (name, open) in gone {
            tracing::info!(listener = %name, address = %open.address, "no longer listening");
            workers.tell_all(|done| Command::CloseDatagrams(open.listener.clone(), done)).await;
        }
        for carries in &wanted {
            if let Some(open) = self.open.get(&carries.definition.name) {
                open.listener.carries.store(carries.clone());
            }
        }
        let failed = self.open_missing(wanted, workers, metrics);
        self.inherited.clear();
        failed
    }

    /// Opens what is not, and touches nothing else. What cannot be opened is returned.
    pub fn open_missing(&mut self, wanted: Vec<Arc<Datagrams>>, workers: &Workers, metrics: &Metrics) -> Vec<Unopened> {
        let mut failed = Vec::new();
        for carries in wanted {
            let (name, address) = (carries.definition.name.clone(), carries.definition.address);
            if !self.open.contains_key(&name)
                && let Err(error) = self.open(carries, workers, metrics)
            {
                failed.push((name, address, error));
            }
        }
        failed
    }

    fn open(&mut self, carries: Arc<Datagrams>, workers: &Workers, metrics: &Metrics) -> io::Result<()> {
        let (name, wanted) = (carries.definition.name.clone(), carries.definition.address);
        let inherited = self.inherited.remove(&wanted).unwrap_or_default();
        let sockets = self.bind_all(wanted, workers.len(), inherited)?;
        let address = sockets[0].local_addr()?;
        let listener = Arc::new(DatagramListener::new(carries, metrics.listener(&name)));
        // All of them first: a worker that had one already would go on where the others cannot begin.
        let duplicates = sockets.iter().map(UdpSocket::try_clone).collect::<io::Result<Vec<_>>>()?;
        for (n, socket) in duplicates.into_iter().enumerate() {
            workers.send(n % workers.len(), Command::CarryDatagrams(listener.clone(), socket));
        }
        tracing::info!(listener = %name, %address, "listening for datagrams");
        self.open.insert(name, Open { listener, address, wanted, sockets });
        Ok(())
    }

    pub fn addresses(&self) -> impl Iterator<Item = (ListenerName, SocketAddr)> {
        self.open.iter().map(|(name, open)| (name.clone(), open.address))
    }

    /// Duplicates, for a successor.
    pub fn sockets(&self) -> impl Iterator<Item = io::Result<OwnedFd>> {
        self.open.values().flat_map(|open| &open.sockets).map(|socket| socket.try_clone().map(OwnedFd::from))
    }

    pub fn forget(&mut self) {
        self.open.clear();
    }

    /// A socket for each worker at least, those that are there already among them.
    fn bind_all(&self, wanted: SocketAddr, workers: usize, mut sockets: Vec<UdpSocket>) -> io::Result<Vec<UdpSocket>> {
        let mut address = wanted;
        let ours = self.open.values().map(|open| open.address).chain(self.inherited.keys().copied());
        let has_neighbours = ours.into_iter().any(|other| model::overlap(wanted, other));
        if sockets.is_empty() && wanted.port() != 0 && !has_neighbours {
            // With SO_REUSEPORT a second process would take half of what comes and nobody would know.
            udp_socket(wanted)?.bind(&wanted.into())?;
        }
        while sockets.len() < workers {
            let socket = udp_socket(address)?;
            socket.set_reuse_port(true)?;
            socket.bind(&address.into())?;
            let socket = UdpSocket::from(socket);
            // Port 0: the further sockets share the port that the first one got.
            address = socket.local_addr()?;
            sockets.push(socket);
        }
        Ok(sockets)
    }
}

fn udp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    ask_who_was_asked(&socket, address)?;
    Ok(socket)
}
