//! A working day in short: steady traffic of every kind, while the file changes, endpoints come and go, and some clients are slow.
//! Nobody is refused or cut who may expect an answer, and memory stays what it was.
//!
//! Seconds and a gentle rate in the normal run; `WEIR_STORM=full` makes it 1,000 requests a second for 30 minutes
//! (`WEIR_SOAK_SECONDS` says another time), which takes a release:
//! `WEIR_STORM=full WEIR_BIN=target/release/weir cargo test --test soak -- --nocapture`

#[path = "soak/mod.rs"]
mod soak;
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use soak::gauge::{Gauge, Held, open_files};
use soak::ledger::{Ledger, Times};
use soak::scene::Scene;
use soak::slow::SlowClients;
use soak::visitors::Visitors;
use support::{eventually, full_storm};

struct Plan {
    rate: u32,
    length: Duration,
    /// Between two changes.
    pause: Duration,
    /// Slow clients, in crowds that have one for each of their ways.
    crowds: usize,
    /// How much memory may be added between the second quarter and the last: a run of seconds ends before every pool and buffer has
    /// been as full as it gets.
    growth_kib: u64,
}

impl Plan {
    /// The short one leaves a debug build room on a machine that does other things, too.
    fn of_this_run() -> Plan {
        let seconds = |otherwise| {
            let asked = std::env::var("WEIR_SOAK_SECONDS").ok().and_then(|value| value.parse().ok());
            Duration::from_secs(asked.unwrap_or(otherwise))
        };
        if full_storm() {
            Plan { rate: 1000, length: seconds(1800), pause: Duration::from_secs(2), crowds: 2, growth_kib: 8 << 10 }
        } else {
            Plan { rate: 300, length: seconds(14), pause: Duration::from_millis(400), crowds: 1, growth_kib: 32 << 10 }
        }
    }
}

#[test]
fn traffic_is_served_whatever_changes_and_memory_stays_flat() {
    let plan = Plan::of_this_run();
    let ledger = Arc::new(Ledger::open());
    let mut scene = Scene::open();
    let before = (scene.weir.resident_kib(), open_files(scene.weir.id()));

    let visitors = Visitors::start(scene.doors, plan.rate, &ledger);
    let slow = SlowClients::start(scene.doors, plan.crowds, &ledger);
    let gauge = Gauge::start(scene.weir.id(), Duration::from_millis(250));
    let begun = Instant::now();
    let mut changes = 0;
    while begun.elapsed() < plan.length {
        scene.change(changes, &ledger);
        changes += 1;
        std::thread::sleep(plan.pause);
    }
    let held = gauge.stop();
    slow.stop();
    let (kinds, all) = visitors.stop();
    let asked = f64::from(plan.rate) * begun.elapsed().as_secs_f64();

    print_report(&kinds, &all, &ledger);
    println!("{changes} changes, {} files in force", scene.files_in_force());
    println!("resident and open files before: {before:?}; {held:?}");
    assert_eq!(ledger.failures(), 0, "what may expect an answer has one:\n{}", ledger.told());
    // How much a busy machine lets through of the short run says nothing.
    let kept_up = if full_storm() { 0.99 } else { 0.3 };
    assert!(all.count() as f64 > asked * kept_up, "{} requests of {asked:.0}", all.count());
    for deed in SlowClients::deeds().chain(["an origin was killed", "an origin was drained and stopped"]) {
        assert!(ledger.deeds().contains_key(deed), "it was never so that {deed}");
    }
    assert_flat(&held, plan.growth_kib);
    eventually("no request is left over", || {
        (scene.weir.metric("weir_requests_in_flight", &[]) == Some(0.0)).then_some(())
    });
}

fn print_report(kinds: &[(String, Arc<Times>)], all: &Times, ledger: &Ledger) {
    println!("{:<28} requests       50 %     99 %   99.9 %   longest, from when they were due", "");
    for (name, times) in kinds {
        println!("{name:<28}{times}");
    }
    println!("{:<28}{all}", "all");
    for (deed, count) in ledger.deeds() {
        println!("{count:>7} × {deed}");
    }
    println!("{} failures", ledger.failures());
}

/// What is held after the first quarter, in which pools and tables are filled, is enough for the rest.
fn assert_flat(held: &Held, growth_kib: u64) {
    let grown = held.least_kib[3].saturating_sub(held.least_kib[1]);
    assert!(grown < growth_kib, "{grown} KiB more in the last quarter than in the second: {held:?}");
    let more = held.files[3].saturating_sub(held.files[1]);
    assert!(more < 200, "{more} more open files in the last quarter than in the second: {held:?}");
}
