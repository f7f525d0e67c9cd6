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
        Publish::Service(key) => state.services.get(key).map_or(&[][..], |service| &service.published).into(),
    };
    ours.map(|key| Status { ingress: key.clone(), addresses: addresses.clone() }).collect()
}
