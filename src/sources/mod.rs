//! Where configuration comes from. Each source turns what a person wrote into the model.
//!
//! ```text
//! weir.yaml ──► config ──► model ◄── kube ◄── objects of a cluster
//! ```
//!
//! A source knows nothing of the other sources, of the snapshot or of the proxy.

mod asked_upstream;
pub mod config;
pub mod kube;
