//! External authentication on the wire: every key with a value that is not its default, services that fail, and beside nginx's
//! `auth_request`.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use support::{
    Answer, Authority, Connection, H2Client, H2Origin, Nginx, Origin, Received, Request, WebSocket, WebSocketOrigin,
    Weir, eventually, free_address, request, weir_command,
};

/// Answers with the status that `X-Decide` names, and says who it takes the client for.
fn decide(request: &Received) -> Answer {
    let status = request.header("x-decide").unwrap_or("200");
    let fields = "X-User: ann\r\nX-Groups: a\r\nX-Groups: b\r\nSet-Cookie: session=1; Path=/\r\nSet-Cookie: other=2\r\n\
                  WWW-Authenticate: Bearer realm=\"site\"\r\nX-Inner: secret\r\n";
    Answer::Send(format!("HTTP/1.1 {status} Decided\r\n{fields}Content-Length: 4\r\n\r\npage").into_bytes())
}

fn service() -> Origin {
    Origin::start(decide)
}

/// One route that asks `keys`, beside an upstream `origin` and whatever `more` is.
fn file(origin: &Origin, keys: &str, more: &str) -> String {
    format!(
        "access-log: {{ format: json, file: access.log }}\n\
         upstreams:\n  origin: {{ endpoints: [\"{}\"] }}\n{more}\
         hosts:\n  - names: [\"*\"]\n    filters: [ {{ forward-auth: {{ {keys} }} }} ]\n    routes:\n\
         \x20     - {{ path: /, upstream: origin }}\n\
         \x20     - {{ path: /own, respond: {{ status: 200, body: inside }} }}\n\
         \x20     - {{ path: /cors, upstream: origin, filters: [ {{ cors: {{ origins: [\"https://a.test\"] }} }} ] }}\n\
         \x20     - {{ path: /limited, upstream: origin, filters: [ {{ rate-limit: {{ rate: 1/h, burst: 1 }} }} ] }}\n\
         \x20     - {{ path: /small, upstream: origin, filters: [ max-body-size: 10B ] }}\n",
        origin.address
    )
}

fn start(origin: &Origin, auth: &Origin, keys: &str) -> Weir {
    Weir::start(&file(origin, &format!("url: 'http://{}/verify?x=1', {keys}", auth.address), ""))
}

fn log(weir: &Weir, lines: usize) -> String {
    eventually("the lines are written", || {
        let log = std::fs::read_to_string(weir.folder().join("access.log")).ok()?;
        (log.lines().count() >= lines).then_some(log)
    })
}

