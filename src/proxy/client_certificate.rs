//! What upstreams are told of a client's certificate: fields that clients themselves cannot write.
//!
//! ```text
//! handshake ──► ClientCertificate ──once per connection──► CertificateValues ──each request──► upstream
//! request ──sanitize (RFC 9440 §4)──┘
//! ```

use http::{HeaderMap, HeaderName, HeaderValue};

use super::head::imitates_any;
use crate::tls::ClientCertificate;

const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
const CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");
const VERIFY: HeaderName = HeaderName::from_static("x-client-verify");
const SUBJECT: HeaderName = HeaderName::from_static("x-client-subject");
const ISSUER: HeaderName = HeaderName::from_static("x-client-issuer");
const SERIAL: HeaderName = HeaderName::from_static("x-client-serial");
const FINGERPRINT: HeaderName = HeaderName::from_static("x-client-fingerprint");

const FIELDS: [HeaderName; 7] = [CLIENT_CERT, CLIENT_CERT_CHAIN, VERIFY, SUBJECT, ISSUER, SERIAL, FINGERPRINT];

/// As an origin reads them that takes underscores for dashes.
const NAMES: [&[u8]; 7] = [
    b"client-cert",
    b"client-cert-chain",
    b"x-client-verify",
    b"x-client-subject",
    b"x-client-issuer",
    b"x-client-serial",
    b"x-client-fingerprint",
];

/// The fields of one connection, written once.
#[derive(Debug)]
pub struct CertificateValues(Vec<(HeaderName, HeaderValue)>);

impl CertificateValues {
    /// A value that is no header value (none should be) is left out.
    pub fn of(certificate: &ClientCertificate) -> Self {
        let texts = [
            (CLIENT_CERT, Some(&certificate.leaf)),
            (CLIENT_CERT_CHAIN, certificate.chain.as_ref()),
            (SUBJECT, Some(&certificate.subject)),
            (ISSUER, Some(&certificate.issuer)),
            (SERIAL, Some(&certificate.serial)),
            (FINGERPRINT, Some(&certificate.fingerprint)),
        ];
        let field = |(name, text): (HeaderName, Option<&String>)| Some((name, HeaderValue::try_from(text?).ok()?));
        Self(texts.into_iter().filter_map(field).collect())
    }
}

/// Takes away what the client wrote.
pub fn sanitize(headers: &mut HeaderMap) {
    for field in &FIELDS {
        headers.remove(field);
    }
    while let Some(name) = headers.keys().find(|name| imitates_any(&NAMES, name.as_str().as_bytes())).cloned() {
        headers.remove(&name);
    }
}

/// Tells of the certificate, or that there is none. After [`sanitize`].
pub fn tell(headers: &mut HeaderMap, values: Option<&CertificateValues>) {
    let verdict = if values.is_some() { "SUCCESS" } else { "NONE" };
    headers.insert(VERIFY, HeaderValue::from_static(verdict));
    for (name, value) in values.into_iter().flat_map(|values| &values.0) {
        headers.insert(name, value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_writes_of_itself_is_taken_away_under_every_spelling() {
        let mut headers = HeaderMap::new();
        for name in FIELDS.iter().map(HeaderName::as_str).chain(["x_client-verify", "client_cert", "x_client_subject"])
        {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static("forged"));
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static("twice"));
        }
        headers.insert("x-client-version", HeaderValue::from_static("kept"));
        sanitize(&mut headers);
        assert_eq!(headers.len(), 1, "{headers:?}");
        tell(&mut headers, None);
        assert_eq!(headers["x-client-verify"], "NONE");
    }

    #[test]
    fn the_two_lists_of_fields_are_one() {
        assert!(FIELDS.iter().map(|name| name.as_str().as_bytes()).eq(NAMES));
    }
}
