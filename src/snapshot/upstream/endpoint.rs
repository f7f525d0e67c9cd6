//! One endpoint: what it is, and what is known of it right now.
//!
//! ```text
//! Endpoint (rebuilt with its set)
//!    ├─► Arc<CheckedHealth> (lives as long as the address is checked in the same way)
//!    └─► Arc<EndpointState> (lives as long as the address is configured, or a request is with it)
//!          ├ verdict   read by every pick, written seldom: ejection, slow start
//!          └ load      written by every request: in flight, counters, latency; by each thread on its own
//! ```

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use pingora::upstreams::peer::HttpPeer;

use super::checked::{CheckedHealth, Health};
use super::latency::PeakEwma;
use super::moment::{AtomicMoment, Moment};
use super::outlier::Ejection;
use super::peer::PeerTemplate;
use super::random::mix;
use super::resolution::ResolvedEndpoint;
use crate::sharded::Sharded;

/// How much of its share an endpoint gets when its slow start begins: something must reach it, or it never warms up.
const SLOW_START_FLOOR: f64 = 0.1;

#[derive(Debug)]
pub struct Endpoint {
    pub address: SocketAddr,
    /// The DNS name it was found by.
    pub name: Option<Arc<str>>,
    pub weight: NonZeroU32,
    pub backup: bool,
    /// What a sticky cookie calls it.
    tag: [u8; 16],
    /// Where its keys lie in consistent hashing; the same in every process.
    pub(super) seed: u64,
    peer: HttpPeer,
    pub(super) ejection: Ejection,
    pub(super) checked: Arc<CheckedHealth>,
    pub(super) state: Arc<EndpointState>,
}

impl Endpoint {
    pub(super) fn new(
        resolved: &ResolvedEndpoint,
        peers: &PeerTemplate,
        ejection: Ejection,
        checked: Arc<CheckedHealth>,
        state: Arc<EndpointState>,
    ) -> Self {
        let seed = identity(resolved.address);
        Self {
            address: resolved.address,
            name: resolved.name.clone(),
            weight: resolved.weight,
            backup: resolved.backup,
            tag: hexadecimal(mix(seed)),
            seed,
            peer: peers.build(resolved.address, resolved.name.as_deref()),
            ejection,
            checked,
            state,
        }
    }

    /// The value of a sticky cookie that names this endpoint: stable over restarts, and not its address in clear.
    pub fn sticky_value(&self) -> &str {
        // The tag is hexadecimal digits by construction.
        std::str::from_utf8(&self.tag).unwrap_or_default()
    }

    /// How to connect to it. Boxed, as Pingora wants it. `request_host` is the name for TLS where neither
    /// the upstream nor the endpoint has one.
    pub fn peer(&self, request_host: &str) -> Box<HttpPeer> {
        let mut peer = Box::new(self.peer.clone());
        if peer.is_tls() && peer.sni.is_empty() {
            peer.sni = server_name_for(request_host, self.address);
        }
        peer
    }

    /// Connections of equal numbers are pooled together: to one address, under one policy. A hash.
    pub fn pool(&self) -> u64 {
        self.seed ^ self.peer.group_key
    }

    /// What active health checks last said.
    pub fn health(&self) -> Health {
        self.checked.get()
    }

    /// Whether a check of one is a check of the other.
    pub fn is_checked_as(&self, other: &Endpoint) -> bool {
        Arc::ptr_eq(&self.checked, &other.checked) && self.name == other.name
    }

    pub fn in_flight(&self) -> u32 {
        self.state.in_flight()
    }

    /// How much of its share it gets now: 1 but during its slow start.
    pub(super) fn warmth(&self, slow_start: Option<Duration>, now: Moment) -> f64 {
        let Some(slow_start) = slow_start else { return 1.0 };
        let warm_from = self.state.verdict.warm_from.get();
        if warm_from == Moment::NEVER {
            return 1.0;
        }
        let warming_for = now.since(warm_from);
        if warming_for >= slow_start {
            return 1.0;
        }
        SLOW_START_FLOOR.max(warming_for.as_secs_f64() / slow_start.as_secs_f64())
    }
}

/// What is known of an address. It outlives reloads and changed DNS answers.
#[derive(Debug)]
pub struct EndpointState {
    pub(super) verdict: Verdict,
    limited: Limited,
    load: Sharded<Load>,
}

#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) ejected_until: AtomicMoment,
    /// When its slow start begins or began.
    pub(super) warm_from: AtomicMoment,
}

/// Requests in flight that took one of a limited number of places: a limit is held by one number. On cache lines of its own,
/// so that it doesn't take the verdict away from other threads.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Limited(AtomicU32);

/// What one thread has seen.
#[derive(Debug, Default)]
struct Load {
    /// The others in flight. It wraps below zero where requests end on another thread than they began on: the sum is right.
    in_flight: AtomicU32,
    requests: AtomicU64,
    failures: AtomicU64,
    latency: PeakEwma,
}

impl EndpointState {
    pub(super) fn new() -> Self {
        let never = || AtomicMoment::new(Moment::NEVER);
        let verdict = Verdict { ejected_until: never(), warm_from: never() };
        Self { verdict, limited: Limited::default(), load: Sharded::default() }
    }

