//! A request head as it stands in the buffer.
//!
//! ```text
//! bytes (inspected) ──► Head { target, host, fields } ──► RequestView, by borrowing
//! ```
//!
//! Heads that ask for more than an answer to a plain GET are not read: they are the full lane's.

use std::mem::MaybeUninit;

use httparse::{Header, Request, Status};

use crate::snapshot::request::HeaderFields;

/// A head with more fields is the full lane's.
const MOST_FIELDS: usize = 48;

pub type Room<'a> = [MaybeUninit<Header<'a>>; MOST_FIELDS];

pub fn room<'a>() -> Room<'a> {
    [MaybeUninit::uninit(); MOST_FIELDS]
}

pub struct Head<'a> {
    /// Path and query, as they came.
    pub target: &'a str,
    fields: &'a [Header<'a>],
}

impl<'a> Head<'a> {
    pub fn parse(bytes: &'a [u8], room: &'a mut Room<'a>) -> Option<Self> {
        let mut request = Request::new(&mut []);
        let Ok(Status::Complete(_)) = request.parse_with_uninit_headers(bytes, room) else { return None };
        let (Some("GET"), Some(target), Some(1)) = (request.method, request.path, request.version) else { return None };
        let mut cookies = 0;
        let is_plain = request.headers.iter().all(|field| match field.name.len() {
            2 => !field.name.eq_ignore_ascii_case("te"),
            6 if field.name.eq_ignore_ascii_case("expect") => false,
            6 if field.name.eq_ignore_ascii_case("cookie") => {
                cookies += 1;
                cookies == 1
            }
            6 => !field.name.eq_ignore_ascii_case("pragma"),
            7 => !field.name.eq_ignore_ascii_case("upgrade"),
            10 if field.name.eq_ignore_ascii_case("connection") => field.value.eq_ignore_ascii_case(b"keep-alive"),
            13 => !field.name.eq_ignore_ascii_case("cache-control"),
            14 => !field.name.eq_ignore_ascii_case("content-length"),
            17 => !field.name.eq_ignore_ascii_case("transfer-encoding"),
            _ => true,
        });
        (is_plain && target.starts_with('/')).then_some(Self { target, fields: request.headers })
    }

    pub fn host(&self) -> &'a [u8] {
        self.find("host").unwrap_or_default()
    }

    pub fn find(&self, name: &str) -> Option<&'a [u8]> {
        self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }
}

impl HeaderFields for Head<'_> {
    fn first(&self, name: &str) -> Option<&[u8]> {
        self.find(name)
    }

    fn each(&self, name: &str, each: &mut dyn FnMut(&[u8])) {
        let named = self.fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        named.for_each(|field| each(field.value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(fields: &str) -> Option<String> {
        let text = format!("GET /a?b HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n");
        Head::parse(text.as_bytes(), &mut room()).map(|head| head.target.to_owned())
    }

    #[test]
    fn a_plain_get_is_read_by_borrowing() {
        let text = "GET /a HTTP/1.1\r\nhost: a.test\r\nX: 1\r\nx:  2 \r\n\r\n";
        let mut room = room();
        let head = Head::parse(text.as_bytes(), &mut room).unwrap();
        assert_eq!((head.target, head.host(), head.first("x")), ("/a", &b"a.test"[..], Some(&b"1"[..])));
        let mut all = Vec::new();
        head.each("x", &mut |value| all.push(value.to_vec()));
        assert_eq!(all, [b"1", b"2"]);
    }

    #[test]
    fn what_asks_for_more_is_left_to_the_full_lane() {
        for plain in ["", "Cookie: a=1\r\n", "Connection: Keep-Alive\r\n", "Accept: */*\r\n"] {
            assert_eq!(target(plain).as_deref(), Some("/a?b"), "{plain}");
        }
        for more in [
            "Expect: 100-continue\r\n",
            "Connection: close\r\n",
            "Cookie: a=1\r\nCookie: b=2\r\n",
            "Content-Length: 0\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Upgrade: websocket\r\n",
            "Cache-Control: no-cache\r\n",
            "Pragma: no-cache\r\n",
            "TE: trailers\r\n",
            &"X: 1\r\n".repeat(MOST_FIELDS),
        ] {
            assert_eq!(target(more), None, "{more}");
        }
        for line in ["HEAD / HTTP/1.1", "GET / HTTP/1.0", "GET http://a.test/ HTTP/1.1", "POST / HTTP/1.1"] {
            let text = format!("{line}\r\nHost: a.test\r\n\r\n");
            assert!(Head::parse(text.as_bytes(), &mut room()).is_none(), "{line}");
        }
    }
}
