//! From a changed file to a changed Weir: whole, or not at all.
//!
//! ```text
//! watch, SIGHUP ──► Candidate ──errors──► reported; what ran runs on
//!                      └──good──► health checks, discovery: settle ──► certificates, snapshot, listeners, admin, log
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;

use super::candidate::{Candidate, cannot_listen};
use super::inspect::Inspector;
use super::{App, Part, Parts, StartError, Watchers};
use crate::admin::{AdminServer, ReloadResult, ReloadStatus};
use crate::diagnostics::Diagnostics;
use crate::discovery::{Discovery, DnsResolver};
use crate::health::HealthChecks;
use crate::model::{Listener, Model};
use crate::proxy::Settings;
use crate::snapshot::Snapshot;
use crate::sources::config::watch::Watch;
use crate::telemetry::access_log::AccessLogWriter;
use crate::telemetry::metrics::Reload;
use crate::tls::CertificateStore;

/// How long a new configuration may take to find out where its upstreams are and how they do, before requests meet it.
/// Names mostly resolve within milliseconds, and an endpoint that hangs is known after the health check's default timeout.
const SETTLE_LIMIT: Duration = Duration::from_secs(2);
const SETTLE_STEP: Duration = Duration::from_millis(2);

/// Reloads for as long as it is polled.
pub async fn follow(app: Arc<App>, watch: Watch) {
    loop {
        tokio::select! {
            () = watch.changed() => {}
            () = app.reload_now.notified() => {}
        }
        let files = app.reload().await;
        watch.replace(files);
    }
}

impl App {
    /// The first snapshot is in place: opens what the model asks for. Whatever fails ends the start.
    pub(super) async fn begin(self: &Arc<Self>, candidate: &Candidate, part: Part) -> Result<(), StartError> {
        let snapshot = self.shared.snapshot.load_full();
        let mut parts = self.parts.lock().await;
        parts.watchers = self.watch_upstreams(&snapshot);
        match part {
            Part::First => {}
            // Its predecessor serves meanwhile.
            Part::Successor => settle(&snapshot).await,
        }
        parts.access_log = open_access_log(self, &snapshot.model).context("cannot open the access log")?;
        self.shared.access_log.store(parts.access_log.as_ref().map(|writer| writer.log().clone()));
        let settings = self.settings(&snapshot.model).context("cannot set TLS up")?;
        if let Some((name, address, error)) = parts.plane.apply(settings).into_iter().next() {
            return Err(anyhow::anyhow!("listener \"{name}\": {}", cannot_listen(address, &error)).into());
        }
        if let Some(admin) = &snapshot.model.process.admin {
            let server = AdminServer::bind(admin.address, Arc::new(Inspector::new(self)))
                .await
                .with_context(|| format!("the admin listener cannot listen on {}", admin.address))?;
            tracing::info!(address = %server.address(), "admin listening");
            parts.admin = Some(server);
        }
        self.note_applied(&snapshot, candidate.diagnostics.clone(), candidate);
        Ok(())
    }

    /// Reads the file again. Returns the files to watch from now on.
    async fn reload(self: &Arc<Self>) -> Vec<PathBuf> {
        let file = self.file.clone();
        let Ok(mut candidate) = tokio::task::spawn_blocking(move || Candidate::load(&file)).await else {
            tracing::error!("reading the configuration was cut short");
            return vec![self.file.clone()];
        };
        let mut parts = self.parts.lock().await;
        let previous = self.shared.snapshot.load_full();
        match candidate.compile(Some(&previous), &self.metrics) {
            Err(found) => self.note_rejected(previous.generation, found),
            Ok(snapshot) => {
                let snapshot = Arc::new(snapshot);
                let watchers = self.watch_upstreams(&snapshot);
                settle(&snapshot).await;
                match parts.plane.reserve(&snapshot.model.listeners) {
                    Err(failed) => {
                        candidate.report_unbound(&snapshot.model, failed);
                        self.note_rejected(previous.generation, candidate.diagnostics.clone());
                    }
                    Ok(()) => {
                        self.apply(&mut parts, &snapshot, &previous.model, &candidate).await;
                        // The tasks of the snapshot before end here.
                        parts.watchers = watchers;
                        self.note_applied(&snapshot, candidate.diagnostics.clone(), &candidate);
                    }
                }
            }
        }
        candidate.files
    }

