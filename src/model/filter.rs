//! Filters: what is checked, edited or bounded on the way, as data.
//!
//! Each kind is one variant here and one file in `proxy/filters/`. A filter may stand at a listener, a host
//! or a route; of two of one kind the nearest to the route wins, but `allow` and `deny` of all levels hold. Limits and mirrors may stand
//! several at one level: those of the nearest level that has any hold, all of them. `compile` turns filters into checks, limits, edit lists and
//! body stages, so that neither lane needs to know a kind.

use std::sync::Arc;

use ipnet::IpNet;
use serde::Serialize;

use super::units::ByteSize;
use super::{
    AppRoot, Bandwidth, BasicAuth, Cache, CacheHeaders, Compress, ConcurrencyLimit, Conditions, Cors, Counted,
    ErrorPages, ForwardAuth, HeaderEdits, HttpsRedirect, Jwt, LimitName, Mirror, RateLimit, RequestBuffering,
    ResponseRewrite, TrailingSlash, WwwRedirect,
};
use crate::diagnostics::Origin;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Filter {
    #[serde(skip)]
    pub origin: Origin,
    #[serde(flatten)]
    pub kind: FilterKind,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FilterKind {
    /// Plain requests are sent to the same URL over https.
    HttpsRedirect(HttpsRedirect),
    /// From a name with `www.` to the one without, or the other way.
    WwwRedirect(WwwRedirect),
    /// `/` leads into the application.
    AppRoot(AppRoot),
    /// Paths with a slash at the end and without are one.
    TrailingSlash(TrailingSlash),
    /// Only these clients; others get 403.
    Allow(Vec<IpNet>),
    /// Not these clients; they get 403. Asked before `allow`.
    Deny(Vec<IpNet>),
    /// Whether all must let a request in who are asked, or one of them.
    Satisfy(Satisfy),
    /// Which other origins' scripts may read answers.
    Cors(Cors),
    ConcurrencyLimit(ConcurrencyLimit),
    RateLimit(RateLimit),
    /// Who has neither name nor password gets 401.
    BasicAuth(BasicAuth),
    /// Who has no token that is valid gets 401.
    Jwt(Jwt),
    /// Somebody else says who may come in.
    ForwardAuth(ForwardAuth),
    /// Answers are kept for others.
    Cache(Cache),
    /// How long browsers and caches may keep an answer.
    CacheHeaders(CacheHeaders),
    /// Which answers are made smaller on the way.
    Compress(Compress),
    /// Own pages instead of errors.
    ErrorPages(ErrorPages),
    Headers(HeaderEdits),
    SecurityHeaders(SecurityHeaders),
    /// The largest request body; a larger one is answered 413.
    MaxBodySize(ByteSize),
    /// How fast bodies flow.
    Bandwidth(Bandwidth),
    /// Whether the upstream is asked only when a body is whole.
    RequestBuffering(RequestBuffering),
    /// Copies for somebody who is not waited for.
    Mirror(Mirror),
    /// What the upstream says of itself in cookies and redirects, in the words of who stands before it.
    ResponseRewrite(ResponseRewrite),
    /// Whether the requests are in the access log.
    AccessLog(Logging),
    /// Requests that are answered for what they are.
    Conditions(Conditions),
}

/// Of `allow` and `deny` of its own level and those nearer to the route, and of `jwt`, `basic-auth` and `forward-auth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Satisfy {
    All,
    /// As nginx: an address that is neither allowed nor denied decides nothing.
    Any,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Logging {
    #[default]
    On,
    Off,
}

/// What counts requests, and is known by a name.
#[derive(Clone, Copy, Debug)]
pub enum Limit<'a> {
    Rate(&'a RateLimit),
    Concurrency(&'a ConcurrencyLimit),
}

impl<'a> Limit<'a> {
    pub fn name(self) -> &'a LimitName {
        match self {
            Limit::Rate(limit) => &limit.name,
            Limit::Concurrency(limit) => &limit.name,
        }
    }

    pub fn counted(self) -> &'a Counted {
        match self {
            Limit::Rate(limit) => &limit.counted,
            Limit::Concurrency(limit) => &limit.counted,
        }
    }
}

