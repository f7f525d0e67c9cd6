//! Certificates that a model names: read, proven, and told about.
//!
//! ```text
//! [model::Certificate] + now ──► [LoadedCertificate] + Diagnostics
//! ```
//!
//! A file that cannot be used is an error at the certificate's origin and removes no sibling. What is only
//! unwise is served with a warning: an expired certificate, too, because the alternative is the self-signed
//! one, which even clients that put up with expiry refuse.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::certificate::{About, Leaf, LoadedCertificate, NamedBy, Standing};
use super::key_pair::{KeyPair, Report, first_break_in};
use super::pem::Problem;
use crate::diagnostics::Diagnostics;
use crate::material::Material;
use crate::model::{Certificate, CertificateSource};
use crate::timestamp::Timestamp;

/// An automatic renewal happens 30 days ahead; at half of that it has failed more than once.
const EXPIRES_SOON: Duration = Duration::from_secs(15 * 86_400);

/// Reads every certificate that the model names a file for. Blocks on files: not for the data plane.
pub fn load_certificates(
    certificates: &[Certificate],
    material: &Material,
    now: SystemTime,
) -> (Vec<Arc<LoadedCertificate>>, Diagnostics) {
    let mut found = Diagnostics::default();
    let mut loaded = Vec::with_capacity(certificates.len());
    for (index, certificate) in certificates.iter().enumerate() {
        let CertificateSource::File { cert, key } = &certificate.source else { continue };
        let path = format!("certificates[{index}].file");
        let mut report = Report { origin: &certificate.origin, path, found: &mut found };
        let about = About::of_file(certificate, cert, index);
        if let Some(one) = load(cert, key, about, material, &mut report) {
            warn_of(&one, now, &mut report);
            loaded.push(Arc::new(one.certificate.used_as(&certificate.usage)));
        }
    }
    (loaded, found)
}

/// The certificates in force as their files are now. One that cannot be used stays as it was: its error belongs to the
/// configuration that it was found in. Blocks on files.
pub fn renew_certificates(
    certificates: &[Certificate],
    in_force: &[Arc<LoadedCertificate>],
    now: SystemTime,
) -> Vec<Arc<LoadedCertificate>> {
    let (fresh, _) = load_certificates(certificates, &Material::OnDisk, now);
    let renewed = |old: &Arc<LoadedCertificate>| {
        let is_same = |new: &&Arc<LoadedCertificate>| new.about == old.about;
        fresh.iter().find(is_same).unwrap_or(old).clone()
    };
    in_force.iter().map(renewed).collect()
}

impl About {
    pub(super) fn of_file(certificate: &Certificate, cert: &Path, position: usize) -> Self {
        let source: Arc<str> = cert.display().to_string().into();
        Self { origin: certificate.origin.clone(), label: source.clone(), source, position }
    }
}

pub(super) struct Loaded {
    /// For all its names.
    pub certificate: LoadedCertificate,
    /// Where the chain is out of order.
    pub broken_at: Option<usize>,
}

pub(super) fn load(
    cert: &Path,
    key: &Path,
    about: About,
    material: &Material,
    report: &mut Report<'_>,
) -> Option<Loaded> {
    let pair = KeyPair::read(cert, key, material, report)?;
    let leaf = report.unless(
        ".cert",
        Leaf::parse(&pair.chain[0])
            .map_err(|reason| Problem::new(format!("the certificate in {} cannot be read: {reason}", cert.display()))),
    )?;
    let broken_at = first_break_in(&pair.chain);
    let certificate = LoadedCertificate { leaf, standing: Standing::Own, about, key: Arc::new(pair.certified) };
    Some(Loaded { certificate, broken_at })
}

/// What is unwise about it, today.
pub(super) fn warn_of(loaded: &Loaded, now: SystemTime, report: &mut Report<'_>) {
    let LoadedCertificate { leaf, about, .. } = &loaded.certificate;
    let source = &about.source;
    warn_of_validity(source, leaf, now, report);
    warn_of_names(source, leaf, report);
    if let Some(position) = loaded.broken_at {
        let problem = Problem::new(format!(
            "certificate {position} of {source} was not issued by the next one: the chain is out of order"
        ));
        report
            .warn(".cert", problem.help("write the server's certificate first, then each issuer after what it issued"));
    }
}

fn warn_of_validity(source: &str, leaf: &Leaf, now: SystemTime, report: &mut Report<'_>) {
    let (from, to) = (Timestamp::from(leaf.validity.not_before), Timestamp::from(leaf.validity.not_after));
    if now > leaf.validity.not_after {
        let problem = Problem::new(format!("the certificate in {source} expired on {to}; it is served all the same"));
        report.warn(".cert", problem.help("renew it: clients refuse it"));
    } else if now + EXPIRES_SOON > leaf.validity.not_after {
        report
            .warn(".cert", Problem::new(format!("the certificate in {source} expires soon, on {to}")).help("renew it"));
    } else if now < leaf.validity.not_before {
        let problem = Problem::new(format!("the certificate in {source} is not valid before {from}"));
        report.warn(".cert", problem.help("is this machine's clock right?"));
    }
}

fn warn_of_names(source: &str, leaf: &Leaf, report: &mut Report<'_>) {
    let reissue = "have it issued with its host names as subject alternative names";
    if leaf.names.is_empty() {
        let problem = Problem::new(format!("the certificate in {source} names no host, so no client is shown it"));
        report.warn(".cert", problem.help(reissue));
    } else if leaf.named_by == NamedBy::CommonName {
        let problem = Problem::new(format!(
            "the certificate in {source} has no subject alternative name, only a common name, which clients ignore"
        ));
        report.warn(".cert", problem.help(reissue));
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
