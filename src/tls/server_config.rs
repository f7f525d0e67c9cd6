//! How a client may speak TLS with a listener, and what was agreed.
//!
//! ```text
//! model::ListenerTls + CertificateResolver + ticket keys ──► Policy
//! Policy + ClientHello ──► Handshake: to serve, or to answer an ACME authority (tls-alpn-01)
//! rustls::ServerConnection ──► TlsFacts { version, cipher } ──► request record
//! ```
//!
//! Suites and groups are the provider's: AEAD with forward secrecy only, X25519MLKEM768 first, the client's
//! order respected among equals (a phone without AES hardware asks for ChaCha20 first).

use std::sync::Arc;

use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets};
use rustls::{CipherSuite, ProtocolVersion, ServerConfig, ServerConnection, SupportedProtocolVersion};

use super::challenges::{ACME_TLS, Challenges};
use super::on_demand::OnDemand;
use super::provider;
use super::resolver::CertificateResolver;
use crate::model::{Http2, ListenerTls, TlsVersion};

/// What all TLS listeners share: the certificates and the ticket keys, so that a client resumes at a listener
/// that was rebuilt meanwhile.
pub struct ServerTls {
    certificates: Arc<CertificateResolver>,
    /// Its keys live in memory only and change every six hours.
    tickets: Arc<dyn ProducesTickets>,
    challenges: Arc<Challenges>,
    on_demand: Arc<OnDemand>,
    /// For who asks a tls-alpn-01 question: it proves nothing but that we were told the answer.
    challenge_config: Arc<ServerConfig>,
}

/// How the handshakes of one listener go.
pub struct Policy {
    pub(super) serve: Arc<ServerConfig>,
    challenge: Arc<ServerConfig>,
}

/// What a handshake is for.
pub enum Handshake {
    /// For requests.
    Serve(Arc<ServerConfig>),
    /// An ACME authority looks at the certificate, and goes.
    Challenge(Arc<ServerConfig>),
}

impl Policy {
    pub fn choose(&self, hello: &ClientHello<'_>) -> Handshake {
        // RFC 8737 §3: an authority offers this protocol and no other.
        let mut offered = hello.alpn().into_iter().flatten();
        match offered.next() {
            Some(ACME_TLS) if offered.next().is_none() => Handshake::Challenge(self.challenge.clone()),
            Some(_) | None => Handshake::Serve(self.serve.clone()),
        }
    }
}

impl ServerTls {
    pub fn new(certificates: Arc<CertificateResolver>) -> Result<Self, rustls::Error> {
        let challenges = Arc::new(Challenges::default());
        let challenge_config = challenge_config(challenges.clone())?;
        let tickets = rustls::crypto::aws_lc_rs::Ticketer::new()?;
        Ok(Self { certificates, tickets, challenges, on_demand: Arc::default(), challenge_config })
    }

    pub fn challenges(&self) -> &Arc<Challenges> {
        &self.challenges
    }

    pub fn on_demand(&self) -> &Arc<OnDemand> {
        &self.on_demand
    }

    pub fn certificates(&self) -> &Arc<CertificateResolver> {
        &self.certificates
    }

    pub fn policy(&self, settings: &ListenerTls) -> Result<Arc<Policy>, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions(settings.min_version))?
            .with_no_client_auth()
            .with_cert_resolver(self.certificates.clone());
        config.alpn_protocols = alpn(settings.http2);
        config.ticketer = self.tickets.clone();
        // Tickets hold the state at the client; a table beside them would be a lock that all threads share.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Arc::new(Policy { serve: Arc::new(config), challenge: self.challenge_config.clone() }))
    }
}

fn challenge_config(challenges: Arc<Challenges>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions(TlsVersion::V1_2))?
        .with_no_client_auth()
        .with_cert_resolver(challenges);
    config.alpn_protocols = vec![ACME_TLS.to_vec()];
    Ok(Arc::new(config))
}

fn versions(min: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static FROM_1_2: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];
    match min {
        TlsVersion::V1_2 => &FROM_1_2,
        TlsVersion::V1_3 => &FROM_1_2[..1],
    }
}

fn alpn(http2: Http2) -> Vec<Vec<u8>> {
    match http2 {
        Http2::Offer => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        Http2::Off => vec![b"http/1.1".to_vec()],
    }
}

/// What a handshake agreed on, by the names that logs and metrics use. The SNI stays with the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// `TLSv1.3`, as nginx writes it.
    pub version: &'static str,
    /// The IANA name, as `TLS_AES_128_GCM_SHA256`.
    pub cipher: &'static str,
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
