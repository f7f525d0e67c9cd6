//! A weighted rotation without a schedule: over a total of n shares, n turns visit every share exactly once,
//! and the shares of one endpoint come spread out, not in a row.
//!
//! ```text
//! turn ──► (turn × stride) mod total ──► position      weights 5, 1, 1: A A A B A C A
//! ```
//!
//! The stride shares no divisor with the total (so every position comes up) and lies near its golden section
//! (so neighbours lie far apart). Nothing is kept between turns but their number, so threads need no lock.

const GOLDEN_SECTION: f64 = 0.618_033_988_749_895;

#[derive(Clone, Copy, Debug)]
pub(super) struct Rotation {
    total: u64,
    stride: u64,
}

impl Rotation {
    /// `total` shares of `count` endpoints. Equal endpoints simply take turns.
    pub(super) fn over(total: u64, count: usize) -> Self {
        let stride =
            if total <= count as u64 { 1 } else { coprime_near((total as f64 * GOLDEN_SECTION) as u64, total) };
        Self { total, stride }
    }

    pub(super) fn total(self) -> u64 {
        self.total
    }

    /// The position of a turn, below the total; the total is not zero.
    pub(super) fn at(self, turn: u64) -> u64 {
        let turn = turn % self.total;
        match self.total <= u64::from(u32::MAX) {
            true => turn * self.stride % self.total,
            false => (u128::from(turn) * u128::from(self.stride) % u128::from(self.total)) as u64,
        }
    }
}

fn coprime_near(start: u64, total: u64) -> u64 {
    (start.max(1)..).find(|stride| greatest_common_divisor(*stride, total) == 1).unwrap_or(1)
}

pub(super) fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_position_comes_up_once_in_each_round() {
        for total in [1, 2, 3, 7, 100, 1000] {
            let rotation = Rotation::over(total, 1);
            let mut positions: Vec<u64> = (0..total).map(|turn| rotation.at(turn)).collect();
            positions.sort();
            assert_eq!(positions, (0..total).collect::<Vec<u64>>());
        }
    }

    #[test]
    fn equal_endpoints_take_turns() {
        let rotation = Rotation::over(3, 3);
        assert_eq!((0..6).map(|turn| rotation.at(turn)).collect::<Vec<_>>(), [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn the_shares_of_a_heavy_endpoint_are_spread_out() {
        let rotation = Rotation::over(7, 3);
        let heavy: Vec<bool> = (0..7).map(|turn| rotation.at(turn) < 5).collect();
        assert!(!heavy.windows(4).any(|four| four.iter().all(|h| *h)), "{heavy:?}");
    }

    #[test]
    fn huge_totals_do_not_overflow() {
        let rotation = Rotation::over(u64::from(u32::MAX) * 1000 + 1, 2);
        assert!((0..1000).all(|turn| rotation.at(u64::MAX - turn) < rotation.total()));
    }
}
