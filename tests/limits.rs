//! Rate and concurrency limits on the wire: every key with a value that is not its default.
//!
//! Rates are of hours wherever time must not matter: within a test nothing leaks out of a bucket.

mod support;

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use support::{
    Answer, Connection, END_HEADERS, END_STREAM, FrameConnection, H2Client, HEADERS, Origin, RST_STREAM, Request,
    Response, Weir, eventually, frame, head, request, weir_command,
};

/// A Weir that answers `/` itself, under these filters (a YAML list in one line).
fn limited(filters: &str) -> Weir {
    Weir::start(&file(filters))
}

fn file(filters: &str) -> String {
    format!("hosts:\n  - names: [\"*\"]\n    routes: [ {{ name: all, path: /, respond: {{}}, filters: {filters} }} ]\n")
}

/// In front of `origin`.
fn forwarding(origin: &Origin, filters: &str) -> Weir {
    Weir::start(&format!(
        "upstreams: {{ origin: {{ endpoints: [\"{}\"] }} }}\n\
         hosts:\n  - names: [\"*\"]\n    routes: [ {{ name: all, path: /, upstream: origin, filters: {filters} }} ]\n",
        origin.address
    ))
}

#[track_caller]
fn statuses(weir: &Weir, count: usize, make: impl Fn(Request) -> Request) -> Vec<u16> {
    (0..count).map(|_| make(weir.request("GET", "/")).send().status).collect()
}

fn as_it_is(request: Request) -> Request {
    request
}

fn counted(weir: &Weir, family: &str, limit: &str, outcome: &str) -> f64 {
    let labels = [format!("limit=\"{limit}\""), format!("outcome=\"{outcome}\"")];
    weir.metric(family, &[&labels[0], &labels[1]]).unwrap_or(0.0)
}

/// Holds requests at the origin until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn origin(&self) -> Origin {
        let gate = self.clone();
        Origin::start(move |_| {
            gate.wait();
            Answer::ok("through")
        })
    }

    fn wait(&self) {
        let (open, changed) = &*self.0;
        let open = open.lock().unwrap();
        drop(changed.wait_timeout_while(open, Duration::from_secs(10), |open| !*open).unwrap());
    }

    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

#[test]
fn what_is_above_rate_and_burst_is_429_and_told_when_to_come_back() {
    let weir = Weir::start(&format!(
        "access-log: {{ format: json, file: access.log }}\n{}",
        file("[ { rate-limit: { rate: 5/m, burst: 2 } } ]")
    ));
    assert_eq!(statuses(&weir, 3, as_it_is), [200; 3]);
    let refused = weir.request("GET", "/").header("Accept", "application/json").send();
    assert_eq!(refused.status, 429);
    // Twelve seconds for a request, and few of them can have passed.
    let seconds: u64 = refused.header("retry-after").expect("it is told").parse().expect("whole seconds");
    assert!((8..=13).contains(&seconds), "{seconds}");
    assert_eq!(refused.header("ratelimit"), Some(&*format!("\"default\";r=0;t={seconds}")));
    assert_eq!(refused.header("ratelimit-policy"), Some("\"default\";q=5;w=60"));
    assert!(refused.text().contains("\"message\":\"too many requests: try again later\""), "{}", refused.text());
    assert_eq!(statuses(&weir, 1, |request| request.from([127, 0, 0, 9])), [200], "of another client");

    assert_eq!(counted(&weir, "weir_rate_limit_total", "route:all", "passed"), 4.0);
    assert_eq!(counted(&weir, "weir_rate_limit_total", "route:all", "limited"), 1.0);
    let log = eventually("the refusal is logged", || {
        let log = std::fs::read_to_string(weir.folder().join("access.log")).ok()?;
        log.contains("\"status\":429").then_some(log)
    });
    let line = log.lines().find(|line| line.contains("\"status\":429")).expect("a line");
    assert!(line.contains("\"ended\":\"refused\"") && line.contains("rate-limit"), "{line}");
}

