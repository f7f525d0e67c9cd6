//! What is carried on without being read: connections, TLS that ends elsewhere, and datagrams.
//!
//! ```text
//! TcpListener ──┐
//! HostTls ──────┼─► Tunnel ──► an upstream, the bytes as they came
//! UdpListener ──┘  (datagrams: sessions by the client's address)
//! ```

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::Serialize;

use super::units::serialize_duration;
use super::{ListenerName, ProxyProtocol, UpstreamName};
use crate::diagnostics::Origin;

/// Where the bytes of a connection go. How it is connected there, and how often that is tried, is the upstream's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tunnel {
    pub upstream: UpstreamName,
    /// So long neither side may be silent together with the other; then both are closed.
    #[serde(serialize_with = "serialize_duration")]
    pub idle_timeout: Duration,
    /// What the upstream is told of the client before the first byte. None: nothing.
    pub send_proxy_protocol: Option<ProxyVersion>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyVersion {
    V1,
    V2,
}

/// A listener whose connections are carried to an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TcpListener {
    pub name: ListenerName,
    pub origin: Origin,
    pub address: SocketAddr,
    /// Set: every connection must begin with a PROXY protocol header, v1 or v2, and come from one of these networks.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// All connections of this listener, over all threads; more are closed at once.
    pub max_connections: usize,
    /// The PROXY header must be whole by then.
    #[serde(serialize_with = "serialize_duration")]
    pub header_timeout: Duration,
    pub tunnel: Tunnel,
}

/// A listener whose datagrams are carried to an upstream. A session is what one client's address and port send, and what comes
/// back for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UdpListener {
    pub name: ListenerName,
    pub origin: Origin,
    pub address: SocketAddr,
    pub upstream: UpstreamName,
    /// A session in which nothing comes or goes for so long is over.
    #[serde(serialize_with = "serialize_duration")]
    pub idle_timeout: Duration,
    /// After so many datagrams from the upstream a session is over. None: it is over when it is idle.
    pub responses: Option<NonZeroU32>,
    /// Over all threads; datagrams of further clients are dropped.
    pub max_sessions: usize,
}
