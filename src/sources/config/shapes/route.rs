//! Hosts and their routes: which requests are taken, and what is done with them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Either, Field, Files, Filter, HashKey, HostTls, List, Retry, Table, Timeouts, scalar};
use crate::defaults;

/// The names that are answered to, and the routes behind them.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with names and routes")]
#[schemars(extend("required" = ["names"], "anyOf" = [{ "required": ["routes"] }, { "required": ["tls"] }]))]
pub struct Host {
    /// An exact name beats a wildcard, a longer wildcard a shorter one, and `*` comes last.
    pub names: Field<List<scalar::HostPattern>>,
    /// The listeners it is served on. By default all.
    pub listeners: Field<List<String>>,
    /// What this host asks of TLS connections, instead of what the listener asks.
    pub tls: Field<HostTls>,
    /// Apply to every route of this host.
    pub filters: Field<List<Filter>>,
    /// The most specific match wins, wherever it stands.
    pub routes: Field<List<Route>>,
}

/// Which requests are taken (exactly one of `path`, `exact` and `regex`; all conditions must hold), and what is done with
/// them (exactly one of `upstream`, `split`, `redirect`, `respond` and `files`).
// What most routes do not have is boxed: a file may have a hundred thousand of them.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "a map with path, exact or regex, and upstream, split, redirect, respond or files")]
#[schemars(extend("allOf" = [
    { "oneOf": [{ "required": ["path"] }, { "required": ["exact"] }, { "required": ["regex"] }] },
    { "oneOf": [{ "required": ["upstream"] }, { "required": ["split"] }, { "required": ["redirect"] }, { "required": ["respond"] }, { "required": ["files"] }] }
]))]
pub struct Route {
    /// For logs, metrics and `weir explain`. By default made of the host and the match.
    pub name: Field<String>,
    /// A prefix, by whole segments: `/api` takes `/api` and `/api/…`, not `/apis`.
    pub path: Field<scalar::MatchedPath>,
    /// The whole path.
    pub exact: Field<scalar::MatchedPath>,
    /// Searched for anywhere in the path: write `^` where it must begin there.
    pub regex: Field<scalar::Regex>,
    /// By default any. `GET` takes `HEAD` along.
    pub methods: Field<List<scalar::Method>>,
    /// Header fields that must be there, by name.
    pub headers: Field<Table<Either<FieldWord, FieldCondition>>>,
    /// Query parameters that must be there, by name.
    pub query: Field<Table<Either<FieldWord, FieldCondition>>>,
    /// The name of the upstream that the request is sent to.
    pub upstream: Field<String>,
    /// Several upstreams, and who goes to which.
    pub split: Field<Box<Split>>,
    /// Sends the client elsewhere.
    pub redirect: Field<Box<Redirect>>,
    /// Answers without an upstream.
    pub respond: Field<Box<Respond>>,
    /// Answers from a folder.
    pub files: Field<Box<Files>>,
    /// What differs between the request that arrived and the one that is sent.
    pub rewrite: Field<Box<Rewrite>>,
    /// Instead of the upstream's.
    pub timeouts: Field<Box<Timeouts>>,
    /// Instead of the upstream's.
    pub retry: Field<Box<Retry>>,
    /// Apply to this route.
    pub filters: Field<List<Filter>>,
}

/// The first rule that fits decides; then a sticky cookie of one of the upstreams; then the weights.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with weights, key, salt and rules")]
#[schemars(extend("required" = ["weights"]))]
pub struct Split {
    /// By upstream: its share is this part of the sum.
    pub weights: Field<Table<scalar::SplitWeight>>,
    /// Requests alike in this go to the same upstream. By default chance decides, for each request by itself, as it does for
    /// those that lack the key.
    pub key: Field<HashKey>,
    /// Any text: who is chosen by the key here has nothing to do with who is chosen by it elsewhere. By default none.
    pub salt: Field<String>,
    /// Who goes where whatever the weights say.
    pub rules: Field<List<SplitRule>>,
}

