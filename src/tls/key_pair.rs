//! A certificate chain and its key, read from two files and proven to belong together.
//!
//! ```text
//! cert path ─┐
//! key path ──┴─► KeyPair { chain, key, certified }   or   every finding, at the origin that names the files
//! ```

use std::path::Path;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::*;

use super::pem::{self, Problem};
use super::provider;
use crate::diagnostics::{Diagnostic, Diagnostics, Origin};
use crate::material::Material;

/// Not `Debug`: it holds the private key.
pub(super) struct KeyPair {
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    pub certified: CertifiedKey,
}

impl KeyPair {
    /// Reads both, so that what is wrong with either is found at once.
    pub fn read(cert: &Path, key: &Path, material: &Material, report: &mut Report<'_>) -> Option<Self> {
        let chain = report.unless(".cert", pem::read_certificates(cert, material));
        let private = report.unless(".key", pem::read_private_key(key, material));
        let (chain, private) = (chain?, private?);
        let certified = report.unless(".key", certify(&chain, &private, cert, key))?;
        Some(Self { chain, key: private, certified })
    }
}

fn certify(
    chain: &[CertificateDer<'static>],
    private: &PrivateKeyDer<'static>,
    cert: &Path,
    key: &Path,
) -> Result<CertifiedKey, Problem> {
    let signing = provider().key_provider.load_private_key(private.clone_key()).map_err(|error| {
        Problem::new(format!("the key in {} cannot be used: {error}", key.display()))
            .help("RSA keys of 2048 bits or more, ECDSA keys on P-256, P-384 and P-521, and Ed25519 keys can be used")
    })?;
    let certified = CertifiedKey::new(chain.to_vec(), signing.clone());
    let Err(error) = certified.keys_match() else { return Ok(certified) };
    if !matches!(error, rustls::Error::InconsistentKeys(_)) {
        return Err(Problem::new(format!("the certificate in {} cannot be used: {error}", cert.display())));
    }
    let mismatch =
        Problem::new(format!("the key in {} does not match the certificate in {}", key.display(), cert.display()));
    let matches_later =
        |other: &CertificateDer<'static>| CertifiedKey::new(vec![other.clone()], signing.clone()).keys_match().is_ok();
    Err(match chain.iter().skip(1).any(matches_later) {
        true => mismatch.help("it matches a later certificate of that file; the server's own must come first"),
        false => mismatch.help("name the key that the certificate was issued for"),
    })
}

/// The position of the first certificate that was not issued by the one after it, counted from 1.
pub(super) fn first_break_in(chain: &[CertificateDer<'static>]) -> Option<usize> {
    let parsed: Option<Vec<_>> =
        chain.iter().map(|der| X509Certificate::from_der(der).ok().map(|(_, parsed)| parsed)).collect();
    // What cannot be parsed is reported by whoever reads the leaf; a strange intermediate is the client's to judge.
    let is_break = |pair: &[X509Certificate<'_>]| pair[0].issuer() != pair[1].subject();
    parsed?.windows(2).position(is_break).map(|index| index + 1)
}

/// Collects findings about one item of the model.
pub(super) struct Report<'a> {
    pub origin: &'a Origin,
    /// The item's key path; findings add to it.
    pub path: String,
    pub found: &'a mut Diagnostics,
}

impl Report<'_> {
    /// The value, or the problem as an error at `path` + `key`.
    pub fn unless<T>(&mut self, key: &str, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.push(Diagnostic::error, key, problem)).ok()
    }

    pub fn warn(&mut self, key: &str, problem: Problem) {
        self.push(Diagnostic::warning, key, problem);
    }

    fn push(&mut self, severity: fn(Origin, String, String) -> Diagnostic, key: &str, problem: Problem) {
        let diagnostic = severity(self.origin.clone(), format!("{}{key}", self.path), problem.message);
        self.found.push(match problem.help {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        });
    }
}
