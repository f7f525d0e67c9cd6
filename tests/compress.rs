//! `compress` on the wire: which answers, in which coding, with which head; whole, piece by piece, and in every key's terms.

mod support;

use std::io::Write;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use support::{
    Answer, Connection, H2Client, H2Origin, LIMIT, Origin, Received, Response, WebSocket, WebSocketOrigin, Weir, curl,
    decoded, decoded_so_far, request, weir_command,
};

const ALL: &str = "gzip, deflate, br, zstd";

/// Text that is worth compressing, and compressing well.
fn text(size: usize) -> String {
    const WORDS: [&str; 8] = ["quick", "brown", "foxes", "jump", "over", "lazy", "dogs", "again"];
    let (mut text, mut state) = (String::with_capacity(size + 16), 1u32);
    while text.len() < size {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.push_str(WORDS[(state >> 29) as usize]);
        text.push_str([" ", ", ", ".\n", "; "][(state >> 14 & 3) as usize]);
    }
    text.truncate(size);
    text
}

/// Answers with the lines that `head` has for the path, and as much text as the path's number says: `/plain/2000`.
fn origin(head: fn(&str) -> &'static str) -> Origin {
    Origin::start(move |request: &Received| {
        let path = request.target.split('?').next().unwrap_or_default();
        let mut parts = path.trim_start_matches('/').split('/');
        let (name, size) = (parts.next().unwrap_or_default(), parts.next().and_then(|size| size.parse().ok()));
        let lines = head(name);
        let (status, lines) = lines.split_once('|').unwrap_or(("200", lines));
        let asked = request.header("if-none-match").unwrap_or("-");
        let known = lines.lines().any(|line| line.strip_prefix("ETag: ").is_some_and(|etag| asked.contains(etag)));
        let (status, size) = if known { ("304", Some(0)) } else { (status, size) };
        let body = text(size.unwrap_or(2000));
        let body = if matches!(status, "204" | "304") || request.method == "HEAD" { String::new() } else { body };
        let length = match status {
            "204" | "304" => String::new(),
            _ => format!("Content-Length: {}\r\n", size.unwrap_or(2000)),
        };
        let lines: String = lines.lines().map(|line| format!("{line}\r\n")).collect();
        Answer::Send(format!("HTTP/1.1 {status} Scripted\r\n{lines}{length}\r\n{body}").into_bytes())
    })
}

fn plain_text(_: &str) -> &'static str {
    "Content-Type: text/plain"
}

fn file(origin: &Origin, filter: &str) -> String {
    format!(
        "upstreams: {{ origin: {{ endpoints: [\"{}\"] }} }}\nhosts:\n  - names: [\"*\"]\n    filters: [ {filter} ]\n    routes:\n\
         \x20     - {{ path: /, upstream: origin }}\n",
        origin.address
    )
}

fn ask(weir: &Weir, target: &str, accepted: &str) -> Response {
    weir.request("GET", target).header("Accept-Encoding", accepted).send()
}

/// The coding, after the body was read in it and found whole.
#[track_caller]
fn coding(response: &Response, size: usize) -> Option<String> {
    let coding = response.header("content-encoding").map(str::to_owned);
    let body = match &coding {
        Some(coding) => decoded(coding, &response.body),
        None => response.body.clone(),
    };
    assert!(body == text(size).as_bytes(), "{} bytes came in {coding:?}", body.len());
    coding
}

