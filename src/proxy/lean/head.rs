//! A request head as it stands in the buffer.
//!
//! ```text
//! bytes (inspected) ──► Head { method, target, fields, after } ──► RequestView, by borrowing
//! ```
//!
//! Heads that ask for what the lane does not do are not read: they are the full lane's.

use crate::proxy::head::{self, Version};
use crate::proxy::span::Field;
use crate::snapshot::request::HeaderFields;

pub struct Head<'a> {
    pub bytes: &'a [u8],
    pub method: &'a str,
    /// Path and query, as they came.
    pub target: &'a str,
    pub fields: &'a [Field],
    pub after: After,
}

/// What the client wants of its connection when it has the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    KeepAlive,
    Close,
}

impl<'a> Head<'a> {
    /// `inspected`: what was read of the bytes.
    pub fn of(bytes: &'a [u8], inspected: &'a head::Head) -> Option<Self> {
        if inspected.version != Version::Http11 {
            return None;
        }
        let (mut cookies, mut after) = (0, After::KeepAlive);
        for field in &inspected.fields {
            let name = field.name.in_bytes(bytes);
            match name.len() {
                6 if name.eq_ignore_ascii_case(b"expect") => return None,
                6 if name.eq_ignore_ascii_case(b"cookie") => cookies += 1,
                10 if name.eq_ignore_ascii_case(b"connection") => after = after.heed(field.value.in_bytes(bytes))?,
                _ => {}
            }
        }
        let method = str::from_utf8(inspected.method.in_bytes(bytes)).ok()?;
        let target = str::from_utf8(inspected.target.in_bytes(bytes)).ok()?;
        // Pieces of one field have to be joined.
        let is_plain = cookies <= 1 && target.starts_with('/');
        is_plain.then_some(Self { bytes, method, target, fields: &inspected.fields, after })
    }

    pub fn host(&self) -> &'a [u8] {
        self.find("host").unwrap_or_default()
    }

    pub fn find(&self, name: &str) -> Option<&'a [u8]> {
        self.named(name).next()
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let (bytes, fields) = (self.bytes, self.fields);
        let is = move |field: &&Field| field.name.in_bytes(bytes).eq_ignore_ascii_case(name.as_bytes());
        fields.iter().filter(is).map(move |field| field.value.in_bytes(bytes))
    }

    /// Whether something that is kept is as good as what the upstream would send.
    pub fn takes_what_is_kept(&self) -> bool {
        self.method == "GET" && ["cache-control", "pragma"].iter().all(|name| self.find(name).is_none())
    }
}

impl After {
    /// None where other fields are named: they have to be taken out.
    fn heed(self, options: &[u8]) -> Option<Self> {
        options.split(|b| *b == b',').map(<[u8]>::trim_ascii).try_fold(self, |after, option| {
            if option.eq_ignore_ascii_case(b"close") {
                return Some(After::Close);
            }
            (option.is_empty() || option.eq_ignore_ascii_case(b"keep-alive")).then_some(after)
        })
    }
}

impl HeaderFields for Head<'_> {
    fn first(&self, name: &str) -> Option<&[u8]> {
        self.find(name)
    }

    fn each(&self, name: &str, each: &mut dyn FnMut(&[u8])) {
        self.named(name).for_each(each);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &str) -> Option<(String, After, bool)> {
        let text = format!("GET /a?b HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n");
        let inspected = head::inspect(text.as_bytes()).unwrap();
        let head = Head::of(text.as_bytes(), &inspected)?;
        Some((head.target.to_owned(), head.after, head.takes_what_is_kept()))
    }

    #[test]
    fn a_plain_head_is_read_by_borrowing() {
        let text = b"PUT /a HTTP/1.1\r\nhost: a.test\r\nX: 1\r\nx:  2 \r\n\r\n";
        let inspected = head::inspect(text).unwrap();
        let head = Head::of(text, &inspected).unwrap();
        assert_eq!((head.method, head.target, head.host()), ("PUT", "/a", &b"a.test"[..]));
        assert_eq!(head.first("x"), Some(&b"1"[..]));
        let mut all = Vec::new();
        head.each("x", &mut |value| all.push(value.to_vec()));
        assert_eq!(all, [b"1", b"2"]);
    }

    #[test]
    fn what_the_client_wants_afterwards_is_heeded() {
        for (fields, after) in [
            ("", After::KeepAlive),
            ("Connection: Keep-Alive\r\n", After::KeepAlive),
            ("Connection: close\r\n", After::Close),
            ("Connection: keep-alive, Close\r\n", After::Close),
            ("Connection: close\r\nConnection: keep-alive\r\n", After::Close),
        ] {
            assert_eq!(read(fields).unwrap().1, after, "{fields}");
        }
    }

    #[test]
    fn what_asks_for_more_is_left_to_the_full_lane() {
        for more in ["Expect: 100-continue\r\n", "Connection: close, X-Mine\r\n", "Cookie: a=1\r\nCookie: b=2\r\n"] {
            assert_eq!(read(more), None, "{more}");
        }
        for line in ["GET / HTTP/1.0", "GET http://a.test/ HTTP/1.1", "OPTIONS * HTTP/1.1"] {
            let text = format!("{line}\r\nHost: a.test\r\n\r\n");
            let inspected = head::inspect(text.as_bytes()).unwrap();
            assert!(Head::of(text.as_bytes(), &inspected).is_none(), "{line}");
        }
    }

    #[test]
    fn who_wants_it_fresh_gets_nothing_that_is_kept() {
        assert!(read("Cookie: a=1\r\n").unwrap().2);
        assert!(!read("Cache-Control: no-cache\r\n").unwrap().2);
        assert!(!read("Pragma: no-cache\r\n").unwrap().2);
    }
}
