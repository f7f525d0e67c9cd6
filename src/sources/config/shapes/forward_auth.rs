//! `forward-auth`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Field, List, OneOrList, Table, TextOrOff, scalar};
use crate::defaults;
use crate::model::format_duration;

/// Asks somebody else whether a request may go on, as nginx's `auth_request` and Traefik's ForwardAuth do: with the request's head,
/// without its body. 2xx lets it pass, 401 and 403 are passed to the client; anything else, or no answer, closes the route.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with url or upstream")]
#[schemars(extend("oneOf" = [{ "required": ["url"] }, { "required": ["upstream"] }]))]
pub struct ForwardAuth {
    /// Whom to ask. Over https its certificate is verified.
    pub url: Field<scalar::Url>,
    /// Roots to verify the certificate of `url` against, PEM. By default the system's.
    pub ca: Field<scalar::FilePath>,
    /// Whom to ask, instead of `url`: an upstream of this file, with its health checks and balancing.
    pub upstream: Field<String>,
    /// What `upstream` is asked for, with its query.
    #[schemars(extend("default" = defaults::FORWARD_AUTH_PATH))]
    pub path: Field<scalar::ProbePath>,
    /// Sent as `Host`. By default that of `url`, or the request's own.
    pub host: Field<scalar::Authority>,
    /// Of the question; the request's own is told as `X-Original-Method`.
    #[schemars(extend("default" = defaults::FORWARD_AUTH_METHOD))]
    pub method: Field<scalar::Method>,
    /// For the whole exchange.
    #[schemars(extend("default" = format_duration(defaults::FORWARD_AUTH_TIMEOUT)))]
    pub timeout: Field<scalar::Timeout>,
    /// Which header fields of the request are sent along. By default all but those of its body, of ranges and conditions, and of the
    /// connection.
    pub request_headers: Field<List<scalar::HeaderName>>,
    /// Header fields of the answer that are set on the way to the upstream. What the client sends under these names is removed.
    pub response_headers: Field<List<scalar::HeaderName>>,
    /// Set on the question, above what it has anyway; may have variables, as `${host}`.
    pub set_headers: Field<Table<scalar::Template>>,
    /// When the client gets the answer's `Set-Cookie`: on-success is with an answer below 400.
    #[schemars(extend("default" = "on-success"))]
    pub set_cookie: Field<SetCookie>,
    /// Where a client is sent that is not signed in (302): a URL, perhaps with variables as in header values.
    pub sign_in: Field<scalar::Template>,
    /// The parameter of the `sign-in` URL that tells where the client wanted to go, or `off`.
    #[schemars(extend("default" = defaults::SIGN_IN_PARAMETER))]
    pub sign_in_redirect_param: Field<TextOrOff>,
    /// Whether the client gets the answer as it is, page and all, where it says no: any from 300 to 499.
    #[schemars(extend("default" = false))]
    pub pass_answer: Field<bool>,
    /// Of the answer where the service gave none, or one that says neither yes nor no.
    #[schemars(extend("default" = defaults::FORWARD_AUTH_FAILURE_STATUS))]
    pub failure_status: Field<scalar::RefusalStatus>,
    /// Answers that are kept for a while. None by default.
    pub cache: Field<AuthCache>,
}

/// When the client gets a `Set-Cookie`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "word for set-cookie", rename_all = "kebab-case")]
#[schemars(rename = "SetCookie")]
pub enum SetCookie {
    Never,
    OnSuccess,
    Always,
}

/// Answers that are kept for a while, in memory. One with `Set-Cookie` is not kept, nor one that says `no-store`, `no-cache` or `private`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with key and ttl")]
#[schemars(extend("required" = ["key", "ttl"]))]
pub struct AuthCache {
    /// Requests that have all of these in common are answered alike: name everything that the service decides by.
    pub key: Field<OneOrList<AuthCacheKey>>,
    /// How long, by status of the answer, as `{ 200: 5m, 401: 10s }`.
    pub ttl: Field<Table<scalar::Timeout>>,
    #[schemars(extend("default" = defaults::AUTH_CACHE_ENTRIES))]
    pub max_entries: Field<scalar::Count>,
}

/// What kept answers are told apart by.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "cache key", rename_all = "kebab-case")]
#[schemars(rename = "AuthCacheKey")]
pub enum AuthCacheKey {
    ClientIp,
    Host,
    Method,
    /// The normalized path, without the query.
    Path,
    /// A header field of the request.
    Header(scalar::HeaderName),
    Cookie(scalar::CookieName),
}