#[test]
fn a_client_gets_the_coding_that_it_likes_best() {
    let origin = origin(plain_text);
    let weir = Weir::start(&file(&origin, "compress"));
    for (accepted, expected) in [
        (ALL, Some("zstd")),
        ("gzip, deflate, br", Some("br")),
        ("gzip", Some("gzip")),
        ("x-gzip", Some("gzip")),
        ("br;q=0.5, gzip;q=0.8, zstd;q=0", Some("gzip")),
        ("*", Some("zstd")),
        ("*;q=0", None),
        ("identity;q=0", None),
        ("identity, gzip;q=0.5", None),
        ("deflate", None),
        ("", None),
    ] {
        let answer = ask(&weir, "/", accepted);
        assert_eq!(coding(&answer, 2000).as_deref(), expected, "{accepted}");
        assert_eq!(answer.header("vary"), Some("Accept-Encoding"), "{accepted}");
        assert_eq!(answer.header("content-length").is_none(), expected.is_some(), "{accepted}");
    }
    let none = weir.get("/");
    assert_eq!((coding(&none, 2000), none.header("vary")), (None, Some("Accept-Encoding")));
    let in_two_fields = weir.request("GET", "/").header("Accept-Encoding", "zstd;q=0").header("Accept-Encoding", "br");
    assert_eq!(coding(&in_two_fields.send(), 2000).as_deref(), Some("br"));
}

#[test]
fn every_key_is_seen() {
    let origin = origin(|name| match name {
        "json" => "Content-Type: Application/JSON; charset=utf-8",
        "html" => "Content-Type: text/html",
        "png" => "Content-Type: image/png",
        _ => "X-Type: none",
    });
    let weir = Weir::start(&file(&origin, "compress: { types: [application/json, \"image/*\"], min-size: 100B }"));
    for (target, size, expected) in [
        ("/json/100", 100, Some("zstd")),
        ("/json/99", 99, None),
        ("/png/100", 100, Some("zstd")),
        ("/html/5000", 5000, None),
        ("/none/5000", 5000, None),
    ] {
        let answer = ask(&weir, target, ALL);
        assert_eq!(coding(&answer, size).as_deref(), expected, "{target}");
        assert_eq!(answer.header("vary").is_some(), expected.is_some(), "{target}");
    }
    weir.reload(&file(&origin, "compress: { zstd: off, types: [text/html] }"));
    assert_eq!(coding(&ask(&weir, "/html/5000", ALL), 5000).as_deref(), Some("br"));
    assert_eq!(coding(&ask(&weir, "/html/5000", "zstd"), 5000), None);
    weir.reload(&file(&origin, "compress: { zstd: off, brotli: off, types: [text/html] }"));
    assert_eq!(coding(&ask(&weir, "/html/1024", ALL), 1024).as_deref(), Some("gzip"));
    assert_eq!(coding(&ask(&weir, "/html/1023", ALL), 1023), None);
    weir.reload(&file(&origin, "compress: { gzip: off, types: [text/html] }"));
    assert_eq!(coding(&ask(&weir, "/html/5000", "gzip"), 5000), None);
}

#[test]
fn a_higher_level_makes_a_smaller_answer() {
    let origin = origin(plain_text);
    for (accepted, key, low, high) in [("gzip", "gzip", 1, 9), ("br", "brotli", 1, 9), ("zstd", "zstd", 1, 15)] {
        let weir = Weir::start(&file(&origin, &format!("compress: {{ {key}: {low} }}")));
        let size = || {
            let answer = ask(&weir, "/x/100000", accepted);
            assert_eq!(coding(&answer, 100_000).as_deref(), Some(accepted));
            answer.body.len()
        };
        let large = size();
        weir.reload(&file(&origin, &format!("compress: {{ {key}: {high} }}")));
        assert!(size() < large, "{key}: {large}");
    }
}

