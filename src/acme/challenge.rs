//! How it is proven that a name is ours.
//!
//! ```text
//! http-01, tls-alpn-01 ──► storage ──► mirror of every process ──► tls::Challenges ◄── the authority asks
//! dns-01               ──► Solver  ──► TXT record              ◄── the authority asks the DNS
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::KeyAuthorization;
use tokio::sync::Mutex;

use super::dns::{self, Solver};
use super::mirror::Mirror;
use super::storage::{CertificateStorage, StoredChallenge};
use crate::model::{ChallengeType, DnsPropagation};

/// The authority may ask another process of those that share the storage: they are told within milliseconds.
const OTHERS_LOOK: Duration = Duration::from_millis(500);

/// Publishes answers and takes them back.
pub struct Publisher {
    storage: Arc<dyn CertificateStorage>,
    mirror: Arc<Mirror>,
    dns: Option<Dns>,
}

/// Where records are written, and those that stand there now.
pub struct Dns {
    pub solver: Box<dyn Solver>,
    pub propagation: DnsPropagation,
    /// Who is asked where a record belongs; empty: the system's.
    pub resolvers: Vec<SocketAddr>,
    pub written: Mutex<Vec<Record>>,
}

pub struct Record {
    certificate: String,
    name: String,
    value: String,
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
        if kind == ChallengeType::Dns01 {
            return self.write_record(certificate, domain, key_authorization.dns_value()).await;
        }
        // It becomes a file's name, and a part of a path.
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
            return Err("the authority's token is not base64url (RFC 8555 §8.3)".into());
        }
        let challenge = StoredChallenge {
            certificate: certificate.into(),
            kind,
            domain: domain.into(),
            token: token.into(),
            key_authorization: key_authorization.as_str().into(),
        };
        self.storage.put_challenge(&challenge).await.map_err(|error| error.to_string())
    }

    async fn write_record(&self, certificate: &str, domain: &str, value: String) -> Result<(), String> {
        let Some(dns) = &self.dns else { return Err("dns-01 has nowhere to write its records: write acme.dns".into()) };
        let name = dns::target(&format!("_acme-challenge.{domain}"), &dns.resolvers).await;
        // Noted first: what is half written is taken back, too.
        let record = Record { certificate: certificate.into(), name: name.clone(), value: value.clone() };
        dns.written.lock().await.push(record);
        dns.solver.present(&name, &value).await
    }

    /// Returns when whoever looks finds the answers.
    pub async fn settle(&self, certificate: &str, kind: ChallengeType) -> Result<(), String> {
        if kind != ChallengeType::Dns01 {
            self.mirror.refresh_challenges().await.map_err(|error| error.to_string())?;
            tokio::time::sleep(OTHERS_LOOK).await;
        }
        let Some(dns) = &self.dns else { return Ok(()) };
        let written = dns.written.lock().await;
        let ours = written.iter().filter(|record| record.certificate == certificate);
        let records: Vec<(String, String)> = ours.map(|record| (record.name.clone(), record.value.clone())).collect();
        drop(written);
        for (name, value) in records {
            dns::wait(&name, &value, &dns.propagation, &dns.resolvers).await?;
        }
        Ok(())
    }

    /// Takes back what was published for this certificate, by this process or by one that died.
    pub async fn sweep(&self, certificate: &str) {
        if let Err(error) = self.sweep_stored(certificate).await {
            tracing::warn!(certificate, %error, "cannot take out challenges that are over");
        }
        let Some(dns) = &self.dns else { return };
        let records: Vec<Record> =
            dns.written.lock().await.extract_if(.., |record| record.certificate == certificate).collect();
        for Record { name, value, .. } in records {
            if let Err(error) = dns.solver.cleanup(&name, &value).await {
                tracing::warn!(certificate, name, %error, "cannot take back a record");
            }
        }
    }

    async fn sweep_stored(&self, certificate: &str) -> Result<(), super::storage::StorageError> {
        let stored = self.storage.challenges().await?;
        let ours: Vec<_> = stored.iter().filter(|challenge| challenge.certificate == certificate).collect();
        for challenge in &ours {
            self.storage.remove_challenge(&challenge.token).await?;
        }
        match ours.is_empty() {
            true => Ok(()),
            false => self.mirror.refresh_challenges().await,
        }
    }
}
