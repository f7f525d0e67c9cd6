//! `weir ingress`: from a changed object to a changed Weir.
//!
//! ```text
//! Watch ──ClusterState──► last usable ──► translate ──► Candidate ──► the same way as a changed file ──► what is served
//!   │                                    (a thread that may take its time)
//!   └── endpoints alone ──► the lists of upstreams that are served
//! ```
//!
//! Until the first state is served there is no listener but the admin one: who asked would be told of hosts that are not known
//! yet. Afterwards there is always something to serve: the last state, while the API server is away.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use tokio::task::JoinSet;

use super::admission::{Admission, Webhook};
use super::issuing::Issuing;
use super::upgrade::Inheritance;
use super::{App, Candidate, Part, Programmed, StartError, Started};
use crate::diagnostics::Diagnostics;
use crate::model::ListenerName;
use crate::sources::kube::client::{self, Server};
use crate::sources::kube::issuance::Issuer;
use crate::sources::kube::reporting::{Report, Reporter, ReporterSettings};
use crate::sources::kube::state::ClusterState;
use crate::sources::kube::translate::{Event, LastUsable, ObjectReference, Reason, Settings, Translator};
use crate::sources::kube::watch::{Change, Extent, Scope, Watch};
use crate::tls::RememberedCertificates;

/// When a port that somebody else had is tried again. Nothing of the cluster tells that it is free.
const LISTEN_AGAIN: Duration = Duration::from_secs(5);

pub struct ClusterOptions {
    /// None: as a pod of the cluster, or as kubectl would.
    pub kubeconfig: Option<PathBuf>,
    pub server: Option<Server>,
    pub scope: Scope,
    pub settings: Settings,
    pub reporting: ReporterSettings,
    /// Whom Ingresses may name to have their certificates issued.
    pub issuers: Vec<Issuer>,
    /// Where an API server asks what Ingresses may be; None: nowhere.
    pub webhook: Option<Webhook>,
}

/// Returns when the admin listener is open; what the cluster holds is served when it is known.
pub(super) async fn start(options: ClusterOptions, inheritance: Inheritance) -> Result<Started, StartError> {
    let ClusterOptions { kubeconfig, server, scope, settings, reporting, issuers, webhook } = options;
    let settings = Arc::new(settings);
    let client = client::connect(kubeconfig.as_deref(), server.as_ref()).await.map_err(anyhow::Error::new)?;
    let watch = Watch::start(&client, &scope);
    let mut certificates = RememberedCertificates::default();
    let mut nothing = Translator::new(settings.clone()).follow(&ClusterState::default());
    nothing.model.listeners.clear();
    let candidate = Candidate::of_cluster(nothing, &mut certificates);
    let app = App::assemble(&candidate, Programmed::NotYet)?;
    app.begin(&candidate, Part::First).await?;
    let reporter = Arc::new(Reporter::start(&client, watch.outlook(), reporting));
    *app.reporter.lock().await = Some(reporter.clone());
    let admission = |webhook| Admission::start(&client, &reporter, &settings, &scope, &issuers, &webhook);
    let admission = webhook.map(admission).transpose()?;
    let issuing = Issuing::start(&app, &client, &reporter, settings.class.clone(), issuers)?;
    let follower = Follower {
        app: app.clone(),
        watch,
        last_usable: LastUsable::default(),
        translator: Translator::new(settings.clone()),
        settings,
        certificates,
        reporter,
        issuing,
        admission,
        served: Served::No,
    };
    Ok((app, tokio::spawn(follower.run(inheritance))))
}

struct Follower {
    app: Arc<App>,
    watch: Watch,
    settings: Arc<Settings>,
    last_usable: LastUsable,
    translator: Translator,
    certificates: RememberedCertificates,
    reporter: Arc<Reporter>,
    issuing: Issuing,
    admission: Option<Admission>,
    served: Served,
}

/// Whether the last translation is what is served.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Served {
    Yes,
    No,
}

async fn listen_again(app: Arc<App>) {
    loop {
        tokio::time::sleep(LISTEN_AGAIN).await;
        app.listen_again().await;
    }
}

impl Follower {
    /// Ends only where not even the first state can be served.
    async fn run(mut self, mut inheritance: Inheritance) -> anyhow::Error {
        let first = self.watch.changed().await;
        self.app.inherit(&mut inheritance).await;
        if let Err(error) = self.follow(first).await {
            return error;
        }
        self.app.programmed.store(true, Ordering::Relaxed);
        inheritance.announce_ready();
        // A task of its own: a wait for changes that is broken off forgets what it has heard already.
        let mut listening = JoinSet::new();
        listening.spawn(listen_again(self.app.clone()));
        loop {
            let change = tokio::select! {
                change = self.watch.changed() => Some(change),
                () = self.app.reload_now.notified() => self.watch.now(),
            };
            let Some(change) = change else { continue };
            if let Err(error) = self.follow(change).await {
                tracing::error!(%error, "a change of the cluster cannot be served; what was served before is served on");
            }
        }
    }

