//! What is carried on without being read: connections, TLS of a host that ends elsewhere, and datagrams.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Field, scalar};
use crate::defaults;
use crate::model::format_duration;

/// The bytes of a connection go to an upstream as they come, and come back so. Of the upstream count its endpoints, `balance` (a
/// hash by `client-ip`), `slow-start`, health, `tls`, `timeouts.connect`, `retry` while no connection is made, and `limits`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "a map with upstream, idle-timeout and send-proxy-protocol")]
#[schemars(extend("required" = ["upstream"]))]
pub struct Tunnel {
    /// Its name.
    pub upstream: Field<String>,
    /// When nothing has come from either side for so long, both are closed.
    #[schemars(extend("default" = format_duration(defaults::TUNNEL_IDLE_TIMEOUT)))]
    pub idle_timeout: Field<scalar::Timeout>,
    /// Tells the upstream of the client before the first byte, by this version of the PROXY protocol. Off by default.
    pub send_proxy_protocol: Field<ProxyVersion>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename = "version of the PROXY protocol", rename_all = "kebab-case")]
#[schemars(inline)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// Datagrams go to an upstream, and its answers back. What one client's address and port send is a session: it stays with one
/// endpoint, which counts it as one connection, while that one is there and no less healthy than another.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "a map with upstream, idle-timeout, responses and max-sessions")]
#[schemars(extend("required" = ["upstream"]))]
pub struct Datagrams {
    /// Its name.
    pub upstream: Field<String>,
    /// A session in which nothing comes or goes for so long is over.
    #[schemars(extend("default" = format_duration(defaults::UDP_IDLE_TIMEOUT)))]
    pub idle_timeout: Field<scalar::Timeout>,
    /// After so many datagrams from the upstream a session is over: 1 for DNS. By default it is over when it is idle.
    pub responses: Field<scalar::Count>,
    /// Datagrams of further clients are dropped.
    #[schemars(extend("default" = defaults::MAX_UDP_SESSIONS))]
    pub max_sessions: Field<scalar::Count>,
}
