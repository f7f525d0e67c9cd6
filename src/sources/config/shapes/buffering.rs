//! Whether request bodies are waited for.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Field, scalar};
use crate::defaults;

/// Where a body stands until it is whole.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "on, off or a map with max-memory, max-size and folder")]
pub struct RequestBuffering {
    /// So much of a body in memory; a larger one in a file that has no name.
    #[schemars(extend("default" = defaults::BUFFER_MEMORY.to_string()))]
    pub max_memory: Field<scalar::Size>,
    /// A larger one is answered 413; `max-body-size` may say less.
    #[schemars(extend("default" = defaults::BUFFER_SIZE.to_string()))]
    pub max_size: Field<scalar::Size>,
    /// Of the file. By default the system's for temporary ones.
    pub folder: Field<scalar::FilePath>,
}
