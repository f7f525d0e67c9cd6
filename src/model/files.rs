//! `files`: a folder that a route answers from.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::Coding;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Files {
    pub root: PathBuf,
    /// Names that are looked for in a folder, in this order.
    pub index: Vec<Arc<str>>,
    /// Below the root, without a slash at the beginning. What is answered where there is no file: a single-page application's page.
    pub fallback: Option<Arc<str>>,
    /// Codings whose files are looked for beside the plain ones.
    pub precompressed: Vec<Coding>,
    pub prefix: RoutePrefix,
    pub hidden_files: HiddenFiles,
    /// Content types by extension (lowercase, without the dot), beside those that are known.
    pub types: Vec<(Arc<str>, Arc<str>)>,
}

/// What becomes of the part of a path that the route's prefix took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RoutePrefix {
    /// It names folders below the root: nginx's `root`.
    Keep,
    /// It stands for the root: nginx's `alias`.
    Strip,
}

/// Files and folders whose names begin with a dot, `.well-known` apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HiddenFiles {
    /// Answered as if they were not there.
    Deny,
    Serve,
}

impl Coding {
    /// What follows the name of the plain file, as the tools of each coding write it.
    pub fn file_suffix(self) -> &'static str {
        match self {
            Coding::Zstd => ".zst",
            Coding::Brotli => ".br",
            Coding::Gzip => ".gz",
        }
    }
}
