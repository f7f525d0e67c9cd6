//! What is not as it was between two states of a cluster, as far as a translation could tell.

use std::collections::HashSet;
use std::sync::Arc;

use super::part::LookedAt;
use crate::sources::kube::state::{ClusterState, Ingress, ObjectKey};

pub struct Changes {
    /// That are there and were not, or were otherwise.
    pub come: Vec<Arc<Ingress>>,
    /// Every Ingress that came, went or changed.
    pub ingresses: HashSet<ObjectKey>,
    /// Which Ingresses are ours may be another matter now.
    pub classes: Classes,
    services: HashSet<ObjectKey>,
    secrets: HashSet<ObjectKey>,
    config_maps: HashSet<ObjectKey>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Classes {
    Same,
    Changed,
}

impl Changes {
    /// Objects that did not change are the same ones in both states, so that this costs little beside what it saves.
    pub fn between(before: &ClusterState, now: &ClusterState) -> Self {
        let is_only_told = |ingress: &Ingress| {
            let pair = (before.ingresses.get(&ingress.key), now.ingresses.get(&ingress.key));
            matches!(pair, (Some(before), Some(now)) if now.asks_for_the_same_as(before))
        };
        let ingresses = now.ingresses.since(&before.ingresses);
        let changed: HashSet<ObjectKey> =
            ingresses.iter().filter(|ingress| !is_only_told(ingress)).map(|ingress| ingress.key.clone()).collect();
        let come = ingresses.come.iter().filter(|ingress| changed.contains(&ingress.key));
        let classes = now.classes.since(&before.classes).iter().next().map_or(Classes::Same, |_| Classes::Changed);
        let services = now.services.since(&before.services);
        let slices = now.slices.since(&before.slices);
        let of_slices = slices.iter().map(|slice| slice.service.clone());
        Self {
            come: come.map(|ingress| Arc::clone(ingress)).collect(),
            ingresses: changed,
            classes,
            services: services.iter().map(|service| service.key.clone()).chain(of_slices).collect(),
            secrets: now.secrets.since(&before.secrets).iter().map(|secret| secret.key.clone()).collect(),
            config_maps: now.config_maps.since(&before.config_maps).iter().map(|map| map.key.clone()).collect(),
        }
    }

    /// Whether one of these is not as it was when it was looked at.
    pub fn concern(&self, looked_at: &LookedAt) -> bool {
        let concern = |changed: &HashSet<ObjectKey>, looked: &[ObjectKey]| {
            !changed.is_empty() && looked.iter().any(|key| changed.contains(key))
        };
        concern(&self.services, &looked_at.services)
            || concern(&self.secrets, &looked_at.secrets)
            || concern(&self.config_maps, &looked_at.config_maps)
    }

    pub fn concern_config_map(&self, key: &ObjectKey) -> bool {
        self.config_maps.contains(key)
    }
}
