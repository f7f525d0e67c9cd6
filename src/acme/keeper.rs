//! The life of one certificate: held, renewed in time, and ordered again after a failure.
//!
//! ```text
//!            ┌──────────────────────── stored by whoever was faster ─────────────┐
//! look ──► wait until it is due, or forced, or changed ──► lock ──► look again ──► order ──► serve
//!   ▲                                                                                │ failed: said in words,
//!   └────────────────────────────────────────────────────────────────────────────────┘ tried again later
//! ```
//!
//! What is served stays served, whatever happens here.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;

use super::authority::{Authority, Failure};
use super::challenge::Publisher;
use super::mirror::{self, Mirror};
use super::order::Ordering;
use super::plan::{Plan, State, Status, seed};
use super::storage::{CertificateStorage, Progress, StorageError};
use super::suggestion;
use super::{Event, Observer, on_demand, renewal};
use crate::http_client::HttpClient;
use crate::model;
use crate::tls::LoadedCertificate;

/// What all certificates of one authority have in common.
pub struct Surroundings {
    pub settings: Arc<model::Acme>,
    pub storage: Arc<dyn CertificateStorage>,
    pub mirror: Arc<Mirror>,
    pub authority: Authority,
    pub publisher: Publisher,
    pub http: HttpClient,
    pub observer: Observer,
    /// Orders under way at one time.
    pub permits: Semaphore,
}

/// Ends its work when it is dropped.
pub struct Keeper {
    pub plan: Plan,
    signals: Arc<Signals>,
    task: JoinHandle<()>,
}

struct Signals {
    force: Notify,
    look: Notify,
    status: Mutex<Status>,
    /// Whether there is a certificate, or an attempt to get one has ended.
    settled: watch::Sender<bool>,
}

/// Clocks are set, and machines sleep: nothing is waited for longer without a look.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);

/// Another process is at it.
const LOCKED_PAUSE: Duration = Duration::from_secs(1);

/// The storage could not be read or written.
const STORAGE_PAUSE: Duration = Duration::from_secs(30);

impl Keeper {
    pub fn start(plan: Plan, surroundings: Arc<Surroundings>) -> Self {
        let signals = Arc::new(Signals {
            force: Notify::new(),
            look: Notify::new(),
            status: Mutex::new(begin_status(&plan, &surroundings)),
            settled: watch::Sender::new(false),
        });
        let work = Work { plan: plan.clone(), surroundings, signals: signals.clone() };
        Self { plan, signals, task: tokio::spawn(work.run()) }
    }

    /// Orders now, due or not.
    pub fn force(&self) {
        self.signals.force.notify_one();
    }

    /// Something may have changed in the storage.
    pub fn look(&self) {
        self.signals.look.notify_one();
    }

    pub fn status(&self) -> Status {
        self.signals.status().clone()
    }

