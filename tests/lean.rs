//! The lean lane on the wire: what is kept goes out without a session, and nobody can tell. The full lane is the oracle.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use support::{
    Answer, Authority, Connection, LIMIT, Origin, Received, Response, TlsClient, Weir, eventually, free_address,
};

const LEAN: &str = "";
/// Two fields of cookies, which the lean lane leaves to the full one.
const FULL: &str = "Cookie: a=1\r\nCookie: b=2\r\n";

fn weir(origin: SocketAddr, filters: &str, keys: &str) -> Weir {
    Weir::start(&format!(
        "access-log: {{ format: json, file: access.log }}\n\
         upstreams: {{ origin: {{ endpoints: [\"{origin}\"] }} }}\n\
         hosts:\n  - names: [\"*\"]\n    filters: [ {filters} ]\n    routes: [ {{ path: /, upstream: origin }} ]\n{keys}"
    ))
}

fn ask(connection: &mut Connection, target: &str, fields: &str) -> Response {
    connection.write(format!("GET {target} HTTP/1.1\r\nHost: A.test:80\r\nOrigin: https://b.test\r\n{fields}\r\n"));
    connection.read_response()
}

/// All that a client sees, but for what changes with time.
fn seen(response: &Response) -> (u16, String, Vec<(String, String)>, String) {
    let passes = |name: &str| ["age", "date", "cache-status", "expires"].contains(&name.to_ascii_lowercase().as_str());
    let fields = response.headers.iter().filter(|(name, _)| !passes(name)).cloned().collect();
    (response.status, response.reason.clone(), fields, response.text())
}

