//! Certificates that look after themselves: ordered, kept, shared and renewed (RFC 8555).
//!
//! ```text
//! model ──► Acme ──► a Keeper for each certificate ──► Ordering ──► the authority
//!                        │ looks                          │ stores, publishes challenges
//!                        ▼                                ▼
//!                  CertificateStorage ◄──────────────────┘◄──► other processes
//!                        └──► Mirror ──► tls (what handshakes and requests see)
//! ```
//!
//! A part of the control plane: no request and no handshake waits for it, save for one that asks for a name on demand.

mod authority;
mod challenge;
mod display;
pub mod dns;
mod issuers;
mod keeper;
mod mirror;
mod on_demand;
mod order;
mod plan;
mod renewal;
mod revocation;
mod running;
pub mod storage;
mod suggestion;
mod surroundings;
mod ticket_keys;
mod words;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::Mutex;

use crate::diagnostics::Diagnostic;
use crate::model::{self, Process, RevocationReason, SessionTickets};
use crate::timestamp::Timestamp;
use crate::tls::{CertificateResolver, Challenges, OnDemand, Tickets};
use display::Display;
pub use issuers::{Issuer, Issuers, Place, Wanted};
use keeper::Keeper;
use plan::Plan;
pub use plan::Status;
use running::{Running, SharedKeepers};
use surroundings::Surroundings;
pub use surroundings::{Roots, check, roots};

/// What happens to certificates.
pub enum Event<'a> {
    /// Others are served than before.
    Changed,
    /// An order ended well. What the certificate is counted under: its name, or `on-demand`.
    Issued { name: &'a str, until: Timestamp },
    /// An attempt failed.
    Failed { name: &'a str, in_a_row: u32, error: &'a str },
    /// It cannot even be tried: the storage does not work.
    Stuck { name: &'a str, error: &'a str },
}

