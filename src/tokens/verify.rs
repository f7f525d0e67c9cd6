//! One token, against a set of keys and the terms of a filter.
//!
//! ```text
//! header.payload.signature ──► algorithm accepted? ──► signed? ──► in time? ──► by whom, for whom? ──► Claims
//! ```

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::key_set::Signature;
use super::{Claims, KeySet};
use crate::model::JwtAlgorithm;

/// What a token must meet.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    pub algorithms: &'a [JwtAlgorithm],
    pub issuers: &'a [Arc<str>],
    pub audiences: &'a [Arc<str>],
    pub leeway: Duration,
}

/// Why a token is not taken. The texts go to clients (RFC 6750 §3): ASCII, without quotes and backslashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("it is no signed token")]
    Malformed,
    #[error("its algorithm is not accepted here")]
    Algorithm,
    #[error("it names an extension that is not known here")]
    Critical,
    #[error("it was signed with a key that is not known here")]
    UnknownKey,
    #[error("its signature is wrong")]
    Signature,
    #[error("it does not say when it expires")]
    Endless,
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    TooEarly,
    #[error("it was not issued by whom it must be")]
    Issuer,
    #[error("it is for somebody else")]
    Audience,
}

/// A token that is good, for as long as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified {
    pub claims: Claims,
    /// From the time it was verified at, leeway included.
    pub remaining: Duration,
}

/// What is looked at of a header; whatever else it says (`jku`, `jwk`, `x5c`) is for nobody to follow.
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    crit: Option<serde_json::Value>,
}

/// `now` is seconds since 1970.
pub fn verify(token: &[u8], keys: &KeySet, terms: &Terms<'_>, now: Duration) -> Result<Verified, Invalid> {
    let mut parts = token.split(|byte| *byte == b'.');
    let (Some(header), Some(payload), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Invalid::Malformed);
    };
    let message = &token[..header.len() + 1 + payload.len()];
    let decode = |part: &[u8]| URL_SAFE_NO_PAD.decode(part).map_err(|_| Invalid::Malformed);
    let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| Invalid::Malformed)?;
    let accepted = |algorithm: &JwtAlgorithm| terms.algorithms.contains(algorithm);
    let algorithm = JwtAlgorithm::named(&header.alg).filter(accepted).ok_or(Invalid::Algorithm)?;
    if header.crit.is_some() {
        return Err(Invalid::Critical);
    }
    match keys.verify(header.kid.as_deref(), algorithm, message, &decode(signature)?) {
        Signature::Good => {}
        Signature::Bad => return Err(Invalid::Signature),
        Signature::NoKey => return Err(Invalid::UnknownKey),
    }
    let claims = Claims::parse(&decode(payload)?).ok_or(Invalid::Malformed)?;
    let remaining = in_time(&claims, terms.leeway, now)?;
    if !terms.issuers.is_empty() && !claims.has_one_of("iss", terms.issuers) {
        return Err(Invalid::Issuer);
    }
    if !terms.audiences.is_empty() && !claims.has_one_of("aud", terms.audiences) {
        return Err(Invalid::Audience);
    }
    Ok(Verified { claims, remaining })
}

/// How long it still holds.
fn in_time(claims: &Claims, leeway: Duration, now: Duration) -> Result<Duration, Invalid> {
    let (now, leeway) = (now.as_secs_f64(), leeway.as_secs_f64());
    let time = |name| claims.time(name).map_err(|_| Invalid::Malformed);
    let expires = time("exp")?.ok_or(Invalid::Endless)?;
    if now >= expires + leeway {
        return Err(Invalid::Expired);
    }
    if time("nbf")?.is_some_and(|begins| now + leeway < begins) {
        return Err(Invalid::TooEarly);
    }
    Ok(Duration::try_from_secs_f64(expires + leeway - now).unwrap_or(Duration::MAX))
}
