//! Endpoints that fail are found out and left alone: by health checks, by what becomes of requests, under load.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::{
    Answer, H2Client, H2Origin, Nginx, Origin, Weir, eventually, free_address, grpc_message, holds_for, wrk,
};

/// One data-plane thread, so that turns can be counted.
fn weir_with(endpoints: &[SocketAddr], upstream_keys: &str) -> Weir {
    Weir::start(&format!("threads: 1\n{}", Weir::forwarding_to(endpoints, upstream_keys)))
}

/// Waits until only the endpoint `name` answers, over ten requests in a row.
fn wait_until_only(weir: &Weir, name: &str) {
    eventually(&format!("only {name} answers"), || (0..10).all(|_| weir.get("/").text() == name).then_some(()));
}

fn wait_until_both(weir: &Weir) {
    eventually("both answer", || {
        let answers: Vec<_> = (0..10).map(|_| weir.get("/").text()).collect();
        (answers.iter().any(|t| t == "a") && answers.iter().any(|t| t == "b")).then_some(())
    });
}

/// An origin whose `/health` says what the switch says, and that is fine otherwise.
fn with_health(
    name: &'static str,
    health: impl Fn(bool) -> Answer + Send + Sync + 'static,
) -> (Origin, Arc<AtomicBool>) {
    let healthy = Arc::new(AtomicBool::new(true));
    let switch = healthy.clone();
    let origin = Origin::start(move |request| match request.target.as_str() {
        "/health" => health(healthy.load(Ordering::SeqCst)),
        _ => Answer::ok(name),
    });
    (origin, switch)
}

const QUICK: &str = "interval: 50ms, timeout: 500ms, unhealthy-after: 2, healthy-after: 2";

#[test]
fn an_http_check_takes_an_endpoint_out_and_back() {
    let (a, healthy) = with_health("a", |healthy| Answer::status(if healthy { 200 } else { 503 }, ""));
    let (b, _) = with_health("b", |_| Answer::ok(""));
    let weir = weir_with(&[a.address, b.address], &format!("health-check: {{ http: {{ path: /health }}, {QUICK} }}"));
    wait_until_both(&weir);
    healthy.store(false, Ordering::SeqCst);
    wait_until_only(&weir, "b");
    healthy.store(true, Ordering::SeqCst);
    wait_until_both(&weir);
}

#[test]
fn an_http_check_can_ask_for_a_method_a_host_a_status_and_a_body() {
    let (a, healthy) = with_health("a", |healthy| Answer::status(418, if healthy { "all is well" } else { "so-so" }));
    let (b, _) = with_health("b", |_| Answer::status(418, "all is well"));
    let probe = "http: { path: /health, method: POST, host: probe.test, status: [418], body: \"is +well\" }";
    let weir = weir_with(&[a.address, b.address], &format!("health-check: {{ {probe}, {QUICK} }}"));
    wait_until_both(&weir);
    let check = a.received().into_iter().find(|request| request.target == "/health").expect("it was asked");
    assert_eq!((check.method.as_str(), check.header("host")), ("POST", Some("probe.test")));
    healthy.store(false, Ordering::SeqCst);
    wait_until_only(&weir, "b");
}

#[test]
fn a_check_can_ask_another_port() {
    let (doctor, healthy) = with_health("doctor", |healthy| Answer::status(if healthy { 200 } else { 500 }, ""));
    let a = Origin::named("a");
    let keys = format!(
        "health-check: {{ http: {{ path: /health }}, port: {}, {QUICK} }}\nwhen-all-unhealthy: refuse",
        doctor.address.port()
    );
    let weir = weir_with(&[a.address], &keys);
    eventually("it is healthy", || (weir.get("/").status == 200).then_some(()));
    healthy.store(false, Ordering::SeqCst);
    eventually("it is not", || (weir.get("/").status == 503).then_some(()));
    assert!(a.received().iter().all(|request| request.target != "/health"));
}

