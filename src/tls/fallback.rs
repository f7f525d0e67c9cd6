//! The certificate that is shown where none fits: self-signed, made once, and named so that nobody wonders.

use std::sync::Arc;

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use super::provider;

/// Its common name, as a browser and the log show it.
pub(super) const FALLBACK_NAME: &str = "Weir fallback certificate";

/// A new key on P-256 and a certificate for the reserved name `weir.invalid`.
pub(super) fn generate() -> Result<Arc<CertifiedKey>, FallbackError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(["weir.invalid".to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, FALLBACK_NAME);
    let certificate = params.self_signed(&key)?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let certified = CertifiedKey::from_der(vec![certificate.der().clone()], private, &provider())?;
    Ok(Arc::new(certified))
}

#[derive(Debug, thiserror::Error)]
pub enum FallbackError {
    #[error("cannot make the fallback certificate: {0}")]
    Generate(#[from] rcgen::Error),
    #[error("cannot use the fallback certificate: {0}")]
    Load(#[from] rustls::Error),
}
