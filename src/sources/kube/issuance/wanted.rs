//! From Ingresses to the certificates that they ask issuers of Weir's for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Issuer;
use crate::model::{AcmeDomain, acme_words};
use crate::sources::kube::annotations::value::quoted;
use crate::sources::kube::state::{ClusterState, Ingress, IngressTls, Maker, ObjectKey};
use crate::sources::kube::translate::{ClassRules, Event, ObjectKind, ObjectReference, Reason, age, is_ours};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Issuance {
    /// By Secret.
    pub wanted: Vec<WantedCertificate>,
    /// Sorted; equal ones once.
    pub events: Vec<Event>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedCertificate {
    /// Where it comes into.
    pub secret: ObjectKey,
    pub issuer: Arc<str>,
    /// Sorted.
    pub domains: Vec<AcmeDomain>,
    /// Whose wish it is, the oldest first.
    pub ingresses: Vec<ObjectReference>,
}

/// Another one that writes into the Secrets of Ingresses.
const CERT_MANAGER: [&str; 2] = ["cert-manager.io/issuer", "cert-manager.io/cluster-issuer"];

pub fn issuance(state: &ClusterState, class: &ClassRules, issuers: &[Issuer]) -> Issuance {
    let asks = |ingress: &&Arc<Ingress>| speaks_of_issuers(ingress) && is_ours(state, class, ingress);
    let mut asking: Vec<_> = state.ingresses.iter().map(|(_, ingress)| ingress).filter(asks).collect();
    asking.sort_by_cached_key(|ingress| age(ingress));
    let mut draft = Draft::new(state, issuers);
    asking.into_iter().for_each(|ingress| draft.take(ingress));
    Issuance { wanted: draft.wanted.into_values().collect(), events: draft.events.into_iter().collect() }
}

/// Whether the Secrets of its TLS come into being by Weir itself.
pub fn awaits(ingress: &Ingress) -> bool {
    issuer_of(ingress).is_some()
}

fn issuer_of(ingress: &Ingress) -> Option<&str> {
    ingress.annotation(acme_words::ISSUER).map(|name| name.trim()).filter(|name| !name.is_empty())
}

fn speaks_of_issuers(ingress: &Ingress) -> bool {
    ingress.annotations.iter().any(|(key, _)| key.starts_with(acme_words::PREFIX))
}

struct Draft<'s> {
    state: &'s ClusterState,
    issuers: &'s [Issuer],
    wanted: BTreeMap<ObjectKey, WantedCertificate>,
    /// Whose Secret a name comes into.
    taken: BTreeMap<AcmeDomain, ObjectKey>,
    events: BTreeSet<Event>,
}

impl<'s> Draft<'s> {
    fn new(state: &'s ClusterState, issuers: &'s [Issuer]) -> Self {
        Self { state, issuers, wanted: BTreeMap::new(), taken: BTreeMap::new(), events: BTreeSet::new() }
    }

    fn take(&mut self, ingress: &Ingress) {
        for (key, _) in ingress.annotations.iter().filter(|(key, _)| key.starts_with(acme_words::PREFIX)) {
            if **key != *acme_words::ISSUER {
                let message = format!("there is no annotation {}; there is {}", quoted(key), acme_words::ISSUER);
                self.tell(ingress, Reason::UnsupportedAnnotation, &format!("metadata.annotations[{key}]"), message);
            }
        }
        let Some(name) = issuer_of(ingress) else { return };
        let at = format!("metadata.annotations[{}]", acme_words::ISSUER);
        let Some(issuer) = self.issuers.iter().find(|issuer| *issuer.name == *name) else {
            return self.fail(ingress, &at, self.no_such_issuer(name));
        };
        if let Some(other) = CERT_MANAGER.iter().find(|key| ingress.annotation(key).is_some()) {
            let message = format!("{other} asks cert-manager for the same certificate; take one of the two out");
            return self.fail(ingress, &at, message);
        }
        if ingress.tls.is_empty() {
            self.fail(ingress, "spec.tls", "no Secret is named that a certificate could come into".into());
        }
        let issuer = issuer.name.clone();
        for (index, tls) in ingress.tls.iter().enumerate() {
            self.take_entry(ingress, &issuer, &format!("spec.tls[{index}]"), tls);
        }
    }