#[test]
fn a_check_that_is_not_answered_in_time_has_failed() {
    let (a, healthy) = with_health("a", |healthy| if healthy { Answer::ok("") } else { Answer::Silence });
    let (b, _) = with_health("b", |_| Answer::ok(""));
    let check = "health-check: { http: { path: /health }, interval: 50ms, timeout: 100ms, unhealthy-after: 1, healthy-after: 1 }";
    let weir = weir_with(&[a.address, b.address], check);
    wait_until_both(&weir);
    healthy.store(false, Ordering::SeqCst);
    wait_until_only(&weir, "b");
}

#[test]
fn a_tcp_check_sees_a_port_that_is_closed() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    // It is the check that keeps the requests away, neither the retry nor the ejection.
    let keys = format!("health-check: {{ tcp: {{}}, {QUICK} }}\noutlier-detection: off\nretry: {{ attempts: 1 }}");
    let weir = weir_with(&[a.address, b.address], &keys);
    wait_until_both(&weir);
    let address = a.address;
    a.stop();
    wait_until_only(&weir, "b");
    let _a = Origin::named_at(address, "a");
    wait_until_both(&weir);
}

#[test]
fn a_grpc_check_believes_serving_alone() {
    let origin = H2Origin::plain();
    let keys = format!(
        "protocol: http2\nhealth-check: {{ grpc: {{ service: echo.Echo }}, {QUICK} }}\nwhen-all-unhealthy: refuse"
    );
    let weir = weir_with(&[origin.address], &keys);
    let status =
        || H2Client::plain(weir.http).send("POST", "a.test", "/echo.Echo/Unary", &[], Some(grpc_message(b"x"))).status;
    eventually("it serves", || (status() == 200).then_some(()));
    origin.set_serving(false);
    // A gRPC client may be told by HTTP status or by grpc-status; the origin must not be asked any more.
    eventually("it is left alone", || {
        let before = origin.received().len();
        status();
        (origin.received().len() == before).then_some(())
    });
    origin.set_serving(true);
    eventually("it is asked again", || {
        let before = origin.received().len();
        status();
        (origin.received().len() > before).then_some(())
    });
}

#[test]
fn a_health_check_that_changes_its_mind_leaves_running_requests_alone() {
    let (a, healthy) = with_health("a", |healthy| Answer::status(if healthy { 200 } else { 500 }, ""));
    let keys = format!("health-check: {{ http: {{ path: /health }}, {QUICK} }}\nwhen-all-unhealthy: refuse");
    let weir = weir_with(&[a.address], &keys);
    eventually("it is healthy", || (weir.get("/").status == 200).then_some(()));
    let mut connection = weir.connect();
    connection.write("POST /upload HTTP/1.1\r\nHost: a.test\r\nContent-Length: 6\r\n\r\nabc");
    healthy.store(false, Ordering::SeqCst);
    eventually("it is unhealthy", || (weir.get("/").status == 503).then_some(()));
    connection.write("def");
    assert_eq!(connection.read_response().text(), "a");
}

#[test]
fn an_endpoint_that_fails_requests_is_ejected_and_comes_back() {
    let broken = Arc::new(AtomicBool::new(true));
    let a = Origin::start({
        let broken = broken.clone();
        move |_| if broken.load(Ordering::SeqCst) { Answer::status(500, "a") } else { Answer::ok("a") }
    });
    let b = Origin::named("b");
    let keys =
        "outlier-detection: { failures: 3, window: 30s, eject-for: 1s, statuses: [500] }\nretry: { attempts: 1 }";
    let weir = weir_with(&[a.address, b.address], keys);
    let failed = (0..40).filter(|_| weir.get("/").status == 500).count();
    assert!((3..=6).contains(&failed), "three failures eject, and it may come back for a try: {failed}");
    broken.store(false, Ordering::SeqCst);
    wait_until_both(&weir);
}

#[test]
fn connections_that_fail_count_for_ejection() {
    let (dead, b) = (free_address(), Origin::named("b"));
    let keys = "outlier-detection: { failures: 2, window: 30s, eject-for: 1m }\nretry: { attempts: 1 }";
    let weir = weir_with(&[dead, b.address], keys);
    let failed = (0..20).filter(|_| weir.get("/").status == 502).count();
    assert_eq!(failed, 2, "after two it is left alone");
}

