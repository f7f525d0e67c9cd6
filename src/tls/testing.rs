//! Certificates for tests: an authority that issues what a test needs, and the files that hold it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256,
    date_time_ymd,
};
use rustls::pki_types::CertificateDer;

use super::{LoadedCertificate, load_certificates};
use crate::diagnostics::Origin;
use crate::model::{Certificate, CertificateSource};

/// Tests run at this time: 2026-03-01.
pub(crate) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_772_323_200)
}

#[derive(Clone, Copy)]
pub(crate) enum Key {
    Ecdsa,
    Rsa,
}

/// A leaf to be issued; by default for ten years around [`now`] on an elliptic curve.
#[derive(Clone)]
pub(crate) struct Leaf {
    pub names: Vec<String>,
    pub key: Key,
    pub until: (i32, u8, u8),
    pub common_name: &'static str,
}

impl Leaf {
    pub fn for_names(names: &[&str]) -> Self {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Self { names, key: Key::Ecdsa, until: (2100, 1, 1), common_name: "leaf" }
    }
}

pub(crate) struct Authority {
    params: CertificateParams,
    key: KeyPair,
    pub der: CertificateDer<'static>,
    pub pem: String,
}

pub(crate) struct Issued {
    pub cert_pem: String,
    pub key_pem: String,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Test authority");
        let certificate = params.self_signed(&key).unwrap();
        Self { params, key, der: certificate.der().clone(), pem: certificate.pem() }
    }

    pub fn issue(&self, leaf: &Leaf) -> Issued {
        let algorithm = match leaf.key {
            Key::Ecdsa => &PKCS_ECDSA_P256_SHA256,
            Key::Rsa => &PKCS_RSA_SHA256,
        };
        let key = KeyPair::generate_for(algorithm).unwrap();
        let mut params = CertificateParams::new(leaf.names.clone()).unwrap();
        params.distinguished_name.push(DnType::CommonName, leaf.common_name);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(leaf.until.0, leaf.until.1, leaf.until.2);
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        Issued { cert_pem: certificate.pem(), key_pem: key.serialize_pem() }
    }
}

/// Files of one test.
pub(crate) struct Files(tempfile::TempDir);

impl Files {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// `name.crt` and `name.key`, and the model that names them.
    pub fn certificate(&self, name: &str, issued: &Issued) -> Certificate {
        let cert = self.write(&format!("{name}.crt"), &issued.cert_pem);
        let key = self.write(&format!("{name}.key"), &issued.key_pem);
        Certificate {
            origin: Origin::builtin(),
            source: CertificateSource::File { cert, key },
            usage: Default::default(),
        }
    }

    /// Issued, written, and read as the program would.
    pub fn loaded(&self, authority: &Authority, name: &str, leaf: &Leaf) -> Arc<LoadedCertificate> {
        let model = self.certificate(name, &authority.issue(leaf));
        let (loaded, diagnostics) = load_certificates(&[model], now());
        assert!(!diagnostics.has_errors(), "{diagnostics:?}");
        loaded.into_iter().next().unwrap()
    }
}
