//! Where configuration comes from. Each source turns what a person wrote into the model.
//!
//! ```text
//! weir.yaml ──► config ──► model ◄── kube ◄── objects of a cluster
//! ```
//!
//! A source knows nothing of the other sources, of the snapshot or of the proxy.

pub mod config;
pub mod kube;
