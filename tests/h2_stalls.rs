//! Clients of HTTP/2 that stop half-way, sending or reading: the listener's `body-timeout` ends their stream, and
//! nothing but their stream.

mod support;

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use support::{
    Answer, DATA, END_HEADERS, END_STREAM, FrameConnection, GOAWAY, H2Client, H2Origin, HEADERS, Origin, PING,
    RST_STREAM, Weir, eventually, frame, free_address, grpc_message, head, holds_for, indent,
};

/// `/` goes to the origin; `/here` is answered by Weir with nothing, which needs no flow control.
fn impatient(limits: &str, origin: SocketAddr, upstream_keys: &str) -> (Weir, SocketAddr) {
    let http = free_address();
    let weir = Weir::start(&format!(
        "listeners:\n  http:\n    address: \"{http}\"\n    limits: {{ {limits} }}\n\
         upstreams:\n  origin:\n    endpoints: [ \"{origin}\" ]\n{}\n\
         hosts:\n  - names: [\"*\"]\n    routes:\n\
         \x20     - {{ path: /, upstream: origin }}\n\
         \x20     - {{ path: /here, respond: {{ status: 204 }} }}\n",
        indent(upstream_keys, 4)
    ));
    (weir, http)
}

#[test]
fn a_body_that_stops_coming_is_answered_with_408_and_the_connection_serves_on() {
    let origin = Origin::named("origin");
    let (weir, http) = impatient("body-timeout: 300ms", origin.address, "");
    let mut client = H2Client::plain(http);
    let begun = Instant::now();
    for headers in [&[][..], &[("content-length", "100")]] {
        let mut stalled = client.open_stream("POST", "a.test", "/", headers);
        stalled.send(Bytes::from("some"));
        assert_eq!(client.get("a.test", "/").text(), "origin", "another stream, meanwhile");
        assert_eq!(stalled.status(), 408);
        assert!(stalled.text().contains("did not arrive in time"));
        assert_eq!(stalled.reset_by_server(), h2::Reason::NO_ERROR, "RFC 9113 §8.1: the rest is not wanted");
    }
    assert!(begun.elapsed() >= Duration::from_millis(600), "not before its time: {:?}", begun.elapsed());
    assert_eq!(client.get("a.test", "/").text(), "origin", "the connection is in order");
    assert_eq!(origin.received().iter().filter(|request| request.method == "POST").count(), 0);
    eventually("it is logged as what it is", || weir.log().contains("\"client-timeout\"").then_some(()));
}

#[test]
fn a_body_whose_pieces_come_in_time_may_take_longer_in_all() {
    let origin = Origin::named("origin");
    let (_weir, http) = impatient("body-timeout: 500ms", origin.address, "");
    let mut client = H2Client::plain(http);
    let mut slow = client.open_stream("POST", "a.test", "/", &[]);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1200) {
        slow.send(Bytes::from("piece"));
        holds_for(Duration::from_millis(100), "time passes", || true);
    }
    slow.finish();
    assert_eq!((slow.status(), slow.text().as_str()), (200, "origin"));
}

#[test]
fn a_stalled_body_whose_answer_is_complete_does_not_hold_its_stream() {
    let origin = Origin::start_at_head(|_| Answer::ok("early"));
    let (weir, http) = impatient("body-timeout: 300ms", origin.address, "");
    let mut client = H2Client::plain(http);
    let mut stalled = client.open_stream("POST", "a.test", "/", &[]);
    stalled.send(Bytes::from("some"));
    assert_eq!((stalled.status(), stalled.text().as_str()), (200, "early"));
    eventually("the request is over", || (weir.metric("weir_requests_in_flight", &[]) == Some(0.0)).then_some(()));
}

#[test]
fn who_listens_to_an_answer_may_pause_in_its_own_body() {
    let origin = Origin::start_at_head(|_| {
        Answer::drive(|socket| {
            let pause = || std::thread::sleep(Duration::from_millis(300));
            let chunks = ["4\r\nslow\r\n", "3\r\nly \r\n", "4\r\ndone\r\n", "0\r\n\r\n"];
            socket.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
            for chunk in chunks {
                pause();
                socket.write_all(chunk.as_bytes()).unwrap();
            }
            pause();
        })
    });
    let (weir, http) = impatient("body-timeout: 400ms", origin.address, "");
    let mut client = H2Client::plain(http);
    let mut stream = client.open_stream("POST", "a.test", "/", &[]);
    stream.send(Bytes::from("some"));
    assert_eq!((stream.status(), stream.text().as_str()), (200, "slowly done"));
    eventually("the request is over", || (weir.metric("weir_requests_in_flight", &[]) == Some(0.0)).then_some(()));
}