    /// From here on nothing can be refused any more; a part that cannot follow is reported and stays as it was.
    async fn apply(
        self: &Arc<Self>,
        parts: &mut Parts,
        snapshot: &Arc<Snapshot>,
        previous: &Model,
        candidate: &Candidate,
    ) {
        let model = &snapshot.model;
        self.shared.tls.certificates().replace(CertificateStore::new(candidate.certificates.clone()));
        self.shared.snapshot.store(snapshot.clone());
        match self.settings(model) {
            Ok(settings) => {
                for (name, address, error) in parts.plane.apply(settings) {
                    tracing::error!(listener = %name, %address, %error, "cannot listen");
                }
            }
            Err(error) => tracing::error!(%error, "cannot set TLS up for the listeners"),
        }
        self.move_admin(parts, model).await;
        if model.process.access_log != previous.process.access_log {
            match open_access_log(self, model) {
                Ok(writer) => {
                    self.shared.access_log.store(writer.as_ref().map(|writer| writer.log().clone()));
                    parts.access_log = writer;
                }
                Err(error) => tracing::error!(%error, "cannot open the access log; writing to the one before"),
            }
        }
        if model.process.threads != previous.process.threads {
            tracing::warn!("`threads` is fixed while the process lives; restart to change it");
        }
    }

    async fn move_admin(self: &Arc<Self>, parts: &mut Parts, model: &Model) {
        let moved = match (&mut parts.admin, &model.process.admin) {
            (None, None) => Ok(()),
            (Some(server), Some(admin)) => server.rebind(admin.address).await,
            (None, Some(admin)) => {
                AdminServer::bind(admin.address, Arc::new(Inspector::new(self))).await.map(|server| {
                    parts.admin = Some(server);
                })
            }
            (Some(_), None) => {
                if let Some(server) = parts.admin.take() {
                    server.stop().await;
                }
                Ok(())
            }
        };
        if let Err(error) = moved {
            tracing::error!(%error, "the admin listener cannot move");
        }
    }

    /// Puts the admin listener back after a successor failed.
    pub(super) async fn restore_admin(self: &Arc<Self>, parts: &mut Parts) {
        let model = self.shared.snapshot.load().model.clone();
        self.move_admin(parts, &model).await;
    }

    fn watch_upstreams(&self, snapshot: &Snapshot) -> Watchers {
        let observer: crate::health::Observer = Arc::new(|_, _| ());
        let upstreams = || snapshot.upstreams.values().cloned();
        let check = |upstream| HealthChecks::start(upstream, self.prober.clone(), observer.clone());
        let resolver = Arc::new(DnsResolver::new(&snapshot.model.process.resolvers));
        let discover = |upstream| Discovery::start(upstream, resolver.clone());
        Watchers {
            _health: upstreams().filter_map(check).collect(),
            _discovery: upstreams().filter_map(discover).collect(),
        }
    }

    fn settings(&self, model: &Model) -> Result<Vec<Settings>, rustls::Error> {
        let settings = |listener: &Listener| {
            let tls = listener.tls.as_ref().map(|tls| self.shared.tls.config(tls)).transpose()?;
            Ok(Settings { listener: listener.clone(), tls })
        };
        model.listeners.iter().map(settings).collect()
    }

    fn note_applied(&self, snapshot: &Snapshot, diagnostics: Diagnostics, candidate: &Candidate) {
        let at = SystemTime::now();
        self.metrics.retain(&snapshot.model);
        self.metrics.reload(Reload::Applied { generation: snapshot.generation, at });
        self.metrics.set_certificates(CertificateStore::new(candidate.certificates.clone()).expiries());
        diagnostics.iter().for_each(|finding| tracing::warn!("{finding}"));
        tracing::info!(generation = snapshot.generation, "configuration applied");
        let status = ReloadStatus { at, result: ReloadResult::Applied, generation: snapshot.generation, diagnostics };
        self.status.store(Arc::new(status));
    }

    fn note_rejected(&self, generation: u64, diagnostics: Diagnostics) {
        self.metrics.reload(Reload::Rejected);
        diagnostics.iter().for_each(|finding| tracing::error!("{finding}"));
        tracing::error!(generation, "configuration rejected; what was served before is served on");
        let status = ReloadStatus { at: SystemTime::now(), result: ReloadResult::Rejected, generation, diagnostics };
        self.status.store(Arc::new(status));
    }
}

/// Before the first configuration is in force.
pub(super) fn nothing_yet() -> ReloadStatus {
    let diagnostics = Diagnostics::default();
    ReloadStatus { at: SystemTime::now(), result: ReloadResult::Applied, generation: 0, diagnostics }
}

/// Waits until the upstreams are resolved and checked, or until it has taken too long: a request that came before would be
/// refused for want of endpoints, or sent to one that does not work.
async fn settle(snapshot: &Snapshot) {
    let settled = async {
        while !snapshot.upstreams.values().all(|upstream| upstream.is_settled()) {
            tokio::time::sleep(SETTLE_STEP).await;
        }
    };
    // What is not settled by then is served as it stands.
    let _ = tokio::time::timeout(SETTLE_LIMIT, settled).await;
}

fn open_access_log(app: &App, model: &Model) -> std::io::Result<Option<AccessLogWriter>> {
    let open = |settings| AccessLogWriter::open(settings, app.metrics.access_log_dropped());
    model.process.access_log.as_ref().map(open).transpose()
}