#[test]
fn requests_are_counted_by_what_the_key_says() {
    let other = |name: &'static str, value: &'static str| move |request: Request| request.header(name, value);
    for key in ["{ header: X-Key }", "[ { header: X-Key } ]", "[ client-ip, { header: x-key } ]"] {
        let weir = limited(&format!("[ {{ rate-limit: {{ rate: 1/h, key: {key} }} }} ]"));
        assert_eq!(statuses(&weir, 2, other("X-Key", "1")), [200, 429], "{key}");
        assert_eq!(statuses(&weir, 2, other("X-Key", "2")), [200, 429], "{key}");
    }
    let weir = limited("[ { rate-limit: { rate: 1/h, key: { cookie: Id } } } ]");
    assert_eq!(statuses(&weir, 2, other("Cookie", "a=b; Id=1")), [200, 429]);
    assert_eq!(statuses(&weir, 2, other("Cookie", "Id=2")), [200, 429]);
    assert_eq!(statuses(&weir, 3, as_it_is), [200; 3], "without a key nothing is counted");

    let weir = limited("[ { rate-limit: { rate: 1/h, key: host } } ]");
    assert_eq!(statuses(&weir, 2, |request| request.host("A.test:80")), [200, 429]);
    assert_eq!(statuses(&weir, 1, |request| request.host("a.test.")), [429], "the same host");
    assert_eq!(statuses(&weir, 2, |request| request.host("b.test")), [200, 429]);

    let weir = limited("[ { rate-limit: { rate: 1/h, key: path } } ]");
    let asked = ["/a?x=1", "/a?x=2", "/b", "//a"].map(|target| weir.get(target).status);
    assert_eq!(asked, [200, 429, 200, 429]);
}

#[test]
fn who_leaves_a_part_of_the_key_out_is_counted_all_the_same() {
    let weir = limited("[ { rate-limit: { rate: 1/h, key: [client-ip, { header: X-Key }] } } ]");
    assert_eq!(statuses(&weir, 2, as_it_is), [200, 429]);
}

#[test]
fn ipv6_clients_are_told_apart_by_their_prefix() {
    for (prefix, expected) in
        [("", [200, 429, 200]), ("ipv6-prefix: 48,", [200, 429, 429]), ("ipv6-prefix: 128,", [200; 3])]
    {
        let weir = Weir::start(&format!(
            "trusted-proxies: [ 127.0.0.0/8 ]\n{}",
            file(&format!("[ {{ rate-limit: {{ {prefix} rate: 1/h }} }} ]"))
        ));
        let clients = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"];
        let asked = clients.map(|client| weir.request("GET", "/").header("X-Forwarded-For", client).send().status);
        assert_eq!(asked, expected, "{prefix}");
    }
}

#[test]
fn allowed_clients_are_not_limited() {
    let weir = limited("[ { rate-limit: { rate: 1/h, allow: [127.0.0.8/32] } } ]");
    assert_eq!(statuses(&weir, 3, |request| request.from([127, 0, 0, 8])), [200; 3]);
    assert_eq!(statuses(&weir, 2, |request| request.from([127, 0, 0, 9])), [200, 429]);

    let gate = Gate::default();
    let origin = gate.origin();
    let weir = forwarding(&origin, "[ { concurrency-limit: { max: 1, allow: [127.0.0.8/32] } } ]");
    let held = held_from(&weir, &origin, 2, [127, 0, 0, 8]);
    gate.open();
    assert!(held.into_iter().all(|mut client| client.read_response().status == 200));
}

#[test]
fn the_status_is_the_one_that_is_written() {
    let weir = limited("[ { rate-limit: { rate: 1/h, status: 503 } } ]");
    assert_eq!(statuses(&weir, 2, as_it_is), [200, 503]);
}

#[test]
fn a_dry_run_refuses_nothing_and_counts_what_it_would_refuse() {
    let weir = limited("[ { rate-limit: { rate: 1/h, burst: 1, delay: all, dry-run: true, name: trial } } ]");
    assert_eq!(statuses(&weir, 4, as_it_is), [200; 4]);
    // The second would have waited for an hour, the others would have been refused.
    let outcomes = ["passed", "dry-run", "limited", "delayed"];
    let counts = outcomes.map(|outcome| counted(&weir, "weir_rate_limit_total", "trial", outcome));
    assert_eq!(counts, [1.0, 3.0, 0.0, 0.0]);

    let gate = Gate::default();
    let origin = gate.origin();
    let weir = forwarding(&origin, "[ { concurrency-limit: { max: 1, dry-run: true, name: trial } } ]");
    let held = held_from(&weir, &origin, 3, [127, 0, 0, 1]);
    let count = |outcome| counted(&weir, "weir_concurrency_limit_total", "trial", outcome);
    assert_eq!(["passed", "dry-run", "limited"].map(count), [1.0, 2.0, 0.0]);
    gate.open();
    assert!(held.into_iter().all(|mut client| client.read_response().status == 200));
}

