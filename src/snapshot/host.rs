//! A `Host` field (or `:authority`) becomes the host that routing matches on, or is refused with 400.
//!
//! ```text
//! "API.Example.org.:8443" ──► host "api.example.org" · port 8443
//! ```
//!
//! The host is lowercase, without port and trailing dot; an IPv6 address keeps its brackets and is written in
//! its canonical form, as in the model. Only what a DNS name may hold passes (and `_`): the host ends up in
//! `Location`, in `X-Forwarded-Host` and in logs. A clean one is borrowed.

use std::borrow::Cow;
use std::net::Ipv6Addr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    /// Empty where the request names none: HTTP/1.0, or an empty `Host`.
    pub host: Cow<'a, str>,
    pub port: Option<u16>,
}

/// Why a host is refused; answered 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHost {
    #[error("the host holds a user name or password (\"@\")")]
    UserInfo,
    #[error("the host holds a character that no host name has")]
    Character,
    #[error("the host has an empty label")]
    EmptyLabel,
    #[error("the host is longer than 253 characters, or a label of it longer than 63")]
    TooLong,
    #[error("the host is not an IPv6 address in brackets")]
    Ipv6,
    #[error("the port is not a number from 0 to 65535")]
    Port,
}

impl<'a> Authority<'a> {
    pub fn parse(field: &'a [u8]) -> Result<Self, BadHost> {
        let field = std::str::from_utf8(field).map_err(|_| BadHost::Character)?;
        if field.is_empty() {
            return Ok(Self { host: Cow::Borrowed(""), port: None });
        }
        if field.starts_with('[') {
            let end = field.find(']').ok_or(BadHost::Ipv6)? + 1;
            let (address, port) = field.split_at(end);
            return Ok(Self { host: canonical_ipv6(address)?, port: parse_port(port)? });
        }
        let (name, port) = field.split_at(field.find(':').unwrap_or(field.len()));
        let port = parse_port(port)?;
        let name = name.strip_suffix('.').unwrap_or(name);
        let host = match check_name(name)? {
            Case::Lower => Cow::Borrowed(name),
            Case::Mixed => Cow::Owned(name.to_ascii_lowercase()),
        };
        Ok(Self { host, port })
    }
}

/// Reads `""`, `":"` (RFC 3986 §3.2.3 allows it) or `":8080"`.
fn parse_port(text: &str) -> Result<Option<u16>, BadHost> {
    let Some(digits) = text.strip_prefix(':') else {
        return if text.is_empty() { Ok(None) } else { Err(BadHost::Character) };
    };
    if digits.contains('@') {
        return Err(BadHost::UserInfo);
    }
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadHost::Port);
    }
    if digits.is_empty() { Ok(None) } else { digits.parse().map(Some).map_err(|_| BadHost::Port) }
}

fn canonical_ipv6(bracketed: &str) -> Result<Cow<'_, str>, BadHost> {
    let inner = &bracketed[1..bracketed.len() - 1];
    let address: Ipv6Addr = inner.parse().map_err(|_| BadHost::Ipv6)?;
    // The one allocation on a clean host: addresses in brackets are too rare to deserve a formatter of their own.
    let canonical = format!("[{address}]");
    Ok(if canonical == bracketed { Cow::Borrowed(bracketed) } else { Cow::Owned(canonical) })
}

enum Case {
    Lower,
    Mixed,
}

