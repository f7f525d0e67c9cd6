//! Signed tokens, and the keys that they are verified with.
//!
//! ```text
//! Issuer ──jwk──► { "keys": […] }       what the program under test fetches
//!        └─token(claims)──► header.payload.signature
//! ```

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// Whoever issues tokens, with one key.
pub struct Issuer {
    pub kid: String,
    pub algorithm: &'static str,
    key: Key,
}

enum Key {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Secret(Vec<u8>),
}

impl Issuer {
    /// With a new key for the algorithm; `HS…` has the secret that is its name thrice.
    pub fn new(kid: &str, algorithm: &'static str) -> Issuer {
        let ec = |signing| Key::Ec(EcdsaKeyPair::generate(signing).expect("a key"));
        let key = match algorithm {
            "ES256" => ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            "ES384" => ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
            "ES512" => ec(&signature::ECDSA_P521_SHA512_FIXED_SIGNING),
            "EdDSA" => Key::Ed(Ed25519KeyPair::generate().expect("a key")),
            secret if secret.starts_with("HS") => Key::Secret(kid.repeat(3).into_bytes()),
            _ => Key::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key")),
        };
        Issuer { kid: kid.into(), algorithm, key }
    }

    /// One that signs with bytes that were meant for something else.
    pub fn with_secret(kid: &str, algorithm: &'static str, secret: &[u8]) -> Issuer {
        Issuer { kid: kid.into(), algorithm, key: Key::Secret(secret.to_vec()) }
    }

    /// The public key as RFC 7517 has it; a secret, too, as nobody should show it.
    pub fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match &self.key {
            Key::Rsa(pair) => {
                let public = pair.public_key();
                let (n, e) = (public.modulus(), public.exponent());
                json!({ "kty": "RSA", "n": text(n.big_endian_without_leading_zero()), "e": text(e.big_endian_without_leading_zero()) })
            }
            Key::Ec(pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let curve = match x.len() {
                    32 => "P-256",
                    48 => "P-384",
                    _ => "P-521",
                };
                json!({ "kty": "EC", "crv": curve, "x": text(x), "y": text(y) })
            }
            Key::Ed(pair) => json!({ "kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref()) }),
            Key::Secret(secret) => json!({ "kty": "oct", "k": text(secret) }),
        };
        jwk["kid"] = self.kid.clone().into();
        jwk
    }

    pub fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({ "alg": self.algorithm, "typ": "JWT", "kid": self.kid }), claims)
    }

    /// With this header, whatever it says; signed as the issuer signs.
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = self.sign(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.key {
            Key::Rsa(pair) => {
                let mut signed = vec![0; pair.public_modulus_len()];
                let padding: &dyn signature::RsaEncoding = match self.algorithm {
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                pair.sign(padding, &random, message, &mut signed).expect("a signature");
                signed
            }
            Key::Ec(pair) => pair.sign(&random, message).expect("a signature").as_ref().to_vec(),
            Key::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Key::Secret(secret) => {
                let hash = match self.algorithm {
                    "HS384" => hmac::HMAC_SHA384,
                    "HS512" => hmac::HMAC_SHA512,
                    _ => hmac::HMAC_SHA256,
                };
                hmac::sign(&hmac::Key::new(hash, secret), message).as_ref().to_vec()
            }
        }
    }
}

/// A JWK set of these.
pub fn jwks(issuers: &[&Issuer]) -> String {
    json!({ "keys": issuers.iter().map(|issuer| issuer.jwk()).collect::<Vec<_>>() }).to_string()
}

/// Seconds since 1970, so many later.
pub fn in_seconds(later: i64) -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is later than 1970");
    now.as_secs() as i64 + later
}
