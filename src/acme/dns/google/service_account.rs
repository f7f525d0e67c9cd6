//! A service account's key file, and what is signed with it.
//!
//! ```text
//! { "type": "service_account", "client_email": …, "private_key": … } ──► assertion: header.claims.signature (RS256)
//! ```

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::acme::storage::Secret;

/// The least that can write records.
const SCOPE: &str = "https://www.googleapis.com/auth/ndev.clouddns.readwrite";

/// The longest that Google takes.
const LIFETIME: Duration = Duration::from_secs(3600);

#[derive(Deserialize)]
pub struct ServiceAccount {
    pub client_email: String,
    private_key: Secret,
    private_key_id: Option<String>,
    pub token_uri: String,
    pub project_id: Option<String>,
}

impl ServiceAccount {
    /// The error says nothing of the content.
    pub fn parse(text: &Secret) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text.expose()).map_err(|error| {
            format!("no JSON, at line {}; download the service account's key as JSON", error.line())
        })?;
        match value["type"].as_str() {
            Some("service_account") => {}
            Some(other) => {
                return Err(format!("these are credentials of type \"{other}\"; create a key of a service account"));
            }
            None => return Err("these are no credentials; create a key of a service account".into()),
        }
        serde_json::from_value(value).map_err(|error| format!("the service account's key is incomplete: {error}"))
    }

    /// Proves to `token_uri` who we are (RFC 7523 §3).
    pub fn assertion(&self, now: SystemTime) -> Result<String, String> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": self.private_key_id });
        let claims = json!({
            "iss": self.client_email,
            "scope": SCOPE,
            "aud": self.token_uri,
            "iat": now.as_secs(),
            "exp": (now + LIFETIME).as_secs(),
        });
        let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let key = self.key_pair()?;
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| format!("the key of {} cannot sign", self.client_email))?;
        Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }

    fn key_pair(&self) -> Result<RsaKeyPair, String> {
        let unusable = format!("the private key of {} is no RSA key in PEM", self.client_email);
        let key = match PrivateKeyDer::from_pem_slice(self.private_key.expose().as_bytes()) {
            Ok(PrivateKeyDer::Pkcs8(key)) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
            Ok(PrivateKeyDer::Pkcs1(key)) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
            Ok(_) | Err(_) => return Err(unusable),
        };
        key.map_err(|_| unusable)
    }
}
