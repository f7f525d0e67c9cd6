//! A letter (which method asked) and any bytes as an upstream's head: what is taken is written so that every reader sees the same end.
#![no_main]
#![allow(dead_code)]

use libfuzzer_sys::fuzz_target;

#[path = "../lean.rs"]
mod lean;

#[path = "../../../src/proxy/chunks.rs"]
mod chunks;

#[path = "../../../src/proxy/fields.rs"]
mod fields;

#[path = "../../../src/proxy/span.rs"]
mod span;

#[path = "../../../src/proxy/head.rs"]
mod head;

mod proxy {
    pub use weir::proxy::filters;

    pub(crate) use crate::{chunks, fields, head, span};
}

mod snapshot {
    pub use weir::snapshot::request;
}

use lean::body::Framing;
use lean::head::After;
use lean::reply::{Reply, Unread};

fuzz_target!(|bytes: &[u8]| {
    let Some((letter, bytes)) = bytes.split_first() else { return };
    let method = if letter & 1 == 1 { "HEAD" } else { "GET" };
    let Ok(reply) = Reply::parse(bytes, method) else { return };
    let (length, framing, status) = (reply.length, reply.framing, reply.status);
    assert!((1..=bytes.len()).contains(&length));
    for end in (0..length).rev().take(40) {
        assert_eq!(Reply::parse(&bytes[..end], method).err(), Some(Unread::Partial), "after {end} of {length} bytes");
    }
    let again = Reply::parse(&bytes[..length], method).ok().expect("what follows a head is not looked at");
    assert_eq!((again.length, again.framing, again.status), (length, framing, status));
    let mut written = Vec::new();
    reply.edited(|_| {}).write(&mut written, After::KeepAlive);
    check(&written, status, framing, method);
});

/// As the client reads it.
fn check(written: &[u8], status: u16, framing: Framing, method: &str) {
    let mut fields = [httparse::EMPTY_HEADER; 300];
    let mut parsed = httparse::Response::new(&mut fields);
    assert_eq!(parsed.parse(written), Ok(httparse::Status::Complete(written.len())), "one head and nothing behind it");
    assert_eq!((parsed.version, parsed.code), (Some(1), Some(status)));
    let values = |name: &str| {
        let named = parsed.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| field.value).collect::<Vec<_>>()
    };
    for hop in ["keep-alive", "proxy-connection", "trailer"] {
        assert!(values(hop).is_empty(), "{hop} is the upstream's connection's");
    }
    assert_eq!((values("connection"), values("date").len()), (vec![&b"keep-alive"[..]], 1));
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    assert!(lengths.len() + codings.len() <= 1, "one framing");
    assert!(lengths.iter().all(|length| length.iter().all(|byte| byte.is_ascii_digit() || b", ".contains(byte))));
    let bodiless = method == "HEAD" || matches!(status, 100..=199 | 204 | 304);
    match framing {
        Framing::None => assert!(bodiless),
        Framing::Length(length) => {
            let said = lengths.first().and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
            let said = said.split(',').next().unwrap_or_default().trim();
            assert_eq!(said.parse(), Ok(length), "the client knows how much comes");
        }
        Framing::Chunked | Framing::UntilTheEnd => assert_eq!(codings, [b"chunked"], "the client sees the end"),
    }
    assert!(!matches!(status, 100..=199 | 204) || codings.is_empty(), "RFC 9112 §6.1");
}
