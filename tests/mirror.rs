//! `mirror` on the wire: what a shadow sees, that nobody waits for it, and what is counted.

mod support;

use std::time::{Duration, Instant};

use support::{Answer, H2Client, Origin, Received, Weir, eventually, holds_for};

/// Everything goes to `origin`, and copies to `shadow`.
fn file(origin: &Origin, shadow: &str, keys: &str) -> String {
    format!(
        "upstreams:\n  origin: {{ endpoints: [\"{}\"] }}\n  shadow: {{ endpoints: [\"{shadow}\"] }}\n\
         hosts:\n  - names: [\"*\"]\n    routes:\n      - path: /\n        upstream: origin\n        \
         filters: [ {{ mirror: {{ upstream: shadow{keys} }} }} ]\n",
        origin.address
    )
}

fn mirrored(origin: &Origin, shadow: &Origin, keys: &str) -> Weir {
    Weir::start(&file(origin, &shadow.address.to_string(), keys))
}

/// Without a period that is a power of two.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n % 251) as u8).collect()
}

fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let chunk = |piece: &[u8]| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
    body.chunks(size).flat_map(chunk).chain(*b"0\r\n\r\n").collect()
}

fn count(weir: &Weir, outcome: &str) -> u64 {
    weir.metric("weir_mirror_requests_total", &[&format!("outcome=\"{outcome}\"")]).unwrap_or(0.0) as u64
}

#[track_caller]
fn wait_for_count(weir: &Weir, outcome: &str, wanted: u64) {
    eventually(&format!("{wanted} copies {outcome}"), || (count(weir, outcome) >= wanted).then_some(()));
    assert_eq!(count(weir, outcome), wanted, "{outcome}");
}

/// Method, target, fields in order, body.
type Seen = (String, String, Vec<(String, String)>, Vec<u8>);

fn seen(request: &Received) -> Seen {
    let Received { method, target, headers, body, .. } = request.clone();
    (method, target, headers, body)
}

#[test]
fn the_shadow_sees_what_the_upstream_sees() {
    let (origin, shadow) = (Origin::named("origin"), Origin::named("shadow"));
    let weir = Weir::start(&format!(
        "upstreams:\n  origin: {{ endpoints: [\"{}\"] }}\n  shadow: {{ endpoints: [\"{}\"] }}\n\
         forwarded: true\n\
         hosts:\n  - names: [\"*\"]\n    filters:\n      - mirror: {{ upstream: shadow }}\n      \
         - headers: {{ request: {{ set: {{ X-Set: \"${{path}} ${{upstream}}\" }}, remove: [X-Gone] }} }}\n    \
         routes:\n      - {{ path: /api, upstream: origin, rewrite: {{ prefix: /v2, host: inner.test }} }}\n      \
         - {{ path: /, upstream: origin }}\n",
        origin.address, shadow.address
    ));
    let mut client = weir.connect();
    let requests: [&[u8]; 8] = [
        b"GET /api/x?y=%2f&z HTTP/1.1\r\nHost: a.test\r\nX-Gone: 1\r\nCookie: a=b\r\nCookie: c=d\r\n\r\n",
        b"GET http://abs.test/%7Ea?q HTTP/1.1\r\nHost: abs.test\r\n\r\n",
        b"POST /p HTTP/1.1\r\nHost: a.test:81\r\nContent-Length: 5\r\nConnection: x-mine, close-not\r\nX-Mine: 1\r\n\r\nhello",
        b"PUT /p HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        b"DELETE /p HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n",
        b"OPTIONS /p HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 9.9.9.9\r\nX-Real-Ip: 9.9.9.9\r\nForwarded: for=x\r\n\r\n",
        b"PURGE /p HTTP/1.1\r\nHost: a.test\r\nProxy-Connection: x\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\n\r\n",
        b"POST /p HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ];
    for (n, bytes) in requests.iter().enumerate() {
        client.write(bytes);
        let answer = client.read_response();
        assert_eq!((answer.status, answer.text().as_str()), (200, "origin"), "{}", String::from_utf8_lossy(bytes));
        shadow.wait_for_requests(n + 1);
        assert_eq!(seen(&shadow.last_request()), seen(&origin.last_request()), "{}", String::from_utf8_lossy(bytes));
    }
    assert_eq!(shadow.received()[0].target, "/v2/x?y=%2f&z");
    assert_eq!(shadow.received()[0].header("x-set"), Some("/api/x origin"));
    wait_for_count(&weir, "answered", 8);
    assert_eq!([count(&weir, "failed"), count(&weir, "abandoned"), count(&weir, "skipped")], [0; 3]);
}

/// As they come, the upstream's and the shadow's may differ in what follows from it.
#[test]
fn what_concerns_one_connection_alone_is_not_copied() {
    let (origin, shadow) = (Origin::named("origin"), Origin::named("shadow"));
    let weir = mirrored(&origin, &shadow, "");
    let mut client = weir.connect();
    client.write("GET /p HTTP/1.1\r\nHost: a.test\r\nExpect: nothing\r\nProxy-Authorization: x\r\nConnection: x-y\r\nX-Y: 1\r\n\r\n");
    assert_eq!(client.read_response().text(), "origin");
    shadow.wait_for_requests(1);
    let copy = shadow.only_request();
    for name in ["expect", "proxy-authorization", "connection", "x-y"] {
        assert_eq!(copy.header(name), None, "{name}");
    }
    client.write("GET /p HTTP/1.1\r\nHost: a.test\r\nConnection: host\r\n\r\n");
    assert_eq!(client.read_response().status, 400);
    holds_for(Duration::from_millis(200), "what is refused is not copied", || shadow.request_count() == 1);
}

#[test]
fn clients_of_http2_and_of_http1_0_are_copied_too() {
    let (origin, shadow) = (Origin::named("origin"), Origin::named("shadow"));
    let weir = mirrored(&origin, &shadow, "");
    let mut client = H2Client::plain(weir.http);
    assert_eq!(client.get("a.test", "/x?y").text(), "origin");
    shadow.wait_for_requests(1);
    let body = pattern(100_000);
    let answer = client.send("POST", "a.test", "/p", &[("te", "trailers")], Some(body.clone().into()));
    assert_eq!(answer.text(), "origin");
    shadow.wait_for_requests(2);
    let mut stream = client.open_stream("PUT", "a.test", "/p", &[("content-length", "4")]);
    stream.send("ab".into());
    stream.send("cd".into());
    stream.finish();
    assert_eq!(stream.text(), "origin");
    shadow.wait_for_requests(3);
    let mut old = weir.connect();
    old.write("GET /old HTTP/1.0\r\n\r\n");
    assert_eq!(old.read_response().text(), "origin");
    shadow.wait_for_requests(4);
    let (mut copies, mut originals) = (shadow.received(), origin.received());
    assert_eq!(copies[3].header("host"), Some(&*shadow.address.to_string()), "HTTP/1.1 needs one");
    assert_eq!(originals[3].header("host"), Some(&*origin.address.to_string()));
    for received in [&mut copies[3], &mut originals[3]] {
        received.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("host"));
    }
    for (copy, original) in copies.iter().zip(&originals) {
        assert_eq!(seen(copy), seen(original));
    }
    assert_eq!(copies[1].body, body);
}

