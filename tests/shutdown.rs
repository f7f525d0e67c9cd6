//! The end of the process: who is being served is served to the end, who comes is sent elsewhere. And its beginning.

mod support;

use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use support::{
    Answer, DATA, END_HEADERS, END_STREAM, FrameConnection, H2Client, HEADERS, LIMIT, Origin, Request, SETTINGS,
    Signal, WINDOW_UPDATE, WebSocket, WebSocketOrigin, Weir, eventually, frame, head, weir_command,
};

/// Answers `/slow` only when it is told to.
fn stalling() -> (Origin, Sender<()>) {
    let (release, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let origin = Origin::start(move |request| {
        if request.target == "/slow" {
            let _ = gate.lock().expect("no panic while held").recv_timeout(LIMIT);
        }
        Answer::ok("done")
    });
    (origin, release)
}

fn weir_with(shutdown: &str, origin: &Origin) -> Weir {
    Weir::start(&format!("shutdown: {shutdown}\n{}", Weir::forwarding_to(&[origin.address], "")))
}

#[test]
fn requests_in_flight_are_finished_and_no_new_connection_is_taken() {
    let (origin, release) = stalling();
    let mut weir = weir_with("{ delay: 0s, timeout: 10s }", &origin);
    let mut client = weir.connect();
    client.write("GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n");
    origin.wait_for_requests(1);

    weir.signal(Signal::Terminate);
    eventually("nobody new is let in", || TcpStream::connect(weir.http).is_err().then_some(()));
    assert!(weir.is_running(), "it waits for the request in flight");
    release.send(()).expect("the origin waits");
    let answer = client.read_response();
    assert_eq!((answer.status, answer.text().as_str()), (200, "done"));
    assert_eq!(answer.header("connection").map(str::to_ascii_lowercase).as_deref(), Some("close"));
    client.assert_closed();
    assert!(weir.wait_for_exit().success());
}

#[test]
fn readiness_ends_before_the_ports_close() {
    let (origin, _release) = stalling();
    let mut weir = weir_with("{ delay: 2s, timeout: 1s }", &origin);
    weir.signal(Signal::Terminate);
    eventually("it says that it is not ready", || (weir.admin("/readyz").status == 503).then_some(()));
    assert_eq!(weir.get("/").status, 200, "whoever still comes is served");
    assert!(weir.wait_for_exit().success());
}

#[test]
fn idle_connections_do_not_hold_the_end_up() {
    let (origin, _release) = stalling();
    let mut weir = weir_with("{ delay: 0s, timeout: 60s }", &origin);
    let mut idle = weir.connect();
    idle.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(idle.read_response().status, 200);
    let mut silent = weir.connect();
    let mut idle_h2 = H2Client::plain(weir.http);
    // Only then it is known to have been accepted.
    assert_eq!(idle_h2.get("a.test", "/").status, 200);

    let begun = Instant::now();
    weir.signal(Signal::Interrupt);
    assert!(weir.wait_for_exit().success());
    assert!(begun.elapsed() < Duration::from_secs(10), "long before the timeout");
    idle.assert_closed();
    silent.assert_closed();
    assert!(idle_h2.closed_in_order());
}

#[test]
fn http2_streams_in_flight_are_finished_behind_a_goaway() {
    let (origin, release) = stalling();
    let mut weir = weir_with("{ delay: 0s, timeout: 10s }", &origin);
    let mut client = H2Client::plain(weir.http);
    let mut stream = client.open_stream("GET", "a.test", "/slow", &[]);
    stream.finish();
    origin.wait_for_requests(1);

    weir.signal(Signal::Terminate);
    eventually("nobody new is let in", || TcpStream::connect(weir.http).is_err().then_some(()));
    release.send(()).expect("the origin waits");
    assert_eq!(stream.receive().as_deref(), Some(&b"done"[..]));
    drop(stream);
    assert!(client.closed_in_order());
    assert!(weir.wait_for_exit().success());
}

#[test]
fn an_answer_that_a_client_of_http2_reads_slowly_arrives_whole() {
    const SIZE: usize = 2 << 20;
    const STREAMS: u32 = 8;
    let origin = Origin::start(|_| Answer::ok(&"x".repeat(SIZE)));
    let mut weir = weir_with("{ delay: 0s, timeout: 20s }", &origin);
    let mut client = FrameConnection::open(weir.http);
    // Windows as large as they can be: nothing but the socket holds the answers up.
    client.write(&frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff])).expect("weir reads");
    client.write(&frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0, 0])).expect("weir reads");
    for number in 0..STREAMS {
        let head = frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &head("GET", "a.test"));
        client.write(&head).expect("weir reads");
    }
    let (mut read, mut ended) = (0, 0);
    let mut read_until = |enough: &dyn Fn() -> bool| {
        while ended < STREAMS && !enough() {
            let frame = client.find(|frame| frame.kind == DATA);
            read += frame.payload.len();
            ended += u32::from(frame.flags & END_STREAM != 0);
        }
        read
    };
    // What the socket has no room for is still with Weir; the requests themselves are over.
    let are_over = || weir.metric("weir_requests_total", &["code=\"200\""]) == Some(f64::from(STREAMS));
    let first = read_until(&are_over);
    assert!(are_over() && first < SIZE * STREAMS as usize, "{first}");

    weir.signal(Signal::Terminate);
    std::thread::sleep(Duration::from_millis(3500));
    assert_eq!(read_until(&|| false), SIZE * STREAMS as usize);
    drop(client);
    assert!(weir.wait_for_exit().success());
}

