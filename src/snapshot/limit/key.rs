//! What a request is counted under: one number for all parts of the key.
//!
//! ```text
//! RequestView ──client, host, path, header, cookie──► SipHash with a seed of its own ──► u64
//! ```
//!
//! Clients choose most of this: the hash must be one whose collisions they cannot find.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;

use crate::model::{Counted, Ipv6Prefix, LimitKey};
use crate::snapshot::request::RequestView;

/// Of one limit, whatever else it may be.
#[derive(Debug)]
pub(super) struct Keys {
    parts: Vec<LimitKey>,
    prefix: Ipv6Prefix,
    seed: RandomState,
}

impl Keys {
    pub fn new(counted: &Counted) -> Self {
        Self { parts: counted.key.clone(), prefix: counted.ipv6_prefix, seed: RandomState::new() }
    }

    /// Whether these count the same requests together.
    pub fn are_of(&self, counted: &Counted) -> bool {
        self.parts == counted.key && self.prefix == counted.ipv6_prefix
    }

    /// None where the request has nothing of the key, as nginx leaves out what has an empty one. Of several parts one may be
    /// missing: else a client could leave a header out to be counted nowhere.
    pub fn of(&self, request: &RequestView<'_>) -> Option<u64> {
        let mut hasher = self.seed.build_hasher();
        let mut is_empty = true;
        for part in &self.parts {
            let value: &[u8] = match part {
                LimitKey::ClientIp => {
                    hasher.write_u128(self.client(request.client));
                    is_empty = false;
                    continue;
                }
                LimitKey::Host => request.host.as_bytes(),
                LimitKey::Path => request.path.as_bytes(),
                LimitKey::Header(name) => request.headers.first(name).unwrap_or_default(),
                LimitKey::Cookie(name) => request.cookie(name).unwrap_or_default(),
            };
            is_empty &= value.is_empty();
            // With its length: "ab", "c" is another key than "a", "bc".
            hasher.write_usize(value.len());
            hasher.write(value);
        }
        (!is_empty).then(|| hasher.finish())
    }

    /// IPv4 addresses stand where IPv6 has those that are mapped, which no client has.
    fn client(&self, address: IpAddr) -> u128 {
        match address {
            IpAddr::V4(address) => u128::from(address.to_ipv6_mapped()),
            IpAddr::V6(address) => match address.to_ipv4_mapped() {
                Some(_) => u128::from(address),
                None => u128::from(address) & self.prefix.mask(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::model::Scheme;

    fn keys(parts: &[LimitKey]) -> Keys {
        Keys::new(&Counted { key: parts.to_vec(), ipv6_prefix: Ipv6Prefix::new(64), allow: Vec::new() })
    }

    fn from<'a>(client: &str, headers: &'a HeaderMap) -> RequestView<'a> {
        RequestView {
            method: "GET",
            path: "/a",
            query: None,
            host: "a.test",
            port: None,
            headers,
            client: client.parse().unwrap(),
            scheme: Scheme::Http,
        }
    }

    #[test]
    fn ipv6_clients_are_told_apart_by_their_network() {
        let (keys, headers) = (keys(&[LimitKey::ClientIp]), HeaderMap::new());
        let key = |client: &str| keys.of(&from(client, &headers));
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
    }

    #[test]
    fn only_a_request_without_any_part_is_not_counted() {
        let mut headers = HeaderMap::new();
        let alone = keys(&[LimitKey::Header("x-key".into())]);
        let both = keys(&[LimitKey::ClientIp, LimitKey::Cookie("id".into())]);
        assert_eq!(alone.of(&from("192.0.2.1", &headers)), None);
        let without = both.of(&from("192.0.2.1", &headers));
        assert!(without.is_some());
        headers.insert("cookie", "id=5".parse().unwrap());
        headers.insert("x-key", "".parse().unwrap());
        assert_ne!(both.of(&from("192.0.2.1", &headers)), without);
        assert_eq!(alone.of(&from("192.0.2.1", &headers)), None);
        headers.insert("x-key", "1".parse().unwrap());
        assert!(alone.of(&from("192.0.2.1", &headers)).is_some());
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let keys = keys(&[LimitKey::Header("a".into()), LimitKey::Header("b".into())]);
        let key = |a: &str, b: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("a", a.parse().unwrap());
            headers.insert("b", b.parse().unwrap());
            keys.of(&from("192.0.2.1", &headers))
        };
        assert_ne!(key("ab", "c"), key("a", "bc"));
        assert_eq!(key("ab", "c"), key("ab", "c"));
    }
}
