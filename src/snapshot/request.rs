//! A request as routing and checks see it: borrowed, and the same from either lane (and, later, HTTP/3).

use std::borrow::Cow;
use std::net::IpAddr;

use crate::model::Scheme;
use crate::tokens::Claims;

/// Header fields, whoever holds them: a header map in the full lane, raw bytes in the lean lane.
pub trait HeaderFields: Sync {
    /// The first value of the field; `name` is lowercase.
    fn first(&self, name: &str) -> Option<&[u8]>;

    /// Calls `each` with every value of the field, in order; `name` is lowercase.
    fn each(&self, name: &str, each: &mut dyn FnMut(&[u8]));

    /// What the request's token says, as one text; none before one was verified.
    fn claim(&self, _name: &str) -> Option<Cow<'_, str>> {
        None
    }
}

/// The fields of a request whose token was verified.
pub struct WithClaims<'a> {
    pub fields: &'a dyn HeaderFields,
    pub claims: &'a Claims,
}

impl HeaderFields for WithClaims<'_> {
    fn first(&self, name: &str) -> Option<&[u8]> {
        self.fields.first(name)
    }

    fn each(&self, name: &str, each: &mut dyn FnMut(&[u8])) {
        self.fields.each(name, each);
    }

    fn claim(&self, name: &str) -> Option<Cow<'_, str>> {
        self.claims.text(name)
    }
}

impl HeaderFields for http::HeaderMap {
    fn first(&self, name: &str) -> Option<&[u8]> {
        self.get(name).map(http::HeaderValue::as_bytes)
    }

    fn each(&self, name: &str, each: &mut dyn FnMut(&[u8])) {
        self.get_all(name).iter().for_each(|value| each(value.as_bytes()));
    }
}

/// What a request is matched and checked by.
#[derive(Clone, Copy)]
pub struct RequestView<'a> {
    pub method: &'a str,
    /// Normalized: percent-decoded, dot segments resolved, slashes merged. Begins with a slash.
    pub path: &'a str,
    /// Raw, without the question mark.
    pub query: Option<&'a str>,
    /// Lowercase, without port and trailing dot; empty where the request names none.
    pub host: &'a str,
    /// That the request names beside the host.
    pub port: Option<u16>,
    pub headers: &'a dyn HeaderFields,
    /// As decided by the PROXY protocol and the trusted proxies.
    pub client: IpAddr,
    /// As the client used it: `X-Forwarded-Proto` counts when a trusted proxy sent it.
    pub scheme: Scheme,
}

impl RequestView<'_> {
    /// The value of a cookie, as it was sent.
    pub fn cookie(&self, name: &str) -> Option<&[u8]> {
        // HTTP/2 may split the field into pieces of whole pairs (RFC 9113 §8.2.3); the full lane joins them.
        cookie_in(self.headers.first("cookie")?, name)
    }

    /// Path and query.
    pub fn uri(&self) -> Cow<'_, str> {
        match self.query {
            None => Cow::Borrowed(self.path),
            Some(query) => Cow::Owned(format!("{}?{query}", self.path)),
        }
    }

    /// The first value of a query parameter, as it was sent (not percent-decoded). `a` alone has the empty value.
    pub fn query_parameter(&self, name: &str) -> Option<&str> {
        self.query?.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then_some(value)
        })
    }
}

fn cookie_in<'a>(field: &'a [u8], name: &str) -> Option<&'a [u8]> {
    field.split(|b| *b == b';').find_map(|pair| {
        let pair = pair.trim_ascii();
        let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_and_query_parameters_are_found_by_whole_name() {
        let mut headers = http::HeaderMap::new();
        headers.insert("cookie", "ab=1; b=2".parse().unwrap());
        let view = RequestView {
            method: "GET",
            path: "/",
            query: Some("xa=1&a=2&flag"),
            host: "",
            port: None,
            headers: &headers,
            client: IpAddr::from([127, 0, 0, 1]),
            scheme: Scheme::Http,
        };
        assert_eq!(view.cookie("b"), Some(&b"2"[..]));
        assert_eq!(view.cookie("c"), None);
        assert_eq!(view.query_parameter("a"), Some("2"));
        assert_eq!(view.query_parameter("flag"), Some(""));
    }
}
