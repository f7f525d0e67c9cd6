//! Keys that signatures are verified with, each bound to the algorithms of its kind.
//!
//! ```text
//! { "keys": [ { kty, kid, alg, use, n, e | crv, x, y } ] } ──► KeySet      a key that cannot be used is left out, and counted
//! ```

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::hmac;
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{self, ParsedPublicKey, RsaParameters, VerificationAlgorithm};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::model::JwtAlgorithm;

/// No issuer shows more; each is looked at for a token that names none.
const MOST_KEYS: usize = 64;
/// Of a token that names no key, so many are tried.
const MOST_TRIED: usize = 8;
/// RFC 7518 §3.2: no shorter than the hash.
pub const SHORTEST_SECRET: usize = 32;

pub struct KeySet {
    keys: Vec<Key>,
    /// Those of the text that cannot be used here.
    pub left_out: usize,
    /// No two sets have the same.
    pub id: u64,
}

struct Key {
    id: Option<Box<str>>,
    verifiers: Vec<(JwtAlgorithm, Verifier)>,
    /// What it was made from: two keys of the same are the same.
    origin: Box<[u8]>,
}

enum Verifier {
    Public(Box<ParsedPublicKey>),
    Secret(Box<hmac::Key>),
}

impl KeySet {
    /// The error is for whoever wrote it, or looks why it was not taken.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let set: Value = serde_json::from_slice(text).map_err(|error| format!("this is not JSON: {error}"))?;
        let Some(list) = set.get("keys").and_then(Value::as_array) else {
            return Err("this is no JWK set: it has no list \"keys\" (RFC 7517 §5)".into());
        };
        if list.len() > MOST_KEYS {
            return Err(format!("there are {} keys, more than {MOST_KEYS}", list.len()));
        }
        let keys: Vec<Key> = list.iter().filter_map(|jwk| Key::of_jwk(jwk.as_object()?)).collect();
        match keys.is_empty() {
            true => Err(format!("none of its {} keys can be used to verify a signature", list.len())),
            false => Ok(Self::new(list.len() - keys.len(), keys)),
        }
    }

    pub fn of_secret(secret: &[u8]) -> Self {
        let verifier = |(algorithm, hash)| (algorithm, Verifier::Secret(Box::new(hmac::Key::new(hash, secret))));
        let algorithms = [
            (JwtAlgorithm::HS256, hmac::HMAC_SHA256),
            (JwtAlgorithm::HS384, hmac::HMAC_SHA384),
            (JwtAlgorithm::HS512, hmac::HMAC_SHA512),
        ];
        Self::new(0, vec![Key { id: None, verifiers: algorithms.map(verifier).into(), origin: secret.into() }])
    }

    fn new(left_out: usize, keys: Vec<Key>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { keys, left_out, id: NEXT.fetch_add(1, Ordering::Relaxed) }
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether one of the keys that the token may mean has signed it.
    pub(super) fn verify(
        &self,
        id: Option<&str>,
        algorithm: JwtAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Signature {
        let is_meant = |key: &&Key| match (id, &key.id) {
            (Some(id), Some(own)) => id == &**own,
            // A set of one often names none.
            (None, _) | (Some(_), None) => true,
        };
        let of_algorithm = |key: &'_ Key| key.verifiers.iter().position(|(known, _)| *known == algorithm);
        let mut outcome = Signature::NoKey;
        let candidates = self.keys.iter().filter(is_meant).filter_map(|key| Some((key, of_algorithm(key)?)));
        for (key, at) in candidates.take(MOST_TRIED) {
            if key.verifiers[at].1.verifies(message, signature) {
                return Signature::Good;
            }
            outcome = Signature::Bad;
        }
        outcome
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signature {
    Good,
    Bad,
    /// None of that name and that kind.
    NoKey,
}

impl Verifier {
    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Verifier::Public(key) => key.verify_sig(message, signature).is_ok(),
            Verifier::Secret(key) => hmac::verify(key, message, signature).is_ok(),
        }
    }
}

impl Key {
    /// None where it is no public key, not for signatures, or of a kind that is not known here.
    fn of_jwk(jwk: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
        if text("use").is_some_and(|purpose| purpose != "sig") || !may_verify(jwk.get("key_ops")) {
            return None;
        }
        let verifiers = match (text("kty")?, text("crv")) {
            ("RSA", _) => rsa(&bytes("n")?, &bytes("e")?)?,
            ("EC", Some(curve)) => ec(curve, &bytes("x")?, &bytes("y")?)?,
            ("OKP", Some("Ed25519")) => one(JwtAlgorithm::EdDSA, &signature::ED25519, &bytes("x")?)?,
            // A secret that is shown to everybody is none.
            _ => return None,
        };
        let verifiers = match text("alg") {
            None => verifiers,
            Some(name) => {
                let only = JwtAlgorithm::named(name)?;
                verifiers.into_iter().filter(|(algorithm, _)| *algorithm == only).collect()
            }
        };
        let origin = Value::Object(jwk.clone()).to_string().into_bytes().into();
        (!verifiers.is_empty()).then(|| Self { id: text("kid").map(Box::from), verifiers, origin })
    }
}

fn may_verify(operations: Option<&Value>) -> bool {
    match operations.and_then(Value::as_array) {
        None => true,
        Some(operations) => operations.iter().any(|operation| operation == "verify"),
    }
}

type Verifiers = Vec<(JwtAlgorithm, Verifier)>;

fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<Verifiers> {
    const ALGORITHMS: [(JwtAlgorithm, &RsaParameters); 6] = [
        (JwtAlgorithm::RS256, &signature::RSA_PKCS1_2048_8192_SHA256),
        (JwtAlgorithm::RS384, &signature::RSA_PKCS1_2048_8192_SHA384),
        (JwtAlgorithm::RS512, &signature::RSA_PKCS1_2048_8192_SHA512),
        (JwtAlgorithm::PS256, &signature::RSA_PSS_2048_8192_SHA256),
        (JwtAlgorithm::PS384, &signature::RSA_PSS_2048_8192_SHA384),
        (JwtAlgorithm::PS512, &signature::RSA_PSS_2048_8192_SHA512),
    ];
    // Some write leading zeros (RFC 7518 §6.3.1.1 forbids it).
    let strip = |bytes: &'_ [u8]| bytes.iter().position(|byte| *byte != 0).map(|at| bytes[at..].to_vec());
    let (n, e) = (strip(modulus)?, strip(exponent)?);
    // Shorter ones verify nothing; the parameters above say so only when asked.
    if !(256..=1024).contains(&n.len()) {
        return None;
    }
    let verifier = |(algorithm, parameters): (JwtAlgorithm, &'static RsaParameters)| {
        let components = PublicKeyComponents { n: n.as_slice(), e: e.as_slice() };
        Some((algorithm, Verifier::Public(Box::new(components.to_parsed_public_key(parameters).ok()?))))
    };
    ALGORITHMS.into_iter().map(verifier).collect()
}

fn ec(curve: &str, x: &[u8], y: &[u8]) -> Option<Verifiers> {
    let (algorithm, verification, length): (_, &'static dyn VerificationAlgorithm, _) = match curve {
        "P-256" => (JwtAlgorithm::ES256, &signature::ECDSA_P256_SHA256_FIXED, 32),
        "P-384" => (JwtAlgorithm::ES384, &signature::ECDSA_P384_SHA384_FIXED, 48),
        "P-521" => (JwtAlgorithm::ES512, &signature::ECDSA_P521_SHA512_FIXED, 66),
        _ => return None,
    };
    if x.len() != length || y.len() != length {
        return None;
    }
    // SEC 1 §2.3.3, uncompressed.
    one(algorithm, verification, &[&[4], x, y].concat())
}

fn one(algorithm: JwtAlgorithm, verification: &'static dyn VerificationAlgorithm, key: &[u8]) -> Option<Verifiers> {
    let key = ParsedPublicKey::new(verification, key).ok()?;
    Some(vec![(algorithm, Verifier::Public(Box::new(key)))])
}

/// Whether they verify the same.
impl PartialEq for KeySet {
    fn eq(&self, other: &Self) -> bool {
        self.keys.len() == other.keys.len() && self.keys.iter().zip(&other.keys).all(|(a, b)| a.origin == b.origin)
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySet({})", self.keys.len())
    }
}
