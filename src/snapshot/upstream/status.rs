//! What people are shown of an upstream: `/upstreams` and `weir explain`. It changes nothing and counts nothing.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::admission::{Ask, Fault, Leniency};
use super::checked::Health;
use super::endpoint::Endpoint;
use super::moment::Moment;
use super::outlier::is_ejected;
use super::set::EndpointSet;
use super::{PickRequest, Question, Upstream};
use crate::model::{LbPolicy, UpstreamName, WhenAllUnhealthy, format_duration};

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UpstreamStatus {
    pub name: UpstreamName,
    pub balance: LbPolicy,
    pub endpoints: Vec<EndpointStatus>,
    /// Requests in the queue.
    pub waiting: usize,
    /// How often an endpoint was ejected.
    pub ejections: u64,
    /// Names that DNS gave no answer for at the last attempt, and why.
    pub unresolved: Vec<Unresolved>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unresolved {
    pub name: String,
    pub error: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EndpointStatus {
    pub address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Arc<str>>,
    pub weight: u32,
    pub backup: bool,
    pub health: Health,
    /// How long it stays ejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ejected_for: Option<String>,
    /// Why it is out or about to be, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub in_flight: u32,
    pub requests: u64,
    pub failures: u64,
    /// Decayed peak latency; None before the first answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ewma_ms: Option<f64>,
}

/// An endpoint as a request would find it.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub endpoint: Arc<Endpoint>,
    pub standing: Standing,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The policy chooses among these.
    Considered,
    /// A backup, while a primary can be used.
    Reserve,
    /// This request has been there.
    Tried,
    Full,
    /// Left out, and why.
    Out(String),
    /// Known to fail, and considered all the same because all are: why it would be left out.
    LastResort(String),
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Standing::Considered => f.write_str("considered"),
            Standing::Reserve => f.write_str("a backup, not needed while another endpoint can be used"),
            Standing::Tried => f.write_str("tried by this request"),
            Standing::Full => f.write_str("has its limit of connections"),
            Standing::Out(reason) => write!(f, "left out: {reason}"),
            Standing::LastResort(reason) => write!(f, "considered because every endpoint is unhealthy: {reason}"),
        }
    }
}

impl Upstream {
    pub fn status(&self, now: Instant) -> UpstreamStatus {
        let (set, answers) = (self.set.load(), self.answers.load());
        let unresolved = |(question, error): (&Question, &Arc<str>)| Unresolved {
            name: question.to_string(),
            error: Arc::clone(error),
        };
        UpstreamStatus {
            name: self.definition.name.clone(),
            balance: self.definition.balance.clone(),
            endpoints: set.endpoints().map(|endpoint| endpoint_status(&set, endpoint, now.into())).collect(),
            waiting: self.shared.queue.waiting(),
            ejections: self.shared.ejections.load(Ordering::Relaxed),
            unresolved: answers.failures().map(unresolved).collect(),
        }
    }

    /// Every endpoint, primaries first, and how it would stand in the choice for this request.
    pub fn candidates(&self, request: &PickRequest<'_>) -> Vec<Candidate> {
        let set = self.set.load();
        let ask = Ask {
            set: &set,
            now: request.now.into(),
            key: request.key,
            exclude: request.exclude,
            leniency: Leniency::None,
        };
        let all_fail = set.endpoints().all(|endpoint| ask.fault(endpoint).is_some());
        let last_resort = all_fail && self.definition.when_all_unhealthy == WhenAllUnhealthy::TryAll;
        let primary_serves = set.tiers[0].endpoints.iter().any(|endpoint| ask.admits(endpoint));
        let standing = |endpoint: &Arc<Endpoint>| match ask.fault(endpoint) {
            Some(fault) if last_resort => Standing::LastResort(in_words(fault, &ask, endpoint)),
            Some(fault) => Standing::Out(in_words(fault, &ask, endpoint)),
            None if ask.has_tried(endpoint) => Standing::Tried,
            None if ask.is_full(endpoint) => Standing::Full,
            None if endpoint.backup && primary_serves => Standing::Reserve,
            None => Standing::Considered,
        };
        set.endpoints()
            .map(|endpoint| Candidate { endpoint: Arc::clone(endpoint), standing: standing(endpoint) })
            .collect()
    }
}

fn endpoint_status(set: &EndpointSet, endpoint: &Endpoint, now: Moment) -> EndpointStatus {
    let ask = Ask { set, now, key: None, exclude: &[], leniency: Leniency::None };
    let state = &endpoint.state;
    let checked = set.definition.health_check.is_some();
    EndpointStatus {
        address: endpoint.address.to_string(),
        name: endpoint.name.clone(),
        weight: endpoint.weight.get(),
        backup: endpoint.backup,
        health: if checked { endpoint.health() } else { Health::Unknown },
        ejected_for: ejected_for(&ask, endpoint).map(format_duration),
        reason: reason(&ask, endpoint),
        in_flight: endpoint.in_flight(),
        requests: state.requests(),
        failures: state.failures(),
        ewma_ms: state.last_latency().map(|latency| (latency.as_secs_f64() * 1e6).round() / 1e3),
    }
}

fn reason(ask: &Ask<'_>, endpoint: &Endpoint) -> Option<String> {
    if let Some(fault) = ask.fault(endpoint) {
        return Some(in_words(fault, ask, endpoint));
    }
    ask.set.definition.health_check.as_ref()?;
    endpoint.checked.last_failure().map(|error| format!("the last health check failed: {error}"))
}

fn in_words(fault: Fault, ask: &Ask<'_>, endpoint: &Endpoint) -> String {
    match fault {
        Fault::Unhealthy => match endpoint.checked.last_failure() {
            Some(error) => format!("health checks fail: {error}"),
            None => "health checks failed, and have not succeeded often enough since".into(),
        },
        Fault::Ejected => {
            let left = ejected_for(ask, endpoint).map(format_duration).unwrap_or_default();
            let cause = endpoint.ejection.cause().map(|cause| format!(", the last: {cause}")).unwrap_or_default();
            format!("ejected for another {left} because its requests failed{cause}")
        }
    }
}

fn ejected_for(ask: &Ask<'_>, endpoint: &Endpoint) -> Option<Duration> {
    let ejected = ask.set.definition.outlier_detection.is_some() && is_ejected(&endpoint.state, ask.now);
    // Whole seconds, rounded up: nobody reads milliseconds here.
    ejected.then(|| {
        Duration::from_secs(endpoint.state.verdict.ejected_until.get().since(ask.now).as_secs_f64().ceil() as u64)
    })
}
