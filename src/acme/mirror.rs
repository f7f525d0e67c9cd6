//! What handshakes and requests see of the storage.
//!
//! ```text
//! storage ──► Mirror ──► tls::Challenges
//!                  └──► tls::CertificateResolver: the ordered certificates, and the names that are awaited
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};

use super::plan::Plan;
use super::storage::{CertificateStorage, StorageError, StoredCertificate, StoredChallenge};
use crate::model::ChallengeType;
use crate::tls::{About, CertificateResolver, ChallengeAnswer, Challenges, LoadedCertificate};

pub struct Mirror {
    storage: Arc<dyn CertificateStorage>,
    challenges: Arc<Challenges>,
    resolver: Arc<CertificateResolver>,
    shown: Mutex<Shown>,
}

#[derive(Default)]
struct Shown {
    served: BTreeMap<String, Arc<LoadedCertificate>>,
    awaited: BTreeMap<String, Vec<String>>,
}

impl Mirror {
    pub fn new(
        storage: Arc<dyn CertificateStorage>,
        challenges: Arc<Challenges>,
        resolver: Arc<CertificateResolver>,
    ) -> Self {
        Self { storage, challenges, resolver, shown: Mutex::default() }
    }

    /// Answers from now on what the storage says, whoever put it there.
    pub async fn refresh_challenges(&self) -> Result<(), StorageError> {
        let answers: Vec<_> = self.storage.challenges().await?.iter().filter_map(answer).collect();
        self.challenges.replace(&answers).map_err(|error| StorageError {
            what: "challenges".into(),
            reason: format!("cannot make the certificate of a tls-alpn-01 challenge: {error}"),
        })
    }

    /// The certificate as it is stored. None: there is none, or none that can be used, which is logged.
    pub async fn load(&self, plan: &Plan) -> Option<Arc<LoadedCertificate>> {
        let stored = self.storage.certificate(&plan.name).await;
        let loaded = match stored {
            Ok(None) => return None,
            Ok(Some(stored)) => parse(plan, &stored),
            Err(error) => Err(error.to_string()),
        };
        loaded
            .inspect_err(|error| {
                tracing::error!(certificate = plan.name, %error, "a stored certificate cannot be used; another is ordered");
            })
            .ok()
    }

    /// For the next handshakes. None: it is awaited.
    pub fn show<'p>(&self, certificates: impl IntoIterator<Item = (&'p Plan, Option<Arc<LoadedCertificate>>)>) {
        let mut shown = self.shown();
        for (plan, certificate) in certificates {
            match certificate {
                Some(certificate) => {
                    shown.awaited.remove(&plan.name);
                    shown.served.insert(plan.name.clone(), certificate);
                }
                None => {
                    shown.served.remove(&plan.name);
                    shown.awaited.insert(plan.name.clone(), plan.names());
                }
            }
        }
        self.publish(&shown);
    }

    /// Shows no other certificates than these any more.
    pub fn retain(&self, names: &BTreeSet<&str>) {
        let mut shown = self.shown();
        shown.served.retain(|name, _| names.contains(name.as_str()));
        shown.awaited.retain(|name, _| names.contains(name.as_str()));
        self.publish(&shown);
    }

    pub fn shown_for(&self, name: &str) -> Option<Arc<LoadedCertificate>> {
        self.shown().served.get(name).cloned()
    }

    fn publish(&self, shown: &Shown) {
        self.resolver.replace_ordered(shown.served.values().cloned().collect());
        self.resolver.expect(shown.awaited.values().flatten().map(|name| name.as_str().into()).collect());
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        // Every change is a single insertion or removal.
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub fn parse(plan: &Plan, stored: &StoredCertificate) -> Result<Arc<LoadedCertificate>, String> {
    let source = format!("acme/{}", plan.name).into();
    let label = format!("acme/{}", plan.label()).into();
    let about = About { origin: plan.origin.clone(), source, label, position: plan.position };
    LoadedCertificate::from_pem(&stored.chain, stored.key.expose(), about).map(Arc::new)
}

fn answer(challenge: &StoredChallenge) -> Option<ChallengeAnswer> {
    match challenge.kind {
        ChallengeType::Http01 => Some(ChallengeAnswer::Http {
            token: challenge.token.as_str().into(),
            key_authorization: challenge.key_authorization.as_str().into(),
        }),
        ChallengeType::TlsAlpn01 => Some(ChallengeAnswer::TlsAlpn {
            domain: challenge.domain.as_str().into(),
            digest: digest(&SHA256, challenge.key_authorization.as_bytes()).as_ref().try_into().ok()?,
        }),
        ChallengeType::Dns01 => None,
    }
}
