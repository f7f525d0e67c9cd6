//! DNS discovery: asks the names of an upstream again and again, and swaps its endpoints when the answers change.
//!
//! ```text
//! Upstream (names) ──► Agenda ──(due)──► Resolve ──► answer ──► Answers ──► Upstream.apply
//!                        ▲                             │ TTL, or back-off
//!                        └─────────────────────────────┘
//! ```
//!
//! Runs on the control plane, one owner for each upstream. All names are asked at once and answers count as they
//! come. A name that fails keeps its last good answer, NXDOMAIN too: health checks tell a dead endpoint sooner
//! than DNS a dead name. What answers mean is `snapshot::upstream::resolve`'s business.

mod agenda;
mod dns;
mod hosts;
mod replicas;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use dns::DnsResolver;
pub use replicas::ReplicaWatch;

use agenda::Agenda;

use crate::snapshot::upstream::{Answers, Question, Records, Upstream, questions};

/// The longest that one question may take, whatever the resolver does.
const PATIENCE: Duration = Duration::from_secs(15);

/// Asks DNS. The error says what is wrong, in words.
#[async_trait]
pub trait Resolve: Send + Sync + 'static {
    async fn resolve(&self, question: &Question) -> Result<Answer, Arc<str>>;
}

/// Leaves out what leads back to this machine. Whoever may write a name into a cluster must not come in by it where Weir's own
/// operation is asked.
pub struct Elsewhere<R>(pub R);

#[async_trait]
impl<R: Resolve> Resolve for Elsewhere<R> {
    async fn resolve(&self, question: &Question) -> Result<Answer, Arc<str>> {
        let mut answer = self.0.resolve(question).await?;
        if let Records::Addresses(addresses) = &mut answer.records {
            let count = addresses.len();
            addresses.retain(|address| !is_here(address.to_canonical()));
            if addresses.is_empty() && count > 0 {
                return Err("it leads back to where Weir runs".into());
            }
        }
        Ok(answer)
    }
}

fn is_here(address: IpAddr) -> bool {
    address.is_loopback() || address.is_unspecified()
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub records: Records,
    pub ttl: Duration,
    /// The addresses of one family are there, and could not be asked for of the other: why.
    pub half: Option<(Family, Arc<str>)>,
}

/// Of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    fn has(self, address: &IpAddr) -> bool {
        address.is_ipv4() == (self == Family::V4)
    }
}

/// The discovery of one upstream. It stops when this is dropped.
#[derive(Debug)]
pub struct Discovery {
    _owner: JoinSet<()>,
}

impl Discovery {
    /// Starts it on the current Tokio runtime. None where the upstream has addresses only.
    pub fn start(upstream: Arc<Upstream>, resolver: Arc<dyn Resolve>) -> Option<Self> {
        if questions(&upstream.definition().endpoints, &Answers::default()).is_empty() {
            return None;
        }
        let mut owner = JoinSet::new();
        owner.spawn(run(upstream, resolver));
        Some(Self { _owner: owner })
    }
}

async fn run(upstream: Arc<Upstream>, resolver: Arc<dyn Resolve>) {
    let mut agenda = Agenda::default();
    let mut answers = Answers::clone(&upstream.answers());
    let mut asked = FuturesUnordered::new();
    loop {
        let wanted = wanted(&upstream, &answers);
        agenda.keep_only(&wanted, Instant::now());
        answers.keep_only(&wanted);
        asked.extend(agenda.take_due(Instant::now()).into_iter().map(|question| ask(Arc::clone(&resolver), question)));
        tokio::select! {
            Some((question, answer)) = asked.next() => {
                take_in(&upstream, &mut agenda, &mut answers, question, answer);
            }
            () = sleep_until(agenda.next_due()) => {}
        }
    }
}

/// Also what is served goes on being asked, while what shall take its place is not all there.
fn wanted(upstream: &Upstream, answers: &Answers) -> BTreeSet<Question> {
    let specs = &upstream.definition().endpoints;
    let mut wanted = questions(specs, answers);
    wanted.extend(questions(specs, &upstream.answers()));
    wanted
}

async fn ask(resolver: Arc<dyn Resolve>, question: Question) -> (Question, Result<Answer, Arc<str>>) {
    let answer = match tokio::time::timeout(PATIENCE, resolver.resolve(&question)).await {
        Ok(answer) => answer,
        Err(_) => Err("no answer from DNS in time".into()),
    };
    (question, answer)
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn take_in(
    upstream: &Upstream,
    agenda: &mut Agenda,
    answers: &mut Answers,
    question: Question,
    answer: Result<Answer, Arc<str>>,
) {
    let now = Instant::now();
    let name = upstream.definition().name.as_str();
    let was_failing = answers.failure(&question).is_some();
    let error = match answer {
        Ok(answer) => {
            let (records, lost) = whole(answer.records, answer.half, answers.addresses(question.name()));
            if lost.is_none() {
                agenda.answered(&question, answer.ttl, now);
                if was_failing {
                    tracing::info!(upstream = name, dns_name = %question, "DNS answers for the name again");
                }
            }
            answers.succeed(question.clone(), records);
            lost
        }
        Err(error) => Some(error),
    };
    if let Some(error) = error {
        agenda.failed(&question, now);
        // Once for each outage; the retries only say it again.
        if !was_failing {
            warn_of(name, &question, &error, answers);
        }
        answers.fail(question, error);
    }
    if upstream.apply(answers.settled(&upstream.answers()), now.into_std()) {
        tracing::info!(upstream = name, endpoints = upstream.endpoints().len(), "DNS changed the endpoints");
    }
}

/// With what was known of a family that could not be asked for now, and why that was. One that was not there before is not missed:
/// some servers have an error for it instead of nothing, always.
fn whole(records: Records, half: Option<(Family, Arc<str>)>, known: &[IpAddr]) -> (Records, Option<Arc<str>>) {
    match (records, half) {
        (Records::Addresses(mut addresses), Some((family, error)))
            if known.iter().any(|address| family.has(address)) =>
        {
            addresses.extend(known.iter().filter(|address| family.has(address)));
            (Records::Addresses(addresses), Some(error))
        }
        (records, _) => (records, None),
    }
}

fn warn_of(upstream: &str, question: &Question, error: &str, answers: &Answers) {
    if answers.knows(question) {
        tracing::warn!(upstream, dns_name = %question, error, "a name does not resolve: its last answer is kept");
    } else {
        tracing::warn!(upstream, dns_name = %question, error, "a name does not resolve: it has no endpoints until it does");
    }
}

#[cfg(test)]
mod tests;
