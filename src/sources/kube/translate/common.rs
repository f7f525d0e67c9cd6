//! What one Ingress decides for others that it has nothing in common with, and what is decided for all.
//!
//! ```text
//! ConfigMap ──► Options ─┐
//! Glance of each ────────┴──► Common ──► every part of a translation; a change of it changes all of them
//! ```
//!
//! It is little, and it seldom changes: whatever may change often belongs into what ties Ingresses together instead.

use std::collections::{BTreeSet, HashSet};

use super::glance::Glance;
use super::report::{ObjectKind, ObjectReference, Reason, Report, origin};
use super::settings::Settings;
use crate::model::HostName;
use crate::sources::kube::options::{self, Options};
use crate::sources::kube::state::{ClusterState, ObjectKey};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Common {
    /// Hosts of one label that speak of TLS. What ingress-nginx asks about the hosts below them is whether these are there.
    pub wildcards: BTreeSet<HostName>,
    /// Services of whose requests a canary takes a share, whatever host they are for.
    pub shared_services: BTreeSet<ObjectKey>,
}

impl Common {
    pub fn of<'g>(glances: impl Iterator<Item = &'g Glance> + Clone) -> Self {
        let canary_hosts: HashSet<&HostName> =
            glances.clone().filter(|glance| glance.is_canary).flat_map(|glance| &glance.hosts).collect();
        let mut common = Self::default();
        for glance in glances.filter(|glance| !glance.is_canary) {
            common.wildcards.extend(glance.wildcards().cloned());
            if glance.hosts.iter().any(|host| canary_hosts.contains(host)) {
                common.shared_services.extend(glance.services.iter().cloned());
            }
        }
        common
    }
}

/// Of the ConfigMap, where there is one.
pub fn read_options(state: &ClusterState, settings: &Settings, report: &mut Report) -> Options {
    let Some(key) = &settings.config_map else { return Options::default() };
    let Some(map) = state.config_maps.get(key) else {
        report.note(origin(ObjectKind::ConfigMap, key), "", format!("there is no ConfigMap {key}; the defaults hold"));
        return Options::default();
    };
    let (options, findings) = options::read(&map.data);
    for options::Finding { key, message } in findings {
        let object = ObjectReference { kind: ObjectKind::ConfigMap, key: map.key.clone(), uid: map.uid.clone() };
        report.warn_of(object, Reason::InvalidOption, format!("data[{key}]"), message);
    }
    options
}