#[test]
fn what_nobody_may_change_stays_as_it_is() {
    let origin = origin(|name| match name {
        "encoded" => "Content-Type: text/plain\nContent-Encoding: gzip",
        "part" => "206|Content-Type: text/plain\nContent-Range: bytes 0-1999/5000",
        "no-transform" => "Content-Type: text/plain\nCache-Control: max-age=5, No-Transform",
        "digest" => "Content-Type: text/plain\nRepr-Digest: sha-256=:AAAA:",
        "events" => "Content-Type: text/event-stream",
        "none" => "204|Content-Type: text/plain",
        "known" => "Content-Type: text/plain\nVary: accept-encoding\nAccept-Ranges: bytes",
        _ => "404|Content-Type: text/plain",
    });
    let weir = Weir::start(&file(&origin, "compress"));
    for (target, encoding, vary) in [
        ("/encoded", Some("gzip"), None),
        ("/part", None, Some("Accept-Encoding")),
        ("/no-transform", None, None),
        ("/digest", None, None),
        ("/events", None, None),
        ("/none", None, None),
        ("/missing", Some("zstd"), Some("Accept-Encoding")),
        ("/known", Some("zstd"), Some("accept-encoding")),
    ] {
        let answer = ask(&weir, target, ALL);
        assert_eq!((answer.header("content-encoding"), answer.header("vary")), (encoding, vary), "{target}");
        assert_eq!(
            answer.header("content-length").is_some(),
            encoding != Some("zstd") && target != "/none",
            "{target}"
        );
        assert_eq!(answer.header("accept-ranges"), None, "{target}");
    }
    let mut old = weir.connect();
    old.write(format!("GET /known HTTP/1.0\r\nHost: a.test\r\nAccept-Encoding: {ALL}\r\n\r\n"));
    let answer = old.read_response();
    assert_eq!((coding(&answer, 2000), answer.header("accept-ranges")), (None, Some("bytes")));
}

#[test]
fn the_validators_of_what_was_compressed_are_weak_and_still_find_it() {
    let origin = origin(|name| match name {
        "weak" => "Content-Type: text/plain\nETag: W/\"w\"",
        "odd" => "Content-Type: text/plain\nETag: odd",
        _ => "Content-Type: text/plain\nETag: \"s\"\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT",
    });
    let weir = Weir::start(&file(&origin, "compress"));
    for (target, accepted, etag) in [
        ("/strong", ALL, Some("W/\"s\"")),
        ("/strong", "", Some("\"s\"")),
        ("/strong/10", ALL, Some("\"s\"")),
        ("/weak", ALL, Some("W/\"w\"")),
        ("/odd", ALL, None),
        ("/odd", "", Some("odd")),
    ] {
        let answer = ask(&weir, target, accepted);
        assert_eq!((answer.status, answer.header("etag")), (200, etag), "{target} {accepted}");
    }
    assert!(ask(&weir, "/strong", ALL).header("last-modified").is_some());
    // What the client asks about is what it is told of.
    for (asked, etag, vary) in [
        ("W/\"s\"", "W/\"s\"", Some("Accept-Encoding")),
        ("\"s\"", "\"s\"", None),
        ("\"x\", W/\"s\"", "W/\"s\"", Some("Accept-Encoding")),
    ] {
        let answer =
            weir.request("GET", "/strong").header("If-None-Match", asked).header("Accept-Encoding", ALL).send();
        assert_eq!((answer.status, answer.header("etag"), answer.header("vary")), (304, Some(etag), vary), "{asked}");
        assert_eq!(origin.last_request().header("if-none-match"), Some(asked));
    }
}

#[test]
fn head_is_answered_as_get() {
    let origin = origin(|_| "Content-Type: text/plain\nETag: \"s\"\nAccept-Ranges: bytes");
    let weir = Weir::start(&file(&origin, "compress"));
    let head = |method: &str| {
        let answer = weir.request(method, "/").header("Accept-Encoding", "br").send();
        let names = ["content-encoding", "vary", "etag", "accept-ranges", "content-length"];
        names.map(|name| answer.header(name).map(str::to_owned))
    };
    assert_eq!(head("HEAD"), head("GET"));
    assert_eq!(head("HEAD")[0].as_deref(), Some("br"));
}

