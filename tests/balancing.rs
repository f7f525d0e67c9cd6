//! Which endpoint gets a request: every policy, weights, backups, stickiness, and the connections they are reached by.

mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use support::{Answer, Connection, LIMIT, Origin, Request, Weir, eventually, free_address};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn origins(count: usize) -> Vec<Origin> {
    NAMES[..count].iter().map(|name| Origin::named(name)).collect()
}

fn addresses(origins: &[Origin]) -> Vec<SocketAddr> {
    origins.iter().map(|origin| origin.address).collect()
}

/// One data-plane thread, so that turns can be counted.
fn balanced(origins: &[Origin], upstream_keys: &str) -> Weir {
    Weir::start(&format!("threads: 1\n{}", Weir::forwarding_to(&addresses(origins), upstream_keys)))
}

/// Who answered how many of `count` requests.
fn shares(count: usize, request: impl Fn(usize) -> Request) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for number in 0..count {
        let answer = request(number).send();
        assert_eq!(answer.status, 200);
        *shares.entry(answer.text()).or_default() += 1;
    }
    shares
}

fn share(shares: &BTreeMap<String, usize>, name: &str) -> usize {
    shares.get(name).copied().unwrap_or(0)
}

#[test]
fn round_robin_takes_turns() {
    let origins = origins(3);
    let weir = balanced(&origins, "balance: round-robin");
    let shares = shares(30, |_| weir.request("GET", "/"));
    assert_eq!(shares.into_values().collect::<Vec<_>>(), [10, 10, 10]);
}

/// The first endpoint weighs three, the second one.
fn weighted(origins: &[Origin], policy: &str) -> Weir {
    Weir::start(&format!(
        r#"
        threads: 1
        upstreams:
          origin:
            endpoints:
              - address: "{}"
                weight: 3
              - address: "{}"
            balance: {policy}
        hosts:
          - names: ["*"]
            routes:
              - path: /
                upstream: origin
        "#,
        origins[0].address, origins[1].address
    ))
}

#[test]
fn weights_count_in_round_robin() {
    let origins = origins(2);
    let weir = weighted(&origins, "round-robin");
    let shares = shares(40, |_| weir.request("GET", "/"));
    assert_eq!((share(&shares, "a"), share(&shares, "b")), (30, 10));
}

#[test]
fn weights_count_in_random_and_hash() {
    let origins = origins(2);
    for policy in ["random", "\n              hash: path"] {
        let weir = weighted(&origins, policy);
        let shares = shares(400, |number| weir.request("GET", &format!("/{number}")));
        let first = share(&shares, "a");
        // Five standard deviations around 300 of 400.
        assert!((255..=345).contains(&first), "{policy}: {shares:?}");
    }
}

#[test]
fn a_backup_is_used_only_while_no_other_endpoint_can_be() {
    let mut origins = origins(2);
    let weir = Weir::start(&format!(
        r#"
        upstreams:
          origin:
            endpoints:
              - address: "{}"
              - address: "{}"
                backup: true
            health-check:
              tcp: {{}}
              interval: 100ms
              unhealthy-after: 1
              healthy-after: 1
            outlier-detection: off
        hosts:
          - names: ["*"]
            routes:
              - path: /
                upstream: origin
        "#,
        origins[0].address, origins[1].address
    ));
    assert_eq!(share(&shares(20, |_| weir.request("GET", "/")), "a"), 20);

    let first = origins.remove(0);
    let address = first.address;
    first.stop();
    assert_eq!(share(&shares(10, |_| weir.request("GET", "/")), "b"), 10, "the retry finds the backup at once");

    let _first = Origin::named_at(address, "a");
    eventually("the first is used again", || (weir.get("/").text() == "a").then_some(()));
    eventually("and the backup no longer", || {
        (share(&shares(10, |_| weir.request("GET", "/")), "a") == 10).then_some(())
    });
}

/// An origin whose answers to `/slow` wait until the sender is dropped.
fn stalling(name: &'static str) -> (Origin, std::sync::mpsc::Sender<()>) {
    let (release, gate) = channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    let origin = Origin::start(move |request| {
        if request.target == "/slow" {
            let gate = gate.lock().expect("no panic while held");
            let _ = gate.recv_timeout(LIMIT);
        }
        Answer::ok(name)
    });
    (origin, release)
}

