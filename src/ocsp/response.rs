//! What is answered, believed as far as it is signed.
//!
//! ```text
//! OCSPResponse ──► successful? ──► signed by the issuer, or by whom it lets? ──► about this certificate? ──► in time?
//!                                                                                   └──► Good { from, until } | Revoked
//! ```
//!
//! RFC 6960 §3.2 lists what must be checked. Nothing of an answer is used before its signature is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::SignatureVerificationAlgorithm;
use x509_parser::prelude::*;

use super::der::{
    self, BIT_STRING, ENUMERATED, GENERALIZED_TIME, INTEGER, Item, Malformed, OBJECT_IDENTIFIER, OCTET_STRING, Reader,
    SEQUENCE,
};
use super::request::{CertId, Question, SHA_1};

/// Clocks differ.
const SKEW: Duration = Duration::from_secs(300);

/// 1.3.6.1.5.5.7.48.1.1
const BASIC: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Good(Span),
    Revoked(Span),
}

/// How long an answer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: SystemTime,
    pub until: SystemTime,
}

/// Why an answer is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the responder refuses to answer ({0})")]
    Refused(&'static str),
    #[error("it is signed neither by the certificate's issuer nor by whom the issuer lets sign")]
    Signature,
    #[error("it is not about this certificate")]
    OtherCertificate,
    #[error("the responder does not know the certificate")]
    Unknown,
    #[error("it is not valid yet; is this machine's clock right?")]
    Early,
    #[error("it is over")]
    Late,
    #[error("it does not say how long it holds")]
    Endless,
}

pub fn check(response: &[u8], question: &Question, now: SystemTime) -> Result<Status, Unusable> {
    let basic = Basic::parse(response)?;
    if !basic.is_signed_for(&question.issuer, now) {
        return Err(Unusable::Signature);
    }
    let single = Single::find(basic.data, &question.id)?;
    let span = Span { from: single.this_update, until: single.next_update.ok_or(Unusable::Endless)? };
    if now + SKEW < span.from {
        return Err(Unusable::Early);
    }
    if span.until <= now {
        return Err(Unusable::Late);
    }
    match single.status {
        tag if tag == der::context_primitive(0) => Ok(Status::Good(span)),
        tag if tag == der::context(1) => Ok(Status::Revoked(span)),
        _ => Err(Unusable::Unknown),
    }
}

/// RFC 6960 §4.2.1.
struct Basic<'a> {
    /// What is signed.
    data: Item<'a>,
    algorithm: Item<'a>,
    signature: &'a [u8],
    certificates: Vec<&'a [u8]>,
}

impl<'a> Basic<'a> {
    fn parse(response: &'a [u8]) -> Result<Self, Unusable> {
        let mut outer = Reader(response);
        let mut response = outer.expect(SEQUENCE)?.reader();
        if !outer.is_at_end() {
            return Err(Malformed.into());
        }
        match response.expect(ENUMERATED)?.content {
            [0] => {}
            [1] => return Err(Unusable::Refused("malformed request")),
            [2] => return Err(Unusable::Refused("internal error")),
            [3] => return Err(Unusable::Refused("try later")),
            [5] => return Err(Unusable::Refused("requests must be signed")),
            [6] => return Err(Unusable::Refused("unauthorized")),
            _ => return Err(Unusable::Refused("an unknown reason")),
        }
        let mut bytes = response.expect(der::context(0))?.reader().expect(SEQUENCE)?.reader();
        if bytes.expect(OBJECT_IDENTIFIER)?.content != BASIC {
            return Err(Malformed.into());
        }
        let mut basic = Reader(bytes.expect(OCTET_STRING)?.content).expect(SEQUENCE)?.reader();
        let (data, algorithm) = (basic.expect(SEQUENCE)?, basic.expect(SEQUENCE)?);
        let signature = basic.expect(BIT_STRING)?.bits()?;
        let mut certificates = Vec::new();
        if let Some(list) = basic.optional(der::context(0))? {
            let mut list = list.reader().expect(SEQUENCE)?.reader();
            while !list.is_at_end() {
                certificates.push(list.expect(SEQUENCE)?.whole);
            }
        }
        Ok(Self { data, algorithm, signature, certificates })
    }

    fn is_signed_for(&self, issuer: &[u8], now: SystemTime) -> bool {
        let Ok((_, issuer)) = X509Certificate::from_der(issuer) else { return false };
        let is_by = |key: &X509Certificate<'_>| {
            verifies(key.public_key().raw, self.algorithm.content, self.data.whole, self.signature)
        };
        let delegates = || {
            let parsed =
                self.certificates.iter().filter_map(|der| Some((*der, X509Certificate::from_der(der).ok()?.1)));
            parsed.filter(|(der, delegate)| may_sign_for(der, delegate, &issuer, now))
        };
        is_by(&issuer) || delegates().any(|(_, delegate)| is_by(&delegate))
    }
}

