//! What a handshake has come to.
//!
//! ```text
//! rustls::ServerConnection + Site ──► Agreement { facts, version, the client's certificate, and whether it is good }
//! ```

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::{CertificateError, CipherSuite, ProtocolVersion, ServerConnection};

use super::client_certificate::ClientCertificate;
use super::policy::Site;
use super::terms::Terms;
use crate::model::TlsVersion;

#[derive(Debug)]
pub struct Agreement {
    pub facts: TlsFacts,
    pub version: TlsVersion,
    /// Those that the handshake was held on.
    pub terms: Arc<Terms>,
    pub client: Shown,
}

/// The certificate that a client has shown.
#[derive(Debug)]
pub enum Shown {
    Nothing,
    /// Verified: in this handshake, or in the one that it resumes.
    Good(ClientCertificate),
    /// Only where the handshake was not to fail for it. `reason` is in OpenSSL's words, as nginx tells it.
    Bad {
        certificate: ClientCertificate,
        flaw: Flaw,
        reason: &'static str,
    },
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It was issued by nobody who is known.
    Issuer,
    Other,
}

/// By the names that logs and metrics use. The SNI stays with the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// `TLSv1.3`, as nginx writes it.
    pub version: &'static str,
    /// The IANA name, as `TLS_AES_128_GCM_SHA256`.
    pub cipher: &'static str,
}

#[derive(Debug, thiserror::Error)]
pub enum Disagreement {
    #[error("the handshake is not complete")]
    Incomplete,
    #[error("the client's certificate cannot be read: {0}")]
    Unreadable(String),
    /// rustls looks at it where a session begins, not where it is resumed.
    #[error("the client's certificate has expired since its session began")]
    Expired,
}

impl Agreement {
    pub fn of(connection: &ServerConnection, site: &Site, now: SystemTime) -> Result<Self, Disagreement> {
        let facts = TlsFacts::of(connection).ok_or(Disagreement::Incomplete)?;
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => TlsVersion::V1_3,
            Some(_) | None => TlsVersion::V1_2,
        };
        let client = match connection.peer_certificates() {
            Some(chain) => Shown::of(chain, site.verifier.as_deref(), now)?,
            None => Shown::Nothing,
        };
        Ok(Self { facts, version, terms: site.terms.clone(), client })
    }
}

impl Shown {
    /// `verifier`: where the handshake has left it to us.
    fn of(
        chain: &[CertificateDer<'_>],
        verifier: Option<&dyn ClientCertVerifier>,
        now: SystemTime,
    ) -> Result<Self, Disagreement> {
        let certificate = ClientCertificate::parse(chain).map_err(Disagreement::Unreadable)?;
        let (Some(verifier), Some((leaf, rest))) = (verifier, chain.split_first()) else {
            return match certificate.not_after < now {
                true => Err(Disagreement::Expired),
                false => Ok(Shown::Good(certificate)),
            };
        };
        let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let Err(error) = verifier.verify_client_cert(leaf, rest, UnixTime::since_unix_epoch(since)) else {
            return Ok(Shown::Good(certificate));
        };
        let (flaw, reason) = flaw(&error, &certificate);
        Ok(Shown::Bad { certificate, flaw, reason })
    }
}

fn flaw(error: &rustls::Error, certificate: &ClientCertificate) -> (Flaw, &'static str) {
    use CertificateError as E;
    match error {
        rustls::Error::InvalidCertificate(E::UnknownIssuer) if certificate.subject == certificate.issuer => {
            (Flaw::Issuer, "self-signed certificate")
        }
        rustls::Error::InvalidCertificate(E::UnknownIssuer) => (Flaw::Issuer, "unable to verify the first certificate"),
        rustls::Error::InvalidCertificate(E::Expired | E::ExpiredContext { .. }) => {
            (Flaw::Other, "certificate has expired")
        }
        rustls::Error::InvalidCertificate(E::NotValidYet | E::NotValidYetContext { .. }) => {
            (Flaw::Other, "certificate is not yet valid")
        }
        rustls::Error::InvalidCertificate(E::InvalidPurpose | E::InvalidPurposeContext { .. }) => {
            (Flaw::Other, "unsuitable certificate purpose")
        }
        // What else may be wrong is no matter of who issued it.
        _ => (Flaw::Other, "certificate rejected"),
    }
}

impl TlsFacts {
    /// None while the handshake is under way.
    pub fn of(connection: &ServerConnection) -> Option<Self> {
        let version = match connection.protocol_version()? {
            ProtocolVersion::TLSv1_2 => "TLSv1.2",
            ProtocolVersion::TLSv1_3 => "TLSv1.3",
            other => other.as_str().unwrap_or("unknown"),
        };
        Some(Self { version, cipher: cipher_name(connection.negotiated_cipher_suite()?.suite()) })
    }
}

/// rustls writes the names of TLS 1.3 as `TLS13_…`, IANA as `TLS_…`.
fn cipher_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => other.as_str().unwrap_or("unknown"),
    }
}
