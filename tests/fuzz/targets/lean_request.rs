//! Any bytes as a request head in the lean lane: what it takes says to it what it says to a reader that knows nothing but lines.
#![no_main]
#![allow(dead_code)]

use libfuzzer_sys::fuzz_target;

#[path = "../lean.rs"]
mod lean;

#[path = "../../../src/proxy/head.rs"]
mod head;

#[path = "../../../src/proxy/chunks.rs"]
mod chunks;

#[path = "../../../src/proxy/fields.rs"]
mod fields;

#[path = "../../../src/proxy/span.rs"]
mod span;

mod proxy {
    pub use weir::proxy::filters;

    pub(crate) use crate::{chunks, fields, head, span};
}

mod snapshot {
    pub use weir::snapshot::request;
}

use head::Body;
use lean::head::{After, Head};
use snapshot::request::HeaderFields;

fuzz_target!(|bytes: &[u8]| {
    let Some(end) = head::end_of_head(bytes, 0) else { return };
    let bytes = &bytes[..end];
    let Ok(inspected) = head::inspect(bytes) else { return };
    let Some(head) = Head::of(bytes, &inspected) else { return };
    let lines = lines(bytes);
    let (first, fields) = (lines[0], &lines[1..]);
    assert_eq!(first, format!("{} {} HTTP/1.1", head.method, head.target).as_bytes(), "the request line");
    assert!(head.target.starts_with('/'));
    let read = head.fields.iter().map(|field| (field.name.in_bytes(bytes), field.value.in_bytes(bytes)));
    let read: Vec<(&[u8], &[u8])> = read.collect();
    let told: Vec<(&[u8], &[u8])> = fields.iter().map(|line| field(line)).collect();
    assert_eq!(read, told, "the fields");
    let values = |name: &str| {
        let mut values = Vec::new();
        head.each(name, &mut |value| values.push(value.to_vec()));
        values
    };
    assert_eq!(values("host").len(), 1);
    assert!(values("expect").is_empty() && values("cookie").len() <= 1, "the full lane's");
    let options = values("connection").join(&b","[..]).to_ascii_lowercase();
    let options: Vec<&[u8]> = options.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|one| !one.is_empty()).collect();
    assert!(options.iter().all(|option| [&b"close"[..], b"keep-alive"].contains(option)), "others are the full lane's");
    assert_eq!(head.after == After::Close, options.contains(&&b"close"[..]));
    let (lengths, codings) = (values("content-length").len(), values("transfer-encoding").len());
    match inspected.body {
        Body::None | Body::Upgrade => assert_eq!(codings, 0),
        Body::Length(_) => assert_eq!((lengths, codings), (1, 0)),
        Body::Chunked => assert_eq!((lengths, codings), (0, 1)),
    }
});

fn lines(head: &[u8]) -> Vec<&[u8]> {
    let text = head.strip_suffix(b"\r\n\r\n").expect("inspected heads end so");
    let mut lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    lines.iter_mut().for_each(|line| *line = line.strip_suffix(b"\r").unwrap_or(line));
    lines
}

fn field(line: &[u8]) -> (&[u8], &[u8]) {
    let colon = line.iter().position(|byte| *byte == b':').expect("inspected fields have one");
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let value = &line[colon + 1..];
    let begin = value.iter().position(|byte| !is_space(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_space(byte)).map_or(begin, |last| last + 1);
    (&line[..colon], &value[begin..end])
}
