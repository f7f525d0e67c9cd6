//! Request bodies on the wire: waited for or passed on, bounded in size, beside nginx's `proxy_request_buffering` and
//! `client_max_body_size`.

mod support;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use support::{Answer, Connection, H2Client, Nginx, Origin, Weir, eventually, holds_for, request};

/// Answers with the length of what it got, and whether it is what was sent.
fn measuring() -> Origin {
    Origin::start(|request| {
        let intact = request.body == pattern(request.body.len());
        Answer::ok(&format!("{} {}", request.body.len(), if intact { "intact" } else { "broken" }))
    })
}

/// Without a period that is a power of two.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n % 251) as u8).collect()
}

fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let chunk = |piece: &[u8]| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
    body.chunks(size).flat_map(chunk).chain(*b"0\r\n\r\n").collect()
}

fn file(origin: &Origin, filters: &str) -> String {
    format!(
        "upstreams: {{ origin: {{ endpoints: [\"{}\"] }} }}\nhosts:\n  - names: [\"*\"]\n    filters: {filters}\n    \
         routes: [ {{ path: /, upstream: origin }}, {{ path: /as-it-comes, upstream: origin, \
         filters: [ {{ request-buffering: off }} ] }} ]\n",
        origin.address
    )
}

const POST: &str = "POST / HTTP/1.1\r\nHost: a.test\r\n";

/// Nothing of a request has reached the origin.
fn untouched(origin: &Origin) {
    holds_for(Duration::from_millis(200), "nobody has asked the origin", || origin.connection_count() == 0);
}

#[test]
fn the_upstream_is_asked_when_the_body_is_whole() {
    for filter in ["request-buffering: on", "request-buffering: { max-memory: 1KiB }"] {
        for is_chunked in [false, true] {
            let origin = measuring();
            let weir = Weir::start(&file(&origin, &format!("[ {{ {filter} }} ]")));
            let (body, mut client) = (pattern(300_000), weir.connect());
            let (head, bytes) = match is_chunked {
                false => (format!("{POST}Content-Length: 300000\r\n\r\n"), body),
                true => (format!("{POST}Transfer-Encoding: chunked\r\n\r\n"), chunked(&body, 7777)),
            };
            client.write(head);
            client.write(&bytes[..200_000]);
            untouched(&origin);
            client.write(&bytes[200_000..]);
            assert_eq!(client.read_response().text(), "300000 intact", "{filter}, chunked: {is_chunked}");
            // The connection goes on, and what is pipelined behind a body is no part of it.
            client.write(format!("{POST}Content-Length: 2\r\n\r\n\0\x01{POST}Transfer-Encoding: chunked\r\n\r\n1\r\n\0\r\n0\r\n\r\n{POST}Content-Length: 0\r\n\r\n"));
            for expected in ["2 intact", "1 intact", "0 intact"] {
                assert_eq!(client.read_response().text(), expected);
            }
        }
    }
}

#[test]
fn a_body_on_http2_is_waited_for_too() {
    for filter in ["request-buffering: on", "request-buffering: { max-memory: 1KiB, max-size: 1MB }"] {
        let origin = measuring();
        let weir = Weir::start(&file(&origin, &format!("[ {{ {filter} }} ]")));
        let (body, mut client) = (pattern(300_000), H2Client::plain(weir.http));
        let mut stream = client.open_stream("POST", "a.test", "/", &[]);
        stream.send(body[..200_000].to_vec().into());
        untouched(&origin);
        assert_eq!(client.get("a.test", "/").text(), "0 intact", "others do not wait");
        stream.send(body[200_000..].to_vec().into());
        stream.finish();
        assert_eq!((stream.status(), stream.text()), (200, "300000 intact".into()));
    }
}

#[test]
fn a_body_goes_to_the_upstream_as_it_comes_where_nobody_waits_for_it() {
    let origin = Origin::start_at_head(|_| Answer::ok("at once"));
    let weir = Weir::start(&file(&origin, "[ { request-buffering: on } ]"));
    let mut client = weir.connect();
    client.write("POST /as-it-comes HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhello");
    assert_eq!(client.read_response().text(), "at once");
}

