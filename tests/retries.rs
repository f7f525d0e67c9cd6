//! Requests that fail: repeated where that is safe, and told apart by their status where it is not.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use support::{Answer, Blackhole, Origin, Received, Weir, free_address};

/// One data-plane thread, so that turns can be counted.
fn weir_with(endpoints: &[SocketAddr], upstream_keys: &str) -> Weir {
    Weir::start(&format!("threads: 1\n{}", Weir::forwarding_to(endpoints, upstream_keys)))
}

#[test]
fn a_dead_endpoint_costs_nobody_an_error() {
    let (dead, b) = (free_address(), Origin::named("b"));
    let weir = weir_with(&[dead, b.address], "");
    for number in 0..10 {
        let method = if number % 2 == 0 { "GET" } else { "POST" };
        let answer = weir.request(method, "/").body("payload").send();
        assert_eq!((answer.status, answer.text().as_str()), (200, "b"), "nothing was sent, so {method} is tried again");
    }
    assert_eq!(b.last_request().body, b"payload");
}

/// Fails every request of a target that the test has not seen before, then serves it.
fn fails_once(failure: impl Fn() -> Answer + Send + Sync + 'static) -> Origin {
    let seen = std::sync::Mutex::new(std::collections::HashSet::new());
    Origin::start(move |request| {
        let is_new = seen.lock().expect("no panic while held").insert(request.target.clone());
        if is_new { failure() } else { Answer::ok("second") }
    })
}

#[test]
fn idempotent_requests_are_repeated_on_the_named_statuses_with_their_body() {
    let origin = fails_once(|| Answer::status(503, "first"));
    let weir = weir_with(&[origin.address], "retry: { attempts: 2, on: [503], budget: 100% }");
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
        let answer = weir.request(method, &format!("/{method}")).body("payload").send();
        assert_eq!(answer.status, 200, "{method}");
    }
    let put: Vec<_> = origin.received().into_iter().filter(|request| request.method == "PUT").collect();
    assert_eq!(put.iter().map(|request| request.body.as_slice()).collect::<Vec<_>>(), [b"payload", b"payload"]);
}

