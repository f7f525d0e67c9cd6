//! Where a certificate comes from. Its bytes are read by `tls`, or ordered by `acme`.

use std::path::PathBuf;

use serde::Serialize;

use super::{AcmeCertificate, HostName};
use crate::diagnostics::Origin;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Certificate {
    pub origin: Origin,
    pub source: CertificateSource,
    pub usage: CertificateUse,
}

/// Who is shown it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateUse {
    /// Who asks for a name that it has; the first of the model also who asks for none.
    #[default]
    ItsNames,
    /// Of its names, those for which somebody has it: a tenant's certificate is shown for the tenant's hosts alone.
    Only(Vec<HostName>),
    /// Who asks for a name that no other has, or for none.
    Fallback,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateSource {
    /// PEM files: the chain, leaf first, and the leaf's private key.
    File { cert: PathBuf, key: PathBuf },
    /// Ordered, kept and renewed by Weir.
    Acme(AcmeCertificate),
}
