//! Bodies pass through as they come: no buffering, no growth, no change of meaning.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use support::{Answer, LIMIT, Nginx, Origin, Weir, eventually};

/// Large enough that a buffered body could not be overlooked.
const LARGE: usize = 256 << 20;

/// What streaming may cost in memory: a few buffers, and what the allocator keeps.
const ALLOWED_GROWTH_KIB: u64 = 48 << 10;

#[test]
fn server_sent_events_arrive_one_by_one() {
    let (release, events) = channel::<&'static str>();
    let events = Arc::new(Mutex::new(events));
    let origin = Origin::start(move |_| {
        let events = events.clone();
        Answer::drive(move |stream| {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).expect("weir reads");
            let events = events.lock().expect("no panic while held");
            while let Ok(event) = events.recv_timeout(LIMIT) {
                let event = format!("data: {event}\n\n");
                write!(stream, "{:x}\r\n{event}\r\n", event.len()).expect("weir reads");
            }
            let _ = stream.write_all(b"0\r\n\r\n");
        })
    });
    let weir = Weir::in_front_of(&[origin.address]);
    let mut client = weir.connect();
    client.write("GET /events HTTP/1.1\r\nHost: a.test\r\nAccept: text/event-stream\r\n\r\n");
    assert_eq!(client.read_head().expect("the head comes before any event").status, 200);
    for event in ["one", "two", "three"] {
        // The next event does not exist yet while this one is read.
        release.send(event).expect("the origin runs");
        client.read_until(&format!("data: {event}\n\n"));
    }
}

#[test]
fn the_origin_learns_that_the_reader_of_a_stream_has_gone() {
    let (gone, seen) = channel();
    let gone = Mutex::new(gone);
    let origin = Origin::start(move |_| {
        let gone = gone.lock().expect("no panic while held").clone();
        Answer::drive(move |stream| {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: one\n\n";
            stream.write_all(head.as_bytes()).expect("weir reads");
            let ended = matches!(stream.read(&mut [0; 16]), Ok(0) | Err(_));
            let _ = gone.send(ended);
        })
    });
    let weir = Weir::in_front_of(&[origin.address]);
    let mut client = weir.connect();
    client.write("GET /events HTTP/1.1\r\nHost: a.test\r\n\r\n");
    client.read_until("data: one\n\n");
    drop(client);
    assert!(seen.recv_timeout(LIMIT).expect("the origin's connection ends"));
}

/// Reads everything and keeps nothing; the answer is how much it was.
fn drain(stream: &mut impl Read) -> usize {
    let mut piece = vec![0; 256 << 10];
    let mut total = 0;
    loop {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return total,
            Ok(n) => total += n,
        }
    }
}

#[test]
fn a_large_download_passes_at_flat_memory() {
    let nginx = Nginx::start("");
    nginx.write_sparse_file("large", LARGE as u64);
    let weir = Weir::in_front_of(&[nginx.address]);
    weir.get("/files/none");
    let before = weir.resident_kib();

    let mut client = TcpStream::connect(weir.http).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    client.write_all(b"GET /files/large HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").unwrap();
    let total = drain(&mut client);
    assert!(total > LARGE && total < LARGE + 4096, "head and body: {total}");
    let grown = weir.resident_kib().saturating_sub(before);
    assert!(grown < ALLOWED_GROWTH_KIB, "{grown} KiB more for {} MiB", LARGE >> 20);
}

/// Counts the body it is sent and says how long it was; the head tells the length.
fn counting_origin() -> Origin {
    Origin::start_at_head(|request| {
        let head = request.raw.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
        let came_along = request.raw.len() - head;
        let length: usize = request.header("content-length").and_then(|l| l.parse().ok()).expect("a length");
        Answer::drive(move |stream| {
            let mut piece = vec![0; 256 << 10];
            let mut total = came_along;
            while total < length {
                match stream.read(&mut piece) {
                    Ok(0) | Err(_) => return,
                    Ok(n) => total += n,
                }
            }
            let body = total.to_string();
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        })
    })
}

#[test]
fn a_large_upload_passes_at_flat_memory() {
    let origin = counting_origin();
    let weir = Weir::in_front_of(&[origin.address]);
    let before = weir.resident_kib();

    let mut client = weir.connect();
    client.write(format!("POST /upload HTTP/1.1\r\nHost: a.test\r\nContent-Length: {LARGE}\r\n\r\n"));
    let piece = vec![b'x'; 1 << 20];
    (0..LARGE >> 20).for_each(|_| client.write(&piece));
    assert_eq!(client.read_response().text(), LARGE.to_string());
    let grown = weir.resident_kib().saturating_sub(before);
    assert!(grown < ALLOWED_GROWTH_KIB, "{grown} KiB more for {} MiB", LARGE >> 20);
}