fn outcome(weir: &Weir, outcome: &str) -> f64 {
    let labels = [r#"filter="host:*""#, &format!("outcome=\"{outcome}\"")];
    weir.metric("weir_forward_auth_total", &labels).expect("it is shown")
}

#[test]
fn whom_the_service_lets_in_comes_in_with_what_it_says_of_him() {
    let (origin, auth) = (Origin::named("passed"), service());
    let weir = start(&origin, &auth, "response-headers: [X-User, X-Groups, X-Absent]");
    let spoofed = weir
        .request("POST", "/a/b?c=d")
        .host("a.test:81")
        .header("X-User", "eve")
        .header("x_user", "eve")
        .header("X-Absent", "eve")
        .header("Cookie", "k=v")
        .header("Range", "bytes=0-1")
        .header("If-None-Match", "\"x\"")
        .header("Content-Type", "text/plain")
        .header("X-Forwarded-For", "192.0.2.9")
        .body("a body")
        .send();
    assert_eq!((spoofed.status, spoofed.text().as_str()), (200, "passed"));
    let asked = auth.only_request();
    assert_eq!((asked.method.as_str(), asked.target.as_str(), asked.body.len()), ("GET", "/verify?x=1", 0));
    assert_eq!(asked.header("host"), Some(&*auth.address.to_string()));
    for (name, value) in [
        ("x-original-url", "http://a.test:81/a/b?c=d"),
        ("x-original-method", "POST"),
        ("x-original-uri", "/a/b?c=d"),
        ("x-auth-request-redirect", "/a/b?c=d"),
        ("x-forwarded-method", "POST"),
        ("x-forwarded-uri", "/a/b?c=d"),
        ("x-forwarded-host", "a.test:81"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("x-sent-from", "weir"),
        ("cookie", "k=v"),
    ] {
        assert_eq!(asked.headers(name), [value], "{name}");
    }
    for name in ["content-length", "content-type", "range", "if-none-match", "transfer-encoding", "connection"] {
        assert_eq!(asked.header(name), None, "{name}");
    }
    let forwarded = origin.only_request();
    assert_eq!(asked.header("x-request-id"), forwarded.header("x-request-id"));
    assert_eq!(forwarded.headers("x-user"), ["ann"]);
    assert_eq!(forwarded.headers("x-groups"), ["a", "b"]);
    assert_eq!((forwarded.header("x-absent"), forwarded.header("x_user")), (None, None));
    assert_eq!((forwarded.header("x-inner"), forwarded.body.as_slice()), (None, &b"a body"[..]));
    assert_eq!(spoofed.headers("set-cookie"), ["session=1; Path=/", "other=2"]);
    assert_eq!(weir.get("/own").text(), "inside");
    assert_eq!(outcome(&weir, "passed"), 2.0);
}

#[test]
fn who_is_refused_learns_how_to_be_let_in_and_nothing_else() {
    let (origin, auth) = (Origin::named("passed"), service());
    let weir = start(&origin, &auth, "");
    let ask = |status: &str, target: &str| weir.request("GET", target).header("X-Decide", status).send();
    for target in ["/", "/own"] {
        let unknown = ask("401", target);
        assert_eq!((unknown.status, unknown.header("www-authenticate")), (401, Some("Bearer realm=\"site\"")));
        assert!(unknown.text().contains("who you are must be known here"));
        let forbidden = ask("403", target);
        assert_eq!((forbidden.status, forbidden.header("www-authenticate")), (403, None));
        for answer in [unknown, forbidden] {
            assert_eq!((answer.header("x-inner"), answer.header("set-cookie")), (None, None));
        }
    }
    for status in ["302", "404", "500", "503", "304"] {
        assert_eq!(ask(status, "/").status, 500, "{status}");
    }
    assert_eq!(origin.request_count(), 0);
    let log = log(&weir, 9);
    assert!(log.lines().all(|line| line.contains("\"refused_by\":\"forward-auth\"")), "{log}");
    assert_eq!([outcome(&weir, "refused"), outcome(&weir, "failed")], [4.0, 5.0]);
    assert!(weir.log().contains("nobody says who may come in: nobody comes in"), "{}", weir.log());
    assert!(weir.log().contains("it answered 302"), "{}", weir.log());
}

#[test]
fn who_is_not_signed_in_is_sent_to_where_one_signs_in() {
    let (origin, auth) = (Origin::named("passed"), service());
    let weir = start(&origin, &auth, "sign-in: 'https://login.test/start?for=${host}', sign-in-redirect-param: back");
    let answer = weir.request("GET", "/a%20b?c=d&e=f").host("App.test:8080").header("X-Decide", "401").send();
    assert_eq!(answer.status, 302);
    let location = "https://login.test/start?for=app.test&back=http://app.test:8080%2Fa%2520b%3Fc%3Dd%26e%3Df";
    assert_eq!(answer.header("location"), Some(location));
    assert_eq!(answer.headers("set-cookie"), ["session=1; Path=/", "other=2"]);
    assert_eq!(weir.request("GET", "/").header("X-Decide", "403").send().status, 403);
    weir.reload(&file(
        &origin,
        &format!("url: 'http://{}/', sign-in: /login, sign-in-redirect-param: off, set-cookie: never", auth.address),
        "",
    ));
    let answer = weir.request("GET", "/a").header("X-Decide", "401").send();
    assert_eq!((answer.status, answer.header("location"), answer.header("set-cookie")), (302, Some("/login"), None));
}

#[test]
fn the_keys_of_the_question_and_of_the_answer() {
    let (origin, auth) = (Origin::start(|_| Answer::status(404, "none")), service());
    let keys = "method: POST, host: 'auth.test:5', request-headers: [X-Decide, Cookie], set-cookie: always, failure-status: 503";
    let weir = start(&origin, &auth, keys);
    let answer = weir.request("GET", "/").header("X-Other", "1").header("Cookie", "a=b").send();
    assert_eq!((answer.status, answer.headers("set-cookie").len()), (404, 2), "always: with an error, too");
    let asked = auth.only_request();
    assert_eq!((asked.method.as_str(), asked.header("host")), ("POST", Some("auth.test:5")));
    assert_eq!((asked.header("content-length"), asked.header("x-other")), (Some("0"), None));
    assert_eq!(asked.header("cookie"), Some("a=b"));
    assert_eq!(weir.request("GET", "/").header("X-Decide", "500").send().status, 503);
    weir.reload(&file(&origin, &format!("url: 'http://{}/'", auth.address), ""));
    assert_eq!(weir.get("/").header("set-cookie"), None, "on-success: not with an error");
}

#[test]
fn a_whole_answer_is_passed_where_that_is_said() {
    let (origin, auth) = (Origin::named("passed"), service());
    let weir = start(&origin, &auth, "pass-answer: true, set-cookie: always");
    for status in [302, 401, 403, 404, 429] {
        let answer = weir.request("GET", "/").header("X-Decide", &status.to_string()).send();
        assert_eq!((answer.status, answer.text().as_str()), (status, "page"));
        assert_eq!((answer.header("x-inner"), answer.headers("set-cookie").len()), (Some("secret"), 2));
    }
    assert_eq!(weir.request("HEAD", "/").header("X-Decide", "403").try_send().unwrap().status, 403);
    let failed = weir.request("GET", "/").header("X-Decide", "502").send();
    assert_eq!((failed.status, failed.header("x-inner")), (500, None));
    assert_eq!(origin.request_count(), 0);
}

#[test]
fn preflights_are_not_asked_about_limits_come_first_and_the_size_of_a_body_last() {
    let (origin, auth) = (Origin::named("passed"), service());
    let weir = start(&origin, &auth, "");
    let preflight = weir.request("OPTIONS", "/cors").header("Origin", "https://a.test");
    assert_eq!(preflight.header("Access-Control-Request-Method", "PUT").send().status, 204);
    assert_eq!(auth.request_count(), 0);
    let ask = |status: &str| weir.request("GET", "/limited").header("X-Decide", status).send().status;
    assert_eq!(["401", "200", "200"].map(ask), [401, 200, 429]);
    assert_eq!(auth.request_count(), 2);
    let large = |status: &str| {
        weir.request("POST", "/small").header("X-Decide", status).body("a body of more than ten").send().status
    };
    assert_eq!([large("403"), large("200")], [403, 413]);
}

#[test]
fn a_service_that_is_down_slow_or_talks_nonsense_closes_the_route_until_it_is_back() {
    let origin = Origin::named("passed");
    let address = free_address();
    let weir = Weir::start(&file(&origin, &format!("url: 'http://{address}/', timeout: 300ms"), ""));
    let status = || weir.get("/").status;
    assert_eq!(status(), 500, "nobody listens");
    let auth = Origin::start_at(address, decide);
    assert_eq!(status(), 200);
    auth.stop();
    assert_eq!(status(), 500);
    for answer in [
        || Answer::Silence,
        || Answer::Reset,
        || Answer::SendAndClose(b"nonsense\r\n\r\n".to_vec()),
        || Answer::SendAndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort".to_vec()),
        || Answer::SendAndClose(Vec::new()),
    ] {
        let auth = Origin::start_at(address, move |_| answer());
        let begun = Instant::now();
        assert_eq!(status(), 500);
        assert!(begun.elapsed() < Duration::from_secs(5));
        auth.stop();
    }
    let auth = Origin::start_at(address, decide);
    assert_eq!(status(), 200);
    assert_eq!(origin.request_count(), 2);
    let log = weir.log();
    assert!((1..=3).contains(&log.matches("nobody comes in").count()), "not for each request: {log}");
    assert!(log.contains("answers again") && log.contains("connection refused"), "{log}");
    drop(auth);
}

#[test]
fn connections_to_the_service_are_used_again_and_dead_ones_cost_nobody_anything() {
    let (origin, auth) = (Origin::named("passed"), service());
    let yaml = format!("threads: 1\n{}", file(&origin, &format!("url: 'http://{}/'", auth.address), ""));
    let weir = Weir::start(&yaml);
    for _ in 0..20 {
        assert_eq!(weir.get("/").status, 200);
    }
    assert_eq!(auth.connection_count(), 1);
    let address = auth.address;
    auth.stop();
    let auth = Origin::start_at(address, decide);
    assert_eq!(weir.get("/").status, 200, "the pooled connection had died");
    drop(auth);
    // A service that closes after each answer without saying so.
    let closing =
        Origin::start_at(address, |_| Answer::SendAndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()));
    for _ in 0..50 {
        assert_eq!(weir.get("/").status, 200);
    }
    drop(closing);
}

#[test]
fn while_the_service_is_slow_others_are_served() {
    let origin = Origin::named("passed");
    let auth = Origin::start(|_| Answer::Silence);
    let yaml = format!("threads: 1\n{}", file(&origin, &format!("url: 'http://{}/', timeout: 10s", auth.address), ""))
        + "  - names: [open.test]\n    routes: [ { path: /, respond: { body: open } } ]\n";
    let weir = Weir::start(&yaml);
    let mut waiting: Vec<_> = (0..20)
        .map(|_| {
            let mut connection = weir.connect();
            connection.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
            connection
        })
        .collect();
    auth.wait_for_requests(20);
    for _ in 0..50 {
        let begun = Instant::now();
        assert_eq!(request(weir.http, "GET", "/").host("open.test").send().text(), "open");
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
    drop(auth);
    for connection in &mut waiting {
        assert_eq!(connection.read_response().status, 500);
    }
}

#[test]
fn an_upstream_of_the_file_can_be_asked() {
    let origin = Origin::named("passed");
    let auths = [service(), service()];
    let dead = free_address();
    let more = format!(
        "  auth: {{ endpoints: [\"{}\", \"{}\", \"{dead}\"], balance: round-robin, keepalive: {{ max-requests: 2 }} }}\n",
        auths[0].address, auths[1].address
    );
    let weir = Weir::start(&file(&origin, "upstream: auth, path: '/check?a=b'", &more));
    for _ in 0..12 {
        assert_eq!(weir.request("GET", "/").host("a.test").send().status, 200);
    }
    for auth in &auths {
        assert!(auth.request_count() >= 4, "{}", auth.request_count());
        let asked = auth.last_request();
        assert_eq!((asked.target.as_str(), asked.header("host")), ("/check?a=b", Some("a.test")));
        let mut by_connection = std::collections::BTreeMap::<usize, usize>::new();
        auth.received().iter().for_each(|request| *by_connection.entry(request.connection).or_default() += 1);
        assert!(by_connection.values().all(|count| *count <= 2), "{by_connection:?}");
    }
    assert!(weir.metric("weir_upstream_connections_total", &["upstream=\"auth\""]).unwrap() >= 12.0);
}

#[test]
fn an_endpoint_that_hangs_is_asked_no_more() {
    let (origin, good, hanging) = (Origin::named("passed"), service(), Origin::start(|_| Answer::Silence));
    let more = format!(
        "  auth: {{ endpoints: [\"{}\", \"{}\"], outlier-detection: {{ failures: 1, eject-for: 1h }} }}\n",
        hanging.address, good.address
    );
    let weir = Weir::start(&file(&origin, "upstream: auth, timeout: 500ms", &more));
    let statuses: Vec<u16> = (0..20).map(|_| weir.get("/").status).collect();
    assert!(statuses.iter().filter(|status| **status == 500).count() <= 2, "{statuses:?}");
    assert!(statuses[10..].iter().all(|status| *status == 200), "{statuses:?}");
    assert!(weir.log().contains("no answer within 500 ms"), "{}", weir.log());
}

#[test]
fn a_websocket_opens_for_whom_the_service_lets_in() {
    let (echo, auth) = (WebSocketOrigin::start(), service());
    let yaml = format!(
        "upstreams: {{ origin: {{ endpoints: [\"{}\"] }} }}\nhosts:\n  - names: [\"*\"]\n    routes:\n\
         \x20     - {{ path: /, upstream: origin, filters: [ {{ forward-auth: {{ url: 'http://{}/' }} }} ] }}\n",
        echo.address, auth.address
    );
    let weir = Weir::start(&yaml);
    WebSocket::open(weir.http, "a.test", "/ws").assert_echoes("hello");
    WebSocket::over_h2(&mut H2Client::plain(weir.http), "a.test", "/ws").assert_echoes("hello");
    assert_eq!(auth.request_count(), 2);
    let asked = auth.last_request();
    assert_eq!((asked.header("upgrade"), asked.header("connection")), (None, None));
    let refused = weir
        .request("GET", "/ws")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("X-Decide", "403");
    assert_eq!(refused.send().status, 403);
}

#[test]
fn a_service_over_tls_is_verified() {
    let origin = Origin::named("passed");
    let (authority, other) = (Authority::new("one"), Authority::new("other"));
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = authority.issue(&["localhost"]).write(folder.path(), "auth");
    let address = free_address();
    let service = format!(
        "server {{ listen {address} ssl; ssl_certificate {}; ssl_certificate_key {};
           location / {{ add_header X-User $ssl_server_name; return 200; }} }}",
        cert.display(),
        key.display()
    );
    let _nginx = Nginx::start_with(&service, "location / { return 200; }");
    let port = address.port();
    let keys = |host: &str, ca: &str| {
        format!("url: 'https://{host}:{port}/x', ca: {ca}, response-headers: [X-User], timeout: 10s")
    };
    let (ours, others) = (authority.write_pem(folder.path()), folder.path().join("other.pem"));
    std::fs::write(&others, other.pem()).unwrap();
    let (ours, others) = (ours.display().to_string(), others.display().to_string());
    let weir = Weir::start(&file(&origin, &keys("localhost", &ours), ""));
    assert_eq!(weir.get("/").status, 200);
    assert_eq!(origin.only_request().headers("x-user"), ["localhost"]);
    // A connection that was verified against one authority serves nobody who trusts another.
    weir.reload(&file(&origin, &keys("localhost", &others), ""));
    assert_eq!(weir.get("/").status, 500);
    weir.reload(&file(&origin, &keys("127.0.0.1", &ours), ""));
    assert_eq!(weir.get("/").status, 500, "the certificate has another name");
    weir.reload(&file(&origin, &format!("url: 'https://localhost:{port}/x'"), ""));
    assert_eq!(weir.get("/").status, 500, "the system does not know the authority");
    assert!(weir.log().contains("nobody says who may come in"), "{}", weir.log());
}