pub type Observer = Arc<dyn Fn(Event<'_>) + Send + Sync>;

/// What handshakes and requests see.
#[derive(Clone)]
pub struct Shown {
    pub resolver: Arc<CertificateResolver>,
    pub challenges: Arc<Challenges>,
    pub on_demand: Arc<OnDemand>,
    pub tickets: Arc<Tickets>,
}

/// All certificates that are ordered. One for the life of the process.
pub struct Acme {
    shown: Shown,
    display: Arc<Display>,
    observer: Observer,
    running: Mutex<Option<Running>>,
    keepers: SharedKeepers,
}

/// What of the process's settings matters here.
#[derive(Clone, PartialEq, Eq)]
struct Beside {
    resolvers: Vec<SocketAddr>,
    session_tickets: SessionTickets,
}

/// An authority that can be used: its storage is open.
pub struct Prepared {
    beside: Beside,
    plans: Vec<Plan>,
    /// None: as before.
    surroundings: Option<Arc<Surroundings>>,
}

impl Acme {
    pub fn new(shown: Shown, observer: Observer) -> Self {
        let display = Arc::new(Display::new(shown.resolver.clone()));
        Self { shown, display, observer, running: Mutex::new(None), keepers: SharedKeepers::default() }
    }

    /// Opens what the model names; what runs goes on meanwhile. Nothing is changed.
    pub async fn prepare(&self, model: &model::Model) -> Result<Option<Prepared>, Diagnostic> {
        let Some(settings) = &model.acme else { return Ok(None) };
        let Process { resolvers, session_tickets, .. } = &model.process;
        let beside = Beside { resolvers: resolvers.clone(), session_tickets: *session_tickets };
        let plans = Plan::of_model(&model.certificates, SystemTime::now());
        let reading = settings.clone();
        let roots = tokio::task::spawn_blocking(move || surroundings::roots(&reading)).await;
        let roots = roots.map_err(|error| {
            Diagnostic::error(settings.origin.clone(), "acme.ca", format!("reading it was cut short: {error}"))
        })??;
        let same = |running: &Running| {
            let Running { surroundings, beside: before, .. } = running;
            surroundings.settings.is_as(settings) && surroundings.roots == roots && *before == beside
        };
        let surroundings = match self.running.lock().await.as_ref() {
            Some(running) if same(running) => None,
            Some(_) | None => Some(self.open(Arc::new(settings.clone()), beside.resolvers.clone()).await?),
        };
        Ok(Some(Prepared { beside, plans, surroundings }))
    }

    async fn open(
        &self,
        settings: Arc<model::Acme>,
        resolvers: Vec<SocketAddr>,
    ) -> Result<Arc<Surroundings>, Diagnostic> {
        let (shown, display, observer) = (self.shown.clone(), self.display.clone(), self.observer.clone());
        let origin = settings.origin.clone();
        let open = move || Surroundings::open(settings, resolvers, &shown, display, observer);
        let opened = tokio::task::spawn_blocking(open).await;
        let cut_short = |error| Diagnostic::error(origin, "acme.storage", format!("opening it was cut short: {error}"));
        opened.map_err(cut_short)?.map(Arc::new)
    }

    /// From here on these certificates are kept up, and no others. What is stored is served when this returns, and what
    /// was served is until then; an order under way for a certificate that stays as it was goes on.
    pub async fn apply(&self, prepared: Option<Prepared>) {
        let mut running = self.running.lock().await;
        let Some(Prepared { beside, plans, surroundings }) = prepared else {
            if running.take().is_some() {
                self.display.replace(&[]);
                self.shown.on_demand.ask(None);
                self.shown.tickets.release();
            }
            return;
        };
        if let Some(surroundings) = surroundings {
            // Those before end first: their locks are free for these.
            *running = None;
            *running = Some(Running::new(surroundings, beside, self.keepers.clone()));
        }
        let Some(running) = running.as_mut() else { return };
        running.keep(plans).await;
        running.follow(&self.shown).await;
        (self.observer)(Event::Changed);
    }

    /// What is ordered, by name.
    pub fn statuses(&self) -> Vec<Status> {
        self.keepers.lock().values().filter(|keeper| !keeper.has_ended()).map(Keeper::status).collect()
    }

    /// Begins to renew a certificate, due or not. The error says that there is none of this name, and which there are.
    pub async fn renew(&self, name: &str) -> Result<(), String> {
        let surroundings = self.surroundings(name).await?;
        self.known(name)?;
        surroundings.force(name).await?;
        if let Some(keeper) = self.keepers.lock().get(name) {
            keeper.look();
        }
        Ok(())
    }

    fn known(&self, name: &str) -> Result<(), String> {
        let keepers = self.keepers.lock();
        let names: Vec<_> = keepers.keys().map(String::as_str).collect();
        match (keepers.contains_key(name), names.is_empty()) {
            (true, _) => Ok(()),
            (false, true) => Err(NOTHING.into()),
            (false, false) => Err(format!("no certificate \"{name}\" is ordered; there are: {}", names.join(", "))),
        }
    }

    /// Has the authority revoke the certificate that is stored, and orders another in its place.
    pub async fn revoke(&self, name: &str, reason: RevocationReason) -> Result<(), String> {
        let surroundings = self.surroundings(name).await?;
        // Written down before: whatever happens next, it is not served longer than it must be. One that the file does
        // not name any more is not ordered anew.
        let is_kept = self.known(name).is_ok();
        if is_kept {
            surroundings.force(name).await?;
        }
        revocation::revoke(&surroundings, name, reason).await?;
        if is_kept { self.renew(name).await } else { Ok(()) }
    }

    /// Of whom the certificate is ordered from.
    async fn surroundings(&self, name: &str) -> Result<Arc<Surroundings>, String> {
        let kept = self.keepers.lock().get(name).map(|keeper| keeper.surroundings().clone());
        if let Some(surroundings) = kept {
            return Ok(surroundings);
        }
        match self.running.lock().await.as_ref() {
            Some(running) => Ok(running.surroundings.clone()),
            None => self.known(name).and(Err(NOTHING.into())),
        }
    }

    /// Orders nothing more. What others are asked is still answered here.
    pub fn stop(&self) {
        self.shown.on_demand.ask(None);
        self.keepers.lock().clear();
    }
}

const NOTHING: &str = "no certificate is ordered here: the file names none, or has no \"acme\"; of a cluster's replicas the one \
                       orders that leads";
