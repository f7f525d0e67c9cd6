//! From a changed file to a changed Weir: whole, or not at all.
//!
//! ```text
//! watch, SIGHUP ──► Candidate ──errors──► reported; what ran runs on
//!                      └──good──► health checks, discovery: settle ──► certificates, snapshot, listeners, admin, log
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use anyhow::Context;

use super::candidate::{Authors, Candidate, InForce, cannot_listen, unbound};
use super::doors::{addresses, datagrams};
use super::inspect::Inspector;
use super::settle::settle;
use super::{App, Part, Parts, StartError, UpstreamWatcher, Watchers};
use crate::admin::{AdminServer, ReloadResult, ReloadStatus};
use crate::cache::Stores;
use crate::diagnostics::{Diagnostic, Diagnostics, Origin};
use crate::discovery::{Discovery, DnsResolver, Elsewhere, ReplicaWatch, Resolve};
use crate::health::{HealthChecks, Observer};
use crate::jwks::KeyFetcher;
use crate::model::{AccessLog, CacheStore, DiskTier, Model, OcspStapling, UpstreamName};
use crate::ocsp::Stapler;
use crate::proxy::Wanted;
use crate::snapshot::Snapshot;
use crate::snapshot::upstream::Upstream;
use crate::sources::config::report;
use crate::sources::config::watch::Watch;
use crate::telemetry::access_log::AccessLogWriter;
use crate::telemetry::metrics::Reload;
use crate::tls::renew_certificates;
use crate::tokens::Keys;

/// Reloads for as long as it is polled.
pub async fn follow(app: Arc<App>, file: PathBuf, watch: Watch) -> anyhow::Error {
    loop {
        tokio::select! {
            () = watch.changed() => {}
            () = app.reload_now.notified() => {}
        }
        let files = app.reload(&file).await;
        watch.replace(files);
    }
}

impl App {
    /// The first snapshot is in place: opens what the model asks for. Whatever fails ends the start.
    pub(super) async fn begin(self: &Arc<Self>, candidate: &Candidate, part: Part) -> Result<(), StartError> {
        let snapshot = self.shared.snapshot.load_full();
        let mut parts = self.parts.lock().await;
        parts.watchers = self.watch_upstreams(&snapshot, &Watchers::default());
        match part {
            Part::First => {}
            // Its predecessor serves meanwhile.
            Part::Successor => settle(&snapshot, None).await,
        }
        // Certificates that were ordered before are served from the first handshake on.
        let prepared = self
            .acme
            .prepare(&snapshot.model)
            .await
            .map_err(|found| StartError::Refused(report::text(&found.into(), &candidate.source)))?;
        self.acme.apply(prepared).await;
        parts.access_log = open_access_log(self, &snapshot.model).context("cannot open the access log")?;
        self.shared.access_log.store(parts.access_log.as_ref().map(|writer| writer.log().clone()));
        let settings = self.settings(&snapshot).context("cannot set TLS up")?;
        if let Some((name, address, error)) = parts.plane.apply(settings, datagrams(&snapshot)).await.into_iter().next()
        {
            return Err(anyhow::anyhow!("listener \"{name}\": {}", cannot_listen(address, &error)).into());
        }
        self.staple(&mut parts, &snapshot.model);
        let found = self.check_stores(&snapshot.model).await;
        if found.has_errors() {
            return Err(StartError::Refused(report::text(&found, &candidate.source)));
        }
        self.follow_stores(&snapshot.model).await;
        // Before anybody can ask.
        self.note_applied(&snapshot, candidate);
        if let Some(admin) = &snapshot.model.process.admin {
            let server = AdminServer::bind(admin.address, Arc::new(Inspector::new(self)))
                .await
                .with_context(|| format!("the admin listener cannot listen on {}", admin.address))?;
            tracing::info!(address = %server.address(), "admin listening");
            parts.admin = Some(server);
        }
        Ok(())
    }

    /// Reads the file again. Returns the files to watch from now on.
    async fn reload(self: &Arc<Self>, file: &Path) -> Vec<PathBuf> {
        let read = file.to_owned();
        let Ok(candidate) = tokio::task::spawn_blocking(move || Candidate::load(&read)).await else {
            tracing::error!("reading the configuration was cut short");
            return vec![file.to_owned()];
        };
        let mut parts = self.parts.lock().await;
        let previous = self.shared.snapshot.load_full();
        if candidate.is_as(&parts.in_force) {
            self.note_unchanged(previous.generation, candidate.diagnostics);
            return candidate.files;
        }
        match self.take_up(&mut parts, &candidate, &previous).await {
            Ok(()) => {
                parts.in_force = candidate.in_force();
                candidate.files
            }
            Err(found) => {
                self.note_rejected(previous.generation, found);
                self.renew_certificates(&mut parts.in_force, previous.model.clone()).await;
                let union: BTreeSet<_> = candidate.files.into_iter().chain(parts.in_force.files.clone()).collect();
                union.into_iter().collect()
            }
        }
    }