fn scripted(request: &Received) -> Answer {
    let (status, body) =
        if request.target.starts_with("/gone") { ("404 Nothing Here", "gone") } else { ("200 Fine", "kept") };
    let lines = "Cache-Control: max-age=600\r\nContent-Type: text/css\r\nX-Mixed-CASE: v\r\nX-Twice: 1\r\nX-Twice: 2\r\nServer: it\r\n";
    Answer::Send(format!("HTTP/1.1 {status}\r\n{lines}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
}

#[test]
fn both_lanes_answer_alike() {
    let edits = "{ headers: { response: { set: { X-From: '${client-ip} ${host} ${path} ${uri} ${method} ${route}' }, remove: [Server] } } }";
    for filters in [
        "{ cache: {} }",
        "{ cache: { status-headers: false } }",
        &format!("{{ cache: {{}} }}, {edits}"),
        "{ cache: {} }, security-headers",
        "{ cache: {} }, { cors: { origins: ['https://b.test'], credentials: true } }",
        "{ cache: {} }, { cache-headers: [ { type: 'text/*', cache-control: 'public, max-age=60', expires: 1m } ] }",
        "{ cache: { key: [host, path] } }",
    ] {
        let origin = Origin::start(scripted);
        let weir = weir(origin.address, filters, "");
        let mut connection = weir.connect();
        for target in ["/a", "/a?b=c", "/%61//b/../b", "/gone"] {
            ask(&mut connection, target, FULL);
            let asked = origin.request_count();
            let (full, lean) = (ask(&mut connection, target, FULL), ask(&mut connection, target, LEAN));
            assert_eq!(seen(&lean), seen(&full), "{filters} {target}");
            for name in ["age", "date", "cache-status"] {
                assert_eq!(lean.header(name).is_some(), full.header(name).is_some(), "{filters} {target} {name}");
            }
            assert_eq!(origin.request_count(), asked, "{filters} {target}: nobody is asked for what is kept");
        }
    }
}

#[test]
fn requests_in_one_packet_are_answered_in_their_order_whatever_lane_they_take() {
    let origin = Origin::start(|request: &Received| {
        Answer::with_headers("Cache-Control: max-age=600\r\n", &format!("{} {}", request.method, request.target))
    });
    let weir = weir(origin.address, "{ cache: {} }", "");
    let mut connection = weir.connect();
    ask(&mut connection, "/kept", LEAN);
    let get = |target: &str, fields: &str| format!("GET {target} HTTP/1.1\r\nHost: a.test:80\r\n{fields}\r\n");
    let post = "POST /new HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody";
    let all = [&get("/kept", ""), &get("/other", ""), &get("/kept", ""), post, &get("/kept", FULL), &get("/kept", "")];
    connection.write(all.map(|text| text.to_owned()).concat());
    let expected = ["GET /kept", "GET /other", "GET /kept", "POST /new", "GET /kept", "GET /kept"];
    for text in expected {
        assert_eq!(connection.read_response().text(), text);
    }
    connection.write(get("/kept", "Connection: close\r\n"));
    let last = connection.read_response();
    assert_eq!((last.text().as_str(), last.header("connection")), ("GET /kept", Some("close")));
}

#[test]
fn hits_are_counted_and_logged_as_in_the_full_lane() {
    let origin = Origin::start(scripted);
    let weir = weir(origin.address, "{ cache: {} }", "");
    let mut connection = weir.connect();
    for fields in [FULL, FULL, "User-Agent: someone\r\nReferer: https://c.test/\r\n"] {
        ask(&mut connection, "/a?b=c", fields);
    }
    let count = |labels: &[&str]| weir.metric("weir_cache_requests_total", labels);
    eventually("both hits are counted", || (count(&["outcome=\"hit\""]) == Some(2.0)).then_some(()));
    assert_eq!(count(&["outcome=\"miss\""]), Some(1.0));
    assert_eq!(weir.metric("weir_requests_total", &["code=\"200\"", "method=\"GET\""]), Some(3.0));

    let lines = || std::fs::read_to_string(weir.folder().join("access.log")).unwrap_or_default();
    let lines = eventually("all three are logged", || Some(lines()).filter(|lines| lines.lines().count() == 3));
    let read = |nth: usize| -> serde_json::Value { serde_json::from_str(lines.lines().nth(nth).unwrap()).unwrap() };
    let (full, lean) = (read(1), read(2));
    assert_eq!((lean["user_agent"].as_str(), lean["referer"].as_str()), (Some("someone"), Some("https://c.test/")));
    for (key, value) in full.as_object().unwrap() {
        let differs =
            ["timestamp", "time", "request_id", "duration_ms", "user_agent", "referer", "lane"].contains(&key.as_str());
        assert!(differs || lean[key] == *value, "{key}: {} and {value}", lean[key]);
    }
    assert_ne!(lean["request_id"], full["request_id"]);
    assert_eq!((full["lane"].as_str(), lean["lane"].as_str()), (Some("full"), Some("lean")));
}

#[test]
fn large_objects_reach_slow_readers_whole() {
    const SIZE: usize = 3 << 20;
    let origin =
        Origin::start(|_: &Received| Answer::with_headers("Cache-Control: max-age=600\r\n", &"x".repeat(SIZE)));
    let weir = weir(origin.address, "{ cache: {} }", "");
    assert_eq!(ask(&mut weir.connect(), "/", LEAN).body.len(), SIZE);
    let mut connection = weir.connect();
    for _ in 0..3 {
        connection.write("GET / HTTP/1.1\r\nHost: A.test:80\r\nOrigin: https://b.test\r\n\r\n");
    }
    // What does not fit in the sockets' buffers waits at Weir.
    std::thread::sleep(Duration::from_millis(300));
    for _ in 0..3 {
        assert_eq!(connection.read_response().body.len(), SIZE);
    }
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn a_client_that_does_not_read_is_given_up() {
    let origin =
        Origin::start(|_: &Received| Answer::with_headers("Cache-Control: max-age=600\r\n", &"x".repeat(16 << 20)));
    let http = free_address();
    let listener = format!("listeners: {{ http: {{ address: \"{http}\", limits: {{ body-timeout: 1s }} }} }}\n");
    let weir = weir(origin.address, "{ cache: { max-object: 32MB } }", &listener);
    ask(&mut Connection::open(http), "/", LEAN);
    let mut connection = Connection::open(http);
    connection.write("GET / HTTP/1.1\r\nHost: A.test:80\r\nOrigin: https://b.test\r\n\r\n");
    let log = || std::fs::read_to_string(weir.folder().join("access.log")).unwrap_or_default();
    eventually("it is given up", || log().lines().any(|line| line.contains("client-timeout")).then_some(()));
    assert_eq!(ask(&mut Connection::open(http), "/", LEAN).body.len(), 16 << 20, "others are served");
}

/// Which lanes the requests took, by target.
fn lanes(weir: &Weir, count: usize) -> Vec<String> {
    let lines = || std::fs::read_to_string(weir.folder().join("access.log")).unwrap_or_default();
    let lines = eventually("all are logged", || Some(lines()).filter(|lines| lines.lines().count() == count));
    let line = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| line[key].as_str().unwrap().to_owned();
        (text("target"), text("lane"))
    };
    // Connections are served side by side: what ends first may be written last.
    let mut lanes: Vec<_> = lines.lines().map(line).collect();
    lanes.sort();
    lanes.into_iter().map(|(_, lane)| lane).collect()
}

#[test]
fn what_is_plain_takes_the_lean_lane_and_the_rest_the_full_one() {
    let origin = Origin::named("passed");
    let weir = weir(origin.address, "{ rate-limit: { rate: 100/s, burst: 100 } }, security-headers", "");
    let cases = [
        ("GET", "", "lean"),
        ("HEAD", "Cookie: a=1\r\n", "lean"),
        ("BREW", "Connection: close\r\n", "lean"),
        ("POST", "Content-Length: 4\r\n\r\nbody", "lean"),
        ("PUT", "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n", "lean"),
        ("GET", "Cookie: a=1\r\nCookie: b=2\r\n", "full"),
        ("GET", "Connection: X-Mine\r\n", "full"),
        ("POST", "Expect: 100-continue\r\nContent-Length: 0\r\n", "full"),
    ];
    for (nth, (method, rest, _)) in cases.into_iter().enumerate() {
        let mut connection = weir.connect();
        connection.write(format!("{method} /{nth} HTTP/1.1\r\nHost: a.test\r\n{rest}\r\n"));
        assert_eq!(connection.read_response_to(method).status, 200, "{method} {rest}");
    }
    assert_eq!(lanes(&weir, cases.len()), cases.map(|(_, _, lane)| lane));
    let count = |lane: &str| weir.metric("weir_lane_requests_total", &[lane, "route=\"*/\""]);
    assert_eq!((count("lane=\"lean\""), count("lane=\"full\"")), (Some(5.0), Some(3.0)));
    assert_eq!(weir.metric("weir_requests_in_flight", &["route=\"*/\""]), Some(0.0));
}

#[test]
fn the_lean_lane_can_be_closed() {
    let origin = Origin::named("passed");
    for (keys, lane) in [("lanes: full\n", "full"), ("lanes: auto\n", "lean")] {
        let weir = weir(origin.address, "", keys);
        assert_eq!(ask(&mut weir.connect(), "/", LEAN).text(), "passed");
        assert_eq!(lanes(&weir, 1), [lane]);
    }
}

#[test]
fn requests_in_one_packet_are_sent_on_in_their_order() {
    let origin = Origin::start(|request: &Received| {
        Answer::ok(&format!("{} {} {}", request.method, request.target, String::from_utf8_lossy(&request.body)))
    });
    let weir = weir(origin.address, "", "");
    let mut connection = weir.connect();
    let text = [
        "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nT: 1\r\n\r\n",
        "GET /3 HTTP/1.1\r\nHost: a\r\nConnection: X\r\n\r\n",
        "PUT /4 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
        "GET /5 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ];
    connection.write(text.concat());
    for expected in ["GET /1 ", "POST /2 abc", "GET /3 ", "PUT /4 hi", "GET /5 "] {
        assert_eq!(connection.read_response().text(), expected);
    }
    assert_eq!(lanes(&weir, 5), ["lean", "lean", "full", "lean", "lean"]);
}

#[test]
fn an_answer_that_comes_before_the_body_ends_the_connection_after_it() {
    let origin = Origin::start_at_head(|_: &Received| Answer::ok("early"));
    let weir = weir(origin.address, "", "");
    let mut connection = weir.connect();
    connection.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nbeginning");
    let answer = connection.read_response();
    assert_eq!((answer.text().as_str(), answer.header("connection")), ("early", Some("close")));
    drop(connection);
    assert_eq!(lanes(&weir, 1), ["lean"]);
}

#[test]
fn what_an_upstream_does_not_take_of_a_body_is_no_other_request() {
    let origin = Origin::start_at_head(|_: &Received| {
        Answer::SendAndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly".to_vec())
    });
    let weir = weir(origin.address, "", "");
    let inner = "GET /inner HTTP/1.1\r\nHost: inner\r\n\r\n";
    let body = inner.repeat((4 << 20) / inner.len());
    let head = format!("POST /outer HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
    for round in 0..12 {
        let mut connection = TcpStream::connect(weir.http).unwrap();
        connection.set_read_timeout(Some(LIMIT)).unwrap();
        let (mut writing, head, body) = (connection.try_clone().unwrap(), head.clone(), body.clone());
        // In pieces that begin with a request, wherever the reading stops.
        let writer = std::thread::spawn(move || {
            let pieces = body.as_bytes().chunks(inner.len() * 400);
            std::iter::once(head.as_bytes()).chain(pieces).all(|piece| writing.write_all(piece).is_ok())
        });
        let mut answers = Vec::new();
        // A connection that is closed while the client still sends may be reset, and the answer lost with it.
        let _ = connection.read_to_end(&mut answers);
        let answers = String::from_utf8_lossy(&answers).to_ascii_lowercase();
        let (count, closes) = (answers.matches("http/1.1 ").count(), answers.contains("connection: close"));
        assert!(count == 0 || (count, closes) == (1, true), "round {round}: {answers}");
        writer.join().unwrap();
    }
    assert!(origin.received().iter().all(|request| request.target == "/outer"));
}

#[test]
fn an_upload_that_takes_longer_than_an_upstream_may_is_not_held_against_it() {
    let origin = Origin::start(|_: &Received| {
        Answer::drive(|stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").unwrap();
            std::thread::sleep(Duration::from_millis(300));
            stream.write_all(b"whole").unwrap();
        })
    });
    for lanes in ["auto", "full"] {
        let weir = Weir::start(&format!(
            "lanes: {lanes}\nupstreams: {{ origin: {{ endpoints: [\"{}\"], timeouts: {{ read: 1s }} }} }}\n\
             hosts: [ {{ names: [\"*\"], routes: [ {{ path: /, upstream: origin }} ] }} ]\n",
            origin.address
        ));
        let mut connection = weir.connect();
        connection.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
        for piece in ["s", "l", "o", "w", "!"] {
            std::thread::sleep(Duration::from_millis(400));
            connection.write(piece);
        }
        assert_eq!(connection.read_response().text(), "whole", "lanes: {lanes}");
    }
}

#[test]
fn an_answer_that_flows_is_passed_on_whole_though_the_upstream_takes_no_more_of_the_body() {
    let origin = Origin::start_at_head(|_: &Received| {
        Answer::drive(|stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
            for _ in 0..8 {
                std::thread::sleep(Duration::from_millis(150));
                stream.write_all(b"1\r\n.\r\n").unwrap();
            }
            stream.write_all(b"0\r\n\r\n").unwrap();
            // Not closed before it is read: what lies unread would reset the connection.
            std::thread::sleep(Duration::from_millis(500));
        })
    });
    let weir = Weir::start(&format!(
        "upstreams: {{ origin: {{ endpoints: [\"{}\"], timeouts: {{ write: 500ms }} }} }}\n\
         hosts: [ {{ names: [\"*\"], routes: [ {{ path: /, upstream: origin }} ] }} ]\n",
        origin.address
    ));
    let mut connection = TcpStream::connect(weir.http).unwrap();
    connection.set_read_timeout(Some(LIMIT)).unwrap();
    let mut writing = connection.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        let size = 64 << 20;
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n");
        // It ends when Weir takes no more.
        let _ = writing.write_all(head.as_bytes()).and_then(|()| writing.write_all(&vec![b'x'; size]));
    });
    let mut answer = Vec::new();
    // Weir closes a connection whose client still sends: that may be a reset, after the answer.
    let _ = connection.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert_eq!(answer.matches("1\r\n.\r\n").count(), 8, "{answer}");
    assert!(answer.ends_with("\r\n0\r\n\r\n"), "{answer}");
    sender.join().unwrap();
}

