//! What is shown instead of errors, ready to be asked.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use crate::error_pages::Page;
use crate::model::{Intercept, PageStatus, StatusRange};
use crate::telemetry::metrics::UpstreamMetrics;

use super::upstream::Upstream;

#[derive(Debug)]
pub struct ErrorPages {
    pub intercept: Intercept,
    pub rules: Vec<Rule>,
}

#[derive(Debug)]
pub struct Rule {
    pub statuses: Vec<StatusRange>,
    pub source: Source,
    pub answered: PageStatus,
}

pub enum Source {
    /// At least one.
    Files(Vec<Arc<Page>>),
    Upstream {
        upstream: Arc<Upstream>,
        metrics: Arc<UpstreamMetrics>,
        path: Arc<str>,
        /// Fields that say where it went wrong.
        told: Vec<(HeaderName, HeaderValue)>,
    },
}

impl ErrorPages {
    pub fn rule(&self, status: u16) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.statuses.iter().any(|range| range.contains(status)))
    }

    /// For an error of the upstream's.
    pub fn intercepting(&self, status: u16) -> Option<&Rule> {
        match self.intercept {
            Intercept::All => self.rule(status),
            Intercept::Own => None,
        }
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Files(pages) => f.debug_tuple("Files").field(&pages.len()).finish(),
            Source::Upstream { upstream, path, .. } => write!(f, "Upstream({} {path})", upstream.definition().name),
        }
    }
}
