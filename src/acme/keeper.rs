//! The life of one certificate: held, renewed in time, and ordered again after a failure.
//!
//! ```text
//!            ┌──────────────────────── stored by whoever was faster ─────────────┐
//! look ──► wait until it is due, or changed ──► lock ──► look again ──► order ──► serve
//!   ▲                                                                   │ failed: said in words,
//!   └───────────────────────────────────────────────────────────────────┘ tried again later
//! ```
//!
//! What is served stays served, whatever happens here. What happened stands in the storage before anything else begins.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use futures::FutureExt;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::authority::Failure;
use super::order::Ordering;
use super::plan::{Plan, State, Status, fingerprint, seed_of};
use super::storage::{CertificateNotes, Lease, Progress, StorageError};
use super::surroundings::Surroundings;
use super::{Event, mirror, on_demand, renewal, suggestion};
use crate::timestamp::Timestamp;
use crate::tls::LoadedCertificate;

/// Ends its work when it is dropped.
pub struct Keeper {
    signals: Arc<Signals>,
    surroundings: Arc<Surroundings>,
    task: JoinHandle<()>,
}

struct Signals {
    plan: ArcSwap<Plan>,
    look: Notify,
    status: Mutex<Status>,
    /// Whether there is a certificate, or an attempt to get one has ended.
    settled: watch::Sender<bool>,
}

/// Clocks are set, and machines sleep: nothing is waited for longer without a look.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);

/// Another process is at it.
const LOCKED_PAUSE: Duration = Duration::from_secs(1);

/// The storage could not be read or written, or something broke.
const BROKEN_PAUSE: Duration = Duration::from_secs(30);

impl Keeper {
    pub fn start(plan: Plan, surroundings: Arc<Surroundings>) -> Self {
        let signals = Arc::new(Signals {
            status: Mutex::new(begin_status(&plan, &surroundings)),
            plan: ArcSwap::from_pointee(plan),
            look: Notify::new(),
            settled: watch::Sender::new(false),
        });
        let work = Work { surroundings: surroundings.clone(), signals: signals.clone() };
        Self { signals, surroundings, task: tokio::spawn(work.run()) }
    }

    pub fn surroundings(&self) -> &Arc<Surroundings> {
        &self.surroundings
    }

    pub fn plan(&self) -> Arc<Plan> {
        self.signals.plan.load_full()
    }

    /// It stands elsewhere in the file, and is the same otherwise.
    pub fn move_to(&self, plan: Plan) {
        let since = self.signals.plan.load().since;
        self.signals.plan.store(Arc::new(Plan { since, ..plan }));
    }

    /// Something may have changed in the storage.
    pub fn look(&self) {
        self.signals.look.notify_one();
    }

    pub fn status(&self) -> Status {
        self.signals.status().clone()
    }

    /// It was given up: nobody wrote it down, and nobody wants it any more.
    pub fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    pub fn is(&self, other: &KeeperId) -> bool {
        std::ptr::eq(Arc::as_ptr(&self.signals), other.0.as_ptr())
    }

    pub fn id(&self) -> KeeperId {
        KeeperId(Arc::downgrade(&self.signals))
    }

    /// Ends when there is a certificate, or the first attempt to get one has failed.
    pub fn settled(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut settled = self.signals.settled.subscribe();
        // An error says that the keeper is gone.
        async move { drop(settled.wait_for(|settled| *settled).await) }
    }
}

/// Tells a keeper from a later one of the same name, and keeps none alive.
pub struct KeeperId(Weak<Signals>);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Signals {
    fn status(&self) -> MutexGuard<'_, Status> {
        // Fields are set one by one, and each stands alone.
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn begin_status(plan: &Plan, surroundings: &Surroundings) -> Status {
    let is_served = surroundings.display.shown_for(&plan.name).is_some();
    Status {
        name: plan.name.clone(),
        domains: plan.names(),
        directory: surroundings.settings.directory.clone(),
        challenge: plan.wanted.issuance.challenge,
        on_demand: plan.ask.is_some(),
        state: if is_served { State::Held } else { State::Awaited },
        next_order: SystemTime::UNIX_EPOCH,
        last_attempt: None,
        attempts: 0,
        failures: 0,
        last_error: None,
    }
}

struct Work {
    surroundings: Arc<Surroundings>,
    signals: Arc<Signals>,
}

/// What is stored of a certificate.
struct Found {
    plan: Arc<Plan>,
    current: Option<Arc<LoadedCertificate>>,
    progress: Progress,
    due: SystemTime,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    GoOn,
    /// An expired certificate that nobody wrote down, and that may not be had any more.
    GiveUp,
}

impl Work {
    async fn run(self) {
        let mut in_a_row = 0;
        loop {
            // What breaks here must not leave a certificate to its end without a word.
            let problem = match AssertUnwindSafe(self.turn()).catch_unwind().await {
                Ok(Ok(Then::GoOn)) => {
                    in_a_row = 0;
                    continue;
                }
                Ok(Ok(Then::GiveUp)) => return,
                Ok(Err(error)) => format!("the storage does not work: {error}"),
                Err(_) => "ordering it broke: this is a defect of Weir's; the log has more".into(),
            };
            let plan = self.signals.plan.load();
            tracing::error!(certificate = plan.name, error = problem, "a certificate cannot be looked after");
            (self.surroundings.observer)(Event::Stuck { name: plan.label(), error: &problem });
            self.signals.status().last_error = Some(problem);
            self.signals.settled.send_replace(true);
            in_a_row += 1;
            let pause = BROKEN_PAUSE.saturating_mul(3u32.saturating_pow(in_a_row - 1));
            tokio::time::sleep(pause.min(self.surroundings.settings.retry.longest.max(BROKEN_PAUSE))).await;
        }
    }

