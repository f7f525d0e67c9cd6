//! Whether request bodies are waited for, as data.

use std::path::PathBuf;

use serde::Serialize;

use super::units::ByteSize;

/// nginx's `proxy_request_buffering`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequestBuffering {
    /// A body goes to the upstream as it comes.
    Off,
    /// The upstream is asked when the body is whole.
    On(BodyBuffer),
}

/// Where a body stands until it is whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BodyBuffer {
    /// So much of it in memory; then all of it in a file without a name.
    pub max_memory: ByteSize,
    /// A larger one is answered 413.
    pub max_size: ByteSize,
    /// Of the file; none: the system's for temporary ones.
    pub folder: Option<PathBuf>,
}
