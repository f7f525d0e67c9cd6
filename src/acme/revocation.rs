//! A certificate whose key is lost, or that is not to be trusted any more, is revoked.

use instant_acme::RevocationRequest;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::surroundings::Surroundings;
use super::words;
use crate::model::RevocationReason;

fn to_acme(reason: RevocationReason) -> instant_acme::RevocationReason {
    match reason {
        RevocationReason::Unspecified => instant_acme::RevocationReason::Unspecified,
        RevocationReason::KeyCompromise => instant_acme::RevocationReason::KeyCompromise,
        RevocationReason::AffiliationChanged => instant_acme::RevocationReason::AffiliationChanged,
        RevocationReason::Superseded => instant_acme::RevocationReason::Superseded,
        RevocationReason::CessationOfOperation => instant_acme::RevocationReason::CessationOfOperation,
    }
}

pub async fn revoke(surroundings: &Surroundings, name: &str, reason: RevocationReason) -> Result<(), String> {
    let stored = surroundings.storage.certificate(name).await.map_err(|error| error.to_string())?;
    let stored = stored.ok_or_else(|| format!("there is no certificate \"{name}\" in the storage"))?;
    let leaf = CertificateDer::from_pem_slice(stored.chain.as_bytes())
        .map_err(|error| format!("the stored certificate cannot be read: {error}"))?;
    let session = surroundings.authority.connect().await.map_err(|failure| failure.words)?;
    let request = RevocationRequest { certificate: &leaf, reason: Some(to_acme(reason)) };
    match session.account.revoke(&request).await {
        Ok(()) => {}
        Err(error) if words::is_revoked_already(&error) => {}
        Err(error) => return Err(surroundings.authority.failure(&session, &error).words),
    }
    tracing::warn!(certificate = name, ?reason, "a certificate was revoked");
    Ok(())
}
