//! Upstreams: endpoints, how one is chosen, and how they are spoken to.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Either, Field, HealthCheck, KeyPair, List, OutlierDetection, scalar};
use crate::defaults;
use crate::model::format_duration;

/// A set of equal endpoints.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with endpoints")]
#[schemars(extend("required" = ["endpoints"]))]
pub struct Upstream {
    pub endpoints: Field<List<Either<scalar::EndpointText, Endpoint>>>,
    /// How one of the usable endpoints is chosen.
    #[schemars(extend("default" = "round-robin"))]
    pub balance: Field<Balance>,
    /// Keeps a client to its endpoint by a cookie. A request that finds the endpoint at `max-connections` goes to another
    /// one, and the cookie stays.
    pub sticky: Field<Sticky>,
    /// An endpoint that is new, or healthy again, gets its full share only after this long. Off by default.
    pub slow_start: Field<scalar::Span>,
    /// Asks each endpoint how it is. Off by default.
    pub health_check: Field<HealthCheck>,
    /// Watches the traffic itself, and leaves failing endpoints alone for a while; `off` switches it off.
    pub outlier_detection: Field<Either<scalar::Off, OutlierDetection>>,
    /// What to do when every endpoint is known to be unhealthy.
    #[schemars(extend("default" = "try-all"))]
    pub when_all_unhealthy: Field<WhenAllUnhealthy>,
    #[schemars(extend("default" = "http1"))]
    pub protocol: Field<Protocol>,
    /// TLS towards the endpoints; `{}` takes the defaults.
    pub tls: Field<UpstreamTls>,
    /// Idle connections kept per data-plane thread and endpoint, or all of it in full; 0 keeps none.
    #[schemars(extend("default" = defaults::KEEPALIVE_CONNECTIONS))]
    pub keepalive: Field<Either<scalar::Amount, Keepalive>>,
    pub timeouts: Field<Timeouts>,
    pub retry: Field<Retry>,
    pub limits: Field<UpstreamLimits>,
}

/// An endpoint in full.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "an address, as backend:8080, or a map with address, weight and backup")]
#[schemars(extend("required" = ["address"]))]
pub struct Endpoint {
    pub address: Field<scalar::EndpointText>,
    #[schemars(extend("default" = defaults::WEIGHT))]
    pub weight: Field<scalar::Weight>,
    /// Used only while no endpoint without this mark can be.
    #[schemars(extend("default" = false))]
    pub backup: Field<bool>,
}

/// How an endpoint is chosen. Weights count in every policy.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "balance policy", rename_all = "kebab-case")]
#[schemars(rename = "Balance")]
pub enum Balance {
    /// Each in turn.
    RoundRobin,
    /// The one with the fewest requests in flight.
    LeastConnections,
    /// Of two at random the one with the lower decayed latency times load.
    PeakEwma,
    Random,
    /// Consistent: while an endpoint is there, its keys stay with it.
    Hash(HashKey),
}

/// What a request is told apart by.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "hash key", rename_all = "kebab-case")]
#[schemars(rename = "HashKey")]
pub enum HashKey {
    ClientIp,
    /// The normalized path.
    Path,
    /// A header field of the request.
    Header(scalar::HeaderName),
    Cookie(scalar::CookieName),
    /// A query parameter.
    Query(String),
}

/// The cookie that keeps a client to its endpoint.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with cookie")]
#[schemars(extend("required" = ["cookie"]))]
pub struct Sticky {
    /// Its name.
    pub cookie: Field<scalar::CookieName>,
    /// By default it lasts as long as the browser runs.
    pub max_age: Field<scalar::Timeout>,
    #[schemars(extend("default" = defaults::STICKY_PATH))]
    pub path: Field<scalar::SentPath>,
    #[schemars(extend("default" = "lax"))]
    pub same_site: Field<SameSite>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename = "same-site mode", rename_all = "kebab-case")]
#[schemars(inline)]
pub enum SameSite {
    Strict,
    Lax,
    /// Works over TLS only: browsers want such a cookie secure.
    None,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename = "choice", rename_all = "kebab-case")]
