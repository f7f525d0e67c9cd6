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

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme, SupportedProtocolVersion};

use super::challenges::{ACME_TLS, Challenges};
use super::on_demand::OnDemand;
use super::policy::{Policy, Spoken, Ways};
use super::provider;
use super::resolver::CertificateResolver;
use super::terms::{ClientTerms, Terms};
use super::tickets::{BoundTickets, Tickets};
use crate::model::{CipherOrder, CipherSuite, Ciphers, ClientAuthMode, HostName, Http2, SessionTickets, TlsVersion};

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
        let ways = |terms: &Terms| self.ways(http2, terms);
        Policy::build(own, hosts, self.challenge_config.clone(), ways).map(Arc::new)
    }

    fn ways(&self, http2: Http2, terms: &Terms) -> Result<Ways, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(with_suites(&terms.ciphers))
            .with_protocol_versions(versions(terms.min_version))?;
        let mut left_to_requests = None;
        let builder = match &terms.client {
            None => builder.with_no_client_auth(),
            Some(client) if client.is_told_by_answers() => {
                let strict = verifier(client)?;
                left_to_requests = Some(strict.clone());
                builder.with_client_cert_verifier(Arc::new(Indulgent(strict)))
            }
            Some(client) => builder.with_client_cert_verifier(verifier(client)?),
        };
        let mut config = builder.with_cert_resolver(self.certificates.clone());
        config.ignore_client_order = terms.ciphers.order == CipherOrder::Server;
        config.alpn_protocols = alpn(http2);
        config.ticketer = Arc::new(BoundTickets { tickets: self.tickets.clone(), terms: terms.fingerprint() });
        // Tickets hold the state at the client; a table beside them would be a lock that all threads share.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Ways { config: Arc::new(config), verifier: left_to_requests })
    }
}

/// Takes any certificate, or none. That the client has its key is proven all the same.
#[derive(Debug)]
struct Indulgent(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Indulgent {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Refuses whoever shows a certificate: there is no authority.
#[derive(Debug)]
struct Nobody {
    mode: ClientAuthMode,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Nobody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        self.mode == ClientAuthMode::Required
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Err(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn verifier(client: &ClientTerms) -> Result<Arc<dyn ClientCertVerifier>, rustls::Error> {
    let roots = Arc::new(client.roots.store()?);
    if roots.is_empty() {
        // One host's authorities that cannot be had are no reason to hold all others up.
        return Ok(Arc::new(Nobody { mode: client.mode, provider: provider() }));
    }
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
    let builder = match client.mode {
        ClientAuthMode::Required => builder,
        ClientAuthMode::Optional | ClientAuthMode::OptionalOfAnyone => builder.allow_unauthenticated(),
    };
    builder.build().map_err(|error| rustls::Error::General(error.to_string()))
}

/// The provider with no other suites of TLS 1.2 than these.
fn with_suites(ciphers: &Ciphers) -> Arc<CryptoProvider> {
    let Some(wanted) = &ciphers.tls12 else { return provider() };
    let mut provider = CryptoProvider::clone(&provider());
    let all = std::mem::take(&mut provider.cipher_suites);
    let suites = wanted.iter().map(|suite| suite_of(*suite));
    let tls12 = suites.filter_map(|suite| all.iter().find(|known| known.suite() == suite));
    let tls13 = all.iter().filter(|suite| suite.tls13().is_some());
    provider.cipher_suites = tls13.chain(tls12).copied().collect();
    Arc::new(provider)
}

fn suite_of(suite: CipherSuite) -> rustls::CipherSuite {
    use rustls::CipherSuite as Tls;
    match suite {
        CipherSuite::EcdheEcdsaAes256Gcm => Tls::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::EcdheEcdsaAes128Gcm => Tls::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::EcdheEcdsaChaCha20 => Tls::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        CipherSuite::EcdheRsaAes256Gcm => Tls::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::EcdheRsaAes128Gcm => Tls::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::EcdheRsaChaCha20 => Tls::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ClientAuthRefusal, ForwardCertificate};
    use crate::tls::client_roots::ClientRoots;
    use crate::tls::testing::Authority;

    #[test]
    fn an_authority_that_is_missing_lets_nobody_in_and_holds_nobody_up() {
        for mode in [ClientAuthMode::Required, ClientAuthMode::Optional] {
            let roots = Arc::new(ClientRoots::default());
            let (subject, refusal, forward) = (None, ClientAuthRefusal::Handshake, ForwardCertificate::Omit);
            let verifier = verifier(&ClientTerms { roots, mode, subject, refusal, forward }).unwrap();
            assert_eq!(verifier.client_auth_mandatory(), mode == ClientAuthMode::Required);
            assert!(verifier.verify_client_cert(&Authority::new().der, &[], UnixTime::now()).is_err());
        }
    }
}
