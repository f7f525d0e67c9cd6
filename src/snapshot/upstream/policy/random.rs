//! At random, by weight.

use crate::snapshot::upstream::admission::Ask;
use crate::snapshot::upstream::random::below;
use crate::snapshot::upstream::set::Tier;

/// Draws before the admitted ones are looked for in order. Each draw is fair on its own.
const DRAWS: usize = 8;

pub(super) fn choose(tier: &Tier, ask: &Ask<'_>) -> Option<usize> {
    (0..DRAWS)
        .map(|_| tier.index_at(below(tier.rotation.total())))
        .find(|index| ask.takes(&tier.endpoints[*index]))
        .or_else(|| first_admitted(tier, ask, None))
}

/// Uniformly at random, whatever the weights, and not `other`.
pub(super) fn any_but(tier: &Tier, ask: &Ask<'_>, other: Option<usize>) -> Option<usize> {
    (0..DRAWS)
        .map(|_| below(tier.len() as u64) as usize)
        .find(|index| Some(*index) != other && ask.admits(&tier.endpoints[*index]))
        .or_else(|| first_admitted(tier, ask, other))
}

/// The first from a random place on.
fn first_admitted(tier: &Tier, ask: &Ask<'_>, other: Option<usize>) -> Option<usize> {
    let start = below(tier.len() as u64) as usize;
    (start..tier.len()).chain(0..start).find(|index| Some(*index) != other && ask.admits(&tier.endpoints[*index]))
}
