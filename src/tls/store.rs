//! The certificates in force, found by name.
//!
//! ```text
//! [LoadedCertificate] ──► CertificateStore ──select(SNI, signature schemes, now)──► the best that fits
//!                                          ──misdirected(SNI, host)──► 421 or not
//! ```
//!
//! Immutable: a reload builds another and swaps it in. Knows no sockets and no clock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::{SignatureAlgorithm, SignatureScheme};
use serde::Serialize;

use super::certificate::{CertificateName, LoadedCertificate, Standing, Validity, wildcard_parent};
use crate::diagnostics::Origin;
use crate::timestamp;

#[derive(Debug, Default)]
pub struct CertificateStore {
    /// In the model's order.
    certificates: Vec<Arc<LoadedCertificate>>,
    exact: HashMap<Arc<str>, Vec<Arc<LoadedCertificate>>>,
    /// By the name below the star.
    wildcard: HashMap<Arc<str>, Vec<Arc<LoadedCertificate>>>,
}

impl CertificateStore {
    pub fn new(mut certificates: Vec<Arc<LoadedCertificate>>) -> Self {
        certificates.sort_by_key(|certificate| certificate.position());
        let mut store = Self::default();
        for certificate in &certificates {
            for name in certificate.names() {
                let (map, name) = match name {
                    CertificateName::Exact(name) => (&mut store.exact, name),
                    CertificateName::Wildcard(parent) => (&mut store.wildcard, parent),
                };
                map.entry(name.clone()).or_default().push(certificate.clone());
            }
        }
        store.certificates = certificates;
        store
    }

    /// The best certificate for a client that asks for `sni` (lowercase) and can verify `offered`: one that it
    /// can verify, then one valid now, an exact name before a wildcard, elliptic curves before RSA (half the
    /// handshake's cost), the longest validity, and the model's order. None: no certificate has the name.
    pub fn select(&self, sni: &str, offered: &[SignatureScheme], now: SystemTime) -> Option<&Arc<LoadedCertificate>> {
        let exact = self.exact(sni).iter().map(|certificate| (certificate, Precision::Exact));
        let wildcard = self.wildcard(sni).iter().map(|certificate| (certificate, Precision::Wildcard));
        // `max_by_key` keeps the last of equals, so the order is turned about.
        let candidates = exact.chain(wildcard).rev();
        let best = candidates.max_by_key(|(certificate, precision)| Rank::of(certificate, *precision, offered, now));
        best.map(|(certificate, _)| certificate)
    }

    /// For a client that names no host, as nginx's default server: the fallback, else the first of the model that is not for some
    /// hosts alone.
    pub fn first(&self) -> Option<&Arc<LoadedCertificate>> {
        let first = || self.certificates.iter().find(|certificate| certificate.standing() == Standing::Own);
        self.fallback().or_else(first)
    }

    /// For a client that asks for a name that no certificate has.
    pub fn fallback(&self) -> Option<&Arc<LoadedCertificate>> {
        self.certificates.iter().find(|certificate| certificate.standing() == Standing::Fallback)
    }

    /// A certificate that vouches for `host` (lowercase, without port). None: it would be served the self-signed one.
    pub fn covering(&self, host: &str) -> Option<&Arc<LoadedCertificate>> {
        self.exact(host).first().or_else(|| self.wildcard(host).first())
    }

    /// Whether a request for `host` came by a connection whose certificate does not vouch for it: 421
    /// (RFC 9110 §15.5.20). It is judged by today's certificates, so a renewal misdirects nobody. A client that
    /// sent no SNI chose the address itself and is not judged.
    pub fn misdirected(&self, sni: Option<&str>, host: &str) -> bool {
        let Some(sni) = sni.filter(|sni| *sni != host) else { return false };
        let mut shown = self.exact(sni).iter().chain(self.wildcard(sni)).peekable();
        match shown.peek() {
            Some(_) => !shown.any(|certificate| certificate.covers(host)),
            None => self.covering(host).is_some(),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<LoadedCertificate>> {
        self.certificates.iter()
    }

    /// Label and validity of each, for metrics.
    pub fn validities(&self) -> Vec<(Arc<str>, Validity)> {
        self.iter().map(|certificate| (certificate.label().clone(), certificate.validity())).collect()
    }

    /// What `/certificates` shows.
    pub fn summaries(&self, now: SystemTime) -> Vec<CertificateSummary> {
        self.iter().map(|certificate| CertificateSummary::of(certificate, now)).collect()
    }

    fn exact(&self, host: &str) -> &[Arc<LoadedCertificate>] {
        self.exact.get(host).map_or(&[], Vec::as_slice)
    }

    fn wildcard(&self, host: &str) -> &[Arc<LoadedCertificate>] {
        wildcard_parent(host).and_then(|parent| self.wildcard.get(parent)).map_or(&[], Vec::as_slice)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Precision {
    Wildcard,
    Exact,
}

/// Compared from the first field to the last; the greatest is served.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    verifiable: bool,
    valid: bool,
    precision: Precision,
    elliptic: bool,
    not_after: SystemTime,
}

impl Rank {
    fn of(certificate: &LoadedCertificate, precision: Precision, offered: &[SignatureScheme], now: SystemTime) -> Self {
        Self {
            verifiable: certificate.can_sign_with(offered),
            valid: certificate.is_valid_at(now),
            precision,
            elliptic: certificate.algorithm() != SignatureAlgorithm::RSA,
            not_after: certificate.not_after(),
        }
    }
}

/// One certificate as `/certificates` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CertificateSummary {
    /// The file it was read from, or `acme/NAME`.
    pub certificate: Arc<str>,
    pub names: Vec<CertificateName>,
    pub issuer: Arc<str>,
    /// `ECDSA`, `RSA`, `ED25519`.
    pub key: &'static str,
    #[serde(serialize_with = "timestamp::serialize")]
    pub not_before: SystemTime,
    #[serde(serialize_with = "timestamp::serialize")]
    pub not_after: SystemTime,
    pub validity: Phase,
    pub origin: Origin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    NotYetValid,
    Valid,
    Expired,
}

impl CertificateSummary {
    fn of(certificate: &LoadedCertificate, now: SystemTime) -> Self {
        let validity = match () {
            () if now < certificate.not_before() => Phase::NotYetValid,
            () if now > certificate.not_after() => Phase::Expired,
            () => Phase::Valid,
        };
        Self {
            certificate: certificate.source().clone(),
            names: certificate.names().to_vec(),
            issuer: certificate.issuer().into(),
            key: certificate.algorithm().as_str().unwrap_or("unknown"),
            not_before: certificate.not_before(),
            not_after: certificate.not_after(),
            validity,
            origin: certificate.origin().clone(),
        }
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
