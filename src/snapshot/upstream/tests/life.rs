//! What happens to endpoints and requests over time: failures, reloads, limits, the queue.

use super::*;

#[test]
fn max_fails_and_fail_timeout_as_nginx_has_them() {
    let now = start();
    let mut definition = definition("10.0.0.1:80,10.0.0.2:80");
    definition.outlier_detection = Some(three_failures());
    let upstream = build(&definition, now);
    let fail = |times: usize, now: Instant| {
        let only = ["10.0.0.2:80".parse().unwrap()];
        (0..times).for_each(|_| {
            let lease = upstream.pick(&PickRequest { exclude: &only, ..PickRequest::at(now) }).unwrap();
            lease.report(Outcome::ConnectFailed, now);
        });
    };
    fail(2, now);
    assert_eq!(spread(&upstream, 10, now).len(), 2, "two failures are not yet three");
    fail(1, now + Duration::from_secs(29));
    let ejected_at = now + Duration::from_secs(29);
    assert!((0..4).all(|_| picked(&upstream, ejected_at) == "10.0.0.2:80"));
    let status = upstream.status(ejected_at);
    assert_eq!(
        status.endpoints[0].reason.as_deref(),
        Some("ejected for another 30s because its requests failed, the last: the connection could not be made")
    );

    let back = ejected_at + Duration::from_secs(30);
    assert_eq!(spread(&upstream, 10, back).len(), 2);
    fail(1, back);
    assert_eq!(spread(&upstream, 10, back).len(), 1, "on probation one failure is enough");
    let again = back + Duration::from_secs(30);
    let only = ["10.0.0.2:80".parse().unwrap()];
    let answer = Outcome::Answered { status: 200, latency: None };
    upstream.pick(&PickRequest { exclude: &only, ..PickRequest::at(again) }).unwrap().report(answer, again);
    fail(2, again);
    assert_eq!(spread(&upstream, 10, again).len(), 2, "a success ends the probation");
}

#[test]
fn an_answer_to_a_request_from_before_the_ejection_ends_no_probation() {
    let now = start();
    let mut definition = definition("10.0.0.1:80,10.0.0.2:80");
    definition.outlier_detection = Some(three_failures());
    let upstream = build(&definition, now);
    let only = ["10.0.0.2:80".parse().unwrap()];
    let pick = |now: Instant| upstream.pick(&PickRequest { exclude: &only, ..PickRequest::at(now) }).unwrap();
    let slow = [pick(now), pick(now)];
    (0..3).for_each(|_| pick(now).report(Outcome::Reset, now));
    let answer = Outcome::Answered { status: 200, latency: None };
    let back = now + Duration::from_secs(30);
    slow[0].report(answer, now + Duration::from_secs(1));
    slow[1].report(answer, back);
    pick(back).report(Outcome::Reset, back);
    assert_eq!(spread(&upstream, 10, back).len(), 1, "one failure is still enough");
}

#[test]
fn no_more_than_the_allowed_share_is_ejected_and_never_the_only_endpoint() {
    let now = start();
    for (endpoints, left) in [(4, 2), (3, 2), (1, 1)] {
        let mut definition = definition(&numbered(endpoints));
        definition.outlier_detection = Some(three_failures());
        let upstream = build(&definition, now);
        for _ in 0..100 {
            let answer = Outcome::Answered { status: 502, latency: Some(Duration::from_millis(1)) };
            upstream.pick(&PickRequest::at(now)).unwrap().report(answer, now);
        }
        assert_eq!(spread(&upstream, 100, now).len(), left, "of {endpoints}");
    }
}

#[test]
fn where_the_share_allows_it_the_backup_takes_over_as_in_nginx() {
    let now = start();
    let answer = Outcome::Answered { status: 502, latency: None };
    let (one, two) = ("10.0.0.1:80,10.0.0.9:80 backup", "10.0.0.1:80,10.0.0.2:80,10.0.0.9:80 backup");
    for (endpoints, primaries, share) in [(one, 1, 100), (two, 2, 100), (one, 1, 50)] {
        let mut definition = definition(endpoints);
        let detection = OutlierDetection { max_ejected: Percent(share), ..three_failures() };
        definition.outlier_detection = Some(detection);
        let upstream = build(&definition, now);
        for _ in 0..3 * primaries {
            upstream.pick(&PickRequest::at(now)).unwrap().report(answer, now);
        }
        assert_eq!(picked(&upstream, now), "10.0.0.9:80", "{share} % of {endpoints}");
    }
}

