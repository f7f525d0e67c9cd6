//! How endpoints are watched: actively by probes, passively by what becomes of requests.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Field, List, scalar};
use crate::defaults;
use crate::model::format_duration;

/// A probe that is sent to each endpoint: exactly one of `http`, `tcp` and `grpc`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with http, tcp or grpc")]
#[schemars(extend("oneOf" = [{ "required": ["http"] }, { "required": ["tcp"] }, { "required": ["grpc"] }]))]
pub struct HealthCheck {
    /// A request whose answer is looked at.
    pub http: Field<HttpProbe>,
    /// A connection that opens (and completes TLS, where the upstream has it): `tcp: {}`.
    pub tcp: Field<TcpProbe>,
    /// `grpc.health.v1.Health/Check` answers SERVING.
    pub grpc: Field<GrpcProbe>,
    #[schemars(extend("default" = format_duration(defaults::HEALTH_INTERVAL)))]
    pub interval: Field<scalar::Timeout>,
    #[schemars(extend("default" = format_duration(defaults::HEALTH_TIMEOUT)))]
    pub timeout: Field<scalar::Timeout>,
    /// So many failures in a row make it unhealthy.
    #[schemars(extend("default" = defaults::UNHEALTHY_AFTER))]
    pub unhealthy_after: Field<scalar::Count>,
    /// So many successes in a row make it healthy.
    #[schemars(extend("default" = defaults::HEALTHY_AFTER))]
    pub healthy_after: Field<scalar::Count>,
    /// Instead of the endpoint's own.
    pub port: Field<scalar::Port>,
}

/// A request whose answer is looked at.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with path")]
#[schemars(extend("required" = ["path"]))]
pub struct HttpProbe {
    pub path: Field<scalar::ProbePath>,
    #[schemars(extend("default" = defaults::HEALTH_METHOD))]
    pub method: Field<scalar::Method>,
    /// Sent as `Host`. By default the endpoint's address.
    pub host: Field<scalar::Authority>,
    /// What counts as healthy.
    #[schemars(extend("default" = ["200-399"]))]
    pub status: Field<List<scalar::StatusRange>>,
    /// Must be found in the first 64 KiB of the body.
    pub body: Field<scalar::Regex>,
}

/// A connection that opens. There is nothing to say about it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "an empty map: {}")]
pub struct TcpProbe {}

/// `grpc.health.v1.Health/Check`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with service, or {}")]
pub struct GrpcProbe {
    /// The service that is asked for. By default the server as a whole.
    pub service: Field<String>,
}

/// Leaves an endpoint alone that fails too often. nginx's `max_fails=3 fail_timeout=30s` is
/// `{ failures: 3, window: 30s, eject-for: 30s }`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "off or a map with failures, window, eject-for, statuses and max-ejected")]
pub struct OutlierDetection {
    /// So many failures within `window` eject the endpoint.
    #[schemars(extend("default" = defaults::OUTLIER_FAILURES))]
    pub failures: Field<scalar::Count>,
    #[schemars(extend("default" = format_duration(defaults::OUTLIER_WINDOW)))]
    pub window: Field<scalar::Timeout>,
    #[schemars(extend("default" = format_duration(defaults::OUTLIER_EJECT_FOR)))]
    pub eject_for: Field<scalar::Timeout>,
    /// Answers that count as failures, beside connections that fail or time out. None by default.
    pub statuses: Field<List<scalar::StatusRange>>,
    /// Never more than this share at one time, or one; of the backups and of the others alike. Of three primaries 50% is
    /// one, so two go on failing before a backup is used; nginx leaves out all: `100%`.
    #[schemars(extend("default" = format!("{}%", defaults::OUTLIER_MAX_EJECTED.0)))]
    pub max_ejected: Field<scalar::Share>,
}
