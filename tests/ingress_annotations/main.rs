//! Every annotation, every global option and every flag of `weir ingress` that is honoured, on the wire: set to what is not its default, and
//! seen to have its effect.
//!
//! ```text
//! test ──Draft──► kube-apiserver ──► one Weir for all ──► origins; what clients see, and what backends get
//! ```

// It has a part of it.
#[allow(dead_code)]
#[path = "../support/kube.rs"]
mod cluster;
#[path = "../support/mod.rs"]
mod support;

mod access;
mod backends;
mod balancing;
mod canary;
mod certificates;
mod covered;
mod cross_origin;
mod errors;
mod external_auth;
mod flags;
mod limits;
mod mirrors;
mod options;
mod options_of_connections;
mod redirects;
mod snippets;
mod stage;
mod timeouts;
