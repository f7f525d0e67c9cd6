//! Objects by what names them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// What names an object of a kind within the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl ObjectKey {
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// Reads `namespace/name`.
    pub fn parse(text: &str) -> Option<Self> {
        let (namespace, name) = text.split_once('/')?;
        (!namespace.is_empty() && !name.is_empty() && !name.contains('/')).then(|| Self::new(namespace, name))
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl From<&ObjectMeta> for ObjectKey {
    fn from(meta: &ObjectMeta) -> Self {
        Self::new(meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
    }
}

/// All objects of a kind, in the order of their keys. A clone shares them; a change after it copies the map, not the objects.
#[derive(Clone, Debug)]
pub struct Objects<K, T>(Arc<BTreeMap<K, Arc<T>>>);

impl<K, T> Default for Objects<K, T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Ord + Clone, T> Objects<K, T> {
    pub fn insert(&mut self, key: K, object: T) {
        Arc::make_mut(&mut self.0).insert(key, Arc::new(object));
    }

    /// Whether it was there.
    pub fn remove(&mut self, key: &K) -> bool {
        self.0.contains_key(key) && Arc::make_mut(&mut self.0).remove(key).is_some()
    }

    /// In place of all that were there: what a watch that began anew has listed.
    pub fn replace(&mut self, objects: impl IntoIterator<Item = (K, T)>) {
        self.0 = Arc::new(objects.into_iter().map(|(key, object)| (key, Arc::new(object))).collect());
    }

    /// Only those that count.
    pub fn retain(&mut self, counts: impl Fn(&K, &T) -> bool) {
        if !self.0.iter().all(|(key, object)| counts(key, object)) {
            Arc::make_mut(&mut self.0).retain(|key, object| counts(key, object));
        }
    }

    pub fn get(&self, key: &K) -> Option<&Arc<T>> {
        self.0.get(key)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&K, &Arc<T>)> {
        self.0.iter()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A text that an object may leave out; an empty one is left out, too.
pub(super) fn text(written: Option<&String>) -> Option<Arc<str>> {
    written.filter(|text| !text.is_empty()).map(|text| text.as_str().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_keeps_what_was_there_when_it_was_made() {
        let mut objects = Objects::default();
        objects.insert(ObjectKey::new("a", "x"), 1);
        let before = objects.clone();
        objects.insert(ObjectKey::new("a", "y"), 2);
        assert!(objects.remove(&ObjectKey::new("a", "x")) && !objects.remove(&ObjectKey::new("a", "z")));
        assert_eq!(before.iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>(), ["a/x"]);
        assert_eq!(objects.iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>(), ["a/y"]);
        objects.replace([(ObjectKey::new("b", "z"), 3)]);
        assert_eq!((objects.len(), before.len()), (1, 1));
    }

    #[test]
    fn a_key_is_a_namespace_and_a_name() {
        assert_eq!(ObjectKey::parse("a/b").unwrap(), ObjectKey::new("a", "b"));
        for wrong in ["a", "/b", "a/", "a/b/c", ""] {
            assert_eq!(ObjectKey::parse(wrong), None, "{wrong}");
        }
    }
}
