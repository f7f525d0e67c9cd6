//! `cors`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Either, Field, List, scalar};
use crate::defaults;

/// Lets scripts of other origins read answers, as the Fetch standard has it: preflights are answered before anything is counted
/// or asked for, and what the upstream says of origins is replaced.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with origins")]
#[schemars(extend("required" = ["origins"]))]
pub struct Cors {
    /// Whose scripts: `https://a.test`, `https://*.a.test` (one or more labels), each with its port where it is not the scheme's own, or
    /// a regular expression. `"*"` alone is every origin.
    pub origins: Field<List<Either<scalar::CorsOrigin, OriginCondition>>>,
    /// Methods that a preflight allows.
    #[schemars(extend("default" = defaults::CORS_METHODS))]
    pub methods: Field<List<scalar::Method>>,
    /// Header fields that a preflight allows.
    #[schemars(extend("default" = defaults::CORS_HEADERS))]
    pub headers: Field<List<scalar::HeaderName>>,
    /// Header fields of answers that scripts may read. None by default.
    pub expose: Field<List<scalar::HeaderName>>,
    /// Whether scripts may send cookies and passwords along. Not with `"*"`.
    #[schemars(extend("default" = false))]
    pub credentials: Field<bool>,
    /// How long a browser may remember a preflight's answer; browsers have bounds of their own.
    #[schemars(extend("default" = crate::model::format_duration(defaults::CORS_MAX_AGE)))]
    pub max_age: Field<scalar::Span>,
}

/// Origins by a pattern.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "origin", rename_all = "kebab-case")]
#[schemars(rename = "OriginCondition")]
pub enum OriginCondition {
    /// Must match the whole origin, as `https://[a-z]+\.a\.test`.
    Regex(scalar::OriginRegex),
}
