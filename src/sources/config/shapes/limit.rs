//! Limits: how often, and how many at a time.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Field, List, OneOrList, scalar};
use crate::defaults;

/// nginx's `limit_req`: a bucket that leaks at the rate; what would make it hold more than the burst is refused.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with rate")]
#[schemars(extend("required" = ["rate"]))]
pub struct RateLimit {
    pub rate: Field<scalar::Rate>,
    /// So many requests more than the rate are let pass.
    #[schemars(extend("default" = defaults::RATE_LIMIT_BURST.get()))]
    pub burst: Field<scalar::Burst>,
    /// Which of a burst wait until the rate allows them: `none`, `all`, or all but so many.
    #[schemars(extend("default" = defaults::RATE_LIMIT_DELAY.to_string()))]
    pub delay: Field<scalar::Delay>,
    /// What is counted together. Requests that have nothing of it are not limited.
    #[schemars(extend("default" = "client-ip"))]
    pub key: Field<OneOrList<LimitKey>>,
    /// As many bits of an IPv6 address make a client.
    #[schemars(extend("default" = defaults::LIMIT_IPV6_PREFIX))]
    pub ipv6_prefix: Field<scalar::Ipv6PrefixLength>,
    /// Clients that are not limited.
    pub allow: Field<List<scalar::Network>>,
    /// Of the refusal.
    #[schemars(extend("default" = defaults::LIMIT_STATUS))]
    pub status: Field<scalar::RefusalStatus>,
    /// Limits of one name count together; by default each place counts by itself.
    pub name: Field<String>,
    /// Which processes count together.
    #[schemars(extend("default" = "process"))]
    pub scope: Field<LimitScope>,
    /// What becomes of requests while Redis does not answer.
    #[schemars(extend("default" = "local"))]
    pub on_redis_failure: Field<OnRedisFailure>,
    /// Only counts in the metrics what it would refuse or delay.
    #[schemars(extend("default" = false))]
    pub dry_run: Field<bool>,
}

/// nginx's `limit_conn`: requests in flight at once, each stream of HTTP/2 by itself.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with max")]
#[schemars(extend("required" = ["max"]))]
pub struct ConcurrencyLimit {
    pub max: Field<scalar::Count>,
    /// What is counted together. Requests that have nothing of it are not limited.
    #[schemars(extend("default" = "client-ip"))]
    pub key: Field<OneOrList<LimitKey>>,
    /// As many bits of an IPv6 address make a client.
    #[schemars(extend("default" = defaults::LIMIT_IPV6_PREFIX))]
    pub ipv6_prefix: Field<scalar::Ipv6PrefixLength>,
    /// Clients that are not limited.
    pub allow: Field<List<scalar::Network>>,
    /// Of the refusal.
    #[schemars(extend("default" = defaults::LIMIT_STATUS))]
    pub status: Field<scalar::RefusalStatus>,
    /// Limits of one name count together; by default each place counts by itself.
    pub name: Field<String>,
    /// Only counts in the metrics what it would refuse.
    #[schemars(extend("default" = false))]
    pub dry_run: Field<bool>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename = "scope of a limit", rename_all = "kebab-case")]
#[schemars(inline)]
pub enum LimitScope {
    /// Each by itself.
    Process,
    /// Each by itself, with rate and burst divided by the number of `replicas`.
    ReplicaShare,
    /// All of them, exactly: in the `redis` of the process.
    Redis,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename = "way out", rename_all = "kebab-case")]
#[schemars(inline)]
pub enum OnRedisFailure {
    /// They go on.
    Allow,
    /// They are answered 503.
    Refuse,
    /// Each process counts them by itself.
    Local,
}

/// What requests are counted by.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "limit key", rename_all = "kebab-case")]
#[schemars(rename = "LimitKey")]
pub enum LimitKey {
    ClientIp,
    Host,
    /// The normalized path.
    Path,
    /// A header field of the request.
    Header(scalar::HeaderName),
    Cookie(scalar::CookieName),
    /// What a token says that `jwt` has verified, as `sub`. Such a limit is asked after that.
    JwtClaim(scalar::ClaimName),
}