#[test]
fn a_conversation_may_pause_for_longer() {
    let service = H2Origin::plain();
    let (_weir, http) = impatient("body-timeout: 200ms", service.address, "protocol: http2");
    let mut client = H2Client::plain(http);
    let mut stream = client.open_stream("POST", "grpc.test", "/echo.Echo/Stream", &[("te", "trailers")]);
    for word in ["one", "two"] {
        stream.send(grpc_message(word.as_bytes()));
        assert_eq!(stream.receive(), Some(grpc_message(word.as_bytes())));
        holds_for(Duration::from_millis(700), "nobody says anything", || true);
    }
    stream.finish();
    assert_eq!(stream.receive(), None);
    assert_eq!(stream.trailers().expect("trailers")["grpc-status"], "0");
}

#[test]
fn a_client_that_does_not_read_loses_its_stream_and_nothing_else() {
    let origin = Origin::start(|_| Answer::ok(&"x".repeat(4 << 20)));
    let (weir, http) = impatient("body-timeout: 300ms", origin.address, "");
    let mut client = H2Client::plain(http);
    let mut unread = client.open_stream("GET", "a.test", "/", &[]);
    unread.finish();
    assert_eq!(unread.status(), 200);
    // Its flow control window is used up by now, and the connection's with it.
    assert_eq!(client.get("a.test", "/here").status, 204);
    assert_eq!(unread.reset_by_server(), h2::Reason::CANCEL);
    assert_eq!(client.get("a.test", "/here").status, 204, "the connection is in order");
    eventually("the request is over", || (weir.metric("weir_requests_in_flight", &[]) == Some(0.0)).then_some(()));
    eventually("it is logged as what it is", || weir.log().contains("\"client-timeout\"").then_some(()));
}

#[test]
fn a_connection_that_was_told_goodbye_is_not_held_open_by_questions() {
    let origin = Origin::named("origin");
    let (_weir, http) = impatient("body-timeout: 2s, max-requests: 1", origin.address, "");
    let mut client = FrameConnection::open(http);
    client.write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head("GET", "a.test"))).expect("weir reads");
    client.find(|frame| frame.kind == DATA && frame.flags & END_STREAM != 0);
    let begun = Instant::now();
    // It answers no PING of Weir's, and asks its own.
    while client.write(&frame(PING, 0, 0, &[0; 8])).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it is still open");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Asks on a stream of its own, and says whether that was answered. It acknowledges no PING of Weir's.
fn is_served(client: &mut FrameConnection, stream: u32) -> bool {
    client.write(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &head("GET", "a.test"))).expect("weir reads");
    let answer = client.find(|frame| frame.stream == stream && [HEADERS, RST_STREAM].contains(&frame.kind));
    assert!(answer.kind == HEADERS || answer.error_code() == u32::from(h2::Reason::REFUSED_STREAM), "{answer:?}");
    answer.kind == HEADERS
}

#[test]
fn a_connection_that_was_told_goodbye_takes_no_new_streams_after_a_while_and_finishes_the_open_ones() {
    let origin = Origin::named("origin");
    let (_weir, http) = impatient("body-timeout: 5s, max-requests: 1", origin.address, "");
    let mut client = FrameConnection::open(http);
    client.write(&frame(HEADERS, END_HEADERS, 1, &head("POST", "a.test"))).expect("weir reads");
    client.find(|frame| frame.kind == GOAWAY);
    assert!(is_served(&mut client, 3), "what was on its way");
    let mut streams = (5..).step_by(2);
    eventually("new ones are refused", || (!is_served(&mut client, streams.next()?)).then_some(()));
    client.write(&frame(DATA, END_STREAM, 1, b"body")).expect("weir reads");
    client.find(|frame| frame.kind == DATA && frame.stream == 1 && frame.flags & END_STREAM != 0);
}

#[test]
fn a_connection_that_was_told_goodbye_is_not_held_open_by_new_streams() {
    let origin = Origin::named("origin");
    let (_weir, http) = impatient("body-timeout: 200ms, max-requests: 1", origin.address, "");
    let mut client = FrameConnection::open(http);
    let begun = Instant::now();
    let asks = |stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &head("GET", "a.test"));
    while client.write(&asks(2 * begun.elapsed().as_millis() as u32 + 1)).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(8), "it is still open");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_connection_without_streams_is_told_goodbye_after_its_idle_time() {
    let origin = Origin::named("origin");
    let (_weir, http) = impatient("idle-timeout: 300ms", origin.address, "");
    let mut client = H2Client::plain(http);
    assert_eq!(client.get("a.test", "/").status, 200);
    assert!(client.closed_in_order(), "GOAWAY with NO_ERROR");
}
