//! What is to be had: one certificate, and what is known of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;

use super::renewal::{self, Wishes};
use super::storage::{CertificateNotes, Progress};
use crate::diagnostics::Origin;
use crate::model::{self, AcmeCertificate, AcmeDomain, CertificateSource, ChallengeType, Issuance};
use crate::timestamp;
use crate::tls::{About, CertificateName, LoadedCertificate};

/// One certificate that is kept up.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The first domain, or the Secret: what the certificate is called by, everywhere.
    pub name: String,
    pub origin: Origin,
    /// Its place in the model.
    pub position: usize,
    pub wanted: AcmeCertificate,
    /// Present for a certificate that nobody wrote down: whom to ask whether it may be had.
    pub ask: Option<Arc<str>>,
    /// When somebody began to look after it: at the start, or when the file came to say so.
    pub since: SystemTime,
}

/// Two processes that want different certificates under one name must not take turns faster.
const TURN: Duration = Duration::from_secs(86_400);

impl Plan {
    /// Those that the model names, the first of a name only.
    pub fn of_model(certificates: &[model::Certificate], since: SystemTime) -> Vec<Self> {
        let mut names = BTreeSet::new();
        let plans = certificates.iter().enumerate().filter_map(|(position, certificate)| {
            let CertificateSource::Acme(wanted) = &certificate.source else { return None };
            let name = wanted.domains.first()?.to_string();
            let origin = certificate.origin.clone();
            names.insert(name.clone()).then(|| Self {
                name,
                origin,
                position,
                wanted: wanted.clone(),
                ask: None,
                since,
            })
        });
        plans.collect()
    }

    /// Kept in a Secret, whose name with its namespace is the certificate's.
    pub fn of_secret(name: String, origin: Origin, wanted: AcmeCertificate, since: SystemTime) -> Self {
        Self { name, origin, position: 0, wanted, ask: None, since }
    }

    /// After all that are written down.
    pub fn on_demand(domain: AcmeDomain, issuance: Issuance, ask: Arc<str>, since: SystemTime) -> Self {
        Self {
            name: domain.to_string(),
            origin: Origin::builtin(),
            position: usize::MAX,
            wanted: AcmeCertificate { domains: vec![domain], issuance },
            ask: Some(ask),
            since,
        }
    }

    /// Whether the same is to be had. Where it stands in the file is no difference.
    pub fn is_as(&self, other: &Self) -> bool {
        (&self.name, &self.wanted, &self.ask) == (&other.name, &other.wanted, &other.ask)
    }

    /// Whether it is written down, and would have this name.
    pub fn is_written_for(&self, domain: &AcmeDomain) -> bool {
        let covers = |wanted: &AcmeDomain| CertificateName::of_domain(wanted).covers(domain.as_str());
        self.ask.is_none() && self.wanted.domains.iter().any(covers)
    }

    /// What its certificates are known by.
    pub fn about(&self) -> About {
        let (source, label) = (source_of(&self.name), source_of(self.label()));
        About { origin: self.origin.clone(), source: source.into(), label: label.into(), position: self.position }
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
        let planned = |current: &LoadedCertificate| {
            let notes = progress.notes_about(current);
            let from = notes.and_then(|notes| notes.directory.as_deref());
            let is_from_elsewhere = from.is_some_and(|from| from != &*settings.directory);
            let (suggested, issued) = notes.map_or((None, None), |notes| (notes.suggested, notes.issued));
            if progress.forced {
                return SystemTime::UNIX_EPOCH;
            }
            if is_from_elsewhere || !self.is_for(current) {
                let turn = issued.filter(|issued| *issued >= self.since).map(|issued| issued + TURN);
                return turn.unwrap_or(SystemTime::UNIX_EPOCH);
            }
            let wishes = Wishes { renew_before: self.wanted.issuance.renew_before, suggested };
            renewal::due(current.validity(), wishes, issued, seed(current))
        };
        let wanted = current.map_or(SystemTime::UNIX_EPOCH, planned);
        // Whoever mended the file need not wait for what failed before.
        let is_ours = progress.asked_for == Some(self.fingerprint(settings));
        let is_fresh = progress.last_attempt.is_some_and(|at| at >= self.since);
        let backoff = progress.not_before.filter(|_| is_ours || is_fresh);
        backoff.map_or(wanted, |not_before| wanted.max(not_before))
    }

    /// What is asked of whom, and how.
    pub fn fingerprint(&self, settings: &model::Acme) -> String {
        let Self { wanted, ask, .. } = self;
        let model::Acme { email, directory, ca, external_account, dns, dns_propagation, .. } = settings;
        let text = format!("{:?}", (wanted, ask, email, directory, ca, external_account, dns, dns_propagation));
        self::fingerprint(text.as_bytes())
    }

    /// Whether it has the very names that are wanted.
    fn is_for(&self, certificate: &LoadedCertificate) -> bool {
        let has: BTreeSet<String> = certificate.names().iter().map(ToString::to_string).collect();
        has == self.names().into_iter().collect()
    }
}

impl Progress {
    /// What is known of this very certificate.
    pub fn notes_about(&self, certificate: &LoadedCertificate) -> Option<&CertificateNotes> {
        self.notes.as_ref().filter(|notes| notes.leaf == fingerprint(&certificate.key().cert[0]))
    }
}

impl Status {
    /// What its certificate is called among those that are served.
    pub fn source(&self) -> String {
        source_of(&self.name)
    }
}

/// Of a certificate that is kept in a Secret, which has a slash in its name: what it is served from.
fn source_of(name: &str) -> String {
    match name.contains('/') {
        true => format!("secret/{name}/tls.crt"),
        false => format!("acme/{name}"),
    }
}

/// SHA-256, in hexadecimal.
pub fn fingerprint(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The same for the same certificate, wherever it is served.
pub fn seed(certificate: &LoadedCertificate) -> u64 {
    seed_of(&certificate.key().cert[0])
}

pub fn seed_of(bytes: &[u8]) -> u64 {
    digest(&SHA256, bytes).as_ref().iter().take(8).fold(0, |seed, byte| (seed << 8) | u64::from(*byte))
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
    /// How many attempts have ended, well or badly.
    pub attempts: u64,
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