    /// What is served goes on being renewed while a new configuration is mended.
    async fn renew_certificates(&self, in_force: &mut InForce, model: Arc<Model>) {
        let before = in_force.certificates.clone();
        let renew = move || renew_certificates(&model.certificates, &before, SystemTime::now());
        let Ok(renewed) = tokio::task::spawn_blocking(renew).await else { return };
        let mut pairs = renewed.iter().zip(&in_force.certificates);
        if pairs.all(|(new, old)| new.shows_the_same_as(old)) {
            return;
        }
        self.shared.tls.certificates().replace_files(renewed.clone());
        self.note_certificates();
        tracing::info!("certificates renewed");
        in_force.certificates = renewed;
    }

    /// On an error nothing has changed.
    pub(super) async fn take_up(
        self: &Arc<Self>,
        parts: &mut Parts,
        candidate: &Candidate,
        previous: &Arc<Snapshot>,
    ) -> Result<(), Diagnostics> {
        let snapshot = Arc::new(candidate.compile(Some(previous), &self.metrics, &self.stores)?);
        // Those that stand in both are told now; what serves is no worse for it.
        snapshot.relist(&candidate.lists, Instant::now());
        let watchers = self.watch_upstreams(&snapshot, &parts.watchers);
        settle(&snapshot, Some(previous).filter(|_| candidate.authors == Authors::Many)).await;
        let beside = |found: Diagnostics| {
            let mut all = candidate.diagnostics.clone();
            all.extend(found);
            all.sorted()
        };
        let acme = self.acme.prepare(&snapshot.model).await.map_err(|found| beside(found.into()))?;
        let needed = addresses(&snapshot.model, candidate.authors);
        let access_log = self.reserve(parts, &snapshot.model, &previous.model, &needed).await.map_err(beside)?;
        self.apply(parts, &snapshot, previous, candidate, access_log).await;
        self.acme.apply(acme).await;
        // The tasks that only the snapshot before had end here.
        parts.watchers = watchers;
        self.note_applied(&snapshot, candidate);
        Ok(())
    }

    /// Takes what somebody else may have, or may refuse: ports and the access log's file.
    async fn reserve(
        self: &Arc<Self>,
        parts: &mut Parts,
        model: &Model,
        previous: &Model,
        needed: &Wanted,
    ) -> Result<AccessLogChange, Diagnostics> {
        let mut found = Diagnostics::default();
        for (name, address, error) in parts.plane.reserve(needed).err().unwrap_or_default() {
            found.push(unbound(model, &name, address, &error));
        }
        let access_log = self.open_changed_access_log(model, previous).unwrap_or_else(|finding| {
            found.push(finding);
            AccessLogChange::None
        });
        found.extend(self.check_stores(model).await);
        // Last, because it is the one that moves at once.
        if !found.has_errors()
            && let Err(error) = self.move_admin(parts, model).await
            && let Some(admin) = &model.process.admin
        {
            let message = cannot_listen(admin.address, &error);
            found.push(Diagnostic::error(admin.origin.clone(), "admin.address", message));
        }
        if found.has_errors() {
            parts.plane.release();
            return Err(found);
        }
        Ok(access_log)
    }

    /// That answers can be kept where the model says.
    pub(super) async fn check_stores(&self, model: &Model) -> Diagnostics {
        let definitions = model.cache_stores.clone();
        let check = move || {
            let unusable = Stores::unusable(&definitions).into_iter();
            let finding = |(store, disk, error): (&CacheStore, &DiskTier, std::io::Error)| {
                let path = format!("cache-stores.{}.disk.path", store.name);
                let message = format!("answers cannot be kept in {}: {error}", disk.path.display());
                Diagnostic::error(disk.origin.clone(), path, message)
                    .help("name a folder that Weir may make and write to; in a container, on a volume")
            };
            let mut found = Diagnostics::default();
            unusable.for_each(|unusable| found.push(finding(unusable)));
            found
        };
        tokio::task::spawn_blocking(check).await.unwrap_or_default()
    }