#[test]
fn bodies_arrive_whole_however_they_are_framed_and_however_large() {
    let (origin, shadow) = (Origin::named("origin"), Origin::named("shadow"));
    let weir = mirrored(&origin, &shadow, ", max-lag: 64MiB");
    for (n, size) in [1, 70_000, 10_000_000].into_iter().enumerate() {
        let body = pattern(size);
        assert_eq!(weir.request("POST", "/length").body(body.clone()).send().text(), "origin");
        let mut client = weir.connect();
        client.write("POST /chunks HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.write(chunked(&body, 50_001));
        assert_eq!(client.read_response().text(), "origin");
        let answer = H2Client::plain(weir.http).send("POST", "a.test", "/h2", &[], Some(body.clone().into()));
        assert_eq!(answer.text(), "origin");
        shadow.wait_for_requests(3 * (n + 1));
        for copy in &shadow.received()[3 * n..] {
            assert!(copy.body == body, "{} of {size}: {} bytes arrived", copy.target, copy.body.len());
        }
    }
    wait_for_count(&weir, "answered", 9);
}

/// The client, the upstream and the shadow are as fast as each other: the worker's thread is what they share.
#[test]
fn a_body_that_comes_at_full_speed_leaves_its_copy_a_turn() {
    let (origin, shadow) = (Origin::named("origin"), Origin::named("shadow"));
    let weir = Weir::start(&format!("threads: 1\n{}", file(&origin, &shadow.address.to_string(), "")));
    let body = pattern(4_000_000);
    // The first may be over before there is a way to connect, and a busy machine may let the shadow fall behind in earnest.
    eventually("a copy is whole", || {
        weir.request("POST", "/").body(body.clone()).send();
        eventually("it is over", || (weir.metric("weir_mirror_in_flight", &[]) == Some(0.0)).then_some(()));
        (count(&weir, "answered") > 0).then_some(())
    });
    assert!(shadow.last_request().body == body);
}

#[test]
fn a_copy_can_do_without_its_body() {
    let (origin, shadow) = (Origin::named("origin"), Origin::named("shadow"));
    let weir = mirrored(&origin, &shadow, ", request-body: off");
    assert_eq!(weir.request("POST", "/length").body("hello").send().text(), "origin");
    let mut client = weir.connect();
    client.write("PUT /chunks HTTP/1.1\r\nHost: a.test\r\nContent-Type: a/b\r\nTransfer-Encoding: chunked\r\n\r\n");
    // The copy does not even wait for it.
    shadow.wait_for_requests(2);
    client.write(chunked(b"hello", 2));
    assert_eq!(client.read_response().text(), "origin");
    for copy in shadow.received() {
        assert_eq!((copy.header("content-length"), copy.header("transfer-encoding")), (None, None));
        assert_eq!(copy.body, b"");
    }
    let copy = shadow.received().into_iter().find(|copy| copy.target == "/chunks").unwrap();
    assert_eq!(copy.header("content-type"), Some("a/b"));
    assert_eq!(origin.last_request().body, b"hello");
}

#[test]
fn a_copy_can_ask_for_another_host() {
    let (origin, shadow) = (Origin::named("origin"), Origin::named("shadow"));
    let weir = mirrored(&origin, &shadow, ", host: \"shadow.test:81\"");
    weir.get("/");
    shadow.wait_for_requests(1);
    assert_eq!(shadow.only_request().header("host"), Some("shadow.test:81"));
    assert_eq!(shadow.only_request().headers("host").len(), 1);
    assert_ne!(origin.only_request().header("host"), Some("shadow.test:81"));
}

#[test]
fn a_share_of_the_requests_is_copied_by_chance() {
    let (origin, shadow) = (Origin::named("origin"), Origin::named("shadow"));
    let weir = mirrored(&origin, &shadow, ", percentage: 10%");
    let mut client = weir.connect();
    for n in 0..2_500 {
        client.write(format!("GET /{n} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
        assert_eq!(client.read_response().text(), "origin");
    }
    let copied =
        || ["answered", "failed", "abandoned", "skipped"].map(|outcome| count(&weir, outcome)).iter().sum::<u64>();
    eventually("all have arrived", || (weir.metric("weir_mirror_in_flight", &[]) == Some(0.0)).then_some(()));
    // 250 are expected, give or take 15; six times that is one failure in a billion.
    assert!((160..340).contains(&copied()), "{} were copied", copied());
    assert_eq!(count(&weir, "answered"), copied());
    assert_eq!(shadow.request_count() as u64, copied());
    let targets = shadow.received().into_iter().map(|copy| copy.target[1..].parse::<u32>().unwrap());
    let early = targets.filter(|n| *n < 1_250).count();
    assert!((60..190).contains(&early), "{early} of them came in the first half");
    weir.reload(&file(&origin, &shadow.address.to_string(), ", percentage: 0%"));
    let before = shadow.request_count();
    (0..50).for_each(|_| drop(weir.get("/")));
    holds_for(Duration::from_millis(200), "none is copied", || shadow.request_count() == before);
}

#[test]
fn a_shadow_that_is_down_is_counted_and_told_of_once() {
    let origin = Origin::named("origin");
    let weir = Weir::start(&file(&origin, &support::free_address().to_string(), ""));
    for _ in 0..20 {
        assert_eq!(weir.get("/").text(), "origin");
        assert_eq!(weir.request("POST", "/").body("hello").send().text(), "origin");
    }
    wait_for_count(&weir, "failed", 40);
    assert_eq!(weir.log().matches("a shadow misses requests").count(), 1, "{}", weir.log());
    let log = eventually("every request is logged", || {
        let log = weir.log();
        (log.matches("\"status\":200").count() == 40).then_some(log)
    });
    assert_eq!(log.matches("\"target\":\"/\"").count(), 40, "copies stand in no access log: {log}");
}

#[test]
fn a_shadow_that_answers_garbage_harms_nobody() {
    let answers: [&[u8]; 4] = [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ];
    for (answer, outcome) in answers.into_iter().zip(["failed", "answered", "failed", "answered"]) {
        let origin = Origin::named("origin");
        let shadow = Origin::start(move |_| Answer::SendAndClose(answer.to_vec()));
        let weir = mirrored(&origin, &shadow, "");
        for _ in 0..3 {
            assert_eq!(weir.get("/").text(), "origin");
        }
        wait_for_count(&weir, outcome, 3);
    }
}

/// Half of them take longer.
fn median(weir: &Weir, body: &[u8]) -> Duration {
    let mut client = weir.connect();
    let mut times: Vec<Duration> = (0..60)
        .map(|_| {
            let begun = Instant::now();
            client.write(format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", body.len()));
            client.write(body);
            assert_eq!(client.read_response().text(), "origin");
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

#[test]
fn clients_do_not_feel_a_shadow_that_is_stuck() {
    let origin = Origin::named("origin");
    let silent = Origin::start(|_| Answer::Silence);
    let deaf = Origin::start_at_head(|_| Answer::drive(|_| std::thread::park_timeout(Duration::from_secs(60))));
    let hole = support::Blackhole::start();
    let plain = Weir::in_front_of(&[origin.address]);
    for shadow in [silent.address, deaf.address, hole.address] {
        let weir = Weir::start(&file(&origin, &shadow.to_string(), ""));
        for size in [0, 200_000] {
            let body = pattern(size);
            let (without, with) = (median(&plain, &body), median(&weir, &body));
            assert!(with < without * 3 + Duration::from_millis(20), "{size} bytes: {with:?}, alone {without:?}");
        }
    }
}

#[test]
fn a_shadow_that_reads_nothing_is_given_up() {
    let origin = Origin::named("origin");
    let deaf = Origin::start_at_head(|_| Answer::drive(|_| std::thread::park_timeout(Duration::from_secs(60))));
    let weir = mirrored(&origin, &deaf, "");
    // More than the kernel takes in for it.
    let body = pattern(40_000_000);
    assert_eq!(weir.request("POST", "/").body(body.clone()).send().text(), "origin");
    wait_for_count(&weir, "abandoned", 1);
    assert!(origin.only_request().body == body);
    assert_eq!(weir.metric("weir_mirror_in_flight", &[]), Some(0.0));
}

#[test]
fn a_shadow_may_stay_behind_so_far_and_no_farther() {
    let (origin, hole) = (Origin::named("origin"), support::Blackhole::start());
    let weir = Weir::start(&file(&origin, &hole.address.to_string(), ", max-lag: 100KB"));
    assert_eq!(weir.request("POST", "/").body(pattern(300_000)).send().text(), "origin");
    wait_for_count(&weir, "abandoned", 1);
    assert_eq!(weir.request("POST", "/").body(pattern(50_000)).send().text(), "origin");
    holds_for(Duration::from_millis(300), "it waits for its connection", || {
        count(&weir, "abandoned") == 1 && weir.metric("weir_mirror_in_flight", &[]) == Some(1.0)
    });
}

#[test]
fn an_answer_that_does_not_come_in_time_is_not_waited_for() {
    let (origin, silent) = (Origin::named("origin"), Origin::start(|_| Answer::Silence));
    let weir = mirrored(&origin, &silent, ", timeout: 300ms");
    let begun = Instant::now();
    weir.get("/");
    weir.request("POST", "/").body("hello").send();
    wait_for_count(&weir, "failed", 2);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    eventually("the connections are closed", || (silent.open_connections() == 0).then_some(()));
    // Of an answer that never ends, no more is read than there is time for.
    let endless = Origin::start(|_| {
        Answer::drive(|stream| {
            use std::io::Write;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            while stream.write_all(&[b'x'; 1000]).is_ok() {
                std::thread::park_timeout(Duration::from_millis(20));
            }
        })
    });
    let weir = mirrored(&origin, &endless, ", timeout: 300ms");
    weir.get("/");
    wait_for_count(&weir, "answered", 1);
    eventually("the connection is closed", || (endless.open_connections() == 0).then_some(()));
}

#[test]
fn no_more_copies_are_under_way_than_may_be() {
    let (origin, silent) = (Origin::named("origin"), Origin::start(|_| Answer::Silence));
    let weir = mirrored(&origin, &silent, ", max-in-flight: 3, timeout: 2s");
    for _ in 0..10 {
        assert_eq!(weir.get("/").text(), "origin");
    }
    wait_for_count(&weir, "skipped", 7);
    silent.wait_for_requests(3);
    assert_eq!(weir.metric("weir_mirror_in_flight", &[]), Some(3.0));
    wait_for_count(&weir, "failed", 3);
    assert_eq!(silent.request_count(), 3);
    weir.get("/");
    silent.wait_for_requests(4);
}

#[test]
fn several_mirrors_hold_together_and_the_nearest_level_stands() {
    let (origin, a, b) = (Origin::named("origin"), Origin::named("a"), Origin::named("b"));
    let weir = Weir::start(&format!(
        "upstreams: {{ origin: {{ endpoints: [\"{}\"] }}, a: {{ endpoints: [\"{}\"] }}, b: {{ endpoints: [\"{}\"] }} }}\n\
         hosts:\n  - names: [\"*\"]\n    filters: [ {{ mirror: {{ upstream: a }} }}, {{ mirror: {{ upstream: b, host: b.test }} }} ]\n    \
         routes:\n      - {{ path: /, upstream: origin }}\n      \
         - {{ path: /one, upstream: origin, filters: [ {{ mirror: {{ upstream: b }} }} ] }}\n      \
         - {{ path: /none, upstream: origin, filters: [ {{ mirror: {{ upstream: a, percentage: 0% }} }} ] }}\n",
        origin.address, a.address, b.address
    ));
    assert_eq!(weir.request("POST", "/").body("hello").send().text(), "origin");
    a.wait_for_requests(1);
    b.wait_for_requests(1);
    assert_eq!((a.only_request().body, b.only_request().body), (b"hello".to_vec(), b"hello".to_vec()));
    assert_eq!(b.only_request().header("host"), Some("b.test"));
    assert_eq!(a.only_request().header("host"), origin.only_request().header("host"));
    weir.get("/none");
    weir.get("/one");
    b.wait_for_requests(2);
    holds_for(Duration::from_millis(200), "nobody else is told", || (a.request_count(), b.request_count()) == (1, 2));
    let labels = ["filter=\"host:*\"", "upstream=\"b\"", "outcome=\"answered\""];
    eventually("each is counted", || (weir.metric("weir_mirror_requests_total", &labels) == Some(1.0)).then_some(()));
}

#[test]
fn a_client_that_leaves_takes_its_copy_along() {
    let (origin, shadow) = (Origin::named("origin"), Origin::start_at_head(|_| Answer::Silence));
    let weir = mirrored(&origin, &shadow, "");
    let mut client = weir.connect();
    client.write("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhello");
    shadow.wait_for_requests(1);
    drop(client);
    wait_for_count(&weir, "abandoned", 1);
    eventually("the shadow's connection is closed", || (shadow.open_connections() == 0).then_some(()));
    let mut client = H2Client::plain(weir.http);
    let mut stream = client.open_stream("POST", "a.test", "/", &[]);
    stream.send("hello".into());
    shadow.wait_for_requests(2);
    stream.cancel();
    wait_for_count(&weir, "abandoned", 2);
    eventually("the shadow's connection is closed", || (shadow.open_connections() == 0).then_some(()));
    // Who leaves with the request made is copied all the same.
    let (slow, shadow) = (Origin::start(|_| Answer::Silence), Origin::named("shadow"));
    let weir = mirrored(&slow, &shadow, "");
    let mut client = weir.connect();
    client.write("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello");
    slow.wait_for_requests(1);
    drop(client);
    wait_for_count(&weir, "answered", 1);
}

#[test]
fn another_attempt_at_the_upstream_is_no_other_request_of_the_shadows() {
    let (fails, origin) = (Origin::start(|_| Answer::Reset), Origin::named("origin"));
    let shadow = Origin::named("shadow");
    let weir = Weir::start(&format!(
        "upstreams:\n  origin: {{ endpoints: [\"{}\", {{ address: \"{}\", backup: true }}], retry: {{ attempts: 3, on: [reset] }} }}\n  \
         shadow: {{ endpoints: [\"{}\"] }}\nhosts:\n  - names: [\"*\"]\n    filters: [ {{ mirror: {{ upstream: shadow }} }} ]\n    \
         routes: [ {{ path: /, upstream: origin }} ]\n",
        fails.address, origin.address, shadow.address
    ));
    let body = pattern(30_000);
    for n in 1..=3 {
        let mut client = weir.connect();
        client.write("PUT / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.write(chunked(&body, 7_000));
        let answer = client.read_response();
        wait_for_count(&weir, "answered", n);
        assert!(shadow.last_request().body == body, "{} bytes", shadow.last_request().body.len());
        if answer.status != 200 {
            assert_eq!(answer.status, 502);
        }
    }
    assert!(origin.request_count() > 0 && fails.request_count() > 0, "some were tried again");
    assert_eq!(shadow.request_count(), 3);
}

#[test]
fn what_is_refused_redirected_or_answered_here_is_not_copied() {
    let (origin, shadow) = (Origin::named("origin"), Origin::named("shadow"));
    let file = format!(
        "upstreams: {{ origin: {{ endpoints: [\"{}\"] }}, shadow: {{ endpoints: [\"{}\"] }} }}\n\
         hosts:\n  - names: [\"*\"]\n    filters: [ {{ mirror: {{ upstream: shadow }} }} ]\n    routes:\n      \
         - {{ path: /deny, upstream: origin, filters: [ {{ deny: [\"127.0.0.0/8\"] }} ] }}\n      \
         - {{ path: /rate, upstream: origin, filters: [ {{ rate-limit: {{ rate: 1/h }} }} ] }}\n      \
         - {{ path: /auth, upstream: origin, filters: [ {{ basic-auth: {{ file: users }} }} ] }}\n      \
         - {{ path: /size, upstream: origin, filters: [ {{ max-body-size: 5B }} ] }}\n      \
         - {{ path: /whole, upstream: origin, filters: [ {{ max-body-size: 5B }}, {{ request-buffering: on }} ] }}\n      \
         - {{ path: /https, upstream: origin, filters: [ https-redirect ] }}\n      \
         - {{ path: /moved, redirect: {{ path: /x }} }}\n      - {{ path: /here, respond: {{ body: here }} }}\n",
        origin.address, shadow.address
    );
    // The password is `secret`.
    let weir = Weir::start_with(&file, &[("users", "u:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")]);
    assert_eq!(weir.get("/rate").status, 200);
    shadow.wait_for_requests(1);
    for (target, status) in
        [("/deny", 403), ("/rate", 429), ("/auth", 401), ("/https", 308), ("/moved", 302), ("/here", 200)]
    {
        assert_eq!(weir.get(target).status, status, "{target}");
    }
    for target in ["/size", "/whole"] {
        assert_eq!(weir.request("POST", target).body("too large").send().status, 413);
    }
    let mut client = weir.connect();
    client.write("POST /whole HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.write(chunked(b"too large", 3));
    assert_eq!(client.read_response().status, 413);
    holds_for(Duration::from_millis(200), "none of these is copied", || shadow.connection_count() == 1);
    // Here it is known too late; what has been sent is cut short.
    let mut client = weir.connect();
    client.write("POST /size HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.write(chunked(b"too large", 3));
    assert_eq!(client.read_response().status, 413);
    eventually("it is given up", || (weir.metric("weir_mirror_in_flight", &[]) == Some(0.0)).then_some(()));
    assert_eq!(shadow.request_count(), 1, "no request came to its end");
    let signed_in = weir.request("GET", "/auth").header("Authorization", "Basic dTpzZWNyZXQ=").send();
    assert_eq!(signed_in.text(), "origin");
    shadow.wait_for_requests(2);
    assert_eq!(shadow.last_request().header("authorization"), None, "the shadow learns no more than the upstream");
}

/// nginx's order: `mirror` comes before what its cache does.
#[test]
fn what_the_cache_answers_is_copied_too_and_what_it_asks_for_itself_is_not() {
    let origin =
        Origin::start(|_| Answer::with_headers("Cache-Control: max-age=1, stale-while-revalidate=60\r\n", "kept"));
    let shadow = Origin::named("shadow");
    let weir = Weir::start(&format!(
        "cache-stores: {{ default: {{ memory: 10MB }} }}\n\
         upstreams: {{ origin: {{ endpoints: [\"{}\"] }}, shadow: {{ endpoints: [\"{}\"] }} }}\n\
         hosts:\n  - names: [\"*\"]\n    filters: [ {{ mirror: {{ upstream: shadow }} }}, {{ cache: {{}} }} ]\n    \
         routes: [ {{ path: /, upstream: origin }} ]\n",
        origin.address, shadow.address
    ));
    for n in 1..=5 {
        assert_eq!(weir.get("/").text(), "kept");
        shadow.wait_for_requests(n);
    }
    assert_eq!(origin.request_count(), 1);
    weir.request("HEAD", "/").send();
    shadow.wait_for_requests(6);
    assert_eq!(shadow.last_request().method, "HEAD");
    eventually("it is refreshed behind a client", || {
        weir.get("/");
        (origin.request_count() > 1).then_some(())
    });
    eventually("all copies are answered", || (weir.metric("weir_mirror_in_flight", &[]) == Some(0.0)).then_some(()));
    let asked = weir.metric("weir_requests_total", &["route="]).unwrap() as usize;
    assert_eq!(shadow.request_count(), asked, "as many as clients have sent");
}

#[test]
fn what_becomes_another_protocol_is_not_copied() {
    let (origin, shadow) = (support::WebSocketOrigin::start(), Origin::named("shadow"));
    let weir = Weir::start(&format!(
        "upstreams: {{ origin: {{ endpoints: [\"{}\"] }}, shadow: {{ endpoints: [\"{}\"] }} }}\n\
         hosts: [ {{ names: [\"*\"], filters: [ {{ mirror: {{ upstream: shadow }} }} ], routes: [ {{ path: /, upstream: origin }} ] }} ]\n",
        origin.address, shadow.address
    ));
    let mut socket = support::WebSocket::open(weir.http, "a.test", "/");
    socket.assert_echoes("hello");
    let mut client = H2Client::plain(weir.http);
    let mut socket = support::WebSocket::over_h2(&mut client, "a.test", "/");
    socket.assert_echoes("hello");
    holds_for(Duration::from_millis(200), "nothing is copied", || shadow.connection_count() == 0);
}

#[test]
fn a_client_that_waits_for_100_is_not_kept_waiting_by_the_shadow() {
    let origin = Origin::start_at_head(|_| {
        Answer::drive(|stream| {
            use std::io::{Read, Write};
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
            let mut body = [0; 5];
            stream.read_exact(&mut body).unwrap();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\norigin");
        })
    });
    let shadow = Origin::named("shadow");
    let weir = mirrored(&origin, &shadow, "");
    let mut client = weir.connect();
    client.write("POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    client.read_until("100 Continue\r\n\r\n");
    assert_eq!(shadow.connection_count(), 0, "it is not kept waiting for a client that waits");
    client.write("hello");
    assert_eq!(client.read_response().text(), "origin");
    shadow.wait_for_requests(1);
    assert_eq!((shadow.only_request().header("expect"), shadow.only_request().body), (None, b"hello".to_vec()));
}

#[test]
fn connections_to_the_shadow_are_used_again_within_the_upstreams_bounds() {
    let origin = Origin::named("origin");
    for (keepalive, connections) in
        [("", 1), ("keepalive: { connections: 0 }", 12), ("keepalive: { max-requests: 3 }", 4)]
    {
        let shadow = Origin::named("shadow");
        let file = file(&origin, &shadow.address.to_string(), "");
        let endpoints = format!("shadow: {{ endpoints: [\"{}\"]", shadow.address);
        let weir =
            Weir::start(&format!("threads: 1\n{}", file.replace(&endpoints, &format!("{endpoints}, {keepalive}"))));
        for n in 1..=12 {
            weir.request("POST", "/").body("hello").send();
            wait_for_count(&weir, "answered", n);
        }
        assert_eq!(shadow.connection_count(), connections, "{keepalive}");
    }
}

/// As servers do that keep connections for a short time only.
#[test]
fn a_connection_that_the_shadow_has_closed_costs_no_copy() {
    let origin = Origin::named("origin");
    let shadow = Origin::start(|_| Answer::SendAndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()));
    // All of them may come while there is no way to connect yet.
    let weir = mirrored(&origin, &shadow, ", max-in-flight: 200");
    let mut client = weir.connect();
    for n in 1..=200 {
        let body = pattern(n);
        client.write(format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {n}\r\n\r\n"));
        client.write(&body);
        assert_eq!(client.read_response().text(), "origin");
    }
    wait_for_count(&weir, "answered", 200);
    assert_eq!(shadow.request_count(), 200);
    assert!(shadow.received().iter().all(|copy| copy.body == pattern(copy.body.len()) && !copy.body.is_empty()));
}

#[test]
fn the_shadow_is_spoken_with_as_its_upstream_says() {
    let origin = Origin::named("origin");
    let h2 = support::H2Origin::plain();
    let text = file(&origin, &h2.address.to_string(), ", host: shadow.test");
    let text = text.replace("shadow: { endpoints", "shadow: { protocol: http2, endpoints");
    let weir = Weir::start(&format!("threads: 1\n{text}"));
    assert_eq!(weir.request("POST", "/p?q").header("X-Mine", "1").body(pattern(200_000)).send().text(), "origin");
    wait_for_count(&weir, "answered", 1);
    assert_eq!(H2Client::plain(weir.http).send("GET", "a.test", "/g", &[("te", "trailers")], None).text(), "origin");
    wait_for_count(&weir, "answered", 2);
    let mut copies = h2.received();
    copies.sort_by_key(|copy| copy.uri.path().to_owned());
    assert_eq!((copies[0].method.as_str(), copies[1].method.as_str()), ("GET", "POST"));
    assert_eq!(copies[1].uri.path_and_query().unwrap().as_str(), "/p?q");
    assert_eq!(copies[1].uri.authority().unwrap().as_str(), "shadow.test");
    assert_eq!((copies[1].headers["x-mine"].to_str().unwrap(), copies[1].headers.get("te")), ("1", None));
    assert_eq!(copies[0].headers["te"], "trailers", "gRPC servers insist on it");
    let mut client = weir.connect();
    client.write("POST /cut HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhello");
    eventually("the copy has set out", || (h2.received().len() == 3).then_some(()));
    drop(client);
    wait_for_count(&weir, "abandoned", 1);
    weir.get("/g");
    wait_for_count(&weir, "answered", 3);
    assert_eq!(h2.connection_count(), 1, "a copy that is given up costs one stream");
    let authority = support::Authority::new("a test authority");
    let tls = support::H2Origin::tls(&authority.issue(&["shadow.test"]));
    let keys = "shadow: { protocol: auto, tls: { ca: ca.pem, server-name: shadow.test }, endpoints";
    let text = file(&origin, &tls.address.to_string(), "").replace("shadow: { endpoints", keys);
    let weir = Weir::start_with(&text, &[("ca.pem", &authority.pem())]);
    assert_eq!(weir.request("POST", "/tls").body("hello").send().text(), "origin");
    wait_for_count(&weir, "answered", 1);
    assert_eq!(tls.received()[0].uri.path(), "/tls");
}

#[test]
fn copies_are_balanced_and_go_to_no_endpoint_that_is_unhealthy() {
    let (origin, a, b, ill) = (
        Origin::named("origin"),
        Origin::named("a"),
        Origin::named("b"),
        Origin::start(|_| Answer::status(500, "ill")),
    );
    let weir = Weir::start(&format!(
        "upstreams:\n  origin: {{ endpoints: [\"{}\"] }}\n  shadow: {{ endpoints: [\"{}\", \"{}\", \"{}\"], \
         health-check: {{ http: {{ path: /health }}, interval: 100ms, unhealthy-after: 1, healthy-after: 1 }} }}\n\
         hosts: [ {{ names: [\"*\"], filters: [ {{ mirror: {{ upstream: shadow }} }} ], routes: [ {{ path: /, upstream: origin }} ] }} ]\n",
        origin.address, a.address, b.address, ill.address
    ));
    (0..40).for_each(|_| drop(weir.get("/copied")));
    wait_for_count(&weir, "answered", 40);
    let copies = |origin: &Origin| origin.received().iter().filter(|request| request.target == "/copied").count();
    assert!(copies(&a) > 5 && copies(&b) > 5, "{} and {}", copies(&a), copies(&b));
    assert_eq!((copies(&a) + copies(&b), copies(&ill)), (40, 0));
}

#[test]
fn nobody_waits_for_shadows_at_the_end() {
    let (origin, silent) = (Origin::named("origin"), Origin::start(|_| Answer::Silence));
    let mut weir = Weir::start(&format!(
        "shutdown: {{ delay: 0s, timeout: 60s }}\n{}",
        file(&origin, &silent.address.to_string(), "")
    ));
    weir.get("/");
    silent.wait_for_requests(1);
    let begun = Instant::now();
    weir.signal(support::Signal::Terminate);
    assert!(weir.wait_for_exit().success());
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn a_reload_changes_where_copies_go_and_keeps_what_was_counted() {
    let (origin, a, b) = (Origin::named("origin"), Origin::named("a"), Origin::named("b"));
    let weir = mirrored(&origin, &a, "");
    weir.get("/");
    wait_for_count(&weir, "answered", 1);
    weir.reload(&file(&origin, &b.address.to_string(), ""));
    weir.get("/");
    wait_for_count(&weir, "answered", 2);
    assert_eq!((a.request_count(), b.request_count()), (1, 1));
    weir.reload(&Weir::forwarding_to(&[origin.address], ""));
    weir.get("/");
    holds_for(Duration::from_millis(200), "nothing is copied", || (a.request_count(), b.request_count()) == (1, 1));
    assert_eq!(weir.metric("weir_mirror_requests_total", &[]), None, "what is no longer named is forgotten");
}

#[test]
fn an_upstream_that_is_down_does_not_keep_its_shadow_from_knowing() {
    let shadow = Origin::named("shadow");
    let weir = Weir::start(&format!(
        "upstreams: {{ origin: {{ endpoints: [\"{}\"] }}, shadow: {{ endpoints: [\"{}\"] }} }}\n\
         hosts: [ {{ names: [\"*\"], filters: [ {{ mirror: {{ upstream: shadow }} }} ], routes: [ {{ path: /, upstream: origin }} ] }} ]\n",
        support::free_address(),
        shadow.address
    ));
    assert_eq!(weir.get("/").status, 502);
    shadow.wait_for_requests(1);
    // A body that nobody has read cannot be copied.
    assert_eq!(weir.request("POST", "/").body("hello").send().status, 502);
    wait_for_count(&weir, "abandoned", 1);
    assert_eq!(shadow.request_count(), 1);
}

#[test]
fn nothing_is_left_of_copies_that_are_over() {
    let (origin, silent) = (Origin::named("origin"), Origin::start(|_| Answer::Silence));
    let weir = Weir::start(&format!("threads: 1\n{}", file(&origin, &silent.address.to_string(), ", timeout: 200ms")));
    let open = || std::fs::read_dir(format!("/proc/{}/fd", weir.id())).unwrap().count();
    weir.get("/");
    wait_for_count(&weir, "failed", 1);
    let (before, memory) = (open(), weir.resident_kib());
    let mut client = weir.connect();
    let body = pattern(100_000);
    for _ in 0..300 {
        client.write("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\n");
        client.write(&body);
        assert_eq!(client.read_response().text(), "origin");
    }
    eventually("all are over", || (weir.metric("weir_mirror_in_flight", &[]) == Some(0.0)).then_some(()));
    drop(client);
    eventually("every descriptor is closed", || (open() <= before + 2).then_some(()));
    assert!(weir.resident_kib() < memory + 60_000, "{} KiB, before {memory}", weir.resident_kib());
}

#[test]
fn what_binds_a_request_to_an_endpoint_binds_its_copy() {
    let origin = Origin::named("origin");
    let shadows = [Origin::named("a"), Origin::named("b"), Origin::named("c")];
    let endpoints = shadows.each_ref().map(|shadow| format!("\"{}\"", shadow.address)).join(", ");
    let text = file(&origin, "SHADOW", "")
        .replace("\"SHADOW\"]", &format!("{endpoints}], balance: {{ hash: {{ query: user }} }}"));
    let weir = Weir::start(&text);
    for user in 0..12 {
        for n in 0..4 {
            weir.get(&format!("/{n}?user={user}"));
        }
    }
    wait_for_count(&weir, "answered", 48);
    let users = shadows.each_ref().map(|shadow| {
        let received = shadow.received().into_iter().map(|copy| copy.target.split_once('=').unwrap().1.to_owned());
        received.collect::<std::collections::BTreeSet<_>>()
    });
    assert_eq!(users.iter().map(|users| users.len()).sum::<usize>(), 12, "each at one: {users:?}");
    assert!(users.iter().filter(|users| !users.is_empty()).count() > 1, "{users:?}");
}

#[test]
fn a_body_that_was_waited_for_is_copied_as_any_other() {
    let (origin, shadow) = (Origin::named("origin"), Origin::named("shadow"));
    let text = file(&origin, &shadow.address.to_string(), ", max-lag: 64MiB");
    let weir = Weir::start(&text.replace("filters: [ ", "filters: [ { request-buffering: { max-memory: 1KiB } }, "));
    let body = pattern(300_000);
    let mut client = weir.connect();
    client.write("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 300000\r\n\r\n");
    client.write(&body[..200_000]);
    holds_for(Duration::from_millis(200), "the shadow is not kept waiting", || shadow.connection_count() == 0);
    client.write(&body[200_000..]);
    assert_eq!(client.read_response().text(), "origin");
    shadow.wait_for_requests(1);
    assert!(shadow.only_request().body == body);
}

#[test]
fn explain_and_check_tell_of_mirrors() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = folder.path().join("weir.yaml");
    std::fs::write(
        &yaml,
        "listeners: { http: { address: \"127.0.0.1:80\" } }\n\
         upstreams: { a: { endpoints: [\"127.0.0.1:1\"] }, b: { endpoints: [\"127.0.0.1:2\"] } }\n\
         hosts:\n  - names: [\"*\"]\n    filters: [ { mirror: { upstream: b, percentage: 5%, request-body: off, host: b.test } } ]\n    \
         routes:\n      - { path: /, upstream: a }\n      - { path: /all, upstream: a, filters: [ { mirror: { upstream: b } } ] }\n      \
         - { path: /here, respond: { body: here } }\n      - { path: /idle, respond: {}, filters: [ { mirror: { upstream: b } } ] }\n      \
         - { path: /twice, upstream: b }\n",
    )
    .unwrap();
    let weir = |arguments: &[&str]| {
        let output =
            support::weir_command().args([arguments[0], yaml.to_str().unwrap()]).args(&arguments[1..]).output();
        let output = output.unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let text = weir(&["explain", "GET", "http://a.test/"]);
    assert!(text.contains("filter    mirror of the host"), "{text}");
    let words =
        "note      mirror: 5% of the time a copy goes to upstream b, as b.test, without its body; nobody waits for it";
    assert!(text.contains(words), "{text}");
    let text = weir(&["explain", "GET", "http://a.test/all"]);
    assert!(text.contains("note      mirror: a copy goes to upstream b; nobody waits for it"), "{text}");
    assert!(!weir(&["explain", "GET", "http://a.test/here"]).contains("note      mirror"));
    let text = weir(&["check"]);
    assert!(text.contains("weir.yaml:10:48"), "{text}");
    assert!(text.contains("this mirror copies nothing: only what goes to an upstream is copied"), "{text}");
    assert!(text.contains("goes to the upstream \"b\" itself: a request that is copied reaches it twice"), "{text}");
    assert_eq!(text.matches(": warning: ").count(), 2, "{text}");
}
