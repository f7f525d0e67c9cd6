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
pub mod dns;
mod keeper;
mod mirror;
mod on_demand;
mod order;
mod plan;
mod renewal;
mod revocation;
pub mod storage;
mod suggestion;
mod ticket_keys;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, MutexGuard, PoisonError};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::http_client::HttpClient;
use crate::model::{self, AcmeDomain, Process, RevocationReason, SessionTickets};
use crate::tls::{CertificateResolver, Challenges, MAX_WAITING, OnDemand, Tickets};
use authority::Authority;
use challenge::{Dns, Publisher};
use keeper::{Keeper, Surroundings};
use mirror::Mirror;
use plan::Plan;
pub use plan::Status;
use storage::{CertificateStorage, Directory};

/// Orders under way at one time. An authority bounds them, too.
const ORDERS_AT_ONCE: usize = 8;

/// What happens to certificates.
pub enum Event<'a> {
    /// Others are served than before.
    Changed,
    /// An order ended well. What the certificate is counted under: its name, or `on-demand`.
    Issued(&'a str),
    /// An attempt failed.
    Failed(&'a str),
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
    observer: Observer,
    running: Mutex<Option<Running>>,
    keepers: SharedKeepers,
}

/// The certificates of one authority. Dropped, nothing more is ordered.
struct Running {
    surroundings: Arc<Surroundings>,
    beside: Beside,
    keepers: SharedKeepers,
    followers: Vec<JoinHandle<()>>,
}

/// By name. Never locked while something is waited for.
#[derive(Clone, Default)]
struct SharedKeepers(Arc<std::sync::Mutex<BTreeMap<String, Keeper>>>);

impl SharedKeepers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Keeper>> {
        // Every change is a single insertion or removal.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What of the process's settings matters here.
#[derive(Clone, PartialEq, Eq)]
struct Beside {
    resolvers: Vec<SocketAddr>,
    session_tickets: SessionTickets,
}

/// An authority that can be used: its storage is open.
pub struct Prepared {
    settings: Arc<model::Acme>,
    beside: Beside,
    plans: Vec<Plan>,
    /// None: as before.
    surroundings: Option<Arc<Surroundings>>,
}

/// What can be found wrong with an authority's settings without asking anybody. Blocks on files.
pub fn check(settings: &model::Acme) -> Diagnostics {
    let mut found = Diagnostics::default();
    if let Some(path) = &settings.ca
        && let Err(reason) = read_roots(path)
    {
        found.push(Diagnostic::error(settings.origin.clone(), "acme.ca", reason));
    }
    for (key, path) in settings.secret_files() {
        if let Err(error) = std::fs::read(path) {
            let message = format!("cannot read {}: {error}", path.display());
            found.push(Diagnostic::error(settings.origin.clone(), key, message));
        }
    }
    found
}

fn read_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |error: String| format!("cannot read roots from {}: {error}", path.display());
    let roots: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?.collect();
    match roots {
        Ok(roots) if roots.is_empty() => Err(wrong("there is no certificate in it".into())),
        Ok(roots) => Ok(roots),
        Err(error) => Err(wrong(error.to_string())),
    }
}

impl Acme {
    pub fn new(shown: Shown, observer: Observer) -> Self {
        Self { shown, observer, running: Mutex::new(None), keepers: SharedKeepers::default() }
    }

    /// Opens what the model names; what runs goes on meanwhile. Nothing is changed.
    pub async fn prepare(&self, model: &model::Model) -> Result<Option<Prepared>, Diagnostic> {
        let Some(settings) = &model.acme else { return Ok(None) };
        let settings = Arc::new(settings.clone());
        let Process { resolvers, session_tickets, .. } = &model.process;
        let beside = Beside { resolvers: resolvers.clone(), session_tickets: *session_tickets };
        let plans = Plan::of_model(&model.certificates);
        let same = |running: &Running| *running.surroundings.settings == *settings && running.beside == beside;
        let surroundings = match self.running.lock().await.as_ref() {
            Some(running) if same(running) => None,
            Some(_) | None => Some(self.open(settings.clone(), beside.resolvers.clone()).await?),
        };
        Ok(Some(Prepared { settings, beside, plans, surroundings }))
    }

    async fn open(
        &self,
        settings: Arc<model::Acme>,
        resolvers: Vec<SocketAddr>,
    ) -> Result<Arc<Surroundings>, Diagnostic> {
        let opening = settings.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let wrong = |key: &str, reason: String| Diagnostic::error(opening.origin.clone(), key, reason);
            let roots = opening.ca.as_deref().map(read_roots).transpose().map_err(|reason| wrong("acme.ca", reason))?;
            let http = HttpClient::new(&roots.unwrap_or_default())
                .map_err(|error| wrong("acme", format!("cannot set TLS up: {error}")))?;
            let storage = Directory::open(&opening.storage).map_err(|error| {
                wrong("acme.storage", format!("cannot be used: {error}"))
                    .help("name a folder that the user Weir runs as may write to")
            })?;
            Ok((http, storage))
        });
        let (http, storage) = opened.await.map_err(|error| {
            Diagnostic::error(settings.origin.clone(), "acme.storage", format!("opening it was cut short: {error}"))
        })??;
        Ok(Arc::new(self.surroundings(settings, resolvers, http, Arc::new(storage))))
    }

    fn surroundings(
        &self,
        settings: Arc<model::Acme>,
        resolvers: Vec<SocketAddr>,
        http: HttpClient,
        storage: Arc<dyn CertificateStorage>,
    ) -> Surroundings {
        let Shown { resolver, challenges, .. } = &self.shown;
        let mirror = Arc::new(Mirror::new(storage.clone(), challenges.clone(), resolver.clone()));
        let dns = settings.dns.as_ref().map(|provider| Dns {
            solver: dns::solver(provider, http.clone()),
            propagation: settings.dns_propagation.clone(),
            resolvers,
            written: Mutex::default(),
        });
        Surroundings {
            authority: Authority::new(settings.clone(), http.clone(), storage.clone()),
            publisher: Publisher::new(storage.clone(), mirror.clone(), dns),
            settings,
            storage,
            mirror,
            http,
            observer: self.observer.clone(),
            permits: Semaphore::new(ORDERS_AT_ONCE),
        }
    }

    /// From here on these certificates are kept up, and no others. What is stored is served when this returns; an order
    /// under way for a certificate that stays as it was goes on.
    pub async fn apply(&self, prepared: Option<Prepared>) {
        let mut running = self.running.lock().await;
        let Some(Prepared { settings, beside, plans, surroundings }) = prepared else {
            if running.take().is_some() {
                self.shown.resolver.replace_ordered(Vec::new());
                self.shown.resolver.expect(Default::default());
                self.shown.on_demand.ask(None);
            }
            return;
        };
        if let Some(surroundings) = surroundings {
            // Those before end first: their locks are free for these.
            *running = None;
            *running = Some(Running { surroundings, beside, keepers: self.keepers.clone(), followers: Vec::new() });
        }
        let Some(running) = running.as_mut() else { return };
        running.keep(plans).await;
        if running.followers.is_empty() {
            running.follow(&settings, &self.shown).await;
        }
        (self.observer)(Event::Changed);
    }

    /// What is ordered, by name.
    pub fn statuses(&self) -> Vec<Status> {
        self.keepers.lock().values().map(Keeper::status).collect()
    }

    /// Begins to renew a certificate, due or not. The error says that there is none of this name, and which there are.
    pub fn renew(&self, name: &str) -> Result<(), String> {
        let keepers = self.keepers.lock();
        if let Some(keeper) = keepers.get(name) {
            keeper.force();
            return Ok(());
        }
        let names: Vec<_> = keepers.keys().map(String::as_str).collect();
        Err(match names.is_empty() {
            true => NOTHING.into(),
            false => format!("no certificate \"{name}\" is ordered; there are: {}", names.join(", ")),
        })
    }

    /// Has the authority revoke the certificate that is stored, and orders another in its place.
    pub async fn revoke(&self, name: &str, reason: RevocationReason) -> Result<(), String> {
        let surroundings = match self.running.lock().await.as_ref() {
            Some(running) => running.surroundings.clone(),
            None => return Err(NOTHING.into()),
        };
        revocation::revoke(&surroundings, name, reason).await?;
        // One that is not written down any more is not ordered anew.
        let _ = self.renew(name);
        Ok(())
    }

    /// Orders nothing more. What others are asked is still answered here.
    pub fn stop(&self) {
        self.shown.on_demand.ask(None);
        self.keepers.lock().clear();
    }
}

