//! `jwt`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Field, List, OneOrList, Table, scalar};
use crate::defaults;
use crate::model::format_duration;

/// Asks for a signed token (RFC 7519) that is in time and meets what is written here. One that is not valid is answered 401, one that
/// says too little 403 (RFC 6750); while no keys are known, every one is answered 503.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with jwks or secret-file")]
#[schemars(extend("oneOf" = [{ "required": ["jwks"] }, { "required": ["secret-file"] }]))]
pub struct Jwt {
    /// The keys of whoever issues the tokens, as a JWK set: a URL, fetched again and again and when a token names another key, or a
    /// file, read again when it changes.
    pub jwks: Field<scalar::UrlOrFile>,
    /// Roots to verify the certificate of a `jwks` URL against, PEM. By default the system's.
    pub ca: Field<scalar::FilePath>,
    /// A URL is fetched again after so long; sooner where its Cache-Control says so, but not within a minute.
    #[schemars(extend("default" = format_duration(defaults::JWKS_REFRESH)))]
    pub refresh: Field<scalar::Timeout>,
    /// A secret that whoever issues the tokens has, too, instead of `jwks`.
    pub secret_file: Field<scalar::FilePath>,
    /// No other is taken, whatever a token says. By default RS256 to RS512, PS256 to PS512, ES256 to ES512 and EdDSA; with a secret,
    /// HS256.
    pub algorithms: Field<List<scalar::JwtAlgorithm>>,
    /// Who has issued it (`iss`): one of these. By default anybody who has a key.
    pub issuer: Field<OneOrList<scalar::ClaimValue>>,
    /// Whom it is for (`aud`): one of these. By default whomever.
    pub audience: Field<OneOrList<scalar::ClaimValue>>,
    /// So much may clocks differ.
    #[schemars(extend("default" = format_duration(defaults::JWT_LEEWAY)))]
    pub leeway: Field<scalar::Span>,
    /// Claims that it must have beside, each with one of the values, as `{ scope: [read, write] }`. Dots lead to what is nested.
    pub claims: Field<Table<OneOrList<scalar::ClaimValue>>>,
    /// Where the token is: `authorization` (a bearer token), `{ header: … }`, `{ cookie: … }` or `{ query: … }`.
    #[schemars(extend("default" = "authorization"))]
    pub from: Field<TokenSource>,
    /// Claims that are sent upstream, each with its header field, as `{ sub: X-User }`. What the client sends under these names is removed.
    pub claims_to_headers: Field<Table<scalar::HeaderName>>,
    /// Whether the upstream sees the token, too.
    #[schemars(extend("default" = true))]
    pub forward: Field<bool>,
    /// Whether a request without a token passes. One with a token that is not valid never does.
    #[schemars(extend("default" = false))]
    pub optional: Field<bool>,
    /// What the challenge says that this is.
    #[schemars(extend("default" = defaults::BASIC_AUTH_REALM))]
    pub realm: Field<scalar::HeaderValue>,
}

/// Where a token is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "place of a token", rename_all = "kebab-case")]
#[schemars(rename = "TokenSource")]
pub enum TokenSource {
    /// `Authorization: Bearer …`
    Authorization,
    /// A header field, with or without `Bearer`.
    Header(scalar::HeaderName),
    Cookie(scalar::CookieName),
    /// A parameter of the query; it is left out of the access log.
    Query(scalar::ParameterName),
}
