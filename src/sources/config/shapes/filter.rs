//! Filters: one key each, in the order of the list.

use std::fmt;

use schemars::{JsonSchema, Schema};
use serde::Deserialize;
use serde_json::json;

use super::{
    AppRoot, Bandwidth, BasicAuth, Cache, CacheRule, Compress, ConcurrencyLimit, Cors, Either, ErrorPages, Field,
    ForwardAuth, HttpsRedirect, Jwt, List, Mirror, RateLimit, RequestBuffering, SlashWord, Switch, Table,
    TrailingSlash, WwwRedirect, WwwWord, scalar,
};
use crate::defaults;

/// What is checked, limited, edited or bounded on the way. Of two of one kind the nearest to the route wins; limits and mirrors may
/// stand several at one level.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "filter", rename_all = "kebab-case")]
#[schemars(transform = allow_bare_words)]
pub enum Filter {
    /// Plain requests are sent to the same URL over https.
    HttpsRedirect(HttpsRedirect),
    /// From `www.a.test` to `a.test` or the other way, where the other is among the names of a host on the same listener.
    WwwRedirect(Either<WwwWord, WwwRedirect>),
    /// Leads from `/` into the application. The query is dropped.
    AppRoot(Either<scalar::SentTarget, AppRoot>),
    /// One spelling for each path: the other is redirected to it.
    TrailingSlash(Either<SlashWord, TrailingSlash>),
    /// Only these clients; others get 403.
    Allow(List<scalar::Network>),
    /// Not these clients; they get 403. Asked before `allow`.
    Deny(List<scalar::Network>),
    /// Which other origins' scripts may read answers.
    Cors(Cors),
    /// How often requests may come.
    RateLimit(RateLimit),
    /// How many requests may be in flight at once.
    ConcurrencyLimit(ConcurrencyLimit),
    /// Who has neither name nor password gets 401.
    BasicAuth(BasicAuth),
    /// Who has no token that is valid gets 401.
    Jwt(Box<Jwt>),
    /// Somebody else says who may come in.
    ForwardAuth(Box<ForwardAuth>),
    /// Keeps answers for others.
    Cache(Cache),
    /// How long browsers and caches may keep answers: the first rule that fits decides.
    CacheHeaders(List<CacheRule>),
    /// Makes answers smaller on the way to clients that can read them so.
    Compress(Compress),
    /// Own pages instead of errors.
    ErrorPages(ErrorPages),
    /// Edits of header fields.
    Headers(HeaderEdits),
    /// Fields that tell browsers to be careful; set where the upstream did not send its own.
    SecurityHeaders(SecurityHeaders),
    /// The largest request body; a larger one is answered 413. There is no limit by default.
    MaxBodySize(scalar::Size),
    /// How fast bodies flow.
    Bandwidth(Bandwidth),
    /// Whether the upstream is asked only when a request's body is whole: `on`, `off`, or a map.
    RequestBuffering(Either<Switch, RequestBuffering>),
    /// Copies of requests for another upstream, which is not waited for.
    Mirror(Mirror),
    /// `any`: one of `allow`, `jwt`, `basic-auth` and `forward-auth` is enough to come in, as with nginx's `satisfy`; of `allow` and `deny`
    /// those of this level and nearer to the route count. `all` must let a request in by default.
    Satisfy(SatisfyWord),
    /// What the upstream says of itself in cookies and redirects, in other words.
    ResponseRewrite(ResponseRewrite),
    /// `off`: the requests are not in the access log.
    AccessLog(Switch),
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename = "word for satisfy", rename_all = "kebab-case")]
#[schemars(inline)]
pub enum SatisfyWord {
    All,
    Any,
}

/// What the upstream says of itself, in the words of who stands before it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "a map with cookie-domain, cookie-path and location")]
pub struct ResponseRewrite {
    /// Of cookies' `Domain`, as a whole.
    pub cookie_domain: Field<TextRewrite>,
    /// Of cookies' `Path`: its beginning.
    pub cookie_path: Field<TextRewrite>,
    /// Of `Location` and `Refresh`: the URL's beginning.
    pub location: Field<TextRewrite>,
}

/// A text and what stands in its place.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with from and to, or regex and to")]
#[schemars(extend("required" = ["to"]))]
pub struct TextRewrite {
    pub from: Field<scalar::HeaderValue>,
    /// Instead of `from`: what it is found in is replaced as a whole, and `$1` in `to` are its captures.
    pub regex: Field<scalar::Regex>,
    /// May have variables, as `${host}`, where it stands beside `from`.
    pub to: Field<scalar::HeaderValue>,
}

