//! What Weir refuses: requests that two readers could read differently, and clients that hold on to what they do not use.
//! In each case the connection is closed and nothing reaches the origin.

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use support::{Answer, Connection, H2Client, Origin, Weir, block_on, eventually, free_address, holds_for, request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A Weir in front of `origin` whose only listener has these limits.
fn limited(origin: &Origin, limits: &str) -> (Weir, SocketAddr) {
    let http = free_address();
    let weir = Weir::start(&format!(
        "listeners:\n  http:\n    address: \"{http}\"\n    limits: {{ {limits} }}\n{}",
        Weir::forwarding_to(&[origin.address], "")
    ));
    (weir, http)
}

#[test]
fn requests_that_could_be_read_in_two_ways_are_refused() {
    let origin = Origin::named("origin");
    let weir = Weir::in_front_of(&[origin.address]);
    for (what, request) in [
        ("two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
        ("a list of lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 6\r\n\r\nhello!"),
        (
            "a length and chunks",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "chunks and a length",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        ),
        ("a signed length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello"),
        ("a negative length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello"),
        ("a hexadecimal length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello"),
        ("a length beyond all numbers", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n"),
        ("an unknown coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        ("chunked twice", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
        (
            "chunked, but not last",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        ),
        ("almost chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        (
            "a vertical tab before chunked",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        ),
        ("chunks in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("a space before the colon", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello"),
        ("a folded field", "GET / HTTP/1.1\r\nHost: a\r\nX-A: one\r\n two\r\n\r\n"),
        ("a field without a colon", "GET / HTTP/1.1\r\nHost: a\r\nX-A\r\n\r\n"),
        ("a field without a name", "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n"),
        ("a space within a name", "GET / HTTP/1.1\r\nHost: a\r\nX A: x\r\n\r\n"),
        ("a first field that is folded", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
        ("lines that end with LF alone", "GET / HTTP/1.1\nHost: a\n\n"),
        ("one line that ends with LF alone", "GET / HTTP/1.1\r\nHost: a\nX-A: x\r\n\r\n"),
        ("a CR within a field", "GET / HTTP/1.1\r\nHost: a\r\nX-A: one\rX-B: two\r\n\r\n"),
        ("a NUL in a field", "GET / HTTP/1.1\r\nHost: a\r\nX-A: one\0two\r\n\r\n"),
        ("a NUL in the target", "GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("no host", "GET / HTTP/1.1\r\n\r\n"),
        ("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        ("a host that is none", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
        ("a host with a user", "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n"),
        ("a port with a user", "GET / HTTP/1.1\r\nHost: a:@1\r\n\r\n"),
        ("a target that is a scheme", "GET http: HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a target with a backslash for a host", "GET http://a\\b HTTP/1.1\r\nHost: a\\b\r\n\r\n"),
        ("no version", "GET /\r\nHost: a\r\n\r\n"),
        ("an unknown version", "GET / HTTP/3.7\r\nHost: a\r\n\r\n"),
        ("no method", " / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ] {
        let mut client = weir.connect();
        client.write(request);
        let answer = String::from_utf8_lossy(&client.read_to_end()).into_owned();
        let refused = ["HTTP/1.1 400 ", "HTTP/1.1 501 ", "HTTP/1.1 505 "].iter().any(|line| answer.starts_with(line));
        assert!(refused, "{what}: {answer:?}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{what}: one answer, then the end: {answer:?}");
        assert!(answer.contains("\r\n\r\n40") || answer.contains("\r\n\r\n50"), "{what}: Weir says why: {answer:?}");
    }
    assert_eq!(origin.byte_count(), 0, "nothing of it reaches the origin");
}

#[test]
fn what_is_not_http_is_left_alone() {
    let origin = Origin::named("origin");
    let weir = Weir::in_front_of(&[origin.address]);
    for noise in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
    ] {
        let mut client = weir.connect();
        client.write(noise);
        let answer = String::from_utf8_lossy(&client.read_to_end()).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer:?}");
    }
    assert_eq!(origin.byte_count(), 0);
}

#[test]
fn a_second_request_cannot_hide_in_the_body_of_a_refused_one() {
    let origin = Origin::named("origin");
    let weir = Weir::in_front_of(&[origin.address]);
    let mut client = weir.connect();
    client.write(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 44\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\
         GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    client.read_to_end();
    assert_eq!(origin.byte_count(), 0);
}

#[test]
fn broken_chunks_end_the_request_and_the_connection() {
    let origin = Origin::named("origin");
    let weir = Weir::in_front_of(&[origin.address]);
    for body in [
        "xyz\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "-1\r\n\r\n",
        "fffffffffffffffff\r\n",
        "5 \n hello",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "5;a\0\r\nhello\r\n0\r\n\r\n",
        "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n",
        "0\r\nno colon\r\n\r\n",
        "0\r\n folded: x\r\n\r\n",
        "0\r\nA : b\r\n\r\n",
        "0\r\nA: \x7f\r\n\r\n",
    ] {
        let mut client = weir.connect();
        client.write(format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}"));
        let answer = String::from_utf8_lossy(&client.read_to_end()).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{body:?}: {answer:?}");
    }
    assert_eq!(origin.request_count(), 0, "no request was ever whole");
}

#[test]
fn trace_and_connect_are_not_for_a_proxy_of_this_kind() {
    let origin = Origin::named("origin");
    let weir = Weir::in_front_of(&[origin.address]);
    assert_eq!(weir.request("TRACE", "/").header("Cookie", "secret").send().status, 405);
    let mut client = weir.connect();
    client.write("CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n");
    let answer = String::from_utf8_lossy(&client.read_to_end()).into_owned();
    assert!(answer.starts_with("HTTP/1.1 405 ") || answer.starts_with("HTTP/1.1 400 "), "{answer:?}");
    assert_eq!(origin.byte_count(), 0);
}

#[test]
fn methods_and_fields_that_are_merely_unusual_pass() {
    let origin = Origin::start(|request| Answer::ok(&request.method));
    let weir = Weir::in_front_of(&[origin.address]);
    for method in ["PATCH", "PROPFIND", "PURGE", "QUERY"] {
        assert_eq!(weir.request(method, "/").send().text(), method);
    }
    let answer = weir.request("OPTIONS", "*").send();
    assert!(matches!(answer.status, 200 | 204), "OPTIONS * is answered: {}", answer.status);
    weir.request("GET", "/").header("X_Under.score", "\u{e9}\t~").send();
    assert_eq!(origin.last_request().header("x_under.score"), Some("\u{e9}\t~"));
}

#[test]
fn http_1_0_is_served_and_closed() {
    let origin = Origin::named("origin");
    let weir = Weir::in_front_of(&[origin.address]);
    let mut client = weir.connect();
    client.write("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n");
    let answer = client.read_response();
    assert_eq!((answer.status, answer.text().as_str()), (200, "origin"));
    client.assert_closed();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start(|request| Answer::ok(&request.target));
    let weir = Weir::in_front_of(&[origin.address]);
    let mut client = weir.connect();
    client.write(
        "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /2 HTTP/1.1\r\nHost: a\r\n\r\n\
         GET /3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    for target in ["/1", "/2", "/3"] {
        assert_eq!(client.read_response().text(), target);
    }
    client.assert_closed();
}

#[test]
fn an_oversized_header_is_431() {
    let origin = Origin::named("origin");
    let (_weir, http) = limited(&origin, "max-header-size: 4KiB");
    let status = |size: usize| {
        let mut client = Connection::open(http);
        let _ = client.try_write(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Large: {}\r\n\r\n", "x".repeat(size)));
        client.read_response().status
    };
    assert_eq!(status(3000), 200);
    assert_eq!(status(5000), 431);
    assert_eq!(status(1_000_000), 431);

    let mut client = Connection::open(http);
    let _ = client.try_write(format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(5000)));
    assert!(matches!(client.read_response().status, 414 | 431));
    client.assert_closed();
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn a_header_that_does_not_end_is_cut_off_at_its_limit() {
    let origin = Origin::named("origin");
    let (weir, http) = limited(&origin, "max-header-size: 4KiB");
    let before = weir.resident_kib();
    let mut client = Connection::open(http);
    let _ = client.try_write("GET / HTTP/1.1\r\nHost: a\r\n");
    let line = format!("X-Line: {}\r\n", "x".repeat(1000));
    let taken = (0..50_000).take_while(|_| client.try_write(&line).is_ok()).count();
    assert!(taken < 50_000, "the connection is closed long before 50 MB");
    assert!(weir.resident_kib().saturating_sub(before) < 16 << 10);
    assert_eq!(origin.byte_count(), 0);
}

#[test]
fn a_header_that_comes_too_slowly_is_408() {
    let origin = Origin::named("origin");
    let (_weir, http) = limited(&origin, "header-timeout: 300ms");
    let mut client = Connection::open(http);
    let begun = Instant::now();
    client.write("GET / HTTP/1.1\r\nHost: a\r\n");
    // A byte now and then does not help: the whole header has one deadline.
    while begun.elapsed() < Duration::from_secs(5) && client.try_write("X").is_ok() {
        std::thread::sleep(Duration::from_millis(20));
        if begun.elapsed() > Duration::from_millis(600) {
            break;
        }
    }
    let answer = String::from_utf8_lossy(&client.read_to_end()).into_owned();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer:?}");

    let mut silent_after_a_line = Connection::open(http);
    silent_after_a_line.write("GET / HTTP/1.1\r\n");
    assert_eq!(silent_after_a_line.read_response().status, 408);
    silent_after_a_line.assert_closed();
    assert_eq!(origin.byte_count(), 0);
}

#[test]
fn a_body_that_stalls_is_408() {
    let origin = Origin::named("origin");
    let (_weir, http) = limited(&origin, "body-timeout: 300ms");
    let mut client = Connection::open(http);
    client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
    assert_eq!(client.read_response_to("POST").status, 408);
    client.assert_closed();
    assert_eq!(origin.request_count(), 0, "the origin never had all of it");
}

#[test]
fn a_connection_without_a_request_is_closed_in_time() {
    let origin = Origin::named("origin");
    let (_weir, http) = limited(&origin, "idle-timeout: 300ms");
    let opened = Instant::now();
    let mut fresh = Connection::open(http);
    fresh.assert_closed();
    assert!(opened.elapsed() >= Duration::from_millis(250), "not at once");

    let mut used = Connection::open(http);
    used.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(used.read_response().status, 200);
    used.assert_closed();

    let h2 = H2Client::plain(http);
    assert!(h2.closed_in_order(), "an idle HTTP/2 connection is told to go");
}

#[test]
fn a_preface_that_does_not_end_is_closed_in_time() {
    let origin = Origin::named("origin");
    let (_weir, http) = limited(&origin, "header-timeout: 300ms, idle-timeout: 1s");
    for beginning in ["P", "PRI * HTTP/2.0\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut client = Connection::open(http);
        client.write(beginning);
        client.read_to_end();
    }
}

#[test]
fn a_connection_is_closed_after_its_number_of_requests() {
    let origin = Origin::named("origin");
    let (_weir, http) = limited(&origin, "max-requests: 3");
    let mut client = Connection::open(http);
    for number in 1..=3 {
        client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = client.read_response();
        assert_eq!(answer.status, 200);
        let closes = answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        assert_eq!(closes, number == 3, "the last one says so");
    }
    client.assert_closed();

    let mut client = H2Client::plain(http);
    for _ in 0..3 {
        assert_eq!(client.get("a.test", "/").status, 200);
    }
    assert!(client.closed_in_order());
}

#[test]
fn connections_beyond_the_limit_are_closed_at_once() {
    let origin = Origin::named("origin");
    let (_weir, http) = limited(&origin, "max-connections: 2");
    let answers = |client: &mut Connection| {
        client.try_write("GET / HTTP/1.1\r\nHost: a\r\n\r\n").is_ok() && client.try_read_response("GET").is_ok()
    };
    let mut kept: Vec<_> = (0..2).map(|_| Connection::open(http)).collect();
    assert!(kept.iter_mut().all(answers));
    assert!(!answers(&mut Connection::open(http)), "the third finds no place");
    kept.pop();
    eventually("a place is free again", || answers(&mut Connection::open(http)).then_some(()));
    assert!(answers(&mut kept[0]), "who was there stays");
}

#[test]
fn a_connection_that_is_listened_to_to_its_end_has_its_place_till_then() {
    let origin = Origin::named("origin");
    let http = free_address();
    let weir = Weir::start(&format!(
        "listeners: {{ http: {{ address: \"{http}\", limits: {{ max-connections: 1 }} }} }}\n\
         upstreams: {{ origin: {{ endpoints: [ \"{}\" ] }} }}\n\
         hosts: [ {{ names: [\"*\"], routes: [ {{ path: /, upstream: origin, filters: [ {{ max-body-size: 10B }} ] }} ] }} ]\n",
        origin.address
    ));
    let answers = |client: &mut Connection| {
        client.try_write("GET / HTTP/1.1\r\nHost: a\r\n\r\n").is_ok() && client.try_read_response("GET").is_ok()
    };
    let mut refused = Connection::open(http);
    refused.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nthe rest is still to come");
    assert_eq!(refused.read_response().status, 413);
    // Its end has been sent: whoever serves it has gone.
    refused.assert_closed();
    assert!(!answers(&mut Connection::open(http)), "the place is taken");
    assert_eq!(weir.metric("weir_connections_open", &["listener=\"http\""]), Some(1.0));
    drop(refused);
    eventually("the place is free", || answers(&mut Connection::open(http)).then_some(()));
}

#[test]
fn a_reset_flood_is_cut_off() {
    let origin = Origin::start(|_| Answer::Silence);
    let weir = Weir::in_front_of(&[origin.address]);
    // CVE-2023-44487: open a stream, reset it, and again, thousands of times.
    block_on(async {
        let mut stream = tokio::net::TcpStream::connect(weir.http).await.unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00").await.unwrap();
        // :method GET, :scheme http, :path /, :authority a
        let head = [0x82, 0x86, 0x84, 0x41, 0x01, b'a'];
        for number in 0..20_000u32 {
            let id = (number * 2 + 1).to_be_bytes();
            let headers = [&[0, 0, head.len() as u8, 0x1, 0x5], &id[..], &head].concat();
            let reset = [&[0, 0, 4, 0x3, 0], &id[..], &[0, 0, 0, 8]].concat();
            if stream.write_all(&[headers, reset].concat()).await.is_err() {
                return;
            }
        }
        // All of it may stand in the kernel's buffers; the end must come all the same.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    assert!(origin.request_count() < 2_000, "the origin was spared: {}", origin.request_count());
    assert_eq!(weir.admin("/healthz").status, 200, "and weir is well");
}

#[test]
fn empty_lines_in_front_of_a_request_are_skipped_however_they_come() {
    let origin = Origin::named("origin");
    let weir = Weir::in_front_of(&[origin.address]);
    for pieces in
        [&["\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"][..], &["\r\n\r", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"]]
    {
        let mut client = weir.connect();
        for _ in 0..2 {
            for piece in pieces {
                client.write(piece);
                std::thread::sleep(Duration::from_millis(50));
            }
            assert_eq!(client.read_response().status, 200, "{pieces:?}");
        }
    }
}

#[test]
fn a_client_that_goes_away_takes_nothing_with_it() {
    let origin = Origin::named("origin");
    let weir = Weir::in_front_of(&[origin.address]);
    for beginning in
        ["", "GET", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf"]
    {
        let mut client = weir.connect();
        client.write(beginning);
        drop(client);
    }
    holds_for(Duration::from_millis(200), "weir serves", || weir.get("/").status == 200);
}

#[test]
fn requests_that_no_route_takes_are_counted_by_their_listener() {
    let (one, other) = (free_address(), free_address());
    let weir = Weir::start(&format!(
        "listeners: {{ one: {{ address: \"{one}\" }}, other: {{ address: \"{other}\" }} }}\n\
         hosts:\n  - names: [a.test]\n    routes: [ {{ path: /, respond: {{ status: 200 }} }} ]\n"
    ));
    let counted = |listener: &str, code: &str| {
        let labels = [format!("listener=\"{listener}\""), format!("code=\"{code}\"")];
        weir.metric("weir_requests_total", &[&labels[0], &labels[1]])
    };
    assert_eq!(request(other, "GET", "/").host("b.test").send().status, 404);
    eventually("an unknown host is counted", || (counted("other", "404") == Some(1.0)).then_some(()));
    let mut client = Connection::open(other);
    client.write("no request\r\n\r\n");
    client.read_response();
    eventually("what is no request is counted", || (counted("other", "400") == Some(1.0)).then_some(()));
    assert_eq!(request(one, "GET", "/").host("a.test").send().status, 200);
    assert_eq!((counted("one", "404"), counted("one", "200")), (None, None), "a route has counted it");
}
