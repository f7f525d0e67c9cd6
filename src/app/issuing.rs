//! Certificates for the Ingresses of a cluster: what they ask for is ordered where this replica leads.
//!
//! ```text
//! ClusterState ──issuance──► wanted ──leads──► acme::Issuers ──► Secrets, which the watch sees and every replica serves
//!                               └► Events ◄──── issued, failed ┘
//! ```
//!
//! Nothing that is served waits for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::anyhow;
use kube::Client;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::App;
use crate::acme::{self, Issuers};
use crate::diagnostics::Origin;
use crate::sources::kube::issuance::{Issuance, Issuer, WantedCertificate, issuance};
use crate::sources::kube::reporting::Reporter;
use crate::sources::kube::state::{ClusterState, Secret};
use crate::sources::kube::translate::{ClassRules, Event, Reason};
use crate::telemetry::metrics::{Metrics, Order};

/// Works as long as it lives.
pub(super) struct Issuing {
    states: watch::Sender<Option<ClusterState>>,
    task: JoinHandle<()>,
}

impl Drop for Issuing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Issuing {
    pub fn start(
        app: &Arc<App>,
        client: &Client,
        reporter: &Arc<Reporter>,
        class: ClassRules,
        issuers: Vec<Issuer>,
    ) -> anyhow::Result<Self> {
        let (states, received) = watch::channel(None);
        let (namespace, leads) = (reporter.namespace().to_owned(), reporter.leads());
        let news = Arc::new(News::default());
        let place = acme::Place { client: client.clone(), namespace, leads: leads.clone() };
        let named = |issuer: &Issuer| acme::Issuer { name: issuer.name.clone(), settings: issuer.acme.clone().into() };
        let list: Vec<acme::Issuer> = issuers.iter().map(named).collect();
        let observer = observer(app.metrics.clone(), news.clone());
        let opened = match list.is_empty() {
            true => None,
            false => Some(app.acme.issuers(place, &list, &observer).map_err(|error| anyhow!("{error}"))?),
        };
        let desk = Desk {
            metrics: app.metrics.clone(),
            reporter: reporter.clone(),
            class,
            issuers,
            opened,
            news,
            leading: false,
            kept_by: None,
            wanted: Vec::new(),
            secrets: BTreeMap::new(),
        };
        Ok(Self { states, task: tokio::spawn(desk.run(received, leads)) })
    }

    /// The cluster as it is now.
    pub fn follow(&self, state: &ClusterState) {
        self.states.send_replace(Some(state.clone()));
    }
}

/// How attempts ended, by certificate, and that somebody should look.
#[derive(Default)]
struct News {
    told: Mutex<BTreeMap<String, Outcome>>,
    arrived: Notify,
}

#[derive(Clone)]
enum Outcome {
    Issued { until: String },
    Failed(String),
}

