//! What is to be had: one certificate, and what is known of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use super::renewal;
use super::storage::Progress;
use crate::diagnostics::Origin;
use crate::model::{self, AcmeCertificate, AcmeDomain, CertificateSource, ChallengeType, Issuance};
use crate::timestamp;
use crate::tls::LoadedCertificate;

/// One certificate that is kept up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The first domain: what the certificate is called by, everywhere.
    pub name: String,
    pub origin: Origin,
    /// Its place in the model.
    pub position: usize,
    pub wanted: AcmeCertificate,
    /// Present for a certificate that nobody wrote down: whom to ask whether it may be had.
    pub ask: Option<Arc<str>>,
}

impl Plan {
    /// Those that the model names, the first of a name only.
    pub fn of_model(certificates: &[model::Certificate]) -> Vec<Self> {
        let mut names = BTreeSet::new();
        let plans = certificates.iter().enumerate().filter_map(|(position, certificate)| {
            let CertificateSource::Acme(wanted) = &certificate.source else { return None };
            let name = wanted.domains.first()?.to_string();
            let origin = certificate.origin.clone();
            names.insert(name.clone()).then(|| Self { name, origin, position, wanted: wanted.clone(), ask: None })
        });
        plans.collect()
    }

    /// After all that are written down.
    pub fn on_demand(domain: AcmeDomain, issuance: Issuance, ask: Arc<str>) -> Self {
        Self {
            name: domain.to_string(),
            origin: Origin::builtin(),
            position: usize::MAX,
            wanted: AcmeCertificate { domains: vec![domain], issuance },
            ask: Some(ask),
        }
    }

    /// What it is counted under.
    pub fn label(&self) -> &str {
        if self.ask.is_some() { "on-demand" } else { &self.name }
    }

    pub fn names(&self) -> Vec<String> {
        self.wanted.domains.iter().map(ToString::to_string).collect()
    }

    /// When the next order is due. `current`: what is served; `settings`: whom it should be from.
    pub fn due(&self, current: Option<&LoadedCertificate>, progress: &Progress, settings: &model::Acme) -> SystemTime {
        let is_from_elsewhere = progress.directory.as_deref().is_some_and(|from| from != &*settings.directory);
        let wanted = match current {
            Some(current) if self.is_for(current) && !is_from_elsewhere => {
                renewal::due(current.validity(), self.wanted.issuance.renew_before, progress.suggested, seed(current))
            }
            Some(_) | None => SystemTime::UNIX_EPOCH,
        };
        // Whoever mended the file need not wait for what failed before.
        let backoff = progress.not_before.filter(|_| progress.asked_for == Some(self.fingerprint(settings)));
        backoff.map_or(wanted, |not_before| wanted.max(not_before))
    }

    /// What is asked of whom, and how.
    pub fn fingerprint(&self, settings: &model::Acme) -> String {
        let Self { wanted, ask, .. } = self;
        let model::Acme { email, directory, ca, external_account, dns, dns_propagation, .. } = settings;
        let text = format!("{:?}", (wanted, ask, email, directory, ca, external_account, dns, dns_propagation));
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether it has the very names that are wanted.
    fn is_for(&self, certificate: &LoadedCertificate) -> bool {
        let has: BTreeSet<String> = certificate.names().iter().map(ToString::to_string).collect();
        has == self.names().into_iter().collect()
    }
}

/// The same for the same certificate, wherever it is served.
pub fn seed(certificate: &LoadedCertificate) -> u64 {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &certificate.key().cert[0]);
    digest.as_ref().iter().take(8).fold(0, |seed, byte| (seed << 8) | u64::from(*byte))
}

/// What `weir certs` shows of a certificate that is ordered.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    pub name: String,
    pub domains: Vec<String>,
    pub directory: Arc<str>,
    pub challenge: ChallengeType,
    pub on_demand: bool,
    pub state: State,
    /// When it is ordered next.
    #[serde(serialize_with = "timestamp::serialize")]
    pub next_order: SystemTime,
    #[serde(serialize_with = "timestamp::serialize_optional")]
    pub last_attempt: Option<SystemTime>,
    /// Since the last success.
    pub failures: u32,
    pub last_error: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The first one has not come yet: a self-signed one is shown.
    Awaited,
    /// Being ordered right now.
    Ordering,
    /// Served.
    Held,
}
