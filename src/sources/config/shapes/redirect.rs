//! `https-redirect`, `www-redirect`, `app-root`, `trailing-slash`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Field, scalar};
use crate::defaults;

/// The redirect of plain requests to https.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with status and port")]
pub struct HttpsRedirect {
    #[schemars(extend("default" = defaults::HTTPS_REDIRECT_STATUS.code()))]
    pub status: Field<scalar::RedirectCode>,
    /// The port of the https URL.
    #[schemars(extend("default" = defaults::HTTPS_REDIRECT_PORT))]
    pub port: Field<scalar::Port>,
}

/// `to-www` or `to-apex`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename = "direction", rename_all = "kebab-case")]
#[schemars(inline)]
pub enum WwwWord {
    /// `a.test` to `www.a.test`
    ToWww,
    /// `www.a.test` to `a.test`
    ToApex,
}

/// The redirect between a name with `www.` and the one without. Scheme, port, path and query stay.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(
    default,
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "to-www, to-apex, or a map with to and status"
)]
#[schemars(extend("required" = ["to"]))]
pub struct WwwRedirect {
    pub to: Field<WwwWord>,
    #[schemars(extend("default" = defaults::WWW_REDIRECT_STATUS.code()))]
    pub status: Field<scalar::RedirectCode>,
}

/// Where the application begins.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(
    default,
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "a path, or a map with path, status and relative"
)]
#[schemars(extend("required" = ["path"]))]
pub struct AppRoot {
    pub path: Field<scalar::SentTarget>,
    #[schemars(extend("default" = defaults::APP_ROOT_STATUS.code()))]
    pub status: Field<scalar::RedirectCode>,
    /// Whether `Location` names the path alone, without scheme and host.
    #[schemars(extend("default" = false))]
    pub relative: Field<bool>,
}

/// `add` or `remove`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename = "word for slashes", rename_all = "kebab-case")]
#[schemars(inline)]
pub enum SlashWord {
    /// To paths whose last segment has no dot, well-known ones (RFC 8615) left out.
    Add,
    Remove,
}

/// The redirect from a path with a slash at its end to the one without, or the other way. The query stays.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "add, remove, or a map with slash, status and relative")]
#[schemars(extend("required" = ["slash"]))]
pub struct TrailingSlash {
    pub slash: Field<SlashWord>,
    #[schemars(extend("default" = defaults::TRAILING_SLASH_STATUS.code()))]
    pub status: Field<scalar::RedirectCode>,
    /// Whether `Location` names the path alone, without scheme and host.
    #[schemars(extend("default" = false))]
    pub relative: Field<bool>,
}