/// Sends pieces as it is told to, in chunks.
fn streaming_origin() -> (Origin, std::sync::mpsc::Sender<&'static str>) {
    let (release, pieces) = channel::<&'static str>();
    let pieces = Arc::new(Mutex::new(pieces));
    let origin = Origin::start(move |request| {
        let kind = if request.target == "/events" { "text/event-stream" } else { "text/plain" };
        let pieces = pieces.clone();
        Answer::drive(move |stream| {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n");
            stream.write_all(head.as_bytes()).expect("weir reads");
            let pieces = pieces.lock().expect("no panic while held");
            while let Ok(piece) = pieces.recv_timeout(LIMIT) {
                let end = if piece == "end" { "0\r\n\r\n".into() } else { format!("{:x}\r\n{piece}\r\n", piece.len()) };
                stream.write_all(end.as_bytes()).expect("weir reads");
                if piece == "end" {
                    return;
                }
            }
        })
    });
    (origin, release)
}

/// Reads chunks until what they hold together says this.
fn read_until_decoded(client: &mut Connection, coding: &str, read: &mut Vec<u8>, expected: &str) {
    while decoded_so_far(coding, read) != expected.as_bytes() {
        let (size, data) = client.read_chunk();
        assert!(size > 0, "the stream ended with {:?}", decoded_so_far(coding, read));
        read.extend_from_slice(&data);
    }
}

#[test]
fn a_stream_arrives_piece_by_piece_in_every_coding() {
    for (target, filter, coding) in [
        ("/", "compress", "gzip"),
        ("/", "compress", "br"),
        ("/", "compress", "zstd"),
        ("/events", "compress: { types: [text/event-stream] }", "zstd"),
    ] {
        let (origin, release) = streaming_origin();
        let weir = Weir::start(&file(&origin, filter));
        let mut client = weir.connect();
        client.write(format!("GET {target} HTTP/1.1\r\nHost: a.test\r\nAccept-Encoding: {coding}\r\n\r\n"));
        let head = client.read_head().expect("the head comes before any piece");
        assert_eq!(head.header("content-encoding"), Some(coding));
        let (mut read, mut sent) = (Vec::new(), String::new());
        for piece in ["one", "two and a half", "three"] {
            // The next piece does not exist yet while this one is read.
            release.send(piece).expect("the origin runs");
            sent.push_str(piece);
            read_until_decoded(&mut client, coding, &mut read, &sent);
        }
        release.send("end").expect("the origin runs");
        while let (1.., data) = client.read_chunk() {
            read.extend_from_slice(&data);
        }
        assert_eq!(decoded(coding, &read), sent.as_bytes());
    }
}

#[test]
fn a_stream_arrives_piece_by_piece_on_http2() {
    let (origin, release) = streaming_origin();
    let weir = Weir::start(&file(&origin, "compress"));
    let mut client = H2Client::plain(weir.http);
    let mut stream = client.open_stream("GET", "a.test", "/", &[("accept-encoding", "gzip")]);
    stream.finish();
    assert_eq!(stream.header("content-encoding").as_deref(), Some("gzip"));
    assert_eq!(stream.header("transfer-encoding"), None);
    let (mut read, mut sent) = (Vec::new(), String::new());
    for piece in ["one", "two", "three"] {
        release.send(piece).expect("the origin runs");
        sent.push_str(piece);
        while decoded_so_far("gzip", &read) != sent.as_bytes() {
            read.extend_from_slice(&stream.receive().expect("more"));
        }
    }
    release.send("end").expect("the origin runs");
    while let Some(piece) = stream.receive() {
        read.extend_from_slice(&piece);
    }
    assert_eq!(decoded("gzip", &read), sent.as_bytes());
}

