//! Assembles the rooms and runs them: what `weir run` and the tests start.
//!
//! ```text
//! file    ──┐
//!           ├─► Candidate ──compile──► Snapshot ──► Shared ──► DataPlane (threads of its own)
//! cluster ──┘                             │
//!   ▲                          health checks, discovery, admin (the control plane's runtime)
//!   └─ watched: `reload` follows the file, `cluster` the objects
//! ```
//!
//! The control plane may be slow or stuck: no request waits for it.

mod admission;
mod candidate;
mod cluster;
mod doors;
mod inspect;
mod issuing;
mod reload;
mod settle;
mod signals;
mod upgrade;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{Mutex, Notify};

use crate::acme::{self, Acme};
use crate::admin::{AdminServer, ReloadStatus};
use crate::cache::Stores;
use crate::discovery::{Discovery, ReplicaWatch};
use crate::health::{HealthChecks, Prober};
use crate::jwks::KeyFetcher;
use crate::model::{ListenerName, Model, Threads, UpstreamName};
use crate::ocsp::Stapler;
use crate::passwords;
use crate::proxy::{DataPlane, RequestId, Shared};
use crate::snapshot::upstream::Upstream;
use crate::sources::config::report;
use crate::sources::config::watch::Watch;
use crate::sources::kube::reporting::{Departure, Reporter};
use crate::telemetry::access_log::AccessLogWriter;
use crate::telemetry::metrics::{Metrics, Order};
use crate::tls::{CertificateResolver, ServerTls};

pub use admission::{Webhook, WebhookCertificate};
pub use candidate::Candidate;
use candidate::{Authors, InForce};
pub use cluster::ClusterOptions;
use signals::Signals;
use upgrade::Inheritance;

/// Health checks, scrapes and reloads; the main thread is a second one.
const CONTROL_THREADS: usize = 1;

/// The runtime of everything that is not a request.
pub fn control_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    crate::tls::install_provider();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("weir-control")
        .enable_all()
        .build()
        .context("cannot start the control plane's threads")
}

/// Who says what is served.
pub enum Options {
    File(PathBuf),
    Cluster(Box<ClusterOptions>),
}

