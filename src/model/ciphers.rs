//! Cipher suites of TLS 1.2, and whose order counts. Those of TLS 1.3 are all good, and always there.

use serde::Serialize;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ciphers {
    /// The most wanted first. None: all of them.
    pub tls12: Option<Vec<CipherSuite>>,
    pub order: CipherOrder,
}

/// Whose preference among the suites that both have decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CipherOrder {
    /// A phone without AES hardware asks for ChaCha20 first.
    #[default]
    Client,
    Server,
}

/// By OpenSSL's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "&'static str")]
pub enum CipherSuite {
    EcdheEcdsaAes256Gcm,
    EcdheEcdsaAes128Gcm,
    EcdheEcdsaChaCha20,
    EcdheRsaAes256Gcm,
    EcdheRsaAes128Gcm,
    EcdheRsaChaCha20,
}

impl CipherSuite {
    pub const ALL: [(&'static str, CipherSuite); 6] = [
        ("ECDHE-ECDSA-AES256-GCM-SHA384", CipherSuite::EcdheEcdsaAes256Gcm),
        ("ECDHE-ECDSA-AES128-GCM-SHA256", CipherSuite::EcdheEcdsaAes128Gcm),
        ("ECDHE-ECDSA-CHACHA20-POLY1305", CipherSuite::EcdheEcdsaChaCha20),
        ("ECDHE-RSA-AES256-GCM-SHA384", CipherSuite::EcdheRsaAes256Gcm),
        ("ECDHE-RSA-AES128-GCM-SHA256", CipherSuite::EcdheRsaAes128Gcm),
        ("ECDHE-RSA-CHACHA20-POLY1305", CipherSuite::EcdheRsaChaCha20),
    ];

    pub fn parse(name: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, suite)| *suite).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|(name, _)| *name).collect();
            format!("there is no suite \"{name}\" of TLS 1.2 here; there are {}", known.join(", "))
        })
    }
}

impl From<CipherSuite> for &'static str {
    fn from(suite: CipherSuite) -> Self {
        CipherSuite::ALL.iter().find(|(_, known)| *known == suite).map_or("", |(name, _)| name)
    }
}
