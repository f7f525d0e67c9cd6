//! `basic-auth`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Field, scalar};
use crate::defaults;

/// Asks for a name and a password (RFC 7617), after the limits.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with file")]
#[schemars(extend("required" = ["file"]))]
pub struct BasicAuth {
    /// Users and the hashes of their passwords, as `htpasswd` writes them: bcrypt, apr1, `{SHA}` or `{SSHA}`. Read again when it
    /// changes.
    pub file: Field<scalar::FilePath>,
    /// What browsers show when they ask.
    #[schemars(extend("default" = defaults::BASIC_AUTH_REALM))]
    pub realm: Field<scalar::HeaderValue>,
    /// Whether the upstream sees the name and the password, too.
    #[schemars(extend("default" = false))]
    pub forward: Field<bool>,
}
