//! Where a certificate comes from. Its bytes are read by `tls`.

use std::path::PathBuf;

use serde::Serialize;

use crate::diagnostics::Origin;

#[derive(Clone, Debug, Serialize)]
pub struct Certificate {
    pub origin: Origin,
    pub source: CertificateSource,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateSource {
    /// PEM files: the chain, leaf first, and the leaf's private key.
    File { cert: PathBuf, key: PathBuf },
}
