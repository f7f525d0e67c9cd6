//! When the authority itself would renew a certificate (ARI, RFC 9773).
//!
//! ```text
//! leaf ──► renewalInfo ──► a time within its window, and when to ask again
//! ```

use std::time::{Duration, SystemTime};

use instant_acme::{CertificateIdentifier, Error};

use super::authority::Authority;
use super::plan::seed;
use super::renewal;
use crate::tls::LoadedCertificate;

pub struct Suggestion {
    /// None: it has no opinion.
    pub suggested: Option<SystemTime>,
    pub ask_again: SystemTime,
    /// Whether it was asked at all.
    pub is_certain: bool,
}

/// What an authority wishes within reason (RFC 9773 §4.3.2): it may want to be asked in seconds when it is about to revoke.
const SOONEST: Duration = Duration::from_secs(60);
const LATEST: Duration = Duration::from_secs(86_400);

/// After an answer that could not be had.
const AFTER_FAILURE: Duration = Duration::from_secs(3600);

pub async fn ask(authority: &Authority, certificate: &LoadedCertificate, now: SystemTime) -> Suggestion {
    let nothing = |after: Duration, is_certain| Suggestion { suggested: None, ask_again: now + after, is_certain };
    // Without an authority key identifier it cannot be asked for.
    let Ok(identifier) = CertificateIdentifier::try_from(&certificate.key().cert[0]) else {
        return nothing(LATEST, true);
    };
    let session = match authority.connect().await {
        Ok(session) => session,
        Err(failure) => {
            tracing::debug!(error = failure.words, "cannot ask when to renew");
            return nothing(AFTER_FAILURE, false);
        }
    };
    match session.account.renewal_info(&identifier).await {
        Ok((info, retry_after)) => {
            let (start, end) = (info.suggested_window.start.into(), info.suggested_window.end.into());
            let suggested = Some(renewal::within(start, end, seed(certificate)));
            Suggestion { suggested, ask_again: now + retry_after.clamp(SOONEST, LATEST), is_certain: true }
        }
        Err(Error::Unsupported(_)) => nothing(LATEST, true),
        Err(error) => {
            tracing::debug!(%error, "the authority does not say when to renew");
            nothing(AFTER_FAILURE, false)
        }
    }
}