#[test]
fn a_client_that_does_not_read_holds_the_origin_back() {
    let sent = Arc::new(AtomicUsize::new(0));
    let origin = Origin::start({
        let sent = sent.clone();
        move |_| {
            let sent = sent.clone();
            Answer::drive(move |stream| {
                let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n");
                let piece = vec![b'x'; 64 << 10];
                while sent.load(Ordering::SeqCst) < LARGE && stream.write_all(&piece).is_ok() {
                    sent.fetch_add(piece.len(), Ordering::SeqCst);
                }
            })
        }
    });
    let weir = Weir::in_front_of(&[origin.address]);
    let before = weir.resident_kib();
    let mut client = weir.connect();
    client.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");

    // Until nothing moves any more: the kernel's buffers and Weir's own are full.
    let mut last = 0;
    eventually("the origin is held back", || {
        std::thread::sleep(Duration::from_millis(300));
        let now = sent.load(Ordering::SeqCst);
        let stands = now > 0 && now == last;
        last = now;
        stands.then_some(())
    });
    assert!(last < LARGE / 4, "{} MiB were taken for a client that reads nothing", last >> 20);
    let grown = weir.resident_kib().saturating_sub(before);
    assert!(grown < ALLOWED_GROWTH_KIB, "{grown} KiB more");
}

