//! What concerns the process as a whole.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Field, scalar};
use crate::defaults;
use crate::model::format_duration;

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename = "format of the access log", rename_all = "kebab-case")]
#[schemars(inline)]
pub enum AccessLogWord {
    /// One JSON object for each request.
    Json,
    /// nginx's `combined`.
    Combined,
    /// No log.
    Off,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename = "format of the access log", rename_all = "kebab-case")]
#[schemars(inline)]
pub enum AccessLogFormat {
    /// One JSON object for each request.
    Json,
    /// nginx's `combined`.
    Combined,
}

/// The access log in full.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "json, combined, off or a map with format and file")]
pub struct AccessLog {
    #[schemars(extend("default" = "json"))]
    pub format: Field<AccessLogFormat>,
    /// Appended to, and opened anew when it was moved away or on SIGUSR1. By default stdout.
    pub file: Field<scalar::FilePath>,
}

/// Probes, metrics and inspection.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "off or a map with address")]
pub struct Admin {
    /// It shows the configuration: keep it to addresses that only operators reach.
    #[schemars(extend("default" = defaults::ADMIN_ADDRESS.to_string()))]
    pub address: Field<scalar::BindAddress>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename = "word for request ids", rename_all = "kebab-case")]
#[schemars(inline)]
pub enum RequestIds {
    OfTrustedProxies,
    OfClients,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename = "word for lanes", rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Lanes {
    Auto,
    Full,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename = "state", rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Switch {
    On,
    Off,
}

/// How TLS sessions are resumed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "off or a map with rotate")]
pub struct SessionTickets {
    /// How long a key seals tickets; it opens them for as long again. At most 7d.
    #[schemars(extend("default" = format_duration(defaults::TICKET_ROTATION)))]
    pub rotate: Field<scalar::Timeout>,
}

/// Where limits of the scope `redis` are counted.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with url")]
#[schemars(extend("required" = ["url"]))]
pub struct Redis {
    pub url: Field<scalar::RedisUrl>,
    /// A file with its password.
    pub password_file: Field<scalar::FilePath>,
    /// Whom its certificate is verified against, PEM. By default the system's authorities.
    pub ca: Field<scalar::FilePath>,
    /// How long a request may wait for its answer, connecting included.
    #[schemars(extend("default" = format_duration(defaults::REDIS_TIMEOUT)))]
    pub timeout: Field<scalar::Timeout>,
    /// What its keys begin with. Those who share it count together.
    #[schemars(extend("default" = defaults::REDIS_KEY_PREFIX))]
    pub key_prefix: Field<String>,
}

/// How many processes share the traffic, this one among them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "number of replicas", rename_all = "kebab-case")]
pub enum Replicas {
    Count(scalar::Count),
    /// As many as this name has addresses: that of a headless service, which has those that are ready.
    Dns(scalar::SingleHost),
}

/// How the process ends on SIGTERM.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "a map with delay and timeout")]
pub struct Shutdown {
    /// How long `/readyz` answers 503 before the listeners close, so that a load balancer can look away.
    #[schemars(extend("default" = format_duration(defaults::SHUTDOWN_DELAY)))]
    pub delay: Field<scalar::Span>,
    /// How long requests in flight may take to finish after that.
    #[schemars(extend("default" = format_duration(defaults::SHUTDOWN_TIMEOUT)))]
    pub timeout: Field<scalar::Span>,
}