#[test]
fn a_service_that_speaks_http_2_is_spoken_with() {
    let origin = Origin::named("passed");
    let auth = H2Origin::plain();
    let more = format!("  auth: {{ endpoints: [\"{}\"], protocol: http2 }}\n", auth.address);
    let weir = Weir::start(&format!("threads: 1\n{}", file(&origin, "upstream: auth, host: auth.test", &more)));
    for _ in 0..5 {
        assert_eq!(weir.get("/a").status, 200);
    }
    assert_eq!(auth.connection_count(), 1);
    let asked = auth.received();
    assert_eq!(asked.len(), 5);
    assert_eq!(asked[0].uri.authority().map(|authority| authority.as_str()), Some("auth.test"));
    assert_eq!(asked[0].headers["x-original-url"], "http://weir.test/a");
}

#[test]
fn a_service_is_not_told_otherwise_by_imitations() {
    let (origin, auth) = (Origin::named("passed"), Origin::named("asked"));
    let weir = start(&origin, &auth, "set-headers: { X-Key: ours }");
    let names = ["X_Original_Url", "X-Original_Uri", "X_Original_Method", "X_Sent_From", "X_Key", "X_Forwarded_Uri"];
    let mut connection = weir.connect();
    let fields: String = names.iter().map(|name| format!("{name}: forged\r\n")).collect();
    connection.write(format!("GET /admin HTTP/1.1\r\nHost: weir.test\r\n{fields}\r\n"));
    assert_eq!(connection.read_response().status, 200);
    let asked = auth.last_request();
    assert!(!asked.headers.iter().any(|(_, value)| value == "forged"), "{:?}", asked.headers);
    assert_eq!((asked.header("x-original-uri"), asked.header("x-key")), (Some("/admin"), Some("ours")));
}

