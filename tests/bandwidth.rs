//! Bandwidth on the wire: answers and uploads at their pace, on HTTP/1 and HTTP/2, beside nginx's `limit_rate`.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use support::{Answer, Connection, H2Client, Nginx, Origin, Weir};

const KB: usize = 1000;

/// In front of an origin that answers with so many bytes at once.
fn weir_before(origin: &Origin, bandwidth: &str) -> Weir {
    Weir::start(&format!(
        "upstreams: {{ origin: {{ endpoints: [\"{}\"] }} }}\nhosts:\n  - names: [\"*\"]\n    routes:\n      \
         - {{ path: /, upstream: origin, filters: [ {{ bandwidth: {bandwidth} }} ] }}\n      \
         - {{ path: /free, upstream: origin }}\n",
        origin.address
    ))
}

fn origin_of(bytes: usize) -> Origin {
    Origin::start(move |_| Answer::ok(&"x".repeat(bytes)))
}

/// When how much of the body had come.
struct Flow {
    pieces: Vec<(Duration, usize)>,
}

impl Flow {
    /// Of one answer to `target`, read as it comes.
    #[track_caller]
    fn of(server: SocketAddr, target: &str) -> Flow {
        let mut stream = TcpStream::connect(server).expect("a connection");
        stream.set_read_timeout(Some(support::LIMIT)).unwrap();
        write!(stream, "GET {target} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").unwrap();
        let (begun, mut pieces, mut scratch) = (Instant::now(), Vec::new(), vec![0; 1 << 20]);
        loop {
            match stream.read(&mut scratch).expect("bytes") {
                0 => return Flow { pieces },
                n => pieces.push((begun.elapsed(), n)),
            }
        }
    }

    fn bytes(&self) -> usize {
        self.pieces.iter().map(|(_, bytes)| bytes).sum()
    }

    fn seconds(&self) -> f64 {
        self.pieces.last().map_or(0.0, |(at, _)| at.as_secs_f64())
    }

    /// What had come by then.
    fn by(&self, time: Duration) -> usize {
        self.pieces.iter().filter(|(at, _)| *at <= time).map(|(_, bytes)| bytes).sum()
    }

    fn longest_pause(&self) -> Duration {
        self.pieces.windows(2).map(|pair| pair[1].0 - pair[0].0).max().unwrap_or_default()
    }
}

#[track_caller]
fn assert_near(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{found} is not {expected} ± {tolerance}");
}

#[test]
fn an_answer_flows_evenly_at_its_rate() {
    let origin = origin_of(600 * KB);
    let weir = weir_before(&origin, "{ rate: 200KB/s }");
    let flow = Flow::of(weir.http, "/");
    assert!(flow.bytes() > 600 * KB);
    assert_near(flow.seconds(), 3.0, 0.6);
    assert!(flow.longest_pause() < Duration::from_millis(500), "{:?}", flow.longest_pause());
    for second in [1u32, 2] {
        let by = flow.by(Duration::from_secs(second.into()));
        assert!(by <= (200 * second as usize + 60) * KB, "{by} bytes by second {second}");
    }
    assert!(Flow::of(weir.http, "/free").seconds() < 1.0);
}

#[test]
fn a_part_of_an_answer_is_free() {
    let origin = origin_of(600 * KB);
    let weir = weir_before(&origin, "{ rate: 100KB/s, after: 500KB }");
    let flow = Flow::of(weir.http, "/");
    assert!(flow.by(Duration::from_millis(700)) >= 500 * KB, "{}", flow.by(Duration::from_millis(700)));
    assert_near(flow.seconds(), 1.0, 0.5);
}

