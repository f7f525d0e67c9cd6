//! `mirror` on the wire: what a shadow sees, that nobody waits for it, and what is counted.

mod support;

use std::time::{Duration, Instant};

use support::{Answer, H2Client, Origin, Received, Weir, eventually, holds_for, request};

/// Everything goes to `origin`, and copies to `shadow`.
fn file(origin: &Origin, shadow: &str, keys: &str) -> String {
    format!(
        "upstreams:\n  origin: {{ endpoints: [\"{}\"] }}\n  shadow: {{ endpoints: [\"{shadow}\"] }}\n\
         hosts:\n  - names: [\"*\"]\n    routes:\n      - path: /\n        upstream: origin\n        \
         filters: [ {{ mirror: {{ upstream: shadow{keys} }} }} ]\n",
        origin.address
    )
}

fn mirrored(origin: &Origin, shadow: &Origin, keys: &str) -> Weir {
    Weir::start(&file(origin, &shadow.address.to_string(), keys))
}

/// Without a period that is a power of two.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n % 251) as u8).collect()
}

fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let chunk = |piece: &[u8]| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
    body.chunks(size).flat_map(chunk).chain(*b"0\r\n\r\n").collect()
}

fn count(weir: &Weir, outcome: &str) -> u64 {
    weir.metric("weir_mirror_requests_total", &[&format!("outcome=\"{outcome}\"")]).unwrap_or(0.0) as u64
}

#[track_caller]
fn wait_for_count(weir: &Weir, outcome: &str, wanted: u64) {
    eventually(&format!("{wanted} copies {outcome}"), || (count(weir, outcome) >= wanted).then_some(()));
    assert_eq!(count(weir, outcome), wanted, "{outcome}");
}

/// Method, target, fields in order, body.
type Seen = (String, String, Vec<(String, String)>, Vec<u8>);

fn seen(request: &Received) -> Seen {
    let Received { method, target, headers, body, .. } = request.clone();
    (method, target, headers, body)
}

#[test]
fn the_shadow_sees_what_the_upstream_sees() {
    let (origin, shadow) = (Origin::named("origin"), Origin::named("shadow"));
    let weir = Weir::start(&format!(
        "upstreams:\n  origin: {{ endpoints: [\"{}\"] }}\n  shadow: {{ endpoints: [\"{}\"] }}\n\
         forwarded: true\n\
         hosts:\n  - names: [\"*\"]\n    filters:\n      - mirror: {{ upstream: shadow }}\n      \
         - headers: {{ request: {{ set: {{ X-Set: \"${{path}} ${{upstream}}\" }}, remove: [X-Gone] }} }}\n    \
         routes:\n      - {{ path: /api, upstream: origin, rewrite: {{ prefix: /v2, host: inner.test }} }}\n      \
         - {{ path: /, upstream: origin }}\n",
        origin.address, shadow.address
    ));
    let mut client = weir.connect();
    let requests: [&[u8]; 9] = [
        b"GET /api/x?y=%2f&z HTTP/1.1\r\nHost: a.test\r\nX-Gone: 1\r\nCookie: a=b\r\nCookie: c=d\r\n\r\n",
        b"GET http://abs.test/%7Ea?q HTTP/1.1\r\nHost: abs.test\r\n\r\n",
        b"POST /p HTTP/1.1\r\nHost: a.test:81\r\nContent-Length: 5\r\nConnection: x-mine, close-not\r\nX-Mine: 1\r\n\r\nhello",
        b"PUT /p HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        b"DELETE /p HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n",
        b"OPTIONS /p HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 9.9.9.9\r\nX-Real-Ip: 9.9.9.9\r\nForwarded: for=x\r\n\r\n",
        b"PURGE /p HTTP/1.1\r\nHost: a.test\r\nProxy-Connection: x\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\n\r\n",
        b"POST /p HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /p HTTP/1.1\r\nHost: a.test\r\nExpect: nothing\r\n\r\n",
    ];
    for (n, bytes) in requests.iter().enumerate() {
        client.write(bytes);
        let answer = client.read_response();
        assert_eq!((answer.status, answer.text().as_str()), (200, "origin"), "{}", String::from_utf8_lossy(bytes));
        shadow.wait_for_requests(n + 1);
        assert_eq!(seen(&shadow.last_request()), seen(&origin.last_request()), "{}", String::from_utf8_lossy(bytes));
    }
    assert_eq!(shadow.received()[0].target, "/v2/x?y=%2f&z");
    assert_eq!(shadow.received()[0].header("x-set"), Some("/api/x origin"));
    wait_for_count(&weir, "answered", 9);
    assert_eq!([count(&weir, "failed"), count(&weir, "abandoned"), count(&weir, "skipped")], [0; 3]);
}
