//! Cheap random numbers for spreading load: one generator per thread, so that threads share nothing.
//! Not for secrets.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

thread_local! {
    static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0u8));
}

/// Makes what follows on this thread repeatable.
#[cfg(test)]
pub(crate) fn seed(seed: u64) {
    STATE.set(seed);
}

/// SplitMix64: a Weyl sequence whose steps are mixed.
fn next() -> u64 {
    STATE.with(|state| {
        let step = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(step);
        mix(step)
    })
}

/// Spreads every input bit over the whole word (the finalizer of SplitMix64).
pub(crate) fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// From 0 up to `bound`, exclusive. `bound` is at least 1.
pub(crate) fn below(bound: u64) -> u64 {
    ((u128::from(next()) * u128::from(bound)) >> 64) as u64
}

/// From 0 up to 1, exclusive.
pub(crate) fn fraction() -> f64 {
    (next() >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_numbers_repeat() {
        seed(7);
        let first: Vec<u64> = (0..8).map(|_| below(1000)).collect();
        seed(7);
        assert_eq!(first, (0..8).map(|_| below(1000)).collect::<Vec<u64>>());
    }

    #[test]
    fn numbers_stay_within_their_bounds_and_reach_all_of_them() {
        seed(1);
        let mut seen = [0u32; 5];
        for _ in 0..1000 {
            seen[below(5) as usize] += 1;
            assert!((0.0..1.0).contains(&fraction()));
        }
        assert!(seen.iter().all(|count| *count > 120), "{seen:?}");
    }
}