#[test]
fn a_request_that_ran_out_of_time_is_held_against_an_endpoint_that_had_most_of_it() {
    let (a, b) = (Origin::start(|_| Answer::Silence), Origin::start(|_| Answer::Silence));
    let keys = "timeouts: { request: 1s }\nretry: { attempts: 1 }\n\
                outlier-detection: { failures: 1, window: 30s, eject-for: 1m, max-ejected: 100% }";
    let weir = Weir::start(&Weir::forwarding_to(&[a.address, b.address], keys));
    let ejected = || weir.metric("weir_endpoint_health_changes_total", &["to=\"ejected\""]);
    let mut slow: Vec<_> = (0..4).map(|_| weir.connect()).collect();
    for connection in &mut slow {
        connection.write("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\na");
    }
    std::thread::sleep(Duration::from_millis(750));
    slow.iter_mut().for_each(|connection| connection.write("b"));
    for connection in &mut slow {
        assert_eq!(connection.read_response().status, 504);
    }
    assert_eq!(ejected(), Some(0.0), "they had a quarter of it");
    assert_eq!(weir.get("/").status, 504);
    assert_eq!(ejected(), Some(1.0), "this one had all of it");
}

#[test]
fn a_request_that_ran_out_of_time_is_not_said_to_have_been_given_up_by_its_client() {
    let origin = Origin::start(|_: &Received| Answer::ok(&"x".repeat(32 << 20)));
    let weir = Weir::start(&format!(
        "access-log: {{ format: json, file: access.log }}\n\
         upstreams: {{ origin: {{ endpoints: [\"{}\"], timeouts: {{ request: 400ms }} }} }}\n\
         hosts: [ {{ names: [\"*\"], routes: [ {{ path: /, upstream: origin }} ] }} ]\n",
        origin.address
    ));
    let mut connection = weir.connect();
    connection.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let log = || std::fs::read_to_string(weir.folder().join("access.log")).unwrap_or_default();
    eventually("it is over", || log().contains("\"request-timeout\"").then_some(()));
    drop(connection);
}

