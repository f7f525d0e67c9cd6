//! What is kept of the cluster: slim copies of the objects that decide what is served.
//!
//! ```text
//! k8s_openapi types ──From──► Ingress, Service, … ──► ClusterState ──► translate
//! ```
//!
//! Nothing is kept that nobody reads. A clone costs a few pointers: whoever translates holds one while the watchers go on. The
//! conversions never fail: what makes no sense is left out of the copy, or kept as it was written for the translation to report.

mod backend;
mod certificate;
mod ingress;
mod objects;
mod secret;

pub use backend::*;
pub use certificate::*;
pub use ingress::*;
pub use objects::*;
pub use secret::*;

/// Everything that was seen of the cluster and not taken back.
#[derive(Clone, Debug, Default)]
pub struct ClusterState {
    pub ingresses: Objects<ObjectKey, Ingress>,
    /// By name: they belong to no namespace.
    pub classes: Objects<std::sync::Arc<str>, IngressClass>,
    pub services: Objects<ObjectKey, Service>,
    pub slices: Objects<ObjectKey, EndpointSlice>,
    pub secrets: Objects<ObjectKey, Secret>,
    pub config_maps: Objects<ObjectKey, ConfigMap>,
}
