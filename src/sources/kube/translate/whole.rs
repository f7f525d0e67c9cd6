//! Parts put together: all that follows from a cluster.
//!
//! ```text
//! Part ──add──► Whole ──► Translation      a part that is no longer so is taken back after those that stand in for it came:
//!      ◄─Kept─┘                            what both say stays the very same object
//! ```

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::endpoints::{ListKey, Listing, Slices, service_port};
use super::part::{HostPlace, Main, Part, UpstreamPlace};
use super::report::Event;
use super::tally::Tally;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::model::{Certificate, CertificateUse, EndpointLists, HostName, Reused, Upstream, VirtualHost};
use crate::sources::kube::state::{ClusterState, ObjectKey, SecretBytes};

#[derive(Default)]
pub struct Whole {
    hosts: Tally<HostPlace, Reused<VirtualHost>>,
    upstreams: Tally<UpstreamPlace, Reused<Upstream>>,
    /// By Secret, and by the host that it is for.
    certificates: Tally<(ObjectKey, HostName), Certificate>,
    material: Tally<PathBuf, SecretBytes>,
    lists: Tally<ListKey, Listing>,
    /// Lists that something else was decided by: by whether they have any endpoint.
    decisions: Tally<ListKey, ()>,
    events: Tally<Event, ()>,
    findings: Tally<Diagnostic, ()>,
    main: Main,
}

/// What a part has in a whole.
#[derive(Debug)]
pub struct Kept {
    hosts: Vec<HostPlace>,
    upstreams: Vec<UpstreamPlace>,
    certificates: Vec<(ObjectKey, HostName)>,
    material: Vec<PathBuf>,
    lists: Vec<ListKey>,
    decisions: Vec<ListKey>,
    events: Vec<Event>,
    findings: Vec<Diagnostic>,
}

impl Whole {
    pub fn add(&mut self, part: Part) -> Kept {
        let Part { hosts, upstreams, certificates, material, listings, events, findings, main, looked_at: _ } = part;
        if let Some(main) = main {
            self.main = main;
        }
        let said = |event| (event, ());
        Kept {
            hosts: self.hosts.add(hosts.into_iter().map(|(place, host)| (place, host.into()))),
            upstreams: self.upstreams.add(upstreams.into_iter().map(|(place, upstream)| (place, upstream.into()))),
            certificates: self.certificates.add(certificates),
            material: self.material.add(material),
            decisions: self.decisions.add(listings.decisions.into_iter().map(|key| (key, ()))),
            lists: self.lists.add(listings.lists),
            events: self.events.add(events.into_iter().map(said)),
            findings: self.findings.add(findings.into_iter().map(|finding| (finding, ()))),
        }
    }

    pub fn take_back(&mut self, kept: Kept) {
        let Kept { hosts, upstreams, certificates, material, lists, decisions, events, findings } = kept;
        self.hosts.take_back(hosts);
        self.upstreams.take_back(upstreams);
        self.certificates.take_back(certificates);
        self.material.take_back(material);
        self.lists.take_back(lists);
        self.decisions.take_back(decisions);
        self.events.take_back(events);
        self.findings.take_back(findings);
    }

    pub fn main(&self) -> &Main {
        &self.main
    }

    /// By name; the catch-all last.
    pub fn hosts(&self) -> Vec<Reused<VirtualHost>> {
        self.hosts.values().cloned().collect()
    }

    pub fn upstreams(&self) -> Vec<Reused<Upstream>> {
        self.upstreams.values().cloned().collect()
    }

    /// The default one, and each Secret once, for the hosts that it is for.
    pub fn certificates(&self) -> Vec<Certificate> {
        let mut certificates: Vec<Certificate> = self.main.default_certificate.iter().cloned().collect();
        let mut last = None;
        for ((secret, _), certificate) in self.certificates.iter() {
            let is_of_last = last.replace(secret) == Some(secret);
            match (certificates.last_mut().filter(|_| is_of_last), &certificate.usage) {
                (Some(Certificate { usage: CertificateUse::Only(names), .. }), CertificateUse::Only(more)) => {
                    names.extend(more.iter().cloned());
                }
                (Some(_) | None, _) => certificates.push(certificate.clone()),
            }
        }
        certificates
    }

    pub fn material(&self) -> impl Iterator<Item = (PathBuf, SecretBytes)> {
        self.material.iter().map(|(path, content)| (path.clone(), content.clone()))
    }

    pub fn lists(&self) -> EndpointLists {
        self.lists.values().map(|listing| (listing.name.clone(), listing.endpoints.clone())).collect()
    }

    /// Sorted; equal ones once.
    pub fn events(&self) -> Vec<Event> {
        self.events.iter().map(|(event, ())| event.clone()).collect()
    }

    pub fn diagnostics(&self) -> Diagnostics {
        self.findings.iter().map(|(finding, ())| finding.clone()).collect::<Diagnostics>().sorted()
    }

    /// The lists of `services` as the state has them now. None where more follows from that: then the whole is to be translated.
    pub fn lists_again(&self, state: &ClusterState, services: &BTreeSet<ObjectKey>) -> Option<EndpointLists> {
        let slices = Slices::of(state, |service| services.contains(service));
        let mut lists = EndpointLists::default();
        for key in services {
            let named = self.lists.range(ListKey::first_of(key)..).take_while(|(list, _)| list.service == *key);
            for (list, listing) in named {
                let service = state.services.get(key)?;
                let endpoints = slices.endpoints(service, service_port(service, &list.port, list.transport)?);
                let decides = self.decisions.get(list).is_some();
                if decides && endpoints.is_empty() != listing.endpoints.is_empty() {
                    return None;
                }
                lists.insert(listing.name.clone(), endpoints.into());
            }
        }
        Some(lists)
    }
}
