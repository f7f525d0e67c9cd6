//! Streams of HTTP/2 in the lean lane: the full lane is the oracle, for what the client gets and for what the origin saw.

#[path = "lanes/mutate.rs"]
mod mutate;
#[allow(dead_code)]
#[path = "lanes/random.rs"]
mod random;
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use random::Random;
use support::{Answer, Authority, H2Client, Origin, Received, TlsClient, Weir, eventually, free_address};

const LANES: [&str; 2] = ["lean", "full"];

/// `lane`: that takes what it can carry.
fn weir(lane: &str, origin: &Origin, filters: &str, keys: &str) -> Weir {
    weir_with_pool(256, lane, origin, filters, keys)
}

/// `keepalive`: connections to the origin that are kept.
fn weir_with_pool(keepalive: usize, lane: &str, origin: &Origin, filters: &str, keys: &str) -> Weir {
    let lanes = if lane == "lean" { "auto" } else { "full" };
    Weir::start(&format!(
        "lanes: {lanes}\naccess-log: {{ format: json, file: access.log }}\n\
         upstreams: {{ origin: {{ endpoints: [\"{}\"], keepalive: {keepalive} }} }}\n\
         hosts:\n  - names: [\"*\"]\n    filters: [ {filters} ]\n    routes:\n\
         \x20     - {{ path: /, upstream: origin }}\n\
         \x20     - {{ path: /moved, redirect: {{ host: b.test }} }}\n{keys}",
        origin.address
    ))
}

