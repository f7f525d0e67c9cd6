//! What a look at one Ingress tells of it, before anything is looked up: what it could have in common with others.
//!
//! ```text
//! Ingress ──annotations──► Glance { hosts, services, … } ──Common──► Ties: who has one in common is translated together
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use super::class::{Age, age};
use super::common::Common;
use super::server::host_name;
use crate::model::HostName;
use crate::sources::kube::annotations::{self, Policy, Protocol};
use crate::sources::kube::state::{Ingress, IngressBackend, ObjectKey};

#[derive(Clone, Debug)]
pub struct Glance {
    pub ingress: Arc<Ingress>,
    pub age: Age,
    pub is_canary: bool,
    /// Of its rules.
    pub hosts: Vec<HostName>,
    /// Its rules lead to them.
    pub services: Vec<ObjectKey>,
    aliases: Vec<HostName>,
    speaks_of_tls: bool,
    speaks: Speaks,
}

/// How it speaks with its Services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    /// In a way that the upstream's name tells whole.
    Plainly,
    /// Two that do so may want upstreams of one name: then they are numbered, so that each must know of the other.
    InItsOwnWay,
}

/// What Ingresses can have in common so that neither can be translated without the other.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tie {
    Host(HostName),
    Service(ObjectKey),
}

impl Tie {
    /// A host with `www.` and the one without may lead to each other.
    pub fn of_host(host: &HostName) -> Self {
        let HostName::Exact(name) = host else { return Self::Host(host.clone()) };
        let mut bare = &**name;
        while let Some(rest) = bare.strip_prefix("www.") {
            bare = rest;
        }
        Self::Host(if bare.len() == name.len() { host.clone() } else { HostName::Exact(bare.into()) })
    }
}

impl Glance {
    pub fn of(ingress: &Arc<Ingress>, prefix: &str) -> Self {
        // What is wrong with them is told where the Ingress is translated.
        let (policy, _) = annotations::read(ingress, prefix);
        let hosts: BTreeSet<HostName> = ingress.rules.iter().filter_map(|rule| host_name(rule).ok()).collect();
        let of_paths = ingress.rules.iter().flat_map(|rule| &rule.paths).map(|path| &path.backend);
        let services: BTreeSet<ObjectKey> = of_paths
            .chain(&ingress.default_backend)
            .filter_map(|backend| match backend {
                IngressBackend::Service { name, .. } => {
                    Some(ObjectKey::new(ingress.key.namespace.clone(), name.clone()))
                }
                IngressBackend::Other(_) => None,
            })
            .collect();
        Self {
            age: age(ingress),
            is_canary: policy.canary.is_on,
            hosts: hosts.into_iter().collect(),
            services: services.into_iter().collect(),
            speaks_of_tls: !ingress.tls.is_empty(),
            speaks: speaks(&policy),
            aliases: policy.aliases,
            ingress: ingress.clone(),
        }
    }

    /// Hosts of one label that it brings with TLS.
    pub fn wildcards(&self) -> impl Iterator<Item = &HostName> {
        let hosts = self.hosts.iter().filter(|_| self.speaks_of_tls);
        hosts.filter(|host| matches!(host, HostName::OneLabel(_)))
    }

    pub fn ties(&self, common: &Common) -> Vec<Tie> {
        let mut ties: Vec<Tie> = self.hosts.iter().chain(&self.aliases).map(Tie::of_host).collect();
        // The default backend of the cluster is the catch-all's.
        if self.ingress.rules.is_empty() && self.ingress.default_backend.is_some() {
            ties.push(Tie::Host(HostName::CatchAll));
        }
        let needs_others =
            |service: &&ObjectKey| self.speaks == Speaks::InItsOwnWay || common.shared_services.contains(*service);
        ties.extend(self.services.iter().filter(needs_others).cloned().map(Tie::Service));
        ties
    }
}

fn speaks(policy: &Policy) -> Speaks {
    let is_plain = match policy.backend.protocol {
        Protocol::Http | Protocol::Grpc => true,
        Protocol::Https | Protocol::Grpcs | Protocol::AutoHttp => false,
    };
    // A canary's Service is spoken with in the way of the Ingress whose requests it takes.
    let is_plain = is_plain && !policy.session.cookie && policy.backend.hash_by.is_none() && !policy.canary.is_on;
    if is_plain { Speaks::Plainly } else { Speaks::InItsOwnWay }
}