#[test]
fn kept_answers_are_one_clients_and_end() {
    let (origin, auth) = (
        Origin::named("passed"),
        Origin::start(|request: &Received| match request.header("authorization") {
            Some("good") => Answer::with_headers("X-User: ann\r\n", ""),
            Some("private") => Answer::with_headers("Cache-Control: max-age=5, Private\r\n", ""),
            Some("cookie") => Answer::with_headers("Set-Cookie: a=b\r\n", ""),
            _ => Answer::status(401, ""),
        }),
    );
    let keys = "response-headers: [X-User], cache: { key: [{ header: Authorization }, { cookie: id }], ttl: { 200: 1h, 401: 1ms }, max-entries: 100 }";
    let weir = start(&origin, &auth, keys);
    let ask = |authorization: &str| weir.request("GET", "/").header("Authorization", authorization).send().status;
    assert_eq!(["good"; 5].map(ask), [200; 5]);
    assert_eq!(auth.request_count(), 1);
    assert!(origin.received().iter().all(|request| request.headers("x-user") == ["ann"]));
    assert_eq!(weir.request("GET", "/").header("Authorization", "good").header("Cookie", "id=2").send().status, 200);
    assert_eq!(auth.request_count(), 2);
    // Without any of the key, with a cookie, or said to be private: asked each time. So is what was kept for a moment.
    for (authorization, status) in [("private", 200), ("cookie", 200), ("bad", 401)] {
        let before = auth.request_count();
        for _ in 0..3 {
            assert_eq!(ask(authorization), status);
            std::thread::sleep(Duration::from_millis(2));
        }
        assert_eq!(auth.request_count(), before + 3, "{authorization}");
    }
    let before = auth.request_count();
    assert_eq!([weir.get("/").status, weir.get("/").status], [401; 2]);
    assert_eq!(auth.request_count(), before + 2);
    assert_eq!(weir.metric("weir_forward_auth_kept_total", &[]), Some(4.0));
    // A reload that leaves the filter as it is forgets nothing; one that changes it, all.
    let url = format!("url: 'http://{}/verify?x=1'", auth.address);
    weir.reload(&(file(&origin, &format!("{url}, {keys}"), "") + "      - { path: /new, respond: {} }\n"));
    assert_eq!(ask("good"), 200);
    assert_eq!(auth.request_count(), before + 2);
    weir.reload(&file(&origin, &format!("{url}, timeout: 4s, {keys}"), ""));
    assert_eq!(ask("good"), 200);
    assert_eq!(auth.request_count(), before + 3);
}

