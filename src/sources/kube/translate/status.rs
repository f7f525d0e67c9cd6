//! What Ingresses' statuses should show.

use std::sync::Arc;

use super::Status;
use super::settings::{Publish, Settings};
use crate::sources::kube::state::{ClusterState, ObjectKey, PublishedAddress};

pub fn statuses<'k>(
    state: &ClusterState,
    settings: &Settings,
    ours: impl Iterator<Item = &'k ObjectKey>,
) -> Vec<Status> {
    let addresses: Arc<[PublishedAddress]> = match &settings.publish {
        Publish::Fixed(addresses) => addresses.clone(),
        Publish::Service(key) => match state.services.get(key) {
            Some(service) => service.published.as_slice().into(),
            // What is not known is left as it stands.
            None => return Vec::new(),
        },
    };
    ours.map(|key| Status { ingress: key.clone(), addresses: addresses.clone() }).collect()
}