#[test]
fn limits_of_one_name_count_together_wherever_they_stand() {
    let weir = Weir::start(
        "hosts:\n\
         - { names: [a.test], routes: [ { path: /, respond: {}, filters: [ { rate-limit: { rate: 1/h, burst: 1, name: both } } ] } ] }\n\
         - { names: [b.test], filters: [ { rate-limit: { rate: 1/h, burst: 2, name: both } } ],\n\
         \x20   routes: [ { path: /, respond: {} }, { path: /own, respond: {}, filters: [ { rate-limit: { rate: 1/h } } ] } ] }\n",
    );
    let get = |host: &str, target: &str| weir.request("GET", target).host(host).send();
    assert_eq!((get("a.test", "/").status, get("b.test", "/").status), (200, 200));
    let refused = get("a.test", "/");
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("ratelimit-policy"), Some("\"both\";q=1;w=3600"));
    assert_eq!((get("b.test", "/").status, get("b.test", "/").status), (200, 429), "each by its own burst");
    assert_eq!((get("b.test", "/own").status, get("b.test", "/own").status), (200, 429), "a place of its own");
}

#[test]
fn several_limits_hold_together_and_what_one_refuses_none_counts() {
    let weir = limited(
        "[ { rate-limit: { rate: 1/h, burst: 3, name: wide, key: host } }, { rate-limit: { rate: 1/h, burst: 1, name: narrow } } ]",
    );
    let from = |last: u8| move |request: Request| request.from([127, 0, 0, last]);
    assert_eq!(statuses(&weir, 3, from(1)), [200, 200, 429]);
    // The wide one has counted two of these three: two are left.
    assert_eq!(statuses(&weir, 1, from(2)), [200]);
    assert_eq!(statuses(&weir, 2, from(3)), [200, 429]);
    let refused = |limit| counted(&weir, "weir_rate_limit_total", limit, "limited");
    assert_eq!((refused("narrow"), refused("wide")), (1.0, 1.0));
}

#[test]
fn the_limits_of_the_nearest_level_hold() {
    let http = support::free_address();
    let weir = Weir::start(&format!(
        "listeners:\n  http: {{ address: \"{http}\", filters: [ {{ rate-limit: {{ rate: 1/h }} }} ] }}\n\
         hosts:\n\
         - {{ names: [a.test], filters: [ {{ rate-limit: {{ rate: 1/h, burst: 1 }} }} ],\n\
         \x20   routes: [ {{ path: /, respond: {{}} }}, {{ path: /r, respond: {{}}, filters: [ {{ rate-limit: {{ rate: 1/h, burst: 2 }} }} ] }} ] }}\n\
         - {{ names: [b.test], routes: [ {{ path: /, respond: {{}} }} ] }}\n"
    ));
    let ask = |host: &str, target: &str| -> Vec<u16> {
        (0..4).map(|_| request(http, "GET", target).host(host).send().status).collect()
    };
    assert_eq!(ask("b.test", "/"), [200, 429, 429, 429]);
    assert_eq!(ask("a.test", "/"), [200, 200, 429, 429]);
    assert_eq!(ask("a.test", "/r"), [200, 200, 200, 429]);
    for limit in ["listener:http", "host:a.test", "route:a.test/r"] {
        assert!(counted(&weir, "weir_rate_limit_total", limit, "limited") > 0.0, "{limit}");
    }
}

