//! The same requests for the same answers through nginx with `gzip` and through Weir with `compress`: the same decisions, the same heads,
//! the same bodies once they are undone; where they differ on purpose, the reason stands here.
//!
//! ```text
//! REQUESTS × ANSWERS ──► nginx: gzip on …          ──► coding, Vary, ETag, length, ranges ──┐
//!           └──────────► Weir:  compress: { … }    ──► coding, Vary, ETag, length, ranges ──┴──► equal, or in DIFFERENCES
//! ```

mod support;

use std::net::SocketAddr;

use support::{Answer, Connection, Nginx, Origin, Received, Response, Weir, decoded};

struct Asked {
    method: &'static str,
    version: &'static str,
    /// Lines of the head.
    fields: &'static str,
}

const fn get(fields: &'static str) -> Asked {
    Asked { method: "GET", version: "1.1", fields }
}

const REQUESTS: &[Asked] = &[
    get(""),
    get("Accept-Encoding: gzip\r\n"),
    get("Accept-Encoding: gzip, deflate, br, zstd\r\n"),
    get("Accept-Encoding: deflate, gzip;q=1.0\r\n"),
    get("Accept-Encoding: br, gzip;q=0.1\r\n"),
    get("Accept-Encoding: GZip\r\n"),
    get("Accept-Encoding: gzip;q=0\r\n"),
    get("Accept-Encoding: gzip;q=0.000\r\n"),
    get("Accept-Encoding: gzip; q=0.001\r\n"),
    get("Accept-Encoding: identity\r\n"),
    get("Accept-Encoding: \r\n"),
    get("Accept-Encoding: x-gzip\r\n"),
    get("Accept-Encoding: *\r\n"),
    get("Accept-Encoding: identity, gzip;q=0.5\r\n"),
    get("Accept-Encoding: gzip;q=2\r\n"),
    get("Accept-Encoding: gzip\r\nVia: 1.1 cdn\r\n"),
    get("Accept-Encoding: gzip\r\nAuthorization: Basic eDp5\r\n"),
    get("Accept-Encoding: gzip\r\nCookie: a=b\r\n"),
    Asked { method: "POST", version: "1.1", fields: "Accept-Encoding: gzip\r\nContent-Length: 0\r\n" },
    Asked { method: "HEAD", version: "1.1", fields: "Accept-Encoding: gzip\r\n" },
    Asked { method: "HEAD", version: "1.1", fields: "" },
    Asked { method: "GET", version: "1.0", fields: "Accept-Encoding: gzip\r\n" },
];

struct Answered {
    status: u16,
    fields: &'static str,
    size: usize,
    /// Else by its length.
    chunked: bool,
}

const fn ok(fields: &'static str, size: usize) -> Answered {
    Answered { status: 200, fields, size, chunked: false }
}

const fn status(status: u16) -> Answered {
    Answered { status, fields: "Content-Type: text/html\r\n", size: 3000, chunked: false }
}

const ANSWERS: &[Answered] = &[
    ok("Content-Type: text/html\r\n", 3000),
    ok("Content-Type: text/html\r\n", 1000),
    ok("Content-Type: text/html\r\n", 999),
    ok("Content-Type: text/html\r\n", 0),
    Answered { chunked: true, ..ok("Content-Type: text/html\r\n", 10) },
    Answered { chunked: true, ..ok("Content-Type: text/css\r\n", 100_000) },
    ok("Content-Type: TEXT/HTML; charset=UTF-8\r\n", 3000),
    ok("Content-Type: application/json;charset=utf-8\r\n", 3000),
    ok("Content-Type: application/json-seq\r\n", 3000),
    ok("Content-Type: image/png\r\n", 3000),
    ok("Content-Type: text/plain\r\n", 3000),
    ok("", 3000),
    ok("Content-Type: text/html\r\nContent-Encoding: br\r\n", 3000),
    ok("Content-Type: text/html\r\nETag: \"strong\"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n", 3000),
    ok("Content-Type: text/html\r\nETag: W/\"weak\"\r\n", 3000),
    ok("Content-Type: text/html\r\nETag: odd\r\n", 3000),
    ok("Content-Type: text/html\r\nAccept-Ranges: bytes\r\n", 3000),
    ok("Content-Type: text/html\r\nVary: Origin\r\n", 3000),
    ok("Content-Type: text/html\r\nVary: Accept-Encoding, Origin\r\n", 3000),
    ok("Content-Type: text/html\r\nSet-Cookie: a=b\r\nCache-Control: private, no-store\r\n", 3000),
    ok("Content-Type: text/html\r\nCache-Control: no-transform\r\n", 3000),
    ok("Content-Type: text/html\r\nContent-Digest: sha-256=:AAAA:\r\n", 3000),
    status(201),
    status(206),
    status(301),
    status(400),
    status(403),
    status(404),
    status(500),
    status(503),
    Answered { size: 0, ..status(204) },
    Answered { size: 0, ..status(304) },
];

