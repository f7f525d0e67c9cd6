//! Byte-level mutations: what no dictionary thinks of.

use super::random::Random;

/// Bytes that mean something to somebody.
const TELLING: &[u8] = b"\r\n :;,\t\0/\\?#%\"=.-_0f\x7f\x80\xff";

/// Changes one to three places, most of them near the beginning, where the head is.
pub fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..1 + random.below(3) {
        if bytes.is_empty() {
            return;
        }
        let reach = if random.percent(80) { bytes.len().min(400) } else { bytes.len() };
        let at = random.below(reach);
        match random.below(7) {
            0 => bytes[at] = random.byte(),
            1 => bytes[at] = random.pick(TELLING),
            2 => bytes.insert(at, random.pick(TELLING)),
            3 => drop(bytes.remove(at)),
            4 => bytes[at] ^= 1 << random.below(8),
            5 => {
                let end = (at + 1 + random.below(30)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            _ => {
                let end = (at + 1 + random.below(12)).min(bytes.len());
                bytes.drain(at..end);
            }
        }
    }
}
