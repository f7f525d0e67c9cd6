//! A byte (where it is cut) and any bytes as a chunked body: content and end do not depend on the pieces, and what goes out reads the same.
#![no_main]
#![allow(dead_code)]

use libfuzzer_sys::fuzz_target;

#[path = "../../../src/proxy/lean/body.rs"]
mod body;

#[path = "../../../src/proxy/chunks.rs"]
mod chunks;

#[path = "../../../src/proxy/fields.rs"]
mod fields;

#[path = "../../../src/proxy/head.rs"]
mod head;

#[path = "../../../src/proxy/span.rs"]
mod span;

mod proxy {
    pub(crate) use crate::chunks;
}

use body::{Framing, Incoming, Outgoing};
use proxy::chunks::{BadChunks, Piece};

fuzz_target!(|bytes: &[u8]| {
    let Some((cut, bytes)) = bytes.split_first() else { return };
    let whole = read(bytes, bytes.len());
    let step = 1 + usize::from(*cut) % 16;
    let mut out = Vec::new();
    match (&whole, read(bytes, step)) {
        (Ok(whole), Ok(pieces)) => assert_eq!(*whole, pieces, "in pieces of {step}"),
        (Err(BadChunks), Err(BadChunks)) => return,
        (one, other) => panic!("whole {one:?}, in pieces of {step} {other:?}"),
    }
    let Ok(Body { content, is_whole, .. }) = whole else { return };
    if let Some(reference) = reference(bytes) {
        assert!(!is_whole || content == reference, "what a plain reader finds in it");
    }
    Outgoing::InChunks.put(&mut out, &content);
    Outgoing::InChunks.end(&mut out);
    let again = read(&out, out.len()).expect("what Weir writes are chunks");
    assert_eq!((again.content, again.taken, again.is_whole), (content, out.len(), true));
});

#[derive(Debug, Default, PartialEq)]
struct Body {
    content: Vec<u8>,
    taken: usize,
    is_whole: bool,
}

fn read(bytes: &[u8], step: usize) -> Result<Body, BadChunks> {
    let (mut incoming, mut body, mut end) = (Incoming::new(Framing::Chunked), Body::default(), 0);
    while end < bytes.len() && !incoming.is_whole() {
        end = (end + step).min(bytes.len());
        while body.taken < end && !incoming.is_whole() {
            body.taken += match incoming.next(&bytes[body.taken..end])? {
                Piece::Framing(length) => length,
                Piece::Content(length) => {
                    body.content.extend_from_slice(&bytes[body.taken..body.taken + length]);
                    length
                }
            };
        }
    }
    body.is_whole = incoming.is_whole();
    assert_eq!(incoming.content, body.content.len() as u64);
    Ok(body)
}

/// A reader that knows sizes alone: split off lines, take what they say.
fn reference(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let line = bytes.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&bytes[..line]).ok()?.split([';', ' ', '\t']).next()?;
        let size = usize::from_str_radix(size, 16).ok()?;
        bytes = &bytes[line + 2..];
        if size == 0 {
            return Some(content);
        }
        content.extend_from_slice(bytes.get(..size)?);
        bytes = bytes.get(size..)?.strip_prefix(b"\r\n")?;
    }
}
