//! Which certificate a handshake is answered with.
//!
//! ```text
//! ClientHello ──► CertificateResolver ──► CertificateStore (ArcSwap'd: from files, and ordered ones) ──► CertifiedKey, with its OCSP answer
//!                                    └──► the self-signed fallback, named in the log
//! ```
//!
//! A swap changes the next handshake; connections that are open keep what they agreed on.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::SignatureScheme;
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::Notify;

use super::certificate::{LoadedCertificate, wildcard_parent};
use super::fallback::{self, FALLBACK_NAME, FallbackError};
use super::store::CertificateStore;

/// So many names without a certificate are logged for each set of certificates; a scanner tries many more.
const REPORTED_NAMES: usize = 64;

pub struct CertificateResolver {
    store: ArcSwap<CertificateStore>,
    /// What the store is made of. Locked by the control plane alone.
    supplies: Mutex<Supplies>,
    /// Names whose certificates have been ordered and not come yet.
    awaited: ArcSwap<HashSet<Box<str>>>,
    fallback: Arc<CertifiedKey>,
    /// Names that the log has seen. Locked only where no certificate fits.
    reported: Mutex<HashSet<Box<str>>>,
    changed: Notify,
}

/// Who gives certificates.
#[derive(Default)]
struct Supplies {
    files: Vec<Arc<LoadedCertificate>>,
    ordered: Vec<Arc<LoadedCertificate>>,
    /// By certificate: they stay with it, whoever gives it.
    staples: HashMap<CertificateDer<'static>, Vec<u8>>,
}

impl CertificateResolver {
    /// Makes the fallback certificate; one resolver serves all listeners of the process.
    pub fn new(files: Vec<Arc<LoadedCertificate>>) -> Result<Self, FallbackError> {
        let resolver = Self {
            store: ArcSwap::default(),
            supplies: Mutex::default(),
            awaited: ArcSwap::default(),
            fallback: fallback::generate()?,
            reported: Mutex::default(),
            changed: Notify::new(),
        };
        resolver.replace_files(files);
        Ok(resolver)
    }

    /// The certificates from files, for the next handshakes.
    pub fn replace_files(&self, files: Vec<Arc<LoadedCertificate>>) {
        self.replace(|supplies| supplies.files = files);
    }

    /// The certificates from an authority, for the next handshakes.
    pub fn replace_ordered(&self, ordered: Vec<Arc<LoadedCertificate>>) {
        self.replace(|supplies| supplies.ordered = ordered);
    }

    /// OCSP answers for the next handshakes: these, and no others.
    pub fn staple(&self, staples: HashMap<CertificateDer<'static>, Vec<u8>>) {
        self.rebuild(|supplies| supplies.staples = staples);
    }

    /// Resolves when other certificates are given; their staples are no reason.
    pub fn changed(&self) -> impl Future<Output = ()> + '_ {
        let mut changed = Box::pin(self.changed.notified());
        // From now on, and not only when it is polled.
        changed.as_mut().enable();
        changed
    }

    /// Names that miss are told of anew.
    fn replace(&self, change: impl FnOnce(&mut Supplies)) {
        self.rebuild(change);
        self.changed.notify_waiters();
        self.reported.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn rebuild(&self, change: impl FnOnce(&mut Supplies)) {
        let mut supplies = self.supplies.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut supplies);
        let all = supplies.files.iter().chain(&supplies.ordered);
        let stapled = all.map(|certificate| {
            let staple = certificate.key().cert.first().and_then(|leaf| supplies.staples.get(leaf));
            staple.map_or_else(|| certificate.clone(), |staple| Arc::new(certificate.with_staple(staple.clone())))
        });
        // Stored under the lock: the later change stands.
        self.store.store(Arc::new(CertificateStore::new(stapled.collect())));
    }

    /// The names whose first certificate is on its way.
    pub fn expect(&self, names: HashSet<Box<str>>) {
        self.awaited.store(Arc::new(names));
    }

    pub fn store(&self) -> arc_swap::Guard<Arc<CertificateStore>> {
        self.store.load()
    }

    fn key_for(&self, sni: Option<&str>, offered: &[SignatureScheme]) -> Arc<CertifiedKey> {
        let store = self.store.load();
        let found = match sni {
            Some(sni) => store.select(sni, offered, SystemTime::now()).or_else(|| store.fallback()),
            None => store.first(),
        };
        match found {
            Some(certificate) => certificate.key().clone(),
            None => {
                self.report(sni.unwrap_or("(no name)"));
                self.fallback.clone()
            }
        }
    }

    fn report(&self, sni: &str) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.len() < REPORTED_NAMES && reported.insert(sni.into()) {
            drop(reported);
            let certificate = FALLBACK_NAME;
            if is_awaited(&self.awaited.load(), sni) {
                tracing::warn!(
                    sni,
                    certificate,
                    "the certificate for this name is on its way; a self-signed one is shown"
                );
            } else {
                tracing::warn!(sni, certificate, "no certificate has this name; a self-signed one is shown");
            }
        }
    }
}

fn is_awaited(awaited: &HashSet<Box<str>>, sni: &str) -> bool {
    let wildcard = wildcard_parent(sni).map(|parent| format!("*.{parent}"));
    awaited.contains(sni) || wildcard.is_some_and(|name| awaited.contains(name.as_str()))
}

impl ResolvesServerCert for CertificateResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls gives the name in lowercase, and only the schemes that fit the client's cipher suites.
        Some(self.key_for(hello.server_name(), hello.signature_schemes()))
    }
}

impl fmt::Debug for CertificateResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateResolver").field("store", &self.store).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_a_certificate_are_remembered_up_to_a_bound_and_until_the_next_swap() {
        let resolver = CertificateResolver::new(Vec::new()).unwrap();
        for number in 0..REPORTED_NAMES * 2 {
            resolver.key_for(Some(&format!("{number}.test")), &[]);
        }
        assert_eq!(resolver.reported.lock().unwrap().len(), REPORTED_NAMES);
        resolver.replace_files(Vec::new());
        assert!(resolver.reported.lock().unwrap().is_empty());
    }
}
