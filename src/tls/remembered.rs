//! Certificates that were read before: a cluster is translated anew with each change, and has thousands of them.
//!
//! ```text
//! [model::Certificate] + Material ──same bytes as last time?──yes──► what was made of them, under its place of today
//!                                              └──no──► load
//! ```

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::certificate::{About, LoadedCertificate};
use super::key_pair::Report;
use super::load::{Loaded, load, warn_of};
use crate::diagnostics::Diagnostics;
use crate::material::Material;
use crate::model::{Certificate, CertificateSource};

/// Of the last loading alone.
#[derive(Default)]
pub struct RememberedCertificates(HashMap<PathBuf, Made>);

/// Certificate and key.
type Texts = (Arc<[u8]>, Arc<[u8]>);

/// What was made of them.
struct Made {
    texts: Texts,
    loaded: Loaded,
}

impl RememberedCertificates {
    /// As `load_certificates`; what has the bytes that it had last time is not read anew.
    pub fn load(
        &mut self,
        certificates: &[Certificate],
        material: &Material,
        now: SystemTime,
    ) -> (Vec<Arc<LoadedCertificate>>, Diagnostics) {
        let mut before = std::mem::take(&mut self.0);
        let mut found = Diagnostics::default();
        let mut all = Vec::with_capacity(certificates.len());
        for (index, certificate) in certificates.iter().enumerate() {
            let CertificateSource::File { cert, key } = &certificate.source else { continue };
            let about = About::of_file(certificate, cert, index);
            let path = format!("certificates[{index}].file");
            let mut report = Report { origin: &certificate.origin, path, found: &mut found };
            let texts = texts(cert, key, material);
            let known = before.remove(cert).filter(|made| Some(&made.texts) == texts.as_ref());
            let loaded = match known {
                Some(made) => Some(made.loaded.at(about)),
                None => load(cert, key, about, material, &mut report),
            };
            let Some(loaded) = loaded else { continue };
            warn_of(&loaded, now, &mut report);
            all.push(Arc::new(loaded.certificate.again().used_as(&certificate.usage)));
            if let Some(texts) = texts {
                self.0.insert(cert.clone(), Made { texts, loaded });
            }
        }
        (all, found)
    }
}

fn texts(cert: &Path, key: &Path, material: &Material) -> Option<Texts> {
    Some((material.read(cert, u64::MAX).ok()?, material.read(key, u64::MAX).ok()?))
}

impl Loaded {
    /// The same, where the model has it now.
    fn at(mut self, about: About) -> Self {
        self.certificate.about = about;
        self
    }
}

impl LoadedCertificate {
    fn again(&self) -> Self {
        let Self { leaf, standing, about, key } = self;
        Self { leaf: leaf.clone(), standing: *standing, about: about.clone(), key: key.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::Origin;
    use crate::model::CertificateUse;
    use crate::tls::testing::{Authority, Leaf, now};

    fn brought(pairs: &[(&str, &str, &str)]) -> (Vec<Certificate>, Material) {
        let mut contents = std::collections::BTreeMap::new();
        let mut certificates = Vec::new();
        for (name, cert, key) in pairs {
            let path = |part: &str| PathBuf::from(format!("secret/a/{name}/{part}"));
            contents.insert(path("tls.crt"), Arc::from(cert.as_bytes()));
            contents.insert(path("tls.key"), Arc::from(key.as_bytes()));
            let source = CertificateSource::File { cert: path("tls.crt"), key: path("tls.key") };
            certificates.push(Certificate { origin: Origin::builtin(), source, usage: CertificateUse::ItsNames });
        }
        (certificates, Material::Brought(contents))
    }

    #[test]
    fn only_what_changed_is_read_anew_and_one_that_is_broken_removes_no_sibling() {
        let authority = Authority::new();
        let (a, b) = (authority.issue(&Leaf::for_names(&["a.test"])), authority.issue(&Leaf::for_names(&["b.test"])));
        let mut remembered = RememberedCertificates::default();
        let (certificates, material) = brought(&[("x", &a.cert_pem, &a.key_pem), ("y", &b.cert_pem, &b.key_pem)]);
        let (first, found) = remembered.load(&certificates, &material, now());
        assert_eq!((first.len(), found.has_errors()), (2, false));

        let (certificates, material) =
            brought(&[("new", &b.cert_pem, &b.key_pem), ("x", &a.cert_pem, &a.key_pem), ("y", "?", &b.key_pem)]);
        let (second, found) = remembered.load(&certificates, &material, now());
        assert_eq!(second.len(), 2);
        assert!(Arc::ptr_eq(first[0].key(), second[1].key()), "it was not read again");
        assert_eq!(second[1].about.position, 1);
        let errors: Vec<_> = found.iter().map(|finding| finding.message.clone()).collect();
        assert_eq!(errors, ["there is no certificate in secret/a/y/tls.crt"]);
        assert!(remembered.load(&[], &material, now()).0.is_empty() && remembered.0.is_empty());
    }
}