#[test]
fn checks_come_first_and_what_they_answer_is_not_counted() {
    let limits = "{ rate-limit: { rate: 1/h } }, { concurrency-limit: { max: 1 } }, { deny: [127.0.0.7/32] } ]";
    let uncounted = |weir: &Weir| counted(weir, "weir_rate_limit_total", "route:all", "passed") == 0.0;
    let weir = limited(&format!("[ {limits}"));
    assert_eq!(statuses(&weir, 3, |request| request.from([127, 0, 0, 7])), [403; 3]);
    assert!(uncounted(&weir));
    // As in nginx, whoever asks.
    let weir = limited(&format!("[ https-redirect, {limits}"));
    assert_eq!(statuses(&weir, 3, |request| request.from([127, 0, 0, 7])), [308; 3]);
    assert_eq!(statuses(&weir, 3, as_it_is), [308; 3]);
    assert!(uncounted(&weir));
}

/// Sends requests at once, each on a thread of its own. The answers with how long each took, in the order of time.
fn at_once(weir: &Weir, count: usize, method: &'static str, body: Option<&str>) -> Vec<(u16, Duration)> {
    let begun = Instant::now();
    let mut answers: Vec<_> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..count)
            .map(|_| {
                scope.spawn(|| {
                    let request = weir.request(method, "/");
                    let answer = match body {
                        Some(body) => request.body(body).send(),
                        None => request.send(),
                    };
                    (answer.status, begun.elapsed())
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().expect("an answer")).collect()
    });
    answers.sort_by_key(|(_, took)| *took);
    answers
}

#[track_caller]
fn assert_took(answers: &[(u16, Duration)], status: u16, milliseconds: &[u64]) {
    let took: Vec<_> = answers.iter().filter(|(code, _)| *code == status).map(|(_, took)| *took).collect();
    assert_eq!(took.len(), milliseconds.len(), "{answers:?}");
    for (took, expected) in took.iter().zip(milliseconds) {
        let expected = Duration::from_millis(*expected);
        assert!(*took + Duration::from_millis(30) >= expected, "{took:?} is too soon for {expected:?}");
        assert!(*took < expected + Duration::from_millis(350), "{took:?} is too late for {expected:?}");
    }
}

#[test]
fn a_burst_is_delayed_to_its_rate() {
    let origin = Origin::start(|request| Answer::ok(&String::from_utf8_lossy(&request.body)));
    for (method, body) in [("GET", None), ("POST", Some("hello"))] {
        let weir = forwarding(&origin, "[ { rate-limit: { rate: 4/s, burst: 3, delay: all } } ]");
        let answers = at_once(&weir, 6, method, body);
        assert_took(&answers, 200, &[0, 250, 500, 750]);
        assert_took(&answers, 429, &[0, 0]);
        assert_eq!(counted(&weir, "weir_rate_limit_total", "route:all", "delayed"), 3.0);
    }
    let weir = limited("[ { rate-limit: { rate: 4/s, burst: 3, delay: 2 } } ]");
    assert_took(&at_once(&weir, 4, "GET", None), 200, &[0, 0, 0, 250]);
    let weir = limited("[ { rate-limit: { rate: 4/s, burst: 3, delay: none } } ]");
    assert_took(&at_once(&weir, 4, "GET", None), 200, &[0; 4]);
}

#[test]
fn a_delay_may_be_longer_than_clients_may_be_silent() {
    let origin = Origin::start(|request| Answer::ok(&String::from_utf8_lossy(&request.body)));
    let http = support::free_address();
    let weir = Weir::start(&format!(
        "listeners: {{ http: {{ address: \"{http}\", limits: {{ body-timeout: 200ms, idle-timeout: 200ms, header-timeout: 200ms }} }} }}\n\
         upstreams: {{ origin: {{ endpoints: [\"{}\"] }} }}\n\
         hosts:\n  - names: [\"*\"]\n    filters: [ {{ rate-limit: {{ rate: 1/s, burst: 1, delay: all, key: path }} }} ]\n    \
         routes: [ {{ path: /, upstream: origin }} ]\n",
        origin.address
    ));
    std::thread::scope(|scope| {
        for (method, target) in [("GET", "/get"), ("POST", "/post")] {
            scope.spawn(move || {
                let ask = || request(http, method, target).body(if method == "POST" { "hello" } else { "" }).send();
                assert_eq!(ask().status, 200);
                let begun = Instant::now();
                assert_eq!((ask().status, begun.elapsed() > Duration::from_millis(800)), (200, true), "{method}");
            });
        }
        scope.spawn(|| {
            let mut client = H2Client::plain(http);
            assert_eq!(client.get("a.test", "/h2").status, 200);
            let begun = Instant::now();
            assert_eq!((client.get("a.test", "/h2").status, begun.elapsed() > Duration::from_millis(800)), (200, true));
        });
    });
    drop(weir);
}

