//! The admin listener: probes, metrics, and a look inside.
//!
//! ```text
//! GET ──► AdminServer (control plane) ──► endpoints ──► dyn Inspect (the app) ──► JSON or text
//! ```
//!
//! It knows no other room's insides: what there is to see, and what may be done, comes by [`Inspect`]. It listens on
//! loopback by default, because it shows the configuration; what a browser was led to ask changes nothing.

mod endpoints;
mod query;
mod redact;
mod server;

#[cfg(test)]
mod tests;

pub use query::ExplainQuery;
pub use server::AdminServer;

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value;

use crate::diagnostics::Diagnostics;
use crate::model::{Model, Purge, RevocationReason};
use crate::timestamp;

/// What the running program shows of itself. Called on the control plane; must not block for long.
#[async_trait]
pub trait Inspect: Send + Sync + 'static {
    /// Ready means programmed: what the sources hold is what the proxy serves.
    fn readiness(&self) -> Readiness;

    fn configuration(&self) -> Configuration;

    /// How the last attempt to load the configuration ended.
    fn reload_status(&self) -> ReloadStatus;

    /// Upstreams, their endpoints and the health of each.
    fn upstreams(&self) -> Value;

    fn certificates(&self) -> Value;

    /// What is kept of answers, by store.
    fn caches(&self) -> Value;

    /// Where a request would go and why; the error says what is wrong with the question.
    fn explain(&self, query: &ExplainQuery) -> Result<Value, String>;

    /// The Prometheus text format, version 0.0.4.
    fn metrics(&self) -> String;

    /// Does what an operator asks for. What was done, or why not.
    async fn operate(&self, operation: Operation) -> Result<String, String>;
}

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Begins to order a certificate anew, due or not.
    RenewCertificate {
        name: String,
    },
    RevokeCertificate {
        name: String,
        reason: RevocationReason,
    },
    /// Takes answers out of a cache before their time. None: of every store.
    PurgeCache {
        store: Option<String>,
        purge: Purge,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    /// Each reason in the words of a diagnostic.
    NotReady(Vec<String>),
}

/// What is in force.
#[derive(Clone, Debug)]
pub struct Configuration {
    pub generation: u64,
    pub model: Arc<Model>,
}

#[derive(Clone, Debug, Serialize)]
pub struct ReloadStatus {
    #[serde(serialize_with = "timestamp::serialize")]
    pub at: SystemTime,
    pub result: ReloadResult,
    /// Of the configuration in force.
    pub generation: u64,
    /// Of the attempt: errors where it was rejected, else at most warnings.
    pub diagnostics: Diagnostics,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReloadResult {
    Applied,
    /// What is in force is what the file says already.
    Unchanged,
    Rejected,
}
