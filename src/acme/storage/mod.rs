//! Where accounts, certificates and challenges are kept: the one thing that processes share.
//!
//! ```text
//! process A ──► CertificateStorage ◄── process B
//!                ├ lock: one of them orders a certificate at a time
//!                ├ certificates: what one has got, all serve
//!                ├ challenges: what one was asked to prove, all answer
//!                └ ticket keys: what one has issued, all resume
//! ```
//!
//! A folder, or the Secrets of a cluster.

mod directory;
mod file;
mod secrets;

#[cfg(test)]
mod tests;

pub use directory::Directory;
pub use secrets::{Secrets, Seen, follow_challenges};

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::model::ChallengeType;

#[async_trait]
pub trait CertificateStorage: Send + Sync + 'static {
    /// The account at this directory, as it was put.
    async fn account(&self, directory: &str) -> Result<Option<Secret>, StorageError>;
    async fn put_account(&self, directory: &str, account: &Secret) -> Result<(), StorageError>;
    /// The key of an external account, as `path` holds it.
    async fn external_account_key(&self, path: &Path) -> Result<Secret, StorageError>;

    /// A certificate with its key. `name`: its first domain.
    async fn certificate(&self, name: &str) -> Result<Option<StoredCertificate>, StorageError>;
    /// All of it, or nothing of it: chain and key never fall apart.
    async fn put_certificate(&self, name: &str, certificate: &StoredCertificate) -> Result<(), StorageError>;
    async fn remove_certificate(&self, name: &str) -> Result<(), StorageError>;
    /// The names of all certificates that are kept, each with something that changes when it does. None of a storage whose
    /// changes are told of in another way.
    async fn versions(&self) -> Result<BTreeMap<String, String>, StorageError> {
        Ok(BTreeMap::new())
    }

    /// An order that has begun: a process that takes over goes on with it.
    async fn order(&self, name: &str) -> Result<Option<PendingOrder>, StorageError>;
    async fn put_order(&self, name: &str, order: &PendingOrder) -> Result<(), StorageError>;
    async fn remove_order(&self, name: &str) -> Result<(), StorageError>;

    /// How the last attempt ended and when the next is due; shared, so that a restart begins no new round of attempts.
    async fn progress(&self, name: &str) -> Result<Progress, StorageError>;
    async fn put_progress(&self, name: &str, progress: &Progress) -> Result<(), StorageError>;

    async fn challenges(&self) -> Result<Vec<StoredChallenge>, StorageError>;
    async fn put_challenge(&self, challenge: &StoredChallenge) -> Result<(), StorageError>;
    async fn remove_challenge(&self, token: &str) -> Result<(), StorageError>;

    /// Keys of session tickets, the newest first.
    async fn ticket_keys(&self) -> Result<Option<Secret>, StorageError> {
        Err(StorageError::not_kept("the keys of session tickets"))
    }
    async fn put_ticket_keys(&self, _keys: &Secret) -> Result<(), StorageError> {
        Err(StorageError::not_kept("the keys of session tickets"))
    }

    /// The right to work on `what`, until it is dropped or this process ends. None: another one has it.
    async fn lock(&self, what: &str) -> Result<Option<Lease>, StorageError>;

    /// Resolves when something may have changed that another process wrote.
    async fn changed(&self) {
        std::future::pending().await
    }
}

/// Dropped, it is given back.
pub struct Lease {
    _held: Box<dyn Send + Sync>,
    lost: BoxFuture<'static, ()>,
}

impl Lease {
    /// `lost`: ends when another process may have it, too; whoever works on stops then.
    pub fn new(held: impl Send + Sync + 'static, lost: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { _held: Box::new(held), lost: Box::pin(lost) }
    }

    pub async fn lost(&mut self) {
        (&mut self.lost).await;
    }
}

/// Text that is not shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(redacted)")
    }
}

/// PEM: the chain, leaf first, and the leaf's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCertificate {
    pub chain: String,
    pub key: Secret,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingOrder {
    pub directory: String,
    pub url: String,
    /// What the certificate is for, and how it was asked for: another order is not gone on with.
    pub domains: Vec<String>,
    #[serde(default)]
    pub issuance: String,
    /// The key that the certificate is, or will be, issued for.
    pub key: Secret,
}

/// How far a certificate is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Progress {
    /// An operator, or a revocation, wants another one whether it is due or not.
    pub forced: bool,
    /// How many attempts have ended, well or badly.
    pub attempts: u64,
    /// Failures since the last success.
    pub failures: u32,
    pub last_error: Option<String>,
    #[serde(with = "moment")]
    pub last_attempt: Option<SystemTime>,
    /// Nothing is tried before, while the same is asked for.
    #[serde(with = "moment")]
    pub not_before: Option<SystemTime>,
    /// Fingerprint of what was asked for when it failed.
    pub asked_for: Option<String>,
    /// Nobody wrote it down: a client asked for it.
    pub on_demand: bool,
    /// Of the certificate with this fingerprint; of another one it says nothing.
    pub notes: Option<CertificateNotes>,
}

impl Progress {
    /// What was written while the clock was ahead.
    pub fn forget_the_future(&mut self, now: SystemTime) {
        const A_LITTLE: Duration = Duration::from_secs(3600);
        const LONGER_THAN_ANY_WISH: Duration = Duration::from_secs(2 * 86_400);
        if self.last_attempt.is_some_and(|at| at > now + A_LITTLE) {
            (self.last_attempt, self.not_before) = (None, None);
        }
        if let Some(notes) = &mut self.notes {
            notes.issued.take_if(|at| *at > now + A_LITTLE);
            notes.ask_again.take_if(|at| *at > now + LONGER_THAN_ANY_WISH);
        }
    }
}

/// What is known of one certificate beside itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct CertificateNotes {
    /// SHA-256 of the leaf, in hexadecimal.
    pub leaf: String,
    /// Who issued it; none where it came from elsewhere.
    pub directory: Option<String>,
    #[serde(with = "moment")]
    pub issued: Option<SystemTime>,
    /// When the authority suggests to renew it.
    #[serde(with = "moment")]
    pub suggested: Option<SystemTime>,
    /// When it is to be asked for that again.
    #[serde(with = "moment")]
    pub ask_again: Option<SystemTime>,
}

/// What an authority will ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredChallenge {
    /// The certificate that is ordered.
    pub certificate: String,
    pub kind: ChallengeType,
    /// Of dns-01: the record's name.
    pub domain: String,
    pub token: String,
    /// Of dns-01: the record's value.
    pub answer: String,
}

/// RFC 3339, so that people can read it.
mod moment {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer, de, ser};
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;

    pub fn serialize<S: Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
        match time {
            None => serializer.serialize_none(),
            Some(time) => {
                let text = OffsetDateTime::from(*time).format(&Rfc3339).map_err(ser::Error::custom)?;
                serializer.serialize_str(&text)
            }
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SystemTime>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        let time = text.map(|text| OffsetDateTime::parse(&text, &Rfc3339)).transpose();
        time.map(|time| time.map(SystemTime::from)).map_err(de::Error::custom)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct StorageError {
    /// Where in the storage.
    pub what: String,
    pub reason: String,
}

impl StorageError {
    fn not_kept(what: &str) -> Self {
        Self { what: what.into(), reason: "this storage does not keep them".into() }
    }
}
