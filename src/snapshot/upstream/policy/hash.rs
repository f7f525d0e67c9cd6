//! Consistent hashing by rendezvous: each endpoint draws a number from the key and its own identity, and the
//! highest that is admitted wins.
//!
//! ```text
//! key × seed(A), key × seed(B), key × seed(C) ──► the best admitted one
//! ```
//!
//! Against a ring or a table it needs no structure to build or to keep, moves exactly the keys of an endpoint
//! that leaves, and spreads them over all the others instead of the next one alone. The price: it looks at every
//! endpoint, at about 2 ns each (`benches/balancers.rs`).

use std::net::IpAddr;
use std::num::NonZeroU32;

use crate::snapshot::upstream::admission::Ask;
use crate::snapshot::upstream::random::{below, mix};
use crate::snapshot::upstream::set::Tier;

/// The key of a text, for [`PickRequest::key`](crate::snapshot::upstream::PickRequest): the same in every process
/// and version, so that several Weirs agree. FNV-1a, mixed.
pub fn hash_key(text: &[u8]) -> u64 {
    let fnv = text
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    mix(fnv)
}

/// The key of a client's address.
pub fn address_key(client: IpAddr) -> u64 {
    match client {
        IpAddr::V4(address) => hash_key(&address.octets()),
        IpAddr::V6(address) => hash_key(&address.octets()),
    }
}

pub(super) fn choose(tier: &Tier, ask: &Ask<'_>, key: u64) -> Option<usize> {
    best_below(tier, ask, key, f64::INFINITY).map(|(_, index)| index)
}

/// One of the `size` best, by chance; of fewer, where no more are admitted. Looks at every endpoint as often as one is passed over.
pub(super) fn choose_of(tier: &Tier, ask: &Ask<'_>, key: u64, size: NonZeroU32) -> Option<usize> {
    let nth = |nth: u64| {
        let (mut found, mut ceiling) = (None, f64::INFINITY);
        for passed in 0..=nth {
            let Some((score, index)) = best_below(tier, ask, key, ceiling) else { return (passed, found) };
            (found, ceiling) = (Some(index), score);
        }
        (nth + 1, found)
    };
    let wanted = below(u64::from(size.get()));
    match nth(wanted) {
        (there, Some(_)) if there <= wanted => nth(below(there)).1,
        (_, found) => found,
    }
}

fn best_below(tier: &Tier, ask: &Ask<'_>, key: u64, ceiling: f64) -> Option<(f64, usize)> {
    let mut best: Option<(f64, usize)> = None;
    let weigh = Weigh::of(tier, ask);
    for (index, endpoint) in tier.endpoints.iter().enumerate() {
        let drawn = mix(key ^ endpoint.seed);
        let score = match weigh {
            Weigh::Evenly => drawn as f64,
            Weigh::ByShare => {
                let share = f64::from(tier.shares[index]) * endpoint.warmth(ask.slow_start(), ask.now);
                weighted(drawn, share)
            }
        };
        // Whether it is admitted is asked last: it is the costlier question, and seldom matters.
        if score < ceiling && best.is_none_or(|(highest, _)| score > highest) && ask.admits(endpoint) {
            best = Some((score, index));
        }
    }
    best
}

#[derive(Clone, Copy)]
enum Weigh {
    Evenly,
    ByShare,
}

impl Weigh {
    fn of(tier: &Tier, ask: &Ask<'_>) -> Self {
        if tier.is_even() && ask.slow_start().is_none() { Weigh::Evenly } else { Weigh::ByShare }
    }
}

/// Weighted rendezvous: `share / -ln(u)` for a uniform `u` wins in proportion to the share.
fn weighted(drawn: u64, share: f64) -> f64 {
    let uniform = ((drawn >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    share / -uniform.ln()
}
