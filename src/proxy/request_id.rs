//! A name for each request, for `X-Request-ID`, error pages and logs: 32 hexadecimal digits, as nginx's `$request_id`.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use http::HeaderValue;

use super::client_address::Through;
use super::filters::FieldValue;
use crate::model::RequestIds;

thread_local! {
    static STATE: Cell<[u64; 2]> = Cell::new(seed());
}

pub enum RequestId {
    /// The request has not arrived yet.
    None,
    Generated([u8; 32]),
    /// A trusted proxy's.
    Given(HeaderValue),
}

impl RequestId {
    /// Unique, not secret: xoroshiro128+ seeded from the system's randomness per thread.
    pub fn generate() -> Self {
        let mut text = [0; 32];
        let bytes = [next(), next()].map(u64::to_ne_bytes);
        for (digits, byte) in text.chunks_exact_mut(2).zip(bytes.as_flattened()) {
            digits.copy_from_slice(&DIGITS[usize::from(*byte)]);
        }
        Self::Generated(text)
    }

    /// What was sent by whom it is believed of, where that can be used; else a new one.
    pub fn of(ids: RequestIds, through: Through, sent: Option<&[u8]>) -> Self {
        let usable = |bytes: &&[u8]| (1..=128).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
        let is_believed = match (through, ids) {
            (Through::TrustedProxy, _) | (Through::Nobody, RequestIds::OfClients) => true,
            (Through::Nobody, RequestIds::OfTrustedProxies) => false,
        };
        let given = sent.filter(|_| is_believed).filter(usable);
        given.and_then(|bytes| HeaderValue::from_bytes(bytes).ok()).map_or_else(Self::generate, Self::Given)
    }

    pub fn as_str(&self) -> &str {
        match self {
            RequestId::None => "-",
            RequestId::Generated(text) => std::str::from_utf8(text).unwrap_or("-"),
            RequestId::Given(value) => value.to_str().unwrap_or("-"),
        }
    }

    pub fn to_header_value(&self) -> HeaderValue {
        match self {
            RequestId::None => HeaderValue::from_static("-"),
            RequestId::Generated(text) => {
                HeaderValue::from_bytes(text).unwrap_or_else(|_| HeaderValue::from_static("-"))
            }
            RequestId::Given(value) => value.clone(),
        }
    }
}

impl FieldValue for &RequestId {
    fn text(&self) -> &[u8] {
        self.as_str().as_bytes()
    }

    fn into_value(self) -> Option<HeaderValue> {
        Some(self.to_header_value())
    }
}

/// Of each byte.
const DIGITS: [[u8; 2]; 256] = {
    let digit = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [digit[byte >> 4], digit[byte & 15]];
        byte += 1;
    }
    table
};

fn seed() -> [u64; 2] {
    let random = || RandomState::new().hash_one(std::thread::current().id());
    [random() | 1, random()]
}

fn next() -> u64 {
    let [a, b] = STATE.get();
    let result = a.wrapping_add(b);
    let c = a ^ b;
    STATE.set([a.rotate_left(24) ^ c ^ (c << 16), c.rotate_left(37)]);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_hexadecimal_and_differ() {
        let ids: std::collections::HashSet<String> =
            (0..1000).map(|_| RequestId::generate().as_str().to_owned()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())));
    }

    #[test]
    fn a_given_id_is_kept_unless_it_could_not_be_written_to_a_log() {
        let given =
            |text: &str| RequestId::of(RequestIds::OfTrustedProxies, Through::TrustedProxy, Some(text.as_bytes()));
        assert_eq!(given("abc-1").as_str(), "abc-1");
        assert_eq!(given("two words").as_str().len(), 32);
        assert_eq!(given(&"x".repeat(200)).as_str().len(), 32);
        let of_anybody = |ids| RequestId::of(ids, Through::Nobody, Some(b"abc-1")).as_str().len();
        assert_eq!((of_anybody(RequestIds::OfTrustedProxies), of_anybody(RequestIds::OfClients)), (32, 5));
    }
}