#[test]
fn a_client_that_expects_100_continue_sends_its_body_only_then() {
    let origin = Origin::start_at_head(|request| {
        let head = request.raw.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
        let mut body = request.raw[head..].to_vec();
        Answer::drive(move |stream| {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").expect("weir reads");
            let mut rest = vec![0; 5 - body.len()];
            stream.read_exact(&mut rest).expect("the body comes");
            body.extend(rest);
            assert_eq!(body, b"hello");
            stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").expect("weir reads");
        })
    });
    let weir = Weir::in_front_of(&[origin.address]);
    let mut client = weir.connect();
    client.write("POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(client.read_head().expect("an interim answer").status, 100);
    client.write("hello");
    assert_eq!(client.read_response().status, 201);
    assert_eq!(origin.only_request().header("expect"), Some("100-continue"), "RFC 9110 §10.1.1");
}

#[test]
fn a_body_that_the_origin_declines_is_never_sent() {
    let origin = Origin::start_at_head(|_| {
        Answer::SendAndClose(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno".to_vec())
    });
    let weir = Weir::in_front_of(&[origin.address]);
    let mut client = weir.connect();
    client.write("POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    let answer = client.read_response_to("POST");
    assert_eq!((answer.status, answer.text().as_str()), (417, "no"));
}

#[test]
fn an_early_answer_to_an_upload_reaches_the_client() {
    let origin = Origin::start_at_head(|_| {
        Answer::SendAndClose(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno".to_vec())
    });
    let weir = Weir::in_front_of(&[origin.address]);
    let mut client = weir.connect();
    client.write("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10000000\r\n\r\nbeginning");
    let answer = client.read_response_to("POST");
    assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
}

#[test]
fn a_chunked_upload_keeps_its_content() {
    let origin = Origin::named("origin");
    let weir = Weir::in_front_of(&[origin.address]);
    let mut client = weir.connect();
    client.write("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.write("5\r\nhello\r\n");
    client.write("6;extension=1\r\n world\r\n");
    client.write("0\r\n\r\n");
    assert_eq!(client.read_response().status, 200);
    assert_eq!(origin.only_request().body, b"hello world");
}

#[test]
fn a_chunked_answer_keeps_its_content_with_or_without_its_trailers() {
    let origin = Origin::start(|_| {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n";
        Answer::Send(format!("{head}5\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 11\r\n\r\n").into_bytes())
    });
    let weir = Weir::in_front_of(&[origin.address]);
    let mut client = weir.connect();
    for _ in 0..2 {
        client.write("GET / HTTP/1.1\r\nHost: a.test\r\nTE: trailers\r\n\r\n");
        let answer = client.read_response();
        assert_eq!(answer.text(), "hello world");
        // Trailers may be dropped on the way (RFC 9110 §6.5.1), but then they must not be announced.
        assert_eq!(answer.trailer("x-sum").is_some(), answer.header("trailer").is_some());
    }
}

#[test]
fn an_answer_that_ends_with_its_connection_is_whole() {
    let origin = Origin::start(|_| Answer::SendAndClose(b"HTTP/1.0 200 OK\r\n\r\nuntil the end".to_vec()));
    let answer = Weir::in_front_of(&[origin.address]).get("/");
    assert_eq!(answer.text(), "until the end");
}

#[test]
fn an_answer_cut_short_is_seen_to_be_cut_short() {
    let origin = Origin::start(|_| {
        Answer::SendAndClose(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n".to_vec())
    });
    let weir = Weir::in_front_of(&[origin.address]);
    assert!(weir.request("GET", "/").try_send().is_err(), "no last chunk may be made up");
}

#[test]
fn head_204_and_304_have_no_body_and_leave_the_connection_usable() {
    let origin = Origin::start(|request| {
        Answer::Send(
            match request.target.as_str() {
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\n\r\n",
                _ if request.method == "HEAD" => "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nend",
            }
            .into(),
        )
    });
    let weir = Weir::in_front_of(&[origin.address]);
    let mut client = weir.connect();
    let mut ask = |method: &str, target: &str| {
        client.write(format!("{method} {target} HTTP/1.1\r\nHost: a.test\r\nIf-None-Match: \"v1\"\r\n\r\n"));
        client.read_response_to(method)
    };
    let head = ask("HEAD", "/");
    assert_eq!((head.status, head.header("content-length")), (200, Some("1234")));
    assert_eq!(ask("GET", "/204").status, 204);
    let unchanged = ask("GET", "/304");
    assert_eq!((unchanged.status, unchanged.header("etag")), (304, Some("\"v1\"")));
    assert_eq!(ask("GET", "/").text(), "end", "nothing of the earlier answers is left over");
}

#[test]
fn ranges_are_the_origins_business() {
    let nginx = Nginx::shared();
    let bytes = nginx.write_file("range.bin", 10_000);
    let weir = Weir::in_front_of(&[nginx.address]);
    let ask = |range: &str| weir.request("GET", "/files/range.bin").header("Range", range).send();

    let part = ask("bytes=100-199");
    assert_eq!((part.status, part.body.as_slice()), (206, &bytes[100..200]));
    assert_eq!(part.header("content-range"), Some("bytes 100-199/10000"));
    assert_eq!(ask("bytes=-1").body, &bytes[9_999..]);
    assert_eq!(ask("bytes=20000-").status, 416);

    let whole = weir.get("/files/range.bin");
    assert_eq!(whole.body, bytes);
    let etag = whole.header("etag").expect("nginx sends one").to_owned();
    assert_eq!(weir.request("GET", "/files/range.bin").header("If-None-Match", &etag).send().status, 304);
}

#[test]
fn a_body_beyond_the_limit_is_413_and_stays_outside() {
    let origin = Origin::named("origin");
    let file = Weir::forwarding_to(&[origin.address], "");
    let weir = Weir::start(&format!("{file}        filters:\n          - max-body-size: 1KB\n"));
    assert_eq!(weir.request("POST", "/").body(vec![b'x'; 1000]).send().status, 200);

    let mut client = weir.connect();
    client.write("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1001\r\n\r\n");
    assert_eq!(client.read_response_to("POST").status, 413, "the length alone is enough");
    assert_eq!(origin.request_count(), 1, "nobody asked the origin");

    let mut client = weir.connect();
    client.write("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = format!("200\r\n{}\r\n", "x".repeat(0x200));
    let _ = client.try_write(chunk.repeat(3));
    let _ = client.try_write("0\r\n\r\n");
    assert_eq!(client.read_response_to("POST").status, 413, "a chunked body is counted as it comes");
    assert_eq!(origin.request_count(), 1, "the origin never had all of it");
}

#[test]
fn many_requests_at_once_each_get_their_own_answer() {
    let origin = Origin::start(|request| Answer::ok(&request.target));
    let weir = Weir::in_front_of(&[origin.address]);
    let (done, answers) = mpsc::channel();
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let (weir, done) = (&weir, done.clone());
            scope.spawn(move || {
                let mut client = weir.connect();
                for number in 0..50 {
                    let target = format!("/{worker}/{number}");
                    client.write(format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
                    let _ = done.send((target, client.read_response().text()));
                }
            });
        }
    });
    drop(done);
    let answers: Vec<_> = answers.iter().collect();
    assert_eq!(answers.len(), 400);
    assert!(answers.iter().all(|(asked, answered)| asked == answered));
}

#[test]
fn an_answer_of_known_length_is_passed_on_as_it_comes() {
    let origin = Origin::start(|_| {
        Answer::drive(|stream| {
            use std::io::Write;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n").expect("weir reads");
            for _ in 0..2 {
                std::thread::sleep(Duration::from_millis(1000));
                stream.write_all(b"hello").expect("weir reads");
            }
        })
    });
    let weir = Weir::in_front_of(&[origin.address]);
    let mut client = weir.connect();
    let asked = Instant::now();
    client.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.read_head().expect("a head").status, 200);
    assert!(asked.elapsed() < Duration::from_millis(900), "the head does not wait: {:?}", asked.elapsed());
    client.read_until("hello");
    assert!(asked.elapsed() < Duration::from_millis(1900), "nor does the first half: {:?}", asked.elapsed());
    client.read_until("hello");
}