#[test]
fn the_share_that_may_be_ejected_is_counted_without_the_backups() {
    let now = start();
    let mut definition = definition("10.0.0.1:80,10.0.0.2:80,10.0.0.8:80 backup,10.0.0.9:80 backup");
    definition.outlier_detection = Some(three_failures());
    let upstream = build(&definition, now);
    for _ in 0..20 {
        upstream.pick(&PickRequest::at(now)).unwrap().report(Outcome::ConnectFailed, now);
    }
    assert_eq!(spread(&upstream, 10, now).len(), 1, "half of the two primaries");
    let left = picked(&upstream, now);
    assert!(["10.0.0.1:80", "10.0.0.2:80"].contains(&left.as_str()), "{left}");
}

#[test]
fn what_is_known_of_an_address_survives_a_rebuild() {
    let now = start();
    let mut definition = definition("10.0.0.1:80,10.0.0.2:80,10.0.0.3:80");
    definition.health_check = Some(checked());
    definition.outlier_detection = Some(three_failures());
    let before = build(&definition, now);
    set_health(&before, "10.0.0.1:80", Err("answered 500"), now);
    let exclude = ["10.0.0.3:80".parse().unwrap()];
    for _ in 0..3 {
        let lease = before.pick(&PickRequest { exclude: &exclude, ..PickRequest::at(now) }).unwrap();
        lease.report(Outcome::Answered { status: 503, latency: Some(Duration::from_millis(20)) }, now);
    }
    let held = before.pick(&PickRequest::at(now)).unwrap();

    definition.endpoints = self::definition("10.0.0.1:80 weight 5,10.0.0.2:80,10.0.0.3:80,10.0.0.4:80").endpoints;
    let after = rebuild(&definition, &before, now);
    let status = after.status(now);
    assert_eq!(status.endpoints[0].health, Health::Unhealthy);
    assert_eq!(status.endpoints[0].reason.as_deref(), Some("health checks fail: answered 500"));
    assert_eq!(status.endpoints[1].ejected_for.as_deref(), Some("30s"));
    assert_eq!(status.endpoints[1].failures, 3);
    assert_eq!(status.endpoints[1].ewma_ms, Some(20.0));
    assert_eq!((status.endpoints[2].in_flight, status.endpoints[3].health), (1, Health::Unknown));
    drop(held);
    assert_eq!(after.status(now).endpoints[2].in_flight, 0);
}

#[test]
fn dns_answers_are_used_until_new_ones_come_over_reloads_too() {
    let now = start();
    let mut definition = definition("api.test:80");
    let before = build(&definition, now);
    assert_eq!(before.pick(&PickRequest::at(now)).unwrap_err(), PickError::NoEndpoints);
    assert!(!before.is_settled());
    let mut answers = Answers::default();
    let addresses = Records::Addresses(vec!["10.0.0.1".parse().unwrap()]);
    answers.succeed(Question::Addresses("api.test".into()), addresses);
    let changes = before.changes();
    assert!(before.apply(answers.clone(), now));
    assert!(changes.has_changed().unwrap());
    assert!(!before.apply(answers, now), "the same answer changes nothing");
    assert!(before.is_settled());

    definition.balance = LbPolicy::LeastConnections;
    assert_eq!(picked(&rebuild(&definition, &before, now), now), "10.0.0.1:80");
}

#[test]
fn candidates_say_who_is_out_and_why_and_change_nothing() {
    let now = start();
    let mut definition = definition("10.0.0.1:80,10.0.0.2:80,10.0.0.3:80,10.0.0.4:80 backup");
    definition.health_check = Some(checked());
    definition.limits.max_connections = NonZeroU32::new(1);
    let upstream = build(&definition, now);
    set_health(&upstream, "10.0.0.1:80", Err("answered 500, expected 200"), now);
    let held = upstream.pick(&PickRequest::at(now)).unwrap();
    let full = held.endpoint().address;
    let standings: Vec<(SocketAddr, String)> = upstream
        .candidates(&PickRequest::at(now))
        .into_iter()
        .map(|candidate| (candidate.endpoint.address, candidate.standing.to_string()))
        .collect();
    assert_eq!(standings[0].1, "left out: health checks fail: answered 500, expected 200");
    let of_full = standings.iter().find(|(address, _)| *address == full).unwrap();
    assert_eq!(of_full.1, "has its limit of connections");
    assert_eq!(standings[1..3].iter().filter(|(_, standing)| standing == "considered").count(), 1);
    assert_eq!(standings[3].1, "a backup, not needed while another endpoint can be used");
    assert_eq!(upstream.status(now).endpoints.iter().map(|e| e.requests).sum::<u64>(), 1);
}

