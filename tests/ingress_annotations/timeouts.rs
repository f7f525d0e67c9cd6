//! How long is waited, how much is taken, and when another endpoint is tried.

use std::io::Read;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::cluster::endpoint_address;
use crate::stage::{Echo, Site, stage};
use crate::support::{Answer, Blackhole, Origin, holds_for};

/// Every default is far from it.
const SOON: Duration = Duration::from_secs(12);

/// The status of a request, and that it did not take as long as the defaults allow.
#[track_caller]
fn status_soon(ask: impl FnOnce() -> u16) -> u16 {
    let begun = Instant::now();
    let status = ask();
    assert!(begun.elapsed() < SOON, "{status} after {:?}", begun.elapsed());
    status
}

#[test]
fn a_backend_that_cannot_be_connected_to_is_given_up() {
    let stage = stage();
    let nobody = Blackhole::start_at(endpoint_address());
    stage.backend("unreached", &[nobody.address]);
    let draft = stage.draft("unreached").path("/", "unreached").with("proxy-connect-timeout", "1");
    // One attempt alone: else five seconds would be three.
    let site = draft.with("proxy-next-upstream", "off").serve();
    let begun = Instant::now();
    assert_eq!(site.get("/").status, 504);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[test]
fn a_backend_that_says_nothing_is_given_up() {
    let stage = stage();
    let _silent = stage.origin("silent", |_| Answer::Silence);
    let draft = stage.draft("silent").path("/", "silent").with("proxy-read-timeout", "1");
    let site = draft.with("proxy-next-upstream-tries", "1").serve();
    assert_eq!(status_soon(|| site.get("/").status), 504);
}

/// An endpoint that reads no more than a head, and what ends it.
pub struct Deaf {
    origin: Origin,
    _over: Sender<()>,
}

/// Behind a Service of that name.
pub fn deaf(serve: impl FnOnce(&str, &[std::net::SocketAddr])) -> Deaf {
    let (over, is_over) = channel::<()>();
    let is_over = Arc::new(Mutex::new(is_over));
    let address = endpoint_address();
    let origin = Origin::start_at_head_at(address, move |_| {
        let is_over = is_over.clone();
        // Until the test ends, which drops the other side.
        Answer::drive(move |_| drop(is_over.lock().map(|is_over| is_over.recv())))
    });
    serve("deaf", &[address]);
    Deaf { origin, _over: over }
}

/// A body that the sockets' buffers do not hold ends before all of it is taken.
#[track_caller]
pub fn is_given_up(site: &Site<'_>, deaf: &Deaf) {
    const SIZE: usize = 64 << 20;
    let mut connection = site.connect();
    connection.write(format!("POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: {SIZE}\r\n\r\n", site.host));
    let (begun, piece) = (Instant::now(), vec![0; 256 << 10]);
    while connection.try_write(&piece).is_ok() {
        assert!(begun.elapsed() < SOON, "it is still being written");
    }
    assert!(deaf.origin.request_count() == 1 && begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[test]
fn a_backend_that_takes_nothing_is_given_up() {
    let stage = stage();
    let deaf = deaf(|name, addresses| stage.backend(name, addresses));
    let draft = stage.draft("deaf").path("/", "deaf").with("proxy-send-timeout", "1").with("proxy-body-size", "0");
    let draft = draft.with("proxy-request-buffering", "off").with("proxy-next-upstream-tries", "1");
    is_given_up(&draft.serve(), &deaf);
}

/// Answers with this status after a while.
fn failing(name: &str, after: Duration) -> Origin {
    Origin::start_at(endpoint_address(), {
        let name = name.to_owned();
        move |_| {
            let name = name.clone();
            Answer::drive(move |stream| {
                std::thread::sleep(after);
                let head =
                    format!("HTTP/1.1 503 No\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{name}", name.len());
                let _ = std::io::Write::write_all(stream, head.as_bytes());
                let _ = stream.read(&mut [0]);
            })
        }
    })
}

/// How many of ten requests are answered 503, where one of two endpoints says so.
fn failures(site: &Site<'_>) -> usize {
    (0..10).filter(|_| site.get("/").status == 503).count()
}

#[test]
fn another_endpoint_is_tried_as_often_and_as_long_as_the_ingress_says() {
    let stage = stage();
    let good = Origin::named_at(endpoint_address(), "good");
    let bad = failing("bad", Duration::ZERO);
    let slow = failing("slow", Duration::from_millis(1500));
    stage.backend("half", &[good.address, bad.address]);
    stage.backend("half-slow", &[good.address, slow.address]);
    let draft = |name: &str, service: &str| stage.draft(name).path("/", service);
    let retried = draft("retried", "half").with("proxy-next-upstream", "error http_503").serve();
    let once = draft("tried-once", "half").with("proxy-next-upstream", "http_503");
    let once = once.with("proxy-next-upstream-tries", "1").serve();
    let usual = draft("tried-as-usual", "half").serve();
    stage.knows(&[good.address, bad.address]);
    assert_eq!(failures(&retried), 0);
    assert!(failures(&once) > 0 && failures(&usual) > 0);
    // A second attempt would begin too late.
    let late = draft("tried-late", "half-slow").with("proxy-next-upstream", "http_503");
    let late = late.with("proxy-next-upstream-timeout", "1").serve();
    stage.knows(&[slow.address]);
    assert!((0..4).any(|_| late.get("/").status == 503));
}

#[test]
fn bodies_are_taken_up_to_the_size_that_the_ingress_says() {
    let site = stage().draft("sized").with("proxy-body-size", "2k").serve();
    assert_eq!(site.ask("POST", "/").body(vec![b'x'; 2049]).send().status, 413);
    assert_eq!(Echo::of(&site.ask("POST", "/").body(vec![b'x'; 2048]).send()).header("content-length"), Some("2048"));
    let unbounded = stage().draft("unbounded").with("proxy-body-size", "0").serve();
    assert_eq!(unbounded.ask("POST", "/").body(vec![b'x'; (1 << 20) + 1]).send().status, 200);
}

#[test]
fn a_backend_is_asked_when_the_body_is_whole_or_before_as_the_ingress_says() {
    let stage = stage();
    let (whole, passed) = (stage.named("whole"), stage.named("passed"));
    let site = |name: &str, value: &str| {
        let site = stage.draft(name).path("/", name).with("proxy-request-buffering", value).serve();
        let mut connection = site.connect();
        connection.write(format!("POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 8\r\n\r\nhalf", site.host));
        connection
    };
    let mut to_whole = site("whole", "on");
    let mut to_passed = site("passed", "off");
    crate::support::eventually("the backend has half of it", || (passed.byte_count() > 0).then_some(()));
    holds_for(Duration::from_millis(300), "nothing of it has been sent", || whole.byte_count() == 0);
    for (connection, origin) in [(&mut to_whole, &whole), (&mut to_passed, &passed)] {
        connection.write("full");
        assert_eq!(connection.read_response_to("POST").status, 200);
        assert_eq!(origin.only_request().body, b"halffull");
    }
}