impl FilterKind {
    /// The limit that it is, if it is one.
    pub fn limit(&self) -> Option<Limit<'_>> {
        match self {
            FilterKind::RateLimit(limit) => Some(Limit::Rate(limit)),
            FilterKind::ConcurrencyLimit(limit) => Some(Limit::Concurrency(limit)),
            FilterKind::HttpsRedirect(_)
            | FilterKind::WwwRedirect(_)
            | FilterKind::AppRoot(_)
            | FilterKind::TrailingSlash(_)
            | FilterKind::Allow(_)
            | FilterKind::Deny(_)
            | FilterKind::Cors(_)
            | FilterKind::BasicAuth(_)
            | FilterKind::Jwt(_)
            | FilterKind::ForwardAuth(_)
            | FilterKind::Cache(_)
            | FilterKind::CacheHeaders(_)
            | FilterKind::Compress(_)
            | FilterKind::ErrorPages(_)
            | FilterKind::Headers(_)
            | FilterKind::SecurityHeaders(_)
            | FilterKind::MaxBodySize(_)
            | FilterKind::Bandwidth(_)
            | FilterKind::RequestBuffering(_)
            | FilterKind::Mirror(_)
            | FilterKind::Satisfy(_)
            | FilterKind::ResponseRewrite(_)
            | FilterKind::AccessLog(_)
            | FilterKind::Conditions(_) => None,
        }
    }

    /// The pages that it shows, if it shows some.
    pub fn error_pages(&self) -> Option<&ErrorPages> {
        if let FilterKind::ErrorPages(pages) = self { Some(pages) } else { None }
    }

    /// The shadow that it has, if it has one.
    pub fn mirror(&self) -> Option<&Mirror> {
        if let FilterKind::Mirror(mirror) = self { Some(mirror) } else { None }
    }

    /// The key it has in the file.
    pub fn name(&self) -> &'static str {
        match self {
            FilterKind::HttpsRedirect(_) => "https-redirect",
            FilterKind::WwwRedirect(_) => "www-redirect",
            FilterKind::AppRoot(_) => "app-root",
            FilterKind::TrailingSlash(_) => "trailing-slash",
            FilterKind::Allow(_) => "allow",
            FilterKind::Deny(_) => "deny",
            FilterKind::Cors(_) => "cors",
            FilterKind::ConcurrencyLimit(_) => "concurrency-limit",
            FilterKind::RateLimit(_) => "rate-limit",
            FilterKind::BasicAuth(_) => "basic-auth",
            FilterKind::Jwt(_) => "jwt",
            FilterKind::ForwardAuth(_) => "forward-auth",
            FilterKind::Cache(_) => "cache",
            FilterKind::CacheHeaders(_) => "cache-headers",
            FilterKind::Compress(_) => "compress",
            FilterKind::ErrorPages(_) => "error-pages",
            FilterKind::Headers(_) => "headers",
            FilterKind::SecurityHeaders(_) => "security-headers",
            FilterKind::MaxBodySize(_) => "max-body-size",
            FilterKind::Bandwidth(_) => "bandwidth",
            FilterKind::RequestBuffering(_) => "request-buffering",
            FilterKind::Mirror(_) => "mirror",
            FilterKind::Satisfy(_) => "satisfy",
            FilterKind::ResponseRewrite(_) => "response-rewrite",
            FilterKind::AccessLog(_) => "access-log",
            FilterKind::Conditions(_) => "conditions",
        }
    }
}

/// The preset: each field is set on every answer unless the upstream sent its own; `None` leaves it out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SecurityHeaders {
    /// `Strict-Transport-Security`, on TLS only.
    pub hsts: Option<Arc<str>>,
    pub frame_options: Option<Arc<str>>,
    pub content_type_options: Option<Arc<str>>,
    pub referrer_policy: Option<Arc<str>>,
    pub permissions_policy: Option<Arc<str>>,
    pub content_security_policy: Option<Arc<str>>,
}
