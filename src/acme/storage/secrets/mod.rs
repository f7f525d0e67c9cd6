//! The storage in Secrets of a cluster: whoever leads writes, and every replica sees the challenges.
//!
//! ```text
//! NAMESPACE/SECRET: kubernetes.io/tls, labelled            what is ordered, as `NAMESPACE/SECRET` in Ingresses
//! own namespace: weir-acme-account-HASH · weir-acme-order-HASH (order, progress) · weir-acme-challenges (token: answer)
//!                                                                                     └──watched by every replica
//! ```
//!
//! A Secret that Weir did not make is left alone. Nothing is written but by who holds the Lease.

mod challenges;
mod objects;

pub use challenges::{Seen, follow_challenges};

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use k8s_openapi::api::core::v1 as core;
use kube::Client;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::{
    CertificateStorage, Lease, PendingOrder, Progress, Secret, StorageError, StoredCertificate, StoredChallenge,
};
use crate::acme::plan::fingerprint;
use crate::model::acme_words::ISSUER;
use challenges::{CHALLENGES, SEEN_LIMIT};
use objects::Objects;

const CERTIFICATE: &str = "tls.crt";
const PRIVATE_KEY: &str = "tls.key";
const ACCOUNT: &str = "account";
const ORDER: &str = "order";
const PROGRESS: &str = "progress";
/// In the Secret of an external account.
const HMAC_KEY: &str = "hmac-key";

/// Of one issuer; those of a process share all but the label.
#[derive(Clone)]
pub struct Secrets {
    objects: Objects,
    issuer: Arc<str>,
    leads: watch::Receiver<bool>,
    seen: Seen,
    locked: Arc<Mutex<BTreeSet<String>>>,
    /// Orders under way write one Secret: in turns.
    writing_challenges: Arc<tokio::sync::Mutex<()>>,
}

impl Secrets {
    /// `namespace`: Weir's own. `leads`: whether this process holds the Lease.
    pub fn new(client: &Client, namespace: &str, leads: watch::Receiver<bool>, seen: Seen) -> Self {
        let objects = Objects::new(client, namespace, leads.clone());
        let (locked, writing_challenges) = (Arc::default(), Arc::default());
        Self { objects, issuer: "".into(), leads, seen, locked, writing_challenges }
    }

    pub fn of_issuer(&self, issuer: &Arc<str>) -> Self {
        Self { issuer: issuer.clone(), ..self.clone() }
    }

    async fn read<T: DeserializeOwned>(&self, secret: &str, key: &str) -> Result<Option<T>, StorageError> {
        let Some(object) = self.objects.own(secret).await? else { return Ok(None) };
        let Some(bytes) = object.data.as_ref().and_then(|data| data.get(key)) else { return Ok(None) };
        let wrong = |error: serde_json::Error| self.objects.error(secret, format!("its {key} cannot be read: {error}"));
        serde_json::from_slice(&bytes.0).map(Some).map_err(wrong)
    }

    /// `value`: none takes the key out.
    async fn write<T: Serialize + Sync>(&self, secret: &str, key: &str, value: Option<&T>) -> Result<(), StorageError> {
        let wrong = |error: serde_json::Error| self.objects.error(secret, error.to_string());
        let bytes = value.map(|value| serde_json::to_vec(value).map_err(wrong)).transpose()?;
        self.objects.change_own(secret, |data| objects::set(data, key, bytes.clone())).await
    }
}

#[async_trait]
impl CertificateStorage for Secrets {
    async fn account(&self, directory: &str) -> Result<Option<Secret>, StorageError> {
        self.read(&account_name(directory), ACCOUNT).await
    }

    async fn put_account(&self, directory: &str, account: &Secret) -> Result<(), StorageError> {
        self.write(&account_name(directory), ACCOUNT, Some(account)).await
    }

    /// `path`: the name of a Secret in Weir's own namespace.
    async fn external_account_key(&self, path: &Path) -> Result<Secret, StorageError> {
        let name = path.to_string_lossy();
        let object = self.objects.own(&name).await?;
        let object = object.ok_or_else(|| self.objects.error(&name, "there is no such Secret".into()))?;
        let bytes = object.data.as_ref().and_then(|data| data.get(HMAC_KEY));
        let bytes = bytes.ok_or_else(|| self.objects.error(&name, format!("it has no key {HMAC_KEY}")))?;
        let text = String::from_utf8(bytes.0.clone());
        text.map(Secret::new).map_err(|_| self.objects.error(&name, format!("its {HMAC_KEY} is no text")))
    }

