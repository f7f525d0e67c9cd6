//! A certificate that can be served: its chain, its key, and what the leaf says of itself.
//!
//! ```text
//! DER chain + CertifiedKey ──x509──► LoadedCertificate { names, validity, issuer, … }
//! ```
//!
//! Knows no files and no clock. The private key stays inside rustls's signing key and is never shown.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};
use serde::{Serialize, Serializer};
use x509_parser::prelude::*;

use super::provider;
use crate::diagnostics::Origin;
use crate::model::{AcmeDomain, CertificateUse, HostName};

/// A name that a certificate vouches for. Lowercase.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CertificateName {
    /// A DNS name, or an IP address as it stands in a URL.
    Exact(Arc<str>),
    /// `*.a.test`, kept as `a.test`: exactly one label before it (RFC 9525 §6.3).
    Wildcard(Arc<str>),
}

impl CertificateName {
    fn of_dns(name: &str) -> Option<Self> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        match name.strip_prefix("*.") {
            Some(parent) if !parent.is_empty() && !parent.contains('*') => Some(Self::Wildcard(parent.into())),
            None if !name.is_empty() && !name.contains('*') => Some(Self::Exact(name.into())),
            Some(_) | None => None,
        }
    }

    pub fn of_domain(domain: &AcmeDomain) -> Self {
        match domain.is_wildcard() {
            true => Self::Wildcard(domain.base().into()),
            false => Self::Exact(domain.as_str().into()),
        }
    }

    fn of_address(octets: &[u8]) -> Option<Self> {
        let address = match *octets {
            [a, b, c, d] => IpAddr::from([a, b, c, d]).to_string(),
            _ => format!("[{}]", IpAddr::from(<[u8; 16]>::try_from(octets).ok()?)),
        };
        Some(Self::Exact(address.into()))
    }

    /// `host` is lowercase, without port and trailing dot.
    pub fn covers(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => **name == *host,
            Self::Wildcard(parent) => wildcard_parent(host) == Some(parent),
        }
    }
}

/// The name under which a wildcard for `host` is kept: `x.a.test` has `a.test`. Never of an IP address.
pub(super) fn wildcard_parent(host: &str) -> Option<&str> {
    let (label, parent) = host.split_once('.')?;
    let is_address = host.ends_with(']') || host.parse::<IpAddr>().is_ok();
    (!label.is_empty() && !parent.is_empty() && !is_address).then_some(parent)
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(parent) => write!(f, "*.{parent}"),
        }
    }
}

impl Serialize for CertificateName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// From when until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

impl Validity {
    pub fn lifetime(self) -> Duration {
        self.not_after.duration_since(self.not_before).unwrap_or_default()
    }
}

/// What a leaf certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    pub names: Vec<CertificateName>,
    pub named_by: NamedBy,
    pub validity: Validity,
    pub issuer: Arc<str>,
}

/// Where the names stand. Clients have ignored the common name since 2017.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NamedBy {
    AlternativeName,
    CommonName,
}

impl Leaf {
    /// Reads one DER certificate; the error is a reason to show.
    pub fn parse(der: &[u8]) -> Result<Self, String> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        let alternative = certificate.subject_alternative_name().map_err(|error| error.to_string())?;
        let (names, named_by) = match alternative {
            Some(extension) => (alternative_names(&extension.value.general_names), NamedBy::AlternativeName),
            None => (common_names(certificate.subject()), NamedBy::CommonName),
        };
        Ok(Self {
            names,
            named_by,
            validity: Validity {
                not_before: system_time(certificate.validity().not_before),
                not_after: system_time(certificate.validity().not_after),
            },
            issuer: certificate.issuer().to_string().into(),
        })
    }
}

fn alternative_names(names: &[GeneralName<'_>]) -> Vec<CertificateName> {
    let parsed = names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => CertificateName::of_dns(name),
        GeneralName::IPAddress(octets) => CertificateName::of_address(octets),
        // Mail addresses, URIs and directory names do not name a server. The enum is x509-parser's.
        _ => None,
    });
    parsed.collect()
}

fn common_names(subject: &X509Name<'_>) -> Vec<CertificateName> {
    subject.iter_common_name().filter_map(|cn| cn.as_str().ok()).filter_map(CertificateName::of_dns).collect()
}

pub(super) fn system_time(time: ASN1Time) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or(0))
}

/// What a certificate is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    pub origin: Origin,
    /// The certificate's file, as the operator named it, or `acme/NAME`: its name in listings.
    pub source: Arc<str>,
    /// The name in metrics: the same, unless clients had a hand in it.
    pub label: Arc<str>,
    /// Its place in the model; of equals the first one is shown.
    pub position: usize,
}

/// Who is shown it beside those who ask for one of its names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// Who asks for no name, where it is the first.
    #[default]
    Own,
    Nobody,
    /// Whoever no other is for.
    Fallback,
}