    /// Its address is one of the endpoints from now on.
    pub(super) fn begins(&self, warm_from: Moment) {
        self.verdict.ejected_until.set(Moment::NEVER);
        self.verdict.warm_from.set(warm_from);
    }

    /// Takes a place, where the limit leaves one. Sequentially consistent, as is giving it back: a request that
    /// finds no place and one that leaves must not miss each other (see `queue`).
    pub(super) fn enter(&self, limit: Option<NonZeroU32>) -> bool {
        let load = self.load.own();
        let entered = match limit {
            None => {
                load.in_flight.fetch_add(1, Ordering::SeqCst);
                true
            }
            Some(limit) => {
                // There are some only where a reload has brought the limit.
                let unlimited = self.unlimited();
                let one_more = |now: u32| (now.saturating_add(unlimited) < limit.get()).then_some(now + 1);
                self.limited.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).is_ok()
            }
        };
        if entered {
            load.requests.fetch_add(1, Ordering::Relaxed);
        }
        entered
    }

    /// `limit`: the one that it was entered under.
    pub(super) fn leave(&self, limit: Option<NonZeroU32>) {
        let in_flight = if limit.is_some() { &self.limited.0 } else { &self.load.own().in_flight };
        in_flight.fetch_sub(1, Ordering::SeqCst);
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.limited.0.load(Ordering::SeqCst).saturating_add(self.unlimited())
    }

    fn unlimited(&self) -> u32 {
        let sum = self.load.all().map(|load| load.in_flight.load(Ordering::SeqCst)).fold(0, u32::wrapping_add);
        // One that began after its thread's number was read may have ended before another's was.
        if sum > u32::MAX / 2 { 0 } else { sum }
    }

    pub(super) fn note_latency(&self, latency: Duration, now: Moment) {
        self.load.own().latency.observe(latency, now);
    }

    pub(super) fn note_failure(&self) {
        self.load.own().failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Microseconds; the highest that any thread sees.
    pub(super) fn latency(&self, now: Moment) -> f64 {
        self.load.all().map(|load| load.latency.at(now)).fold(0.0, f64::max)
    }

    /// As last observed; None before the first.
    pub(super) fn last_latency(&self) -> Option<Duration> {
        self.load.all().filter_map(|load| load.latency.last()).max_by_key(|(when, _)| *when).map(|(_, latency)| latency)
    }

    pub(super) fn requests(&self) -> u64 {
        self.load.all().map(|load| load.requests.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn failures(&self) -> u64 {
        self.load.all().map(|load| load.failures.load(Ordering::Relaxed)).sum()
    }
}

/// FNV-1a over the address as it is written, then mixed: the same in every process and version.
fn identity(address: SocketAddr) -> u64 {
    super::hash_key(address.to_string().as_bytes())
}

fn hexadecimal(word: u64) -> [u8; 16] {
    std::array::from_fn(|i| b"0123456789abcdef"[(word >> (60 - 4 * i)) as usize & 0xf])
}

/// Pingora turns verification off where the name is empty, so there is always one: at last the address itself.
fn server_name_for(request_host: &str, address: SocketAddr) -> String {
    let host = request_host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() { address.ip().to_string() } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::sharded;

    #[test]
    fn an_address_keeps_its_identity_over_versions() {
        // Clients hold this in cookies, and keys lie by it: a change here moves every session.
        assert_eq!(hexadecimal(mix(identity("10.0.0.1:80".parse().unwrap()))), *b"b32e25383fc60f95");
    }

    #[test]
    fn a_peer_for_tls_is_never_without_a_name() {
        let address = "10.0.0.1:443".parse().unwrap();
        assert_eq!(server_name_for("example.org", address), "example.org");
        assert_eq!(server_name_for("[::1]", address), "::1");
        assert_eq!(server_name_for("", address), "10.0.0.1");
    }

    #[test]
    fn the_limit_is_never_passed() {
        let state = EndpointState::new();
        let limit = NonZeroU32::new(2);
        assert_eq!([state.enter(limit), state.enter(limit), state.enter(limit)], [true, true, false]);
        state.leave(limit);
        assert!(state.enter(limit));
    }

    #[test]
    fn a_limit_that_a_reload_brings_counts_who_is_there_already() {
        let (state, limit) = (EndpointState::new(), NonZeroU32::new(2));
        assert!([None, limit, None].map(|limit| state.enter(limit)).into_iter().all(|entered| entered));
        assert_eq!((state.in_flight(), state.enter(limit)), (3, false));
        // Begun there, ended here.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                sharded::enter(1);
                state.leave(None);
                state.leave(None);
            });
        });
        assert_eq!((state.in_flight(), state.enter(limit), state.requests()), (1, true, 4));
    }

    #[test]
    fn what_any_thread_sees_is_known_to_all() {
        let (state, start) = (EndpointState::new(), Instant::now() + Duration::from_secs(1));
        let later = start + Duration::from_millis(1);
        state.note_latency(Duration::from_millis(500), start.into());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                sharded::enter(1);
                state.note_latency(Duration::from_millis(20), later.into());
                state.note_failure();
            });
        });
        assert!(state.latency(later.into()) > 490_000.0, "a peak is believed by all");
        assert_eq!((state.last_latency(), state.failures()), (Some(Duration::from_millis(20)), 1));
    }
}