    async fn certificate(&self, name: &str) -> Result<Option<StoredCertificate>, StorageError> {
        let Some(object) = self.objects.certificate(name).await? else { return Ok(None) };
        let data = object.data.unwrap_or_default();
        let text = |key: &str| data.get(key).and_then(|bytes| String::from_utf8(bytes.0.clone()).ok());
        let pair = text(CERTIFICATE).zip(text(PRIVATE_KEY));
        Ok(pair.map(|(chain, key)| StoredCertificate { chain, key: Secret::new(key) }))
    }

    async fn put_certificate(&self, name: &str, certificate: &StoredCertificate) -> Result<(), StorageError> {
        let pair = [(CERTIFICATE, &*certificate.chain), (PRIVATE_KEY, certificate.key.expose())];
        self.objects
            .change_certificate(name, &self.issuer, |data| {
                pair.iter().for_each(|(key, text)| objects::set(data, key, Some(text.as_bytes().to_vec())));
            })
            .await
    }

    async fn remove_certificate(&self, name: &str) -> Result<(), StorageError> {
        Err(StorageError { what: format!("Secret {name}"), reason: "what an Ingress names is not taken out".into() })
    }

    async fn order(&self, name: &str) -> Result<Option<PendingOrder>, StorageError> {
        self.read(&order_name(name), ORDER).await
    }

    async fn put_order(&self, name: &str, order: &PendingOrder) -> Result<(), StorageError> {
        self.write(&order_name(name), ORDER, Some(order)).await
    }

    async fn remove_order(&self, name: &str) -> Result<(), StorageError> {
        self.write(&order_name(name), ORDER, None::<&PendingOrder>).await
    }

    async fn progress(&self, name: &str) -> Result<Progress, StorageError> {
        Ok(self.read(&order_name(name), PROGRESS).await?.unwrap_or_default())
    }

    async fn put_progress(&self, name: &str, progress: &Progress) -> Result<(), StorageError> {
        self.write(&order_name(name), PROGRESS, Some(progress)).await
    }

    /// As this process's own watch has them.
    async fn challenges(&self) -> Result<Vec<StoredChallenge>, StorageError> {
        Ok(self.seen.all())
    }

    /// Returns when this process's own watch has seen it: the others' do so at the same time.
    async fn put_challenge(&self, challenge: &StoredChallenge) -> Result<(), StorageError> {
        let turn = self.writing_challenges.lock().await;
        self.write(CHALLENGES, &challenge.token, Some(challenge)).await?;
        drop(turn);
        self.seen.wait_for(&challenge.token).await.map_err(|_| {
            let reason = format!("a challenge that was written is not seen after {} s", SEEN_LIMIT.as_secs());
            self.objects.error(CHALLENGES, reason)
        })
    }

    async fn remove_challenge(&self, token: &str) -> Result<(), StorageError> {
        let _turn = self.writing_challenges.lock().await;
        self.write(CHALLENGES, token, None::<&StoredChallenge>).await
    }

    async fn lock(&self, what: &str) -> Result<Option<Lease>, StorageError> {
        let mut leads = self.leads.clone();
        let is_free = *leads.borrow_and_update() && self.locked().insert(what.to_owned());
        let held = Held { what: what.to_owned(), locked: self.locked.clone() };
        let lost = async move {
            // An error says that nobody stands for election any more.
            drop(leads.wait_for(|leads| !leads).await);
        };
        Ok(is_free.then(|| Lease::new(held, lost)))
    }
}

impl Secrets {
    fn locked(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.locked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What this process works on.
struct Held {
    what: String,
    locked: Arc<Mutex<BTreeSet<String>>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.locked.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.what);
    }
}

fn account_name(directory: &str) -> String {
    format!("weir-acme-account-{}", short(directory))
}

fn order_name(certificate: &str) -> String {
    format!("weir-acme-order-{}", short(certificate))
}

fn short(text: &str) -> String {
    fingerprint(text.as_bytes())[..16].to_owned()
}

/// Whether Weir made it.
fn is_own(object: &core::Secret) -> bool {
    object.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(ISSUER))
}

type Data = BTreeMap<String, k8s_openapi::ByteString>;