/// All conditions must hold.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "a map with headers, cookies or query, and upstream")]
#[schemars(extend("required" = ["upstream"]))]
pub struct SplitRule {
    /// Header fields that must be there, by name.
    pub headers: Field<Table<Either<FieldWord, FieldCondition>>>,
    /// Cookies that must be there, by name.
    pub cookies: Field<Table<Either<FieldWord, FieldCondition>>>,
    /// Query parameters that must be there, by name.
    pub query: Field<Table<Either<FieldWord, FieldCondition>>>,
    /// Where they go; one that has no weight gets these alone.
    pub upstream: Field<String>,
}

/// `present`, `absent`, or the value it must have.
#[derive(Debug, JsonSchema)]
#[schemars(inline, with = "String")]
pub enum FieldWord {
    Present,
    Absent,
    Exact(String),
}

impl<'de> Deserialize<'de> for FieldWord {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(match text.as_str() {
            "present" => FieldWord::Present,
            "absent" => FieldWord::Absent,
            _ => FieldWord::Exact(text),
        })
    }
}

/// A condition in full.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "condition", rename_all = "kebab-case")]
#[schemars(rename = "FieldCondition")]
pub enum FieldCondition {
    /// The value it must have; for the values `present` and `absent`, too.
    Exact(String),
    /// Searched for in the value.
    Regex(scalar::Regex),
}

/// Parts that are not written stay as the client sent them.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "a map with status, scheme, host, port, query, and path, prefix or regex")]
pub struct Redirect {
    #[schemars(extend("default" = defaults::REDIRECT_STATUS.code()))]
    pub status: Field<scalar::RedirectCode>,
    pub scheme: Field<Scheme>,
    pub host: Field<scalar::SingleHost>,
    pub port: Field<scalar::Port>,
    /// The whole path. A query may follow it; the client's comes after that.
    pub path: Field<scalar::SentTarget>,
    /// What the route's `path` matched is replaced by this.
    pub prefix: Field<scalar::SentPath>,
    /// The first match in the path is replaced. Where there is none, and nothing else changes, the answer is 404.
    pub regex: Field<RegexRewrite>,
    /// What becomes of the client's query.
    #[schemars(extend("default" = "keep"))]
    pub query: Field<QueryWord>,
    /// Whether `Location` names the path alone, without scheme and host (RFC 9110 §10.2.2).
    #[schemars(extend("default" = false))]
    pub relative: Field<bool>,
}

/// `keep` or `drop`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename = "word for the query", rename_all = "kebab-case")]
#[schemars(inline)]
pub enum QueryWord {
    Keep,
    Drop,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename = "scheme", rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Scheme {
    Http,
    Https,
}

/// An answer of Weir's own.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with status, headers and body")]
pub struct Respond {
    #[schemars(extend("default" = defaults::RESPOND_STATUS))]
    pub status: Field<scalar::Status>,
    pub headers: Field<Table<scalar::HeaderValue>>,
    pub body: Field<String>,
}

/// At most one of `path`, `prefix` and `regex`. Without any the path goes upstream as it came.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "a map with path, prefix or regex, query and host")]
pub struct Rewrite {
    /// The whole path. A query may follow it; the client's comes after that.
    pub path: Field<scalar::SentTarget>,
    /// What the route's `path` matched is replaced by this; the rest is kept.
    pub prefix: Field<scalar::SentPath>,
    /// The first match in the path is replaced.
    pub regex: Field<RegexRewrite>,
    /// What becomes of the client's query.
    #[schemars(extend("default" = "keep"))]
    pub query: Field<QueryWord>,
    /// Sent as `Host` instead of the client's.
    pub host: Field<scalar::Authority>,
}

/// The first match of `pattern` is replaced.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with pattern and replacement")]
#[schemars(extend("required" = ["replacement"]))]
pub struct RegexRewrite {
    /// By default the route's own `regex`.
    pub pattern: Field<scalar::Regex>,
    pub replacement: Field<scalar::Replacement>,
}