/// `https-redirect` alone means `https-redirect: {}`.
fn allow_bare_words(schema: &mut Schema) {
    if let Some(kinds) = schema.get_mut("oneOf").and_then(|kinds| kinds.as_array_mut()) {
        kinds.push(json!({ "enum": ["compress", "https-redirect", "security-headers"] }));
    }
}

/// Edits of the request on its way up and of the answer on its way down.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with request and response")]
pub struct HeaderEdits {
    pub request: Field<EditSet>,
    pub response: Field<ResponseEdits>,
}

/// Applied in this order: remove, set, add, append.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with set, add, append and remove")]
pub struct EditSet {
    /// Replaces every field of that name.
    pub set: Field<Table<scalar::Template>>,
    /// Adds a field beside those that are there.
    pub add: Field<Table<scalar::Template>>,
    /// Joins a value to the list that is there, by a comma.
    pub append: Field<Table<scalar::Template>>,
    /// Takes every field of that name out.
    pub remove: Field<List<scalar::HeaderName>>,
}

/// Applied in this order: remove, set, add, append.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "a map with set, add, append, remove and statuses")]
pub struct ResponseEdits {
    /// Replaces every field of that name.
    pub set: Field<Table<scalar::Template>>,
    /// Adds a field beside those that are there.
    pub add: Field<Table<scalar::Template>>,
    /// Joins a value to the list that is there, by a comma.
    pub append: Field<Table<scalar::Template>>,
    /// Takes every field of that name out.
    pub remove: Field<List<scalar::HeaderName>>,
    /// Which answers are edited: `all`, or `success` (200, 201, 204, 206, 301 to 304, 307 and 308), as nginx's `add_header` without
    /// `always`.
    #[schemars(extend("default" = "all"))]
    pub statuses: Field<StatusesWord>,
}

/// `all` or `success`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename = "word for statuses", rename_all = "kebab-case")]
#[schemars(inline)]
pub enum StatusesWord {
    All,
    Success,
}

/// `security-headers` alone takes the defaults.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map of header fields")]
pub struct SecurityHeaders {
    /// `Strict-Transport-Security`; sent over TLS only.
    #[schemars(extend("default" = defaults::HSTS))]
    pub hsts: Field<TextOrOff>,
    /// `X-Frame-Options`
    #[schemars(extend("default" = defaults::FRAME_OPTIONS))]
    pub frame_options: Field<TextOrOff>,
    /// `X-Content-Type-Options`
    #[schemars(extend("default" = defaults::CONTENT_TYPE_OPTIONS))]
    pub content_type_options: Field<TextOrOff>,
    /// `Referrer-Policy`
    #[schemars(extend("default" = defaults::REFERRER_POLICY))]
    pub referrer_policy: Field<TextOrOff>,
    /// `Permissions-Policy`
    #[schemars(extend("default" = "off"))]
    pub permissions_policy: Field<TextOrOff>,
    /// `Content-Security-Policy`
    #[schemars(extend("default" = "off"))]
    pub content_security_policy: Field<TextOrOff>,
}

/// The value of a header field, or `off`.
#[derive(Debug, JsonSchema)]
#[schemars(inline, with = "String")]
pub enum TextOrOff {
    Text(scalar::HeaderValue),
    Off,
}

impl<'de> Deserialize<'de> for TextOrOff {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = scalar::HeaderValue::deserialize(deserializer)?;
        Ok(if &*value.0 == "off" { TextOrOff::Off } else { TextOrOff::Text(value) })
    }
}

impl fmt::Display for Filter {
    /// The key it has in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Filter::HttpsRedirect(_) => "https-redirect",
            Filter::WwwRedirect(_) => "www-redirect",
            Filter::AppRoot(_) => "app-root",
            Filter::TrailingSlash(_) => "trailing-slash",
            Filter::Allow(_) => "allow",
            Filter::Deny(_) => "deny",
            Filter::Cors(_) => "cors",
            Filter::RateLimit(_) => "rate-limit",
            Filter::ConcurrencyLimit(_) => "concurrency-limit",
            Filter::BasicAuth(_) => "basic-auth",
            Filter::Jwt(_) => "jwt",
            Filter::ForwardAuth(_) => "forward-auth",
            Filter::Cache(_) => "cache",
            Filter::CacheHeaders(_) => "cache-headers",
            Filter::Compress(_) => "compress",
            Filter::ErrorPages(_) => "error-pages",
            Filter::Headers(_) => "headers",
            Filter::SecurityHeaders(_) => "security-headers",
            Filter::MaxBodySize(_) => "max-body-size",
            Filter::Bandwidth(_) => "bandwidth",
            Filter::RequestBuffering(_) => "request-buffering",
            Filter::Mirror(_) => "mirror",
            Filter::Satisfy(_) => "satisfy",
            Filter::ResponseRewrite(_) => "response-rewrite",
            Filter::AccessLog(_) => "access-log",
        })
    }
}