#[test]
fn a_post_is_never_repeated_once_it_was_sent() {
    let origin = fails_once(|| Answer::status(503, "first"));
    let weir = weir_with(&[origin.address], "retry: { attempts: 3, on: [connect, reset, timeout, 503] }");
    let answer = weir.request("POST", "/order").body("one").send();
    assert_eq!((answer.status, answer.text().as_str()), (503, "first"), "the origin's own answer");
    assert_eq!(origin.request_count(), 1);

    let origin = fails_once(|| Answer::Reset);
    let weir = weir_with(&[origin.address], "retry: { attempts: 3, on: [connect, reset, timeout] }");
    assert_eq!(weir.request("POST", "/order").body("one").send().status, 502);
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn a_connection_that_breaks_before_the_answer_is_repeated_where_that_is_safe() {
    let origin = fails_once(|| Answer::Reset);
    let weir = weir_with(&[origin.address], "retry: { attempts: 2, on: [reset] }");
    assert_eq!(weir.get("/").text(), "second");
}

#[test]
fn an_answer_that_has_begun_is_never_repeated() {
    let origin = fails_once(|| Answer::SendAndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart".to_vec()));
    let weir = weir_with(&[origin.address], "retry: { attempts: 3, on: [connect, reset, timeout] }");
    assert!(weir.request("GET", "/").try_send().is_err(), "the client can see that it is cut");
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn a_body_too_large_to_keep_is_not_repeated() {
    let origin = fails_once(|| Answer::status(503, "first"));
    let weir = weir_with(&[origin.address], "retry: { attempts: 2, on: [503], max-body: 1KiB }");
    assert_eq!(weir.request("PUT", "/small").body(vec![b'x'; 512]).send().status, 200);
    assert_eq!(weir.request("PUT", "/large").body(vec![b'x'; 8192]).send().status, 503);
}

#[test]
fn retries_stop_at_the_number_of_attempts_and_show_the_last_answer() {
    let count = Arc::new(AtomicUsize::new(0));
    let origin = Origin::start({
        let count = count.clone();
        move |_| Answer::status(503, &count.fetch_add(1, Ordering::SeqCst).to_string())
    });
    let weir = weir_with(&[origin.address], "retry: { attempts: 3, on: [503], budget: 100% }");
    assert_eq!(weir.get("/").text(), "2");
    assert_eq!(origin.request_count(), 3);
}

#[test]
fn no_retry_begins_after_the_retry_timeout() {
    let origin = Origin::start(|_| {
        // The origin's slowness is what is tested.
        std::thread::sleep(Duration::from_millis(300));
        Answer::status(503, "")
    });
    let weir = weir_with(&[origin.address], "retry: { attempts: 10, on: [503], timeout: 500ms, budget: 100% }");
    assert_eq!(weir.get("/").status, 503);
    assert_eq!(origin.request_count(), 2, "the third would begin at 600 ms");
}

#[test]
fn the_retry_budget_keeps_a_failing_upstream_from_being_asked_twice_as_often() {
    let origin = Origin::start(|_| Answer::status(503, ""));
    let weir = weir_with(&[origin.address], "retry: { attempts: 2, on: [503], budget: 10% }");
    (0..50).for_each(|_| assert_eq!(weir.get("/").status, 503));
    let retries = origin.request_count() - 50;
    assert!((1..=10).contains(&retries), "three, or a tenth of fifty: {retries}");
}

#[test]
fn a_routes_own_retry_replaces_the_upstreams() {
    let origin = fails_once(|| Answer::status(503, "first"));
    let weir = Weir::start(&format!(
        r#"
        upstreams:
          origin:
            endpoints: [ "{}" ]
            retry:
              attempts: 1
        hosts:
          - names: ["*"]
            routes:
              - path: /
                upstream: origin
              - path: /again
                upstream: origin
                retry:
                  attempts: 2
                  on: [503]
        "#,
        origin.address
    ));
    assert_eq!(weir.get("/once").status, 503);
    assert_eq!(weir.get("/again").status, 200);
}

#[test]
fn a_routes_own_budget_replaces_the_upstreams() {
    let origin = fails_once(|| Answer::status(503, "first"));
    let routes = "      - path: /none\n        upstream: origin\n        retry: { attempts: 2, on: [503], budget: 0% }\n\
                  \x20     - path: /all\n        upstream: origin\n        retry: { attempts: 2, on: [503], budget: 100% }\n";
    let file = Weir::forwarding_to(&[origin.address], "retry: { attempts: 1 }");
    let weir = Weir::start(&format!("threads: 1\n{file}{routes}"));
    let served = |path: &str| (0..20).filter(|n| weir.get(&format!("{path}/{n}")).status == 200).count();
    assert_eq!(served("/none"), 3, "three are always allowed");
    assert_eq!(served("/all"), 20);
}

#[test]
fn nobody_listens_is_502() {
    assert_eq!(weir_with(&[free_address()], "").get("/").status, 502);
}

#[test]
fn an_answer_that_is_not_http_is_502() {
    for garbage in [&b"SSH-2.0-OpenSSH\r\n\r\n"[..], b"HTTP/1.1 abc\r\n\r\n", b""] {
        let garbage = garbage.to_vec();
        let origin = Origin::start(move |_| Answer::SendAndClose(garbage.clone()));
        assert_eq!(weir_with(&[origin.address], "retry: { attempts: 1 }").get("/").status, 502);
    }
}

#[test]
fn a_connection_that_does_not_come_about_in_time_is_504() {
    let hole = Blackhole::start();
    let weir = weir_with(&[hole.address], "timeouts: { connect: 200ms }\nretry: { attempts: 1 }");
    assert_eq!(weir.get("/").status, 504);
}

#[test]
fn an_origin_that_stays_silent_is_504() {
    let origin = Origin::start(|_| Answer::Silence);
    let weir = weir_with(&[origin.address], "timeouts: { read: 200ms }");
    let before = Instant::now();
    assert_eq!(weir.get("/").status, 504);
    assert!(before.elapsed() < Duration::from_secs(5), "and it is not asked again for that");
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn a_request_that_takes_too_long_in_all_is_504() {
    let origin = Origin::start(|_| Answer::Silence);
    let weir = Weir::start(&format!(
        r#"
        upstreams:
          origin:
            endpoints: [ "{}" ]
        hosts:
          - names: ["*"]
            routes:
              - path: /
                upstream: origin
                timeouts:
                  request: 300ms
        "#,
        origin.address
    ));
    assert_eq!(weir.get("/").status, 504);
}

#[test]
fn a_silent_endpoint_is_passed_over_where_the_file_says_so() {
    let (silent, b) = (Origin::start(|_| Answer::Silence), Origin::named("b"));
    let weir =
        weir_with(&[silent.address, b.address], "timeouts: { read: 200ms }\nretry: { attempts: 2, on: [timeout] }");
    for _ in 0..4 {
        assert_eq!(weir.get("/").text(), "b");
    }
    assert!(silent.request_count() >= 1);
}

#[test]
fn the_only_place_at_an_endpoint_is_free_for_the_next_attempt() {
    let origin = Origin::start(|request| match (request.target.as_str(), request.connection) {
        ("/closing", 0) => Answer::SendAndClose(Vec::new()),
        _ => Answer::ok("served"),
    });
    let weir = weir_with(&[origin.address], "limits: { max-connections: 1, queue: 10, queue-timeout: 10s }");
    assert_eq!(weir.get("/").status, 200);
    let begun = Instant::now();
    assert_eq!(weir.get("/closing").text(), "served");
    assert!(begun.elapsed() < Duration::from_secs(5), "it did not wait for itself: {:?}", begun.elapsed());
}

#[test]
fn an_answer_that_breaks_off_was_an_answer() {
    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\na part".to_vec();
    let origin = Origin::start(move |_| Answer::SendAndClose(cut.clone()));
    let weir = weir_with(&[origin.address], "");
    let mut connection = weir.connect();
    connection.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(connection.try_read_response("GET").is_err());
    assert_eq!(weir.metric("weir_endpoint_failures_total", &[]), Some(0.0));
}

#[test]
fn a_used_connection_that_breaks_after_a_while_was_not_closed_while_it_was_idle() {
    let origin = Origin::start(|request: &Received| match request.target.as_str() {
        "/work" => Answer::drive(|_| std::thread::sleep(Duration::from_millis(1200))),
        _ => Answer::ok("fine"),
    });
    let weir = weir_with(&[origin.address], "retry: { attempts: 1 }");
    let mut connection = weir.connect();
    for (target, status) in [("/", 200), ("/work", 502)] {
        connection.write(format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
        assert_eq!(connection.read_response().status, status);
    }
    assert_eq!(origin.request_count(), 2, "nobody has asked for another attempt");
}

#[test]
fn what_cannot_be_understood_is_repeated_by_the_policy_alone_however_old_the_connection() {
    let origin = Origin::start(|request| match request.target.as_str() {
        "/wrong" => Answer::Send(b"HTTP/1.1 200 OK\r\nno field\r\n\r\n".to_vec()),
        _ => Answer::ok("right"),
    });
    let weir = weir_with(&[origin.address], "retry: { attempts: 1 }");
    assert_eq!(weir.get("/").text(), "right");
    assert_eq!(weir.request("DELETE", "/wrong").send().status, 502);
    assert_eq!(origin.connection_count(), 1, "the connection was a used one");
    let count = origin.received().iter().filter(|request| request.target == "/wrong").count();
    assert_eq!(count, 1, "the origin is alive, and may have done it");
}
