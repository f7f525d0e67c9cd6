//! Request smuggling: whatever a client writes, no request of his reaches an origin that Weir has not seen, and nobody else gets
//! his answer.
//!
//! Bytes that readers are known to differ about in the normal run, every byte with `WEIR_STORM=full`.

#[path = "smuggling/mod.rs"]
mod smuggling;
mod support;

use std::time::Duration;

use smuggling::attack::{Attack, HIDDEN};
use smuggling::stage::Stage;
use smuggling::{bodies, fields, heads, streams};
use support::{Answer, Origin, Weir};

fn hold(stage: &Stage, what: &str) {
    println!("{what}: {} refused, {} passed as one request", stage.refused, stage.passed);
    assert!(stage.passed > 0 && stage.refused > 0, "{what}: nothing was tried");
    let shown: Vec<&String> = stage.faults.iter().take(60).collect();
    assert!(stage.faults.is_empty(), "{what}: {} faults: {shown:#?}", stage.faults.len());
}

fn nothing_hides(what: &str, attacks: &[Attack]) {
    std::thread::scope(|scope| {
        for lanes in ["auto", "full"] {
            scope.spawn(move || {
                let mut stage = Stage::open(lanes);
                attacks.iter().for_each(|attack| stage.play(attack));
                hold(&stage, &format!("{what}, lanes {lanes}"));
            });
        }
    });
}

#[test]
fn no_request_hides_behind_fields_that_frame() {
    nothing_hides("fields", &fields::attacks());
}

#[test]
fn no_request_hides_in_chunks() {
    nothing_hides("chunks", &bodies::attacks());
}

#[test]
fn no_request_hides_behind_a_request_line_or_an_expectation() {
    nothing_hides("heads", &heads::attacks());
}

#[test]
fn no_request_hides_in_a_stream() {
    let mut stage = Stage::open("auto");
    streams::attacks().iter().for_each(|stream| stage.play_stream(stream));
    hold(&stage, "streams");
}

/// The origin answers each head at once and takes whatever follows for another request, as one does that knows no body there. What it
/// makes of the body is its own affair: nobody else comes to that connection, and nobody gets that answer.
#[test]
fn a_connection_whose_answer_came_before_the_body_is_nobody_elses() {
    for lanes in ["auto", "full"] {
        let origin = Origin::start_at_head(|request| Answer::ok(&request.target));
        let file = format!("threads: 1\nlanes: {lanes}\n{}", Weir::forwarding_to(&[origin.address], ""));
        let weir = Weir::start(&file);
        let expectations = ["", "Expect: 100-continue\r\n", "Expect: x 100-continue\r\n"];
        for (method, fields) in ["POST", "GET"].iter().flat_map(|method| expectations.map(|fields| (method, fields))) {
            let case = format!("lanes {lanes}, {method} with {fields:?}");
            let mut attacker = weir.connect();
            let length = HIDDEN.len();
            attacker.write(format!("{method} /attack HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: {length}\r\n\r\n"));
            let answer = attacker.read_response_to(method);
            assert_eq!((answer.text().as_str(), answer.header("connection")), ("/attack", Some("close")), "{case}");
            // Weir may have closed already.
            let _ = attacker.try_write(HIDDEN);
            attacker.assert_closed();
            for (more, target) in [("", "/victim"), ("Cookie: a=1\r\nCookie: b=2\r\n", "/other")] {
                let mut victim = weir.connect();
                victim.write(format!("GET {target} HTTP/1.1\r\nHost: a\r\n{more}\r\n"));
                assert_eq!(victim.read_response().text(), target, "{case}");
            }
            let received = origin.take_received();
            let spoiled = received.iter().find(|request| request.target == "/attack").expect("it was asked").connection;
            let on_it: Vec<&str> =
                received.iter().filter(|r| r.connection == spoiled).map(|r| r.target.as_str()).collect();
            assert!(on_it.iter().all(|target| ["/attack", "/smuggled"].contains(target)), "{case}: {on_it:?}");
        }
    }
}

/// The other side of it: requests that are whole when they are answered share a connection.
#[test]
fn a_connection_whose_answers_came_after_the_bodies_is_used_again() {
    for lanes in ["auto", "full"] {
        let origin = Origin::start(|request| Answer::ok(&request.target));
        let file = format!("threads: 1\nlanes: {lanes}\n{}", Weir::forwarding_to(&[origin.address], ""));
        let weir = Weir::start(&file);
        let mut client = weir.connect();
        for body in ["Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"] {
            client.write(format!("POST /whole HTTP/1.1\r\nHost: a\r\n{body}"));
            assert_eq!(client.read_response_to("POST").text(), "/whole", "lanes {lanes}");
            // In two pieces, the end of it late.
            let (beginning, end) = body.split_at(body.len() - 3);
            client.write(format!("POST /late HTTP/1.1\r\nHost: a\r\n{beginning}"));
            std::thread::sleep(Duration::from_millis(50));
            client.write(end);
            assert_eq!(client.read_response_to("POST").text(), "/late", "lanes {lanes}");
        }
        assert_eq!(origin.connection_count(), 1, "lanes {lanes}");
    }
}

/// Several fields of one name are one list: an origin may say in any of them that it ends the connection.
#[test]
fn a_connection_that_the_origin_ends_is_nobody_elses() {
    for lanes in ["auto", "full"] {
        let origin =
            Origin::start(|request| Answer::with_headers("Connection: x\r\nConnection: close\r\n", &request.target));
        let file = format!("threads: 1\nlanes: {lanes}\n{}", Weir::forwarding_to(&[origin.address], ""));
        let weir = Weir::start(&file);
        let mut client = weir.connect();
        for target in ["/one", "/another"] {
            client.write(format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na"));
            assert_eq!(client.read_response_to("POST").text(), target, "lanes {lanes}");
        }
        assert_eq!(origin.request_count(), 2, "lanes {lanes}");
        assert_eq!(origin.connection_count(), 2, "lanes {lanes}");
    }
}
