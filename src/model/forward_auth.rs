//! `forward-auth`: somebody else says who may come in, as data.
//!
//! ```text
//! request ──head alone──► service ──2xx──► goes on, with what the service says of the client
//!                            ├─ 401, 403 ─► the client, or the page where one signs in
//!                            └─ anything else, or nothing ─► closed
//! ```

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::units::serialize_duration;
use super::{HeaderTemplate, UpstreamName};

/// nginx's `auth_request`, Traefik's ForwardAuth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ForwardAuth {
    /// Where it stands, as `route:api`: what it is counted under.
    pub place: Arc<str>,
    pub service: AuthService,
    pub method: Arc<str>,
    /// For the whole exchange, waiting for a connection included.
    #[serde(serialize_with = "serialize_duration")]
    pub timeout: Duration,
    pub request_headers: AskedWith,
    /// Of the service's answer to the upstream. What the client sent under these names never goes there.
    /// Set on the question, beside those and above them.
    pub set_headers: Vec<(Arc<str>, HeaderTemplate)>,
    pub response_headers: Vec<Arc<str>>,
    pub set_cookie: SetCookie,
    /// None: who is not signed in gets 401.
    pub sign_in: Option<SignIn>,
    pub refusal: AuthRefusal,
    /// Where the service gave no answer, or none that says yes or no.
    pub failure_status: u16,
    pub cache: Option<AuthCache>,
}

/// Whom to ask: an upstream of the file, or one that was made of a URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuthService {
    pub upstream: UpstreamName,
    /// Path and query.
    pub target: Arc<str>,
    /// None: the request's own.
    pub host: Option<Arc<str>>,
}

/// Which of the client's header fields the service sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AskedWith {
    /// All that concern more than the connection, the body or what is kept of it.
    All,
    Listed(Vec<Arc<str>>),
}

/// When the client gets the `Set-Cookie` of the service's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SetCookie {
    Never,
    /// With an answer below 400.
    OnSuccess,
    Always,
}

/// ingress-nginx's `auth-signin`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SignIn {
    pub url: HeaderTemplate,
    /// Of the query: where the client wanted to go. None: the page is not told.
    pub parameter: Option<Arc<str>>,
    pub told: ReturnTo,
}

/// How much of where the client wanted to go its parameter says. Escaped either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReturnTo {
    #[default]
    Url,
    /// Path and query.
    Uri,
}

/// What the client gets where the service says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthRefusal {
    /// Weir's own page for 401 and 403; anything else is a failure.
    Own,
    /// The service's answer, whole: any from 300 to 499.
    Passed,
}

/// Answers that are not asked for again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuthCache {
    /// Requests that have all of these in common are answered alike. One that has none of the fields and cookies among them is asked about.
    pub key: Vec<AuthCacheKey>,
    /// By status of the answer.
    #[serde(serialize_with = "serialize_ttl")]
    pub ttl: BTreeMap<u16, Duration>,
    pub max_entries: NonZeroUsize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthCacheKey {
    ClientIp,
    Host,
    /// The one that took the request.
    Route,
    Method,
    /// Normalized, without the query.
    Path,
    /// In lowercase.
    Header(Arc<str>),
    Cookie(Arc<str>),
}

fn serialize_ttl<S: serde::Serializer>(ttl: &BTreeMap<u16, Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(ttl.iter().map(|(status, ttl)| (status, super::format_duration(*ttl))))
}
