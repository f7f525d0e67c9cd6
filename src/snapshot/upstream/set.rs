//! The endpoints of an upstream at one time: immutable, swapped whole, with what the policies want precomputed.
//!
//! ```text
//! ResolvedEndpoint… + previous set ──► EndpointSet { primaries, backups } ──► policy::choose ──► Lease
//!                     (state by address)
//! ```

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::budget::RetryBudget;
use super::endpoint::{Endpoint, EndpointState};
use super::moment::Moment;
use super::outlier::Ejection;
use super::peer::PeerTemplate;
use super::queue::Queue;
use super::resolution::ResolvedEndpoint;
use super::rotation::{Rotation, greatest_common_divisor};
use crate::model::{self, Reused};

/// What all sets of an upstream share, over reloads too.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) turns: Turns,
    pub(super) budget: RetryBudget,
    pub(super) queue: Queue,
    /// Held while an endpoint is being ejected.
    pub(super) ejecting: AtomicBool,
    pub(super) ejections: AtomicU64,
    states: States,
}

/// Of addresses, those among them that have left while a request is still with them: DNS that names now these, now those brings
/// them back, and their requests count. What else was known of one that had left may be another machine's.
#[derive(Debug, Default)]
struct States(Mutex<HashMap<SocketAddr, Weak<EndpointState>>>);

impl States {
    fn of(&self, resolved: &[ResolvedEndpoint]) -> Vec<Arc<EndpointState>> {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        states.retain(|_, state| state.strong_count() > 0);
        let of = |resolved: &ResolvedEndpoint| {
            states.get(&resolved.address).and_then(Weak::upgrade).unwrap_or_else(|| {
                let state = Arc::new(EndpointState::new());
                states.insert(resolved.address, Arc::downgrade(&state));
                state
            })
        };
        resolved.iter().map(of).collect()
    }
}

/// Whose turn it is. On a cache line of its own: every pick in rotation writes it.
#[repr(align(128))]
#[derive(Debug, Default)]
pub(super) struct Turns {
    turn: AtomicU64,
    /// Counted on its own, so that the load of a missing endpoint is spread evenly over the others.
    detour: AtomicU64,
}

impl Turns {
    pub(super) fn next(&self) -> u64 {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn next_detour(&self) -> u64 {
        self.detour.fetch_add(1, Ordering::Relaxed)
    }
}

#[derive(Debug)]
pub struct EndpointSet {
    pub(super) definition: Reused<model::Upstream>,
    pub(super) shared: Arc<Shared>,
    /// In the order in which they are asked: backups last.
    pub(super) tiers: [Tier; 2],
}

/// Where an endpoint is in its set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seat {
    pub(super) tier: usize,
    pub(super) index: usize,
}

impl EndpointSet {
    pub(super) fn new(
        definition: Reused<model::Upstream>,
        shared: Arc<Shared>,
        peers: &PeerTemplate,
        resolved: &[ResolvedEndpoint],
        previous: Option<&EndpointSet>,
        now: Moment,
    ) -> Self {
        let checked_alike = previous.is_some_and(|set| checks_alike(&set.definition, &definition));
        let build = |(resolved, state): (&ResolvedEndpoint, Arc<EndpointState>)| {
            let known = previous.and_then(|set| set.endpoints().find(|e| e.address == resolved.address));
            if known.is_none() {
                state.begins(warm_from(previous, now));
            }
            let ejection = Ejection::new(definition.outlier_detection.as_ref(), known.map(|known| &known.ejection));
            let checked = known.filter(|_| checked_alike).map(|known| Arc::clone(&known.checked)).unwrap_or_default();
            Arc::new(Endpoint::new(resolved, peers, ejection, checked, state))
        };
        let states = shared.states.of(resolved);
        let (backups, primaries): (Vec<_>, Vec<_>) = resolved.iter().zip(states).map(build).partition(|e| e.backup);
        Self { definition, shared, tiers: [Tier::new(primaries), Tier::new(backups)] }
    }

    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.tiers.iter().flat_map(|tier| &tier.endpoints)
    }

    pub fn len(&self) -> usize {
        self.tiers.iter().map(|tier| tier.endpoints.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn at(&self, seat: Seat) -> &Arc<Endpoint> {
        &self.tiers[seat.tier].endpoints[seat.index]
    }

    pub(super) fn seats(&self) -> impl Iterator<Item = Seat> {
        let indices = |tier: usize| (0..self.tiers[tier].endpoints.len()).map(move |index| Seat { tier, index });
        (0..self.tiers.len()).flat_map(indices)
    }
}

/// Whether a verdict of the one's checks is one of the other's: how often they come and how many count is no matter.
fn checks_alike(one: &model::Upstream, other: &model::Upstream) -> bool {
    let asked = |upstream: &model::Upstream| {
        upstream.health_check.as_ref().map(|check| (check.probe.clone(), check.port, check.timeout))
    };
    asked(one) == asked(other)
}

/// Endpoints that are there from the start need no slow start: nobody else could carry their share.
fn warm_from(previous: Option<&EndpointSet>, now: Moment) -> Moment {
    if previous.is_some_and(|set| !set.is_empty()) { now } else { Moment::NEVER }
}

/// Endpoints that stand in for each other: the primaries, or the backups.
#[derive(Debug)]
pub(super) struct Tier {
    pub(super) endpoints: Box<[Arc<Endpoint>]>,
    /// Weights, divided by what they have in common.
    pub(super) shares: Box<[u32]>,
    /// Where each endpoint's share of the rotation ends.
    ends: Box<[u64]>,
    pub(super) rotation: Rotation,
}

impl Tier {
    fn new(endpoints: Vec<Arc<Endpoint>>) -> Self {
        let common = endpoints.iter().fold(0, |common, e| greatest_common_divisor(common, e.weight.get().into()));
        let shares: Box<[u32]> = endpoints.iter().map(|e| (u64::from(e.weight.get()) / common) as u32).collect();
        let ends: Box<[u64]> = shares
            .iter()
            .scan(0, |end, share| {
                *end += u64::from(*share);
                Some(*end)
            })
            .collect();
        let rotation = Rotation::over(ends.last().copied().unwrap_or(0), endpoints.len());
        Self { endpoints: endpoints.into(), shares, ends, rotation }
    }

    pub(super) fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// Whether all weights are the same.
    pub(super) fn is_even(&self) -> bool {
        self.rotation.total() == self.len() as u64
    }

    /// The endpoint whose share of the rotation holds `position`.
    pub(super) fn index_at(&self, position: u64) -> usize {
        if self.is_even() { position as usize } else { self.ends.partition_point(|end| *end <= position) }
    }
}
