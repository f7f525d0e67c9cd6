//! The fewest requests in flight per weight; round robin among equals.

use crate::snapshot::upstream::admission::Ask;
use crate::snapshot::upstream::set::Tier;

pub(super) fn choose(tier: &Tier, ask: &Ask<'_>) -> Option<usize> {
    // Equals are told apart by whose turn it is: of equal ones the first that is looked at wins.
    let turn = tier.index_at(tier.rotation.at(ask.turns().next()));
    let first = if ask.takes(&tier.endpoints[turn]) { turn } else { (turn + 1) % tier.len() };
    let mut best: Option<(f64, usize)> = None;
    for index in (first..tier.len()).chain(0..first) {
        let endpoint = &tier.endpoints[index];
        if !ask.admits(endpoint) {
            continue;
        }
        let in_flight = endpoint.in_flight();
        if in_flight == 0 {
            return Some(index);
        }
        let warmth = endpoint.warmth(ask.slow_start(), ask.now);
        let load = f64::from(in_flight) / (f64::from(tier.shares[index]) * warmth);
        if best.is_none_or(|(least, _)| load < least) {
            best = Some((load, index));
        }
    }
    best.map(|(_, index)| index)
}