#[test]
fn a_question_that_comes_back_is_refused() {
    let (origin, http) = (Origin::named("passed"), free_address());
    let yaml = format!(
        "listeners: {{ http: {{ address: \"{http}\" }} }}\n{}",
        file(&origin, &format!("url: 'http://{http}/', pass-answer: true, timeout: 2s"), "")
    );
    let weir = Weir::start(&yaml);
    assert_eq!(request(http, "GET", "/").send().status, 500);
    assert_eq!(outcome(&weir, "failed"), 2.0, "asked once");
    assert_eq!(origin.request_count(), 0);
}

#[test]
fn clients_of_http_2_are_asked_about_too() {
    let (origin, auth) = (Origin::named("passed"), service());
    let weir = start(&origin, &auth, "response-headers: [X-User]");
    let mut client = H2Client::plain(weir.http);
    let passed = client.send(
        "POST",
        "a.test",
        "/x?y",
        &[("x-user", "eve"), ("cookie", "a=1"), ("cookie", "b=2")],
        Some("body".into()),
    );
    assert_eq!(passed.status, 200);
    assert_eq!(origin.only_request().headers("x-user"), ["ann"]);
    let asked = auth.only_request();
    assert_eq!(asked.header("x-original-url"), Some("http://a.test/x?y"));
    assert_eq!(asked.headers("cookie"), ["a=1; b=2"]);
    assert_eq!(client.send("GET", "a.test", "/", &[("x-decide", "401")], None).status, 401);
}

