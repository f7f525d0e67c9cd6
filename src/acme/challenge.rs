//! How it is proven that a name is ours.
//!
//! ```text
//! http-01, tls-alpn-01 ──► storage ──► mirror of every process ──► tls::Challenges ◄── the authority asks
//! dns-01 ──► storage (to be taken back) ──► Solver ──► TXT record                  ◄── the authority asks the DNS
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::KeyAuthorization;

use super::dns::{self, Solver};
use super::mirror::Mirror;
use super::storage::{CertificateStorage, StorageError, StoredChallenge};
use crate::model::{ChallengeType, DnsPropagation};

/// The authority may ask another process of those that share the storage: they are told within milliseconds.
const OTHERS_LOOK: Duration = Duration::from_millis(500);

/// Publishes answers and takes them back.
pub struct Publisher {
    storage: Arc<dyn CertificateStorage>,
    mirror: Arc<Mirror>,
    dns: Option<Dns>,
}

/// Where records are written.
pub struct Dns {
    pub solver: Box<dyn Solver>,
    pub propagation: DnsPropagation,
    /// Who is asked where a record belongs; empty: the system's.
    pub resolvers: Vec<SocketAddr>,
}

pub fn acme_type(kind: ChallengeType) -> instant_acme::ChallengeType {
    match kind {
        ChallengeType::Http01 => instant_acme::ChallengeType::Http01,
        ChallengeType::TlsAlpn01 => instant_acme::ChallengeType::TlsAlpn01,
        ChallengeType::Dns01 => instant_acme::ChallengeType::Dns01,
    }
}

impl Publisher {
    pub fn new(storage: Arc<dyn CertificateStorage>, mirror: Arc<Mirror>, dns: Option<Dns>) -> Self {
        Self { storage, mirror, dns }
    }

    /// `domain`: without `*.`.
    pub async fn publish(
        &self,
        certificate: &str,
        kind: ChallengeType,
        domain: &str,
        token: &str,
        key_authorization: &KeyAuthorization,
    ) -> Result<(), String> {
        // It becomes a file's name, and a part of a path.
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
            return Err("the authority's token is not base64url (RFC 8555 §8.3)".into());
        }
        let (domain, answer) = match kind {
            ChallengeType::Http01 | ChallengeType::TlsAlpn01 => (domain.into(), key_authorization.as_str().into()),
            ChallengeType::Dns01 => {
                let name = dns::target(&format!("_acme-challenge.{domain}"), &self.dns()?.resolvers).await;
                (name, key_authorization.dns_value())
            }
        };
        let challenge = StoredChallenge { certificate: certificate.into(), kind, domain, token: token.into(), answer };
        // Noted first: what is half written is taken back, too, by whoever comes after.
        self.storage.put_challenge(&challenge).await.map_err(|error| error.to_string())?;
        match kind {
            ChallengeType::Http01 | ChallengeType::TlsAlpn01 => Ok(()),
            ChallengeType::Dns01 => self.dns()?.solver.present(&challenge.domain, &challenge.answer).await,
        }
    }

    fn dns(&self) -> Result<&Dns, String> {
        self.dns.as_ref().ok_or_else(|| "dns-01 has nowhere to write its records: write acme.dns".into())
    }

    /// Returns when whoever looks finds the answers.
    pub async fn settle(&self, certificate: &str, kind: ChallengeType) -> Result<(), String> {
        match kind {
            ChallengeType::Http01 | ChallengeType::TlsAlpn01 => {
                self.mirror.refresh_challenges().await.map_err(|error| error.to_string())?;
                tokio::time::sleep(OTHERS_LOOK).await;
            }
            ChallengeType::Dns01 => {
                let dns = self.dns()?;
                for record in self.published(certificate).await.map_err(|error| error.to_string())? {
                    dns::wait(&record.domain, &record.answer, &dns.propagation, &dns.resolvers).await?;
                }
            }
        }
        Ok(())
    }

    async fn published(&self, certificate: &str) -> Result<Vec<StoredChallenge>, StorageError> {
        let mut all = self.storage.challenges().await?;
        all.retain(|challenge| challenge.certificate == certificate);
        Ok(all)
    }

    /// Takes back what was published for this certificate, by this process or by one that died.
    pub async fn sweep(&self, certificate: &str) {
        if let Err(error) = self.try_to_sweep(certificate).await {
            tracing::warn!(certificate, %error, "cannot take back challenges that are over");
        }
    }

    async fn try_to_sweep(&self, certificate: &str) -> Result<(), StorageError> {
        let published = self.published(certificate).await?;
        for challenge in &published {
            if let (ChallengeType::Dns01, Some(dns)) = (challenge.kind, &self.dns)
                && let Err(error) = dns.solver.cleanup(&challenge.domain, &challenge.answer).await
            {
                tracing::warn!(certificate, name = challenge.domain, %error, "cannot take back a record");
            }
            self.storage.remove_challenge(&challenge.token).await?;
        }
        if published.is_empty() { Ok(()) } else { self.mirror.refresh_challenges().await }
    }
}
