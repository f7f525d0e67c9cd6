//! `--acme-issuer NAME,KEY=VALUE,…`: an authority, and the name that Ingresses have for it.

use std::path::PathBuf;
use std::sync::Arc;

use crate::defaults;
use crate::diagnostics::Origin;
use crate::model::{
    Acme, AcmeRetry, AcmeStorage, ChallengeType, DnsPropagation, ExternalAccount, Issuance, KeyType, acme_words,
};
use crate::sources::kube::process::duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    pub name: Arc<str>,
    pub acme: Acme,
}

const KEYS: &str = "directory, email, challenge, key, profile, renew-before, ca, key-id, hmac-secret";

impl Issuer {
    /// The name alone is enough where it is that of a well-known directory, as `letsencrypt`.
    pub fn parse(written: &str) -> Result<Self, String> {
        let mut parts = written.split(',').map(str::trim);
        let name = parts.next().unwrap_or_default();
        check_name(name)?;
        let (mut acme, mut directory, mut account) = (acme(), None, (None, None));
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            if value.is_empty() {
                return Err(format!("\"{part}\" has no value; write it as KEY=VALUE, with commas between them"));
            }
            match key {
                "directory" => directory = Some(acme_words::directory(value)?),
                "email" => acme.email = Some(acme_words::email(value)?),
                "challenge" => acme.issuance.challenge = challenge(value)?,
                "key" => acme.issuance.key = self::key(value)?,
                "profile" => acme.issuance.profile = Some(value.into()),
                "renew-before" => acme.issuance.renew_before = Some(duration(value)?),
                "ca" => acme.ca = Some(PathBuf::from(value)),
                "key-id" => account.0 = Some(value),
                "hmac-secret" => account.1 = Some(value),
                _ => return Err(format!("there is no key \"{key}\"; there are {KEYS}")),
            }
        }
        acme.directory = directory.or_else(|| acme_words::known_directory(name)).ok_or_else(|| {
            format!("\"{name}\" is no directory that everybody knows; write {name},directory=https://…")
        })?;
        acme.external_account = match account {
            (None, None) => None,
            (Some(id), Some(secret)) => Some(ExternalAccount { key_id: id.into(), hmac_file: secret.into() }),
            (Some(_), None) | (None, Some(_)) => {
                return Err("an external account has both: write key-id=… and hmac-secret=NAME".into());
            }
        };
        Ok(Self { name: name.into(), acme })
    }
}

/// It becomes a label's value.
fn check_name(name: &str) -> Result<(), String> {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_good = name.bytes().all(is_inner) && !name.is_empty() && name.len() <= 63;
    match is_good && !name.starts_with('-') && !name.ends_with('-') {
        true => Ok(()),
        false => Err(format!("\"{name}\" is no name of an issuer; write lowercase letters, digits and dashes")),
    }
}

fn challenge(value: &str) -> Result<ChallengeType, String> {
    match value {
        "http-01" => Ok(ChallengeType::Http01),
        "tls-alpn-01" => Ok(ChallengeType::TlsAlpn01),
        _ => Err(format!("there is no challenge \"{value}\" here; there are http-01 and tls-alpn-01")),
    }
}

fn key(value: &str) -> Result<KeyType, String> {
    match value {
        "ecdsa-p256" => Ok(KeyType::EcdsaP256),
        "ecdsa-p384" => Ok(KeyType::EcdsaP384),
        "rsa-2048" => Ok(KeyType::Rsa2048),
        "rsa-4096" => Ok(KeyType::Rsa4096),
        _ => Err(format!("there is no key \"{value}\"; there are ecdsa-p256, ecdsa-p384, rsa-2048 and rsa-4096")),
    }
}

fn acme() -> Acme {
    let origin = Origin { file: "--acme-issuer".into(), ..Origin::builtin() };
    Acme {
        origin,
        email: None,
        directory: defaults::ACME_DIRECTORY.into(),
        ca: None,
        storage: AcmeStorage::Secrets,
        external_account: None,
        dns: None,
        dns_propagation: DnsPropagation {
            delay: defaults::DNS_PROPAGATION_DELAY,
            timeout: defaults::DNS_PROPAGATION_TIMEOUT,
            servers: Vec::new(),
        },
        retry: AcmeRetry { first: defaults::ACME_RETRY_FIRST, longest: defaults::ACME_RETRY_LONGEST },
        on_demand: None,
        issuance: Issuance {
            challenge: defaults::ACME_CHALLENGE,
            key: defaults::ACME_KEY,
            renew_before: None,
            profile: None,
        },
    }
}