    async fn turn(&self) -> Result<Then, StorageError> {
        let found = self.look().await?;
        self.tell(&found);
        let now = SystemTime::now();
        if found.is_given_up(now) {
            self.give_up(&found.plan).await?;
            return Ok(Then::GiveUp);
        }
        let ask_again = found.ask_again();
        if ask_again.is_some_and(|at| at <= now) {
            return self.ask_for_suggestion().await.map(|()| Then::GoOn);
        }
        let due = self.not_before(found.due);
        if found.current.is_none() && due > now {
            // There will be none soon: nobody is to wait for it.
            self.signals.settled.send_replace(true);
        }
        tokio::select! {
            () = sleep_until(ask_again.map_or(due, |ask| ask.min(due))) => {}
            () = self.signals.look.notified() => return Ok(Then::GoOn),
        }
        if due <= SystemTime::now() {
            self.attempt().await?;
        }
        Ok(Then::GoOn)
    }

    /// No sooner than the authority wants.
    fn not_before(&self, due: SystemTime) -> SystemTime {
        self.surroundings.authority.paused_until().map_or(due, |paused| paused.max(due))
    }

    /// What is stored, which is shown from then on where it is new.
    async fn look(&self) -> Result<Found, StorageError> {
        let (surroundings, plan) = (&self.surroundings, self.signals.plan.load_full());
        let mut progress = surroundings.storage.progress(&plan.name).await?;
        progress.forget_the_future(SystemTime::now());
        let current = surroundings.mirror.load(&plan).await?;
        if let Some(current) = &current {
            self.show(&plan, current);
            self.signals.settled.send_replace(true);
        }
        let due = plan.due(current.as_deref(), &progress, &surroundings.settings);
        Ok(Found { plan, current, progress, due })
    }

    fn show(&self, plan: &Plan, current: &Arc<LoadedCertificate>) {
        let display = &self.surroundings.display;
        if !display.shown_for(&plan.name).is_some_and(|shown| shown.shows_the_same_as(current)) {
            display.show(plan, current.clone());
            (self.surroundings.observer)(Event::Changed);
        }
    }

    fn tell(&self, found: &Found) {
        let mut status = self.signals.status();
        status.state = if found.current.is_some() { State::Held } else { State::Awaited };
        status.next_order = self.not_before(found.due);
        (status.failures, status.last_attempt) = (found.progress.failures, found.progress.last_attempt);
        status.attempts = found.progress.attempts;
        status.last_error = found.progress.last_error.clone();
    }

    async fn give_up(&self, plan: &Plan) -> Result<(), StorageError> {
        tracing::info!(certificate = plan.name, "a certificate on demand has expired, and may not be had any more");
        self.surroundings.display.forget(&plan.name);
        self.surroundings.storage.remove_certificate(&plan.name).await?;
        (self.surroundings.observer)(Event::Changed);
        Ok(())
    }

    async fn ask_for_suggestion(&self) -> Result<(), StorageError> {
        let Ok(_permit) = self.surroundings.permits.acquire().await else { return Ok(()) };
        let Some(_lease) = self.lock().await? else { return Ok(()) };
        // Read under the lock: what another process wrote is not written over.
        let Found { plan, current, mut progress, .. } = self.look().await?;
        let Some(current) = current else { return Ok(()) };
        let asked = suggestion::ask(&self.surroundings.authority, &current, SystemTime::now()).await;
        let before = progress.notes_about(&current).cloned().unwrap_or_else(|| notes(&current));
        let suggested = if asked.is_certain { asked.suggested } else { before.suggested };
        progress.notes = Some(CertificateNotes { suggested, ask_again: Some(asked.ask_again), ..before });
        self.surroundings.storage.put_progress(&plan.name, &progress).await
    }

    async fn lock(&self) -> Result<Option<Lease>, StorageError> {
        let lease = self.surroundings.storage.lock(&self.signals.plan.load().name).await?;
        if lease.is_none() {
            tokio::time::sleep(LOCKED_PAUSE).await;
        }
        Ok(lease)
    }

