//! Whether anybody can tell the two lanes apart: generated cases through both, each lane the other's oracle.
//!
//! ```sh
//! cargo test --test lanes                                                           # a part of it, and what once differed
//! WEIR_LANES_CASES=10000000 cargo test --profile quick --test lanes -- --nocapture   # the whole of it
//! ```
//!
//! `WEIR_LANES_SHOW` plays one seed and shows what came of it, `WEIR_LANES_SEED` begins elsewhere, `WEIR_LANES_SECONDS` ends it, `WEIR_LANES_WORKERS` says in how many threads, and
//! `WEIR_LANES_PAIR=full,full` compares a lane with itself: what then differs is the harness's own.

#[path = "lanes/mod.rs"]
mod lanes;
mod support;

use std::time::Duration;

use lanes::arena::Arena;
use lanes::campaign::{Campaign, difference_of, show_outcomes};
use lanes::known;

/// Fewer would not find in every run what one in a thousand cases shows.
const CASES: u64 = 20_000;
const SECONDS: u64 = 30;
const WORKERS: usize = 20;
/// In percent. Other cases compare the full lane with itself.
const LEAN_SHARE: f64 = 40.0;

fn setting<T: std::str::FromStr>(name: &str, otherwise: T) -> T {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

fn is_default_pair() -> bool {
    std::env::var_os("WEIR_LANES_PAIR").is_none()
}

fn arena(workers: usize) -> Arena {
    let pair = std::env::var("WEIR_LANES_PAIR").unwrap_or_else(|_| "full,auto".into());
    let lanes: Vec<&str> = pair.split(',').collect();
    Arena::open(&lanes, workers)
}

#[test]
fn nobody_can_tell_the_lanes_apart() {
    let cases = setting("WEIR_LANES_CASES", CASES);
    let campaign = Campaign {
        first_seed: setting("WEIR_LANES_SEED", 1),
        cases,
        most: Duration::from_secs(setting("WEIR_LANES_SECONDS", if cases > CASES { 86_400 } else { SECONDS })),
        patience: Duration::from_millis(setting("WEIR_LANES_PATIENCE", 120)),
    };
    if let Ok(seed) = std::env::var("WEIR_LANES_SHOW") {
        return println!("{}", show_outcomes(&mut arena(1).workers[0], seed.parse().expect("a seed")));
    }
    let mut arena = arena(setting("WEIR_LANES_WORKERS", WORKERS));
    let report = campaign.run(&mut arena);
    let lean_share = arena.lean_share();
    println!("{}; {lean_share:.0} % of what was routed took the lean lane\n{}", report.summary(), report.profile());
    report.unsteady.iter().for_each(|line| println!("unsteady: {line}"));
    assert!(report.cases > 0, "no case was played");
    assert!(lean_share > LEAN_SHARE || !is_default_pair(), "the lean lane carried too little to be judged");
    assert!(report.findings.is_empty(), "the lanes differ:\n{}", report.details());
}

#[test]
fn what_once_differed_does_not_any_more() {
    let mut arena = arena(1);
    let cases = known::cases();
    assert!(!cases.is_empty());
    let differs = |(name, case)| {
        let found = difference_of(&mut arena.workers[0], &case, Duration::from_millis(100));
        found.map(|difference| format!("{name}: {difference}"))
    };
    let found: Vec<String> = cases.into_iter().filter_map(differs).collect();
    assert!(found.is_empty(), "the lanes differ again:\n{}", found.join("\n"));
}