impl News {
    fn tell(&self, name: &str, outcome: Outcome) {
        self.lock().insert(name.to_owned(), outcome);
        self.arrived.notify_one();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Outcome>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn observer(metrics: Arc<Metrics>, news: Arc<News>) -> acme::Observer {
    Arc::new(move |event| match event {
        // It is shown when its Secret is seen.
        acme::Event::Changed => {}
        acme::Event::Issued { name, until } => {
            metrics.order(name, Order::Issued);
            news.tell(name, Outcome::Issued { until: until.to_string() });
        }
        acme::Event::Failed { name, in_a_row, error } => {
            metrics.order(name, Order::Failed { in_a_row });
            news.tell(name, Outcome::Failed(error.to_owned()));
        }
        acme::Event::Stuck { name, error } => news.tell(name, Outcome::Failed(error.to_owned())),
    })
}

struct Desk {
    metrics: Arc<Metrics>,
    reporter: Arc<Reporter>,
    class: ClassRules,
    issuers: Vec<Issuer>,
    /// None where there is no issuer.
    opened: Option<Issuers>,
    news: Arc<News>,
    leading: bool,
    wanted: Vec<WantedCertificate>,
    /// Whether it led when that was taken up. None: it never was.
    kept_by: Option<bool>,
    /// Of what is wanted, as it was seen last.
    secrets: BTreeMap<String, Option<Arc<Secret>>>,
}

impl Desk {
    async fn run(mut self, mut states: watch::Receiver<Option<ClusterState>>, mut leads: watch::Receiver<bool>) {
        loop {
            let state = states.borrow_and_update().clone();
            let leading = *leads.borrow_and_update();
            if leading && !self.leading {
                self.recall_pauses().await;
            }
            if !leading {
                // By the time it leads again others have told more.
                self.news.lock().clear();
            }
            self.leading = leading;
            if let Some(state) = &state {
                self.take_up(state);
            }
            let (changed, news) = tokio::select! {
                changed = states.changed() => (changed, false),
                changed = leads.changed() => (changed, false),
                () = self.news.arrived.notified() => (Ok(()), true),
            };
            if changed.is_err() {
                return;
            }
            if news {
                self.keep_pauses().await;
            }
        }
    }

    fn take_up(&mut self, state: &ClusterState) {
        let Issuance { wanted, mut events } = issuance(state, &self.class, &self.issuers);
        if self.kept_by != Some(self.leading) || self.wanted != wanted {
            (self.wanted, self.kept_by) = (wanted, Some(self.leading));
            self.keep();
        }
        self.look_at_changed(state);
        if self.leading {
            events.extend(self.outcomes());
            events.sort();
        }
        self.reporter.report_issuance(events);
    }

    fn keep(&mut self) {
        let list: Vec<acme::Wanted> = self.wanted.iter().map(to_acme).collect();
        self.metrics.keep_orders(list.iter().map(|wanted| wanted.name.as_str().into()));
        if let Some(opened) = &mut self.opened {
            opened.keep(if self.leading { &list } else { &[] });
        }
    }

    /// A Secret that somebody deleted or changed is looked at again.
    fn look_at_changed(&mut self, state: &ClusterState) {
        let seen = |wanted: &WantedCertificate| (wanted.secret.to_string(), state.secrets.get(&wanted.secret).cloned());
        let now: BTreeMap<String, Option<Arc<Secret>>> = self.wanted.iter().map(seen).collect();
        let before = std::mem::replace(&mut self.secrets, now);
        let Some(opened) = &self.opened else { return };
        for (name, secret) in &self.secrets {
            if before.get(name).is_some_and(|known| known != secret) {
                opened.look(name);
            }
        }
    }

    /// On every Ingress that asked for it.
    fn outcomes(&self) -> Vec<Event> {
        let mut told = self.news.lock();
        told.retain(|name, _| self.secrets.contains_key(name));
        let mut events = Vec::new();
        for wanted in &self.wanted {
            let Some(outcome) = told.get(&wanted.secret.to_string()) else { continue };
            let names: Vec<&str> = wanted.domains.iter().map(|domain| domain.as_str()).collect();
            let (names, secret, issuer) = (names.join(", "), &wanted.secret, &wanted.issuer);
            let (reason, message) = match outcome {
                Outcome::Issued { until } => (
                    Reason::Issued,
                    format!(
                        "{issuer} issued the certificate of the Secret {secret} for {names}; it is valid until {until}"
                    ),
                ),
                Outcome::Failed(error) => {
                    let message = format!(
                        "the certificate of the Secret {secret} for {names} could not be had from {issuer}: {error}"
                    );
                    (Reason::IssuanceFailed, message)
                }
            };
            let event = |object: &_| Event::new(Clone::clone(object), reason, message.clone());
            events.extend(wanted.ingresses.iter().map(event));
        }
        events
    }

    async fn recall_pauses(&self) {
        let Some(opened) = &self.opened else { return };
        if let Err(error) = opened.recall_pauses().await {
            tracing::warn!(%error, "whether an authority wants to be left alone is not known");
        }
    }

    async fn keep_pauses(&self) {
        let Some(opened) = self.opened.as_ref().filter(|_| self.leading) else { return };
        if let Err(error) = opened.keep_pauses().await {
            tracing::warn!(%error, "that an authority wants to be left alone is not told to other replicas");
        }
    }
}

fn to_acme(wanted: &WantedCertificate) -> acme::Wanted {
    let WantedCertificate { secret, issuer, domains, ingresses } = wanted;
    let by = ingresses.first().map(|object| format!("ingress/{}", object.key)).unwrap_or_default();
    let origin = Origin { file: by.into(), ..Origin::builtin() };
    acme::Wanted { name: secret.to_string(), issuer: issuer.clone(), domains: domains.clone(), origin }
}
