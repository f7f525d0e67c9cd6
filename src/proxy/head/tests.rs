use super::*;

fn read(head: &[u8]) -> Result<Body, (u16, &'static str)> {
    assert_eq!(end_of_head(head, 0), Some(head.len()), "the example is one whole head");
    inspect(head).map(|head| head.body).map_err(|refusal| (refusal.status, refusal.reason))
}

#[test]
fn the_body_is_where_the_head_says() {
    assert_eq!(read(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(Body::None));
    assert_eq!(read(b"GET / HTTP/1.0\r\n\r\n"), Ok(Body::None));
    assert_eq!(read(b"POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 12 \r\n\r\n"), Ok(Body::Length(12)));
    assert_eq!(read(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"), Ok(Body::Chunked));
    let upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(read(upgrade), Ok(Body::Upgrade));
    assert_eq!(read(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n"), Ok(Body::None));
    assert_eq!(read(b"GET /\"{a}\"?`{b}` HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(Body::None));
    assert_eq!(read("GET /\u{e9}?\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n".as_bytes()), Ok(Body::None));
    assert_eq!(read(b"GET http://A/x HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(Body::None));
}

#[test]
fn the_host_is_spelt_as_an_absolute_target_spells_it() {
    for (target, host, spelt) in
        [("http://A.Test:80/a", "a.test:80", "A.Test:80"), ("/a", "a.test", "a.test"), ("*", "a", "a")]
    {
        let mut bytes = format!("OPTIONS {target} HTTP/1.1\r\nX: 1\r\nHOST:  {host}\r\n\r\n").into_bytes();
        let head = inspect(&bytes).unwrap();
        spell_host_as_the_target_does(&mut bytes, &head);
        let written = String::from_utf8(bytes).unwrap();
        assert_eq!(written, format!("OPTIONS {target} HTTP/1.1\r\nX: 1\r\nHOST:  {spelt}\r\n\r\n"));
    }
}

#[test]
fn what_two_parsers_could_read_differently_is_refused() {
    let cases: [(&[u8], u16, &str); 33] = [
        (b"GET /<a> HTTP/1.1\r\nHost: a\r\n\r\n", 400, "percent-encoded"),
        (b"GET /` HTTP/1.1\r\nHost: a\r\n\r\n", 400, "percent-encoded"),
        (b"GET /?a=\"b\" HTTP/1.1\r\nHost: a\r\n\r\n", 400, "percent-encoded"),
        (b"GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "percent-encoded"),
        (b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "different hosts"),
        (b"GET http: HTTP/1.1\r\nHost: a\r\n\r\n", 400, "no URL"),
        (b"GET http:///a HTTP/1.1\r\nHost: \r\n\r\n", 400, "no URL"),
        (b"GET http://a\\b/ HTTP/1.1\r\nHost: a\\b\r\n\r\n", 400, "no URL"),
        (b"GET http://me@a/ HTTP/1.1\r\nHost: me@a\r\n\r\n", 400, "no URL"),
        (b"GET / HTTP/1.1\r\nHost: me@a\r\n\r\n", 400, "user name"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX_Forwarded_For: 1\r\n\r\n", 400, "pass for one"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent_Length: 1\r\n\r\n", 400, "pass for one"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\n\r\n", 400, "pass for one"),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400, "carriage return"),
        (b"GET / HTTP/1.1\r\nHost: a\n\r\n", 400, "carriage return"),
        (b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400, "HTTP version"),
        (b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "control bytes"),
        (b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "not a token"),
        (b"GET /\r\n\r\n", 400, "three parts"),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505, "version"),
        (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405, "TRACE"),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405, "CONNECT"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "no Host"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "two Host"),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, "not a token"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", 400, "folded"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n", 400, "control bytes"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400, "two Content-Length"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400, "not a number"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 010\r\n\r\n", 400, "octal"),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
            "both Content-Length",
        ),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 400, "Transfer-Encoding"),
        (b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "HTTP/1.0"),
    ];
    for (head, status, reason) in cases {
        let refused = read(head).expect_err(&String::from_utf8_lossy(head));
        assert_eq!(refused.0, status, "{}", String::from_utf8_lossy(head));
        assert!(refused.1.contains(reason), "{} does not say {reason}", refused.1);
    }
}

#[test]
fn a_chunked_body_that_begins_wrong_is_seen_at_once() {
    for good in [&b""[..], b"5", b"5\r", b"5\r\nhello", b"5;x=y\r\n", b"ffffffffffffffff\r\n"] {
        assert!(begins_a_chunk(good), "{}", String::from_utf8_lossy(good));
    }
    for wrong in [&b"xyz\r\n"[..], b"5\nhello", b"-1\r\n", b"\r\n", b"fffffffffffffffff\r\n"] {
        assert!(!begins_a_chunk(wrong), "{}", String::from_utf8_lossy(wrong));
    }
}

#[test]
fn a_head_is_found_in_whatever_pieces_it_comes() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
    let whole = head.len() - 4;
    for cut in 1..whole {
        assert_eq!(end_of_head(&head[..cut], 0), None);
        assert_eq!(end_of_head(head, cut), Some(whole));
    }
}
