//! The storage, as this process sees it.
//!
//! ```text
//! storage ──challenges──► tls::Challenges
//!    └────certificate of a plan──► LoadedCertificate
//! ```

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use tokio::sync::Mutex;

use super::plan::Plan;
use super::storage::{CertificateStorage, StorageError, StoredCertificate, StoredChallenge};
use crate::model::ChallengeType;
use crate::tls::{ChallengeAnswer, Challenges, LoadedCertificate};

pub struct Mirror {
    storage: Arc<dyn CertificateStorage>,
    challenges: Arc<Challenges>,
    looking: Mutex<()>,
}

impl Mirror {
    pub fn new(storage: Arc<dyn CertificateStorage>, challenges: Arc<Challenges>) -> Self {
        Self { storage, challenges, looking: Mutex::default() }
    }

    /// Answers from now on what the storage says, whoever put it there.
    pub async fn refresh_challenges(&self) -> Result<(), StorageError> {
        // One after the other: who looked first must not have the last word.
        let _turn = self.looking.lock().await;
        let answers: Vec<_> = self.storage.challenges().await?.iter().filter_map(answer).collect();
        self.challenges.replace(&answers).map_err(|error| StorageError {
            what: "challenges".into(),
            reason: format!("cannot make the certificate of a tls-alpn-01 challenge: {error}"),
        })
    }

    /// The certificate as it is stored. None: there is none, or none that can be used, which is logged.
    pub async fn load(&self, plan: &Plan) -> Result<Option<Arc<LoadedCertificate>>, StorageError> {
        let Some(stored) = self.storage.certificate(&plan.name).await? else { return Ok(None) };
        let loaded = parse(plan, &stored).inspect_err(|error| {
            tracing::error!(certificate = plan.name, %error, "a stored certificate cannot be used; another is ordered");
        });
        Ok(loaded.ok())
    }
}

pub fn parse(plan: &Plan, stored: &StoredCertificate) -> Result<Arc<LoadedCertificate>, String> {
    LoadedCertificate::from_pem(&stored.chain, stored.key.expose(), plan.about()).map(Arc::new)
}

fn answer(challenge: &StoredChallenge) -> Option<ChallengeAnswer> {
    match challenge.kind {
        ChallengeType::Http01 => Some(ChallengeAnswer::Http {
            token: challenge.token.as_str().into(),
            key_authorization: challenge.answer.as_str().into(),
        }),
        ChallengeType::TlsAlpn01 => Some(ChallengeAnswer::TlsAlpn {
            domain: challenge.domain.as_str().into(),
            digest: digest(&SHA256, challenge.answer.as_bytes()).as_ref().try_into().ok()?,
        }),
        // The DNS answers it.
        ChallengeType::Dns01 => None,
    }
}