#[test]
fn the_last_lines_are_logged() {
    let origin = Origin::named("origin");
    let forwarding = Weir::forwarding_to(&[origin.address], "");
    let mut weir = Weir::start(&format!("access-log: {{ format: json, file: access.log }}\n{forwarding}"));
    for _ in 0..20 {
        assert_eq!(weir.get("/").status, 200);
    }
    weir.signal(Signal::Terminate);
    assert!(weir.wait_for_exit().success());
    let log = std::fs::read_to_string(weir.folder().join("access.log")).unwrap();
    assert_eq!(log.lines().count(), 20);
}

#[test]
fn who_takes_too_long_is_cut_off() {
    let (origin, _release) = stalling();
    let mut weir = weir_with("{ delay: 0s, timeout: 500ms }", &origin);
    let mut client = weir.connect();
    client.write("GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n");
    origin.wait_for_requests(1);
    let begun = Instant::now();
    weir.signal(Signal::Terminate);
    weir.wait_for_exit();
    let taken = begun.elapsed();
    assert!(taken >= Duration::from_millis(450) && taken < Duration::from_secs(8), "{taken:?}");
    client.read_to_end();
}

#[test]
fn open_sockets_are_given_the_same_time() {
    let origin = WebSocketOrigin::start();
    let mut weir =
        Weir::start(&format!("shutdown: {{ delay: 0s, timeout: 1s }}\n{}", Weir::forwarding_to(&[origin.address], "")));
    let mut socket = WebSocket::open(weir.http, "a.test", "/");
    weir.signal(Signal::Terminate);
    eventually("nobody new is let in", || TcpStream::connect(weir.http).is_err().then_some(()));
    socket.assert_echoes("until the end");
    weir.wait_for_exit();
    eventually("the origin sees the end", || (origin.open_count() == 0).then_some(()));
}

#[test]
fn a_port_that_is_taken_is_named_at_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut weir = Weir::spawn(&format!(
        "listeners:\n  http: {{ address: \"{address}\" }}\nhosts:\n  - names: [\"*\"]\n    routes: [ {{ path: /, respond: {{ status: 200 }} }} ]\n"
    ));
    assert!(!weir.wait_for_exit().success());
    let log = weir.log();
    assert!(log.contains(&address.port().to_string()) && log.to_lowercase().contains("in use"), "{log}");
}

#[test]
fn a_file_that_cannot_be_used_is_no_reason_to_listen() {
    let mut weir = Weir::spawn("hosts:\n  - nmaes: [\"*\"]\n");
    assert_eq!(weir.wait_for_exit().code(), Some(1));
    let log = weir.log();
    assert!(log.contains("weir.yaml:2:5") && log.contains("names"), "{log}");
    assert!(Request::try_get(weir.http, "/").is_err());
}

#[test]
fn the_health_command_tells_whether_weir_is_ready() {
    let (origin, _release) = stalling();
    let weir = weir_with("{ delay: 5s, timeout: 1s }", &origin);
    let healthy = || {
        let status = weir_command().args(["health", "--admin", &weir.admin.to_string()]).output().expect("weir starts");
        status.status.success()
    };
    assert!(healthy());
    weir.signal(Signal::Terminate);
    eventually("it says no while it drains", || (!healthy()).then_some(()));
}

#[test]
fn a_signal_is_heeded_from_the_moment_somebody_is_served() {
    let (origin, _release) = stalling();
    for _ in 0..10 {
        let file = format!("shutdown: {{ delay: 0s, timeout: 1s }}\n{}", Weir::forwarding_to(&[origin.address], ""));
        let mut weir = Weir::spawn(&file);
        eventually("somebody is served", || TcpStream::connect(weir.http).ok());
        weir.signal(Signal::Terminate);
        assert!(weir.wait_for_exit().success(), "it drains and ends in order");
    }
}