#[test]
fn least_connections_avoids_the_endpoint_that_is_busy() {
    let (busy, release) = stalling("a");
    let origins = [busy, Origin::named("b")];
    let weir = balanced(&origins, "balance: least-connections");
    let mut waiting: Vec<Connection> = Vec::new();
    // Until one of them hangs at the first endpoint.
    eventually("a request waits at the first endpoint", || {
        let mut connection = weir.connect();
        connection.write("GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n");
        waiting.push(connection);
        std::thread::sleep(Duration::from_millis(20));
        (origins[0].request_count() > 0).then_some(())
    });
    assert_eq!(share(&shares(20, |_| weir.request("GET", "/")), "b"), 20);
    drop(release);
    assert_eq!(waiting.pop().expect("one waits").read_response().status, 200);
}

#[test]
fn random_leaves_nobody_out() {
    let origins = origins(3);
    let weir = balanced(&origins, "balance: random");
    let shares = shares(300, |_| weir.request("GET", "/"));
    assert!(NAMES[..3].iter().all(|name| share(&shares, name) > 50), "{shares:?}");
}

#[test]
fn peak_ewma_prefers_the_faster_endpoint() {
    let slow = Origin::start(|_| {
        // The endpoint's latency is what is tested.
        std::thread::sleep(Duration::from_millis(50));
        Answer::ok("a")
    });
    let origins = [slow, Origin::named("b")];
    let weir = balanced(&origins, "balance: peak-ewma");
    let shares = shares(60, |_| weir.request("GET", "/"));
    assert!(share(&shares, "b") >= 45, "{shares:?}");
}

/// For each of sixty keys the endpoint that answers, the same each time.
fn placement(request: impl Fn(usize) -> Request) -> Vec<String> {
    let place = |key| request(key).send().text();
    let first: Vec<_> = (0..60).map(place).collect();
    assert_eq!(first, (0..60).map(place).collect::<Vec<_>>(), "a key stays where it is");
    assert!(NAMES[..3].iter().all(|name| first.iter().any(|taken| taken == name)), "keys spread: {first:?}");
    first
}

#[test]
fn a_hash_keeps_each_client_address_at_one_endpoint() {
    let origins = origins(3);
    let weir = balanced(&origins, "balance: { hash: client-ip }");
    placement(|key| weir.request("GET", "/").from([127, 0, 1, key as u8 + 1]));
}

#[test]
fn a_hash_keeps_each_header_cookie_path_or_query_value_at_one_endpoint() {
    let origins = origins(3);
    let weir = balanced(&origins, "balance: { hash: { header: X-Tenant } }");
    placement(|key| weir.request("GET", "/").header("X-Tenant", &key.to_string()));

    let weir = balanced(&origins, "balance: { hash: { cookie: user } }");
    placement(|key| weir.request("GET", "/").header("Cookie", &format!("other=1; user={key}")));

    let weir = balanced(&origins, "balance: { hash: path }");
    placement(|key| weir.request("GET", &format!("/{key}?ignored={key}")));

    let weir = balanced(&origins, "balance: { hash: { query: id } }");
    placement(|key| weir.request("GET", &format!("/?x=1&id={key}")));
}

#[test]
fn requests_without_the_hash_key_are_spread() {
    let origins = origins(3);
    let weir = balanced(&origins, "balance: { hash: { header: X-Tenant } }");
    let shares = shares(120, |_| weir.request("GET", "/"));
    assert!(NAMES[..3].iter().all(|name| share(&shares, name) > 10), "{shares:?}");
}

#[test]
fn an_endpoint_that_leaves_moves_only_its_own_keys() {
    let origins = origins(4);
    let keys = "balance: { hash: { header: X-Tenant } }";
    let weir = balanced(&origins, keys);
    let ask = |key: usize| weir.request("GET", "/").header("X-Tenant", &key.to_string()).send().text();
    let before: Vec<_> = (0..200).map(ask).collect();

    weir.reload(&format!("threads: 1\n{}", Weir::forwarding_to(&addresses(&origins[..3]), keys)));
    let after: Vec<_> = (0..200).map(ask).collect();
    let moved = before.iter().zip(&after).filter(|(before, after)| *before != "d" && before != after).count();
    assert!(moved <= 20, "{moved} of 200 keys moved between endpoints that stayed");
    assert!(!after.contains(&"d".to_owned()));
}