#[test]
fn a_trusted_proxy_is_believed_and_nobody_else() {
    let (origin, auth) = (Origin::named("passed"), service());
    let keys = format!("url: 'http://{}/'", auth.address);
    let weir = Weir::start(&format!("trusted-proxies: [127.0.0.1]\n{}", file(&origin, &keys, "")));
    weir.request("GET", "/")
        .header("X-Forwarded-For", "192.0.2.9")
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Host", "outer.test")
        .send();
    let asked = auth.only_request();
    assert_eq!(asked.headers("x-forwarded-for"), ["192.0.2.9, 127.0.0.1"]);
    assert_eq!(asked.headers("x-real-ip"), ["192.0.2.9"]);
    assert_eq!(asked.headers("x-forwarded-host"), ["outer.test"]);
    assert_eq!(asked.header("x-original-url"), Some("https://weir.test/"));
}

#[test]
fn ten_thousand_requests_leave_nothing_behind() {
    let origin = Origin::named("passed");
    let asked = Arc::new(AtomicUsize::new(0));
    let auth = Origin::start({
        let asked = asked.clone();
        move |request: &Received| match asked.fetch_add(1, Ordering::Relaxed) % 100 {
            7 => Answer::Reset,
            13 => Answer::status(500, ""),
            50 => Answer::SendAndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec()),
            _ => decide(request),
        }
    });
    let weir = start(&origin, &auth, "cache: { key: { header: X-Key }, ttl: { 200: 1h, 403: 1h }, max-entries: 64 }");
    let load = |requests: usize| {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let weir = &weir;
                scope.spawn(move || {
                    let mut connection = Connection::open(weir.http);
                    for n in 0..requests / 4 {
                        let decide = if n % 3 == 0 { "403" } else { "200" };
                        connection.write(format!(
                            "GET / HTTP/1.1\r\nHost: a.test\r\nX-Decide: {decide}\r\nX-Key: {thread}-{n}\r\n\r\n"
                        ));
                        let status = connection.read_response().status;
                        assert!(matches!(status, 200 | 403 | 500), "{status}");
                    }
                });
            }
        });
    };
    load(1000);
    let before = weir.resident_kib();
    load(10_000);
    let grown = weir.resident_kib().saturating_sub(before);
    assert!(grown < 8 << 10, "{grown} KiB more than before");
    assert!(auth.open_connections() <= 8 + 4, "{} connections are open", auth.open_connections());
    eventually("no place is taken", || {
        let in_flight = weir.metric("weir_endpoint_requests_in_flight", &["upstream=\"forward-auth:host:*\""])?;
        (in_flight == 0.0).then_some(())
    });
}

