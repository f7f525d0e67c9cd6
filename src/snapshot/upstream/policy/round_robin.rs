//! Round robin by weight: the rotation says whose turn it is; who can't take it leaves it to the others.

use crate::snapshot::upstream::admission::Ask;
use crate::snapshot::upstream::rotation::Rotation;
use crate::snapshot::upstream::set::Tier;

/// Fine enough for a slow start, coarse enough that weights of 2³² don't overflow over many endpoints.
const WARMTH_STEPS: f64 = 1000.0;

pub(super) fn choose(tier: &Tier, ask: &Ask<'_>) -> Option<usize> {
    let index = tier.index_at(tier.rotation.at(ask.turns().next()));
    if ask.takes(&tier.endpoints[index]) { Some(index) } else { detour(tier, ask) }
}

/// Chooses among the admitted alone, in a rotation of their own: so the turns of a missing endpoint are spread
/// over all others, and not given to whoever comes after it.
fn detour(tier: &Tier, ask: &Ask<'_>) -> Option<usize> {
    let admitted = || tier.endpoints.iter().enumerate().filter(|(_, endpoint)| ask.admits(endpoint));
    let share = |index: usize| match ask.slow_start() {
        None => u64::from(tier.shares[index]),
        Some(_) => {
            let warmth = tier.endpoints[index].warmth(ask.slow_start(), ask.now);
            (f64::from(tier.shares[index]) * warmth * WARMTH_STEPS).ceil() as u64
        }
    };
    let (total, count) = admitted().fold((0, 0), |(total, count), (index, _)| (total + share(index), count + 1));
    if count == 0 {
        return None;
    }
    let mut position = Rotation::over(total, count).at(ask.turns().next_detour());
    let mut last = None;
    for (index, _) in admitted() {
        if position < share(index) {
            return Some(index);
        }
        position -= share(index);
        last = Some(index);
    }
    // Reached only where an endpoint went out between the two looks.
    last
}
