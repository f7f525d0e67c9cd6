//! What the request path reads: routers, filter chains, upstreams and their running state.
//!
//! ```text
//! compile ──► Snapshot ──► proxy
//!              │ swapped whole when the model changes;
//!              └ endpoints and their health swap on their own, per upstream
//! ```
//!
//! Nothing here parses, compiles a pattern, blocks or waits on a lock while a request is looked up.

pub mod host;
pub mod path;
pub mod request;
pub mod rewrite;
pub mod router;