    async fn follow(&mut self, change: Change) -> anyhow::Result<()> {
        let begun = Instant::now();
        if self.relisted(&change) {
            tracing::debug!(
                duration_us = begun.elapsed().as_micros() as u64,
                "the endpoints as they are now are served"
            );
            return Ok(());
        }
        self.served = Served::No;
        let state = self.last_usable.of(&change.state, &self.settings);
        self.issuing.follow(&state);
        let looked_at = self.admission.is_some().then(|| change.state.clone());
        let Translated { candidate, mut report, owners } = self.translate(state).await?;
        let translated = begun.elapsed();
        let unbound = self.app.take_up_cluster(&candidate).await.map_err(|found| anyhow!(in_lines(&found)))?;
        self.served = Served::Yes;
        tell_of_ports(&mut report, &owners, unbound);
        let (translate_ms, duration_ms) = (translated.as_millis() as u64, begun.elapsed().as_millis() as u64);
        tracing::debug!(translate_ms, duration_ms, "the cluster as it is now is served");
        // What is said of objects is true by now.
        self.reporter.report(report);
        if let (Some(admission), Some(state)) = (&self.admission, &looked_at) {
            admission.follow(state);
        }
        Ok(())
    }

    /// Whether the change was one of endpoints alone, and is served.
    fn relisted(&self, change: &Change) -> bool {
        let (Extent::Endpoints(services), Served::Yes) = (&change.extent, self.served) else { return false };
        let Some(lists) = self.translator.lists_again(&change.state, services) else { return false };
        self.app.shared.snapshot.load().relist(&lists, Instant::now());
        true
    }

    async fn translate(&mut self, state: ClusterState) -> anyhow::Result<Translated> {
        let mut translator = std::mem::replace(&mut self.translator, Translator::new(self.settings.clone()));
        let mut certificates = std::mem::take(&mut self.certificates);
        let found = self.last_usable.findings();
        let translate = move || {
            let mut translation = translator.follow(&state);
            translation.tell(found);
            let report = Report {
                statuses: std::mem::take(&mut translation.statuses),
                events: std::mem::take(&mut translation.events),
            };
            let owners = std::mem::take(&mut translation.stream_owners);
            let candidate = Candidate::of_cluster(translation, &mut certificates);
            (Translated { candidate, report, owners }, translator, certificates)
        };
        // A panic costs what was remembered, and this change until the next one.
        let (translated, translator, certificates) =
            tokio::task::spawn_blocking(translate).await.context("the translation was cut short")?;
        (self.translator, self.certificates) = (translator, certificates);
        Ok(translated)
    }
}

impl App {
    /// Returns what cannot be listened on, and why.
    async fn take_up_cluster(
        self: &Arc<Self>,
        candidate: &Candidate,
    ) -> Result<Vec<(ListenerName, String)>, Diagnostics> {
        let mut parts = self.parts.lock().await;
        let previous = self.shared.snapshot.load_full();
        if candidate.means_the_same(&parts.in_force) {
            previous.relist(&candidate.lists, Instant::now());
            self.note_findings(&previous, candidate);
            return Ok(parts.unbound.clone());
        }
        match self.take_up(&mut parts, candidate, &previous).await {
            Ok(()) => {
                parts.in_force = candidate.in_force();
                Ok(parts.unbound.clone())
            }
            Err(found) => {
                self.note_rejected(previous.generation, found.clone());
                Err(found)
            }
        }
    }
}

/// A state of the cluster, ready to be served.
struct Translated {
    candidate: Candidate,
    report: Report,
    owners: Owners,
}

/// Of TCP and UDP services: who asked for them.
type Owners = Vec<(ListenerName, ObjectReference)>;

/// Only trying showed that a port is taken.
fn tell_of_ports(report: &mut Report, owners: &Owners, unbound: Vec<(ListenerName, String)>) {
    for (listener, message) in unbound {
        let owner = owners.iter().find(|(name, _)| *name == listener).map(|(_, owner)| owner.clone());
        report.events.extend(owner.map(|object| Event { object, reason: Reason::InvalidService, message }));
    }
    report.events.sort();
}

fn in_lines(found: &Diagnostics) -> String {
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