#[test]
fn ejection_never_takes_the_last_endpoint() {
    let a = Origin::start(|_| Answer::status(500, "a"));
    let keys = "outlier-detection: { failures: 1, window: 30s, eject-for: 1m, statuses: [500] }";
    let weir = weir_with(&[a.address], keys);
    for _ in 0..5 {
        assert_eq!(weir.get("/").text(), "a", "its own 500 says more than a 503");
    }
}

#[test]
fn when_all_are_unhealthy_they_are_tried_or_refused_as_the_file_says() {
    let sick = || with_health("sick", |_| Answer::status(500, "")).0;
    let check = format!("health-check: {{ http: {{ path: /health }}, {QUICK} }}");
    let refusing = sick();
    let weir = weir_with(&[refusing.address], &format!("{check}\nwhen-all-unhealthy: refuse"));
    eventually("it is refused", || (weir.get("/").status == 503).then_some(()));

    let trying = sick();
    let weir = weir_with(&[trying.address], &check);
    trying.wait_for_requests(5);
    holds_for(Duration::from_millis(300), "it is tried all the same", || weir.get("/").text() == "sick");
}

#[test]
fn an_endpoint_killed_under_load_costs_no_request() {
    let nginx = || Nginx::start("location / { return 200 'fine'; }");
    let (a, b) = (nginx(), nginx());
    let check = format!("health-check: {{ tcp: {{}}, {QUICK} }}");
    let weir = weir_with(&[a.address, b.address], &check);
    let url = format!("http://{}/", weir.http);
    let load = std::thread::spawn(move || wrk(&url, 16, Duration::from_secs(3)));
    eventually("the load has begun", || {
        weir.metric("weir_requests_total", &[]).is_some_and(|count| count > 50.0).then_some(())
    });
    a.kill();
    let report = load.join().expect("wrk ran");
    assert_eq!((report.bad_answers, report.socket_errors), (0, 0), "{report:?}");
}

#[test]
fn an_endpoint_paused_under_load_is_passed_over() {
    let nginx = || Nginx::start("location / { return 200 'fine'; }");
    let (a, b) = (nginx(), nginx());
    let keys = "timeouts: { connect: 300ms, read: 300ms }\nretry: { attempts: 3, on: [connect, reset, timeout], budget: 100% }\n\
                outlier-detection: { failures: 1, window: 10s, eject-for: 10s }";
    let weir = weir_with(&[a.address, b.address], keys);
    (0..4).for_each(|_| assert_eq!(weir.get("/").status, 200));
    a.pause();
    let report = wrk(&format!("http://{}/", weir.http), 8, Duration::from_secs(2));
    assert!(report.requests > 100, "{report:?}");
    assert_eq!(report.bad_answers, 0, "{report:?}");
}

#[test]
fn what_health_checks_find_and_what_is_ejected_is_counted() {
    let (a, healthy) = with_health("a", |healthy| Answer::status(if healthy { 200 } else { 500 }, ""));
    let b = Origin::start(|request| Answer::status(if request.target == "/health" { 200 } else { 500 }, ""));
    let weir = weir_with(
        &[a.address, b.address],
        &format!(
            "health-check: {{ http: {{ path: /health }}, {QUICK} }}\nretry: {{ attempts: 1 }}\n\
             outlier-detection: {{ failures: 2, window: 30s, eject-for: 30s, statuses: [500] }}"
        ),
    );
    let counted = |to: &str| {
        let labels = ["upstream=\"origin\"".to_owned(), format!("to=\"{to}\"")];
        weir.metric("weir_endpoint_health_changes_total", &[&labels[0], &labels[1]]).unwrap_or(0.0)
    };
    eventually("both are healthy", || (counted("healthy") == 2.0).then_some(()));
    assert_eq!((counted("unhealthy"), counted("ejected")), (0.0, 0.0));
    eventually("the one that fails is ejected", || {
        weir.get("/");
        (counted("ejected") == 1.0).then_some(())
    });
    healthy.store(false, Ordering::SeqCst);
    eventually("the other is unhealthy", || (counted("unhealthy") == 1.0).then_some(()));
}
