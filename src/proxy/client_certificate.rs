//! What upstreams are told of a client's certificate: fields that clients themselves cannot write.
//!
//! ```text
//! handshake ──► ClientCertificate ──once per connection──► CertificateValues ──each request──► upstream
//! request ──sanitize (RFC 9440 §4)──┘
//! ```

use http::{HeaderName, HeaderValue};

use super::filters::Head;
use super::head::imitates_any;
use crate::model::SslClientCert;
use crate::tls::Shown;

const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
const CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");
const VERIFY: HeaderName = HeaderName::from_static("x-client-verify");
const SUBJECT: HeaderName = HeaderName::from_static("x-client-subject");
const ISSUER: HeaderName = HeaderName::from_static("x-client-issuer");
const SERIAL: HeaderName = HeaderName::from_static("x-client-serial");
const FINGERPRINT: HeaderName = HeaderName::from_static("x-client-fingerprint");

/// ingress-nginx's.
const SSL_VERIFY: HeaderName = HeaderName::from_static("ssl-client-verify");
const SSL_SUBJECT: HeaderName = HeaderName::from_static("ssl-client-subject-dn");
const SSL_ISSUER: HeaderName = HeaderName::from_static("ssl-client-issuer-dn");
const SSL_CERT: HeaderName = HeaderName::from_static("ssl-client-cert");

const FIELDS: [HeaderName; 11] = [
    CLIENT_CERT,
    CLIENT_CERT_CHAIN,
    VERIFY,
    SUBJECT,
    ISSUER,
    SERIAL,
    FINGERPRINT,
    SSL_VERIFY,
    SSL_SUBJECT,
    SSL_ISSUER,
    SSL_CERT,
];

/// As an origin reads them that takes underscores for dashes.
const NAMES: [&[u8]; 11] = [
    b"client-cert",
    b"client-cert-chain",
    b"x-client-verify",
    b"x-client-subject",
    b"x-client-issuer",
    b"x-client-serial",
    b"x-client-fingerprint",
    b"ssl-client-verify",
    b"ssl-client-subject-dn",
    b"ssl-client-issuer-dn",
    b"ssl-client-cert",
];

type Fields = Vec<(HeaderName, HeaderValue)>;

/// The fields of one connection, written once.
#[derive(Debug)]
pub struct CertificateValues {
    own: Fields,
    ssl_client: Fields,
    /// The certificate itself, beside those.
    ssl_client_cert: Option<HeaderValue>,
}

impl CertificateValues {
    /// None where there is no certificate. A value that is no header value (none should be) is left out.
    pub fn of(shown: &Shown) -> Option<Self> {
        let (certificate, failure) = match shown {
            Shown::Nothing => return None,
            Shown::Good(certificate) => (certificate, None),
            Shown::Bad { certificate, reason, .. } => (certificate, Some(format!("FAILED:{reason}"))),
        };
        let (verdict, own_verdict) = match &failure {
            Some(failure) => (failure.as_str(), "FAILED"),
            None => ("SUCCESS", "SUCCESS"),
        };
        let own = [
            (VERIFY, Some(own_verdict)),
            (CLIENT_CERT, Some(&certificate.leaf)),
            (CLIENT_CERT_CHAIN, certificate.chain.as_deref()),
            (SUBJECT, Some(&certificate.subject)),
            (ISSUER, Some(&certificate.issuer)),
            (SERIAL, Some(&certificate.serial)),
            (FINGERPRINT, Some(&certificate.fingerprint)),
        ];
        let ssl_client = [
            (SSL_VERIFY, Some(verdict)),
            (SSL_SUBJECT, Some(&certificate.subject)),
            (SSL_ISSUER, Some(&certificate.issuer)),
        ];
        let field = |(name, text): (HeaderName, Option<&str>)| Some((name, HeaderValue::from_str(text?).ok()?));
        Some(Self {
            own: own.into_iter().filter_map(field).collect(),
            ssl_client: ssl_client.into_iter().filter_map(field).collect(),
            ssl_client_cert: HeaderValue::from_str(&certificate.escaped).ok(),
        })
    }
}

/// Takes away what the client wrote.
pub fn sanitize(head: &mut impl Head) {
    for field in &FIELDS {
        head.remove(field);
    }
    head.remove_named(&|name| imitates_any(&NAMES, name));
}

/// Tells of the certificate, or that there is none. After [`sanitize`].
pub fn tell(head: &mut impl Head, values: Option<&CertificateValues>) {
    match values {
        Some(values) => values.own.iter().for_each(|(name, value)| head.add(name, value)),
        None => head.set(&VERIFY, NONE),
    }
}

/// As [`tell`], in ingress-nginx's fields.
pub fn tell_as_ssl_client(head: &mut impl Head, values: Option<&CertificateValues>, cert: SslClientCert) {
    match values {
        Some(values) => values.ssl_client.iter().for_each(|(name, value)| head.add(name, value)),
        None => head.set(&SSL_VERIFY, NONE),
    }
    if let (Some(value), SslClientCert::Send) = (values.and_then(|values| values.ssl_client_cert.as_ref()), cert) {
        head.set(&SSL_CERT, value);
    }
}

const NONE: HeaderValue = HeaderValue::from_static("NONE");

#[cfg(test)]
mod tests {
    use http::HeaderMap;

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