/// What Weir does in its own way, and why.
type Difference = (fn(&Asked, &Answered) -> bool, &'static str);

const DIFFERENCES: &[Difference] = &[
    (
        |asked, _| asked.method == "HEAD",
        "HEAD is answered with the head of GET (RFC 9110 §9.3.2); nginx leaves gzip and its Vary out of it",
    ),
    (
        |_, answered| !matches!(answered.status, 200 | 204 | 206 | 304 | 403 | 404),
        "nginx compresses 200, 403 and 404 alone; an API says as much with a 201, a 400 or a 500",
    ),
    (
        |_, answered| answered.status == 206,
        "a part is never compressed, but it depends on Accept-Encoding all the same: without it there would have been no parts",
    ),
    (
        |_, answered| answered.fields.contains("no-transform"),
        "Cache-Control: no-transform forbids it (RFC 9111 §5.2.2.6); nginx does not look",
    ),
    (
        |_, answered| answered.fields.contains("Content-Digest"),
        "a digest would not be that of the bytes any more (RFC 9530); nginx does not look",
    ),
    (
        |_, answered| answered.fields.contains("Vary: Accept-Encoding"),
        "what is said already is not said again; nginx adds a second field",
    ),
    (
        |asked, _| asked.fields.contains("Encoding: *"),
        "`*` is any coding (RFC 9110 §12.5.3); nginx looks for the word gzip",
    ),
    (|asked, _| asked.fields.contains("x-gzip"), "x-gzip is gzip (RFC 9110 §8.4.1.3); nginx looks for the word gzip"),
    (
        |asked, _| asked.fields.contains("identity, gzip;q=0.5"),
        "the client says that it likes the bare content better (RFC 9110 §12.5.3); nginx takes any weight but 0 for a yes",
    ),
];

fn number(target: &str) -> usize {
    target.trim_start_matches('/').parse().unwrap_or(0)
}

fn text(size: usize) -> String {
    "the same words again and again, ".chars().cycle().take(size).collect()
}

fn origin() -> Origin {
    Origin::start(|request: &Received| {
        let answered = &ANSWERS[number(&request.target)];
        let body = text(answered.size);
        let has_none = request.method == "HEAD" || matches!(answered.status, 204 | 304);
        let framing = match answered.chunked {
            _ if matches!(answered.status, 204 | 304) => String::new(),
            true => "Transfer-Encoding: chunked\r\n".into(),
            false => format!("Content-Length: {}\r\n", body.len()),
        };
        let body = match answered.chunked {
            _ if has_none => String::new(),
            true => format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
            false => body,
        };
        let (status, fields) = (answered.status, answered.fields);
        Answer::Send(format!("HTTP/1.1 {status} Scripted\r\n{fields}{framing}\r\n{body}").into_bytes())
    })
}

fn ask(to: SocketAddr, asked: &Asked, number: usize) -> Response {
    let mut connection = Connection::open(to);
    let Asked { method, version, fields } = asked;
    connection.write(format!("{method} /{number} HTTP/{version}\r\nHost: a.test\r\n{fields}Connection: close\r\n\r\n"));
    connection.read_response_to(method)
}

/// What is compared of an answer.
fn seen(asked: &Asked, answered: &Answered, response: &Response) -> Vec<(&'static str, String)> {
    let names = ["content-encoding", "vary", "etag", "last-modified", "accept-ranges", "content-type", "set-cookie"];
    let of = |name: &&'static str| {
        let mut values = response.headers(name);
        values.sort_unstable();
        (*name, values.join(" | "))
    };
    let mut seen: Vec<_> = names.iter().map(of).collect();
    seen.push(("status", response.status.to_string()));
    seen.push(("has a length", response.header("content-length").is_some().to_string()));
    let has_body = asked.method != "HEAD" && !matches!(answered.status, 204 | 304);
    let body = match response.header("content-encoding") {
        Some("gzip") if has_body => decoded("gzip", &response.body),
        _ => response.body.clone(),
    };
    seen.push(("body", (!has_body || body == text(answered.size).as_bytes()).to_string()));
    seen
}

#[test]
fn nginx_decides_the_same_with_gzip() {
    let origin = origin();
    let nginx = Nginx::start(&format!(
        "gzip on; gzip_comp_level 5; gzip_types text/css application/json; gzip_min_length 1000; gzip_vary on;
         gzip_http_version 1.1; gzip_proxied any;
         location / {{ proxy_pass http://{}; proxy_http_version 1.1; proxy_set_header Connection ''; }}",
        origin.address
    ));
    let filter = "compress: { gzip: 5, brotli: off, zstd: off, types: [text/html, text/css, application/json], min-size: 1000B }";
    let yaml = Weir::forwarding_to(&[origin.address], "");
    let weir = Weir::start(&yaml.replace("    routes:", &format!("    filters: [ {filter} ]\n    routes:")));

    let (mut same, mut used, mut unexplained) = (0, [0; DIFFERENCES.len()], Vec::new());
    for asked in REQUESTS {
        for (number, answered) in ANSWERS.iter().enumerate() {
            let [theirs, ours] = [nginx.address, weir.http].map(|to| seen(asked, answered, &ask(to, asked, number)));
            assert_eq!(ours.last(), Some(&("body", "true".into())), "{} {}", asked.fields, answered.fields);
            if theirs == ours {
                same += 1;
                continue;
            }
            match DIFFERENCES.iter().position(|(is_meant, _)| is_meant(asked, answered)) {
                Some(at) => used[at] += 1,
                None => {
                    let differ: Vec<_> = theirs.iter().zip(&ours).filter(|(theirs, ours)| theirs != ours).collect();
                    let what = (asked.method, asked.version, asked.fields, answered.status, answered.fields);
                    unexplained.push(format!("{what:?}, {} bytes: {differ:?}", answered.size));
                }
            }
        }
    }
    assert!(unexplained.is_empty(), "{} differ:\n{}", unexplained.len(), unexplained.join("\n"));
    for ((_, why), used) in DIFFERENCES.iter().zip(used) {
        assert!(used > 0, "they do not differ: {why}");
    }
    assert!(same >= 464, "only {same} answers were the same");
}