#[test]
fn a_client_that_does_not_read_gives_its_place_back() {
    let origin = Origin::start(|_: &Received| {
        Answer::drive(|stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
            let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
            while stream.write_all(chunk.as_bytes()).is_ok() {}
        })
    });
    let (http, https) = (free_address(), free_address());
    let authority = Authority::new("root");
    let folder = tempfile::tempdir().unwrap();
    let (chain, key) = authority.issue(&["a"]).write(folder.path(), "a");
    let weir = weir(
        origin.address,
        "",
        &format!(
            "listeners:\n  http: {{ address: \"{http}\", limits: {{ body-timeout: 500ms }} }}\n\
             \x20 https: {{ address: \"{https}\", tls: {{}}, limits: {{ body-timeout: 500ms }} }}\n\
             certificates: [ {{ file: {{ cert: {}, key: {} }} }} ]\n",
            chain.display(),
            key.display()
        ),
    );
    let secure = TlsClient::trusting(&authority, &[b"http/1.1"]);
    let mut silent: Vec<Connection> = (0..3).map(|_| Connection::open(http)).collect();
    silent.extend((0..3).map(|_| secure.connect(https, "a").unwrap()));
    for connection in &mut silent {
        connection.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    let open =
        || ["http", "https"].map(|name| weir.metric("weir_connections_open", &[&format!("listener=\"{name}\"")]));
    eventually("all are there", || (open() == [Some(3.0), Some(3.0)]).then_some(()));
    eventually("none has a place any more", || (open() == [Some(0.0), Some(0.0)]).then_some(()));
    drop(silent);
}