#[test]
fn explain_says_who_would_be_asked() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = folder.path().join("weir.yaml");
    let listener = "listeners: { http: { address: \"127.0.0.1:80\" } }\n";
    let keys = "url: 'http://auth.test:4180/verify', cache: { key: { header: X-Key }, ttl: { 200: 1m } }";
    std::fs::write(&yaml, format!("{listener}{}", file(&Origin::named("passed"), keys, ""))).unwrap();
    let explain = |more: &[&str]| {
        let output =
            weir_command().arg("explain").arg(&yaml).args(["GET", "http://a.test/"]).args(more).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let text = explain(&[]);
    assert!(text.contains("filter    forward-auth of the host"), "{text}");
    let asks = "note      forward-auth: asks GET auth.test:4180/verify at upstream forward-auth:host:*";
    assert!(text.contains(&format!("{asks}\n")), "{text}");
    let text = explain(&["-H", "X-Key: 1"]);
    assert!(text.contains(&format!("{asks}; its answer may be kept already\n")), "{text}");
}

/// What both must agree on.
fn seen(answer: &support::Response, forwarded: Option<&Received>) -> (u16, Vec<String>, Vec<String>, Vec<String>) {
    let texts = |values: Vec<&str>| values.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let upstream = forwarded.map_or(Vec::new(), |request| {
        ["x-user", "x-empty", "cookie", "authorization"].iter().flat_map(|name| texts(request.headers(name))).collect()
    });
    (answer.status, texts(answer.headers("www-authenticate")), texts(answer.headers("location")), upstream)
}