    /// Ends when there is a certificate, or the first attempt to get one has failed.
    pub fn settled(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut settled = self.signals.settled.subscribe();
        // An error says that the keeper is gone.
        async move { drop(settled.wait_for(|settled| *settled).await) }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Signals {
    fn status(&self) -> std::sync::MutexGuard<'_, Status> {
        // Fields are set one by one, and each stands alone.
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn begin_status(plan: &Plan, surroundings: &Surroundings) -> Status {
    let is_served = surroundings.mirror.shown_for(&plan.name).is_some();
    Status {
        name: plan.name.clone(),
        domains: plan.names(),
        directory: surroundings.settings.directory.clone(),
        challenge: plan.wanted.issuance.challenge,
        on_demand: plan.ask.is_some(),
        state: if is_served { State::Held } else { State::Awaited },
        next_order: SystemTime::UNIX_EPOCH,
        last_attempt: None,
        failures: 0,
        last_error: None,
    }
}

struct Work {
    plan: Plan,
    surroundings: Arc<Surroundings>,
    signals: Arc<Signals>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    Due,
    Forced,
}

impl Work {
    async fn run(self) {
        loop {
            if let Err(error) = self.turn().await {
                tracing::error!(certificate = self.plan.name, %error, "the ACME storage does not work");
                self.signals.status().last_error = Some(format!("the storage does not work: {error}"));
                tokio::time::sleep(STORAGE_PAUSE).await;
            }
        }
    }

    async fn turn(&self) -> Result<(), StorageError> {
        let (current, progress) = self.look().await?;
        let due = self.due(current.as_deref(), &progress);
        self.tell(current.as_deref(), &progress, due);
        if let Some(current) = &current
            && progress.ask_again.is_none_or(|at| at <= SystemTime::now())
        {
            return self.ask_for_suggestion(current, progress).await;
        }
        let wake = progress.ask_again.filter(|_| current.is_some()).map_or(due, |ask| ask.min(due));
        tokio::select! {
            () = sleep_until(wake) => {}
            () = self.signals.look.notified() => return Ok(()),
            () = self.signals.force.notified() => return self.attempt(Why::Forced).await,
        }
        match due <= SystemTime::now() {
            true => self.attempt(Why::Due).await,
            false => Ok(()),
        }
    }

    /// What is stored, which is shown from then on where it is new.
    async fn look(&self) -> Result<(Option<Arc<LoadedCertificate>>, Progress), StorageError> {
        let progress = self.surroundings.storage.progress(&self.plan.name).await?;
        let current = self.surroundings.mirror.load(&self.plan).await;
        self.show(current.clone());
        if current.is_some() {
            self.signals.settled.send_replace(true);
        }
        Ok((current, progress))
    }

    fn show(&self, current: Option<Arc<LoadedCertificate>>) {
        let mirror = &self.surroundings.mirror;
        let is_shown = match (&current, mirror.shown_for(&self.plan.name)) {
            (Some(new), Some(old)) => new.shows_the_same_as(&old),
            (None, _) => true,
            (Some(_), None) => false,
        };
        if !is_shown {
            mirror.show([(&self.plan, current)]);
            (self.surroundings.observer)(Event::Changed);
        }
    }

    fn due(&self, current: Option<&LoadedCertificate>, progress: &Progress) -> SystemTime {
        self.plan.due(current, progress, &self.surroundings.settings)
    }

    fn tell(&self, current: Option<&LoadedCertificate>, progress: &Progress, due: SystemTime) {
        let mut status = self.signals.status();
        status.state = if current.is_some() { State::Held } else { State::Awaited };
        status.next_order = due;
        (status.failures, status.last_attempt) = (progress.failures, progress.last_attempt);
        status.last_error = progress.last_error.clone();
    }

    async fn ask_for_suggestion(
        &self,
        current: &LoadedCertificate,
        mut progress: Progress,
    ) -> Result<(), StorageError> {
        let Ok(_permit) = self.surroundings.permits.acquire().await else { return Ok(()) };
        let asked = suggestion::ask(&self.surroundings.authority, current, SystemTime::now()).await;
        (progress.suggested, progress.ask_again) = (asked.suggested.or(progress.suggested), Some(asked.ask_again));
        if asked.is_certain {
            progress.suggested = asked.suggested;
        }
        self.surroundings.storage.put_progress(&self.plan.name, &progress).await
    }

    async fn attempt(&self, why: Why) -> Result<(), StorageError> {
        let name = &self.plan.name;
        let Ok(_permit) = self.surroundings.permits.acquire().await else { return Ok(()) };
        let Some(_lease) = self.surroundings.storage.lock(name).await? else {
            tokio::time::sleep(LOCKED_PAUSE).await;
            return Ok(());
        };
        // Another process may have been faster.
        let (current, progress) = self.look().await?;
        if why == Why::Due && self.due(current.as_deref(), &progress) > SystemTime::now() {
            return Ok(());
        }
        self.signals.status().state = State::Ordering;
        tracing::info!(certificate = name, domains = self.plan.names().join(" "), "ordering a certificate");
        let outcome = self.order(current.as_deref()).await;
        let noted = self.note(outcome, current.as_deref(), progress).await;
        self.signals.settled.send_replace(true);
        noted
    }

    async fn order(&self, current: Option<&LoadedCertificate>) -> Result<Arc<LoadedCertificate>, Failure> {
        // Of the first one that has been asked already.
        if let (Some(url), Some(_)) = (&self.plan.ask, current) {
            on_demand::ask(&self.surroundings.http, url, &self.plan.name).await?;
        }
        let ordering = Ordering {
            name: &self.plan.name,
            wanted: &self.plan.wanted,
            authority: &self.surroundings.authority,
            storage: &*self.surroundings.storage,
            publisher: &self.surroundings.publisher,
        };
        let stored = ordering.run(current.map(|current| &current.key().cert[0])).await?;
        Ok(mirror::parse(&self.plan, &stored)
            .map_err(|error| format!("what the authority sent cannot be used: {error}"))?)
    }

    async fn note(
        &self,
        outcome: Result<Arc<LoadedCertificate>, Failure>,
        current: Option<&LoadedCertificate>,
        before: Progress,
    ) -> Result<(), StorageError> {
        let (name, now) = (&self.plan.name, SystemTime::now());
        let settings = &self.surroundings.settings;
        let mut progress = Progress { last_attempt: Some(now), on_demand: self.plan.ask.is_some(), ..before };
        match outcome {
            Ok(certificate) => {
                progress = Progress {
                    last_attempt: progress.last_attempt,
                    on_demand: progress.on_demand,
                    directory: Some(settings.directory.to_string()),
                    ..Progress::default()
                };
                let until = crate::timestamp::Timestamp::from(certificate.not_after());
                tracing::info!(certificate = name, %until, "a certificate was issued");
                self.show(Some(certificate));
                (self.surroundings.observer)(Event::Issued(self.plan.label()));
            }
            Err(failure) => {
                progress.failures += 1;
                let seed = current.map_or(u64::from(std::process::id()), seed) ^ u64::from(progress.failures);
                let at = renewal::retry_at(now, progress.failures, &settings.retry, failure.retry_after, seed);
                let again = crate::timestamp::Timestamp::from(at);
                tracing::warn!(certificate = name, error = failure.words, failures = progress.failures, %again,
                    "a certificate could not be had; what is served is served on");
                progress.not_before = Some(at);
                progress.asked_for = Some(self.plan.fingerprint(settings));
                progress.last_error = Some(failure.words);
                (self.surroundings.observer)(Event::Failed(self.plan.label()));
            }
        }
        self.surroundings.storage.put_progress(name, &progress).await
    }
}

async fn sleep_until(at: SystemTime) {
    let left = at.duration_since(SystemTime::now()).unwrap_or_default();
    tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
}
