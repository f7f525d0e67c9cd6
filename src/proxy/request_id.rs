//! A name for each request, for `X-Request-ID`, error pages and logs: 32 hexadecimal digits, as nginx's `$request_id`.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

thread_local! {
    static STATE: Cell<[u64; 2]> = Cell::new(seed());
}

#[derive(Clone, Copy)]
pub struct RequestId([u8; 32]);

impl RequestId {
    /// Unique, not secret: xoroshiro128+ seeded from the system's randomness per thread.
    pub fn generate() -> Self {
        let words = [next(), next()];
        let mut text = [0; 32];
        for (digit, at) in text.iter_mut().zip(0..) {
            let nibble = (words[at / 16] >> (at % 16 * 4)) & 15;
            *digit = b"0123456789abcdef"[nibble as usize];
        }
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

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
}
