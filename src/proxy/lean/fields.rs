//! The fields of a head that is on its way: what came, by reference, and what was set in between.
//!
//! ```text
//! parsed head ──borrowed──► Fields ──edits (the same as in the full lane)──► one buffer
//! ```

use http::header::{
    ACCEPT_RANGES, AGE, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, DATE, HOST, SERVER,
    SET_COOKIE, TRANSFER_ENCODING,
};
use http::{HeaderName, HeaderValue};

use crate::proxy::filters::{Head, ResponseHead};
use crate::snapshot::request::HeaderFields;

/// Most heads have no more, with what is set on their way.
const USUAL: usize = 24;

pub struct Fields<'a>(Vec<Field<'a>>);

struct Field<'a> {
    name: Name<'a>,
    value: Value<'a>,
}

enum Name<'a> {
    Sent(&'a str),
    Set(HeaderName),
}

enum Value<'a> {
    Sent(&'a [u8]),
    Set(HeaderValue),
}

/// How names are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// As to upstreams, from either lane.
    Lowercase,
    /// As the upstream spelt them; what Weir sets, as Pingora does.
    Kept,
}

impl Default for Fields<'_> {
    fn default() -> Self {
        // On the heap: heads are handed on by value, and that many fields are 2 KiB.
        Self(Vec::with_capacity(USUAL))
    }
}

impl<'a> Fields<'a> {
    pub fn push(&mut self, name: &'a str, value: &'a [u8]) {
        self.0.push(Field { name: Name::Sent(name), value: Value::Sent(value) });
    }

    /// Each as a line.
    pub fn write(&self, out: &mut Vec<u8>, spelling: Spelling) {
        for field in &self.0 {
            let start = out.len();
            match &field.name {
                Name::Sent(name) => out.extend_from_slice(name.as_bytes()),
                Name::Set(name) if spelling == Spelling::Kept => out.extend_from_slice(spelt(name).as_bytes()),
                Name::Set(name) => out.extend_from_slice(name.as_str().as_bytes()),
            }
            if spelling == Spelling::Lowercase {
                out[start..].make_ascii_lowercase();
            }
            out.extend_from_slice(b": ");
            out.extend_from_slice(field.value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|field| field.name.is(name))
    }
}

impl Name<'_> {
    fn as_str(&self) -> &str {
        match self {
            Name::Sent(name) => name,
            Name::Set(name) => name.as_str(),
        }
    }

    /// `name` is lowercase.
    fn is(&self, name: &str) -> bool {
        self.as_str().eq_ignore_ascii_case(name)
    }
}

impl Value<'_> {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Value::Sent(bytes) => bytes,
            Value::Set(value) => value.as_bytes(),
        }
    }
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
        self.place(name).map(|at| self.0[at].value.as_bytes())
    }

    fn each(&self, name: &str, each: &mut dyn FnMut(&[u8])) {
        self.0.iter().filter(|field| field.name.is(name)).for_each(|field| each(field.value.as_bytes()));
    }
}

impl Head for Fields<'_> {
    fn remove(&mut self, name: &HeaderName) {
        self.0.retain(|field| !field.name.is(name.as_str()));
    }

    fn set(&mut self, name: &HeaderName, value: HeaderValue) {
        let Some(at) = self.place(name.as_str()) else { return self.add(name, value) };
        self.0[at] = Field { name: Name::Set(name.clone()), value: Value::Set(value) };
        let mut after = at + 1;
        while after < self.0.len() {
            if self.0[after].name.is(name.as_str()) {
                self.0.remove(after);
            } else {
                after += 1;
            }
        }
    }

    fn add(&mut self, name: &HeaderName, value: HeaderValue) {
        self.0.push(Field { name: Name::Set(name.clone()), value: Value::Set(value) });
    }

    fn remove_named(&mut self, is_unwanted: &dyn Fn(&[u8]) -> bool) {
        self.0.retain(|field| !is_unwanted(field.name.as_str().as_bytes()));
    }
}

/// The fields of an answer.
pub struct ResponseFields<'a> {
    pub status: u16,
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

    fn set(&mut self, name: &HeaderName, value: HeaderValue) {
        self.fields.set(name, value);
    }

    fn add(&mut self, name: &HeaderName, value: HeaderValue) {
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
    use http::HeaderMap;

    use super::*;
    use crate::proxy::filters::vary_by;

    const NAMES: [HeaderName; 3] = [SERVER, SET_COOKIE, HeaderName::from_static("x-mine")];

    /// Does the same to both, and compares what comes of it.
    #[test]
    fn edits_come_to_the_same_as_on_a_map() {
        for seed in 0..2000_u32 {
            let (mut fields, mut map) = (Fields::default(), HeaderMap::new());
            for (nth, sent) in ["Server", "Set-COOKIE", "x-Mine", "Other", "SET-cookie"].into_iter().enumerate() {
                if seed >> nth & 1 == 1 {
                    fields.push(sent, b"sent");
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
        let mut fields = Fields::default();
        fields.push("X-Sent", b"1");
        fields.add(&DATE, HeaderValue::from_static("2"));
        fields.add(&http::header::VARY, HeaderValue::from_static("3"));
        let written = |spelling| {
            let mut out = Vec::new();
            fields.write(&mut out, spelling);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(Spelling::Kept), "X-Sent: 1\r\nDate: 2\r\nvary: 3\r\n");
        assert_eq!(written(Spelling::Lowercase), "x-sent: 1\r\ndate: 2\r\nvary: 3\r\n");
    }
}
