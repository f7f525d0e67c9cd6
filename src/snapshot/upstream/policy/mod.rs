//! How one endpoint of a tier is chosen. A policy is one variant of `LbPolicy` and one file here.
//!
//! ```text
//! Ask + Tier ──► choose ──► index of an endpoint that the ask admits, or none
//! ```
//!
//! A policy takes no lock and allocates nothing; it looks at its first choice first, and at the others only
//! where that one can't be had.

mod hash;
mod least_connections;
mod peak_ewma;
mod random;
mod round_robin;

pub use hash::{address_key, hash_key};

use super::admission::Ask;
use super::set::Tier;
use crate::model::LbPolicy;

pub(super) fn choose(tier: &Tier, ask: &Ask<'_>) -> Option<usize> {
    match (tier.len(), &ask.set.definition.balance) {
        (0, _) => None,
        (1, _) => ask.admits(&tier.endpoints[0]).then_some(0),
        (_, LbPolicy::RoundRobin) => round_robin::choose(tier, ask),
        (_, LbPolicy::LeastConnections) => least_connections::choose(tier, ask),
        (_, LbPolicy::PeakEwma) => peak_ewma::choose(tier, ask),
        (_, LbPolicy::Random) => random::choose(tier, ask),
        (_, LbPolicy::Hash(_)) => match ask.key {
            Some(key) => hash::choose(tier, ask, key),
            None => random::choose(tier, ask),
        },
        (_, LbPolicy::HashSubset(_, size)) => match ask.key {
            Some(key) => hash::choose_of(tier, ask, key, *size),
            None => random::choose(tier, ask),
        },
    }
}
