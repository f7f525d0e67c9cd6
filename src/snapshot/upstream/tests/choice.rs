//! Which endpoint a request gets.

use super::*;

#[test]
fn round_robin_takes_turns_and_counts_weights() {
    let now = start();
    let upstream = build(&definition("10.0.0.1:80,10.0.0.2:80"), now);
    let turns: Vec<String> = (0..4).map(|_| picked(&upstream, now)).collect();
    assert_eq!(turns, ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.1:80", "10.0.0.2:80"]);

    let upstream = build(&definition("10.0.0.1:80 weight 30,10.0.0.2:80 weight 10"), now);
    let counts = spread(&upstream, 400, now);
    assert_eq!((counts["10.0.0.1:80"], counts["10.0.0.2:80"]), (300, 100));
}

#[test]
fn the_turns_of_a_missing_endpoint_go_to_all_the_others() {
    let now = start();
    let mut definition = definition(&numbered(6));
    definition.health_check = Some(checked());
    let upstream = build(&definition, now);
    for out in ["10.0.0.1:80", "10.0.0.3:80"] {
        set_health(&upstream, out, Err("refused"), now);
    }
    let counts = spread(&upstream, 1200, now);
    assert_eq!(counts.len(), 4);
    assert!(counts.values().all(|count| *count == 300), "{counts:?}");
}

#[test]
fn least_connections_prefers_the_idle_and_takes_turns_among_equals() {
    let now = start();
    let mut definition = definition("10.0.0.1:80 weight 2,10.0.0.2:80");
    definition.balance = LbPolicy::LeastConnections;
    let upstream = build(&definition, now);
    let held: Vec<Lease> = (0..30).map(|_| upstream.pick(&PickRequest::at(now)).unwrap()).collect();
    assert_eq!(endpoint(&upstream, "10.0.0.1:80").in_flight(), 20);
    assert_eq!(endpoint(&upstream, "10.0.0.2:80").in_flight(), 10);
    drop(held);
    let counts = spread(&upstream, 300, now);
    assert_eq!((counts["10.0.0.1:80"], counts["10.0.0.2:80"]), (200, 100));
}

#[test]
fn peak_ewma_leaves_the_slow_endpoint_and_comes_back_with_time() {
    random::seed(3);
    let now = start();
    let mut definition = definition("10.0.0.1:80,10.0.0.2:80");
    definition.balance = LbPolicy::PeakEwma;
    let upstream = build(&definition, now);
    for _ in 0..20 {
        let lease = upstream.pick(&PickRequest::at(now)).unwrap();
        let slow = lease.endpoint().address.to_string() == "10.0.0.2:80";
        let latency = Duration::from_millis(if slow { 800 } else { 5 });
        lease.report(Outcome::Answered { status: 200, latency: Some(latency) }, now);
    }
    let counts = spread(&upstream, 100, now);
    assert_eq!(counts.get("10.0.0.2:80"), None, "{counts:?}");
    let fast = endpoint(&upstream, "10.0.0.1:80");
    let later = now + Duration::from_secs(120);
    fast.state.note_latency(Duration::from_millis(5), later.into());
    assert_eq!(picked(&upstream, later), "10.0.0.2:80");
}

#[test]
fn peak_ewma_tries_an_endpoint_it_does_not_know_with_one_request_at_a_time() {
    let now = start();
    let mut definition = definition("10.0.0.1:80,10.0.0.2:80");
    definition.balance = LbPolicy::PeakEwma;
    let upstream = build(&definition, now);
    endpoint(&upstream, "10.0.0.1:80").state.note_latency(Duration::from_millis(5), now.into());
    let held: Vec<Lease> = (0..20).map(|_| upstream.pick(&PickRequest::at(now)).unwrap()).collect();
    assert_eq!(endpoint(&upstream, "10.0.0.2:80").in_flight(), 1);
    drop(held);
}

#[test]
fn peak_ewma_under_load_follows_the_weights() {
    let now = start();
    let mut definition = definition("10.0.0.1:80 weight 3,10.0.0.2:80");
    definition.balance = LbPolicy::PeakEwma;
    let upstream = build(&definition, now);
    for known in upstream.endpoints().endpoints() {
        known.state.note_latency(Duration::from_millis(5), now.into());
    }
    let held: Vec<Lease> = (0..40).map(|_| upstream.pick(&PickRequest::at(now)).unwrap()).collect();
    let heavy = endpoint(&upstream, "10.0.0.1:80").in_flight();
    assert!((29..=31).contains(&heavy), "{heavy} of {}", held.len());
}

#[test]
fn a_request_without_the_key_is_spread() {
    random::seed(5);
    let now = start();
    let mut definition = definition("10.0.0.1:80,10.0.0.2:80");
    definition.balance = LbPolicy::Hash(HashKey::Header("x-user".into()));
    let upstream = build(&definition, now);
    let first = (0..1000).filter(|_| picked(&upstream, now) == "10.0.0.1:80").count();
    assert!((400..600).contains(&first), "{first} of 1000");
}

#[test]
fn a_sticky_cookie_is_honoured_while_its_endpoint_is_usable() {
    let now = start();
    let mut definition = definition("10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 backup");
    definition.health_check = Some(checked());
    let upstream = build(&definition, now);
    let with = |value: &str| {
        let request = PickRequest { sticky: Some(value.as_bytes()), ..PickRequest::at(now) };
        upstream.pick(&request).unwrap().endpoint().address.to_string()
    };
    for address in ["10.0.0.2:80", "10.0.0.3:80"] {
        let value = endpoint(&upstream, address).sticky_value().to_owned();
        assert!(!value.contains("10.0"), "the address shows in {value}");
        assert!((0..5).all(|_| with(&value) == address));
        set_health(&upstream, address, Err("refused"), now);
        assert_ne!(with(&value), address);
    }
    assert_eq!(with("nonsense"), "10.0.0.1:80");
}

#[test]
fn backups_serve_only_while_no_primary_can() {
    let now = start();
    let mut definition = definition("10.0.0.1:80,10.0.0.2:80 backup");
    definition.health_check = Some(checked());
    let upstream = build(&definition, now);
    assert!((0..4).all(|_| picked(&upstream, now) == "10.0.0.1:80"));
    set_health(&upstream, "10.0.0.1:80", Err("refused"), now);
    assert!((0..4).all(|_| picked(&upstream, now) == "10.0.0.2:80"));
    set_health(&upstream, "10.0.0.1:80", Ok(()), now);
    assert_eq!(picked(&upstream, now), "10.0.0.1:80");
}

#[test]
fn a_retry_goes_elsewhere_unless_there_is_nowhere_else() {
    let now = start();
    let upstream = build(&definition("10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 backup"), now);
    let [one, two, three]: [SocketAddr; 3] = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"].map(|a| a.parse().unwrap());
    let excluding = |exclude: &[SocketAddr]| {
        upstream.pick(&PickRequest { exclude, ..PickRequest::at(now) }).unwrap().endpoint().address
    };
    assert!((0..4).all(|_| excluding(&[one]) == two));
    assert!((0..4).all(|_| excluding(&[one, two]) == three));
    assert!([one, two].contains(&excluding(&[one, two, three])), "primaries come first again");
}

#[test]
fn when_all_are_unhealthy_the_upstream_says_what_happens() {
    let now = start();
    let mut definition = definition("10.0.0.1:80,10.0.0.2:80");
    definition.health_check = Some(checked());
    let upstream = build(&definition, now);
    set_health(&upstream, "10.0.0.1:80", Err("refused"), now);
    set_health(&upstream, "10.0.0.2:80", Err("refused"), now);
    assert_eq!(spread(&upstream, 10, now).len(), 2);

    definition.when_all_unhealthy = WhenAllUnhealthy::Refuse;
    let upstream = rebuild(&definition, &upstream, now);
    assert_eq!(upstream.pick(&PickRequest::at(now)).unwrap_err(), PickError::AllUnhealthy);
    let upstream = build(&self::definition(""), now);
    let error = upstream.pick(&PickRequest::at(now)).unwrap_err();
    assert_eq!(error.to_string(), "the upstream has no endpoints");
}

#[test]
fn a_new_endpoint_starts_slowly_and_a_known_one_does_not_start_again() {
    random::seed(11);
    let now = start();
    for balance in [LbPolicy::RoundRobin, LbPolicy::Random, LbPolicy::Hash(HashKey::Path)] {
        let mut definition = definition("10.0.0.1:80");
        definition.balance = balance;
        definition.slow_start = Some(Duration::from_secs(10));
        let upstream = build(&definition, now);
        definition.endpoints = self::definition("10.0.0.1:80,10.0.0.2:80").endpoints;
        let upstream = rebuild(&definition, &upstream, now);
        let share = |at: Instant| spread(&upstream, 4000, at)["10.0.0.2:80"] as f64 / 4000.0;
        assert!((share(now) - 0.1 / 1.1).abs() < 0.03, "{:?} at its begin: {}", definition.balance, share(now));
        let half = now + Duration::from_secs(5);
        assert!((share(half) - 0.5 / 1.5).abs() < 0.03, "{:?} at half: {}", definition.balance, share(half));
        let reloaded = rebuild(&definition, &upstream, half);
        let end = now + Duration::from_secs(10);
        let after = spread(&reloaded, 4000, end)["10.0.0.2:80"] as f64 / 4000.0;
        assert!((after - 0.5).abs() < 0.03, "{:?} at its end: {after}", definition.balance);
    }
}

#[test]
fn an_endpoint_that_is_healthy_again_starts_slowly() {
    let now = start();
    let mut definition = definition("10.0.0.1:80,10.0.0.2:80");
    definition.slow_start = Some(Duration::from_secs(10));
    definition.health_check = Some(checked());
    let upstream = build(&definition, now);
    assert_eq!(endpoint(&upstream, "10.0.0.1:80").warmth(definition.slow_start, now.into()), 1.0);
    set_health(&upstream, "10.0.0.1:80", Err("refused"), now);
    set_health(&upstream, "10.0.0.1:80", Ok(()), now);
    assert_eq!(endpoint(&upstream, "10.0.0.1:80").warmth(definition.slow_start, now.into()), 0.1);
}
