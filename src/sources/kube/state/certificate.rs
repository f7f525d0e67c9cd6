//! What a Secret's certificate says of itself, and whether it can be served.
//!
//! Looked at once for each version of the Secret, however often the cluster is translated.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::*;

use super::{Secret, SecretBytes};

pub const CERTIFICATE: &str = "tls.crt";
pub const PRIVATE_KEY: &str = "tls.key";
pub const AUTHORITIES: &str = "ca.crt";

/// The names that a leaf vouches for. Lowercase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateNames {
    exact: Vec<Arc<str>>,
    /// `*.a.test`, kept as `a.test`.
    below: Vec<Arc<str>>,
}

impl CertificateNames {
    pub fn cover(&self, host: &str) -> bool {
        let below = || host.split_once('.').is_some_and(|(_, parent)| self.cover_below(parent));
        self.exact.iter().any(|name| **name == *host) || below()
    }

    /// Every name of one label before `parent`.
    pub fn cover_below(&self, parent: &str) -> bool {
        self.below.iter().any(|name| **name == *parent)
    }

    fn add(&mut self, name: &str) {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        match name.strip_prefix("*.") {
            Some(parent) => self.below.push(parent.into()),
            None => self.exact.push(name.into()),
        }
    }
}

impl Secret {
    /// Its certificate and key, proven to belong together.
    pub fn key_pair(&self) -> Result<&CertificateNames, &str> {
        self.pair.get_or_init(|| self.examine()).as_ref().map_err(String::as_str)
    }

    /// Whether it was looked at, and is one: as when it is served.
    pub fn is_known_pair(&self) -> bool {
        matches!(self.pair.get(), Some(Ok(_)))
    }

    fn examine(&self) -> Result<CertificateNames, String> {
        let chain = certificates(self.bytes(CERTIFICATE)?, CERTIFICATE)?;
        let key = PrivateKeyDer::from_pem_slice(self.bytes(PRIVATE_KEY)?.as_bytes())
            .map_err(|_| format!("its {PRIVATE_KEY} has no private key in PEM"))?;
        let provider = rustls::crypto::aws_lc_rs::default_provider().key_provider;
        let key = provider.load_private_key(key).map_err(|_| format!("the key in its {PRIVATE_KEY} cannot be used"))?;
        let names = names(&chain[0])?;
        match CertifiedKey::new(chain, key).keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(names),
            Err(_) => Err(format!("the key in its {PRIVATE_KEY} is not that of its {CERTIFICATE}")),
        }
    }

    /// Its authorities, where there are some.
    pub fn authorities(&self) -> Result<&SecretBytes, String> {
        let bytes = self.bytes(AUTHORITIES)?;
        // Whoever verifies by them is stricter than who reads their names.
        let mut store = RootCertStore::empty();
        for certificate in certificates(bytes, AUTHORITIES)? {
            store.add(certificate).map_err(|_| format!("its {AUTHORITIES} has a certificate that cannot be read"))?;
        }
        Ok(bytes)
    }

    pub fn bytes(&self, key: &str) -> Result<&SecretBytes, String> {
        self.data.get(key).ok_or_else(|| format!("it has no key {key}"))
    }
}

/// At least one.
fn certificates(pem: &SecretBytes, key: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let certificates = read.map_err(|_| format!("its {key} is no PEM"))?;
    if certificates.is_empty() { Err(format!("its {key} has no certificate")) } else { Ok(certificates) }
}

fn names(der: &[u8]) -> Result<CertificateNames, String> {
    let wrong = |_| format!("the certificate in its {CERTIFICATE} cannot be read");
    let (_, certificate) = X509Certificate::from_der(der).map_err(wrong)?;
    let mut names = CertificateNames::default();
    match certificate.subject_alternative_name().map_err(|_| "its names cannot be read".to_owned())? {
        Some(extension) => {
            for name in &extension.value.general_names {
                if let GeneralName::DNSName(name) = name {
                    names.add(name);
                }
            }
        }
        None => {
            let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
            common.for_each(|name| names.add(name));
        }
    }
    Ok(names)
}
