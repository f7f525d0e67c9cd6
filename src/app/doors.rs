//! What is listened on, and how what comes there is taken in.
//!
//! ```text
//! Snapshot ──► Settings (requests, tunnels), Datagrams ──► DataPlane::apply
//! Model ─────► addresses that must be had ─────────────► DataPlane::reserve
//! ```

use std::sync::Arc;

use super::App;
use super::candidate::Authors;
use crate::compile::hosts_of;
use crate::model::{Listener, ListenerTls, Model, TcpListener, VirtualHost};
use crate::proxy::{Settings, TlsDoor, Wanted};
use crate::snapshot::Snapshot;
use crate::snapshot::table::{HostTls, Table};
use crate::snapshot::tunnel::Datagrams;
use crate::tls::Spoken;

impl App {
    pub(super) fn settings(&self, snapshot: &Snapshot) -> Result<Vec<Settings>, rustls::Error> {
        let model = &snapshot.model;
        let of_requests = |listener: &Listener| {
            let tls = match (&listener.tls, snapshot.tables.get(&listener.name)) {
                (Some(tls), Some(table)) => Some(self.tls_door(tls, table, &hosts_of(model, listener))?),
                (Some(_), None) => return Err(rustls::Error::General("a listener that serves nothing".into())),
                (None, _) => None,
            };
            Ok(Settings::of_requests(listener, tls))
        };
        model.listeners.iter().map(of_requests).chain(tunnels(snapshot).map(Ok)).collect()
    }

    /// Whoever had a port of a TCP or UDP service may have given it back.
    pub(super) async fn listen_again(&self) {
        let mut parts = self.parts.lock().await;
        if parts.unbound.is_empty() {
            return;
        }
        let snapshot = self.shared.snapshot.load_full();
        let failed = parts.plane.open_missing(tunnels(&snapshot).collect(), datagrams(&snapshot));
        // What is anything else stays as it was told.
        parts.unbound.retain(|(name, _)| {
            let carries = snapshot.carriers.tcp.contains_key(name) || snapshot.carriers.udp.contains_key(name);
            !carries || failed.iter().any(|(other, ..)| other == name)
        });
    }

    fn tls_door(&self, tls: &ListenerTls, table: &Table, hosts: &[&VirtualHost]) -> Result<TlsDoor, rustls::Error> {
        let mut tunnels = Vec::new();
        let mut spoken = Vec::with_capacity(hosts.len());
        for (host, compiled) in hosts.iter().zip(table.hosts()) {
            let ends = match &compiled.tls {
                HostTls::Here => Spoken::Here(&compiled.terms),
                HostTls::Elsewhere(tunnel) => {
                    tunnels.push(tunnel.clone());
                    Spoken::Elsewhere(tunnels.len() - 1)
                }
            };
            spoken.push((&host.names[..], ends));
        }
        let policy = self.shared.tls.policy(tls.http2, table.terms(), &spoken)?;
        Ok(TlsDoor { policy, tunnels })
    }
}

/// Where connections must be waited for. Of many authors, one who asks for a port that cannot be had is no matter of the others.
pub(super) fn addresses(model: &Model, authors: Authors) -> Wanted {
    let http = model.listeners.iter().map(|listener| (listener.name.clone(), listener.address));
    let tcp = model.tcp_listeners.iter().map(|listener| (listener.name.clone(), listener.address));
    let udp = model.udp_listeners.iter().map(|listener| (listener.name.clone(), listener.address));
    match authors {
        Authors::One => Wanted { connections: http.chain(tcp).collect(), datagrams: udp.collect() },
        Authors::Many => Wanted { connections: http.collect(), datagrams: Vec::new() },
    }
}

fn tunnels(snapshot: &Snapshot) -> impl Iterator<Item = Settings> {
    let of_tunnel = |listener: &TcpListener| {
        let tunnel = snapshot.carriers.tcp.get(&listener.name)?;
        Some(Settings::of_tunnel(listener, tunnel.clone()))
    };
    snapshot.model.tcp_listeners.iter().filter_map(of_tunnel)
}

pub(super) fn datagrams(snapshot: &Snapshot) -> Vec<Arc<Datagrams>> {
    snapshot.carriers.udp.values().cloned().collect()
}
