//! A listener: an address, how its connections are read, and what bounds them.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;

use super::units::{ByteSize, serialize_duration};
use super::{ByteRate, Ciphers, ClientAuth, Filter, ListenerName};
use crate::diagnostics::Origin;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listener {
    pub name: ListenerName,
    pub origin: Origin,
    pub address: SocketAddr,
    pub tls: Option<ListenerTls>,
    /// Set: every connection must begin with a PROXY protocol header, v1 or v2, and come from one of these networks.
    pub proxy_protocol: Option<ProxyProtocol>,
    pub limits: ConnectionLimits,
    /// Apply to every request that arrives here, before the host's and the route's.
    pub filters: Vec<Filter>,
}

/// Whether a connection may be meant for both. `[::]` is every address, IPv4 included.
pub fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let within = |part: SocketAddr, whole: SocketAddr| {
        part.ip() == whole.ip() || whole.ip().is_unspecified() && (whole.is_ipv6() || part.is_ipv4())
    };
    a.port() == b.port() && a.port() != 0 && (within(a, b) || within(b, a))
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListenerTls {
    pub min_version: TlsVersion,
    pub ciphers: Ciphers,
    /// Which application protocols ALPN offers, in order of preference.
    pub http2: Http2,
    /// For hosts that say nothing else. None: no client is asked for a certificate.
    pub client_auth: Option<ClientAuth>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum TlsVersion {
    #[serde(rename = "1.2")]
    V1_2,
    #[serde(rename = "1.3")]
    V1_3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Http2 {
    Offer,
    Off,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProxyProtocol {
    pub trusted: Vec<IpNet>,
}

/// The least rate of a request body, over the time that the client is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MinBodyRate {
    pub rate: ByteRate,
    /// So long it may be slower.
    #[serde(serialize_with = "serialize_duration")]
    pub grace: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConnectionLimits {
    /// All connections of this listener, over all threads; more are closed at once.
    pub max_connections: usize,
    /// Request line and header fields together; more is answered 431.
    pub max_header_size: ByteSize,
    /// From the first byte of a request to the end of its header; longer is answered 408.
    /// The PROXY header, the TLS handshake and the HTTP/2 preface have this long, too.
    #[serde(serialize_with = "serialize_duration")]
    pub header_timeout: Duration,
    /// Between two pieces of a request body, and between two successful writes to the client.
    #[serde(serialize_with = "serialize_duration")]
    pub body_timeout: Duration,
    /// Slower bodies are answered 408; none: any rate will do.
    pub min_body_rate: Option<MinBodyRate>,
    /// A connection without a request.
    #[serde(serialize_with = "serialize_duration")]
    pub idle_timeout: Duration,
    /// Requests on one HTTP/1.1 connection, and streams over the life of one HTTP/2 connection.
    pub max_requests: u32,
    /// HTTP/2 streams open at one time on one connection.
    pub max_streams: u32,
}