impl Options {
    pub fn new(file: &Path) -> Self {
        Self::File(file.to_owned())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The file has errors: this is the report on them.
    #[error("{0}")]
    Refused(String),
    /// Something outside the file failed.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

/// Weir, serving. Dropped without [`stop`](Self::stop), it ends with its runtime.
pub struct Running {
    pub addresses: Vec<(ListenerName, SocketAddr)>,
    pub admin: Option<SocketAddr>,
    app: Arc<App>,
    signals: Signals,
    /// Follows the source. It ends only where it cannot go on.
    following: tokio::task::JoinHandle<anyhow::Error>,
}

/// What the control plane works with.
struct App {
    /// What an upgrade starts.
    program: PathBuf,
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    /// Where answers are kept.
    stores: Stores,
    acme: Acme,
    /// One change at a time.
    parts: Mutex<Parts>,
    /// One for the life of the process: it keeps connections.
    prober: Arc<Prober>,
    status: ArcSwap<ReloadStatus>,
    draining: AtomicBool,
    authors: Authors,
    /// See [`Programmed`].
    programmed: AtomicBool,
    reload_now: Notify,
    /// Writes back to a cluster, where one is served.
    reporter: Mutex<Option<Arc<Reporter>>>,
}

/// Health checks, discovery and keys of one snapshot. They end with this.
#[derive(Default)]
struct Watchers {
    upstreams: BTreeMap<UpstreamName, Arc<UpstreamWatcher>>,
    _keys: Vec<KeyFetcher>,
    _replicas: Option<ReplicaWatch>,
}

/// Of one upstream; it goes on from snapshot to snapshot where the upstream does.
struct UpstreamWatcher {
    upstream: Arc<Upstream>,
    resolvers: Vec<SocketAddr>,
    _health: Option<HealthChecks>,
    _discovery: Option<Discovery>,
}

/// What a reload changes beside the snapshot.
struct Parts {
    plane: DataPlane,
    watchers: Watchers,
    admin: Option<AdminServer>,
    access_log: Option<AccessLogWriter>,
    /// None: off.
    stapler: Option<Stapler>,
    in_force: InForce,
    /// What is asked for and cannot be listened on, and why.
    unbound: Vec<(ListenerName, String)>,
}

/// Whether what the source holds is what is served.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Programmed {
    Yes,
    /// The source has not been heard yet.
    NotYet,
}

/// Whether somebody serves already where this process begins.
#[derive(Clone, Copy)]
enum Part {
    First,
    Successor,
}

/// Reads the source, opens the listeners and serves. Of a cluster it returns before its objects are known: until they are
/// served, nothing but the admin listener is open.
pub async fn start(options: Options) -> Result<Running, StartError> {
    let inheritance = Inheritance::take();
    let signals = Signals::listen()?;
    crate::tls::install_provider();
    let (app, following) = match options {
        Options::File(file) => start_from_file(file, inheritance).await?,
        Options::Cluster(options) => cluster::start(*options, inheritance).await?,
    };
    let (addresses, admin) = app.addresses().await;
    Ok(Running { addresses, admin, app, signals, following })
}

type Started = (Arc<App>, tokio::task::JoinHandle<anyhow::Error>);

async fn start_from_file(file: PathBuf, mut inheritance: Inheritance) -> Result<Started, StartError> {
    // Before the file is read: no change falls between.
    let watch = Watch::start(vec![file.clone()]).context("cannot watch the configuration")?;
    let candidate = Candidate::load(&file);
    // Before anybody hears that it serves: a file that is named may change at once.
    watch.replace(candidate.files.clone());
    let app = App::assemble(&candidate, Programmed::Yes)?;
    let part = app.inherit(&mut inheritance).await;
    app.begin(&candidate, part).await?;
    inheritance.announce_ready();
    let following = tokio::spawn(reload::follow(app.clone(), file, watch));
    Ok((app, following))
}

/// What certificates that are ordered become visible through.
fn shown(tls: &ServerTls) -> acme::Shown {
    acme::Shown {
        resolver: tls.certificates().clone(),
        challenges: tls.challenges().clone(),
        on_demand: tls.on_demand().clone(),
        tickets: tls.tickets().clone(),
    }
}

fn certificate_observer(shared: &Arc<Shared>, metrics: &Arc<Metrics>) -> acme::Observer {
    let (shared, metrics) = (Arc::downgrade(shared), metrics.clone());
    Arc::new(move |event| match event {
        acme::Event::Changed => {
            if let Some(shared) = shared.upgrade() {
                metrics.set_certificates(shared.tls.certificates().store().validities());
            }
        }
        acme::Event::Issued { name, .. } => metrics.order(name, Order::Issued),
        acme::Event::Failed { name, in_a_row, .. } => metrics.order(name, Order::Failed { in_a_row }),
        // The log has told it.
        acme::Event::Stuck { .. } => {}
    })
}

fn threads(model: &Model) -> usize {
    match model.process.threads {
        Threads::Fixed(n) => n.get(),
        Threads::Auto => std::thread::available_parallelism().map_or(1, usize::from),
    }
}

impl App {
    /// Everything that lives as long as the process, around a first snapshot. Nothing listens yet.
    fn assemble(candidate: &Candidate, programmed: Programmed) -> Result<Arc<Self>, StartError> {
        let metrics = Arc::new(Metrics::new(SystemTime::now()));
        let stores = Stores::default();
        let snapshot = candidate
            .compile(None, &metrics, &stores)
            .map_err(|found| StartError::Refused(report::text(&found, &candidate.source)))?;

        let resolver = CertificateResolver::new(candidate.certificates.clone())
            .context("cannot make the self-signed fallback certificate")?;
        let tls =
            ServerTls::new(Arc::new(resolver), &snapshot.model.process.session_tickets).context("cannot set TLS up")?;
        let model = snapshot.model.clone();
        let shared = Arc::new(Shared {
            snapshot: ArcSwap::from_pointee(snapshot),
            tls,
            access_log: ArcSwapOption::empty(),
            metrics: metrics.clone(),
            passwords: passwords::Checks::new().context("the system has no randomness to give")?,
            mark: RequestId::generate().to_header_value(),
        });
        let acme = Acme::new(shown(&shared.tls), certificate_observer(&shared, &metrics));
        let plane = DataPlane::start(threads(&model), &shared).context("cannot start the data plane")?;
        Ok(Arc::new(Self {
            program: upgrade::program(),
            shared,
            metrics,
            stores,
            acme,
            parts: Mutex::new(Parts {
                plane,
                watchers: Watchers::default(),
                admin: None,
                access_log: None,
                stapler: None,
                in_force: candidate.in_force(),
                unbound: Vec::new(),
            }),
            prober: Arc::new(Prober::new()),
            status: ArcSwap::from_pointee(reload::nothing_yet()),
            draining: AtomicBool::new(false),
            authors: candidate.authors,
            programmed: AtomicBool::new(programmed == Programmed::Yes),
            reload_now: Notify::new(),
            reporter: Mutex::new(None),
        }))
    }

