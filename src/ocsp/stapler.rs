//! The task that asks responders and gives the answers to the handshakes.
//!
//! ```text
//! certificates in force ──► due? ──► asked (eight at a time) ──► Standing of each ──► CertificateResolver::staple
//!          └── changed: looked at anew          └── sleeps until the next is due
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use http::Request;
use http::header::CONTENT_TYPE;
use rustls::pki_types::CertificateDer;
use tokio::task::JoinHandle;

use super::request::Question;
use super::response::{self, Status, Unusable};
use super::schedule::Standing;
use crate::http_client::{HttpClient, HttpError};
use crate::tls::CertificateResolver;

/// A responder that needs longer is asked again later.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// Responders that hang must not keep others waiting.
const AT_ONE_TIME: usize = 8;
/// Then what came of it is shown, and changes are looked at.
const AT_ONE_TURN: usize = 64;
/// The task looks at the clock this often at least: machines sleep, and clocks are set.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);

/// Staples for as long as it lives; then they are taken off.
pub struct Stapler {
    outlet: Arc<Outlet>,
    task: JoinHandle<()>,
}

/// What the task gives to handshakes. An aborted task may run on for a moment: closed, nothing comes out any more.
struct Outlet {
    certificates: Arc<CertificateResolver>,
    closed: Mutex<bool>,
}

impl Stapler {
    pub fn start(certificates: Arc<CertificateResolver>) -> Self {
        let outlet = Arc::new(Outlet { certificates, closed: Mutex::new(false) });
        let task = tokio::spawn(run(outlet.clone()));
        Self { outlet, task }
    }
}

impl Drop for Stapler {
    fn drop(&mut self) {
        self.task.abort();
        let mut closed = self.outlet.closed.lock().unwrap_or_else(PoisonError::into_inner);
        *closed = true;
        self.outlet.certificates.staple(HashMap::new());
    }
}

impl Outlet {
    fn give(&self, staples: HashMap<CertificateDer<'static>, Vec<u8>>) {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        if !*closed {
            self.certificates.staple(staples);
        }
    }
}

/// One certificate with its question.
struct Entry {
    /// For the log.
    source: Arc<str>,
    question: Question,
    standing: Standing,
}

type Entries = HashMap<CertificateDer<'static>, Entry>;

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("cannot ask: {0}")]
    Client(#[from] rustls::Error),
    #[error("cannot ask: {0}")]
    Request(#[from] http::Error),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("the responder answers with status {0}")]
    Status(u16),
    #[error("the answer cannot be used: {0}")]
    Unusable(#[from] Unusable),
}

async fn run(outlet: Arc<Outlet>) {
    let mut entries = Entries::new();
    let mut client = None;
    loop {
        // Before they are looked at: no change falls between.
        let changed = outlet.certificates.changed();
        follow(&mut entries, &outlet.certificates);
        let mut news = false;
        for entry in entries.values_mut() {
            if entry.standing.expire(SystemTime::now()) {
                tracing::warn!(certificate = %entry.source, "the stapled OCSP answer is over; none is shown");
                news = true;
            }
        }
        news |= ask_where_due(&mut entries, &mut client).await;
        if news {
            outlet.give(staples(&entries));
        }
        let wakes = entries.values().map(|entry| entry.standing.wakes()).min();
        let pause = wakes.map_or(LONGEST_SLEEP, |at| at.duration_since(SystemTime::now()).unwrap_or_default());
        tokio::select! {
            () = tokio::time::sleep(pause.min(LONGEST_SLEEP)) => {}
            () = changed => {}
        }
    }
}

/// Those that are in force, each with what is known of it already.
fn follow(entries: &mut Entries, certificates: &CertificateResolver) {
    let mut before = std::mem::take(entries);
    for certificate in certificates.store().iter() {
        let chain = &certificate.key().cert;
        let Some(leaf) = chain.first() else { continue };
        let known = before.remove_entry(leaf);
        let fresh = || {
            let question = Question::about(chain)?;
            let entry =
                Entry { source: certificate.source().clone(), question, standing: Standing::new(SystemTime::now()) };
            Some((leaf.clone(), entry))
        };
        entries.extend(known.or_else(fresh));
    }
}

/// Whether anything came of it. The client is made when the first question is asked: it reads the system's roots.
async fn ask_where_due(entries: &mut Entries, client: &mut Option<HttpClient>) -> bool {
    let now = SystemTime::now();
    let due = entries.values_mut().filter(|entry| entry.standing.is_due(now));
    let due: Vec<&mut Entry> = due.take(AT_ONE_TURN).collect();
    if due.is_empty() {
        return false;
    }
    if client.is_none() {
        match HttpClient::new(&[]) {
            Ok(made) => *client = Some(made.with_time_limit(TIME_LIMIT)),
            Err(error) => {
                due.into_iter().for_each(|entry| entry.take(Err(error.clone().into())));
                return false;
            }
        }
    }
    let Some(client) = client.as_ref() else { return false };
    let asking: Vec<_> = due.into_iter().map(|entry| take_answer(client, entry).boxed()).collect();
    futures::stream::iter(asking).buffer_unordered(AT_ONE_TIME).fold(false, async |any, news| any | news).await
}

async fn take_answer(client: &HttpClient, entry: &mut Entry) -> bool {
    let answer = ask(client, &entry.question).await;
    let news = answer.is_ok();
    entry.take(answer);
    news
}

async fn ask(client: &HttpClient, question: &Question) -> Result<(Status, Vec<u8>), Failure> {
    let request = Request::post(question.responder.clone())
        .header(CONTENT_TYPE, "application/ocsp-request")
        .body(Bytes::from(question.encoded()))?;
    let answer = client.send(request).await?;
    if answer.status() != http::StatusCode::OK {
        return Err(Failure::Status(answer.status().as_u16()));
    }
    let response = answer.into_body().to_vec();
    let status = response::check(&response, question, SystemTime::now())?;
    Ok((status, response))
}

impl Entry {
    fn take(&mut self, answer: Result<(Status, Vec<u8>), Failure>) {
        let (now, certificate) = (SystemTime::now(), &self.source);
        match answer {
            Ok((status, response)) => {
                match status {
                    Status::Good(_) => tracing::debug!(%certificate, "an OCSP answer is stapled"),
                    Status::Revoked(_) => {
                        tracing::error!(%certificate, "its authority has revoked this certificate; replace it");
                    }
                }
                self.standing.answered(status, response, now);
            }
            Err(error) => {
                let (responder, kept) = (&self.question.responder, self.standing.staple.is_some());
                let retry_s = self.standing.failed(now).as_secs();
                tracing::warn!(%certificate, %responder, %error, kept, retry_s, "no OCSP answer to staple");
            }
        }
    }
}

fn staples(entries: &Entries) -> HashMap<CertificateDer<'static>, Vec<u8>> {
    let staple = |(leaf, entry): (&CertificateDer<'static>, &Entry)| {
        Some((leaf.clone(), entry.standing.staple.as_ref()?.response.clone()))
    };
    entries.iter().filter_map(staple).collect()
}