/// The log's lines, when there are so many.
fn logged(weir: &Weir, count: usize) -> Vec<serde_json::Value> {
    let lines = || std::fs::read_to_string(weir.folder().join("access.log")).unwrap_or_default();
    let lines = eventually("all are logged", || Some(lines()).filter(|lines| lines.lines().count() == count));
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn raw(text: impl Into<Vec<u8>>) -> Answer {
    Answer::Send(text.into())
}

/// As the path asks.
fn scripted(request: &Received) -> Answer {
    match request.target.as_str() {
        "/fields" => raw(b"HTTP/1.1 200 Fine\r\nX-Mixed-CASE: v\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Latin: \xe9\r\n\
            X-Hop: 1\r\nConnection: X-Hop\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\nUpgrade: h2c\r\nTrailer: T\r\n\
            X-Empty:\r\nX-Folded: one\r\n  two\r\nContent-Length: 5\r\n\r\nhello"),
        "/no-content" => raw("HTTP/1.1 204 No Content\r\nX: 1\r\n\r\n"),
        "/unchanged" => raw("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 7\r\n\r\n"),
        "/missing" => Answer::status(404, "nothing here"),
        "/empty" => Answer::ok(""),
        "/chunks" => raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nT: 1\r\n\r\n"),
        "/end" => Answer::SendAndClose(b"HTTP/1.1 200 OK\r\n\r\nuntil the end".to_vec()),
        "/hints" => raw("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        "/large" => Answer::ok(&"0123456789abcdef".repeat(100_000)),
        "/nonsense" => raw("SSH-2.0-OpenSSH\r\n\r\n"),
        "/two-lengths" => raw("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        _ => Answer::ok(&format!("{} {} {}", request.method, request.target, String::from_utf8_lossy(&request.body))),
    }
}

/// By the seed that the path ends with: an answer that is no longer quite what it was.
fn mutated(request: &Received) -> Answer {
    let seed = request.target.rsplit('/').next().and_then(|seed| seed.parse().ok()).unwrap_or_default();
    let mut random = Random::new(seed);
    let target = random.pick(&["/fields", "/no-content", "/unchanged", "/missing", "/empty", "/hints", "/two-lengths"]);
    let Answer::Send(mut bytes) = scripted(&Received { target: target.into(), ..request.clone() }) else {
        unreachable!("all of these are sent")
    };
    mutate::mutate(&mut random, &mut bytes);
    // Nobody waits for what was cut off.
    Answer::SendAndClose(bytes)
}

/// What a client gets, but for what changes with time.
fn seen(client: &mut H2Client, method: &str, target: &str, fields: &[(&str, &str)], body: Option<Bytes>) -> String {
    match client.try_send(method, "a.test:80", target, fields, body) {
        Ok(answer) => {
            let mut lines: Vec<String> = answer
                .headers
                .iter()
                .filter(|(name, _)| *name != "date")
                .map(|(name, value)| format!("{name}: {value:?}"))
                .collect();
            lines.sort();
            // Pages name the request, by an id of its own.
            let text = answer.text();
            let text = text.split("request ").next().unwrap_or_default();
            format!("{} {lines:?} {text:?} {:?}", answer.status, answer.trailers)
        }
        // Whether the head was on its way already depends on when.
        Err(error) => format!("{:?}", error.reason()),
    }
}

/// What an origin saw, but for what changes with the connection.
fn told(request: &Received) -> String {
    let mut lines: Vec<String> = request
        .headers
        .iter()
        .filter(|(name, _)| !["x-request-id", "x-forwarded-port"].contains(&name.as_str()))
        .map(|(name, value)| format!("{}: {value}", name.to_ascii_lowercase()))
        .collect();
    lines.sort();
    format!("{} {} {lines:?} {} bytes", request.method, request.target, request.body.len())
}

/// Method, target, fields and body.
type Exchange = (&'static str, &'static str, &'static [(&'static str, &'static str)], Option<Bytes>);

#[test]
fn both_lanes_answer_alike() {
    let large = || Some(Bytes::from(vec![b'x'; 300_000]));
    let words = || Some(Bytes::from("words"));
    let cases: Vec<Exchange> = vec![
        ("GET", "/fields", &[], None),
        ("GET", "/no-content", &[], None),
        ("GET", "/unchanged", &[], None),
        ("GET", "/missing", &[], None),
        ("GET", "/empty", &[], None),
        ("GET", "/chunks", &[], None),
        ("GET", "/end", &[], None),
        ("GET", "/hints", &[], None),
        ("GET", "/large", &[], None),
        ("GET", "/nonsense", &[], None),
        ("GET", "/two-lengths", &[], None),
        ("GET", "/moved", &[], None),
        ("HEAD", "/fields", &[], None),
        ("HEAD", "/chunks", &[], None),
        ("HEAD", "/large", &[], None),
        ("OPTIONS", "/a", &[], None),
        ("DELETE", "/a", &[], None),
        ("POST", "/nothing", &[], None),
        ("POST", "/nothing", &[("content-length", "0")], None),
        ("POST", "/words", &[], words()),
        ("PUT", "/words", &[("content-length", "5")], words()),
        ("POST", "/large", &[("content-length", "300000")], large()),
        ("POST", "/much", &[], large()),
        ("POST", "/too-much", &[("content-length", "400001")], Some(Bytes::from(vec![b'x'; 400_001]))),
        ("POST", "/too-much", &[], Some(Bytes::from(vec![b'x'; 400_001]))),
        ("POST", "/words", &[("content-length", "5"), ("content-length", "5")], words()),
        ("POST", "/words", &[("content-length", "05")], words()),
        (
            "GET",
            "/a?b=c&d=%20",
            &[("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers"), ("x-two", "1"), ("x-two", "2")],
            None,
        ),
        ("GET", "/%61//b/../c;d?e#f", &[("user-agent", "someone"), ("x-empty", "")], None),
        ("GET", "/a", &[("host", "a.test:80")], None),
        ("GET", "/a", &[("host", "b.test")], None),
        (
            "GET",
            "/a",
            &[("x-forwarded-for", "192.0.2.1"), ("x_forwarded_for", "192.0.2.1"), ("forwarded", "for=x")],
            None,
        ),
        ("GET", "/a", &[("proxy-authorization", "x"), ("http2-settings", "x"), ("expect", "100-continue")], None),
        ("GET", "/a", &[("x-role", "admin ")], None),
        ("GET", "/a", &[("x-role", "\tadmin")], None),
        ("TRACE", "/a", &[], None),
        ("BREW", "/a", &[], None),
    ];
    let filters = "{ max-body-size: 400000 }, security-headers, { headers: { response: { set: { x-from: '${method} ${path} ${uri} ${host} ${client-ip} ${route}' } }, request: { set: { x-own: '${scheme}' } } } }";
    let mut outcomes = LANES.map(|lane| {
        let origin = Origin::start(scripted);
        let weir = weir(lane, &origin, filters, "");
        let mut client = H2Client::plain(weir.http);
        cases
            .iter()
            .map(|(method, target, fields, body)| {
                let seen = seen(&mut client, method, target, fields, body.clone());
                (seen, origin.take_received().iter().map(told).collect::<Vec<_>>())
            })
            .collect::<Vec<_>>()
            .into_iter()
    });
    for (method, target, fields, _) in &cases {
        let [(lean, lean_told), (full, full_told)] = outcomes.each_mut().map(|outcomes| outcomes.next().unwrap());
        assert_eq!(lean, full, "{method} {target} {fields:?}");
        assert_eq!(lean_told, full_told, "{method} {target} {fields:?}");
    }
}

#[test]
fn odd_answers_are_alike_in_both_lanes() {
    const CASES: u64 = 600;
    let words = ["", "x", "a, b", "a=1; b=2", "\"q\"", "keep-alive", "close", "100", "gzip, br", "-1", "*", "%41"];
    let names =
        ["accept", "range", "if-none-match", "cookie", "origin", "x-own", "te", "via", "x-forwarded-proto", "host-x"];
    let exchanges = LANES.map(|lane| {
        let origin = Origin::start(mutated);
        // What is sent on a connection that the origin is just closing is lost on either lane, or not.
        let weir = weir_with_pool(0, lane, &origin, "security-headers, { cors: { origins: ['https://b.test'] } }", "");
        let mut client = H2Client::plain(weir.http);
        (0..CASES)
            .map(|seed| {
                let mut random = Random::new(seed ^ 0xff00);
                let method = random.pick(&["GET", "GET", "HEAD", "POST", "PUT", "OPTIONS", "PATCH"]);
                let fields: Vec<_> = (0..random.below(4)).map(|_| (random.pick(&names), random.pick(&words))).collect();
                let body = random.percent(30).then(|| Bytes::from(vec![b'x'; random.below(40_000)]));
                let seen = seen(&mut client, method, &format!("/a?b/{seed}"), &fields, body);
                (seen, origin.take_received().iter().map(told).collect::<Vec<_>>())
            })
            .collect::<Vec<_>>()
    });
    let [lean, full] = exchanges;
    for (seed, (lean, full)) in lean.iter().zip(&full).enumerate() {
        assert_eq!(lean, full, "{seed}");
    }
}

#[test]
fn bodies_end_as_they_should_in_either_lane() {
    for lane in LANES {
        let origin = Origin::start(scripted);
        let weir = weir(lane, &origin, "", "");
        let mut client = H2Client::plain(weir.http);
        for words in [&["some", "", "words"][..], &[""], &[]] {
            for has_trailer in [false, true] {
                let mut stream = client.open_stream("POST", "a.test", "/echo", &[]);
                words.iter().for_each(|word| stream.send(Bytes::from(*word)));
                if has_trailer {
                    stream.finish_with_trailer("x-sum", "1")
                } else {
                    stream.finish()
                }
                assert_eq!((stream.status(), stream.text()), (200, format!("POST /echo {}", words.concat())), "{lane}");
                assert_eq!(origin.last_request().header("x-sum"), None, "{lane}: HTTP/1.1 trailers are not passed on");
            }
        }
        let asked = origin.request_count();
        let mut broken = client.open_stream("POST", "a.test", "/echo", &[]);
        broken.send(Bytes::from("half"));
        std::thread::sleep(Duration::from_millis(100));
        broken.cancel();
        logged(&weir, 7);
        assert_eq!(client.get("a.test", "/empty").status, 200);
        assert_eq!(origin.request_count(), asked + 1, "{lane}: half a body is no request");
    }
}

#[test]
fn pieces_that_are_empty_end_no_body_and_say_its_end_once() {
    let origin = Origin::start_at_head(|_: &Received| {
        Answer::drive(|stream| {
            stream.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
            let mut body = Vec::new();
            let mut piece = [0; 1000];
            while let Ok(length @ 1..) = stream.read(&mut piece) {
                body.extend_from_slice(&piece[..length]);
            }
            let text = String::from_utf8_lossy(&body).replace("\r\n", "|");
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", text.len());
            stream.write_all(format!("{head}{text}").as_bytes()).unwrap();
        })
    });
    for (nth, lane) in LANES.iter().enumerate() {
        let weir = weir(lane, &origin, "", "");
        let mut client = H2Client::plain(weir.http);
        let mut stream = client.open_stream("POST", "a.test", "/", &[]);
        // What comes with the head is not looked at here.
        origin.wait_for_requests(nth + 1);
        for piece in ["ab", "", "c", ""] {
            std::thread::sleep(Duration::from_millis(100));
            stream.send(Bytes::from(piece));
        }
        stream.finish();
        let text = stream.text();
        // What comes together may go on together.
        assert!(["2|ab|1|c|0||", "3|abc|0||"].contains(&text.as_str()), "{lane}: {text}");
    }
}

#[test]
fn answers_go_through_the_narrowest_window() {
    for lane in LANES {
        let origin = Origin::start(scripted);
        let weir = weir(lane, &origin, "", "");
        let mut client = H2Client::narrow(weir.http, 1);
        let word = "x".repeat(200);
        for _ in 0..3 {
            let answer = client.send("POST", "a.test", "/echo", &[], Some(Bytes::from(word.clone())));
            assert_eq!(answer.text(), format!("POST /echo {word}"), "{lane}");
        }
    }
}

/// A body that is still coming holds up neither lane's own answer.
#[test]
fn a_redirect_is_answered_before_its_body() {
    for lane in LANES {
        let origin = Origin::named("origin");
        let weir = weir(lane, &origin, "", "");
        let mut client = H2Client::plain(weir.http);
        let mut stream = client.open_stream("POST", "a.test", "/moved", &[("content-length", "1000")]);
        stream.send(Bytes::from("begun"));
        assert_eq!(stream.status(), 302, "{lane}");
        assert_eq!(stream.reset_by_server(), h2::Reason::NO_ERROR, "{lane}");
        assert_eq!(client.get("a.test", "/").status, 200, "{lane}");
    }
}

#[test]
fn what_is_plain_takes_the_lean_lane() {
    let origin = Origin::named("origin");
    for lane in LANES {
        let weir = weir(lane, &origin, "{ cache: {} }", "");
        let mut client = H2Client::plain(weir.http);
        client.send("POST", "a.test", "/0", &[("referer", "https://c.test/")], Some(Bytes::from("body")));
        client.get("a.test", "/1");
        client.send("GET", "a.test", "/2", &[("expect", "x")], None);
        let lines = logged(&weir, 3);
        let taken: Vec<_> = lines.iter().map(|line| line["lane"].as_str().unwrap()).collect();
        // A route with a cache is the full lane's, but for what is kept.
        assert_eq!(taken, ["full"; 3], "{lane}");
    }
    for lane in LANES {
        let weir = weir(lane, &origin, "", "");
        let mut client = H2Client::plain(weir.http);
        client.send("POST", "a.test", "/0?x", &[("referer", "https://c.test/")], Some(Bytes::from("body")));
        client.send("GET", "a.test", "/1", &[("expect", "x")], None);
        let lines = logged(&weir, 2);
        let text = |nth: usize, key: &str| lines[nth][key].as_str().unwrap_or_default().to_owned();
        assert_eq!((text(0, "lane"), text(1, "lane")), (lane.to_owned(), "full".to_owned()));
        assert_eq!(text(0, "protocol"), text(1, "protocol"));
        assert_eq!((text(0, "target"), text(0, "referer")), ("/0?x".into(), "https://c.test/".into()));
        assert_eq!((lines[0]["bytes_in"].as_u64(), lines[0]["bytes_out"].as_u64()), (Some(4), Some(6)), "{lane}");
        assert_eq!(
            weir.metric("weir_lane_requests_total", &[&format!("lane=\"{lane}\"")]).map(|count| count > 0.0),
            Some(true)
        );
    }
}

#[test]
fn what_is_kept_goes_out_of_the_lean_lane() {
    let origin =
        Origin::start(|_| Answer::with_headers("Cache-Control: max-age=600\r\nX-Mine: 1\r\n", &"kept".repeat(50_000)));
    for lane in LANES {
        let weir = weir(lane, &origin, "{ cache: {} }", "");
        let mut client = H2Client::plain(weir.http);
        let kept = [(), ()].map(|()| client.get("a.test", "/a"));
        assert_eq!(kept[1].text(), "kept".repeat(50_000));
        assert_eq!((kept[1].header("x-cache-status"), kept[1].header("x-mine")), (Some("HIT"), Some("1")));
        assert_eq!(logged(&weir, 2)[1]["lane"].as_str(), Some(lane));
    }
    assert_eq!(origin.request_count(), 2);
}

#[test]
fn an_answer_that_breaks_off_is_no_whole_one() {
    for lane in LANES {
        let origin = Origin::start(|request| {
            let body = if request.method == "GET" {
                "Content-Length: 100\r\n\r\nhalf"
            } else {
                "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"
            };
            Answer::drive(move |socket| {
                socket.write_all(format!("HTTP/1.1 200 OK\r\n{body}").as_bytes()).unwrap();
                std::thread::sleep(Duration::from_millis(100));
            })
        });
        let weir = weir(lane, &origin, "", "");
        let mut client = H2Client::plain(weir.http);
        for method in ["GET", "POST"] {
            let mut stream = client.open_stream(method, "a.test", "/", &[]);
            if method == "POST" {
                stream.send(Bytes::from("a body"));
            }
            stream.finish();
            assert_eq!(stream.status(), 200, "{lane} {method}");
            assert_eq!(stream.broken().reason(), Some(h2::Reason::INTERNAL_ERROR), "{lane} {method}");
        }
        let lines = logged(&weir, 2);
        assert!(lines.iter().all(|line| line["ended"].as_str() == Some("upstream-reset")), "{lane} {lines:?}");
    }
}

#[test]
fn a_client_that_gives_up_is_not_worked_for() {
    for lane in LANES {
        let origin = Origin::start(|_| {
            Answer::drive(|socket| {
                // Until Weir closes.
                let _ = socket.read(&mut [0; 1]);
            })
        });
        let weir = weir(lane, &origin, "", "");
        let mut client = H2Client::plain(weir.http);
        let waiting = client.begin_get("a.test", "/");
        origin.wait_for_requests(1);
        waiting.cancel();
        assert_eq!(logged(&weir, 1)[0]["ended"].as_str(), Some("client-closed"), "{lane}");
        let mut sending = client.open_stream("POST", "a.test", "/", &[]);
        sending.send(Bytes::from("begun"));
        std::thread::sleep(Duration::from_millis(50));
        sending.cancel();
        assert_eq!(logged(&weir, 2)[1]["ended"].as_str(), Some("client-closed"), "{lane}");
        assert_eq!(weir.metric("weir_requests_in_flight", &[]), Some(0.0), "{lane}");
    }
}

/// Both directions at once, more than any window or buffer holds: whoever waits for one to end before the other goes on waits for ever.
#[test]
fn bodies_flow_both_ways_at_once() {
    const SIZE: usize = 16 << 20;
    fn echo(socket: &mut TcpStream) {
        socket.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").unwrap();
        let (mut from, mut to) = (socket.try_clone().unwrap(), socket.try_clone().unwrap());
        std::io::copy(&mut from, &mut to).unwrap();
    }
    for lane in LANES {
        let origin = Origin::start_at_head(|_| Answer::drive(echo));
        let weir = weir(lane, &origin, "", "");
        let mut client = H2Client::plain(weir.http);
        let mut stream = client.open_stream("POST", "a.test", "/", &[("content-length", &SIZE.to_string())]);
        let mut left = SIZE;
        let mut received = 0;
        while left > 0 {
            let piece = left.min(64 << 10);
            stream.send(Bytes::from(vec![b'x'; piece]));
            left -= piece;
        }
        stream.finish();
        // What came with the head is not echoed.
        while received < SIZE - (128 << 10) {
            received += stream.receive().unwrap_or_else(|| panic!("{lane}: {received} bytes")).len();
        }
        stream.cancel();
    }
}

/// The time that an upstream had for taking more of the body is not the time that it has for its answer.
#[test]
fn an_upload_that_was_held_up_once_does_not_shorten_the_answers_time() {
    const SIZE: usize = 12 << 20;
    let origin = Origin::start_at_head(|_| {
        Answer::drive(|stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst").unwrap();
            std::thread::sleep(Duration::from_millis(700));
            let mut piece = vec![0; 64 << 10];
            let mut left = SIZE - (64 << 10);
            while left > 0 {
                left = left.saturating_sub(stream.read(&mut piece).unwrap());
            }
            std::thread::sleep(Duration::from_millis(2500));
            stream.write_all(b" last").unwrap();
        })
    });
    for lane in LANES {
        let lanes = if lane == "lean" { "auto" } else { "full" };
        let keys = "timeouts: { write: 1500ms, read: 20s }";
        let weir = Weir::start(&format!("lanes: {lanes}\n{}", Weir::forwarding_to(&[origin.address], keys)));
        let mut client = H2Client::plain(weir.http);
        let mut stream = client.open_stream("POST", "a.test", "/", &[]);
        for _ in 0..SIZE >> 16 {
            stream.send(Bytes::from(vec![b'x'; 64 << 10]));
        }
        assert_eq!(stream.text(), "first last", "{lane}");
    }
}

/// One connection, names of two certificates.
#[test]
fn a_name_with_another_certificate_is_misdirected() {
    for lane in LANES {
        let origin = Origin::named("origin");
        let (folder, authority, https) = (tempfile::tempdir().unwrap(), Authority::new("test"), free_address());
        let certificates: String = ["a.test", "b.test"]
            .iter()
            .map(|name| {
                let (cert, key) = authority.issue(&[name]).write(folder.path(), name);
                format!("  - file: {{ cert: {}, key: {} }}\n", cert.display(), key.display())
            })
            .collect();
        let keys =
            format!("listeners: {{ https: {{ address: \"{https}\", tls: {{}} }} }}\ncertificates:\n{certificates}");
        let weir = weir(lane, &origin, "", &keys);
        let mut client = H2Client::tls(https, "a.test", &TlsClient::trusting(&authority, &[b"h2"]));
        assert_eq!(["a.test", "b.test"].map(|name| client.get(name, "/").status), [200, 421], "{lane}");
        let lines = logged(&weir, 2);
        assert_eq!((lines[0]["lane"].as_str(), lines[1]["lane"].as_str()), (Some(lane), Some("full")));
    }
}
