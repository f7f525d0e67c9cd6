//! Certificates from an ACME authority (RFC 8555): whom to ask, how to prove that a name is ours, where to keep what is got.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use super::HostName;
use super::units::{Rate, serialize_duration, serialize_optional_duration};
use crate::diagnostics::Origin;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Acme {
    pub origin: Origin,
    /// Who is told of trouble with a certificate.
    pub email: Option<Arc<str>>,
    /// The URL of the authority's directory.
    pub directory: Arc<str>,
    /// Roots that the authority's own certificate is verified against, beside the system's.
    pub ca: Option<PathBuf>,
    pub storage: AcmeStorage,
    pub external_account: Option<ExternalAccount>,
    /// Where dns-01 records are written.
    pub dns: Option<DnsProvider>,
    pub dns_propagation: DnsPropagation,
    pub retry: AcmeRetry,
    pub on_demand: Option<OnDemand>,
    /// How certificates are got whose entry does not say otherwise.
    pub issuance: Issuance,
}

impl Acme {
    /// Whether the same is said, wherever it stands in the file.
    pub fn is_as(&self, other: &Self) -> bool {
        Self { origin: other.origin.clone(), ..self.clone() } == *other
    }

    /// The files that hold secrets, each with its key in the file.
    pub fn secret_files(&self) -> Vec<(&'static str, &Path)> {
        let account = self.external_account.as_ref();
        let account = account.map(|account| ("acme.external-account.hmac-file", &*account.hmac_file));
        let dns = self.dns.as_ref().and_then(|provider| match provider {
            DnsProvider::Rfc2136(server) => Some(("acme.dns.rfc2136.secret-file", &*server.secret_file)),
            DnsProvider::Cloudflare(account) => Some(("acme.dns.cloudflare.token-file", &*account.token_file)),
            DnsProvider::Google(account) => Some(("acme.dns.google.credentials", account.credentials.as_deref()?)),
            DnsProvider::Exec(_) => None,
        });
        account.into_iter().chain(dns).collect()
    }
}

/// Where accounts, keys, certificates and challenges are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum AcmeStorage {
    Folder(PathBuf),
    /// In Secrets of the cluster that is served.
    Secrets,
}

/// How one certificate is got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Issuance {
    pub challenge: ChallengeType,
    pub key: KeyType,
    /// None: when the authority suggests (RFC 9773), else when a third of the lifetime is left.
    #[serde(serialize_with = "serialize_optional_duration")]
    pub renew_before: Option<Duration>,
    /// One of the authority's profiles, as `shortlived`.
    pub profile: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ChallengeType {
    /// A file at port 80 (RFC 8555 §8.3).
    #[serde(rename = "http-01")]
    Http01,
    /// A certificate at port 443 (RFC 8737).
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
    /// A TXT record (RFC 8555 §8.4): the only one for wildcards.
    #[serde(rename = "dns-01")]
    Dns01,
}

impl fmt::Display for ChallengeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ChallengeType::Http01 => "http-01",
            ChallengeType::TlsAlpn01 => "tls-alpn-01",
            ChallengeType::Dns01 => "dns-01",
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum KeyType {
    #[serde(rename = "ecdsa-p256")]
    EcdsaP256,
    #[serde(rename = "ecdsa-p384")]
    EcdsaP384,
    #[serde(rename = "rsa-2048")]
    Rsa2048,
    #[serde(rename = "rsa-4096")]
    Rsa4096,
}

/// Why a certificate is revoked: the reasons that a subscriber may give (RFC 5280 §5.3.1, and the Baseline Requirements
/// of the CA/Browser Forum).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationReason {
    Unspecified,
    KeyCompromise,
    AffiliationChanged,
    Superseded,
    CessationOfOperation,
}

impl RevocationReason {
    pub const ALL: [(&str, Self); 5] = [
        ("unspecified", Self::Unspecified),
        ("key-compromise", Self::KeyCompromise),
        ("affiliation-changed", Self::AffiliationChanged),
        ("superseded", Self::Superseded),
        ("cessation-of-operation", Self::CessationOfOperation),
    ];