#[schemars(inline)]
pub enum WhenAllUnhealthy {
    /// Try them all the same.
    TryAll,
    /// Answer 503.
    Refuse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename = "protocol", rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Protocol {
    Http1,
    /// Over TLS by ALPN, without TLS with prior knowledge (h2c). gRPC needs it.
    Http2,
    /// HTTP/2 where the endpoint agrees on it (ALPN), else HTTP/1.1. Needs `tls`.
    Auto,
}

/// TLS towards the endpoints.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "a map: {} for the defaults, or verify, server-name, ca and client-certificate")]
pub struct UpstreamTls {
    #[schemars(extend("default" = "full"))]
    pub verify: Field<Verify>,
    /// The name that is asked for (SNI) and that the certificate must have. By default the endpoint's, else the request's host.
    pub server_name: Field<scalar::SingleHost>,
    /// PEM file with the authorities to trust. By default the system's.
    pub ca: Field<scalar::FilePath>,
    /// What Weir shows of itself.
    pub client_certificate: Field<KeyPair>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename = "way to verify", rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Verify {
    /// The chain and the name.
    Full,
    /// Nothing: protects from no one who is on the way.
    Skip,
}

/// Idle connections to the endpoints.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "a number of connections, or a map with connections, idle-timeout and max-requests")]
pub struct Keepalive {
    /// Kept per data-plane thread and endpoint; 0 keeps none. What a burst leaves beyond that is closed with the requests
    /// that follow, one with each.
    #[schemars(extend("default" = defaults::KEEPALIVE_CONNECTIONS))]
    pub connections: Field<scalar::Amount>,
    /// Must be shorter than the origin's own.
    #[schemars(extend("default" = format_duration(defaults::KEEPALIVE_IDLE_TIMEOUT)))]
    pub idle_timeout: Field<scalar::Timeout>,
    /// Requests on one connection. No limit by default.
    pub max_requests: Field<scalar::Count>,
}

/// How long an upstream may take. At a route: instead of the upstream's own.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "a map with connect, read, write and request")]
pub struct Timeouts {
    /// TCP and TLS together.
    #[schemars(extend("default" = format_duration(defaults::CONNECT_TIMEOUT)))]
    pub connect: Field<scalar::Timeout>,
    /// Between two reads; for a WebSocket the time it may be idle.
    #[schemars(extend("default" = format_duration(defaults::READ_TIMEOUT)))]
    pub read: Field<scalar::Timeout>,
    /// Between two writes.
    #[schemars(extend("default" = format_duration(defaults::WRITE_TIMEOUT)))]
    pub write: Field<scalar::Timeout>,
    /// The whole request, retries included, to the last byte of the answer. No limit by default.
    pub request: Field<scalar::Timeout>,
}

/// Another endpoint is tried only when that is safe: nothing was sent, or the method is idempotent and the body can be
/// sent again. At a route: keys that are not written are the upstream's.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "a map with attempts, on, timeout, budget and max-body")]
pub struct Retry {
    /// Attempts in all; 1 is no retry.
    #[schemars(extend("default" = defaults::RETRY_ATTEMPTS, "maximum" = defaults::RETRY_ATTEMPTS_LIMIT))]
    pub attempts: Field<scalar::Count>,
    #[schemars(extend("default" = ["connect", "reset"]))]
    pub on: Field<List<scalar::RetryOn>>,
    /// No new attempt begins later than this after the first.
    #[schemars(extend("default" = format_duration(defaults::RETRY_TIMEOUT)))]
    pub timeout: Field<scalar::Timeout>,
    /// Retries may be at most this share of the upstream's requests.
    #[schemars(extend("default" = format!("{}%", defaults::RETRY_BUDGET.0)))]
    pub budget: Field<scalar::Share>,
    /// The largest request body that is kept to be sent again; at most 64KiB.
    #[schemars(extend("default" = defaults::RETRY_MAX_BODY.to_string()))]
    pub max_body: Field<scalar::Size>,
}

/// What an endpoint is given at one time.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "a map with max-connections, queue and queue-timeout")]
pub struct UpstreamLimits {
    /// Requests in flight per endpoint. No limit by default.
    pub max_connections: Field<scalar::Count>,
    /// Requests that may wait for a place; more get 503.
    #[schemars(extend("default" = defaults::QUEUE))]
    pub queue: Field<scalar::Amount>,
    /// How long one may wait; then it gets 503.
    #[schemars(extend("default" = format_duration(defaults::QUEUE_TIMEOUT)))]
    pub queue_timeout: Field<scalar::Timeout>,
}
