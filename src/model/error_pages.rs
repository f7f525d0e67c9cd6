//! `error-pages`: what is shown instead of an error, as data.
//!
//! ```text
//! error of Weir's own, or of the upstream's ──status──► the first ErrorPage that fits ──Accept──► a file · an upstream's answer
//! ```

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::{StatusRange, UpstreamName};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorPages {
    pub intercept: Intercept,
    /// The first that fits the status stands.
    pub pages: Vec<ErrorPage>,
}

/// Whose errors are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Intercept {
    /// Weir's own.
    Own,
    /// The upstream's, too.
    All,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorPage {
    pub statuses: Vec<StatusRange>,
    pub source: PageSource,
    pub answered: PageStatus,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PageSource {
    /// One for each format; what Accept prefers is shown, the first where it prefers none.
    Files(Vec<PageFile>),
    /// Is asked with GET for this path, and told what went wrong; and in fields of the source's own where.
    Upstream { name: UpstreamName, path: Arc<str>, told: Vec<(Arc<str>, Arc<str>)> },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PageFile {
    pub format: PageFormat,
    pub file: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PageFormat {
    Html,
    Json,
    Text,
}

/// The status that the client gets with the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PageStatus {
    /// The error's.
    Kept,
    Replaced(u16),
    /// That of the upstream which gave the page.
    OfThePage,
}
