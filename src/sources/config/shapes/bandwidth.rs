//! How fast bodies may flow.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Field, scalar};
use crate::defaults;

/// nginx's `limit_rate`: each answer and each request's body by itself, evenly.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with rate or request-rate")]
#[schemars(extend("anyOf" = [{ "required": ["rate"] }, { "required": ["request-rate"] }]))]
pub struct Bandwidth {
    /// Of an answer, Weir's own included. By default it goes as fast as the client takes it.
    pub rate: Field<scalar::ByteRate>,
    /// So much of an answer goes as fast as the client takes it.
    #[schemars(extend("default" = defaults::BANDWIDTH_AFTER.to_string()))]
    pub after: Field<scalar::Size>,
    /// Of a request's body. By default it is taken as fast as it comes.
    pub request_rate: Field<scalar::ByteRate>,
}
