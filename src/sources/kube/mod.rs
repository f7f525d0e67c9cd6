//! The cluster: from its objects to the model, as ingress-nginx v1.15.1 would serve them.
//!
//! ```text
//! watched objects ──► ClusterState ──translate──► Model · Material · Events · statuses · Diagnostics
//!                     (slim copies)   (pure)
//! ```
//!
//! It knows nothing of the file, of the snapshot or of the proxy. One broken object never takes another one down.

pub mod admission;
pub mod annotations;
pub mod client;
pub mod issuance;
pub mod manifests;
pub mod migration;
pub mod options;
pub mod process;
pub mod reporting;
mod snippet;
pub mod state;
pub mod translate;
pub mod watch;

#[cfg(test)]
mod tests;
