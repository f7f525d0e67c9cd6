//! What a file-based model reads from files, and a cluster keeps in Secrets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::sources::kube::state::{ObjectKey, SecretBytes};

/// The content of every file that the model names: `secret/NAMESPACE/NAME/KEY`, as `secret/shop/tls/tls.crt`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Material(BTreeMap<PathBuf, SecretBytes>);

impl FromIterator<(PathBuf, SecretBytes)> for Material {
    fn from_iter<I: IntoIterator<Item = (PathBuf, SecretBytes)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

impl Material {
    pub fn get(&self, path: &Path) -> Option<&SecretBytes> {
        self.0.get(path)
    }

    /// As whoever reads it wants it: by path.
    pub fn into_contents(self) -> BTreeMap<PathBuf, Arc<[u8]>> {
        self.0.into_iter().map(|(path, content)| (path, content.into_shared())).collect()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&PathBuf, &SecretBytes)> {
        self.0.iter()
    }

    pub fn into_entries(self) -> Vec<(PathBuf, SecretBytes)> {
        self.0.into_iter().collect()
    }

    /// What the model calls it from here on.
    pub fn add(&mut self, secret: &ObjectKey, key: &str, content: SecretBytes) -> PathBuf {
        let path = PathBuf::from(format!("secret/{secret}/{key}"));
        self.0.insert(path.clone(), content);
        path
    }
}
