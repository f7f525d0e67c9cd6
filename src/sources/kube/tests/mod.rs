//! The cluster without a cluster: manifests in, the model out.

mod cluster;
mod hostile;
mod pairs;
mod render;
mod speed;
