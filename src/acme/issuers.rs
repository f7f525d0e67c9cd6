//! Certificates of a cluster: several authorities, and what is ordered from them kept in Secrets.
//!
//! ```text
//! every replica: Secret of challenges ──watch──► tls::Challenges
//! who leads:     wanted certificates ──keep──► Keepers ──► Secrets ◄──watch── whoever serves them
//! ```
//!
//! What is ordered is not shown here: every replica, this one too, serves it from its Secret.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::display::Display;
use super::keeper::Keeper;
use super::mirror::Mirror;
use super::plan::Plan;
use super::running::SharedKeepers;
use super::storage::{CertificateStorage, Progress, Secrets, Seen, StorageError, follow_challenges};
use super::surroundings::Surroundings;
use super::{Acme, Observer};
use crate::diagnostics::{Diagnostic, Origin};
use crate::model::{self, AcmeCertificate, AcmeDomain};
use crate::timestamp::Timestamp;
use crate::tls::CertificateResolver;

/// An authority by the name that Ingresses have for it.
#[derive(Clone, Debug)]
pub struct Issuer {
    pub name: Arc<str>,
    pub settings: Arc<model::Acme>,
}

/// A certificate that is to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// `NAMESPACE/SECRET`
    pub name: String,
    pub issuer: Arc<str>,
    pub domains: Vec<AcmeDomain>,
    /// Whose wish it is.
    pub origin: Origin,
}

/// Where a cluster keeps what is ordered.
pub struct Place {
    pub client: Client,
    /// Weir's own.
    pub namespace: String,
    /// Whether this process holds the Lease.
    pub leads: watch::Receiver<bool>,
}

/// All issuers of the process.
pub struct Issuers {
    surroundings: BTreeMap<Arc<str>, Arc<Surroundings>>,
    keepers: SharedKeepers,
    /// Who is asked for what is kept.
    kept: BTreeMap<String, Arc<str>>,
    following: JoinHandle<()>,
}

impl Acme {
    /// Answers challenges from here on, and orders nothing yet. Must be called on the control plane's runtime; blocks on
    /// files for a moment.
    pub fn issuers(&self, place: Place, issuers: &[Issuer], observer: &Observer) -> Result<Issuers, Diagnostic> {
        let seen = Seen::default();
        let secrets = Secrets::new(&place.client, &place.namespace, place.leads, seen.clone());
        let challenges = self.shown.challenges.clone();
        let mirror = Arc::new(Mirror::new(Arc::new(secrets.clone()), challenges.clone()));
        let mut surroundings = BTreeMap::new();
        for Issuer { name, settings } in issuers {
            let storage: Arc<dyn CertificateStorage> = Arc::new(secrets.of_issuer(name));
            // Nobody is shown anything by it.
            let resolver = CertificateResolver::new(Vec::new())
                .map_err(|error| Diagnostic::error(settings.origin.clone(), "", error.to_string()))?;
            let display = Arc::new(Display::new(Arc::new(resolver)));
            let (settings, observer) = (settings.clone(), observer.clone());
            let opened =
                Surroundings::with_storage(storage, settings, Vec::new(), challenges.clone(), display, observer)?;
            surroundings.insert(name.clone(), Arc::new(opened));
        }
        let following = tokio::spawn(follow_challenges(place.client, place.namespace, seen, mirror));
        Ok(Issuers { surroundings, keepers: self.keepers.clone(), kept: BTreeMap::new(), following })
    }
}

impl Issuers {
    /// From here on these are kept up, and no others. An order under way for one that stays as it was goes on.
    pub fn keep(&mut self, wanted: &[Wanted]) {
        let now = SystemTime::now();
        let mut keepers = self.keepers.lock();
        let mut before = std::mem::take(&mut *keepers);
        let asked_before = std::mem::take(&mut self.kept);
        for wanted in wanted {
            let Some(surroundings) = self.surroundings.get(&wanted.issuer) else { continue };
            let issuance = surroundings.settings.issuance.clone();
            let certificate = AcmeCertificate { domains: wanted.domains.clone(), issuance };
            let plan = Plan::of_secret(wanted.name.clone(), wanted.origin.clone(), certificate, now);
            let is_same =
                |keeper: &Keeper| asked_before.get(&wanted.name) == Some(&wanted.issuer) && keeper.plan().is_as(&plan);
            let keeper = match before.remove(&wanted.name).filter(is_same) {
                Some(keeper) => {
                    keeper.move_to(plan);
                    keeper
                }
                None => Keeper::start(plan, surroundings.clone()),
            };
            keepers.insert(wanted.name.clone(), keeper);
            self.kept.insert(wanted.name.clone(), wanted.issuer.clone());
        }
    }

    /// Its Secret is not what it was.
    pub fn look(&self, name: &str) {
        if let Some(keeper) = self.keepers.lock().get(name) {
            keeper.look();
        }
    }

    /// Learns how long authorities want to be left alone, as others were told.
    pub async fn recall_pauses(&self) -> Result<(), StorageError> {
        for surroundings in self.surroundings.values() {
            let progress = surroundings.storage.progress(&pause_name(surroundings)).await?;
            if let Some(at) = progress.not_before.filter(|at| *at > SystemTime::now()) {
                let (directory, until) = (surroundings.authority.directory(), Timestamp::from(at));
                tracing::warn!(directory, %until, "the authority wants to be left alone, as another replica was told");
                surroundings.authority.pause_until(at);
            }
        }
        Ok(())
    }

    /// Tells others of it.
    pub async fn keep_pauses(&self) -> Result<(), StorageError> {
        for surroundings in self.surroundings.values() {
            let Some(at) = surroundings.authority.paused_until() else { continue };
            let progress = Progress { not_before: Some(at), ..Progress::default() };
            surroundings.storage.put_progress(&pause_name(surroundings), &progress).await?;
        }
        Ok(())
    }
}

impl Drop for Issuers {
    fn drop(&mut self) {
        self.keepers.lock().clear();
        self.following.abort();
    }
}

/// What no certificate is called.
fn pause_name(surroundings: &Surroundings) -> String {
    format!("pause {}", surroundings.settings.directory)
}
