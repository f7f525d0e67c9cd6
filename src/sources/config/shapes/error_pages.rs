//! `error-pages`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Field, List, OneOrList, scalar};

/// Own pages instead of errors. Header fields of the error that tell of something else than its body stay.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with pages and intercept")]
#[schemars(extend("required" = ["pages"]))]
pub struct ErrorPages {
    /// The first that fits the status stands.
    pub pages: Field<List<ErrorPage>>,
    /// Whether errors of the upstream's are replaced, too. Otherwise only those of Weir's own are.
    #[schemars(extend("default" = false))]
    pub intercept: Field<bool>,
}

/// Files (one for each format, the one that Accept prefers is shown), or an upstream. `${status}`, `${reason}`, `${message}`,
/// `${request-id}` and `${host}` are filled in in files, and escaped as the format asks.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "a map with status, and html, json and text, or upstream")]
#[schemars(extend("required" = ["status"]))]
pub struct ErrorPage {
    /// One or several, as `404`, `5xx` or `[401, 500-504]`.
    pub status: Field<OneOrList<scalar::ErrorStatusRange>>,
    /// Sent as `text/html`. Files are read again when they change.
    pub html: Field<scalar::FilePath>,
    /// Sent as `application/json`.
    pub json: Field<scalar::FilePath>,
    /// Sent as `text/plain`.
    pub text: Field<scalar::FilePath>,
    /// Is sent a GET, with X-Code, X-Format (the client's Accept), X-Original-URI and X-Request-ID, as ingress-nginx sends them.
    pub upstream: Field<String>,
    /// What the upstream is asked for.
    #[schemars(extend("default" = "/"))]
    pub path: Field<scalar::SentTarget>,
    /// The status that the client gets, or `upstream` for the one that the upstream answered with. By default the error's.
    #[serde(rename = "as")]
    pub answered: Field<scalar::PageStatus>,
}
