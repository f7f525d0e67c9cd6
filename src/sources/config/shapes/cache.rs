//! `cache`, and the stores that answers are kept in.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Either, Field, List, Table, scalar};
use crate::defaults;
use crate::model::format_duration;

/// Where answers are kept; nginx's `proxy_cache_path`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with memory and disk")]
pub struct CacheStore {
    /// The most that is kept in memory, heads and bookkeeping included.
    #[schemars(extend("default" = "64MiB"))]
    pub memory: Field<scalar::Size>,
    /// Keeps answers in files, too, so that they outlive the process.
    pub disk: Field<DiskTier>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with path and size")]
#[schemars(extend("required" = ["path", "size"]))]
pub struct DiskTier {
    /// A folder that nothing else writes to; made where it is missing.
    pub path: Field<scalar::FilePath>,
    /// The most that its files take; the least recently used go first.
    pub size: Field<scalar::Size>,
}

/// Keeps answers to GET and HEAD for others; nginx's `proxy_cache`, by the rules of RFC 9111.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with ttl")]
pub struct Cache {
    /// One of `cache-stores`. By default one of 64 MiB in memory.
    #[schemars(extend("default" = defaults::CACHE_STORE))]
    pub store: Field<String>,
    /// How long answers are good for that do not say so themselves: by status, `any` for all others, or one time for 200, 301 and
    /// 302.
    pub ttl: Field<Either<scalar::Span, Table<scalar::Span>>>,
    /// Whether `X-Accel-Expires`, `Cache-Control` and `Expires` of an answer are heeded. `ignore` is nginx's `proxy_ignore_headers`.
    #[schemars(extend("default" = "follow"))]
    pub upstream_ttl: Field<UpstreamTtl>,
    /// What makes two requests the same, beside the upstream.
    #[schemars(extend("default" = ["scheme", "host", "target"]))]
    pub key: Field<List<CacheKeyPart>>,
    /// Requests that have any of it, neither empty nor `0`, are sent on; their answers are kept.
    pub bypass: Field<List<CacheCondition>>,
    /// Answers to requests that have any of it, neither empty nor `0`, are not kept.
    pub no_store: Field<List<CacheCondition>>,
    /// When an answer past its time is shown all the same; nginx's `proxy_cache_use_stale`. What an answer allows by
    /// `stale-while-revalidate` and `stale-if-error` holds anyway.
    pub use_stale: Field<List<scalar::StaleOn>>,
    /// For so long after its time.
    #[schemars(extend("default" = format_duration(defaults::CACHE_STALE_FOR)))]
    pub stale_for: Field<scalar::Timeout>,
    /// Whether a stale answer that may be shown is fetched anew behind the request that finds it, so that nobody waits.
    #[schemars(extend("default" = true))]
    pub background_update: Field<bool>,
    /// Of several requests for what is not there one is sent on, and the others wait for its answer, but no longer than this.
    #[schemars(extend("default" = format_duration(defaults::CACHE_LOCK)))]
    pub lock: Field<scalar::TimeoutOrOff>,
    /// An answer is kept from its so-manieth request within ten minutes on.
    #[schemars(extend("default" = defaults::CACHE_MIN_USES.get()))]
    pub min_uses: Field<scalar::Count>,
    /// The largest body that is kept.
    #[schemars(extend("default" = "16MiB"))]
    pub max_object: Field<scalar::Size>,
    /// Whether `Cache-Control` of a request is heeded (`no-cache`, `no-store`, `only-if-cached`).
    #[schemars(extend("default" = "ignore"))]
    pub client_cache_control: Field<ClientCacheControl>,
    /// Whether answers tell by `X-Cache-Status` and `Cache-Status` (RFC 9211) what became of the request.
    #[schemars(extend("default" = true))]
    pub status_headers: Field<bool>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename = "use of the upstream's word", rename_all = "kebab-case")]
#[schemars(inline)]
pub enum UpstreamTtl {
    Follow,
    Ignore,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename = "use of the client's word", rename_all = "kebab-case")]
#[schemars(inline)]
pub enum ClientCacheControl {
    Ignore,
    Heed,
}

/// What requests are told apart by.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "part of a cache key", rename_all = "kebab-case")]
pub enum CacheKeyPart {
    Scheme,
    Host,
    /// Path and query as the client sent them.
    Target,
    /// The normalized path alone, so that the query is not regarded.
    Path,
    Header(scalar::HeaderName),
    Cookie(scalar::CookieName),
    /// One parameter of the query.
    Query(scalar::QueryName),
}

/// What a request may have.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "condition", rename_all = "kebab-case")]
pub enum CacheCondition {
    Header(scalar::HeaderName),
    Cookie(scalar::CookieName),
    /// One parameter of the query.
    Query(scalar::QueryName),
}
