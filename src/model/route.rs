//! A route: which requests it takes, and what is done with them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::units::serialize_optional_duration;
use super::{Files, Filter, PathRewrite, Pattern, QueryRewrite, Redirect, Retry, RouteName, Split, UpstreamName};
use crate::diagnostics::Origin;

#[derive(Clone, Debug, Serialize)]
pub struct Route {
    pub name: RouteName,
    pub origin: Origin,
    #[serde(rename = "match")]
    pub matches: RouteMatch,
    pub action: Action,
    /// Apply after the listener's and the host's.
    pub filters: Vec<Filter>,
}

/// All conditions must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RouteMatch {
    pub path: PathMatch,
    /// Empty: any method. `GET` takes `HEAD` along.
    pub methods: Vec<Arc<str>>,
    pub headers: Vec<FieldMatch>,
    pub query: Vec<FieldMatch>,
}

/// Matched against the normalized path: percent-decoded, dot segments resolved, slashes merged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PathMatch {
    Exact(Arc<str>),
    /// By whole segments: `/api` takes `/api` and `/api/…`, not `/apis`. `/api/` is the same prefix.
    Prefix(Arc<str>),
    /// Unanchored, as nginx's `location ~`: write `^` where it must begin there.
    Regex(Pattern),
}

impl fmt::Display for PathMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathMatch::Exact(path) => write!(f, "={path}"),
            PathMatch::Prefix(path) => f.write_str(path),
            PathMatch::Regex(pattern) => write!(f, "~{}", pattern.as_str()),
        }
    }
}

/// A condition on one header field, cookie or query parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldMatch {
    /// Header names are lowercase; others are as given.
    pub name: Arc<str>,
    pub value: ValueMatch,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValueMatch {
    Exact(Arc<str>),
    Regex(Pattern),
    /// Any value, the empty one included.
    Present,
    /// The field must not be there.
    Absent,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    Forward(Forward),
    Split(Split),
    Redirect(Redirect),
    Respond(Respond),
    Files(Files),
}

#[derive(Clone, Debug, Serialize)]
pub struct Forward {
    pub upstream: UpstreamName,
    pub rewrite: Rewrite,
    pub timeouts: RouteTimeouts,
    /// Instead of the upstream's.
    pub retry: Option<Retry>,
}

/// What differs between the request that arrived and the one that is sent. Without any of it the raw path goes upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rewrite {
    pub path: Option<PathRewrite>,
    pub query: QueryRewrite,
    /// Sent as `Host` (`:authority`) instead of the client's.
    pub host: Option<Arc<str>>,
}

/// None: the upstream's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RouteTimeouts {
    /// The whole request, retries included, to the last byte of the answer.
    #[serde(serialize_with = "serialize_optional_duration")]
    pub request: Option<Duration>,
    #[serde(serialize_with = "serialize_optional_duration")]
    pub connect: Option<Duration>,
    /// Between two reads from the upstream; for an upgraded connection the time it may be idle.
    #[serde(serialize_with = "serialize_optional_duration")]
    pub read: Option<Duration>,
    #[serde(serialize_with = "serialize_optional_duration")]
    pub write: Option<Duration>,
}

/// An answer of Weir's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Respond {
    /// 200–599.
    pub status: u16,
    pub headers: Vec<(Arc<str>, Arc<str>)>,
    pub body: Arc<str>,
}