    pub fn parse(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text).map(|(_, reason)| *reason);
        let names = || Self::ALL.map(|(name, _)| name).join(", ");
        found.ok_or_else(|| format!("there is no reason \"{text}\"; there are {}", names()))
    }
}

/// Ties the ACME account to one that the authority knows already (RFC 8555 §7.3.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExternalAccount {
    pub key_id: Arc<str>,
    /// Holds the HMAC key in base64url. In a cluster the name of a Secret.
    pub hmac_file: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DnsProvider {
    /// Dynamic update (RFC 2136), signed with TSIG (RFC 8945).
    Rfc2136(Rfc2136),
    Cloudflare(Cloudflare),
    /// Google Cloud DNS.
    Google(GoogleDns),
    /// A program of the operator's.
    Exec(ExecDns),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rfc2136 {
    pub server: std::net::SocketAddr,
    /// None: found by asking the server for the SOA record.
    pub zone: Option<Arc<str>>,
    pub key_name: Arc<str>,
    pub algorithm: TsigAlgorithm,
    /// Holds the key in base64, as `tsig-keygen` and `keymgr` print it.
    pub secret_file: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TsigAlgorithm {
    HmacSha256,
    HmacSha384,
    HmacSha512,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cloudflare {
    /// Holds an API token that may edit the zone's DNS.
    pub token_file: PathBuf,
    pub api: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GoogleDns {
    /// None: the one of the credentials, or of the machine.
    pub project: Option<Arc<str>>,
    /// A service account's key file. None: the machine's own account, from the metadata server.
    pub credentials: Option<PathBuf>,
    pub api: Arc<str>,
    pub metadata: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExecDns {
    /// The program and its arguments; `present` or `cleanup`, the record's name and its value are added.
    pub command: Vec<Arc<str>>,
    #[serde(serialize_with = "serialize_duration")]
    pub timeout: Duration,
}

/// When a record that was written can be taken for seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DnsPropagation {
    /// Waited in any case.
    #[serde(serialize_with = "serialize_duration")]
    pub delay: Duration,
    /// How long the servers may take to show it; zero asks none.
    #[serde(serialize_with = "serialize_duration")]
    pub timeout: Duration,
    /// Who is asked; empty: the zone's own name servers.
    pub servers: Vec<std::net::SocketAddr>,
}

/// How long is waited after a failure: three times as long after each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AcmeRetry {
    #[serde(serialize_with = "serialize_duration")]
    pub first: Duration,
    #[serde(serialize_with = "serialize_duration")]
    pub longest: Duration,
}

/// Certificates for names that nobody wrote down, got when a client asks for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OnDemand {
    /// Asked with `?domain=NAME` added; only a 200 lets a certificate be ordered.
    pub ask: Arc<str>,
    /// How many may be ordered.
    #[serde(serialize_with = "Rate::serialize_text")]
    pub rate: Rate,
}

/// One certificate of an ACME authority: the first name is what it is called by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AcmeCertificate {
    /// Exact names and wildcards.
    pub domains: Vec<AcmeDomain>,
    pub issuance: Issuance,
}

/// A name that a certificate can be ordered for: a DNS name, or `*.` before one. Lowercase.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AcmeDomain(Arc<str>);

impl AcmeDomain {
    pub fn parse(text: &str) -> Result<Self, String> {
        let name = match HostName::parse(text)? {
            HostName::CatchAll => {
                return Err("\"*\" stands for every name; no certificate can be ordered for it".into());
            }
            name @ (HostName::Exact(_) | HostName::Wildcard(_) | HostName::OneLabel(_)) => name.to_string(),
        };
        if name.starts_with('[') || name.parse::<std::net::IpAddr>().is_ok() {
            return Err(format!("\"{text}\" is an address; certificates are ordered for names"));
        }
        if !name.contains('.') {
            return Err(format!("\"{text}\" is not a public name; write it in full, as \"{text}.example.org\""));
        }
        Ok(Self(name.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// What is proven: `a.test` for `*.a.test` (RFC 8555 §7.1.4).
    pub fn base(&self) -> &str {
        self.0.strip_prefix("*.").unwrap_or(&self.0)
    }
}

impl fmt::Display for AcmeDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for AcmeDomain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}
