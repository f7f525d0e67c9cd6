//! How Weir holds a handshake with an upstream: for the lean lane, and for bytes that are carried. The full lane goes by Pingora's own
//! connectors.

use std::sync::{Arc, LazyLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::{UpstreamTlsMaterial, provider};
use crate::model::{UpstreamTls, Verify};

/// By what the model asks for, and what was read of it. `protocols` are offered; none where nobody knows what is spoken.
pub fn client_config(
    tls: &UpstreamTls,
    material: &UpstreamTlsMaterial,
    protocols: &[&[u8]],
) -> Result<Arc<ClientConfig>, Error> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = builder.dangerous().with_custom_certificate_verifier(match tls.verify {
        Verify::Full => verifier(material)?,
        Verify::Skip => Arc::new(Anyone(provider())),
    });
    let mut config = match &material.client {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(chain.clone(), key.clone_key())?,
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

fn verifier(material: &UpstreamTlsMaterial) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let roots = match &material.ca {
        None => system_roots(),
        Some(certificates) => {
            let mut roots = RootCertStore::empty();
            certificates.iter().try_for_each(|root| roots.add(root.clone()))?;
            Arc::new(roots)
        }
    };
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider()).build();
    Ok(verifier.map_err(|error| Error::General(error.to_string()))?)
}

/// Read once. Where the system has none, each handshake says so.
fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().unwrap_or_default());
        Arc::new(roots)
    });
    ROOTS.clone()
}

/// `verify: skip`: whoever answers has a key to what it shows, and nothing more is asked.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
