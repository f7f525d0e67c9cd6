//! The intermediate representation: what Weir is told to do, whoever told it.
//!
//! ```text
//! sources (file, cluster) ──► Model ──► compile ──► Snapshot
//! ```
//!
//! The model is complete (every default filled in), typed (an illegal state cannot be built) and
//! serializable (`/config` shows it). It is never parsed from a file, and knows nothing of YAML,
//! Kubernetes, sockets or Pingora.

mod acme;
pub mod acme_words;
mod bandwidth;
mod basic_auth;
mod bound_filters;
mod buffering;
mod cache;
mod cache_headers;
mod certificate;
mod ciphers;
mod client_auth;
mod compress;
mod conditions;
mod cors;
mod error_pages;
mod files;
mod filter;
mod forward_auth;
mod headers;
mod host;
mod jwt;
mod limit;
mod listener;
mod mirror;
mod names;
mod pattern;
mod process;
mod redirect;
mod redis;
mod replacement;
mod response_rewrite;
mod reused;
mod route;
mod split;
mod tunnel;
mod units;
mod upstream;

pub use acme::*;
pub use bandwidth::*;
pub use basic_auth::*;
pub use bound_filters::*;
pub use buffering::*;
pub use cache::*;
pub use cache_headers::*;
pub use certificate::*;
pub use ciphers::*;
pub use client_auth::*;
pub use compress::*;
pub use conditions::*;
pub use cors::*;
pub use error_pages::*;
pub use files::*;
pub use filter::*;
pub use forward_auth::*;
pub use headers::*;
pub use host::*;
pub use jwt::*;
pub use limit::*;
pub use listener::*;
pub use mirror::*;
pub use names::*;
pub use pattern::*;
pub use process::*;
pub use redirect::*;
pub use redis::*;
pub use replacement::*;
pub use response_rewrite::*;
pub use reused::*;
pub use route::*;
pub use split::*;
pub use tunnel::*;
pub use units::*;
pub use upstream::*;

use serde::Serialize;

/// All of it. Names are unique within their list; references between the lists resolve.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Model {
    pub process: Process,
    /// Of HTTP.
    pub listeners: Vec<Listener>,
    pub tcp_listeners: Vec<TcpListener>,
    pub udp_listeners: Vec<UdpListener>,
    pub certificates: Vec<Certificate>,
    /// Present where certificates are ordered.
    pub acme: Option<Acme>,
    pub hosts: Vec<Reused<VirtualHost>>,
    pub upstreams: Vec<Reused<Upstream>>,
    pub cache_stores: Vec<CacheStore>,
}

impl Model {
    /// Of all levels.
    pub fn filters(&self) -> impl Iterator<Item = &Filter> {
        let of_hosts = self
            .hosts
            .iter()
            .flat_map(|host| host.filters.iter().chain(host.routes.iter().flat_map(|route| &route.filters)));
        self.listeners.iter().flat_map(|listener| &listener.filters).chain(of_hosts)
    }

    /// Whatever they carry.
    pub fn listener_names(&self) -> impl Iterator<Item = &ListenerName> {
        let http = self.listeners.iter().map(|listener| &listener.name);
        let tcp = self.tcp_listeners.iter().map(|listener| &listener.name);
        http.chain(tcp).chain(self.udp_listeners.iter().map(|listener| &listener.name))
    }

    /// The hosts that a listener serves, in their order.
    pub fn hosts_of<'m>(&'m self, listener: &Listener) -> impl Iterator<Item = &'m VirtualHost> {
        let hosts = self.hosts.iter().map(|host| &**host);
        hosts.filter(|host| host.listeners.is_empty() || host.listeners.contains(&listener.name))
    }

    /// From which listener to which upstream something is carried without being read.
    pub fn carried(&self) -> impl Iterator<Item = (&ListenerName, &UpstreamName)> {
        let tcp = self.tcp_listeners.iter().map(|listener| (&listener.name, &listener.tunnel.upstream));
        let udp = self.udp_listeners.iter().map(|listener| (&listener.name, &listener.upstream));
        let tls = self.listeners.iter().filter(|listener| listener.tls.is_some());
        let passed = tls.flat_map(|listener| {
            let tunnels = self.hosts_of(listener).filter_map(|host| host.tls.passthrough.as_ref());
            tunnels.map(|tunnel| (&listener.name, &tunnel.upstream))
        });
        tcp.chain(udp).chain(passed)
    }
}

/// How much of what was written a list of the model has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extent {
    #[default]
    Whole,
    /// What is not there may have been written, but could not be read: that it is missing means nothing.
    Partial,
}
