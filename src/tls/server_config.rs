//! What all TLS listeners share, and how clients may speak with them.
//!
//! ```text
//! Terms + CertificateResolver + ticket keys ──► rustls::ServerConfig ──► Policy (one per listener)
//! ```
//!
//! Suites and groups are the provider's: AEAD with forward secrecy only, X25519MLKEM768 first, the client's
//! order respected among equals (a phone without AES hardware asks for ChaCha20 first).

use std::sync::Arc;
use std::time::SystemTime;

use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ServerConfig, SupportedProtocolVersion};

use super::challenges::{ACME_TLS, Challenges};
use super::on_demand::OnDemand;
use super::policy::{Policy, Spoken};
use super::provider;
use super::resolver::CertificateResolver;
use super::terms::{ClientTerms, Terms};
use super::tickets::{BoundTickets, Tickets};
use crate::model::{ClientAuthMode, HostName, Http2, SessionTickets, TlsVersion};

/// What all TLS listeners share: the certificates and the ticket keys, so that a client resumes at a listener
/// that was rebuilt meanwhile.
pub struct ServerTls {
    certificates: Arc<CertificateResolver>,
    tickets: Arc<Tickets>,
    challenges: Arc<Challenges>,
    on_demand: Arc<OnDemand>,
    /// For who asks a tls-alpn-01 question: it proves nothing but that we were told the answer.
    challenge_config: Arc<ServerConfig>,
}

impl ServerTls {
    pub fn new(certificates: Arc<CertificateResolver>, tickets: &SessionTickets) -> Result<Self, rustls::Error> {
        let challenges = Arc::new(Challenges::default());
        let challenge_config = challenge_config(challenges.clone())?;
        let tickets = Tickets::new(tickets, SystemTime::now()).map_err(|_| rustls::Error::FailedToGetRandomBytes)?;
        let tickets = Arc::new(tickets);
        Ok(Self { certificates, tickets, challenges, on_demand: Arc::default(), challenge_config })
    }

    pub fn challenges(&self) -> &Arc<Challenges> {
        &self.challenges
    }

    /// For who loads and stores keys that processes share.
    pub fn tickets(&self) -> &Arc<Tickets> {
        &self.tickets
    }

    pub fn on_demand(&self) -> &Arc<OnDemand> {
        &self.on_demand
    }

    pub fn certificates(&self) -> &Arc<CertificateResolver> {
        &self.certificates
    }

    /// What a listener holds its handshakes by: on its own terms, and on those of each of its hosts.
    pub fn policy(
        &self,
        http2: Http2,
        own: &Arc<Terms>,
        hosts: &[(&[HostName], Spoken<'_>)],
    ) -> Result<Arc<Policy>, rustls::Error> {
        let config = |terms: &Terms| self.config(http2, terms);
        Policy::build(own, hosts, self.challenge_config.clone(), config).map(Arc::new)
    }

    fn config(&self, http2: Http2, terms: &Terms) -> Result<Arc<ServerConfig>, rustls::Error> {
        let builder =
            ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions(terms.min_version))?;
        let builder = match &terms.client {
            None => builder.with_no_client_auth(),
            Some(client) => builder.with_client_cert_verifier(verifier(client)?),
        };
        let mut config = builder.with_cert_resolver(self.certificates.clone());
        config.alpn_protocols = alpn(http2);
        config.ticketer = Arc::new(BoundTickets { tickets: self.tickets.clone(), terms: terms.fingerprint() });
        // Tickets hold the state at the client; a table beside them would be a lock that all threads share.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Arc::new(config))
    }
}

fn verifier(client: &ClientTerms) -> Result<Arc<dyn ClientCertVerifier>, rustls::Error> {
    let roots = Arc::new(client.roots.store()?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
    let builder = match client.mode {
        ClientAuthMode::Required => builder,
        ClientAuthMode::Optional => builder.allow_unauthenticated(),
    };
    builder.build().map_err(|error| rustls::Error::General(error.to_string()))
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
