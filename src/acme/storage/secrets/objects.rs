//! Secrets, read and changed: each change is made to what stands there, and made again where somebody was faster.

use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1 as core;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::{Semaphore, watch};

use super::{Data, is_own};
use crate::acme::storage::StorageError;
use crate::model::acme_words::{ISSUER, STATE_TYPE};

const TLS_TYPE: &str = "kubernetes.io/tls";

/// Two that write one Secret take turns; more would be a defect.
const ATTEMPTS: usize = 10;

/// Questions to the API server at one time: whoever begins to lead has one for every certificate.
const AT_ONCE: usize = 16;

#[derive(Clone)]
pub struct Objects {
    client: Client,
    namespace: String,
    leads: watch::Receiver<bool>,
    turns: Arc<Semaphore>,
}

/// A Secret that is to be there after a change.
pub struct What<'a> {
    namespace: &'a str,
    name: &'a str,
    kind: &'static str,
    /// None: it is Weir's own.
    issuer: Option<&'a str>,
}

/// None takes the key out.
pub fn set(data: &mut Data, key: &str, bytes: Option<Vec<u8>>) {
    match bytes {
        Some(bytes) => drop(data.insert(key.to_owned(), ByteString(bytes))),
        None => drop(data.remove(key)),
    }
}

impl Objects {
    pub fn new(client: &Client, namespace: &str, leads: watch::Receiver<bool>) -> Self {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        Self { client: client.clone(), namespace: namespace.to_owned(), leads, turns }
    }

    pub fn error(&self, name: &str, reason: String) -> StorageError {
        error(&self.namespace, name, reason)
    }

    /// In Weir's own namespace.
    pub async fn own(&self, name: &str) -> Result<Option<core::Secret>, StorageError> {
        self.get(&self.namespace, name).await
    }

    pub async fn change_own(&self, name: &str, change: impl Fn(&mut Data) + Send + Sync) -> Result<(), StorageError> {
        let what = What { namespace: &self.namespace, name, kind: STATE_TYPE, issuer: None };
        self.change(&what, change).await
    }

    /// `name`: with its namespace. An error where it is somebody else's.
    pub async fn certificate(&self, name: &str) -> Result<Option<core::Secret>, StorageError> {
        let (namespace, name) = split(name)?;
        let object = self.get(namespace, name).await?;
        match object {
            Some(object) if !is_own(&object) => Err(somebody_elses(namespace, name)),
            object => Ok(object),
        }
    }

    pub async fn change_certificate(
        &self,
        name: &str,
        issuer: &str,
        change: impl Fn(&mut Data) + Send + Sync,
    ) -> Result<(), StorageError> {
        let (namespace, name) = split(name)?;
        self.change(&What { namespace, name, kind: TLS_TYPE, issuer: Some(issuer) }, change).await
    }

    async fn get(&self, namespace: &str, name: &str) -> Result<Option<core::Secret>, StorageError> {
        // It is never closed.
        let _turn = self.turns.acquire().await;
        self.api(namespace).get_opt(name).await.map_err(|failure| in_words(namespace, name, &failure))
    }

    async fn change(&self, what: &What<'_>, change: impl Fn(&mut Data) + Send + Sync) -> Result<(), StorageError> {
        let api = self.api(what.namespace);
        for _ in 0..ATTEMPTS {
            // Another one may have taken over what this is about.
            if !*self.leads.borrow() {
                return Err(error(what.namespace, what.name, "this replica does not lead any more".into()));
            }
            let before = self.get(what.namespace, what.name).await?;
            let written = match before {
                Some(before) if what.issuer.is_some() && !is_own(&before) => {
                    return Err(somebody_elses(what.namespace, what.name));
                }
                Some(before) => {
                    let mut data = before.data.clone().unwrap_or_default();
                    change(&mut data);
                    let mut next = core::Secret { data: Some(data), ..before.clone() };
                    what.label(&mut next);
                    if next == before {
                        return Ok(());
                    }
                    api.replace(what.name, &PostParams::default(), &next).await
                }
                None => {
                    let mut data = Data::new();
                    change(&mut data);
                    if data.is_empty() {
                        return Ok(());
                    }
                    api.create(&PostParams::default(), &what.object(data)).await
                }
            };
            match written {
                Ok(_) => return Ok(()),
                // Somebody was faster.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(failure) => return Err(in_words(what.namespace, what.name, &failure)),
            }
        }
        Err(error(what.namespace, what.name, "others write it all the time".into()))
    }

    fn api(&self, namespace: &str) -> Api<core::Secret> {
        Api::namespaced(self.client.clone(), namespace)
    }
}

impl What<'_> {
    fn object(&self, data: Data) -> core::Secret {
        let mut object = core::Secret {
            metadata: ObjectMeta { name: Some(self.name.to_owned()), ..ObjectMeta::default() },
            type_: Some(self.kind.to_owned()),
            data: Some(data),
            ..core::Secret::default()
        };
        self.label(&mut object);
        object
    }

    fn label(&self, object: &mut core::Secret) {
        let labels = object.metadata.labels.get_or_insert_default();
        labels.insert("app.kubernetes.io/managed-by".into(), "weir".into());
        if let Some(issuer) = self.issuer {
            labels.insert(ISSUER.into(), issuer.to_owned());
        }
    }
}

fn split(name: &str) -> Result<(&str, &str), StorageError> {
    name.split_once('/').ok_or_else(|| StorageError { what: name.into(), reason: "it has no namespace".into() })
}

fn error(namespace: &str, name: &str, reason: String) -> StorageError {
    StorageError { what: format!("Secret {namespace}/{name}"), reason }
}

fn somebody_elses(namespace: &str, name: &str) -> StorageError {
    error(namespace, name, "Weir did not make it, and leaves it alone".into())
}

fn in_words(namespace: &str, name: &str, failure: &kube::Error) -> StorageError {
    let reason = match failure {
        kube::Error::Api(status) if status.code == 403 => {
            format!("{}; certificates need the rights of k8s/components/acme", status.message)
        }
        kube::Error::Api(status) => status.message.clone(),
        failure => failure.to_string(),
    };
    error(namespace, name, reason)
}
