//! An upstream at work: its endpoints, what is known of them, and how one is chosen.
//!
//! ```text
//! model::Upstream ─┐                        ┌─ pick / acquire ──► Lease ──► report, drop
//! previous Upstream┼─► Upstream ─ ArcSwap ──┤
//! DNS's answers, ──┘         EndpointSet    └─ status, candidates
//! the source's list
//! health's verdicts ──► EndpointState
//! ```
//!
//! What is known of an endpoint (health, ejection, load, latency, slow start) belongs to its address and is
//! carried from set to set and from snapshot to snapshot. Time is always given. A pick takes no lock unless the
//! upstream limits its connections and they are used up. Nothing here asks DNS or probes anything.

mod admission;
mod budget;
mod checked;
mod endpoint;
mod latency;
mod lease;
pub(crate) mod moment;
mod outlier;
mod peer;
mod policy;
mod queue;
pub(crate) mod random;
mod resolution;
mod rotation;
mod set;
mod status;
#[cfg(test)]
pub(crate) mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use rustls::ClientConfig;
use thiserror::Error;
use tokio::sync::watch;

pub use checked::Health;
pub use endpoint::Endpoint;
pub use lease::{Lease, Outcome};
pub use peer::{PeerTemplate, UpstreamTlsError};
pub use policy::{address_key, hash_key};
pub use resolution::{Answers, Question, Records, ResolvedEndpoint, ServiceRecord, questions, resolve};
pub use set::EndpointSet;
pub use status::{Candidate, EndpointStatus, Standing, UpstreamStatus};

use admission::{Ask, Fault, Leniency};
use moment::Moment;
use set::{Seat, Shared};

use crate::model::{self, EndpointAddress, EndpointSpec, ListName, Percent, Reused, WhenAllUnhealthy};
use crate::sharded::Common;
use crate::tls::{UpstreamTlsMaterial, client_config};

/// Tries at a tier whose chosen endpoint was filled by others in the meantime.
const RACES: usize = 3;

#[derive(Debug)]
pub struct Upstream {
    definition: Reused<model::Upstream>,
    peers: PeerTemplate,
    /// How the lean lane speaks with it; none in clear.
    tls: Option<Arc<ClientConfig>>,
    shared: Arc<Shared>,
    set: ArcSwap<Common<EndpointSet>>,
    answers: ArcSwap<Answers>,
    /// What the source says of the list that the definition names.
    listed: ArcSwap<Arc<[EndpointSpec]>>,
    changes: watch::Sender<()>,
}

/// What a request brings to the choice.
#[derive(Clone, Copy, Debug)]
pub struct PickRequest<'a> {
    pub now: Instant,
    /// For `LbPolicy::Hash`: [`hash_key`] of what the model names. None where the request lacks it.
    pub key: Option<u64>,
    /// The value of the sticky cookie, as the client sent it.
    pub sticky: Option<&'a [u8]>,
    /// The endpoints that this request has tried; empty for its first attempt.
    pub exclude: &'a [SocketAddr],
}

impl PickRequest<'_> {
    /// A first attempt without a key or a cookie.
    pub fn at(now: Instant) -> Self {
        Self { now, key: None, sticky: None, exclude: &[] }
    }
}

/// Why there is no endpoint. All of them mean 503.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PickError {
    #[error("the upstream has no endpoints")]
    NoEndpoints,
    #[error("every endpoint of the upstream is unhealthy")]
    AllUnhealthy,
    #[error("every endpoint of the upstream has its limit of connections, {0}")]
    Saturated(Saturation),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Saturation {
    #[error("and no more requests may wait")]
    QueueFull,
    #[error("and none came free in time")]
    QueueTimeout,
}

/// A change of what health checks say of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthChange {
    pub endpoint: SocketAddr,
    pub from: Health,
    pub to: Health,
}

impl Upstream {
    /// `previous` is the upstream of this name in the snapshot before. Its DNS answers and its list are used until new ones
    /// come, and what it knows of addresses that stay is kept.
    pub fn new(
        definition: Reused<model::Upstream>,
        previous: Option<&Upstream>,
        tls: &UpstreamTlsMaterial,
        now: Instant,
    ) -> Result<Self, UpstreamTlsError> {
        let peers = PeerTemplate::new(&definition, tls)?;
        let tls = definition.tls.as_ref().map(|policy| client_config(policy, tls, &[b"http/1.1"])).transpose()?;
        let shared = previous.map(|previous| Arc::clone(&previous.shared)).unwrap_or_default();
        let answers = previous.map(|previous| previous.answers.load_full()).unwrap_or_default();
        let listed = previous.map(|previous| previous.listed.load_full()).unwrap_or_default();
        let known = previous.map(Upstream::endpoints);
        let resolved = resolve(&definition.endpoints, &answers, &listed);
        let set =
            EndpointSet::new(definition.clone(), Arc::clone(&shared), &peers, &resolved, known.as_deref(), now.into());
        Ok(Self {
            definition,
            peers,
            tls,
            shared,
            set: ArcSwap::from_pointee(Common::new(set)),
            answers: ArcSwap::new(answers),
            listed: ArcSwap::new(listed),
            changes: watch::Sender::new(()),
        })
    }

