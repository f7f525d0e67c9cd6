//! What the request path reads: routers, filter chains, upstreams and their running state.
//!
//! ```text
//! compile ──► Snapshot ──► proxy
//!              │ swapped whole when the model changes;
//!              └ endpoints and their health swap on their own, per upstream
//! ```
//!
//! Nothing here parses, compiles a pattern, blocks or waits on a lock while a request is looked up; limits take the lock of a
//! shard, for nanoseconds.

pub mod accept_encoding;
pub mod basic_auth;
pub mod cache;
pub mod cache_headers;
pub mod chain;
pub mod compress;
pub mod cors;
pub mod error_pages;
pub mod host;
pub mod limit;
pub mod path;
pub mod redirect;
pub mod request;
pub mod rewrite;
pub mod router;
pub mod table;
pub mod upstream;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::model::{ListenerName, Model, UpstreamName};
use table::Table;
use upstream::Upstream;

pub struct Snapshot {
    /// Counts the models that have been applied, from 1.
    pub generation: u64,
    pub model: Arc<Model>,
    pub tables: HashMap<ListenerName, Table>,
    pub upstreams: BTreeMap<UpstreamName, Arc<Upstream>>,
    pub limits: limit::States,
}