    async fn follow_stores(self: &Arc<Self>, model: &Model) {
        let (app, definitions) = (self.clone(), model.cache_stores.clone());
        // It ends early only where it panics: then the stores keep what they had.
        let _ = tokio::task::spawn_blocking(move || app.stores.follow(&definitions)).await;
    }

    fn open_changed_access_log(&self, model: &Model, previous: &Model) -> Result<AccessLogChange, Diagnostic> {
        let (next, before) = (&model.process.access_log, &previous.process.access_log);
        let what = |log: &AccessLog| (log.format, log.target.clone());
        if next.as_ref().map(what) == before.as_ref().map(what) {
            return Ok(AccessLogChange::None);
        }
        open_access_log(self, model).map(AccessLogChange::To).map_err(|error| {
            let origin = next.as_ref().map_or_else(Origin::builtin, |log| log.origin.clone());
            Diagnostic::error(origin, "access-log.file", format!("cannot be opened for writing: {error}"))
                .help("name a file in a folder that is there and that Weir may write to")
        })
    }

    /// From here on nothing can be refused any more; a part that cannot follow is reported and stays as it was.
    async fn apply(
        self: &Arc<Self>,
        parts: &mut Parts,
        snapshot: &Arc<Snapshot>,
        previous: &Arc<Snapshot>,
        candidate: &Candidate,
        access_log: AccessLogChange,
    ) {
        let model = &snapshot.model;
        self.shared.tls.certificates().replace_files(candidate.certificates.clone());
        self.shared.tls.tickets().follow(&model.process.session_tickets);
        parts.plane.outlive(previous, snapshot);
        self.shared.snapshot.store(snapshot.clone());
        snapshot.upstreams.values().for_each(Upstream::take_over);
        match self.settings(snapshot) {
            Ok(settings) => {
                parts.unbound.clear();
                for (name, address, error) in parts.plane.apply(settings, datagrams(snapshot)).await {
                    tracing::error!(listener = %name, %address, %error, "cannot listen");
                    parts.unbound.push((name, cannot_listen(address, &error)));
                }
            }
            Err(error) => tracing::error!(%error, "cannot set TLS up for the listeners"),
        }
        if let AccessLogChange::To(writer) = access_log {
            self.shared.access_log.store(writer.as_ref().map(|writer| writer.log().clone()));
            parts.access_log = writer;
        }
        self.staple(parts, model);
        self.follow_stores(model).await;
        if model.process.threads != previous.model.process.threads {
            tracing::warn!("`threads` is fixed while the process lives; restart to change it");
        }
    }

    fn staple(&self, parts: &mut Parts, model: &Model) {
        match (model.process.ocsp_stapling, &parts.stapler) {
            (OcspStapling::On, None) => parts.stapler = Some(Stapler::start(self.shared.tls.certificates().clone())),
            (OcspStapling::On, Some(_)) => {}
            (OcspStapling::Off, _) => parts.stapler = None,
        }
    }

    async fn move_admin(self: &Arc<Self>, parts: &mut Parts, model: &Model) -> std::io::Result<()> {
        match (&mut parts.admin, &model.process.admin) {
            (None, None) => {}
            (Some(server), Some(admin)) => server.rebind(admin.address).await?,
            (None, Some(admin)) => {
                let server = AdminServer::bind(admin.address, Arc::new(Inspector::new(self))).await?;
                parts.admin = Some(server);
            }
            (Some(_), None) => {
                if let Some(server) = parts.admin.take() {
                    server.stop().await;
                }
            }
        }
        Ok(())
    }

    /// Puts the admin listener back after a successor failed.
    pub(super) async fn restore_admin(self: &Arc<Self>, parts: &mut Parts) {
        let model = self.shared.snapshot.load().model.clone();
        if let Err(error) = self.move_admin(parts, &model).await {
            tracing::error!(%error, "the admin listener cannot come back");
        }
    }

