//! An upstream: endpoints, how one is chosen, how they are watched, and how they are spoken to.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::units::{ByteSize, Percent, serialize_duration, serialize_optional_duration};
use super::{Pattern, UpstreamName};
use crate::diagnostics::Origin;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Upstream {
    pub name: UpstreamName,
    pub origin: Origin,
    pub endpoints: Vec<EndpointSpec>,
    pub balance: LbPolicy,
    pub sticky: Option<StickyCookie>,
    #[serde(serialize_with = "serialize_optional_duration")]
    /// An endpoint that is new or healthy again gets its full share only after this long.
    pub slow_start: Option<Duration>,
    pub health_check: Option<HealthCheck>,
    pub outlier_detection: Option<OutlierDetection>,
    pub when_all_unhealthy: WhenAllUnhealthy,
    pub protocol: UpstreamProtocol,
    pub tls: Option<UpstreamTls>,
    pub keepalive: Keepalive,
    pub timeouts: UpstreamTimeouts,
    pub retry: Retry,
    pub limits: UpstreamLimits,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EndpointSpec {
    pub address: EndpointAddress,
    pub weight: NonZeroU32,
    /// Used only while no endpoint without this mark can be.
    pub backup: bool,
}

/// Where an endpoint is. A name may stand for many addresses; each becomes an endpoint of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EndpointAddress {
    Ip(SocketAddr),
    /// A and AAAA records, asked again when their TTL ends.
    Dns {
        host: Arc<str>,
        port: u16,
    },
    /// SRV records (`srv:_http._tcp.api.internal`): names, ports, weights and priorities come from them.
    Srv(Arc<str>),
    /// What the source says of this list, beside the model: a change of it is none of the model. Never written in a file.
    Listed(ListName),
}

/// As `shop/web:80`: a Service of a cluster, and its port.
pub type ListName = Arc<str>;

/// The endpoints of each list. They have addresses.
pub type EndpointLists = HashMap<ListName, Arc<[EndpointSpec]>, foldhash::fast::RandomState>;

impl EndpointAddress {
    /// Whether DNS is to be asked.
    pub fn is_a_name(&self) -> bool {
        match self {
            Self::Dns { .. } | Self::Srv(_) => true,
            Self::Ip(_) | Self::Listed(_) => false,
        }
    }

    /// Reads `10.0.0.1:80`, `[::1]:80`, `name:80` and `srv:_service._proto.name`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("srv:") {
            return match name.split('.').count() > 2 && name.starts_with('_') {
                true => Ok(Self::Srv(name.trim_end_matches('.').into())),
                false => Err(format!("\"{text}\" is not an SRV name; write it as \"srv:_http._tcp.api.internal\"")),
            };
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return match address.port() {
                0 => Err(format!("\"{text}\" has port 0; write the port that the endpoint listens on")),
                _ => Ok(Self::Ip(address)),
            };
        }
        if text.contains("://") {
            return Err(format!("\"{text}\" is a URL; write host and port alone, and TLS as the upstream's \"tls\""));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(format!("\"{text}\" has no port; write \"{text}:80\""));
        };
        if text.parse::<IpAddr>().is_ok() {
            return Err(format!("\"{text}\" has no port; write \"[{text}]:80\""));
        }
        let port: u16 =
            port.parse().ok().filter(|port| *port != 0).ok_or(format!("\"{port}\" in \"{text}\" is not a port"))?;
        let is_name = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_');
        if host.is_empty() || host.len() > 253 || !host.bytes().all(is_name) {
            return Err(format!("\"{host}\" in \"{text}\" is neither an address nor a host name"));
        }
        Ok(Self::Dns { host: host.to_ascii_lowercase().into(), port })
    }
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EndpointAddress::Ip(address) => write!(f, "{address}"),
            EndpointAddress::Dns { host, port } => write!(f, "{host}:{port}"),
            EndpointAddress::Srv(name) => write!(f, "srv:{name}"),
            EndpointAddress::Listed(name) => write!(f, "list:{name}"),
        }
    }
}