    async fn attempt(&self) -> Result<(), StorageError> {
        let Ok(_permit) = self.surroundings.permits.acquire().await else { return Ok(()) };
        let Some(mut lease) = self.lock().await? else { return Ok(()) };
        let mut found = self.look().await?;
        let now = SystemTime::now();
        if self.not_before(found.due) > now {
            // Another process was faster, or the authority has had enough meanwhile.
            return Ok(());
        }
        // Who cannot write down how it ends does not begin.
        (found.progress.last_attempt, found.progress.on_demand) = (Some(now), found.plan.ask.is_some());
        self.surroundings.storage.put_progress(&found.plan.name, &found.progress).await?;
        self.signals.status().state = State::Ordering;
        let domains = found.plan.names().join(" ");
        tracing::info!(certificate = found.plan.name, domains, "ordering a certificate");
        let outcome = tokio::select! {
            outcome = self.order(&found) => outcome,
            () = lease.lost() => Err("another process has taken over".to_owned().into()),
        };
        let noted = self.note(outcome, found).await;
        self.signals.settled.send_replace(true);
        noted
    }

    async fn order(&self, found: &Found) -> Result<Arc<LoadedCertificate>, Failure> {
        let (plan, surroundings) = (&found.plan, &self.surroundings);
        // The first one has been asked for already.
        if let (Some(url), Some(_)) = (&plan.ask, &found.current) {
            on_demand::ask(&surroundings.http, url, &plan.name).await?;
        }
        let ordering = Ordering {
            name: &plan.name,
            wanted: &plan.wanted,
            read: &|stored| mirror::parse(plan, stored).and_then(|parsed| fresh(parsed, SystemTime::now())),
            authority: &surroundings.authority,
            storage: &*surroundings.storage,
            publisher: &surroundings.publisher,
        };
        ordering.run(found.replaced(&surroundings.settings.directory)).await
    }

    async fn note(&self, outcome: Result<Arc<LoadedCertificate>, Failure>, found: Found) -> Result<(), StorageError> {
        let Found { plan, mut progress, .. } = found;
        let (settings, now) = (&self.surroundings.settings, SystemTime::now());
        (progress.last_attempt, progress.attempts) = (Some(now), progress.attempts + 1);
        match outcome {
            Ok(certificate) => {
                let until = Timestamp::from(certificate.not_after());
                tracing::info!(certificate = plan.name, %until, "a certificate was issued");
                let directory = Some(settings.directory.to_string());
                let notes = CertificateNotes { directory, issued: Some(now), ..notes(&certificate) };
                let Progress { last_attempt, attempts, on_demand, .. } = progress;
                progress = Progress { last_attempt, attempts, on_demand, notes: Some(notes), ..Progress::default() };
                self.show(&plan, &certificate);
                (self.surroundings.observer)(Event::Issued { name: plan.label(), until });
            }
            Err(failure) => {
                progress.failures += 1;
                let seed = seed_of(plan.name.as_bytes()) ^ u64::from(progress.failures);
                let at = renewal::retry_at(now, progress.failures, &settings.retry, failure.retry_after, seed);
                let (failures, again) = (progress.failures, Timestamp::from(at));
                tracing::warn!(certificate = plan.name, error = failure.words, failures, %again,
                    "a certificate could not be had; what is served is served on");
                (progress.not_before, progress.asked_for) = (Some(at), Some(plan.fingerprint(settings)));
                let error = &failure.words;
                (self.surroundings.observer)(Event::Failed { name: plan.label(), in_a_row: failures, error });
                progress.last_error = Some(failure.words);
            }
        }
        self.surroundings.storage.put_progress(&plan.name, &progress).await
    }
}

impl Found {
    fn is_given_up(&self, now: SystemTime) -> bool {
        let has_expired = self.current.as_ref().is_some_and(|current| current.not_after() < now);
        self.plan.ask.is_some() && has_expired && self.progress.failures > 0
    }

    fn ask_again(&self) -> Option<SystemTime> {
        let notes = self.progress.notes_about(self.current.as_deref()?);
        Some(notes.and_then(|notes| notes.ask_again).unwrap_or(SystemTime::UNIX_EPOCH))
    }

    /// The leaf that the authority is told of: one of its own.
    fn replaced(&self, directory: &str) -> Option<&rustls::pki_types::CertificateDer<'static>> {
        let current = self.current.as_ref()?;
        let from = self.progress.notes_about(current)?.directory.as_deref();
        (from == Some(directory)).then(|| &current.key().cert[0])
    }
}

/// An order that was gone on with may have become a certificate long ago.
fn fresh(certificate: Arc<LoadedCertificate>, now: SystemTime) -> Result<Arc<LoadedCertificate>, String> {
    let validity = certificate.validity();
    match validity.not_after - validity.lifetime() / 3 > now {
        true => Ok(certificate),
        false => Err(format!("it is old already: it expires on {}", Timestamp::from(validity.not_after))),
    }
}

fn notes(certificate: &LoadedCertificate) -> CertificateNotes {
    CertificateNotes { leaf: fingerprint(&certificate.key().cert[0]), ..CertificateNotes::default() }
}

async fn sleep_until(at: SystemTime) {
    let left = at.duration_since(SystemTime::now()).unwrap_or_default();
    tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
}
