//! The fields of a head that is on its way: where they stand in what came, and what was set in between.
//!
//! ```text
//! head that was read ──► Fields ──edits (the same as in the full lane)──► one buffer
//! ```

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, AGE, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, DATE, HOST, SERVER,
    SET_COOKIE, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::proxy::filters::{FieldValue, Head, ResponseHead};
use crate::proxy::span::{Field, Span};
use crate::snapshot::request::HeaderFields;

/// Most heads have no more, with what is set on their way.
const USUAL: usize = 24;

/// What is set of most heads, in bytes.
const USUAL_TEXT: usize = 384;

pub struct Fields<'a> {
    /// The head as it came.
    head: &'a [u8],
    /// Lines that were set in between, as they are written.
    text: Vec<u8>,
    list: Vec<Entry>,
    /// A bit for each length that names have: most that are asked for are not there, and no name need be compared.
    lengths: u64,
    spelling: Spelling,
}

#[derive(Clone, Copy)]
struct Entry {
    field: Field,
    origin: Origin,
}

/// Whose bytes a field refers to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Head,
    Text,
}

/// How names are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// As to upstreams, from either lane.
    Lowercase,
    /// As the upstream spelt them; what Weir sets, as Pingora does.
    Kept,
}

impl<'a> Fields<'a> {
    pub fn new(head: &'a [u8], spelling: Spelling) -> Self {
        Self { head, text: Vec::with_capacity(USUAL_TEXT), list: Vec::with_capacity(USUAL), lengths: 0, spelling }
    }

    /// One of the head.
    pub fn push(&mut self, field: Field) {
        self.put(Entry { field, origin: Origin::Head });
    }

    fn put(&mut self, entry: Entry) {
        self.lengths |= length_bit(entry.field.name.length());
        self.list.push(entry);
    }

    /// Each as a line.
    pub fn write(&self, out: &mut Vec<u8>) {
        for entry in &self.list {
            let (bytes, Field { name, value }) = (self.bytes(entry.origin), entry.field);
            let start = out.len();
            let is_plain = value.start() == name.end() + 2
                && bytes[name.end()..].starts_with(b": ")
                && bytes[value.end()..].starts_with(b"\r\n");
            if is_plain {
                out.extend_from_slice(&bytes[name.start()..value.end() + 2]);
            } else {
                write_line(out, name.in_bytes(bytes), value.in_bytes(bytes));
            }
            if self.spelling == Spelling::Lowercase {
                out[start..start + name.length()].make_ascii_lowercase();
            }
        }
    }

    /// For HTTP/2; none where one of them is no field.
    pub fn to_map(&self) -> Option<HeaderMap> {
        // One copy for all: the values are parts of it.
        let (head, text) = (Bytes::copy_from_slice(self.head), Bytes::copy_from_slice(&self.text));
        let mut map = HeaderMap::with_capacity(self.list.len());
        for Entry { field, origin } in &self.list {
            let bytes = if *origin == Origin::Head { &head } else { &text };
            let name = HeaderName::from_bytes(field.name.in_bytes(bytes)).ok()?;
            let value = HeaderValue::from_maybe_shared(bytes.slice(field.value.start()..field.value.end())).ok()?;
            map.append(name, value);
        }
        Some(map)
    }

    fn bytes(&self, origin: Origin) -> &[u8] {
        match origin {
            Origin::Head => self.head,
            Origin::Text => &self.text,
        }
    }

    fn place(&self, name: &str) -> Option<usize> {
        if self.lengths & length_bit(name.len()) == 0 {
            return None;
        }
        self.list.iter().position(|entry| self.is_named(entry, name))
    }

    fn is_named(&self, entry: &Entry, name: &str) -> bool {
        entry.field.name.in_bytes(self.bytes(entry.origin)).eq_ignore_ascii_case(name.as_bytes())
    }

    fn value(&self, entry: &Entry) -> &[u8] {
        entry.field.value.in_bytes(self.bytes(entry.origin))
    }

    /// Writes it to the text.
    fn made(&mut self, name: &HeaderName, value: &[u8]) -> Entry {
        let name = if self.spelling == Spelling::Kept { spelt(name) } else { name.as_str() };
        let start = self.text.len();
        write_line(&mut self.text, name.as_bytes(), value);
        let name = Span::new(start, start + name.len());
        let value = Span::new(name.end() + 2, name.end() + 2 + value.len());
        Entry { field: Field { name, value }, origin: Origin::Text }
    }
}

fn length_bit(length: usize) -> u64 {
    1 << (length % 64)
}

fn write_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The names that Pingora spells so where it is given no spelling.
fn spelt(name: &HeaderName) -> &str {
    match *name {
        ACCEPT_RANGES => "Accept-Ranges",
        AGE => "Age",
        CACHE_CONTROL => "Cache-Control",
        CONNECTION => "Connection",
        CONTENT_ENCODING => "Content-Encoding",
        CONTENT_LENGTH => "Content-Length",
        CONTENT_TYPE => "Content-Type",
        DATE => "Date",
        HOST => "Host",
        SERVER => "Server",
        SET_COOKIE => "Set-Cookie",
        TRANSFER_ENCODING => "Transfer-Encoding",
        _ => name.as_str(),
    }
}

impl HeaderFields for Fields<'_> {
    fn first(&self, name: &str) -> Option<&[u8]> {
        self.place(name).map(|at| self.value(&self.list[at]))
    }

    fn each(&self, name: &str, each: &mut dyn FnMut(&[u8])) {
        self.list.iter().filter(|entry| self.is_named(entry, name)).for_each(|entry| each(self.value(entry)));
    }
}