const NOTHING: &str = "no certificate is ordered: the file names none, or has no \"acme\"";

impl Running {
    /// Keeps up what is planned, and whatever was ordered on demand.
    async fn keep(&self, mut plans: Vec<Plan>) {
        plans.extend(self.on_demand_plans(&plans).await);
        let names: BTreeSet<&str> = plans.iter().map(|plan| plan.name.as_str()).collect();
        self.keepers.lock().retain(|name, _| names.contains(name.as_str()));
        self.surroundings.mirror.retain(&names);
        let new: Vec<Plan> = {
            let keepers = self.keepers.lock();
            let is_new = |plan: &&Plan| keepers.get(&plan.name).is_none_or(|keeper| keeper.plan != **plan);
            plans.iter().filter(is_new).cloned().collect()
        };
        let mut loaded = Vec::with_capacity(new.len());
        for plan in &new {
            loaded.push((plan, self.surroundings.mirror.load(plan).await));
        }
        // All at once: each change of what is served costs as much as all of it.
        self.surroundings.mirror.show(loaded);
        let start = |plan: Plan| (plan.name.clone(), Keeper::start(plan, self.surroundings.clone()));
        self.keepers.lock().extend(new.into_iter().map(start));
    }

    /// Certificates in the storage that a client asked for once, while that is allowed.
    async fn on_demand_plans(&self, written: &[Plan]) -> Vec<Plan> {
        let Some(on_demand) = &self.surroundings.settings.on_demand else { return Vec::new() };
        let storage = &self.surroundings.storage;
        let stored = storage.versions().await.unwrap_or_else(|error| {
            tracing::error!(%error, "the ACME storage cannot be listed; certificates on demand are ordered anew");
            BTreeMap::new()
        });
        let mut plans = Vec::new();
        for name in stored.into_keys().filter(|name| written.iter().all(|plan| plan.name != *name)) {
            let is_on_demand = storage.progress(&name).await.is_ok_and(|progress| progress.on_demand);
            if let (true, Ok(domain)) = (is_on_demand, AcmeDomain::parse(&name)) {
                plans.push(Plan::on_demand(domain, self.surroundings.settings.issuance.clone(), on_demand.ask.clone()));
            }
        }
        plans
    }