#[test]
fn a_sticky_cookie_brings_a_client_back_to_its_endpoint() {
    let mut origins = origins(3);
    let weir = balanced(&origins, "balance: round-robin\nsticky: { cookie: stay }");
    let first = weir.get("/");
    let cookie = first.header("set-cookie").expect("the client is marked").to_owned();
    assert!(cookie.starts_with("stay="), "{cookie}");
    assert!(cookie.contains("HttpOnly"), "no script needs it: {cookie}");
    let mark = cookie.split(';').next().unwrap().to_owned();

    let home = first.text();
    let back = shares(12, |_| weir.request("GET", "/").header("Cookie", &format!("x=1; {mark}")));
    assert_eq!(share(&back, &home), 12, "{back:?}");
    assert!(shares(12, |_| weir.request("GET", "/")).len() > 1, "others are spread");
    for origin in &origins {
        assert!(!cookie.contains(&origin.address.to_string()), "the cookie does not tell addresses: {cookie}");
    }

    let at = NAMES.iter().position(|name| **name == home).unwrap();
    origins.remove(at).stop();
    let moved = weir.request("GET", "/").header("Cookie", &mark).send();
    assert_eq!(moved.status, 200);
    assert!(moved.header("set-cookie").is_some_and(|new| !new.starts_with(&mark)), "a new home, a new mark");
}

#[test]
fn a_forged_sticky_cookie_is_as_good_as_none() {
    let origins = origins(2);
    let weir = balanced(&origins, "sticky: { cookie: stay }");
    let answer = weir.request("GET", "/").header("Cookie", "stay=127.0.0.1:1").send();
    assert_eq!(answer.status, 200);
    assert!(answer.header("set-cookie").is_some());
}

#[test]
fn a_new_endpoint_with_slow_start_begins_with_less_than_its_share() {
    let origins = origins(2);
    let keys = "balance: round-robin\nslow-start: 1m";
    let weir = balanced(&origins[..1], keys);
    assert_eq!(share(&shares(4, |_| weir.request("GET", "/")), "a"), 4);
    weir.reload(&format!("threads: 1\n{}", Weir::forwarding_to(&addresses(&origins), keys)));
    let shares = shares(60, |_| weir.request("GET", "/"));
    assert!(share(&shares, "b") < 20, "an equal share were 30: {shares:?}");
}

#[test]
fn upstream_connections_are_used_again() {
    let origins = origins(1);
    let weir = balanced(&origins, "keepalive: 4");
    shares(20, |_| weir.request("GET", "/"));
    assert_eq!(origins[0].connection_count(), 1);
}

#[test]
fn what_a_burst_leaves_beyond_the_idle_connections_is_closed() {
    let together = Arc::new(Barrier::new(20));
    let origin = Origin::start(move |request| {
        if request.target == "/burst" {
            together.wait();
        }
        Answer::ok("a")
    });
    let origins = [origin];
    let weir = balanced(&origins, "keepalive: 2");
    let mut burst: Vec<Connection> = (0..20).map(|_| weir.connect()).collect();
    burst.iter_mut().for_each(|client| client.write("GET /burst HTTP/1.1\r\nHost: a.test\r\n\r\n"));
    burst.iter_mut().for_each(|client| assert_eq!(client.read_response().status, 200));
    assert_eq!(origins[0].connection_count(), 20);
    eventually("few are left open", || {
        assert_eq!(weir.get("/").status, 200);
        (origins[0].open_connections() <= 4).then_some(())
    });
    assert_eq!(origins[0].connection_count(), 20, "what was idle was used");
}

#[test]
fn upstream_connections_outlive_a_reload_that_changes_keepalive_and_endpoints() {
    let origins = origins(2);
    let weir = balanced(&origins[..1], "keepalive: 2");
    assert_eq!(share(&shares(4, |_| weir.request("GET", "/")), "a"), 4);
    weir.reload(&format!("threads: 1\n{}", Weir::forwarding_to(&addresses(&origins), "keepalive: 3")));
    assert_eq!(share(&shares(8, |_| weir.request("GET", "/")), "a"), 4);
    assert_eq!(origins[0].connection_count(), 1);
}

