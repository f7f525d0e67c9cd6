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
pub mod forward_auth;
pub mod host;
pub mod jwt;
mod kept;
pub mod limit;
pub mod mirror;
pub mod outage;
pub mod path;
pub mod redirect;
pub mod request;
pub mod rewrite;
pub mod router;
pub mod split;
pub mod table;
pub mod tunnel;
pub mod upstream;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use crate::model::{EndpointLists, ListenerName, Model, UpstreamName};
use crate::shared_counts::Store;
use table::Table;
use upstream::Upstream;

pub struct Snapshot {
    /// Counts the models that have been applied, from 1.
    pub generation: u64,
    pub model: Arc<Model>,
    pub tables: HashMap<ListenerName, Table>,
    pub carriers: tunnel::Carriers,
    pub upstreams: BTreeMap<UpstreamName, Arc<Upstream>>,
    /// Whether some route bounds the bandwidth: streams of HTTP/2 have to be ready for it.
    pub paces: bool,
    /// Whether some route is one of the lean lane.
    pub lean: bool,
    pub limits: limit::States,
    pub forward_auths: forward_auth::ForwardAuths,
    pub jwts: jwt::Jwts,
    /// Where limits may be counted together with other processes.
    pub redis: Option<Arc<Store>>,
}

impl Snapshot {
    /// What the source says of these lists now; others stay as they are.
    pub fn relist(&self, lists: &EndpointLists, now: Instant) {
        for upstream in self.upstreams.values() {
            if let Some(listed) = upstream.list().and_then(|name| lists.get(name)) {
                upstream.relist(listed, now);
            }
        }
    }
}
