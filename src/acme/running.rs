//! The certificates of one authority, and what watches over them.
//!
//! ```text
//! plans ──keep──► Keepers, by name ◄── follow: the storage changes · handshakes ask for names on demand
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::keeper::Keeper;
use super::plan::Plan;
use super::surroundings::Surroundings;
use super::{Beside, Shown, on_demand, ticket_keys};
use crate::model::{AcmeDomain, SessionTickets};
use crate::tls::{LoadedCertificate, MAX_WAITING};

/// Dropped, nothing more is ordered.
pub struct Running {
    pub surroundings: Arc<Surroundings>,
    pub beside: Beside,
    keepers: SharedKeepers,
    followers: Vec<JoinHandle<()>>,
}

/// By name. Never locked while something is waited for.
#[derive(Clone, Default)]
pub struct SharedKeepers(Arc<Mutex<BTreeMap<String, Keeper>>>);

impl SharedKeepers {
    pub fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Keeper>> {
        // Every change is a single insertion or removal.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Files are read by so many at a time.
const LOADS_AT_ONCE: usize = 64;

impl Running {
    pub fn new(surroundings: Arc<Surroundings>, beside: Beside, keepers: SharedKeepers) -> Self {
        Self { surroundings, beside, keepers, followers: Vec::new() }
    }

    /// Keeps up what is planned, and whatever was ordered on demand.
    pub async fn keep(&self, mut plans: Vec<Plan>) {
        plans.extend(self.on_demand_plans(&plans).await);
        let loads = plans.clone().into_iter().map(|plan| load(self.surroundings.clone(), plan));
        let loaded: Vec<_> = futures::stream::iter(loads).buffer_unordered(LOADS_AT_ONCE).collect().await;
        // At once: no handshake finds less than there was.
        self.surroundings.display.replace(&loaded);
        let mut keepers = self.keepers.lock();
        let mut before = std::mem::take(&mut *keepers);
        for plan in plans {
            let kept = before.remove(&plan.name).filter(|keeper| keeper.plan().is_as(&plan) && !keeper.has_ended());
            let name = plan.name.clone();
            let keeper = match kept {
                Some(keeper) => {
                    keeper.move_to(plan);
                    keeper
                }
                None => Keeper::start(plan, self.surroundings.clone()),
            };
            keepers.insert(name, keeper);
        }
    }

    /// Certificates in the storage that a client asked for once, while that is allowed.
    async fn on_demand_plans(&self, written: &[Plan]) -> Vec<Plan> {
        let Some(on_demand) = &self.surroundings.settings.on_demand else { return Vec::new() };
        let storage = &self.surroundings.storage;
        let stored = storage.versions().await.unwrap_or_else(|error| {
            tracing::error!(%error, "the ACME storage cannot be listed; certificates on demand are ordered anew");
            BTreeMap::new()
        });
        // What runs goes on, stored or not.
        let mut names = self.running_on_demand();
        for name in stored.into_keys().filter(|name| !names.contains(name)).collect::<Vec<_>>() {
            if storage.progress(&name).await.is_ok_and(|progress| progress.on_demand) {
                names.insert(name);
            }
        }
        let (issuance, now) = (&self.surroundings.settings.issuance, SystemTime::now());
        let unwritten = names.iter().filter(|name| written.iter().all(|plan| plan.name != **name));
        let domains = unwritten.filter_map(|name| AcmeDomain::parse(name).ok());
        domains.map(|domain| Plan::on_demand(domain, issuance.clone(), on_demand.ask.clone(), now)).collect()
    }

    fn running_on_demand(&self) -> BTreeSet<String> {
        let keepers = self.keepers.lock();
        let running = keepers.values().filter(|keeper| !keeper.has_ended()).map(Keeper::plan);
        running.filter(|plan| plan.ask.is_some()).map(|plan| plan.name.clone()).collect()
    }

    /// Begins to watch the storage, to share ticket keys, and to take questions of handshakes. Once is enough.
    pub async fn follow(&mut self, shown: &Shown) {
        if !self.followers.is_empty() {
            return;
        }
        let (surroundings, keepers) = (self.surroundings.clone(), self.keepers.clone());
        let known = surroundings.storage.versions().await.unwrap_or_default();
        self.followers.push(tokio::spawn(follow_storage(surroundings, keepers, known)));
        if let SessionTickets::Rotate { every } = self.beside.session_tickets {
            let storage = self.surroundings.storage.clone();
            self.followers.push(tokio::spawn(ticket_keys::share(storage, shown.tickets.clone(), every)));
        }
        let Some(on_demand) = &self.surroundings.settings.on_demand else { return shown.on_demand.ask(None) };
        let (sender, questions) = mpsc::channel(MAX_WAITING);
        shown.on_demand.ask(Some(sender));
        let (surroundings, keepers, url) = (self.surroundings.clone(), self.keepers.clone(), on_demand.ask.clone());
        let orders = OnDemandOrders { surroundings, keepers, url };
        self.followers.push(tokio::spawn(on_demand::serve(questions, on_demand.rate, orders)));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.keepers.lock().clear();
        self.followers.iter().for_each(JoinHandle::abort);
    }
}

/// One that cannot be read now may be later: what was shown before goes on being shown.
async fn load(surroundings: Arc<Surroundings>, plan: Plan) -> (Plan, Option<Arc<LoadedCertificate>>) {
    let loaded = surroundings.mirror.load(&plan).await.unwrap_or_else(|error| {
        tracing::error!(certificate = plan.name, %error, "the ACME storage does not work");
        surroundings.display.shown_for(&plan.name)
    });
    (plan, loaded)
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

impl OnDemandOrders {
    fn plan(&self, domain: AcmeDomain) -> Plan {
        Plan::on_demand(domain, self.surroundings.settings.issuance.clone(), self.url.clone(), SystemTime::now())
    }

    /// Then it is neither asked for nor counted.
    async fn has_failed_lately(&self, domain: &AcmeDomain) -> bool {
        let Surroundings { storage, settings, .. } = &*self.surroundings;
        let Ok(mut progress) = storage.progress(domain.as_str()).await else { return true };
        let now = SystemTime::now();
        progress.forget_the_future(now);
        self.plan(domain.clone()).due(None, &progress, settings) > now
    }
}

impl on_demand::Orders for OnDemandOrders {
    async fn ask(&self, domain: AcmeDomain) -> bool {
        // What is written down is on its way without being asked for.
        if self.keepers.lock().values().any(|keeper| keeper.plan().is_written_for(&domain)) {
            return false;
        }
        if self.has_failed_lately(&domain).await {
            return false;
        }
        let Ok(_permit) = self.surroundings.ask_permits.acquire().await else { return false };
        let asked = on_demand::ask(&self.surroundings.http, &self.url, domain.as_str()).await;
        asked.inspect_err(|error| tracing::info!(%domain, %error, "no certificate on demand")).is_ok()
    }

    async fn order(&self, domain: AcmeDomain) -> bool {
        let surroundings = &self.surroundings;
        let plan = self.plan(domain);
        let name = plan.name.clone();
        let (settled, id) = {
            let mut keepers = self.keepers.lock();
            if keepers.get(&name).is_none_or(Keeper::has_ended) {
                keepers.insert(name.clone(), Keeper::start(plan, surroundings.clone()));
            }
            let keeper = &keepers[&name];
            (keeper.settled(), keeper.id())
        };
        settled.await;
        let has_one = surroundings.display.shown_for(&name).is_some();
        if !has_one {
            // Nobody wrote it down: it is tried again when it is asked for again.
            self.keepers.lock().retain(|_, keeper| !keeper.is(&id));
        }
        has_one
    }
}
