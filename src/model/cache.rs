//! `cache`: which answers are kept for others, for how long, and where, as data.
//!
//! ```text
//! request ──key──► CacheStore { memory, disk } ──fresh──► answered without the upstream
//!                        └─ stale, or nothing ──► upstream ──Lifetimes──► kept
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::serialize_duration;
use super::units::{ByteSize, serialize_optional_duration};
use crate::diagnostics::Origin;

/// Where answers are kept. It outlives reloads under its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CacheStore {
    #[serde(skip)]
    pub origin: Origin,
    pub name: CacheStoreName,
    /// The most that is kept in memory, heads and bookkeeping included.
    pub memory: ByteSize,
    pub disk: Option<DiskTier>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DiskTier {
    #[serde(skip)]
    pub origin: Origin,
    pub path: PathBuf,
    pub size: ByteSize,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct CacheStoreName(pub Arc<str>);

impl fmt::Display for CacheStoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cache {
    pub store: CacheStoreName,
    /// For answers that do not say themselves how long they are good for, or of which that is not heeded.
    pub lifetimes: Lifetimes,
    pub upstream: UpstreamLifetimes,
    /// What makes two requests the same, beside the upstream.
    pub key: Vec<CacheKeyPart>,
    /// Requests that have any of it are sent on, and their answers kept.
    pub bypass: Vec<CacheCondition>,
    /// Answers to requests that have any of it are not kept.
    pub no_store: Vec<CacheCondition>,
    /// When an answer past its time is shown all the same.
    pub stale_on: Vec<StaleOn>,
    /// For so long after its time.
    #[serde(serialize_with = "serialize_duration")]
    pub stale_for: Duration,
    pub background_update: BackgroundUpdate,
    /// Of requests for what is not there one is sent on; the others wait for its answer, so long. None: all are sent on.
    #[serde(serialize_with = "serialize_optional_duration")]
    pub lock: Option<Duration>,
    /// An answer is kept from the request of this number on.
    pub min_uses: NonZeroU32,
    /// The largest body that is kept.
    pub max_object: ByteSize,
    pub client: ClientCaching,
    pub status_fields: StatusFields,
}

/// How long answers are kept, by status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lifetimes {
    #[serde(serialize_with = "serialize_lifetimes")]
    pub by_status: BTreeMap<u16, Duration>,
    /// For all others.
    #[serde(serialize_with = "serialize_optional_duration")]
    pub any: Option<Duration>,
}

impl Lifetimes {
    pub fn of(&self, status: u16) -> Option<Duration> {
        self.by_status.get(&status).copied().or(self.any)
    }
}

fn serialize_lifetimes<S: Serializer>(lifetimes: &BTreeMap<u16, Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(lifetimes.iter().map(|(status, time)| (status, super::format_duration(*time))))
}

/// Whether what an answer says of itself (`X-Accel-Expires`, `Cache-Control`, `Expires`) is heeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpstreamLifetimes {
    Follow,
    /// nginx's `proxy_ignore_headers`. Answers with `Set-Cookie` or `Vary: *` are not kept all the same.
    Ignore,
}

/// Who waits for what is fetched anew while the old one may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackgroundUpdate {
    /// Nobody: it goes on behind the request that it began with.
    On,
    /// That request, as in nginx unless `proxy_cache_background_update` is on.
    Off,
}

/// Whether `Cache-Control` and `Pragma` of a request are heeded (RFC 9111 §5.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientCaching {
    /// Clients cannot make the upstream work.
    Ignore,
    Heed,
}

/// Whether answers tell by `X-Cache-Status` and `Cache-Status` (RFC 9211) what the cache made of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StatusFields {
    Send,
    Omit,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CacheKeyPart {
    Scheme,
    Host,
    /// Path and query as the client sent them.
    Target,
    /// The normalized path alone.
    Path,
    Header(Arc<str>),
    Cookie(Arc<str>),
    /// One parameter of the query.
    Query(Arc<str>),
}

/// Holds where the request has it, neither empty nor `0`, as in nginx.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CacheCondition {
    Header(Arc<str>),
    Cookie(Arc<str>),
    Query(Arc<str>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StaleOn {
    /// No endpoint could be reached, or the answer broke off before its head.
    Error,
    Timeout,
    /// It is being fetched anew.
    Updating,
    Status(u16),
}

impl StaleOn {
    /// As it is written.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "error" => Ok(StaleOn::Error),
            "timeout" => Ok(StaleOn::Timeout),
            "updating" => Ok(StaleOn::Updating),
            _ => match text.parse() {
                Ok(status @ (403 | 404 | 429 | 500..=599)) if text.len() == 3 => Ok(StaleOn::Status(status)),
                Ok(_) | Err(_) => {
                    Err(format!("\"{text}\" is none of error, timeout, updating, 403, 404, 429 and 500 to 599"))
                }
            },
        }
    }
}

/// What is to be taken out before its time. URLs are host and target, as `a.test/x?y`: whatever the scheme, and every variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purge {
    Url(String),
    Prefix(String),
    /// A word of `Cache-Tag` or `Surrogate-Key`.
    Tag(String),
    Everything,
}

impl Purge {
    pub fn takes(&self, url: &str, tags: &[Box<str>]) -> bool {
        match self {
            Purge::Url(wanted) => url == wanted,
            Purge::Prefix(prefix) => url.starts_with(prefix.as_str()),
            Purge::Tag(tag) => tags.iter().any(|known| **known == **tag),
            Purge::Everything => true,
        }
    }
}