#[test]
fn keepalive_zero_makes_a_connection_for_each_request() {
    let origins = origins(1);
    let weir = balanced(&origins, "keepalive: 0");
    shares(5, |_| weir.request("GET", "/"));
    assert_eq!(origins[0].connection_count(), 5);
}

#[test]
fn an_upstream_connection_ends_after_its_number_of_requests() {
    let origins = origins(1);
    let weir = balanced(&origins, "keepalive: { connections: 4, max-requests: 5 }");
    shares(20, |_| weir.request("GET", "/"));
    assert_eq!(origins[0].connection_count(), 4);
}

#[test]
fn an_idle_upstream_connection_is_closed_in_time() {
    let (closed, seen) = channel();
    let closed = Mutex::new(closed);
    let origin = Origin::start(move |_| {
        let closed = closed.lock().expect("no panic while held").clone();
        Answer::drive(move |stream| {
            use std::io::{Read, Write};
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").expect("weir reads");
            let _ = closed.send(stream.read(&mut [0; 16]).is_ok_and(|n| n == 0));
        })
    });
    let origins = [origin];
    let weir = balanced(&origins, "keepalive: { connections: 4, idle-timeout: 200ms }");
    assert_eq!(weir.get("/").status, 200);
    assert!(seen.recv_timeout(LIMIT).expect("something happened to the connection"), "weir closed it in order");
}

#[test]
fn requests_beyond_the_limit_wait_in_the_queue_or_get_503() {
    let (origin, release) = stalling("a");
    let origins = [origin];
    let weir = balanced(&origins, "limits: { max-connections: 1, queue: 1, queue-timeout: 10s }");
    let slow = |weir: &Weir| {
        let mut connection = weir.connect();
        connection.write("GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n");
        connection
    };
    // One is at work, one waits; which of them a third finds taken is seen by its 503.
    let mut held = Vec::new();
    let refused = eventually("a request finds no place", || {
        let mut probe = slow(&weir);
        std::thread::sleep(Duration::from_millis(50));
        let answer = probe.read_available();
        if answer.is_empty() {
            held.push(probe);
            return None;
        }
        Some(String::from_utf8_lossy(&answer).into_owned())
    });
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert_eq!(held.len(), 2, "one at work and one in the queue");
    drop(release);
    for mut connection in held {
        assert_eq!(connection.read_response().status, 200, "who waited was served");
    }
}

#[test]
fn who_waits_in_the_queue_for_too_long_gets_503() {
    let (origin, release) = stalling("a");
    let origins = [origin];
    let weir = balanced(&origins, "limits: { max-connections: 1, queue: 10, queue-timeout: 200ms }");
    let mut first = weir.connect();
    first.write("GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n");
    eventually("a later request gives up", || (weir.get("/").status == 503).then_some(()));
    drop(release);
    assert_eq!(first.read_response().status, 200);
}

#[test]
fn who_leaves_the_queue_is_not_worked_for() {
    let (origin, release) = stalling("a");
    let origins = [origin];
    let weir = balanced(&origins, "limits: { max-connections: 1, queue: 10, queue-timeout: 30s }");
    let ask = |target: &str| {
        let mut connection = weir.connect();
        connection.write(format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
        connection
    };
    let mut first = ask("/slow");
    origins[0].wait_for_requests(1);
    let leaving: Vec<Connection> = (0..3).map(|_| ask("/left")).collect();
    std::thread::sleep(Duration::from_millis(200));
    drop(leaving);
    let gone = || weir.metric("weir_connections_open", &[]) == Some(1.0);
    eventually("they are gone, and with them their places in the queue", || gone().then_some(()));
    let mut last = ask("/last");
    drop(release);
    assert_eq!((first.read_response().status, last.read_response().status), (200, 200));
    assert!(origins[0].received().iter().all(|request| request.target != "/left"));
}

#[test]
fn endpoints_are_found_by_name() {
    let origin = Origin::start_at(free_address(), |_| Answer::ok("by name"));
    let port = origin.address.port();
    let weir = Weir::start(&format!(
        r#"
        upstreams:
          origin:
            endpoints: [ "localhost:{port}" ]
        hosts:
          - names: ["*"]
            routes:
              - path: /
                upstream: origin
        "#
    ));
    eventually("the name is resolved", || (weir.get("/").text() == "by name").then_some(()));
}
