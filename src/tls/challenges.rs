//! Answers to an ACME authority's questions, while certificates are being ordered.
//!
//! ```text
//! acme ──replace──► Challenges (ArcSwap'd) ◄── http-01: a token, asked by a request
//!                                          ◄── tls-alpn-01: a name, asked by a handshake (RFC 8737)
//! ```
//!
//! Almost always empty. It mirrors what the storage holds, so that a process answers for orders of another one, too.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::provider;

/// Where an authority asks for tokens (RFC 8555 §8.3).
pub const HTTP_CHALLENGE_PATH: &str = "/.well-known/acme-challenge/";

/// The application protocol of tls-alpn-01.
pub(super) const ACME_TLS: &[u8] = b"acme-tls/1";

/// What an authority may ask for now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ChallengeAnswer {
    Http {
        token: Box<str>,
        key_authorization: Box<str>,
    },
    /// `digest`: SHA-256 of the key authorization.
    TlsAlpn {
        domain: Box<str>,
        digest: [u8; 32],
    },
}

#[derive(Default)]
pub struct Challenges(ArcSwap<Answers>);

#[derive(Default)]
struct Answers {
    by_token: HashMap<Box<str>, Bytes>,
    by_domain: HashMap<Box<str>, ([u8; 32], Arc<CertifiedKey>)>,
}

impl Challenges {
    /// The answers from now on. A certificate that cannot be made is left out.
    pub fn replace(&self, answers: &[ChallengeAnswer]) -> Result<(), rcgen::Error> {
        let before = self.0.load();
        let mut next = Answers::default();
        let mut failure = Ok(());
        for answer in answers {
            match answer {
                ChallengeAnswer::Http { token, key_authorization } => {
                    next.by_token.insert(token.clone(), Bytes::copy_from_slice(key_authorization.as_bytes()));
                }
                ChallengeAnswer::TlsAlpn { domain, digest } => {
                    let known = before.by_domain.get(domain).filter(|(other, _)| other == digest);
                    match known.map(|(_, key)| Ok(key.clone())).unwrap_or_else(|| certificate(domain, digest)) {
                        Ok(key) => drop(next.by_domain.insert(domain.clone(), (*digest, key))),
                        Err(error) => failure = Err(error),
                    }
                }
            }
        }
        self.0.store(Arc::new(next));
        failure
    }

    /// The answer to a request for a token (RFC 8555 §8.3).
    pub fn key_authorization(&self, token: &str) -> Option<Bytes> {
        self.0.load().by_token.get(token).cloned()
    }
}

impl ResolvesServerCert for Challenges {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load().by_domain.get(hello.server_name()?).map(|(_, key)| key.clone())
    }
}

impl fmt::Debug for Challenges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answers = self.0.load();
        f.debug_struct("Challenges")
            .field("tokens", &answers.by_token.len())
            .field("domains", &answers.by_domain.len())
            .finish()
    }
}

/// Self-signed, for this one name, with the digest in a critical extension (RFC 8737 §3).
fn certificate(domain: &str, digest: &[u8; 32]) -> Result<Arc<CertifiedKey>, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new([domain.to_owned()])?;
    params.custom_extensions.push(CustomExtension::new_acme_identifier(digest));
    let certificate = params.self_signed(&key)?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let signing = provider().key_provider.load_private_key(private);
    let signing = signing.map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
    // Not `from_der`: it would read the certificate, and trip over the extension.
    Ok(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], signing)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_answered_until_it_is_taken_out() {
        let challenges = Challenges::default();
        let answer = ChallengeAnswer::Http { token: "t".into(), key_authorization: "t.thumb".into() };
        challenges.replace(&[answer]).unwrap();
        assert_eq!(challenges.key_authorization("t").as_deref(), Some(&b"t.thumb"[..]));
        assert_eq!(challenges.key_authorization("other"), None);
        challenges.replace(&[]).unwrap();
        assert_eq!(challenges.key_authorization("t"), None);
    }

    #[test]
    fn a_name_has_a_certificate_with_its_digest_and_keeps_it() {
        let challenges = Challenges::default();
        let answer = ChallengeAnswer::TlsAlpn { domain: "a.test".into(), digest: [7; 32] };
        let key = || challenges.0.load().by_domain["a.test"].1.clone();
        challenges.replace(std::slice::from_ref(&answer)).unwrap();
        let first = key();
        // OCTET STRING of 32 bytes, as RFC 8737 wants it.
        let wanted = [&[0x04, 0x20][..], &[7; 32]].concat();
        assert!(first.cert[0].windows(wanted.len()).any(|bytes| bytes == wanted));
        challenges.replace(&[answer]).unwrap();
        assert!(Arc::ptr_eq(&first, &key()), "it was made anew");
    }
}
