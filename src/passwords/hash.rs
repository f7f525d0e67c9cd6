//! One password, hashed.
//!
//! ```text
//! "$2y$…" "$apr1$…" "{SHA}…" "{SSHA}…" ──parse──► PasswordHash ──verify(password)──► yes or no
//! ```

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::apr1;

/// Two seconds of a core: whoever asks twice as much asks for an outage.
const HIGHEST_BCRYPT_COST: u32 = 15;
const SHA1_LENGTH: usize = 20;

#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    text: Box<str>,
    kind: Kind,
}

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    /// Its text is read anew for each check, which costs nothing beside it.
    Bcrypt {
        cost: u32,
    },
    Apr1 {
        salt: Box<[u8]>,
        hash: Box<[u8]>,
    },
    /// The salt is empty for `{SHA}`.
    Sha1 {
        digest: [u8; SHA1_LENGTH],
        salt: Box<[u8]>,
    },
}

/// What is wrong with a hash, and what to do; it never holds the hash.
#[derive(Debug, PartialEq, Eq)]
pub struct Unusable {
    pub message: String,
    pub help: &'static str,
}

const WRITE_ANEW: &str = "write it anew with: htpasswd -B FILE USER";

impl PasswordHash {
    pub fn parse(text: &str) -> Result<Self, Unusable> {
        let kind = if text.starts_with("$2") {
            bcrypt(text)?
        } else if let Some(rest) = text.strip_prefix("$apr1$") {
            apr1(rest)?
        } else if let Some(rest) = text.strip_prefix("{SHA}") {
            sha1(rest, Salt::None)?
        } else if let Some(rest) = text.strip_prefix("{SSHA}") {
            sha1(rest, Salt::Follows)?
        } else {
            return Err(unknown(text));
        };
        Ok(Self { text: text.into(), kind })
    }

    /// Compares in constant time.
    pub fn verify(&self, password: &[u8]) -> bool {
        match &self.kind {
            Kind::Bcrypt { .. } => bcrypt::verify(password, &self.text).unwrap_or(false),
            Kind::Apr1 { salt, hash } => verify_slices_are_equal(&apr1::hash(password, salt), hash).is_ok(),
            Kind::Sha1 { digest, salt } => {
                let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
                context.update(password);
                context.update(salt);
                verify_slices_are_equal(context.finish().as_ref(), digest).is_ok()
            }
        }
    }