    pub fn definition(&self) -> &Reused<model::Upstream> {
        &self.definition
    }

    pub fn tls(&self) -> Option<&Arc<ClientConfig>> {
        self.tls.as_ref()
    }

    /// The name that TLS asks for; none where the request has to say it.
    pub fn server_name<'a>(&'a self, endpoint: &'a Endpoint) -> Option<&'a str> {
        let own = self.definition.tls.as_ref().and_then(|tls| tls.server_name.as_deref());
        own.or(endpoint.name.as_deref())
    }

    /// The endpoints as they are now.
    pub fn endpoints(&self) -> Arc<EndpointSet> {
        Arc::clone(&self.set.load())
    }

    /// It is the one that is asked from now on: who waits already, or still comes by way of the one before, is served by it.
    pub fn take_over(self: &Arc<Self>) {
        self.shared.queue.follow(self);
    }

    /// Whether a request that was meant for the other can be sent to this one's endpoints.
    fn speaks_as(&self, other: &Upstream) -> bool {
        self.peers.group == other.peers.group
    }

    /// Chooses an endpoint and takes a place there, now or not at all.
    pub fn pick(&self, request: &PickRequest<'_>) -> Result<Lease, PickError> {
        if self.definition.limits.max_connections.is_some() && self.shared.queue.waiting() > 0 {
            // Who waits comes first.
            return Err(PickError::Saturated(Saturation::QueueFull));
        }
        self.select(request)
    }

    /// As [`pick`](Self::pick), but waits in the queue while all places are taken, and no longer than until `deadline`.
    pub async fn acquire(
        self: &Arc<Self>,
        request: &PickRequest<'_>,
        deadline: Option<Instant>,
    ) -> Result<Lease, PickError> {
        match self.pick(request) {
            Err(PickError::Saturated(_)) => Box::pin(self.shared.queue.wait(self, request, deadline)).await,
            picked => picked,
        }
    }

    /// Whether a session stays at the endpoint that its cookie names: a request that went elsewhere did so for want of a
    /// place, and the next one may find it there.
    pub fn keeps_session(&self, request: &PickRequest<'_>) -> bool {
        let set = self.set.load();
        let (now, leniency) = (request.now.into(), Leniency::None);
        let ask = Ask { set: &set, now, key: request.key, exclude: request.exclude, leniency };
        let named = request.sticky.and_then(|value| seat_named(&set, value)).map(|seat| set.at(seat));
        named.is_some_and(|endpoint| ask.fault(endpoint).is_none() && !ask.has_tried(endpoint))
    }

    /// Whether what is with an endpoint may stay there: it is one of them still, and healthy where another could be had.
    pub fn keeps(&self, endpoint: SocketAddr, now: Instant) -> bool {
        let set = self.set.load();
        let ask = Ask { set: &set, now: now.into(), key: None, exclude: &[], leniency: Leniency::None };
        let own = set.endpoints().find(|own| own.address == endpoint);
        own.is_some_and(|own| {
            let is_out = ask.fault(own) == Some(Fault::Unhealthy);
            !is_out || !set.endpoints().any(|other| ask.admits(other))
        })
    }

    /// A request begins that may be tried again: it pays for a share of a retry.
    pub fn note_request(&self, now: Instant) {
        self.shared.budget.note_request(now.into());
    }

    /// Takes a retry out of the budget, which may be `share` of the requests. False: the request ends as it stands.
    pub fn may_retry(&self, now: Instant, share: Percent) -> bool {
        self.shared.budget.withdraw(now.into(), share)
    }

    fn select(&self, request: &PickRequest<'_>) -> Result<Lease, PickError> {
        let set = self.set.load();
        if set.is_empty() {
            return Err(PickError::NoEndpoints);
        }
        let ask =
            |leniency| Ask { set: &set, now: request.now.into(), key: request.key, exclude: request.exclude, leniency };
        let strict = ask(Leniency::None);
        if let Some(lease) = request.sticky.and_then(|value| take_named(&set, &strict, value)) {
            return Ok(lease);
        }
        if let Some(lease) = take(&set, &strict).or_else(|| take(&set, &ask(Leniency::Tried))) {
            return Ok(lease);
        }
        if set.endpoints().any(|endpoint| strict.fault(endpoint).is_none()) {
            return Err(PickError::Saturated(Saturation::QueueFull));
        }
        match self.definition.when_all_unhealthy {
            WhenAllUnhealthy::Refuse => Err(PickError::AllUnhealthy),
            WhenAllUnhealthy::TryAll => take(&set, &ask(Leniency::Failing))
                .or_else(|| take(&set, &ask(Leniency::FailingAndTried)))
                .ok_or(PickError::Saturated(Saturation::QueueFull)),
        }
    }
}