    fn no_such_issuer(&self, name: &str) -> String {
        let names: Vec<&str> = self.issuers.iter().map(|issuer| &*issuer.name).collect();
        match names.is_empty() {
            true => format!("there is no issuer {}: Weir was started without --acme-issuer", quoted(name)),
            false => format!("there is no issuer {}; there are: {}", quoted(name), names.join(", ")),
        }
    }

    fn take_entry(&mut self, ingress: &Ingress, issuer: &Arc<str>, at: &str, tls: &IngressTls) {
        let Some(name) = &tls.secret else {
            return self.fail(ingress, at, "no Secret is named that a certificate could come into".into());
        };
        let secret = ObjectKey::new(ingress.key.namespace.clone(), name.clone());
        if self.state.secrets.get(&secret).is_some_and(|found| found.maker == Maker::SomebodyElse) {
            let message = format!(
                "the Secret {secret} was not made by Weir and is left alone; delete it, or name another, to have a \
                 certificate issued"
            );
            return self.fail(ingress, at, message);
        }
        if let Some(first) = self.wanted.get(&secret).filter(|first| first.issuer != *issuer) {
            let message = format!("the Secret {secret} holds a certificate of the issuer {}", first.issuer);
            return self.fail(ingress, at, message);
        }
        let domains = self.domains(ingress, at, tls, &secret);
        if domains.is_empty() {
            return;
        }
        let fresh = || WantedCertificate {
            secret: secret.clone(),
            issuer: issuer.clone(),
            domains: Vec::new(),
            ingresses: Vec::new(),
        };
        let wanted = self.wanted.entry(secret.clone()).or_insert_with(fresh);
        wanted.domains.extend(domains);
        wanted.domains.sort();
        wanted.domains.dedup();
        let object = reference(ingress);
        if !wanted.ingresses.contains(&object) {
            wanted.ingresses.push(object);
        }
    }

    /// Those of an entry that can be ordered, and that no older Ingress has in another Secret.
    fn domains(&mut self, ingress: &Ingress, at: &str, tls: &IngressTls, secret: &ObjectKey) -> Vec<AcmeDomain> {
        let of_rules = || ingress.rules.iter().filter_map(|rule| rule.host.clone()).collect();
        let written: Vec<Arc<str>> = if tls.hosts.is_empty() { of_rules() } else { tls.hosts.clone() };
        if written.is_empty() {
            self.fail(ingress, at, "no host is named that a certificate could be for".into());
        }
        let mut domains = Vec::with_capacity(written.len());
        for host in written {
            let domain = match AcmeDomain::parse(&host) {
                Ok(domain) if domain.is_wildcard() => {
                    let message =
                        format!("{domain} needs dns-01, which issuers of the cluster do not have; use cert-manager");
                    self.fail(ingress, at, message);
                    continue;
                }
                Ok(domain) => domain,
                Err(message) => {
                    self.fail(ingress, at, message);
                    continue;
                }
            };
            let owner = self.taken.entry(domain.clone()).or_insert_with(|| secret.clone());
            if owner == secret {
                domains.push(domain);
            } else {
                let message =
                    format!("{domain} is in the certificate of the Secret {owner}, whose Ingress comes first");
                self.tell(ingress, Reason::Conflict, at, message);
            }
        }
        domains
    }

    fn fail(&mut self, ingress: &Ingress, at: &str, message: String) {
        self.tell(ingress, Reason::IssuanceFailed, at, message);
    }

    fn tell(&mut self, ingress: &Ingress, reason: Reason, at: &str, message: String) {
        self.events.insert(Event::new(reference(ingress), reason, format!("{at}: {message}")));
    }
}

fn reference(ingress: &Ingress) -> ObjectReference {
    ObjectReference { kind: ObjectKind::Ingress, key: ingress.key.clone(), uid: ingress.uid.clone() }
}
