//! `basic-auth`: who may come in by name and password, as data.
//!
//! ```text
//! Authorization: Basic … ──► the users of `file` ──► goes on · 401 with the realm
//! ```

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

/// RFC 7617.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BasicAuth {
    /// As `htpasswd` writes it. Its content is never in the model.
    pub file: PathBuf,
    /// What browsers show when they ask.
    pub realm: Arc<str>,
    pub forward: ForwardCredentials,
}

/// Whether the upstream sees the name and the password, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardCredentials {
    Send,
    Omit,
}
