//! What Ingresses' statuses should show.

use std::sync::Arc;

use super::Status;
use super::settings::{Publish, Settings};
use crate::sources::kube::state::{ClusterState, Ingress, PublishedAddress};

pub fn statuses(state: &ClusterState, settings: &Settings, ours: &[&Arc<Ingress>]) -> Vec<Status> {
    let addresses: Arc<[PublishedAddress]> = match &settings.publish {
        Publish::Fixed(addresses) => addresses.clone(),
        Publish::Service(key) => state.services.get(key).map_or(&[][..], |service| &service.published).into(),
    };
    ours.iter().map(|ingress| Status { ingress: ingress.key.clone(), addresses: addresses.clone() }).collect()
}
