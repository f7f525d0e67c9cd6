//! `weir ingress`: from a changed object to a changed Weir.
//!
//! ```text
//! Watch ──ClusterState──► translate ──► Candidate ──► the same way as a changed file ──► what is served
//!                         (a thread that may take its time)
//! ```
//!
//! Until the first state is served there is no listener but the admin one: who asked would be told of hosts that are not known
//! yet. Afterwards there is always something to serve: the last state, while the API server is away.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Context, anyhow};

use super::admission::{Admission, Webhook};
use super::issuing::Issuing;
use super::upgrade::Inheritance;
use super::{App, Candidate, Part, Programmed, StartError, Started};
use crate::diagnostics::Diagnostics;
use crate::sources::kube::client::{self, Server};
use crate::sources::kube::issuance::Issuer;
use crate::sources::kube::reporting::{Report, Reporter, ReporterSettings};
use crate::sources::kube::state::ClusterState;
use crate::sources::kube::translate::{Settings, translate};
use crate::sources::kube::watch::{Scope, Watch};
use crate::tls::RememberedCertificates;

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
    let mut nothing = translate(&ClusterState::default(), &settings);
    nothing.model.listeners.clear();
    let candidate = Candidate::of_cluster(nothing, &mut certificates);
    let app = App::assemble(&candidate, Programmed::NotYet)?;
    app.begin(&candidate, Part::First).await?;
    let reporter = Arc::new(Reporter::start(&client, watch.outlook(), reporting));
    *app.reporter.lock().await = Some(reporter.clone());
    let admission = |webhook| Admission::start(&client, &reporter, &settings, &scope, &issuers, &webhook);
    let admission = webhook.map(admission).transpose()?;
    let issuing = Issuing::start(&app, &client, &reporter, settings.class.clone(), issuers)?;
    let follower = Follower { app: app.clone(), watch, settings, certificates, reporter, issuing, admission };
    Ok((app, tokio::spawn(follower.run(inheritance))))
}

struct Follower {
    app: Arc<App>,
    watch: Watch,
    settings: Arc<Settings>,
    certificates: RememberedCertificates,
    reporter: Arc<Reporter>,
    issuing: Issuing,
    admission: Option<Admission>,
}

impl Follower {
    /// Ends only where not even the first state can be served.
    async fn run(mut self, mut inheritance: Inheritance) -> anyhow::Error {
        let state = self.watch.changed().await;
        self.app.inherit(&mut inheritance).await;
        if let Err(error) = self.follow(state).await {
            return error;
        }
        self.app.programmed.store(true, Ordering::Relaxed);
        inheritance.announce_ready();
        loop {
            let state = tokio::select! {
                state = self.watch.changed() => Some(state),
                () = self.app.reload_now.notified() => self.watch.now(),
            };
            let Some(state) = state else { continue };
            if let Err(error) = self.follow(state).await {
                tracing::error!(%error, "a change of the cluster cannot be served; what was served before is served on");
            }
        }
    }

    async fn follow(&mut self, state: ClusterState) -> anyhow::Result<()> {
        let begun = Instant::now();
        self.issuing.follow(&state);
        let looked_at = self.admission.is_some().then(|| state.clone());
        let (candidate, report) = self.translate(state).await?;
        let translated = begun.elapsed();
        self.app.take_up_cluster(&candidate).await.map_err(|found| anyhow!(in_lines(&found)))?;
        let (translate_ms, duration_ms) = (translated.as_millis() as u64, begun.elapsed().as_millis() as u64);
        tracing::debug!(translate_ms, duration_ms, "the cluster as it is now is served");
        // What is said of objects is true by now.
        self.reporter.report(report);
        if let (Some(admission), Some(state)) = (&self.admission, &looked_at) {
            admission.follow(state);
        }
        Ok(())
    }

    async fn translate(&mut self, state: ClusterState) -> anyhow::Result<(Candidate, Report)> {
        let settings = self.settings.clone();
        let mut certificates = std::mem::take(&mut self.certificates);
        let translate = move || {
            let mut translation = translate(&state, &settings);
            let report = Report {
                statuses: std::mem::take(&mut translation.statuses),
                events: std::mem::take(&mut translation.events),
            };
            (Candidate::of_cluster(translation, &mut certificates), report, certificates)
        };
        // A panic costs what was remembered, and this change until the next one.
        let (candidate, report, certificates) =
            tokio::task::spawn_blocking(translate).await.context("the translation was cut short")?;
        self.certificates = certificates;
        Ok((candidate, report))
    }
}

impl App {
    async fn take_up_cluster(self: &Arc<Self>, candidate: &Candidate) -> Result<(), Diagnostics> {
        let mut parts = self.parts.lock().await;
        let previous = self.shared.snapshot.load_full();
        if candidate.means_the_same(&parts.in_force) {
            self.note_findings(&previous, candidate);
            return Ok(());
        }
        match self.take_up(&mut parts, candidate, &previous).await {
            Ok(()) => {
                parts.in_force = candidate.in_force();
                Ok(())
            }
            Err(found) => {
                self.note_rejected(previous.generation, found.clone());
                Err(found)
            }
        }
    }
}

fn in_lines(found: &Diagnostics) -> String {
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
