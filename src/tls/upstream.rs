//! What Weir verifies its upstreams with, and what it shows of itself.
//!
//! ```text
//! [model::Upstream] ──► { UpstreamName: UpstreamTlsMaterial } + Diagnostics ──► snapshot
//! ```
//!
//! Plain DER, so that whoever connects may use any TLS stack. An upstream whose files cannot be used has
//! no entry: it must not be spoken to with less than it was told to ask for.

use std::collections::BTreeMap;
use std::fmt;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::key_pair::{KeyPair, Report};
use super::pem;
use crate::diagnostics::Diagnostics;
use crate::material::Material;
use crate::model::{Reused, Upstream, UpstreamName, UpstreamTls};

#[derive(Default, PartialEq, Eq)]
pub struct UpstreamTlsMaterial {
    /// Roots to verify against; None: the system's.
    pub ca: Option<Vec<CertificateDer<'static>>>,
    /// The chain, leaf first, and its key.
    pub client: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl fmt::Debug for UpstreamTlsMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamTlsMaterial")
            .field("ca", &self.ca.as_ref().map(Vec::len))
            .field("client", &self.client.as_ref().map(|_| "(redacted)"))
            .finish()
    }
}

/// Reads what every upstream that has TLS names. Blocks on files: not for the data plane.
pub fn load_upstreams(
    upstreams: &[Reused<Upstream>],
    material: &Material,
) -> (BTreeMap<UpstreamName, UpstreamTlsMaterial>, Diagnostics) {
    let mut found = Diagnostics::default();
    let mut loaded = BTreeMap::new();
    for upstream in upstreams {
        let Some(tls) = &upstream.tls else { continue };
        let path = format!("upstreams.{}.tls", upstream.name);
        let mut report = Report { origin: &upstream.origin, path, found: &mut found };
        if let Some(read) = load(tls, material, &mut report) {
            loaded.insert(upstream.name.clone(), read);
        }
    }
    (loaded, found)
}

/// Both parts are read, so that what is wrong with either is found at once.
fn load(tls: &UpstreamTls, material: &Material, report: &mut Report<'_>) -> Option<UpstreamTlsMaterial> {
    let ca = tls.ca.as_ref().map(|path| report.unless(".ca", pem::read_certificates(path, material)));
    let client = tls.client_certificate.as_ref().map(|files| {
        let item = report.path.len();
        report.path.push_str(".client-certificate");
        let pair = KeyPair::read(&files.cert, &files.key, material, report);
        report.path.truncate(item);
        pair
    });
    Some(UpstreamTlsMaterial {
        ca: all_or_nothing(ca)?,
        client: all_or_nothing(client)?.map(|pair| (pair.chain, pair.key)),
    })
}

/// `None` when it was asked for and could not be read.
fn all_or_nothing<T>(asked: Option<Option<T>>) -> Option<Option<T>> {
    match asked {
        None => Some(None),
        Some(Some(read)) => Some(Some(read)),
        Some(None) => None,
    }
}

#[cfg(test)]
#[path = "upstream_tests.rs"]
mod tests;
