//! What operators see of a running Weir: the log, the metrics, the access log.
//!
//! ```text
//! proxy ──RequestRecord──┬──► RouteMetrics, UpstreamMetrics ──► Metrics::render ──► /metrics
//!                        └──► AccessLog ──batches──► one writer thread ──► file or stdout
//! every room ──tracing──► log ──► stderr
//! ```
//!
//! The request path adds to plain atomics and to a buffer of its own thread; it never waits here. Labels
//! come from the configuration, never from requests.

pub mod access_log;
pub mod log;
pub mod metrics;
pub mod record;
pub mod session;