/// The control plane's side.
impl Upstream {
    /// What has to be asked of DNS, by the answers so far.
    pub fn answers(&self) -> Arc<Answers> {
        self.answers.load_full()
    }

    /// Takes new answers in. The set is swapped only where they change it; returns whether they did.
    pub fn apply(&self, answers: Answers, now: Instant) -> bool {
        let listed = self.listed.load();
        let resolved = resolve(&self.definition.endpoints, &answers, &listed);
        let before = resolve(&self.definition.endpoints, &self.answers.load(), &listed);
        self.answers.store(Arc::new(answers));
        self.swap(&resolved, &before, now)
    }

    /// The list that its endpoints stand in, where they do.
    pub fn list(&self) -> Option<&ListName> {
        self.definition.endpoints.iter().find_map(|spec| match &spec.address {
            EndpointAddress::Listed(name) => Some(name),
            EndpointAddress::Ip(_) | EndpointAddress::Dns { .. } | EndpointAddress::Srv(_) => None,
        })
    }

    /// As [`apply`](Self::apply), for what the source says of its list.
    pub fn relist(&self, listed: &Arc<[EndpointSpec]>, now: Instant) -> bool {
        // Of thousands of lists few change.
        if Arc::ptr_eq(&**self.listed.load(), listed) {
            return false;
        }
        let answers = self.answers.load();
        let resolved = resolve(&self.definition.endpoints, &answers, listed);
        let before = resolve(&self.definition.endpoints, &answers, &self.listed.load());
        self.listed.store(Arc::new(listed.clone()));
        self.swap(&resolved, &before, now)
    }

    fn swap(&self, resolved: &[ResolvedEndpoint], before: &[ResolvedEndpoint], now: Instant) -> bool {
        if resolved == before {
            return false;
        }
        let previous = self.endpoints();
        let set = EndpointSet::new(
            self.definition.clone(),
            Arc::clone(&self.shared),
            &self.peers,
            resolved,
            Some(&previous),
            now.into(),
        );
        self.set.store(Arc::new(Common::new(set)));
        self.changes.send_replace(());
        self.shared.queue.serve();
        true
    }

    /// Wakes when the endpoints have changed.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Takes in what one probe of an endpoint found. None where it changes nothing, or nothing is checked.
    pub fn record_probe(
        &self,
        endpoint: &Endpoint,
        verdict: &Result<(), Arc<str>>,
        now: Instant,
    ) -> Option<HealthChange> {
        let thresholds = self.definition.health_check.as_ref()?;
        let (from, to) = endpoint.checked.record(verdict, thresholds)?;
        if from == Health::Unhealthy {
            endpoint.state.verdict.warm_from.set(Moment::from(now));
        }
        self.shared.queue.serve();
        Some(HealthChange { endpoint: endpoint.address, from, to })
    }

    /// Whether everything has been found out that can be at a start: each name was answered or has failed once,
    /// and each endpoint has had its first verdict.
    pub fn is_settled(&self) -> bool {
        let answers = self.answers.load();
        let resolved = questions(&self.definition.endpoints, &answers)
            .iter()
            .all(|question| answers.knows(question) || answers.failure(question).is_some());
        let checked = || self.set.load().endpoints().all(|e| e.health() != Health::Unknown);
        resolved && (self.definition.health_check.is_none() || checked())
    }
}

/// Takes a place at what the policy chooses: among the primaries, or else among the backups.
fn take(set: &Common<EndpointSet>, ask: &Ask<'_>) -> Option<Lease> {
    set.tiers.iter().enumerate().find_map(|(tier, endpoints)| {
        (0..RACES).find_map(|_| {
            let index = policy::choose(endpoints, ask)?;
            Lease::take(set, Seat { tier, index }, ask.now)
        })
    })
}

/// Takes a place at the endpoint that a sticky cookie names, backup or not: the session is there.
fn take_named(set: &Common<EndpointSet>, ask: &Ask<'_>, value: &[u8]) -> Option<Lease> {
    let seat = seat_named(set, value)?;
    if ask.admits(set.at(seat)) { Lease::take(set, seat, ask.now) } else { None }
}

fn seat_named(set: &EndpointSet, value: &[u8]) -> Option<Seat> {
    set.seats().find(|seat| set.at(*seat).sticky_value().as_bytes() == value)
}
