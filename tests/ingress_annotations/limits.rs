//! How often, how many at once, and how fast.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::stage::{Draft, Site, stage};
use crate::support::Answer;

/// The statuses of so many requests, one after the other.
fn in_a_row(site: &Site<'_>, count: usize) -> Vec<u16> {
    let mut connection = site.connect();
    (0..count).map(|_| site.on(&mut connection, "/").status).collect()
}

fn draft(name: &str) -> Draft {
    stage().draft(name)
}

#[test]
fn a_client_that_asks_too_often_is_told_503() {
    // Six at once at a rate of one, as in ingress-nginx; a busy machine may let some more through.
    let statuses = in_a_row(&draft("by-second").with("limit-rps", "1").serve(), 60);
    assert_eq!(statuses[..6], [200; 6]);
    assert!(statuses.contains(&503), "{statuses:?}");
    let statuses = in_a_row(&draft("by-minute").with("limit-rpm", "1").serve(), 7);
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 503]);
    let site = draft("by-multiplier").with("limit-rpm", "1").with("limit-burst-multiplier", "2").serve();
    assert_eq!(in_a_row(&site, 4), [200, 200, 200, 503]);
}

#[test]
fn clients_of_the_list_are_not_limited() {
    for key in ["limit-allowlist", "limit-whitelist"] {
        let site =
            draft(key).with("limit-rpm", "1").with("limit-burst-multiplier", "1").with(key, "127.0.5.0/24").serve();
        let ask = |address: [u8; 4]| site.ask("GET", "/").from(address).send().status;
        let asked = |address| [ask(address), ask(address), ask(address)];
        assert_eq!((asked([127, 0, 5, 1]), asked([127, 0, 6, 1])), ([200; 3], [200, 200, 503]), "{key}");
    }
}

#[test]
fn a_client_has_so_many_requests_in_flight_at_once() {
    let stage = stage();
    let (go_on, told) = channel::<()>();
    let told = Arc::new(Mutex::new(told));
    let origin = stage.origin("in-flight", move |_| {
        // Until it is told to.
        let _ = told.lock().map(|told| told.recv());
        Answer::ok("served")
    });
    let site = draft("in-flight").with("limit-connections", "1").path("/", "in-flight").serve();
    let mut first = site.connect();
    first.write(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", site.host));
    origin.wait_for_requests(1);
    assert_eq!(site.get("/").status, 503);
    drop(go_on);
    assert_eq!(first.read_response().text(), "served");
    crate::support::eventually("there is a place again", || (site.get("/").status == 200).then_some(()));
}

/// How long an answer of this many KiB takes.
fn time_of(site: &Site<'_>, kib: usize) -> Duration {
    let begun = Instant::now();
    assert_eq!(site.get("/").body.len(), kib << 10);
    begun.elapsed()
}

#[test]
fn answers_flow_as_fast_as_the_ingress_says() {
    let stage = stage();
    let _origin = stage.origin("large", |_| Answer::ok(&"x".repeat(210 << 10)));
    let site = |name: &str, after: &str| {
        draft(name).with("limit-rate", "100").with("limit-rate-after", after).path("/", "large").serve()
    };
    // 210 KiB at 100 KiB a second.
    assert!(time_of(&site("slowed", "0"), 210) > Duration::from_secs(1));
    let draft = draft("slowed-later").with("limit-rate", "10").with("limit-rate-after", "205").path("/", "large");
    // All of it would take 21 seconds.
    assert!(time_of(&draft.serve(), 210) < Duration::from_secs(12));
}