#[test]
fn nginx_lets_in_the_same_requests() {
    let origin = Origin::named("passed");
    let auth = Origin::start(|request: &Received| {
        let status = request.header("x-decide").unwrap_or("200").to_owned();
        let fields = "X-User: ann\r\nWWW-Authenticate: Basic realm=\"site\"\r\n";
        Answer::Send(format!("HTTP/1.1 {status} Decided\r\n{fields}Content-Length: 0\r\n\r\n").into_bytes())
    });
    let asking = |sign_in: &str| {
        format!(
            "location / {{ auth_request /auth; auth_request_set $user $upstream_http_x_user; auth_request_set $empty \
             $upstream_http_x_empty; proxy_set_header X-User $user; proxy_set_header X-Empty $empty; {sign_in} \
             proxy_pass http://{}; }}
             location = /auth {{ internal; proxy_pass http://{}/; proxy_pass_request_body off; \
             proxy_set_header Content-Length ''; proxy_set_header X-Original-URI $request_uri; }}",
            origin.address, auth.address
        )
    };
    let sign_in = "error_page 401 = @signin;";
    let page = "location @signin { return 302 https://login.test/?rd=$scheme://$http_host$request_uri; }";
    let plain = Nginx::start(&asking(""));
    let signing = Nginx::start(&format!("{} {page}", asking(sign_in)));
    let keys = format!("url: 'http://{}/', response-headers: [X-User, X-Empty]", auth.address);
    let weir = Weir::start(&file(&origin, &keys, ""));
    let weir_signing = Weir::start(&file(&origin, &format!("{keys}, sign-in: 'https://login.test/'"), ""));
    let mut compared = 0;
    for (nginx, weir) in [(&plain, &weir), (&signing, &weir_signing)] {
        for status in [
            "200", "201", "204", "206", "299", "301", "302", "304", "400", "401", "402", "403", "404", "418", "429",
            "500", "502", "503",
        ] {
            for method in ["GET", "POST", "HEAD"] {
                let answers = [nginx.address, weir.http].map(|to| {
                    let before = origin.request_count();
                    let mut asked: Request = request(to, method, "/path")
                        .header("X-Decide", status)
                        .header("X-User", "eve")
                        .header("X-Empty", "eve")
                        .header("Cookie", "a=b")
                        .header("Authorization", "Bearer x");
                    if method == "POST" {
                        asked = asked.body("text");
                    }
                    let answer = asked.send();
                    let forwarded = (origin.request_count() > before).then(|| origin.last_request());
                    let mut seen = seen(&answer, forwarded.as_ref());
                    if seen.0 == 302 {
                        // nginx leaves it on what an error page has made of the answer; browsers read it with 401 alone.
                        seen.1.clear();
                    }
                    // nginx's `return` does not escape what it was asked for.
                    seen.2 = seen.2.iter().map(|location| location.replace("%2Fpath", "/path")).collect();
                    let asked = auth.last_request();
                    let authorization = asked.header("authorization").map(str::to_owned);
                    (seen, asked.method, asked.body.len(), authorization)
                });
                assert_eq!(answers[0], answers[1], "{method} {status}");
                compared += 1;
            }
        }
    }
    auth.stop();
    for (nginx, weir) in [(&plain, &weir), (&signing, &weir_signing)] {
        assert_eq!([nginx.address, weir.http].map(|to| request(to, "GET", "/path").send().status), [500; 2]);
        compared += 1;
    }
    assert_eq!(compared, 110);
}