    /// Takes over what a predecessor listens on. Call it before the listeners are opened.
    async fn inherit(&self, inheritance: &mut Inheritance) -> Part {
        let part = if inheritance.sockets.is_empty() { Part::First } else { Part::Successor };
        self.parts.lock().await.plane.inherit(std::mem::take(&mut inheritance.sockets));
        part
    }

    async fn addresses(&self) -> (Vec<(ListenerName, SocketAddr)>, Option<SocketAddr>) {
        let parts = self.parts.lock().await;
        (parts.plane.addresses(), parts.admin.as_ref().map(AdminServer::address))
    }
}

impl Running {
    /// Serves until a signal ends it.
    pub async fn until_stopped(mut self) -> anyhow::Result<()> {
        let (departure, failure) = tokio::select! {
            departure = signals::serve(&self.app, &mut self.signals) => (departure, None),
            failure = &mut self.following => (Departure::Ends, Some(failure)),
        };
        let stopped = self.end(departure).await;
        match failure {
            None => stopped,
            Some(Ok(error)) => Err(error),
            Some(Err(error)) => Err(anyhow::Error::new(error).context("following the configuration was cut short")),
        }
    }

    /// Drains: readiness off, no new connections, what is in flight finishes within its limit.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.end(Departure::Ends).await
    }

    async fn end(self, departure: Departure) -> anyhow::Result<()> {
        self.following.abort();
        let reporter = self.app.reporter.lock().await.take();
        let report = async {
            if let Some(reporter) = reporter {
                reporter.stop(departure).await;
            }
        };
        tokio::join!(report, self.app.drain());
        Ok(())
    }
}

impl App {
    async fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        // A successor may be ordering already.
        self.acme.stop();
        let shutdown = self.shared.snapshot.load().model.process.shutdown.clone();
        if !shutdown.delay.is_zero() {
            tracing::info!(delay_ms = shutdown.delay.as_millis() as u64, "not ready any more; still serving");
            tokio::time::sleep(shutdown.delay).await;
        }
        let mut parts = self.parts.lock().await;
        let left = parts.plane.drain(shutdown.timeout).await;
        match left {
            0 => tracing::info!("drained"),
            left => tracing::warn!(connections = left, "the time to drain is over; closing what is left"),
        }
        if let Some(log) = parts.access_log.take() {
            self.shared.access_log.store(None);
            let finished = tokio::task::spawn_blocking(move || log.finish(LOG_PATIENCE)).await;
            if let Ok(Err(error)) = finished {
                tracing::warn!(%error, "the access log is incomplete");
            }
        }
    }
}

/// How long the last lines of the access log may take to be written.
const LOG_PATIENCE: Duration = Duration::from_secs(5);