fn check_name(name: &str) -> Result<Case, BadHost> {
    if name.len() > 253 {
        return Err(BadHost::TooLong);
    }
    let mut case = Case::Lower;
    let mut label = 0;
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => label += 1,
            b'A'..=b'Z' => {
                case = Case::Mixed;
                label += 1;
            }
            b'.' if label == 0 => return Err(BadHost::EmptyLabel),
            b'.' => label = 0,
            b'@' => return Err(BadHost::UserInfo),
            _ => return Err(BadHost::Character),
        }
        if label > 63 {
            return Err(BadHost::TooLong);
        }
    }
    if label == 0 { Err(BadHost::EmptyLabel) } else { Ok(case) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(field: &str) -> (String, Option<u16>) {
        let authority = Authority::parse(field.as_bytes()).unwrap_or_else(|error| panic!("{field}: {error}"));
        (authority.host.into_owned(), authority.port)
    }

    #[test]
    fn a_host_loses_case_port_and_one_trailing_dot() {
        assert_eq!(read("API.Example.org.:8443"), ("api.example.org".into(), Some(8443)));
        assert_eq!(read("example.org:"), ("example.org".into(), None));
        assert_eq!(read("10.0.0.1:80"), ("10.0.0.1".into(), Some(80)));
        assert_eq!(read("a_b.xn--caf-dma.test"), ("a_b.xn--caf-dma.test".into(), None));
        assert_eq!(read(""), (String::new(), None));
    }

    #[test]
    fn an_ipv6_address_keeps_its_brackets_in_canonical_form() {
        assert_eq!(read("[::1]:8080"), ("[::1]".into(), Some(8080)));
        assert_eq!(read("[2001:DB8:0:0::1]"), ("[2001:db8::1]".into(), None));
    }

    #[test]
    fn a_clean_host_is_borrowed() {
        for clean in ["a.test", "a.test:80", "a.test.", "[::1]:80", ""] {
            let authority = Authority::parse(clean.as_bytes()).unwrap();
            assert!(matches!(authority.host, Cow::Borrowed(_)), "{clean} was copied");
        }
    }

    #[test]
    fn what_is_no_host_is_refused_with_its_reason() {
        let long_label = "a".repeat(64);
        let long_name = "a.".repeat(127) + "a";
        for (field, reason) in [
            ("user@a.test", BadHost::UserInfo),
            ("user:secret@a.test", BadHost::UserInfo),
            ("a test", BadHost::Character),
            ("a\0.test", BadHost::Character),
            ("a.test\r\nx", BadHost::Character),
            ("a.test/x", BadHost::Character),
            ("a%41.test", BadHost::Character),
            ("bücher.test", BadHost::Character),
            ("*.test", BadHost::Character),
            ("a,b", BadHost::Character),
            (".", BadHost::EmptyLabel),
            (".test", BadHost::EmptyLabel),
            ("a..test", BadHost::EmptyLabel),
            ("a.test..", BadHost::EmptyLabel),
            (":80", BadHost::EmptyLabel),
            (&long_label, BadHost::TooLong),
            (&long_name, BadHost::TooLong),
            ("[::1", BadHost::Ipv6),
            ("[]", BadHost::Ipv6),
            ("[fe80::1%25eth0]", BadHost::Ipv6),
            ("[a.test]", BadHost::Ipv6),
            ("[::1]x", BadHost::Character),
            ("::1", BadHost::Port),
            ("a.test:http", BadHost::Port),
            ("a.test:+80", BadHost::Port),
            ("a.test:65536", BadHost::Port),
            ("a.test:80:80", BadHost::Port),
        ] {
            assert_eq!(Authority::parse(field.as_bytes()), Err(reason), "{field:?}");
        }
        assert_eq!(BadHost::EmptyLabel.to_string(), "the host has an empty label");
    }

    proptest! {
        #[test]
        fn a_normal_host_stays_as_it_is(field in "[a-zA-Z0-9.:_@ -]{0,20}|\\[[0-9a-fA-F:.]{0,20}\\](:[0-9]{0,5})?") {
            if let Ok(first) = Authority::parse(field.as_bytes()) {
                let again = Authority::parse(first.host.as_bytes()).unwrap();
                prop_assert_eq!(&again.host, &first.host);
                prop_assert!(matches!(again.host, Cow::Borrowed(_)));
                prop_assert_eq!(first.host.to_ascii_lowercase(), first.host);
            }
        }

        #[test]
        fn what_the_model_takes_as_a_name_is_what_a_request_for_it_gives(
            name in "([a-zA-Z0-9_-]{1,5}\\.){0,3}[a-zA-Z0-9]{1,5}\\.?|\\[[0-9a-fA-F]{0,4}(:[0-9a-fA-F]{0,4}){2,7}\\]"
        ) {
            use crate::model::HostName;
            if let Ok(HostName::Exact(expected)) = HostName::parse(&name) {
                let authority = Authority::parse(name.as_bytes()).unwrap();
                prop_assert_eq!(&*authority.host, &*expected);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Authority::parse(&bytes);
            let _ = Authority::parse(&[b"[", bytes.as_slice()].concat());
        }
    }
}
