//! Weir: a reverse proxy and Kubernetes ingress in one binary, built on Pingora.
//!
//! Data flows one way. Each module is a room; `tests/house.rs` holds the direction of the doors.
//!
//! ```text
//! weir.yaml ──► sources ──► model ──► compile ──► snapshot ──► proxy ◄── requests
//!                           (IR)      (pure)      (ArcSwap)      │
//!                                                    tls ◄───────┘
//! ```

pub mod defaults;
pub mod diagnostics;
pub mod model;
pub mod snapshot;
pub mod sources;
