//! Which certificate a handshake is answered with.
//!
//! ```text
//! ClientHello ──► CertificateResolver ──► CertificateStore (ArcSwap'd) ──► CertifiedKey
//!                                    └──► the self-signed fallback, named in the log
//! ```
//!
//! A swap changes the next handshake; connections that are open keep what they agreed on.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::fallback::{self, FALLBACK_NAME, FallbackError};
use super::store::CertificateStore;

/// So many names without a certificate are logged for each set of certificates; a scanner tries many more.
const REPORTED_NAMES: usize = 64;

pub struct CertificateResolver {
    store: ArcSwap<CertificateStore>,
    fallback: Arc<CertifiedKey>,
    /// Names that the log has seen. Locked only where no certificate fits.
    reported: Mutex<HashSet<Box<str>>>,
}

impl CertificateResolver {
    /// Makes the fallback certificate; one resolver serves all listeners of the process.
    pub fn new(store: CertificateStore) -> Result<Self, FallbackError> {
        let fallback = fallback::generate()?;
        Ok(Self { store: ArcSwap::from_pointee(store), fallback, reported: Mutex::default() })
    }

    /// The certificates for the next handshakes. Names that miss are told of anew.
    pub fn replace(&self, store: CertificateStore) {
        self.store.store(Arc::new(store));
        self.reported.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub fn store(&self) -> arc_swap::Guard<Arc<CertificateStore>> {
        self.store.load()
    }

    fn key_for(&self, sni: Option<&str>, offered: &[SignatureScheme]) -> Arc<CertifiedKey> {
        let store = self.store.load();
        let found = match sni {
            Some(sni) => store.select(sni, offered, SystemTime::now()),
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
            tracing::warn!(
                sni,
                certificate = FALLBACK_NAME,
                "no certificate has this name; a self-signed one is shown"
            );
        }
    }
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
        let resolver = CertificateResolver::new(CertificateStore::default()).unwrap();
        for number in 0..REPORTED_NAMES * 2 {
            resolver.key_for(Some(&format!("{number}.test")), &[]);
        }
        assert_eq!(resolver.reported.lock().unwrap().len(), REPORTED_NAMES);
        resolver.replace(CertificateStore::default());
        assert!(resolver.reported.lock().unwrap().is_empty());
    }
}
