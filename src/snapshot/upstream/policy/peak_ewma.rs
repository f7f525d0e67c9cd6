//! Two at random; the one with the lower decayed latency times load, per weight.

use super::random::any_but;
use crate::snapshot::upstream::admission::Ask;
use crate::snapshot::upstream::set::Tier;

/// What an endpoint that has not answered yet counts as while a request is on its way to it (microseconds):
/// it is tried at once, but with one request at a time.
const UNKNOWN_LATENCY: f64 = 1e6;

pub(super) fn choose(tier: &Tier, ask: &Ask<'_>) -> Option<usize> {
    let one = any_but(tier, ask, None)?;
    let Some(other) = any_but(tier, ask, Some(one)) else { return Some(one) };
    Some(if cost(tier, ask, other) < cost(tier, ask, one) { other } else { one })
}

fn cost(tier: &Tier, ask: &Ask<'_>, index: usize) -> f64 {
    let endpoint = &tier.endpoints[index];
    let in_flight = f64::from(endpoint.in_flight());
    let share = f64::from(tier.shares[index]) * endpoint.warmth(ask.slow_start(), ask.now);
    match endpoint.state.latency(ask.now) {
        0.0 => UNKNOWN_LATENCY * in_flight / share,
        latency => latency * (in_flight + 1.0) / share,
    }
}
