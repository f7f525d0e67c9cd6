//! Objects by what names them.

use std::cmp::Ordering;
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

    /// As it was before.
    pub fn put_back(&mut self, key: K, object: Arc<T>) {
        Arc::make_mut(&mut self.0).insert(key, object);
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

    /// From what was there before to what is there now.
    pub fn since<'o>(&'o self, before: &'o Self) -> Differences<'o, T> {
        let mut differences = Differences { gone: Vec::new(), come: Vec::new() };
        if Arc::ptr_eq(&self.0, &before.0) {
            return differences;
        }
        let (mut old, mut new) = (before.iter().peekable(), self.iter().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return differences,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((_, one)), Some((_, other))) if Arc::ptr_eq(one, other) => {
                    old.next();
                    new.next();
                    continue;
                }
                (Some((one, _)), Some((other, _))) => one.cmp(other),
            };
            if order != Ordering::Greater {
                differences.gone.extend(old.next().map(|(_, object)| object));
            }
            if order != Ordering::Less {
                differences.come.extend(new.next().map(|(_, object)| object));
            }
        }
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What is only in the one state, and only in the other. What changed is in both.
#[derive(Debug)]
pub struct Differences<'o, T> {
    pub gone: Vec<&'o Arc<T>>,
    pub come: Vec<&'o Arc<T>>,
}

impl<T> Differences<'_, T> {
    pub fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.gone.iter().chain(&self.come).copied()
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
    fn what_changed_is_gone_as_it_was_and_has_come_as_it_is() {
        let key = |name: &str| ObjectKey::new("a", name);
        let mut before = Objects::default();
        before.replace([(key("p"), 1), (key("q"), 2), (key("r"), 3)]);
        let mut now = before.clone();
        assert!(now.since(&before).iter().next().is_none());
        now.insert(key("q"), 4);
        now.insert(key("z"), 5);
        now.remove(&key("r"));
        let differences = now.since(&before);
        let numbers = |objects: &[&Arc<i32>]| objects.iter().map(|number| ***number).collect::<Vec<_>>();
        assert_eq!((numbers(&differences.gone), numbers(&differences.come)), (vec![2, 3], vec![4, 5]));
        let since_nothing = before.clone();
        assert_eq!(numbers(&since_nothing.since(&Objects::default()).come), [1, 2, 3]);
    }

    #[test]
    fn a_key_is_a_namespace_and_a_name() {
        assert_eq!(ObjectKey::parse("a/b").unwrap(), ObjectKey::new("a", "b"));
        for wrong in ["a", "/b", "a/", "a/b/c", ""] {
            assert_eq!(ObjectKey::parse(wrong), None, "{wrong}");
        }
    }
}
