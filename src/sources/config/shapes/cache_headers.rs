//! `cache-headers`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Field, OneOrList, TextOrOff, scalar};

/// Fits an answer that has all of what is named. Answers of other statuses than 200, 203, 204, 206, 301, 302, 304, 307 and 308 stay as
/// they are.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "a map with path, extension, type, cache-control and expires")]
pub struct CacheRule {
    /// Of the request: a prefix by whole segments.
    pub path: Field<scalar::MatchedPath>,
    /// Of the path's last segment; any of them. Case is not regarded.
    pub extension: Field<OneOrList<scalar::Extension>>,
    /// Of the answer, as `image/*`; any of them.
    #[serde(rename = "type")]
    pub media_type: Field<OneOrList<scalar::MediaRange>>,
    /// The value of `Cache-Control`; `off`: such answers stay as they are. By default what `expires` comes to, as in nginx.
    pub cache_control: Field<TextOrOff>,
    /// Sends `Expires`, so much later than now, for caches that do not know `Cache-Control`.
    #[schemars(extend("default" = "off"))]
    pub expires: Field<scalar::Expiry>,
    /// Whether an answer that has `Cache-Control` or `Expires` already stays as it is.
    #[schemars(extend("default" = false))]
    pub keep: Field<bool>,
}