#[test]
fn what_an_http2_upstream_sends_is_compressed_too() {
    let service = H2Origin::plain();
    let filter = "compress: { types: [text/plain, application/grpc], min-size: 1B }";
    let yaml = |filters: &str| {
        let yaml = Weir::forwarding_to(&[service.address], "protocol: http2");
        yaml.replace("    routes:", &format!("    filters: [ {filters} ]\n    routes:"))
    };
    let weir = Weir::start(&yaml(filter));
    let message = support::grpc_message(b"ping");
    let ask = |method: &str, path: &str| {
        let headers = [("accept-encoding", "zstd"), ("te", "trailers")];
        let body = (method == "POST").then(|| message.clone());
        H2Client::plain(weir.http).send(method, "a.test", path, &headers, body)
    };
    // gRPC compresses its messages itself, and ends in trailers.
    let call = ask("POST", "/echo.Echo/Repeat");
    assert_eq!((call.header("content-encoding"), call.trailer("grpc-status")), (None, Some("0")));
    weir.reload(&yaml(&format!("{filter}, headers: {{ response: {{ set: {{ Content-Type: text/plain }} }} }}")));
    let plain = ask("GET", "/hello");
    assert_eq!(plain.header("content-encoding"), Some("zstd"));
    assert_eq!(decoded("zstd", &plain.body), b"h2 GET /hello");
    // Trailers that nobody announced end what was compressed all the same.
    let call = ask("POST", "/echo.Echo/Repeat");
    assert_eq!(call.header("content-encoding"), Some("zstd"));
    assert_eq!(decoded("zstd", &call.body), message.repeat(10));
}

#[test]
fn what_weir_says_itself_is_compressed_with_its_length() {
    let yaml = format!(
        "hosts:\n  - names: [\"*\"]\n    filters: [ compress: {{ min-size: 20B }} ]\n    routes:\n\
         \x20     - {{ path: /, respond: {{ headers: {{ Content-Type: text/plain, ETag: '\"own\"' }}, body: \"{}\" }} }}\n\
         \x20     - {{ path: /closed, respond: {{}}, filters: [ deny: [127.0.0.0/8] ] }}\n",
        "own words ".repeat(200)
    );
    let weir = Weir::start(&yaml);
    for (accepted, method) in [("gzip", "GET"), ("br", "GET"), ("zstd", "HEAD")] {
        let answer = weir.request(method, "/").header("Accept-Encoding", accepted).send();
        assert_eq!((answer.header("content-encoding"), answer.header("etag")), (Some(accepted), Some("W/\"own\"")));
        assert_eq!(answer.header("transfer-encoding"), None);
        let length: usize = answer.header("content-length").expect("a length").parse().unwrap();
        assert!(length < 200);
        if method == "GET" {
            assert_eq!(decoded(accepted, &answer.body), "own words ".repeat(200).as_bytes());
        }
    }
    let closed = ask(&weir, "/closed", "gzip");
    assert_eq!((closed.status, closed.header("content-encoding")), (403, Some("gzip")));
    assert!(String::from_utf8_lossy(&decoded("gzip", &closed.body)).contains("403"));
}

#[test]
fn what_the_cache_keeps_is_compressed_for_each_client_anew() {
    let origin = origin(|_| "Content-Type: text/plain\nETag: \"s\"\nCache-Control: max-age=60");
    let weir = Weir::start(&file(&origin, "cache: {}, compress"));
    for (accepted, expected) in
        [("gzip", Some("gzip")), ("", None), ("br", Some("br")), ("zstd", Some("zstd")), ("gzip", Some("gzip"))]
    {
        for target in ["/x/5000", "/x/900000"] {
            let answer = ask(&weir, target, accepted);
            let size = target.rsplit('/').next().and_then(|size| size.parse().ok()).expect("a size");
            assert_eq!(coding(&answer, size).as_deref(), expected, "{target} {accepted}");
            assert_eq!(answer.header("vary"), Some("Accept-Encoding"), "{target} {accepted}");
            let etag = answer.header("etag").expect("a validator").to_owned();
            assert_eq!(etag, if expected.is_some() { "W/\"s\"" } else { "\"s\"" }, "{target} {accepted}");
            let known = weir.request("GET", target).header("Accept-Encoding", accepted).header("If-None-Match", &etag);
            let known = known.send();
            assert_eq!((known.status, known.header("etag")), (304, Some(&*etag)), "{target} {accepted}");
        }
    }
    assert_eq!(origin.request_count(), 2);
}