    /// Orders hashes by what a check costs.
    pub fn cost(&self) -> u32 {
        match &self.kind {
            Kind::Sha1 { .. } => 0,
            Kind::Apr1 { .. } => 1,
            Kind::Bcrypt { cost } => *cost,
        }
    }

    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

fn bcrypt(text: &str) -> Result<Kind, Unusable> {
    let is_version = ["$2a$", "$2b$", "$2y$"].iter().any(|version| text.starts_with(version));
    let parts = bcrypt::HashParts::from_str(text).ok().filter(|_| is_version && text.len() == 60);
    let Some(parts) = parts else {
        return Err(malformed("bcrypt"));
    };
    match parts.get_cost() {
        cost @ 4..=HIGHEST_BCRYPT_COST => Ok(Kind::Bcrypt { cost }),
        cost => Err(Unusable {
            message: format!(
                "a bcrypt cost of {cost} is not between 4 and {HIGHEST_BCRYPT_COST}: each check would take too long, or too little"
            ),
            help: "write it anew with: htpasswd -B -C 10 FILE USER",
        }),
    }
}

fn apr1(rest: &str) -> Result<Kind, Unusable> {
    let (salt, hash) = rest.split_once('$').ok_or_else(|| malformed("apr1"))?;
    match hash.len() == apr1::LENGTH && hash.bytes().all(apr1::is_digit) && !salt.is_empty() {
        true => {
            let salt = salt.as_bytes();
            Ok(Kind::Apr1 { salt: salt[..salt.len().min(apr1::LONGEST_SALT)].into(), hash: hash.as_bytes().into() })
        }
        false => Err(malformed("apr1")),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Salt {
    None,
    Follows,
}

fn sha1(rest: &str, follows: Salt) -> Result<Kind, Unusable> {
    let bytes = STANDARD.decode(rest).unwrap_or_default();
    match bytes.split_first_chunk::<SHA1_LENGTH>() {
        Some((digest, salt)) if salt.is_empty() == (follows == Salt::None) => {
            Ok(Kind::Sha1 { digest: *digest, salt: salt.into() })
        }
        Some(_) | None => Err(malformed("SHA-1")),
    }
}

fn malformed(kind: &str) -> Unusable {
    Unusable { message: format!("what stands there is not a whole {kind} hash"), help: WRITE_ANEW }
}

/// Says which of those it is that other servers read, or that it may be none at all.
fn unknown(text: &str) -> Unusable {
    const CRYPT_LENGTH: usize = 13;
    let message = if ["$1$", "$5$", "$6$", "{CRYPT}", "{crypt}", "$y$"].iter().any(|prefix| text.starts_with(prefix)) {
        "the password is hashed by the system's crypt, which Weir does not have"
    } else if text.len() == CRYPT_LENGTH && text.bytes().all(apr1::is_digit) {
        "the password is hashed by the old crypt, which reads its first eight characters and is guessed within hours"
    } else if text.is_empty() {
        "there is no password, which would let in whoever knows the name"
    } else {
        "what stands there is no hash of bcrypt, apr1, {SHA} or {SSHA}; a password itself is never read"
    };
    Unusable { message: message.into(), help: WRITE_ANEW }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `secret`, as Apache's htpasswd and OpenSSL write them.
    const OF_SECRET: [&str; 4] = [
        "$2b$04$abcdefghijklmnopqrstuuTBjkwbyNUgfJ1gjx0FwrcgDUwu5qq4q",
        "$apr1$abcdefgh$",
        "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
        "{SSHA}",
    ];

    fn hash(text: &str) -> PasswordHash {
        PasswordHash::parse(text).unwrap_or_else(|unusable| panic!("{text}: {unusable:?}"))
    }

    fn salted() -> String {
        let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
        context.update(b"secretsalt");
        let bytes = [context.finish().as_ref(), b"salt"].concat();
        format!("{}{}", OF_SECRET[3], STANDARD.encode(bytes))
    }

    #[test]
    fn each_kind_knows_its_password_and_no_other() {
        let bcrypt = bcrypt::hash_with_salt("secret", 4, [7; 16]).unwrap();
        let apr1 = format!("{}{}", OF_SECRET[1], String::from_utf8_lossy(&apr1::hash(b"secret", b"abcdefgh")));
        let mut kinds = vec![apr1, OF_SECRET[2].into(), salted()];
        kinds.extend(
            [bcrypt::Version::TwoA, bcrypt::Version::TwoB, bcrypt::Version::TwoY].map(|v| bcrypt.format_for_version(v)),
        );
        for text in kinds {
            let hash = hash(&text);
            assert!(hash.verify(b"secret"), "{text}");
            for wrong in [&b"Secret"[..], b"secre", b"secret ", b""] {
                assert!(!hash.verify(wrong), "{text} takes {wrong:?}");
            }
            assert!(!format!("{hash:?}").contains(&text[5..]), "it shows itself");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named_without_being_shown() {
        for (text, words) in [
            ("rqXexS6ZhobKA", "old crypt"),
            ("$1$abcdefgh$aaaaaaaaaaaaaaaaaaaaaa", "system's crypt"),
            ("$6$salt$hash", "system's crypt"),
            ("{PLAIN}secret", "never read"),
            ("secret", "never read"),
            ("", "no password"),
            ("$2y$10$short", "not a whole bcrypt hash"),
            ("$2x$04$abcdefghijklmnopqrstuuTBjkwbyNUgfJ1gjx0FwrcgDUwu5qq4q", "not a whole bcrypt hash"),
            ("$2b$20$abcdefghijklmnopqrstuuTBjkwbyNUgfJ1gjx0FwrcgDUwu5qq4q", "cost of 20"),
            ("$apr1$abc", "not a whole apr1 hash"),
            ("$apr1$abcdefgh$tooshort", "not a whole apr1 hash"),
            ("{SHA}AAAA", "not a whole SHA-1 hash"),
            ("{SSHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "not a whole SHA-1 hash"),
        ] {
            let unusable = PasswordHash::parse(text).expect_err(text);
            assert!(unusable.message.contains(words), "{text}: {}", unusable.message);
            assert!(text.len() < 5 || !unusable.message.contains(text), "{text} is shown");
        }
        assert_eq!(hash(OF_SECRET[0]).cost(), 4);
    }
}