impl Serialize for EndpointAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How one of the usable endpoints is chosen. Weights count in every policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LbPolicy {
    RoundRobin,
    /// The fewest requests in flight per weight.
    LeastConnections,
    /// Two at random; the one with the lower decayed latency times load.
    PeakEwma,
    Random,
    /// Consistent: while an endpoint is there, its keys stay with it. A request without the key is spread as by `random`.
    Hash(HashKey),
    /// As `Hash`, with so many endpoints for each key, of which chance takes one.
    HashSubset(HashKey, NonZeroU32),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HashKey {
    ClientIp,
    /// Lowercase.
    Header(Arc<str>),
    Cookie(Arc<str>),
    /// The normalized path.
    Path,
    /// One query parameter.
    Query(Arc<str>),
    Host,
    /// The normalized path, and the query as it came.
    Uri,
    /// One text of them all; what a request lacks is empty.
    Joined(Vec<HashPart>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HashPart {
    Text(Arc<str>),
    Key(HashKey),
}

/// Weir marks the client with a cookie that names an endpoint, and keeps to it while it can be used. A request that finds it
/// full goes to another one, and the cookie stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StickyCookie {
    pub name: Arc<str>,
    /// None: a session cookie.
    #[serde(serialize_with = "serialize_optional_duration")]
    pub max_age: Option<Duration>,
    pub path: Arc<str>,
    /// None: the host's own.
    pub domain: Option<Arc<str>>,
    pub same_site: SameSite,
    pub secure: SecureCookie,
}

/// Whether browsers send it over TLS alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecureCookie {
    /// Where it was given over TLS.
    #[default]
    AsGiven,
    Always,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum SameSite {
    Strict,
    Lax,
    /// Needs a secure cookie; sent as such over TLS only.
    None,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HealthCheck {
    pub probe: Probe,
    #[serde(serialize_with = "serialize_duration")]
    pub interval: Duration,
    #[serde(serialize_with = "serialize_duration")]
    pub timeout: Duration,
    /// So many failures in a row make it unhealthy.
    pub unhealthy_after: NonZeroU32,
    /// So many successes in a row make it healthy.
    pub healthy_after: NonZeroU32,
    /// Instead of the endpoint's own.
    pub port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    Http(HttpProbe),
    /// A connection that opens (and completes TLS, where the upstream has it).
    Tcp,
    /// `grpc.health.v1.Health/Check` answers SERVING.
    Grpc {
        service: Arc<str>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HttpProbe {
    pub method: Arc<str>,
    pub path: Arc<str>,
    /// None: the endpoint's address.
    pub host: Option<Arc<str>>,
    pub status: Vec<StatusRange>,
    /// Must be found in the first 64 KiB of the body.
    pub body: Option<Pattern>,
}

/// Inclusive; `200` is 200–200.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct StatusRange {
    pub from: u16,
    pub to: u16,
}

impl StatusRange {
    pub fn contains(self, status: u16) -> bool {
        (self.from..=self.to).contains(&status)
    }
}

/// Watches the traffic itself. nginx's `max_fails=3 fail_timeout=30s` is `failures: 3, window: 30s, eject-for: 30s`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OutlierDetection {
    /// So many failures within `window` eject the endpoint.
    pub failures: NonZeroU32,
    #[serde(serialize_with = "serialize_duration")]
    pub window: Duration,
    #[serde(serialize_with = "serialize_duration")]
    pub eject_for: Duration,
    /// Answers that count as failures, beside connections that fail or time out.
    pub statuses: Vec<StatusRange>,
    /// Never more than this share of the primaries or of the backups at one time, but one of them; nginx's is 100 %.
    pub max_ejected: Percent,
}

/// What to do when every endpoint is known to be unhealthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenAllUnhealthy {
    /// Try them all the same: the checks may be wrong, and 503 is certain.
    TryAll,
    /// Answer 503.
    Refuse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpstreamProtocol {
    Http1,
    /// HTTP/2: by ALPN over TLS, with prior knowledge (h2c) without. gRPC needs it.
    Http2,
    /// HTTP/2 where ALPN agrees on it, else HTTP/1.1. Only over TLS.
    Auto,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UpstreamTls {
    pub verify: Verify,
    /// The name that is sent as SNI and that the certificate must have. None: the endpoint's DNS name, else the request's host.
    pub server_name: Option<Arc<str>>,
    /// Roots to verify against, PEM; None: the system's.
    pub ca: Option<PathBuf>,
    /// What Weir shows of itself.
    pub client_certificate: Option<ClientCertificate>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verify {
    Full,
    Skip,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClientCertificate {
    pub cert: PathBuf,
    pub key: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Keepalive {
    /// Idle connections kept per data-plane thread and endpoint; 0 closes each after its request. What a burst leaves
    /// beyond that is closed with the requests that follow, one with each.
    pub connections: usize,
    #[serde(serialize_with = "serialize_duration")]
    pub idle_timeout: Duration,
    /// Requests on one connection.
    pub max_requests: Option<NonZeroU32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UpstreamTimeouts {
    /// TCP and TLS together.
    #[serde(serialize_with = "serialize_duration")]
    pub connect: Duration,
    #[serde(serialize_with = "serialize_duration")]
    pub read: Duration,
    #[serde(serialize_with = "serialize_duration")]
    pub write: Duration,
    #[serde(serialize_with = "serialize_optional_duration")]
    pub request: Option<Duration>,
}

/// Another endpoint is tried only when that is safe: nothing was sent, or the method is idempotent and the body can be sent again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Retry {
    /// Attempts in all; 1 is no retry.
    pub attempts: NonZeroU32,
    pub on: Vec<RetryOn>,
    /// No new attempt begins later than this after the first.
    #[serde(serialize_with = "serialize_optional_duration")]
    pub timeout: Option<Duration>,
    /// Retries may be at most this share of the upstream's requests (over ten seconds; three are always allowed).
    /// Connections that could not be made do not count: they are no load.
    pub budget: Percent,
    /// The largest request body that is kept to be sent again.
    pub max_body: ByteSize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetryOn {
    /// The connection could not be made.
    Connect,
    /// The connection broke before an answer.
    Reset,
    /// The read timeout passed before an answer.
    Timeout,
    Status(u16),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UpstreamLimits {
    /// Requests in flight per endpoint, over all threads.
    pub max_connections: Option<NonZeroU32>,
    /// Requests that may wait for a place; more get 503.
    pub queue: usize,
    /// How long one may wait; then 503.
    #[serde(serialize_with = "serialize_duration")]
    pub queue_timeout: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_addresses_are_told_apart() {
        assert!(matches!(EndpointAddress::parse("127.0.0.1:80").unwrap(), EndpointAddress::Ip(_)));
        assert!(matches!(EndpointAddress::parse("[::1]:80").unwrap(), EndpointAddress::Ip(_)));
        assert_eq!(EndpointAddress::parse("Backend-1:8500").unwrap().to_string(), "backend-1:8500");
        assert!(matches!(EndpointAddress::parse("srv:_http._tcp.api.test").unwrap(), EndpointAddress::Srv(_)));
    }

    #[test]
    fn wrong_endpoint_addresses_say_what_to_write() {
        assert!(EndpointAddress::parse("backend").unwrap_err().contains("write \"backend:80\""));
        assert!(EndpointAddress::parse("::1").unwrap_err().contains("write \"[::1]:80\""));
        assert!(EndpointAddress::parse("http://a:80").unwrap_err().contains("is a URL"));
        assert!(EndpointAddress::parse("a:99999").unwrap_err().contains("not a port"));
        assert!(EndpointAddress::parse("127.0.0.1:0").unwrap_err().contains("port 0"));
    }
}