#[test]
fn a_page_in_the_place_of_the_upstreams_error_is_compressed_with_its_length() {
    let origin = origin(|_| "500|Content-Type: text/plain");
    let page = "we are sorry ".repeat(200);
    let pages = "error-pages: { intercept: true, pages: [{ status: 5xx, text: sorry.txt }] }";
    let weir = Weir::start_with(&file(&origin, &format!("{pages}, compress")), &[("sorry.txt", &page)]);
    let mut connection = weir.connect();
    for _ in 0..2 {
        connection.write("GET /x/50000 HTTP/1.1\r\nHost: a.test\r\nAccept-Encoding: gzip\r\n\r\n");
        let answer = connection.read_response();
        assert_eq!((answer.status, answer.header("content-encoding")), (500, Some("gzip")));
        assert_eq!(decoded("gzip", &answer.body), page.as_bytes());
        assert_eq!(answer.header("content-length"), Some(&*answer.body.len().to_string()));
    }
}

#[test]
fn websockets_pass_through() {
    let origin = WebSocketOrigin::start();
    let yaml =
        Weir::forwarding_to(&[origin.address], "").replace("    routes:", "    filters: [ compress ]\n    routes:");
    let weir = Weir::start(&yaml);
    WebSocket::open(weir.http, "chat.test", "/").assert_echoes("hello");
}

#[test]
fn a_large_answer_is_whole_and_counted() {
    let origin = origin(plain_text);
    let weir = Weir::start(&file(&origin, "compress"));
    let mut connection = weir.connect();
    for coding in ["gzip", "br", "zstd"] {
        // On one connection: each answer ends where the next begins.
        connection.write(format!("GET /x/3000000 HTTP/1.1\r\nHost: a.test\r\nAccept-Encoding: {coding}\r\n\r\n"));
        let answer = connection.read_response();
        assert_eq!(self::coding(&answer, 3_000_000).as_deref(), Some(coding));
        assert!(answer.body.len() < 1_000_000, "{}", answer.body.len());
        let name = if coding == "br" { "brotli" } else { coding };
        let label = format!("coding=\"{name}\"");
        let value = |family| weir.metric(family, &[&label]);
        support::eventually("the answer is counted", || value("weir_compressed_responses_total").filter(|n| *n == 1.0));
        assert_eq!(value("weir_compression_input_bytes_total"), Some(3_000_000.0));
        assert_eq!(value("weir_compression_output_bytes_total"), Some(answer.body.len() as f64));
    }
    assert_eq!(weir.metric("weir_compressed_responses_total", &[]), Some(3.0));
}

#[test]
fn curl_reads_it() {
    let origin = origin(plain_text);
    let weir = Weir::start(&file(&origin, "compress"));
    let url = format!("http://{}/x/50000", weir.http);
    for arguments in [&["--compressed"][..], &["--compressed", "--http2-prior-knowledge"]] {
        let answer = curl(&[arguments, &[&url]].concat());
        assert!(answer.success && answer.body == text(50_000), "{}", answer.errors);
    }
    assert!(weir.metric("weir_compressed_responses_total", &[]) >= Some(2.0));
}

#[test]
fn nothing_is_compressed_without_the_filter_and_explain_says_what_it_would_do() {
    let origin = origin(plain_text);
    let weir = Weir::start(&file(&origin, "security-headers"));
    let answer = ask(&weir, "/", ALL);
    assert_eq!((coding(&answer, 2000), answer.header("vary")), (None, None));
    assert_eq!(request(weir.http, "GET", "/").send().header("content-length"), Some("2000"));
    weir.write(&file(&origin, "compress: { min-size: 3KiB }"));
    for (accepted, words) in [
        ("Accept-Encoding: gzip", "note      compress: gzip from 3KiB on, where the type is listed"),
        ("Accept: x", "note      compress: the client takes none of the codings that are on"),
    ] {
        let command = ["GET", "http://a.test/", "-H", accepted];
        let output = weir_command().arg("explain").arg(weir.file()).args(command).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("filter    compress of the host") && text.contains(words), "{text}");
    }
}