#[test]
fn a_file_has_no_name_and_is_gone_afterwards() {
    let origin = measuring();
    let weir = Weir::start_with(&file(&origin, "[ { request-buffering: { max-memory: 1KiB, folder: spool } } ]"), &[]);
    assert_eq!(weir.request("POST", "/").body(pattern(10_000)).send().status, 500, "there is no such folder");
    assert_eq!(origin.connection_count(), 0);
    let folder = weir.folder().join("spool");
    std::fs::create_dir(&folder).unwrap();
    let open = || {
        let fds = std::fs::read_dir(format!("/proc/{}/fd", weir.id())).unwrap();
        let links = fds.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        links.filter(|link| link.starts_with(&folder)).count()
    };
    let mut client = weir.connect();
    client.write(format!("{POST}Content-Length: 10000\r\n\r\n"));
    client.write(&pattern(10_000)[..5_000]);
    eventually("it is in a file", || (open() == 1).then_some(()));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    client.write(&pattern(10_000)[5_000..]);
    assert_eq!(client.read_response().text(), "10000 intact");
    let mut client = weir.connect();
    client.write(format!("{POST}Content-Length: 10000\r\n\r\n"));
    client.write(&pattern(10_000)[..5_000]);
    drop(client);
    eventually("no file is left", || (open() == 0).then_some(()));
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn a_body_that_is_waited_for_and_does_not_come_is_408() {
    let (origin, http) = (measuring(), support::free_address());
    let listeners = format!("listeners: {{ http: {{ address: \"{http}\", limits: {{ body-timeout: 300ms }} }} }}\n");
    let weir = Weir::start(&format!("{listeners}{}", file(&origin, "[ { request-buffering: on } ]")));
    let mut client = Connection::open(http);
    client.write(format!("{POST}Content-Length: 10\r\n\r\nhello"));
    assert_eq!(client.read_response().status, 408);
    let mut client = H2Client::plain(http);
    let mut stream = client.open_stream("POST", "a.test", "/", &[]);
    stream.send("hello".into());
    assert_eq!(stream.status(), 408);
    assert_eq!(origin.connection_count(), 0);
    drop(weir);
}

#[test]
fn who_asks_before_sending_is_told_to_go_on() {
    let origin = measuring();
    let weir = Weir::start(&file(&origin, "[ { request-buffering: on } ]"));
    let mut client = weir.connect();
    client.write(format!("{POST}Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"));
    assert_eq!(client.read_head().expect("it is told").status, 100);
    client.write(pattern(3));
    assert_eq!(client.read_response().text(), "3 intact");
    assert_eq!(origin.only_request().header("expect"), None);
}

#[test]
fn chunks_that_are_none_are_400_before_the_upstream_is_asked() {
    let origin = measuring();
    let weir = Weir::start(&file(&origin, "[ { request-buffering: on } ]"));
    let mut client = weir.connect();
    client.write(format!("{POST}Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\nx\r\n"));
    assert_eq!(client.read_response().status, 400);
    assert_eq!(origin.connection_count(), 0);
}

#[test]
fn a_body_above_the_limit_is_413_however_it_comes() {
    for (filters, asks) in [
        ("[ { max-body-size: 1000B } ]", true),
        ("[ { max-body-size: 1000B }, { request-buffering: on } ]", false),
        ("[ { request-buffering: { max-size: 1000B } } ]", false),
    ] {
        let origin = measuring();
        let weir = Weir::start(&file(&origin, filters));
        assert_eq!(weir.request("POST", "/").body(pattern(1000)).send().text(), "1000 intact");
        assert_eq!(weir.request("POST", "/").body(pattern(1001)).send().status, 413, "{filters}");
        let mut client = H2Client::plain(weir.http);
        let mut stream = client.open_stream("POST", "a.test", "/", &[("content-length", "1001")]);
        assert_eq!(stream.status(), 413, "{filters}");
        assert_eq!(origin.request_count(), 1, "{filters}");

        // Nothing says how long it will be.
        let mut client = weir.connect();
        client.write(format!("{POST}Transfer-Encoding: chunked\r\n\r\n"));
        client.write(chunked(&pattern(1000), 100));
        assert_eq!(client.read_response().text(), "1000 intact");
        client.write(format!("{POST}Transfer-Encoding: chunked\r\n\r\n"));
        client.write(chunked(&pattern(1001), 100));
        assert_eq!(client.read_response().status, 413, "{filters}");
        let mut client = H2Client::plain(weir.http);
        let mut stream = client.open_stream("POST", "a.test", "/", &[]);
        stream.send(pattern(1001).into());
        assert_eq!(stream.status(), 413, "{filters}");
        assert_eq!(client.get("a.test", "/").text(), "0 intact", "the connection goes on");
        assert!(asks || origin.request_count() == 3, "{filters}: {}", origin.request_count());
    }
}

/// What both make of a request.
fn statuses(server: SocketAddr) -> Vec<u16> {
    let whole = |length: usize| request(server, "POST", "/").body(pattern(length)).send().status;
    let in_chunks = |length: usize| {
        let mut client = Connection::open(server);
        client.write(format!("{POST}Transfer-Encoding: chunked\r\n\r\n"));
        client.write(chunked(&pattern(length), 300));
        client.read_response().status
    };
    let announced = || {
        let mut client = Connection::open(server);
        client.write(format!("{POST}Content-Length: 2000\r\n\r\n"));
        client.read_response().status
    };
    let expecting = |length: usize| {
        let mut client = Connection::open(server);
        client.write(format!("{POST}Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n"));
        client.read_head().expect("an answer").status
    };
    vec![whole(1024), whole(1025), in_chunks(1024), in_chunks(1025), announced(), expecting(1024), expecting(1025)]
}

#[test]
fn sizes_are_judged_as_nginx_judges_them() {
    let origin = measuring();
    let nginx = Nginx::start(&format!(
        "location / {{ client_max_body_size 1k; proxy_http_version 1.1; proxy_pass http://{}; }}",
        origin.address
    ));
    let weir = Weir::start(&file(&origin, "[ { max-body-size: 1k }, { request-buffering: on } ]"));
    let theirs = statuses(nginx.address);
    assert_eq!(theirs, [200, 413, 200, 413, 413, 100, 413]);
    assert_eq!(statuses(weir.http), theirs);
}

#[test]
fn nginx_waits_for_bodies_as_weir_does() {
    for (directive, filter, waits) in [("on", "on", true), ("off", "off", false)] {
        let (first, second) = (measuring(), measuring());
        let nginx = Nginx::start(&format!(
            "location / {{ proxy_request_buffering {directive}; proxy_http_version 1.1; proxy_pass http://{}; }}",
            first.address
        ));
        let before = first.connection_count();
        let weir = Weir::start(&file(&second, &format!("[ {{ request-buffering: {filter} }} ]")));
        for (server, origin, before) in [(nginx.address, &first, before), (weir.http, &second, 0)] {
            let mut client = Connection::open(server);
            client.write(format!("{POST}Content-Length: 10\r\n\r\n"));
            client.write(&pattern(10)[..5]);
            if waits {
                holds_for(Duration::from_millis(200), "it waits", || origin.connection_count() == before);
            } else {
                eventually("it does not wait", || (origin.connection_count() > before).then_some(()));
            }
            client.write(&pattern(10)[5..]);
            assert_eq!(client.read_response().text(), "10 intact");
        }
    }
}

#[test]
fn a_body_that_trickles_is_408() {
    for (filters, asked) in [("[]", true), ("[ { request-buffering: on } ]", false)] {
        let (origin, http) = (measuring(), support::free_address());
        let limits = "limits: { min-body-rate: { rate: 100B/s, grace: 500ms } }";
        let listeners = format!("listeners: {{ http: {{ address: \"{http}\", {limits} }} }}\n");
        let weir = Weir::start(&format!("{listeners}{}", file(&origin, filters)));
        let begun = Instant::now();
        // Never silent for long, and far below the rate.
        let status = std::thread::scope(|scope| {
            let on_http2 = scope.spawn(|| {
                let mut client = H2Client::plain(http);
                let mut stream = client.open_stream("POST", "a.test", "/", &[]);
                // As long as the grace lasts; then the answer comes long before the body-timeout.
                for byte in 0..4u8 {
                    stream.send(vec![byte].into());
                    std::thread::sleep(Duration::from_millis(100));
                }
                stream.status()
            });
            let mut client = Connection::open(http);
            client.write(format!("{POST}Content-Length: 1000\r\n\r\n"));
            for byte in 0..30u8 {
                if client.try_write([byte]).is_err() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            (client.read_response().status, on_http2.join().expect("an answer"))
        });
        assert_eq!(status, (408, 408), "{filters}");
        assert!(begun.elapsed() > Duration::from_millis(500));
        assert_eq!(origin.connection_count() > 0, asked, "{filters}");
        // Above the rate, and longer than the grace.
        let mut client = Connection::open(http);
        client.write(format!("{POST}Content-Length: 1000\r\n\r\n"));
        for piece in pattern(1000).chunks(100) {
            client.write(piece);
            std::thread::sleep(Duration::from_millis(100));
        }
        assert_eq!(client.read_response().text(), "1000 intact", "{filters}");
        drop(weir);
    }
}

#[test]
fn an_upstream_that_is_slow_makes_no_slow_client() {
    let origin = Origin::start_at_head(|_| {
        Answer::drive(|stream| {
            std::thread::sleep(Duration::from_secs(2));
            // Some of it came with the head.
            stream.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
            let mut scratch = vec![0; 1 << 20];
            while stream.read(&mut scratch).is_ok_and(|read| read > 0) {}
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nwhole")
                .expect("weir reads");
        })
    });
    let http = support::free_address();
    let limits = "limits: { min-body-rate: { rate: 500MB/s, grace: 1s } }";
    let weir =
        Weir::start(&format!("listeners: {{ http: {{ address: \"{http}\", {limits} }} }}\n{}", file(&origin, "[]")));
    let answer = request(http, "POST", "/").body(vec![b'x'; 20_000_000]).send();
    assert_eq!(answer.text(), "whole");
    drop(weir);
}
