//! A client's certificate, in the words that upstreams are told of it.
//!
//! ```text
//! [DER, leaf first] ──x509──► ClientCertificate { subject, issuer, serial, fingerprint, … }
//! ```
//!
//! Names are RFC 4514, as nginx writes them: whatever a certificate holds becomes printable ASCII in which every
//! character that would mean something is escaped.

use std::fmt::Write;
use std::time::SystemTime;

use aws_lc_rs::digest;
use base64::prelude::{BASE64_STANDARD, Engine};
use rustls::pki_types::CertificateDer;
use x509_parser::asn1_rs::ToDer;
use x509_parser::prelude::*;

use super::certificate::system_time;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    pub subject: String,
    pub issuer: String,
    /// Uppercase hexadecimal.
    pub serial: String,
    /// SHA-256 of the certificate, lowercase hexadecimal.
    pub fingerprint: String,
    /// An RFC 9651 byte sequence: the certificate.
    pub leaf: String,
    /// A list of them: what the client sent after its own, if anything.
    pub chain: Option<String>,
    /// The certificate as PEM, percent-encoded but for letters, digits and `-._~`: nginx's `$ssl_client_escaped_cert`.
    pub escaped: String,
    pub not_after: SystemTime,
}

impl ClientCertificate {
    /// The error is a reason to show.
    pub(super) fn parse(chain: &[CertificateDer<'_>]) -> Result<Self, String> {
        let (leaf, rest) = chain.split_first().ok_or("it is not there")?;
        let (_, certificate) = X509Certificate::from_der(leaf).map_err(|error| error.to_string())?;
        let rest: Vec<String> = rest.iter().map(|der| byte_sequence(der)).collect();
        Ok(Self {
            subject: distinguished_name(certificate.subject()),
            issuer: distinguished_name(certificate.issuer()),
            serial: hex_upper(strip_sign(certificate.raw_serial())),
            fingerprint: hex_lower(digest::digest(&digest::SHA256, leaf).as_ref()),
            leaf: byte_sequence(leaf),
            chain: (!rest.is_empty()).then(|| rest.join(", ")),
            escaped: escaped_pem(leaf),
            not_after: system_time(certificate.validity().not_after),
        })
    }
}

fn byte_sequence(der: &[u8]) -> String {
    format!(":{}:", BASE64_STANDARD.encode(der))
}

fn escaped_pem(der: &[u8]) -> String {
    const LINE: usize = 64;
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(LINE).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"));
    pem.bytes().fold(String::new(), |mut escaped, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(char::from(byte)),
            // Writing to a text cannot fail.
            other => drop(write!(escaped, "%{other:02X}")),
        }
        escaped
    })
}

/// DER writes a zero before a number whose first bit is set.
fn strip_sign(number: &[u8]) -> &[u8] {
    match number {
        [0, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    }
}

fn hex_upper(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02X}");
        text
    })
}

fn hex_lower(bytes: &[u8]) -> String {
    hex_upper(bytes).to_ascii_lowercase()
}

/// RFC 4514: the last part first.
fn distinguished_name(name: &X509Name<'_>) -> String {
    let parts: Vec<&RelativeDistinguishedName<'_>> = name.iter_rdn().collect();
    let texts: Vec<String> = parts.iter().rev().map(|part| relative_name(part)).collect();
    texts.join(",")
}

fn relative_name(part: &RelativeDistinguishedName<'_>) -> String {
    let texts: Vec<String> = part.iter().map(attribute).collect();
    texts.join("+")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let name = SHORT_NAMES.iter().find(|(known, _)| *known == oid).map_or(oid.as_str(), |(_, name)| name);
    match attribute.as_str() {
        Ok(text) => format!("{name}={}", escaped(text)),
        // §2.4: what is no text is shown as it is encoded.
        Err(_) => format!("{name}=#{}", hex_upper(&attribute.attr_value().to_der_vec().unwrap_or_default())),
    }
}

/// Those of RFC 4514 §3, and what is common beside.
const SHORT_NAMES: [(&str, &str); 12] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// §2.4, and every byte that is not printable ASCII as its number.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let last = text.len().saturating_sub(1);
    for (at, byte) in text.bytes().enumerate() {
        let edge = byte == b' ' && (at == 0 || at == last) || byte == b'#' && at == 0;
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' | b'=' => out.extend(['\\', char::from(byte)]),
            _ if edge => out.extend(['\\', char::from(byte)]),
            b' '..=b'~' => out.push(char::from(byte)),
            // Writing to a text cannot fail.
            _ => drop(write!(out, "\\{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    #[test]
    fn a_certificate_is_told_of_in_printable_and_unambiguous_words() {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CountryName, "DE");
        params.distinguished_name.push(DnType::OrganizationName, "Müller, Söhne + Co=\r\nX: y");
        params.distinguished_name.push(DnType::CommonName, " #1\\ ");
        params.serial_number = Some(vec![0xab, 0x01].into());
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().clone();
        let read = ClientCertificate::parse(&[der.clone(), der.clone()]).unwrap();
        let subject = "CN=\\ #1\\\\\\ ,O=M\\C3\\BCller\\, S\\C3\\B6hne \\+ Co\\=\\0D\\0AX: y,C=DE";
        assert_eq!((read.subject.as_str(), read.issuer.as_str()), (subject, subject));
        assert_eq!(read.serial, "AB01");
        assert_eq!(read.fingerprint.len(), 64);
        assert_eq!(read.leaf, format!(":{}:", BASE64_STANDARD.encode(&der)));
        assert_eq!(read.chain.as_ref(), Some(&read.leaf));
        assert!(read.escaped.starts_with("-----BEGIN%20CERTIFICATE-----%0AMII"), "{}", read.escaped);
        assert!(read.escaped.ends_with("%0A-----END%20CERTIFICATE-----%0A"), "{}", read.escaped);
    }
}
