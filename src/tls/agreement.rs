//! What a handshake has come to.
//!
//! ```text
//! rustls::ServerConnection + Terms ──► Agreement { facts, version, the client's certificate }
//! ```

use std::sync::Arc;
use std::time::SystemTime;

use rustls::{CipherSuite, ProtocolVersion, ServerConnection};

use super::client_certificate::ClientCertificate;
use super::terms::Terms;
use crate::model::TlsVersion;

#[derive(Debug)]
pub struct Agreement {
    pub facts: TlsFacts,
    pub version: TlsVersion,
    /// Those that the handshake was held on.
    pub terms: Arc<Terms>,
    /// Verified: in this handshake, or in the one that it resumes.
    pub client: Option<ClientCertificate>,
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
    pub fn of(connection: &ServerConnection, terms: Arc<Terms>, now: SystemTime) -> Result<Self, Disagreement> {
        let facts = TlsFacts::of(connection).ok_or(Disagreement::Incomplete)?;
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => TlsVersion::V1_3,
            Some(_) | None => TlsVersion::V1_2,
        };
        let client = match connection.peer_certificates() {
            Some(chain) => Some(ClientCertificate::parse(chain).map_err(Disagreement::Unreadable)?),
            None => None,
        };
        if client.as_ref().is_some_and(|certificate| certificate.not_after < now) {
            return Err(Disagreement::Expired);
        }
        Ok(Self { facts, version, terms, client })
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