    /// Begins to watch the storage, to share ticket keys, and to take questions of handshakes.
    async fn follow(&mut self, settings: &model::Acme, shown: &Shown) {
        let (surroundings, keepers) = (self.surroundings.clone(), self.keepers.clone());
        let known = surroundings.storage.versions().await.unwrap_or_default();
        self.followers.push(tokio::spawn(follow_storage(surroundings, keepers, known)));
        if let SessionTickets::Rotate { every } = self.beside.session_tickets {
            let storage = self.surroundings.storage.clone();
            self.followers.push(tokio::spawn(ticket_keys::share(storage, shown.tickets.clone(), every)));
        }
        let Some(on_demand) = &settings.on_demand else { return shown.on_demand.ask(None) };
        let (sender, questions) = mpsc::channel(MAX_WAITING);
        shown.on_demand.ask(Some(sender));
        let orders = OnDemandOrders {
            surroundings: self.surroundings.clone(),
            keepers: self.keepers.clone(),
            url: on_demand.ask.clone(),
        };
        self.followers.push(tokio::spawn(on_demand::serve(questions, on_demand.rate, orders)));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.keepers.lock().clear();
        self.followers.iter().for_each(JoinHandle::abort);
    }
}

/// Sees what other processes do: their challenges are answered, and their certificates served.
async fn follow_storage(surroundings: Arc<Surroundings>, keepers: SharedKeepers, mut known: BTreeMap<String, String>) {
    loop {
        let seen = async {
            surroundings.mirror.refresh_challenges().await?;
            surroundings.storage.versions().await
        };
        match seen.await {
            Ok(versions) => {
                let keepers = keepers.lock();
                let changed = versions.iter().filter(|(name, version)| known.get(*name) != Some(version));
                changed.filter_map(|(name, _)| keepers.get(name)).for_each(Keeper::look);
                known = versions;
            }
            Err(error) => tracing::warn!(%error, "the ACME storage cannot be looked at"),
        }
        surroundings.storage.changed().await;
    }
}

struct OnDemandOrders {
    surroundings: Arc<Surroundings>,
    keepers: SharedKeepers,
    url: Arc<str>,
}

impl on_demand::Orders for OnDemandOrders {
    async fn ask(&self, domain: AcmeDomain) -> bool {
        let Ok(_permit) = self.surroundings.permits.acquire().await else { return false };
        let asked = on_demand::ask(&self.surroundings.http, &self.url, domain.as_str()).await;
        asked.inspect_err(|error| tracing::info!(%domain, %error, "no certificate on demand")).is_ok()
    }

    async fn order(&self, domain: AcmeDomain) -> bool {
        let surroundings = &self.surroundings;
        let plan = Plan::on_demand(domain, surroundings.settings.issuance.clone(), self.url.clone());
        let name = plan.name.clone();
        let start = || Keeper::start(plan, surroundings.clone());
        let settled = self.keepers.lock().entry(name.clone()).or_insert_with(start).settled();
        settled.await;
        let has_one = surroundings.mirror.shown_for(&name).is_some();
        if !has_one {
            // Nobody wrote it down: it is tried again when it is asked for again.
            self.keepers.lock().remove(&name);
        }
        has_one
    }
}
