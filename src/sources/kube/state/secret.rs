//! Secrets and ConfigMaps.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use k8s_openapi::api::core::v1 as core;
use serde::{Serialize, Serializer};

use super::{CertificateNames, ObjectKey};
use crate::model::acme_words;

#[derive(Clone, Debug)]
pub struct Secret {
    pub key: ObjectKey,
    /// Events name the object by it, too.
    pub uid: Arc<str>,
    pub data: BTreeMap<Arc<str>, SecretBytes>,
    pub maker: Maker,
    /// What was found when it was looked at.
    pub(super) pair: OnceLock<Result<CertificateNames, String>>,
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.data == other.data && self.maker == other.maker
    }
}

impl Eq for Secret {}

/// Whose a Secret is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Maker {
    /// What it holds was ordered by Weir, and is renewed by it.
    Weir,
    #[default]
    SomebodyElse,
}

/// Shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretBytes(Arc<[u8]>);

impl SecretBytes {
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(bytes.into())
    }

    pub fn into_shared(self) -> Arc<[u8]> {
        self.0
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for SecretBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

impl From<&core::Secret> for Secret {
    fn from(object: &core::Secret) -> Self {
        let data = object.data.iter().flatten();
        let data = data.map(|(key, bytes)| (key.as_str().into(), SecretBytes::new(bytes.0.as_slice())));
        let labels = object.metadata.labels.as_ref();
        let is_ours = labels.is_some_and(|labels| labels.contains_key(acme_words::ISSUER));
        let maker = if is_ours { Maker::Weir } else { Maker::SomebodyElse };
        let uid = object.metadata.uid.as_deref().unwrap_or_default().into();
        Self { key: ObjectKey::from(&object.metadata), uid, data: data.collect(), maker, pair: OnceLock::new() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigMap {
    pub key: ObjectKey,
    /// Events name the object by it, too.
    pub uid: Arc<str>,
    pub data: BTreeMap<Arc<str>, Arc<str>>,
}

impl From<&core::ConfigMap> for ConfigMap {
    fn from(object: &core::ConfigMap) -> Self {
        let data = object.data.iter().flatten();
        let data = data.map(|(key, value)| (key.as_str().into(), value.as_str().into()));
        let uid = object.metadata.uid.as_deref().unwrap_or_default().into();
        Self { key: ObjectKey::from(&object.metadata), uid, data: data.collect() }
    }
}
