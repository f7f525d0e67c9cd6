//! What an attempt at an endpoint is charged with: whose time it was, whose fault, and what the log says of it.

mod support;

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Answer, Connection, LIMIT, Origin, Weir, eventually, free_address};

/// One data-plane thread, so that turns can be counted.
fn weir_with(endpoints: &[SocketAddr], upstream_keys: &str) -> Weir {
    Weir::start(&format!("threads: 1\n{}", Weir::forwarding_to(endpoints, upstream_keys)))
}

/// What Weir knows of an endpoint, as `/upstreams` shows it.
fn known_of(weir: &Weir, endpoint: SocketAddr, key: &str) -> Value {
    let shown: Value = serde_json::from_str(&weir.admin("/upstreams").text()).expect("JSON");
    let endpoints = shown.as_array().expect("a list").iter().flat_map(|upstream| upstream["endpoints"].as_array());
    let mut endpoints = endpoints.flatten();
    let found = endpoints.find(|known| known["address"] == endpoint.to_string()).expect("the endpoint is shown");
    found[key].clone()
}

/// The access log's line about a target.
fn line_about(weir: &Weir, target: &str) -> Value {
    eventually(&format!("a line about {target}"), || {
        let lines = weir.log();
        let mut lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| line["target"] == target)
    })
}

/// An upload of which only the first bytes have come.
fn upload(weir: &Weir, target: &str) -> Connection {
    let mut client = weir.connect();
    client.write(format!("POST {target} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000\r\n\r\nbeginning"));
    client
}

#[test]
fn a_client_that_pauses_its_upload_is_not_held_against_the_endpoint() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let keys = "timeouts: { read: 200ms }\noutlier-detection: { failures: 1 }\nretry: { on: [timeout] }";
    let weir = weir_with(&[a.address, b.address], keys);
    for _ in 0..2 {
        let answer = upload(&weir, "/upload").read_response_to("POST");
        assert_eq!(answer.status, 408);
    }
    assert_eq!(line_about(&weir, "/upload")["ended"], "client-timeout");
    for origin in [&a, &b] {
        assert_eq!(known_of(&weir, origin.address, "failures"), 0);
        assert_eq!(known_of(&weir, origin.address, "ewma_ms"), Value::Null);
    }
}

#[test]
fn the_time_that_a_client_takes_to_send_is_not_the_endpoints_latency() {
    let origin = Origin::named("a");
    let weir = weir_with(&[origin.address], "");
    let mut client = upload(&weir, "/");
    // The client's slowness is what is tested.
    std::thread::sleep(Duration::from_millis(500));
    client.write(vec![b'x'; 1000 - "beginning".len()]);
    assert_eq!(client.read_response_to("POST").status, 200);
    let latency = known_of(&weir, origin.address, "ewma_ms").as_f64().expect("it has answered");
    assert!(latency < 400.0, "{latency} ms");
}

#[test]
fn an_endpoint_that_is_silent_after_the_whole_body_is_late() {
    let (a, b) = (Origin::start(|_| Answer::Silence), Origin::start(|_| Answer::Silence));
    let weir = weir_with(&[a.address, b.address], "timeouts: { read: 200ms }\nretry: { attempts: 1 }");
    assert_eq!(weir.request("POST", "/").body("payload").send().status, 504);
    assert_eq!(known_of(&weir, a.address, "failures"), 1);
    assert_eq!(line_about(&weir, "/")["ended"], "upstream-timeout");
}

#[test]
fn an_upload_that_trickles_ends_with_the_time_for_the_request() {
    let origin = Origin::named("a");
    let weir = weir_with(&[origin.address], "timeouts: { request: 400ms }");
    let mut client = upload(&weir, "/upload");
    let begun = Instant::now();
    while begun.elapsed() < LIMIT && client.try_write("x").is_ok() {
        // The client's slowness is what is tested.
        std::thread::sleep(Duration::from_millis(50));
        if !client.read_available().is_empty() {
            break;
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    let line = line_about(&weir, "/upload");
    assert_eq!((&line["status"], &line["ended"]), (&408.into(), &"client-timeout".into()));
    assert_eq!(origin.request_count(), 0, "the origin never had all of it");
    assert_eq!(known_of(&weir, origin.address, "failures"), 0);
}

#[test]
fn the_time_in_the_queue_is_part_of_the_time_for_the_request() {
    let origin = Origin::start(|_| Answer::Silence);
    let keys = "limits: { max-connections: 1, queue: 1, queue-timeout: 1m }\ntimeouts: { read: 1m }";
    let file = Weir::forwarding_to(&[origin.address], keys);
    let hurried = "      - path: /hurried\n        upstream: origin\n        timeouts: { request: 300ms }\n";
    let weir = Weir::start(&format!("threads: 1\n{file}{hurried}"));
    let mut holds_the_place = weir.connect();
    holds_the_place.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    origin.wait_for_requests(1);
    assert_eq!(weir.get("/hurried").status, 504);
    assert_eq!(line_about(&weir, "/hurried")["ended"], "request-timeout");
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn a_request_that_succeeds_on_a_retry_has_succeeded() {
    let (dead, b) = (free_address(), Origin::named("b"));
    let weir = weir_with(&[dead, b.address], "outlier-detection: off");
    for target in ["/first", "/second"] {
        assert_eq!(weir.get(target).text(), "b");
    }
    let lines = ["/first", "/second"].map(|target| line_about(&weir, target));
    let retried = lines.iter().find(|line| line["retries"] == 1).expect("one of them met the dead endpoint");
    assert_eq!((&retried["ended"], &retried["status"]), (&"completed".into(), &200.into()));
}

#[test]
fn a_request_whose_attempts_all_fail_is_logged_with_what_the_last_one_met() {
    let weir = weir_with(&[free_address(), free_address()], "retry: { attempts: 2 }");
    assert_eq!(weir.get("/").status, 502);
    let line = line_about(&weir, "/");
    assert_eq!((&line["ended"], &line["retries"]), (&"upstream-connect-failed".into(), &1.into()));
}

#[test]
fn an_answer_that_trickles_beyond_the_time_for_the_request_is_a_request_timeout() {
    let origin = Origin::start(|_| {
        Answer::drive(|stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
            // The endpoint's slowness is what is tested.
            while stream.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        })
    });
    let weir = weir_with(&[origin.address], "timeouts: { request: 300ms }");
    assert!(weir.request("GET", "/trickle").try_send().is_err());
    assert_eq!(line_about(&weir, "/trickle")["ended"], "request-timeout");
    assert_eq!(known_of(&weir, origin.address, "failures"), 0, "it had answered");
}

#[test]
fn an_endpoint_that_is_silent_until_the_time_for_the_request_is_over_is_late() {
    let origin = Origin::start(|_| Answer::Silence);
    let weir = weir_with(&[origin.address], "timeouts: { request: 300ms }");
    assert_eq!(weir.get("/").status, 504);
    assert_eq!(line_about(&weir, "/")["ended"], "request-timeout");
    assert_eq!(known_of(&weir, origin.address, "failures"), 1);
}

#[test]
fn an_endpoint_that_does_not_speak_http_is_logged_as_such() {
    let origin = Origin::start(|_| Answer::SendAndClose(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()));
    let weir = weir_with(&[origin.address], "retry: { attempts: 1 }");
    assert_eq!(weir.get("/").status, 502);
    assert_eq!(line_about(&weir, "/")["ended"], "upstream-protocol");
}