#[tokio::test(start_paused = true)]
async fn requests_wait_in_order_for_a_place_and_no_longer_than_they_may() {
    let now = start();
    let mut definition = definition("10.0.0.1:80");
    definition.limits =
        UpstreamLimits { max_connections: NonZeroU32::new(1), queue: 2, queue_timeout: Duration::from_secs(5) };
    let upstream = build(&definition, now);
    let held = upstream.acquire(&PickRequest::at(now), None).await.unwrap();
    let wait =
        |upstream: Arc<Upstream>| tokio::spawn(async move { upstream.acquire(&PickRequest::at(now), None).await });
    let first = wait(upstream.clone());
    tokio::task::yield_now().await;
    let second = wait(upstream.clone());
    tokio::task::yield_now().await;
    assert_eq!(upstream.status(now).waiting, 2);
    let third = upstream.acquire(&PickRequest::at(now), None).await.unwrap_err();
    assert_eq!(third, PickError::Saturated(Saturation::QueueFull));

    drop(held);
    assert!(upstream.pick(&PickRequest::at(now)).is_err(), "a newcomer does not overtake");
    let served = first.await.unwrap().unwrap();
    let late = second.await.unwrap().unwrap_err();
    assert_eq!(late, PickError::Saturated(Saturation::QueueTimeout));
    drop(served);
    assert_eq!((upstream.status(now).waiting, endpoint(&upstream, "10.0.0.1:80").in_flight()), (0, 0));
}

#[tokio::test]
async fn who_waits_keeps_its_session_its_key_and_the_endpoints_it_has_tried() {
    let now = start();
    let mut definition = definition("10.0.0.1:80,10.0.0.2:80");
    definition.balance = LbPolicy::Hash(HashKey::ClientIp);
    definition.limits =
        UpstreamLimits { max_connections: NonZeroU32::new(1), queue: 2, queue_timeout: Duration::from_secs(5) };
    let upstream = build(&definition, now);
    let [home, other] = ["10.0.0.1:80", "10.0.0.2:80"].map(|address| endpoint(&upstream, address));
    let at_home = |key: &u64| {
        let request = PickRequest { key: Some(*key), ..PickRequest::at(now) };
        upstream.pick(&request).unwrap().endpoint().address == home.address
    };
    let tried = [other.address];
    let wishes = [
        PickRequest { sticky: Some(home.sticky_value().as_bytes()), ..PickRequest::at(now) },
        PickRequest { exclude: &tried, ..PickRequest::at(now) },
        PickRequest { key: (0..100).map(|n: u64| hash_key(&n.to_le_bytes())).find(at_home), ..PickRequest::at(now) },
    ];
    for wish in wishes.iter().cycle().take(30) {
        let lease = upstream.shared.queue.wait(&upstream, wish, None).await.unwrap();
        assert_eq!(lease.endpoint().address, home.address, "{wish:?}");
    }
}

