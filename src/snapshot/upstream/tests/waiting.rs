//! Who waits for a place while other things change than that one comes free.

use super::*;

type Waiting = tokio::task::JoinHandle<Result<Lease, PickError>>;

fn one_place(endpoints: &str) -> model::Upstream {
    let mut definition = definition(endpoints);
    let queue_timeout = Duration::from_secs(60);
    definition.limits = UpstreamLimits { max_connections: NonZeroU32::new(1), queue: 9, queue_timeout };
    definition
}

/// In line, when this returns.
async fn wait(upstream: &Arc<Upstream>, now: Instant) -> Waiting {
    let upstream = upstream.clone();
    let waiting = tokio::spawn(async move { upstream.acquire(&PickRequest::at(now), None).await });
    tokio::task::yield_now().await;
    waiting
}

async fn placed(waiting: Waiting) -> String {
    waiting.await.unwrap().unwrap().endpoint().address.to_string()
}

#[tokio::test(start_paused = true)]
async fn an_ejection_that_ends_meanwhile_is_seen() {
    let now = start();
    let mut definition = one_place("10.0.0.1:80,10.0.0.2:80");
    definition.outlier_detection = Some(OutlierDetection { failures: one(1), ..three_failures() });
    let upstream = build(&definition, now);
    let other = ["10.0.0.2:80".parse().unwrap()];
    upstream.pick(&PickRequest { exclude: &other, ..PickRequest::at(now) }).unwrap().report(Outcome::Reset, now);
    let _held = upstream.pick(&PickRequest::at(now)).unwrap();
    let begun = tokio::time::Instant::now();
    assert_eq!(placed(wait(&upstream, now).await).await, "10.0.0.1:80");
    assert_eq!(begun.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_reload_serves_who_waits_and_who_still_comes_by_the_way_before_it() {
    let now = start();
    let mut definition = one_place("10.0.0.1:80");
    let before = build(&definition, now);
    let held = before.pick(&PickRequest::at(now)).unwrap();
    let begun = tokio::time::Instant::now();
    let waiting = wait(&before, now).await;
    definition.limits.max_connections = NonZeroU32::new(2);
    let after = rebuild(&definition, &before, now);
    after.take_over();
    let second = waiting.await.unwrap().unwrap();
    let late = wait(&before, now).await;
    drop(second);
    late.await.unwrap().unwrap();
    assert_eq!((begun.elapsed(), after.status(now).waiting), (Duration::ZERO, 0));

    let late = wait(&before, now).await;
    definition.endpoints = self::definition("10.0.0.2:80").endpoints;
    rebuild(&definition, &after, now).take_over();
    drop((after, held));
    late.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_what_is_spoken_with_in_another_way_holds_up_nobody() {
    let now = start();
    let mut definition = one_place("10.0.0.1:80");
    let before = build(&definition, now);
    let _held = before.pick(&PickRequest::at(now)).unwrap();
    let first = wait(&before, now).await;
    definition = one_place("10.0.0.2:80");
    definition.protocol = UpstreamProtocol::Http2;
    let after = rebuild(&definition, &before, now);
    after.take_over();
    let begun = tokio::time::Instant::now();
    assert_eq!(placed(wait(&after, now).await).await, "10.0.0.2:80");
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert!(first.await.unwrap().is_err(), "it may not be sent to the other");
}