impl Head for Fields<'_> {
    fn remove(&mut self, name: &HeaderName) {
        if self.contains(name) {
            self.remove_named(&|sent| sent.eq_ignore_ascii_case(name.as_str().as_bytes()));
        }
    }

    fn set(&mut self, name: &HeaderName, value: impl FieldValue) {
        let made = self.made(name, value.text());
        let Some(at) = self.place(name.as_str()) else { return self.put(made) };
        self.list[at] = made;
        let mut after = at + 1;
        while after < self.list.len() {
            if self.is_named(&self.list[after], name.as_str()) {
                self.list.remove(after);
            } else {
                after += 1;
            }
        }
    }

    fn add(&mut self, name: &HeaderName, value: impl FieldValue) {
        let made = self.made(name, value.text());
        self.put(made);
    }

    fn remove_named(&mut self, is_unwanted: &dyn Fn(&[u8]) -> bool) {
        let Self { head, text, list, .. } = self;
        list.retain(|entry| {
            let bytes = if entry.origin == Origin::Head { *head } else { text.as_slice() };
            !is_unwanted(entry.field.name.in_bytes(bytes))
        });
    }
}

/// The fields of an answer.
pub struct ResponseFields<'a> {
    pub status: u16,
    pub reason: &'a str,
    pub fields: Fields<'a>,
}

impl HeaderFields for ResponseFields<'_> {
    fn first(&self, name: &str) -> Option<&[u8]> {
        self.fields.first(name)
    }

    fn each(&self, name: &str, each: &mut dyn FnMut(&[u8])) {
        self.fields.each(name, each);
    }
}

impl Head for ResponseFields<'_> {
    fn remove(&mut self, name: &HeaderName) {
        self.fields.remove(name);
    }

    fn set(&mut self, name: &HeaderName, value: impl FieldValue) {
        self.fields.set(name, value);
    }

    fn add(&mut self, name: &HeaderName, value: impl FieldValue) {
        self.fields.add(name, value);
    }

    fn remove_named(&mut self, is_unwanted: &dyn Fn(&[u8]) -> bool) {
        self.fields.remove_named(is_unwanted);
    }
}

impl ResponseHead for ResponseFields<'_> {
    fn status(&self) -> u16 {
        self.status
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::filters::vary_by;

    const NAMES: [HeaderName; 3] = [SERVER, SET_COOKIE, HeaderName::from_static("x-mine")];

    const SENT: [&str; 5] = ["Server", "Set-COOKIE", "x-Mine", "Other", "SET-cookie"];
    /// Written as most are, and not.
    const HEAD: &[u8] = b"Server: sent\r\nSet-COOKIE:sent\r\nx-Mine: sent \r\nOther:\tsent\r\nSET-cookie: sent\r\n\r\n";

    fn sent_field(name: &str) -> Field {
        let at = HEAD.windows(name.len()).position(|part| part == name.as_bytes()).unwrap();
        let value = at + HEAD[at..].windows(4).position(|part| part == b"sent").unwrap();
        Field { name: Span::new(at, at + name.len()), value: Span::new(value, value + 4) }
    }

    /// Does the same to both, and compares what comes of it.
    #[test]
    fn edits_come_to_the_same_as_on_a_map() {
        for seed in 0..2000_u32 {
            let (mut fields, mut map) = (Fields::new(HEAD, Spelling::Kept), HeaderMap::new());
            for (nth, sent) in SENT.into_iter().enumerate() {
                if seed >> nth & 1 == 1 {
                    fields.push(sent_field(sent));
                    map.append(HeaderName::from_bytes(sent.as_bytes()).unwrap(), HeaderValue::from_static("sent"));
                }
            }
            let mut rest = seed / 32;
            for step in 0..3 {
                let (name, value) = (&NAMES[rest as usize % 3], HeaderValue::from(step));
                match rest / 3 % 4 {
                    0 => (fields.remove(name), Head::remove(&mut map, name)),
                    1 => (fields.set(name, value.clone()), Head::set(&mut map, name, value)),
                    2 => (fields.add(name, value.clone()), Head::add(&mut map, name, value)),
                    _ => (vary_by(&mut fields, "Origin"), vary_by(&mut map, "Origin")),
                };
                rest /= 5;
            }
            for name in NAMES.iter().chain([&http::header::VARY]) {
                let all = |head: &dyn HeaderFields| {
                    let mut values = Vec::new();
                    head.each(name.as_str(), &mut |value| values.push(value.to_vec()));
                    values
                };
                assert_eq!(all(&fields), all(&map), "{seed} {name}");
            }
        }
    }

    #[test]
    fn names_are_spelt_for_whom_they_go_to() {
        let written = |spelling| {
            let mut fields = Fields::new(HEAD, spelling);
            SENT[..2].iter().for_each(|name| fields.push(sent_field(name)));
            fields.add(&DATE, "2");
            fields.add(&http::header::VARY, "3");
            let mut out = Vec::new();
            fields.write(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(Spelling::Kept), "Server: sent\r\nSet-COOKIE: sent\r\nDate: 2\r\nvary: 3\r\n");
        assert_eq!(written(Spelling::Lowercase), "server: sent\r\nset-cookie: sent\r\ndate: 2\r\nvary: 3\r\n");
    }
}