#[test]
fn a_client_that_stops_sending_is_not_waited_for_behind_a_retry_either() {
    for fields in [LEAN, FULL] {
        let origin = Origin::start_at_head(|request: &Received| match request.connection {
            0 => Answer::Reset,
            _ => Answer::Silence,
        });
        let http = free_address();
        let listener = format!("listeners: {{ http: {{ address: \"{http}\", limits: {{ body-timeout: 300ms }} }} }}\n");
        let weir = weir(origin.address, "", &listener);
        let mut connection = Connection::open(http);
        connection.write(format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n{fields}\r\nhalf"));
        assert_eq!(connection.read_response().status, 408, "{fields:?}");
        assert_eq!(origin.request_count(), 2, "{fields:?}");
        drop(weir);
    }
}

#[test]
fn a_body_that_nobody_wants_is_counted() {
    let origin = Origin::named("origin");
    for fields in [LEAN, FULL] {
        let weir = weir(origin.address, "{ deny: [127.0.0.0/8] }", "");
        let mut connection = weir.connect();
        connection.write(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n{fields}\r\nbody"));
        assert_eq!(connection.read_response().status, 403);
        let counted = || weir.metric("weir_request_body_bytes_total", &[]) == Some(4.0);
        eventually("its four bytes are", || counted().then_some(()));
    }
}

#[test]
fn what_is_kept_is_not_shown_to_whom_a_check_refuses() {
    let origin = Origin::start(scripted);
    let weir = weir(origin.address, "{ cache: {} }, { deny: [203.0.113.7] }", "trusted-proxies: [127.0.0.1/32]\n");
    let from = |address: &str, more: &str| {
        let fields = format!("X-Forwarded-For: {address}\r\n{more}");
        ask(&mut weir.connect(), "/", &fields).status
    };
    assert_eq!([from("192.0.2.1", ""), from("192.0.2.1", "")], [200, 200]);
    assert_eq!([from("203.0.113.7", LEAN), from("203.0.113.7", FULL)], [403, 403]);
    assert_eq!(origin.request_count(), 1);
}