/// RFC 6960 §4.2.2.2: issued by the very authority, and for this purpose.
fn may_sign_for(der: &[u8], delegate: &X509Certificate<'_>, issuer: &X509Certificate<'_>, now: SystemTime) -> bool {
    let for_purpose = delegate.extended_key_usage().ok().flatten().is_some_and(|usage| usage.value.ocsp_signing);
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let in_time = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| ASN1Time::from_timestamp(seconds).ok())
        .is_some_and(|now| delegate.validity().is_valid_at(now));
    let issued = || {
        let mut parts = Reader(der).expect(SEQUENCE)?.reader();
        let (data, algorithm) = (parts.expect(SEQUENCE)?, parts.expect(SEQUENCE)?);
        let signature = parts.expect(BIT_STRING)?.bits()?;
        Ok::<_, Malformed>(verifies(issuer.public_key().raw, algorithm.content, data.whole, signature))
    };
    for_purpose && in_time && delegate.issuer().as_raw() == issuer.subject().as_raw() && issued() == Ok(true)
}

/// `key`: a SubjectPublicKeyInfo. `algorithm`: what an AlgorithmIdentifier holds.
fn verifies(key: &[u8], algorithm: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let parts = || {
        let mut info = Reader(key).expect(SEQUENCE)?.reader();
        Ok::<_, Malformed>((info.expect(SEQUENCE)?.content, info.expect(BIT_STRING)?.bits()?))
    };
    let Ok((key_algorithm, key)) = parts() else { return false };
    let fits = |known: &&&dyn SignatureVerificationAlgorithm| {
        known.signature_alg_id().as_ref() == algorithm && known.public_key_alg_id().as_ref() == key_algorithm
    };
    let known = crate::tls::provider().signature_verification_algorithms.all;
    known.iter().filter(fits).any(|known| known.verify_signature(key, message, signature).is_ok())
}

/// What is said of one certificate.
struct Single {
    status: u8,
    this_update: SystemTime,
    next_update: Option<SystemTime>,
}

impl Single {
    fn find(data: Item<'_>, id: &CertId) -> Result<Self, Unusable> {
        let mut data = data.reader();
        data.optional(der::context(0))?;
        // Who answers: the signature has told.
        data.item()?;
        data.expect(GENERALIZED_TIME)?;
        let mut singles = data.expect(SEQUENCE)?.reader();
        while !singles.is_at_end() {
            let mut single = singles.expect(SEQUENCE)?.reader();
            let is_it = is_about(single.expect(SEQUENCE)?, id)?;
            let status = single.item()?.tag;
            let this_update = time(single.expect(GENERALIZED_TIME)?)?;
            let next_update = match single.optional(der::context(0))? {
                Some(next) => Some(time(next.reader().expect(GENERALIZED_TIME)?)?),
                None => None,
            };
            if is_it {
                return Ok(Self { status, this_update, next_update });
            }
        }
        Err(Unusable::OtherCertificate)
    }
}

fn is_about(found: Item<'_>, id: &CertId) -> Result<bool, Malformed> {
    let mut found = found.reader();
    let hash = found.expect(SEQUENCE)?.reader().expect(OBJECT_IDENTIFIER)?.content;
    let (name, key) = (found.expect(OCTET_STRING)?.content, found.expect(OCTET_STRING)?.content);
    let serial = found.expect(INTEGER)?.content;
    Ok(hash == SHA_1 && name == id.issuer_name_hash && key == id.issuer_key_hash && serial == id.serial)
}

/// `20260301120000Z` (RFC 5280 §4.1.2.5.2). Before 1970 nothing of this was signed.
fn time(item: Item<'_>) -> Result<SystemTime, Malformed> {
    let (digits, b"Z") = item.content.split_at_checked(14).ok_or(Malformed)? else { return Err(Malformed) };
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(Malformed);
    }
    let number =
        |range: std::ops::Range<usize>| digits[range].iter().fold(0, |n, digit| n * 10 + u32::from(digit - b'0'));
    let small = |at: usize| u8::try_from(number(at..at + 2)).map_err(|_| Malformed);
    let month = ::time::Month::try_from(small(4)?).map_err(|_| Malformed)?;
    let year = i32::try_from(number(0..4)).map_err(|_| Malformed)?;
    let date = ::time::Date::from_calendar_date(year, month, small(6)?).map_err(|_| Malformed)?;
    let clock = ::time::Time::from_hms(small(8)?, small(10)?, small(12)?).map_err(|_| Malformed)?;
    let seconds = date.with_time(clock).assume_utc().unix_timestamp();
    Ok(UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).map_err(|_| Malformed)?))
}
