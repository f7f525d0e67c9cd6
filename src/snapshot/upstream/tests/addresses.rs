//! What is known of an address: for how long, and what it means for who is there.

use super::*;

/// Of DNS for `api.test`: other ones than before.
fn answer(upstream: &Upstream, ips: &[&str], now: Instant) {
    let mut answers = Answers::default();
    let addresses = ips.iter().map(|ip| ip.parse().unwrap()).collect();
    answers.succeed(Question::Addresses("api.test".into()), Records::Addresses(addresses));
    assert!(upstream.apply(answers, now));
}

#[test]
fn an_address_that_leaves_and_returns_is_known_for_as_long_as_a_request_is_with_it() {
    let now = start();
    let mut definition = definition("api.test:80");
    definition.limits.max_connections = NonZeroU32::new(1);
    let upstream = build(&definition, now);
    let answer = |ips: &[&str]| answer(&upstream, ips, now);
    answer(&["10.0.0.1"]);
    let held = upstream.pick(&PickRequest::at(now)).unwrap();
    answer(&["10.0.0.2"]);
    answer(&["10.0.0.3"]);
    answer(&["10.0.0.1"]);
    assert_eq!(upstream.pick(&PickRequest::at(now)).unwrap_err(), PickError::Saturated(Saturation::QueueFull));
    drop(held);
    drop(upstream.pick(&PickRequest::at(now)).unwrap());
    answer(&["10.0.0.2"]);
    answer(&["10.0.0.1"]);
    assert_eq!(upstream.status(now).endpoints[0].requests, 0, "it was forgotten");
}

#[test]
fn what_returns_under_an_address_begins_as_anybody_does() {
    let now = start();
    let mut definition = definition("api.test:80");
    definition.slow_start = Some(Duration::from_secs(10));
    definition.outlier_detection = Some(three_failures());
    let upstream = build(&definition, now);
    let answer = |ips: &[&str], when| answer(&upstream, ips, when);
    answer(&["10.0.0.1", "10.0.0.2"], now);
    // Whoever is with the other one has all of the set.
    let _held = (0..2).map(|_| upstream.pick(&PickRequest::at(now)).unwrap()).collect::<Vec<_>>();
    endpoint(&upstream, "10.0.0.1:80").state.verdict.ejected_until.set((now + Duration::from_secs(60)).into());
    answer(&["10.0.0.2"], now);
    let later = now + Duration::from_secs(20);
    answer(&["10.0.0.1", "10.0.0.2"], later);
    let returned = endpoint(&upstream, "10.0.0.1:80");
    assert_eq!((upstream.status(later).endpoints[0].ejected_for.as_deref(), returned.in_flight()), (None, 1));
    let warmth = |seconds| returned.warmth(definition.slow_start, (later + Duration::from_secs(seconds)).into());
    assert!(warmth(0) < 0.2 && warmth(10) == 1.0);
}

#[test]
fn a_verdict_counts_while_the_same_is_asked() {
    let now = start();
    let mut definition = definition("10.0.0.1:80,10.0.0.2:80");
    definition.health_check = Some(checked());
    let before = build(&definition, now);
    set_health(&before, "10.0.0.1:80", Err("answered 404"), now);
    definition.health_check = Some(HealthCheck { interval: Duration::from_secs(1), ..checked() });
    let oftener = rebuild(&definition, &before, now);
    assert_eq!(oftener.status(now).endpoints[0].health, Health::Unhealthy);
    definition.health_check = Some(HealthCheck { port: Some(81), ..checked() });
    let elsewhere = rebuild(&definition, &oftener, now);
    assert_eq!(elsewhere.status(now).endpoints[0].health, Health::Unknown);
    assert_eq!(spread(&elsewhere, 10, now).len(), 2);
    assert_eq!(before.status(now).endpoints[0].health, Health::Unhealthy, "until the other is in force");
    definition.health_check = None;
    let unchecked = rebuild(&definition, &elsewhere, now);
    definition.health_check = Some(checked());
    assert_eq!(rebuild(&definition, &unchecked, now).status(now).endpoints[0].health, Health::Unknown);
}

#[test]
fn what_is_with_an_endpoint_leaves_it_when_it_is_gone_or_worse_than_another() {
    let now = start();
    let mut definition = definition("10.0.0.1:80,10.0.0.2:80");
    definition.health_check = Some(checked());
    let upstream = build(&definition, now);
    let stays = |address: &str| upstream.keeps(address.parse().unwrap(), now);
    assert_eq!(["10.0.0.1:80", "10.0.0.3:80"].map(stays), [true, false]);
    set_health(&upstream, "10.0.0.1:80", Err("answered 500"), now);
    assert_eq!(["10.0.0.1:80", "10.0.0.2:80"].map(stays), [false, true]);
    set_health(&upstream, "10.0.0.2:80", Err("answered 500"), now);
    assert_eq!(["10.0.0.1:80", "10.0.0.2:80"].map(stays), [true, true], "there is nothing better");
}