#[test]
fn a_session_stays_while_its_endpoint_is_only_full() {
    let now = start();
    let mut definition = definition("10.0.0.1:80,10.0.0.2:80");
    definition.limits.max_connections = NonZeroU32::new(1);
    definition.health_check = Some(checked());
    let upstream = build(&definition, now);
    let home = endpoint(&upstream, "10.0.0.1:80");
    let request = PickRequest { sticky: Some(home.sticky_value().as_bytes()), ..PickRequest::at(now) };
    let _held = upstream.pick(&request).unwrap();
    assert_ne!(upstream.pick(&request).unwrap().endpoint().address, home.address);
    assert!(upstream.keeps_session(&request));
    let tried = [home.address];
    assert!(!upstream.keeps_session(&PickRequest { exclude: &tried, ..request }), "it has failed this request");
    set_health(&upstream, "10.0.0.1:80", Err("answered 500"), now);
    assert!(!upstream.keeps_session(&request));
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_no_longer_than_its_own_time_lasts() {
    let now = start();
    let mut definition = definition("10.0.0.1:80");
    definition.limits =
        UpstreamLimits { max_connections: NonZeroU32::new(1), queue: 1, queue_timeout: Duration::from_secs(5) };
    let upstream = build(&definition, now);
    let _held = upstream.pick(&PickRequest::at(now)).unwrap();
    let begun = tokio::time::Instant::now();
    let late = upstream.acquire(&PickRequest::at(now), Some(now + Duration::from_secs(2))).await.unwrap_err();
    assert_eq!(late, PickError::Saturated(Saturation::QueueTimeout));
    assert_eq!(begun.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_gives_up_leaves_its_place_to_the_next() {
    let now = start();
    let mut definition = definition("10.0.0.1:80");
    definition.limits =
        UpstreamLimits { max_connections: NonZeroU32::new(1), queue: 9, queue_timeout: Duration::from_secs(5) };
    let upstream = build(&definition, now);
    let held = upstream.pick(&PickRequest::at(now)).unwrap();
    let wait =
        |upstream: Arc<Upstream>| tokio::spawn(async move { upstream.acquire(&PickRequest::at(now), None).await });
    let (first, second) = (wait(upstream.clone()), wait(upstream.clone()));
    tokio::task::yield_now().await;
    drop(held);
    first.abort();
    assert!(first.await.is_err_and(|error| error.is_cancelled()));
    drop(second.await.unwrap().unwrap());
    assert_eq!(endpoint(&upstream, "10.0.0.1:80").in_flight(), 0);
}

#[test]
fn retries_are_refused_beyond_the_budget() {
    let now = start();
    let upstream = build(&definition("10.0.0.1:80"), now);
    (0..50).for_each(|_| upstream.note_request(now));
    assert_eq!((0..50).filter(|_| upstream.may_retry(now, Percent(20))).count(), 10);
    assert_eq!((0..50).filter(|_| upstream.may_retry(now, Percent(40))).count(), 10, "another route's larger share");
}

#[test]
fn leases_on_many_threads_leave_nothing_behind() {
    let now = start();
    let mut definition = definition(&numbered(3));
    definition.limits.max_connections = NonZeroU32::new(2);
    let upstream = build(&definition, now);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5_000 {
                    if let Ok(lease) = upstream.pick(&PickRequest::at(now)) {
                        assert!(lease.endpoint().in_flight() <= 2);
                    }
                }
            });
        }
    });
    assert!(upstream.endpoints().endpoints().all(|e| e.in_flight() == 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_waiter_is_forgotten_when_many_threads_come_and_go() {
    let now = start();
    let mut definition = definition("10.0.0.1:80,10.0.0.2:80");
    definition.limits =
        UpstreamLimits { max_connections: NonZeroU32::new(1), queue: 64, queue_timeout: Duration::from_secs(60) };
    let upstream = build(&definition, now);
    let requests = |upstream: Arc<Upstream>| async move {
        for _ in 0..500 {
            let lease = upstream.acquire(&PickRequest::at(now), None).await.unwrap();
            tokio::task::yield_now().await;
            assert_eq!(lease.endpoint().in_flight(), 1);
        }
    };
    let clients: Vec<_> = (0..16).map(|_| tokio::spawn(requests(upstream.clone()))).collect();
    let begin = Instant::now();
    for client in clients {
        client.await.unwrap();
    }
    assert!(begin.elapsed() < Duration::from_secs(30), "a waiter slept until its timeout");
    assert_eq!(upstream.status(now).waiting, 0);
}

#[test]
fn a_reload_that_brings_a_limit_counts_the_requests_from_before_it() {
    let now = start();
    let mut definition = definition("10.0.0.1:80");
    let before = build(&definition, now);
    let held = before.pick(&PickRequest::at(now)).unwrap();
    definition.limits.max_connections = NonZeroU32::new(1);
    let after = rebuild(&definition, &before, now);
    assert_eq!(after.pick(&PickRequest::at(now)).unwrap_err(), PickError::Saturated(Saturation::QueueFull));
    drop(held);
    assert!(after.pick(&PickRequest::at(now)).is_ok());
}
