//! Whose certificates are accepted from clients.
//!
//! ```text
//! [model::ClientAuth] ──read──► { file: ClientRoots } + Diagnostics ──► Terms
//! ```
//!
//! A file that cannot be used has no entry: nobody is let in by less than what was asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use super::key_pair::Report;
use super::pem::{self, Problem};
use crate::diagnostics::Diagnostics;
use crate::material::Material;
use crate::model::{ClientAuth, HostClientAuth, Model};

/// By file, as the model names it.
pub type ClientRootFiles = BTreeMap<PathBuf, Arc<ClientRoots>>;

/// The authorities of one file. Empty: nobody's.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ClientRoots {
    /// Sorted: two files with the same ones are the same.
    certificates: Vec<CertificateDer<'static>>,
}

impl ClientRoots {
    pub(super) fn of(mut certificates: Vec<CertificateDer<'static>>) -> Self {
        certificates.sort_by(|a, b| a.as_ref().cmp(b.as_ref()));
        certificates.dedup();
        Self { certificates }
    }

    /// Whether whoever is accepted by these is accepted by `others`, too.
    pub fn are_among(&self, others: &Self) -> bool {
        let is_there = |root: &CertificateDer<'_>| {
            others.certificates.binary_search_by(|other| other.as_ref().cmp(root.as_ref())).is_ok()
        };
        std::ptr::eq(self, others) || self.certificates.iter().all(is_there)
    }

    pub(super) fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    pub(super) fn store(&self) -> Result<RootCertStore, rustls::Error> {
        let mut store = RootCertStore::empty();
        self.certificates.iter().try_for_each(|root| store.add(root.clone()))?;
        Ok(store)
    }
}

impl fmt::Debug for ClientRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientRoots({})", self.certificates.len())
    }
}

/// Reads what every listener and host that asks clients for certificates names. Blocks on files.
pub fn load_client_roots(model: &Model, material: &Material) -> (ClientRootFiles, Diagnostics) {
    let (mut files, mut found) = (ClientRootFiles::new(), Diagnostics::default());
    for (path, auth) in asked_for(model) {
        let mut report = Report { origin: &auth.origin, path, found: &mut found };
        if !files.contains_key(&auth.ca)
            && let Some(roots) = report.unless(".ca", read(auth, material))
        {
            files.insert(auth.ca.clone(), Arc::new(roots));
        }
    }
    (files, found)
}

/// Each with its key path.
fn asked_for(model: &Model) -> Vec<(String, &ClientAuth)> {
    let of_listeners = model.listeners.iter().filter_map(|listener| {
        let auth = listener.tls.as_ref()?.client_auth.as_ref()?;
        Some((format!("listeners.{}.tls.client-auth", listener.name), auth))
    });
    let of_hosts = model.hosts.iter().enumerate().filter_map(|(index, host)| match &host.tls.client_auth {
        HostClientAuth::Own(auth) => Some((format!("hosts[{index}].tls.client-auth"), auth)),
        HostClientAuth::Inherited | HostClientAuth::Off => None,
    });
    of_listeners.chain(of_hosts).collect()
}

fn read(auth: &ClientAuth, material: &Material) -> Result<ClientRoots, Problem> {
    let roots = ClientRoots::of(pem::read_certificates(&auth.ca, material)?);
    roots.store().map_err(|error| {
        Problem::new(format!("a certificate in {} cannot be an authority: {error}", auth.ca.display()))
            .help("name the certificates of the authorities that issue the clients' ones")
    })?;
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::Authority;

    #[test]
    fn roots_are_compared_by_what_they_accept() {
        let (old, new) = (Authority::new().der, Authority::new().der);
        let before = ClientRoots::of(vec![old.clone()]);
        let both = ClientRoots::of(vec![new.clone(), old.clone(), new.clone()]);
        assert!(before.are_among(&both), "an authority was added");
        assert!(!both.are_among(&before), "one was taken away");
        assert!(!before.are_among(&ClientRoots::of(vec![new.clone()])));
        assert_eq!(both, ClientRoots::of(vec![old, new]));
    }
}
