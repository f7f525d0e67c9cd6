//! Weir: a reverse proxy and Kubernetes ingress in one binary, built on Pingora.
//!
//! Data flows one way. Each module is a room; `tests/house.rs` holds the direction of the doors.
//!
//! ```text
//! weir.yaml ─┐
//!            ├► sources ──► model ──► compile ──► snapshot ──► proxy ◄── requests
//! cluster ───┘              (IR)      (pure)      (ArcSwap)      │
//!       └──► material: certificates, keys, passwords ──► tls ◄───┘
//! ```

pub mod acme;
pub mod admin;
pub mod admission;
pub mod app;
pub mod cache;
pub mod cli;
pub mod compile;
pub mod defaults;
pub mod diagnostics;
pub mod discovery;
pub mod error_pages;
pub mod explain;
pub mod files;
pub mod health;
pub mod http_client;
pub mod jwks;
pub mod material;
pub mod model;
pub mod ocsp;
pub mod passwords;
pub mod proxy;
pub mod sharded;
pub mod shared_counts;
pub mod snapshot;
pub mod sources;
pub mod telemetry;
pub mod timestamp;
pub mod tls;
pub mod tokens;