#[test]
fn a_request_that_is_pipelined_behind_a_delayed_one_is_answered_after_it() {
    let origin = Origin::start(|request| Answer::ok(&request.target));
    let weir = forwarding(&origin, "[ { rate-limit: { rate: 5/s, burst: 3, delay: all } } ]");
    let mut client = weir.connect();
    client.write("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_response().text(), "/1");
    client.write("GET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_response().text(), "/2");
    client.write("GET /4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(client.read_response().text(), "/3");
    assert_eq!(client.read_response().text(), "/4");
    client.assert_closed();
}

#[test]
fn a_client_that_leaves_while_it_is_delayed_is_let_go() {
    let origin = Origin::named("origin");
    // The second one would wait for an hour.
    let filters =
        "[ { concurrency-limit: { max: 1 } }, { rate-limit: { rate: 1/h, burst: 5, delay: all, key: path } } ]";
    let weir = forwarding(&origin, filters);
    let in_flight = || weir.metric("weir_requests_in_flight", &["route=\"all\""]).unwrap_or(0.0);
    assert_eq!(weir.get("/").status, 200);
    eventually("it is over", || (in_flight() == 0.0).then_some(()));
    let mut client = weir.connect();
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it waits", || (in_flight() == 1.0).then_some(()));
    assert_eq!(weir.get("/other").status, 429, "it has its place");
    drop(client);
    eventually("it is let go", || (in_flight() == 0.0).then_some(()));
    assert_eq!(weir.get("/another").status, 200, "its place is free");
    eventually("that is over, too", || (in_flight() == 0.0).then_some(()));

    let mut client = FrameConnection::open(weir.http);
    client.write(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &head("GET", "a.test"))).expect("weir reads");
    eventually("it waits", || (in_flight() == 1.0).then_some(()));
    client.write(&frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])).expect("weir reads");
    eventually("it is let go", || (in_flight() == 0.0).then_some(()));
    assert_eq!(origin.request_count(), 2, "nothing of them reached the origin");
}

#[test]
fn a_reload_forgets_nothing_that_is_counted_the_same_way() {
    let weir = limited("[ { rate-limit: { rate: 1/h, burst: 1 } } ]");
    assert_eq!(statuses(&weir, 3, as_it_is), [200, 200, 429]);
    weir.reload(&file("[ { rate-limit: { rate: 1/h, burst: 2 } } ]"));
    assert_eq!(statuses(&weir, 2, as_it_is), [200, 429], "one more, by the new burst");
    weir.reload(&file("[ { rate-limit: { rate: 1/h, key: host } } ]"));
    assert_eq!(statuses(&weir, 2, as_it_is), [200, 429], "by another key it is counted anew");

    let gate = Gate::default();
    let origin = gate.origin();
    let concurrent = |max: u32| {
        format!(
            "upstreams: {{ origin: {{ endpoints: [\"{}\"] }} }}\nhosts:\n  - names: [\"*\"]\n    \
             routes: [ {{ path: /, upstream: origin, filters: [ {{ concurrency-limit: {{ max: {max} }} }} ] }} ]\n",
            origin.address
        )
    };
    let weir = Weir::start(&concurrent(1));
    let mut held = held_from(&weir, &origin, 1, [127, 0, 0, 1]);
    weir.reload(&concurrent(2));
    held.extend(held_from(&weir, &origin, 1, [127, 0, 0, 1]));
    assert_eq!(weir.get("/").status, 429, "who came before the reload is still there");
    gate.open();
    assert!(held.into_iter().all(|mut client| client.read_response().status == 200));
    eventually("all have left", || (weir.get("/").status == 200).then_some(()));
}

/// Clients whose requests are at the origin, unanswered.
fn held_from(weir: &Weir, origin: &Origin, count: usize, from: [u8; 4]) -> Vec<Connection> {
    let held = (0..count).map(|_| {
        let before = origin.request_count();
        let mut client = Connection::try_open_from((from, 0).into(), weir.http).expect("a connection");
        client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        origin.wait_for_requests(before + 1);
        client
    });
    held.collect()
}

