//! Clients of HTTP/2 that make work out of nothing: their connection ends with ENHANCE_YOUR_CALM, and every other
//! connection is served on.

mod support;

use std::net::SocketAddr;

use support::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, FrameConnection, H2Client, HEADERS, Origin, PING, PRIORITY,
    RST_STREAM, SETTINGS, Weir, eventually, frame, free_address, head,
};

const REFUSED_STREAM: u32 = 0x7;
const ENHANCE_YOUR_CALM: u32 = 0xb;

/// The stream of a client's request, counted from 0.
fn stream(number: u32) -> u32 {
    2 * number + 1
}

fn get(number: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream(number), &head("GET", "a.test"))
}

fn limited(limits: &str, origin: SocketAddr) -> (Weir, SocketAddr) {
    let http = free_address();
    let weir = Weir::start(&format!(
        "listeners:\n  http:\n    address: \"{http}\"\n    limits: {{ {limits} }}\n{}",
        Weir::forwarding_to(&[origin], "")
    ));
    (weir, http)
}

#[track_caller]
fn assert_is_calmed(what: &str, frames: impl Fn(u32) -> Vec<u8> + Send + 'static) {
    let origin = Origin::named("origin");
    let weir = Weir::in_front_of(&[origin.address]);
    let mut other = H2Client::plain(weir.http);
    assert_eq!(other.get("a.test", "/").status, 200);
    assert_eq!(FrameConnection::open(weir.http).flood(frames), ENHANCE_YOUR_CALM, "{what}");
    assert_eq!(other.get("a.test", "/").status, 200, "another connection, after {what}");
    eventually("nothing is left open", || (weir.metric("weir_requests_in_flight", &[]) == Some(0.0)).then_some(()));
}

#[test]
fn requests_that_are_reset_at_once() {
    assert_is_calmed("rapid resets (CVE-2023-44487)", |n| {
        [get(n), frame(RST_STREAM, 0, stream(n), &8u32.to_be_bytes())].concat()
    });
}

#[test]
fn pings() {
    assert_is_calmed("pings (CVE-2019-9512)", |_| frame(PING, 0, 0, &[0; 8]));
}

#[test]
fn settings() {
    assert_is_calmed("settings (CVE-2019-9515)", |_| frame(SETTINGS, 0, 0, &[]));
}

#[test]
fn priorities() {
    assert_is_calmed("priorities (CVE-2019-9513)", |n| frame(PRIORITY, 0, 1 + 2 * (n % 9), &[0, 0, 0, 0, 1]));
}

#[test]
fn empty_pieces_of_a_body() {
    assert_is_calmed("empty DATA (CVE-2019-9518)", |n| match n {
        0 => frame(HEADERS, END_HEADERS, 1, &head("POST", "a.test")),
        _ => frame(DATA, 0, 1, &[]),
    });
}

#[test]
fn a_head_that_never_ends() {
    assert_is_calmed("CONTINUATION (CVE-2024-27316)", |n| match n {
        0 => frame(HEADERS, 0, 1, &head("GET", "a.test")),
        // `x: y`, a literal that is never indexed.
        _ => frame(CONTINUATION, 0, 1, &[0x10, 1, b'x', 1, b'y']),
    });
}

#[test]
fn requests_that_are_none() {
    assert_is_calmed("requests without an authority", |n| {
        frame(HEADERS, END_HEADERS | END_STREAM, stream(n), &[0x82, 0x86, 0x84])
    });
}

#[test]
fn a_client_that_cancels_and_pings_like_a_browser_is_served_on() {
    let origin = Origin::named("origin");
    let weir = Weir::in_front_of(&[origin.address]);
    let mut client = H2Client::plain(weir.http);
    for _ in 0..10 {
        // A page that is left while its pictures load.
        (0..60).for_each(|_| client.open_stream("GET", "a.test", "/", &[]).cancel());
        assert_eq!(client.get("a.test", "/").status, 200);
    }

    let mut frames = FrameConnection::open(weir.http);
    for _ in 0..500 {
        frames.write(&frame(PING, 0, 0, b"are you?")).unwrap();
    }
    frames.write(&get(0)).unwrap();
    frames.find(|frame| frame.kind == HEADERS && frame.stream == 1);
}

#[test]
fn a_head_over_the_limit_is_431_on_its_stream_alone() {
    let origin = Origin::named("origin");
    let (_weir, http) = limited("max-header-size: 8KiB", origin.address);
    let mut client = H2Client::plain(http);
    // Fewer bytes than that on the wire: it is the list that counts, decompressed.
    let large = "a".repeat(9 << 10);
    assert_eq!(client.send("GET", "a.test", "/", &[("x-large", &large)], None).status, 431);
    assert_eq!(client.get("a.test", "/").status, 200, "the connection is in order");
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn streams_beyond_the_limit_are_refused_and_may_be_tried_again() {
    let origin = Origin::start(|_| support::Answer::Silence);
    let (_weir, http) = limited("max-streams: 3", origin.address);
    let mut client = FrameConnection::open(http);
    // SETTINGS are known to be heard once they are acknowledged.
    client.find(|frame| frame.kind == SETTINGS && frame.flags == 0);
    client.write(&frame(SETTINGS, 1, 0, &[])).unwrap();
    client.write(&(0..5).flat_map(get).collect::<Vec<u8>>()).unwrap();
    for refused in [stream(3), stream(4)] {
        let reset = client.find(|frame| frame.kind == RST_STREAM);
        assert_eq!((reset.stream, reset.error_code()), (refused, REFUSED_STREAM));
    }
    origin.wait_for_requests(3);
}
