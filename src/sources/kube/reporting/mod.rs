//! What is written back to the cluster, by one replica for all: Ingresses' addresses, and Events on what is wrong.
//!
//! ```text
//! Election (a Lease) ──leads──┐
//! translation ──Report──► Reporter ──► statuses (on change, and once a minute) · Events (once each)
//! ```
//!
//! Nothing that is served depends on it: an API server that refuses or is away is told of in the log, and asked again.

mod election;
mod events;
mod pods;
mod status;

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::state::PublishedAddress;
use super::translate::{Event, Status};
use super::watch::Outlook;
use election::Election;
use events::Events;
pub use pods::NodeAddresses;
use pods::Pods;

/// Somebody else may have changed a status, and nodes come and go.
const STATUS_INTERVAL: Duration = Duration::from_secs(60);
/// An end that waits for an API server that is away helps nobody.
const STOP_LIMIT: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub struct ReporterSettings {
    pub statuses: StatusUpdates,
    /// None: the flags say which addresses statuses show. Else those of the nodes that replicas run on.
    pub node_addresses: Option<NodeAddresses>,
    pub leadership: Leadership,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusUpdates {
    Off,
    /// What was written stays when the last replica ends.
    Left,
    /// It is taken out then.
    Cleared,
}

/// Who reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// Whoever holds the Lease of this name; one that is not renewed for so long is anybody's.
    Elected { lease: String, ttl: Duration },
    /// This replica, whatever others do.
    Assumed,
}

/// What follows from the cluster as it is.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub statuses: Vec<Status>,
    pub events: Vec<Event>,
}

pub struct Reporter {
    reports: watch::Sender<Arc<Report>>,
    /// What is told of certificates that are ordered.
    issuance: watch::Sender<Arc<Vec<Event>>>,
    leads: watch::Receiver<bool>,
    namespace: Arc<str>,
    desk: Arc<Mutex<Desk>>,
    tasks: std::sync::Mutex<JoinSet<()>>,
}

/// Why a replica ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    Ends,
    /// Another process goes on in its place.
    IsSucceeded,
}

impl Reporter {
    /// Starts on the current Tokio runtime.
    pub fn start(client: &Client, outlook: Outlook, settings: ReporterSettings) -> Self {
        let pods = Pods::of_environment(client);
        let election = match &settings.leadership {
            Leadership::Elected { lease, ttl } => {
                Some(Election::new(client, pods.namespace(), lease, pods.identity(), *ttl))
            }
            Leadership::Assumed => None,
        };
        let (reports, received) = watch::channel(Arc::default());
        let (issuance, issued) = watch::channel(Arc::default());
        let (leads, leading) = watch::channel(election.is_none());
        let namespace = pods.namespace().into();
        let desk = Arc::new(Mutex::new(Desk {
            client: client.clone(),
            outlook,
            events: Events::new(client, pods.identity()),
            settings,
            pods,
            election: election.map(|election| Arc::new(Mutex::new(election))),
        }));
        let mut tasks = JoinSet::new();
        tasks.spawn(stand(desk.clone(), leads));
        tasks.spawn(work(desk.clone(), received, issued, leading.clone()));
        Self { reports, issuance, leads: leading, namespace, desk, tasks: tasks.into() }
    }

    /// Whether this replica leads.
    pub fn leads(&self) -> watch::Receiver<bool> {
        self.leads.clone()
    }

    /// This replica's own.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// What is to be told of certificates from now on. Sorted.
    pub fn report_issuance(&self, events: Vec<Event>) {
        self.issuance.send_if_modified(|told| {
            let is_new = **told != events;
            *told = Arc::new(events);
            is_new
        });
    }

    /// What is to be written from now on.
    pub fn report(&self, report: Report) {
        self.reports.send_replace(Arc::new(report));
    }

    /// Leaves the lead to others; the last one takes its addresses back.
    pub async fn stop(&self, departure: Departure) {
        self.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner).abort_all();
        let report = self.reports.borrow().clone();
        let leave = async {
            let desk = self.desk.lock().await;
            desk.leave(&report, departure).await;
        };
        if tokio::time::timeout(STOP_LIMIT, leave).await.is_err() {
            tracing::warn!("the API server does not answer; the statuses of Ingresses stay as they are");
        }
    }
}

/// Who writes, and with what.
struct Desk {
    client: Client,
    outlook: Outlook,
    settings: ReporterSettings,
    pods: Pods,
    events: Events,
    election: Option<Arc<Mutex<Election>>>,
}

/// Stands for election for as long as it is polled.
async fn stand(desk: Arc<Mutex<Desk>>, leads: watch::Sender<bool>) {
    let Some(election) = desk.lock().await.election.clone() else {
        // With `leads` gone, who works would take it for the end.
        return std::future::pending().await;
    };
    loop {
        let pause = {
            let mut election = election.lock().await;
            let is_leader = election.attempt().await;
            leads.send_if_modified(|leads| std::mem::replace(leads, is_leader) != is_leader);
            election.pause()
        };
        tokio::time::sleep(pause).await;
    }
}

/// Writes what the leader writes.
async fn work(
    desk: Arc<Mutex<Desk>>,
    mut reports: watch::Receiver<Arc<Report>>,
    mut issuance: watch::Receiver<Arc<Vec<Event>>>,
    mut leading: watch::Receiver<bool>,
) {
    let mut minute = tokio::time::interval_at(Instant::now() + STATUS_INTERVAL, STATUS_INTERVAL);
    minute.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let has_events = desk.lock().await.events.has_more();
        tokio::select! {
            changed = reports.changed() => if changed.is_err() { return },
            changed = issuance.changed() => if changed.is_err() { return },
            changed = leading.changed() => if changed.is_err() { return },
            _ = minute.tick() => {}
            () = tokio::time::sleep(events::PACE), if has_events => {
                desk.lock().await.events.write_some().await;
                continue;
            }
        }
        if !*leading.borrow_and_update() {
            continue;
        }
        let report = reports.borrow_and_update().clone();
        let mut desk = desk.lock().await;
        desk.events.take_in(&merged(&report.events, &issuance.borrow_and_update()));
        desk.write_statuses(&report).await;
    }
}

/// Both are sorted, and so is what comes of them.
fn merged(translated: &[Event], issuance: &[Event]) -> Vec<Event> {
    let mut events = [translated, issuance].concat();
    events.sort();
    events
}

impl Desk {
    async fn write_statuses(&self, report: &Report) {
        if self.settings.statuses == StatusUpdates::Off {
            return;
        }
        let Some(state) = self.outlook.now() else { return };
        let nodes: Option<Arc<[PublishedAddress]>> = match self.settings.node_addresses {
            None => None,
            // What is not known is left as it stands: others may have written it.
            Some(which) => match self.pods.node_addresses(which).await {
                None => return,
                found => found,
            },
        };
        status::write(&self.client, &state, &report.statuses, nodes.as_ref()).await;
    }

    async fn leave(&self, report: &Report, departure: Departure) {
        let leads = match &self.election {
            Some(election) => election.lock().await.leads(),
            None => true,
        };
        let clears = departure == Departure::Ends && self.settings.statuses == StatusUpdates::Cleared;
        if leads
            && clears
            && !self.pods.has_others().await
            && let Some(state) = self.outlook.now()
        {
            status::clear(&self.client, &state, &report.statuses).await;
        }
        if let Some(election) = &self.election {
            election.lock().await.resign().await;
        }
    }
}
