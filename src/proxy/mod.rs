//! The data plane: accepts connections, reads requests within bounds, and takes them through a lane.
//!
//! ```text
//! DataPlane ─► Worker (a thread each) ─► listener ─┬► http1 / http2 ─► lean lane, or the full one (Pingora's HttpProxy)
//!                                                  │                     │ both read Shared.snapshot (ArcSwap)
//!                                                  └► tunnel, datagrams: bytes, as they come
//! ```
//!
//! Accepting, deadlines, keep-alive and drain are ours; the protocol beyond a request's head is Pingora's. This room
//! knows nothing of files or clusters: it reads snapshots.

mod affinity;
mod answer;
mod attempts;
mod chunks;
pub mod client_address;
mod client_certificate;
mod connection;
mod datagrams;
mod deadline;
mod establish;
mod fields;
mod files;
pub mod filters;
mod full;
mod hashed;
mod head;
mod hit;
mod http1;
mod http2;
mod introduction;
mod lean;
mod listener;
mod pace;
mod plane;
mod proxy_protocol;
mod refusal;
mod request_id;
mod socket;
mod span;
mod spool;
mod spooling;
mod stream;
mod tunnel;
mod upstream_stream;
mod worker;

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use http::HeaderValue;

use crate::passwords;
use crate::snapshot::Snapshot;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::Metrics;
use crate::tls::ServerTls;

pub use affinity::Affinity;
pub use listener::{Serves, Settings, TlsDoor};
pub use plane::{DataPlane, Wanted};
pub use request_id::RequestId;
pub use tunnel::key as connection_key;

/// What every worker reads.
pub struct Shared {
    pub snapshot: ArcSwap<Snapshot>,
    pub tls: ServerTls,
    /// None: off.
    pub access_log: ArcSwapOption<AccessLog>,
    pub metrics: Arc<Metrics>,
    pub passwords: passwords::Checks,
    /// Nobody else's: what carries it was sent by this process.
    pub mark: HeaderValue,
}
