//! What concerns the process as a whole.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;

use super::Redis;
use super::units::serialize_duration;
use crate::diagnostics::Origin;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Process {
    pub threads: Threads,
    pub access_log: Option<AccessLog>,
    pub admin: Option<Admin>,
    /// Peers whose `X-Forwarded-*`, `X-Real-IP`, `X-Request-ID` and `Forwarded` are believed.
    pub trusted_proxies: Vec<IpNet>,
    pub request_ids: RequestIds,
    pub lanes: Lanes,
    /// Whether the RFC 7239 `Forwarded` field is sent upstream beside `X-Forwarded-*`.
    pub forwarded: ForwardedField,
    pub shutdown: Shutdown,
    /// Where DNS questions go; empty: as /etc/resolv.conf says.
    pub resolvers: Vec<SocketAddr>,
    pub session_tickets: SessionTickets,
    pub ocsp_stapling: OcspStapling,
    /// Present where processes count together.
    pub redis: Option<Redis>,
    /// None: nobody has said how many there are.
    pub replicas: Option<Replicas>,
}

/// Whose `X-Request-ID` a request keeps; others get one of Weir's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequestIds {
    OfTrustedProxies,
    /// As ingress-nginx: of anybody who sends one.
    OfClients,
}

/// Which ways requests may go through the process. Answers are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lanes {
    /// The lean one where it can do what the request and its route need, else the full one.
    Auto,
    /// The full one alone.
    Full,
}

/// How many processes share the traffic, this one among them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Replicas {
    Count(NonZeroU32),
    /// As many as a name has addresses: that of a headless service.
    Dns(Arc<str>),
}

/// Whether authorities are asked about the certificates that are served, and their answers shown with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OcspStapling {
    On,
    Off,
}

/// How TLS sessions are resumed. The state is in the ticket, at the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionTickets {
    /// Not at all.
    Off,
    /// A key seals tickets for this long, and opens them for as long again.
    Rotate {
        #[serde(serialize_with = "serialize_duration")]
        every: Duration,
    },
}

/// Data-plane threads. Fixed for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Threads {
    /// One for each processor the process may use.
    Auto,
    Fixed(NonZeroUsize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedField {
    Omit,
    Send,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccessLog {
    pub origin: Origin,
    pub format: AccessLogFormat,
    pub target: LogTarget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccessLogFormat {
    Json,
    /// nginx's `combined`.
    Combined,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogTarget {
    Stdout,
    /// Appended to; reopened on SIGUSR1 and when the file was moved away, for logrotate.
    File(PathBuf),
}

/// Probes, metrics and inspection. Loopback by default: it shows the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Admin {
    pub origin: Origin,
    pub address: SocketAddr,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shutdown {
    /// How long `/readyz` answers 503 before the listeners close, so that a load balancer can look away.
    #[serde(serialize_with = "serialize_duration")]
    pub delay: Duration,
    /// How long requests in flight may take to finish after that.
    #[serde(serialize_with = "serialize_duration")]
    pub timeout: Duration,
}
