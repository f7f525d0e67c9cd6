//! What is asked: is this certificate, of this issuer, still good?
//!
//! ```text
//! chain ──► Question { responder, CertId, issuer } ──► OCSPRequest (RFC 6960 §4.1)
//! ```

use aws_lc_rs::digest;
use http::Uri;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::*;

use super::der::{self, NULL, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE};

/// 1.3.14.3.2.26: SHA-1, the one hash that every responder knows names by (RFC 5019 §2.1.1). It finds, it proves nothing.
pub const SHA_1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];

/// A certificate that can be asked about.
#[derive(Clone, Debug)]
pub struct Question {
    pub responder: Uri,
    pub id: CertId,
    pub issuer: CertificateDer<'static>,
}

/// By what a responder knows a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertId {
    pub issuer_name_hash: Vec<u8>,
    pub issuer_key_hash: Vec<u8>,
    /// As it stands in the certificate.
    pub serial: Vec<u8>,
}

impl Question {
    /// None where the certificate names no responder, or its issuer is not the next of the chain.
    pub fn about(chain: &[CertificateDer<'static>]) -> Option<Self> {
        let [leaf, issuer, ..] = chain else { return None };
        let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
        let (_, authority) = X509Certificate::from_der(issuer).ok()?;
        if certificate.issuer().as_raw() != authority.subject().as_raw() {
            return None;
        }
        let id = CertId {
            issuer_name_hash: sha_1(certificate.issuer().as_raw()),
            issuer_key_hash: sha_1(&authority.public_key().subject_public_key.data),
            serial: certificate.raw_serial().to_vec(),
        };
        Some(Self { responder: responder(&certificate)?, id, issuer: issuer.clone() })
    }

    pub fn encoded(&self) -> Vec<u8> {
        let algorithm = der::item(SEQUENCE, &[&der::item(OBJECT_IDENTIFIER, &[SHA_1]), &der::item(NULL, &[])]);
        let id = der::item(
            SEQUENCE,
            &[
                &algorithm,
                &der::item(OCTET_STRING, &[&self.id.issuer_name_hash]),
                &der::item(OCTET_STRING, &[&self.id.issuer_key_hash]),
                &der::item(der::INTEGER, &[&self.id.serial]),
            ],
        );
        let list = der::item(SEQUENCE, &[&der::item(SEQUENCE, &[&id])]);
        // Without a nonce: most responders answer with what they have signed before.
        der::item(SEQUENCE, &[&der::item(SEQUENCE, &[&list])])
    }
}

/// The first that is asked over HTTP.
fn responder(certificate: &X509Certificate<'_>) -> Option<Uri> {
    let access = certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityInfoAccess(access) => Some(access),
        _ => None,
    })?;
    let is_ocsp = |access: &&AccessDescription<'_>| access.access_method.to_id_string() == "1.3.6.1.5.5.7.48.1";
    access.iter().filter(is_ocsp).find_map(|access| match access.access_location {
        GeneralName::URI(text) => {
            text.parse::<Uri>().ok().filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")))
        }
        _ => None,
    })
}

fn sha_1(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec()
}
