//! The cluster without a cluster: manifests in, the model out.

mod cluster;
mod endpoints;
mod hostile;
mod issuance;
mod last_usable;
mod pairs;
mod render;
mod review;
mod speed;
mod translator;

pub(super) use cluster::settings;