#[test]
fn each_answer_on_a_connection_has_a_pace_of_its_own() {
    let origin = origin_of(100 * KB);
    let weir = weir_before(&origin, "{ rate: 100KB/s, after: 50KB }");
    let mut client = weir.connect();
    let mut ask = |target: &str| {
        let begun = Instant::now();
        client.write(format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
        assert_eq!(client.read_response().body.len(), 100 * KB);
        begun.elapsed().as_secs_f64()
    };
    let took = ["/", "/free", "/"].map(&mut ask);
    assert_near(took[0], 0.5, 0.4);
    assert!(took[1] < 0.4, "{took:?}");
    assert_near(took[2], 0.5, 0.4);
}

#[test]
fn weirs_own_answers_have_a_pace_too() {
    let weir = Weir::start(&format!(
        "hosts:\n  - names: [\"*\"]\n    filters: [ {{ bandwidth: {{ rate: 20KB/s }} }} ]\n    \
         routes: [ {{ path: /, respond: {{ body: \"{}\" }} }} ]\n",
        "x".repeat(40 * KB)
    ));
    let flow = Flow::of(weir.http, "/");
    assert!(flow.bytes() > 40 * KB);
    assert_near(flow.seconds(), 2.0, 0.5);
    let begun = Instant::now();
    assert_eq!(H2Client::plain(weir.http).get("a.test", "/").body.len(), 40 * KB);
    assert_near(begun.elapsed().as_secs_f64(), 2.0, 0.5);
}

#[test]
fn streams_of_one_connection_have_their_own_and_hold_up_nobody() {
    // Less than the client's window for all streams together, which reads them one after the other.
    let origin = origin_of(30 * KB);
    let weir = weir_before(&origin, "{ rate: 15KB/s }");
    let mut client = H2Client::plain(weir.http);
    let begun = Instant::now();
    let mut slow: Vec<_> = (0..2)
        .map(|_| {
            let mut stream = client.open_stream("GET", "a.test", "/", &[]);
            stream.finish();
            stream
        })
        .collect();
    assert_eq!(client.get("a.test", "/free").body.len(), 30 * KB);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    for stream in &mut slow {
        assert_eq!((stream.status(), stream.text().len()), (200, 30 * KB));
    }
    assert_near(begun.elapsed().as_secs_f64(), 2.0, 0.6);
}

#[test]
fn an_upload_is_taken_at_its_rate() {
    let origin = Origin::start(|request| Answer::ok(&request.body.len().to_string()));
    let weir = weir_before(&origin, "{ request-rate: 200KB/s }");
    let body = vec![b'x'; 400 * KB];
    let upload = |target: &str| {
        let begun = Instant::now();
        let answer = weir.request("POST", target).body(body.clone()).send();
        assert_eq!((answer.status, answer.text()), (200, (400 * KB).to_string()));
        begun.elapsed().as_secs_f64()
    };
    assert_near(upload("/"), 2.0, 0.6);
    assert!(upload("/free") < 1.0);
    let begun = Instant::now();
    let mut client = H2Client::plain(weir.http);
    let mut stream = client.open_stream("POST", "a.test", "/", &[]);
    stream.send(body.into());
    stream.finish();
    assert_eq!((stream.status(), stream.text()), (200, (400 * KB).to_string()));
    assert_near(begun.elapsed().as_secs_f64(), 2.0, 0.7);
}

#[test]
fn a_slow_pace_is_no_slow_client() {
    let (origin, http) = (origin_of(3 * KB), support::free_address());
    let weir = Weir::start(&format!(
        "listeners: {{ http: {{ address: \"{http}\", limits: {{ body-timeout: 500ms }} }} }}\n\
         upstreams: {{ origin: {{ endpoints: [\"{}\"] }} }}\n\
         hosts: [ {{ names: [\"*\"], routes: [ {{ path: /, upstream: origin, filters: [ {{ bandwidth: {{ rate: 1KB/s }} }} ] }} ] }} ]\n",
        origin.address
    ));
    let flow = Flow::of(http, "/");
    assert!(flow.bytes() > 3 * KB, "{}", flow.bytes());
    assert!(flow.seconds() > 2.0);
    drop(weir);
}

#[test]
fn an_answer_takes_as_long_as_from_nginx() {
    let nginx = Nginx::start("location /paced/ { alias files/; limit_rate 200k; limit_rate_after 100k; }");
    nginx.write_file("file", 500 << 10);
    let origin = origin_of(500 << 10);
    let weir = weir_before(&origin, "{ rate: 200k/s, after: 100k }");
    let (theirs, ours) = (Flow::of(nginx.address, "/paced/file"), Flow::of(weir.http, "/"));
    // nginx gives the first second's worth at once, and counts time in whole seconds.
    assert_near(ours.seconds(), 2.0, 0.5);
    assert_near(theirs.seconds(), 1.5, 1.0);
    assert!(ours.longest_pause() < Duration::from_millis(500), "{:?}", ours.longest_pause());
}

#[test]
fn a_client_that_leaves_ends_a_paced_answer() {
    let origin = origin_of(1000 * KB);
    let weir = weir_before(&origin, "{ rate: 10KB/s }");
    let mut client = Connection::open(weir.http);
    client.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let in_flight = || weir.metric("weir_requests_in_flight", &[]);
    support::eventually("it is under way", || (in_flight() == Some(1.0)).then_some(()));
    drop(client);
    support::eventually("it is over", || (in_flight() == Some(0.0)).then_some(()));
}
