//! `$apr1$`: Apache's own thousand rounds of MD5, as `htpasswd -m` and `openssl passwd -apr1` write them.
//!
//! ```text
//! password, salt ──► MD5 of both, mixed ──1000 rounds──► 16 bytes ──► 22 characters of a base 64 of its own
//! ```
//!
//! It is Poul-Henning Kamp's crypt for FreeBSD with another name in it. No crate that is cared for has it.

use md5::{Digest, Md5};

const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ROUNDS: u32 = 1000;
const MAGIC: &[u8] = b"$apr1$";

/// Of the result.
pub const LENGTH: usize = 22;
/// Longer salts are cut to this.
pub const LONGEST_SALT: usize = 8;

pub fn is_digit(byte: u8) -> bool {
    ALPHABET.contains(&byte)
}

/// What stands after the salt.
pub fn hash(password: &[u8], salt: &[u8]) -> [u8; LENGTH] {
    let mut state = first(password, salt);
    for round in 0..ROUNDS {
        let mut digest = Md5::new();
        let is_odd = round % 2 == 1;
        digest.update(if is_odd { password } else { &state[..] });
        if round % 3 != 0 {
            digest.update(salt);
        }
        if round % 7 != 0 {
            digest.update(password);
        }
        digest.update(if is_odd { &state[..] } else { password });
        state = digest.finalize().into();
    }
    encode(&state)
}

fn first(password: &[u8], salt: &[u8]) -> [u8; 16] {
    let inner = Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut digest = Md5::new().chain_update(password).chain_update(MAGIC).chain_update(salt);
    for piece in password.chunks(inner.len()) {
        digest.update(&inner[..piece.len()]);
    }
    let mut length = password.len();
    while length > 0 {
        // Meant otherwise, and since then the definition: a zero where the bit is set, else the first character.
        digest.update(if length % 2 == 1 { &[0][..] } else { &password[..1] });
        length /= 2;
    }
    digest.finalize().into()
}

fn encode(state: &[u8; 16]) -> [u8; LENGTH] {
    let mut text = [0; LENGTH];
    let last = [0, 0, state[11]];
    let triples = (0..5).map(|i| [state[i], state[i + 6], if i == 4 { state[5] } else { state[i + 12] }]);
    for (chunk, [high, middle, low]) in text.chunks_mut(4).zip(triples.chain([last])) {
        let mut bits = u32::from(high) << 16 | u32::from(middle) << 8 | u32::from(low);
        for character in chunk {
            *character = ALPHABET[(bits & 63) as usize];
            bits >>= 6;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_hash_is_that_of_openssl_for_passwords_of_every_length() {
        let of_length = |length: usize| (0..length).map(|i| char::from(b'!' + (i * 7 % 90) as u8)).collect::<String>();
        let lengths = (0..40).chain([63, 64, 65, 100, 200]);
        let mut compared = 0;
        for (nth, password) in lengths.map(of_length).chain(["grüße".into(), "ключ: 鍵".into()]).enumerate() {
            let salt = &"saltSALT"[..1 + nth % 8];
            let output =
                Command::new("openssl").args(["passwd", "-apr1", "-salt", salt, "--", &password]).output().unwrap();
            let expected = String::from_utf8(output.stdout).unwrap();
            let ours = hash(password.as_bytes(), salt.as_bytes());
            assert_eq!(format!("$apr1${salt}${}\n", String::from_utf8_lossy(&ours)), expected, "{password}");
            compared += 1;
        }
        assert_eq!(compared, 47);
    }
}