#[test]
fn no_more_than_the_limit_are_in_flight_at_once() {
    let gate = Gate::default();
    let origin = gate.origin();
    let weir = forwarding(&origin, "[ { concurrency-limit: { max: 2, status: 503 } } ]");
    let mut held = held_from(&weir, &origin, 2, [127, 0, 0, 1]);
    let refused: Response = weir.get("/");
    assert_eq!(refused.status, 503);
    assert!(refused.text().contains("too many requests at once"), "{}", refused.text());
    held.extend(held_from(&weir, &origin, 1, [127, 0, 0, 2]));

    // One that breaks off gives its place back.
    drop(held.remove(0));
    eventually("its place is free", || {
        let before = origin.request_count();
        let mut client = weir.connect();
        client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        std::thread::sleep(Duration::from_millis(20));
        (origin.request_count() > before).then(|| held.push(client))
    });
    gate.open();
    assert!(held.into_iter().all(|mut client| client.read_response().status == 200));
    eventually("nobody is there", || (weir.get("/").status == 200).then_some(()));
    assert!(counted(&weir, "weir_concurrency_limit_total", "route:all", "limited") >= 1.0);
}

#[test]
fn each_stream_of_http2_has_a_place_of_its_own() {
    let gate = Gate::default();
    let origin = gate.origin();
    let weir = forwarding(&origin, "[ { concurrency-limit: { max: 2, key: host } } ]");
    let mut client = H2Client::plain(weir.http);
    let mut open = |host: &str| client.begin_get(host, "/");
    let (mut first, mut second) = (open("a.test"), open("a.test"));
    origin.wait_for_requests(2);
    assert_eq!(open("a.test").status(), 429);
    let mut other = open("b.test");
    origin.wait_for_requests(3);
    gate.open();
    assert_eq!((first.status(), second.status(), other.status()), (200, 200, 200));
}

#[test]
fn a_request_that_the_rate_refuses_leaves_its_place() {
    let weir = limited("[ { concurrency-limit: { max: 1 } }, { rate-limit: { rate: 1/h, status: 503 } } ]");
    for expected in [200, 503, 503, 503] {
        assert_eq!(weir.get("/").status, expected, "429 would say that the place is taken");
        let in_flight = || weir.metric("weir_requests_in_flight", &["route=\"all\""]);
        eventually("it is over", || (in_flight() == Some(0.0)).then_some(()));
    }
}

#[test]
fn explain_shows_the_limits_and_counts_nothing() {
    let filters = "[ { rate-limit: { rate: 1/h, burst: 1, name: calls } }, { concurrency-limit: { max: 3 } } ]";
    let weir = limited(filters);
    let explain = |from: &str| weir.admin(&format!("/explain?url=http://a.test/&from={from}")).text();
    for _ in 0..3 {
        let text = explain("127.0.0.1");
        assert!(text.contains("1/h, burst 1, delay none: passes, 0 above the rate"), "{text}");
        assert!(text.contains("3 at once: passes, 0 are in flight"), "{text}");
    }
    assert_eq!(statuses(&weir, 2, as_it_is), [200, 200]);
    let text = explain("127.0.0.1");
    assert!(text.contains("answered 429 by rate-limit, as things stand; let pass in"), "{text}");
    assert!(explain("127.0.0.2").contains("answered 200 by Weir"));
    assert_eq!(counted(&weir, "weir_rate_limit_total", "calls", "passed"), 2.0);

    let output = weir_command().arg("explain").arg(weir.file()).args(["GET", "http://a.test/"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("filter    rate-limit of the route"), "{text}");
    assert!(text.contains("limit     rate-limit calls: 1/h, burst 1"), "{text}");
    assert!(text.find("concurrency-limit of the route") < text.find("rate-limit of the route"), "{text}");
}

#[test]
fn the_configuration_shows_the_limits() {
    let weir = limited("[ { rate-limit: { rate: 5/m, burst: 3, delay: 2, key: { header: X-Api-Key } } } ]");
    let shown = weir.admin("/config").text();
    for piece in ["\"rate\": \"5/m\"", "\"burst\": 3", "\"after\": 2", "\"header\": \"x-api-key\"", "\"route:all\""] {
        assert!(shown.contains(piece), "{piece}: {shown}");
    }
}