/// A certificate, ready to be served.
pub struct LoadedCertificate {
    /// Its names are those that it is shown for.
    pub(super) leaf: Leaf,
    pub(super) standing: Standing,
    pub(super) about: About,
    pub(super) key: Arc<CertifiedKey>,
}

impl LoadedCertificate {
    /// From PEM; the error is a reason to show.
    pub fn from_pem(chain: &str, key: &str, about: About) -> Result<Self, String> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| format!("the chain is not PEM: {error}"))?;
        let leaf = Leaf::parse(chain.first().ok_or("there is no certificate in the chain")?)?;
        let key =
            PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| format!("the key is not PEM: {error}"))?;
        // Proves that both belong together.
        let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| error.to_string())?;
        Ok(Self { leaf, standing: Standing::Own, about, key: Arc::new(certified) })
    }

    /// The same, shown with an OCSP answer.
    pub(super) fn with_staple(&self, staple: Vec<u8>) -> Self {
        let key = CertifiedKey { ocsp: Some(staple), ..CertifiedKey::clone(&self.key) };
        Self { leaf: self.leaf.clone(), standing: self.standing, about: self.about.clone(), key: Arc::new(key) }
    }

    /// Whether the same clients are shown the same.
    pub fn shows_the_same_as(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert && self.leaf.names == other.leaf.names && self.standing == other.standing
    }

    /// For some of its names alone, or for whoever no other is for.
    pub(super) fn used_as(mut self, usage: &CertificateUse) -> Self {
        self.standing = match usage {
            CertificateUse::ItsNames => Standing::Own,
            CertificateUse::Only(hosts) => {
                self.leaf.names = hosts.iter().filter_map(|host| self.name_for(host)).collect();
                Standing::Nobody
            }
            CertificateUse::Fallback => {
                self.leaf.names.clear();
                Standing::Fallback
            }
        };
        self
    }

    /// The name of the host, where it vouches for it.
    fn name_for(&self, host: &HostName) -> Option<CertificateName> {
        match host {
            HostName::Exact(name) => self.covers(name).then(|| CertificateName::Exact(name.clone())),
            HostName::OneLabel(parent) | HostName::Wildcard(parent) => {
                let name = CertificateName::Wildcard(parent.clone());
                self.names().contains(&name).then_some(name)
            }
            HostName::CatchAll => None,
        }
    }

    pub(super) fn standing(&self) -> Standing {
        self.standing
    }

    pub fn names(&self) -> &[CertificateName] {
        &self.leaf.names
    }

    pub fn validity(&self) -> Validity {
        self.leaf.validity
    }

    pub fn not_before(&self) -> SystemTime {
        self.leaf.validity.not_before
    }

    pub fn not_after(&self) -> SystemTime {
        self.leaf.validity.not_after
    }

    pub fn issuer(&self) -> &str {
        &self.leaf.issuer
    }

    pub fn origin(&self) -> &Origin {
        &self.about.origin
    }

    pub fn source(&self) -> &Arc<str> {
        &self.about.source
    }

    pub fn label(&self) -> &Arc<str> {
        &self.about.label
    }

    pub(super) fn position(&self) -> usize {
        self.about.position
    }

    pub fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.key.key.algorithm()
    }

    pub fn covers(&self, host: &str) -> bool {
        self.names().iter().any(|name| name.covers(host))
    }

    pub fn is_valid_at(&self, now: SystemTime) -> bool {
        (self.not_before()..=self.not_after()).contains(&now)
    }

    pub(super) fn can_sign_with(&self, offered: &[SignatureScheme]) -> bool {
        self.key.key.choose_scheme(offered).is_some()
    }
}

impl fmt::Debug for LoadedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadedCertificate")
            .field("source", &self.about.source)
            .field("leaf", &self.leaf)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_exactly_one_label() {
        let name = CertificateName::of_dns("*.A.test.").unwrap();
        assert_eq!(name.to_string(), "*.a.test");
        assert!(name.covers("x.a.test"));
        assert!(!name.covers("a.test"));
        assert!(!name.covers("x.y.a.test"));
        assert!(!name.covers(".a.test"));
    }

    #[test]
    fn a_wildcard_never_covers_an_address() {
        assert!(!CertificateName::Wildcard("0.0.1".into()).covers("127.0.0.1"));
        assert_eq!(CertificateName::of_address(&[127, 0, 0, 1]).unwrap().to_string(), "127.0.0.1");
        assert_eq!(CertificateName::of_address(&[0; 16]).unwrap().to_string(), "[::]");
    }

    #[test]
    fn names_with_a_wildcard_elsewhere_are_left_out() {
        assert_eq!(CertificateName::of_dns("a.*.test"), None);
        assert_eq!(CertificateName::of_dns("*"), None);
        assert_eq!(CertificateName::of_dns("*.*.test"), None);
    }
}