    /// Upstreams that were there `before` go on being watched.
    fn watch_upstreams(&self, snapshot: &Snapshot, before: &Watchers) -> Watchers {
        let metrics = self.metrics.clone();
        let observer: Observer = Arc::new(move |upstream, change| metrics.upstream(upstream).health_changed(change.to));
        let resolvers = &snapshot.model.process.resolvers;
        let resolver: Arc<dyn Resolve> = match self.authors {
            Authors::One => Arc::new(DnsResolver::new(resolvers)),
            Authors::Many => Arc::new(Elsewhere(DnsResolver::new(resolvers))),
        };
        let fetch = |keys: &Arc<Keys>| KeyFetcher::start(keys.clone(), self.metrics.key_set(&keys.source.url));
        let goes_on = |upstream: &Arc<Upstream>, watcher: &UpstreamWatcher| {
            Arc::ptr_eq(upstream, &watcher.upstream) && watcher.resolvers == *resolvers
        };
        let watch = |(name, upstream): (&UpstreamName, &Arc<Upstream>)| {
            let known = before.upstreams.get(name).filter(|watcher| goes_on(upstream, watcher));
            if let Some(known) = known {
                return Some((name.clone(), known.clone()));
            }
            let definition = upstream.definition();
            let has_names = definition.endpoints.iter().any(|spec| spec.address.is_a_name());
            // A cluster has thousands of which nothing is to be found out.
            if definition.health_check.is_none() && !has_names {
                return None;
            }
            let health = HealthChecks::start(upstream.clone(), self.prober.clone(), observer.clone());
            let discovery = Discovery::start(upstream.clone(), resolver.clone());
            let (upstream, resolvers) = (upstream.clone(), resolvers.clone());
            let watcher = UpstreamWatcher { upstream, resolvers, _health: health, _discovery: discovery };
            Some((name.clone(), Arc::new(watcher)))
        };
        Watchers {
            upstreams: snapshot.upstreams.iter().filter_map(watch).collect(),
            _keys: snapshot.jwts.key_sets.values().map(fetch).collect(),
            _replicas: snapshot
                .limits
                .replica_count()
                .cloned()
                .and_then(|count| ReplicaWatch::start(count, resolver.clone())),
        }
    }

    fn note_applied(&self, snapshot: &Snapshot, candidate: &Candidate) {
        self.metrics.retain(&snapshot.model);
        self.metrics.reload(Reload::Applied { generation: snapshot.generation, at: SystemTime::now() });
        self.note_certificates();
        self.note_findings(snapshot, candidate);
        tracing::info!(generation = snapshot.generation, "configuration applied");
    }

    pub(super) fn note_findings(&self, snapshot: &Snapshot, candidate: &Candidate) {
        let (at, diagnostics) = (SystemTime::now(), candidate.diagnostics.clone());
        match candidate.authors {
            Authors::One => diagnostics.iter().for_each(|finding| tracing::warn!("{finding}")),
            // What is wrong with one object would be told with each change of another.
            Authors::Many => {
                let before = self.status.load();
                diagnostics.new_since(&before.diagnostics).for_each(|finding| tracing::warn!("{finding}"));
            }
        }
        let status = ReloadStatus { at, result: ReloadResult::Applied, generation: snapshot.generation, diagnostics };
        self.status.store(Arc::new(status));
    }

    /// When those that are served expire.
    fn note_certificates(&self) {
        self.metrics.set_certificates(self.shared.tls.certificates().store().validities());
    }

    /// Nothing is begun anew: neither health checks nor discovery.
    fn note_unchanged(&self, generation: u64, diagnostics: Diagnostics) {
        self.metrics.reload(Reload::Unchanged);
        tracing::info!(generation, "configuration unchanged");
        let status = ReloadStatus { at: SystemTime::now(), result: ReloadResult::Unchanged, generation, diagnostics };
        self.status.store(Arc::new(status));
    }

    pub(super) fn note_rejected(&self, generation: u64, diagnostics: Diagnostics) {
        self.metrics.reload(Reload::Rejected);
        diagnostics.iter().for_each(|finding| tracing::error!("{finding}"));
        tracing::error!(generation, "configuration rejected; what was served before is served on");
        let status = ReloadStatus { at: SystemTime::now(), result: ReloadResult::Rejected, generation, diagnostics };
        self.status.store(Arc::new(status));
    }
}

/// What becomes of the access log.
enum AccessLogChange {
    None,
    To(Option<AccessLogWriter>),
}

/// Before the first configuration is in force.
pub(super) fn nothing_yet() -> ReloadStatus {
    let diagnostics = Diagnostics::default();
    ReloadStatus { at: SystemTime::now(), result: ReloadResult::Applied, generation: 0, diagnostics }
}

fn open_access_log(app: &App, model: &Model) -> std::io::Result<Option<AccessLogWriter>> {
    let open = |settings| AccessLogWriter::open(settings, app.metrics.access_log_dropped());
    model.process.access_log.as_ref().map(open).transpose()
}
