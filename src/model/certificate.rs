//! Where a certificate comes from. Its bytes are read by `tls`, or ordered by `acme`.

use std::path::PathBuf;

use serde::Serialize;

use super::AcmeCertificate;
use crate::diagnostics::Origin;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Certificate {
    pub origin: Origin,
    pub source: CertificateSource,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateSource {
    /// PEM files: the chain, leaf first, and the leaf's private key.
    File { cert: PathBuf, key: PathBuf },
    /// Ordered, kept and renewed by Weir.
    Acme(AcmeCertificate),
}
