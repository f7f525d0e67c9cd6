//! What all sources have seen, in one place.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::ExternalNames;
use super::kept::{Kept, Namespace};
use crate::sources::kube::state::{ClusterState, ObjectKey, Objects, ServiceKind};

/// Locked for as long as a map is changed, by the control plane alone.
#[derive(Default)]
pub struct Board {
    seen: Mutex<Seen>,
    touched: Notify,
}

#[derive(Default)]
pub struct Seen {
    pub state: ClusterState,
    /// Namespaces that have the labels.
    pub namespaces: Objects<Arc<str>, Namespace>,
    /// None: objects of every namespace count. Else those of `namespaces`, and these.
    restricted_to: Option<BTreeSet<ObjectKey>>,
    external_names: ExternalNames,
    /// Sources that have not listed their objects yet.
    awaited: usize,
}

impl Board {
    pub fn await_another(&self) {
        self.lock().awaited += 1;
    }

    pub fn regard(&self, external_names: ExternalNames) {
        self.lock().external_names = external_names;
    }

    pub fn restrict(&self, named: BTreeSet<ObjectKey>) {
        self.lock().restricted_to = Some(named);
    }

    /// Changes what is seen; whoever waits is woken where that matters to a translation.
    pub fn update(&self, change: impl FnOnce(&mut Seen) -> Weight) {
        let weight = change(&mut self.lock());
        match weight {
            Weight::Matters => self.touched.notify_one(),
            Weight::None => {}
        }
    }

    /// A source has listed its objects for the first time.
    pub fn complete_one(&self) {
        let mut seen = self.lock();
        seen.awaited = seen.awaited.saturating_sub(1);
        self.touched.notify_one();
    }

    /// Since the last time. A touch that nobody waited for is kept.
    pub async fn touched(&self) {
        self.touched.notified().await;
    }

    /// None until every source has listed its objects.
    pub fn state(&self) -> Option<ClusterState> {
        let seen = self.lock();
        if seen.awaited > 0 {
            return None;
        }
        let mut state = seen.state.clone();
        if let Some(named) = &seen.restricted_to {
            let counts = |key: &ObjectKey| seen.namespaces.get(&key.namespace).is_some() || named.contains(key);
            state.ingresses.retain(|key, _| counts(key));
            state.services.retain(|key, _| counts(key));
            state.slices.retain(|key, slice| counts(key) || named.contains(&slice.service));
            state.secrets.retain(|key, _| counts(key));
            state.config_maps.retain(|key, _| counts(key));
        }
        if seen.external_names == ExternalNames::Ignore {
            state.services.retain(|_, service| !matches!(service.kind, ServiceKind::ExternalName(_)));
        }
        Some(state)
    }

    /// A panic while the lock was held leaves nothing half-written here.
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether something else may follow from a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    Matters,
    None,
}

impl Weight {
    pub fn of(matters: bool) -> Self {
        if matters { Self::Matters } else { Self::None }
    }

    pub fn or(self, other: Self) -> Self {
        Self::of(self == Self::Matters || other == Self::Matters)
    }
}

impl Seen {
    /// Takes in an object as it is now.
    pub fn put<T: Kept>(&mut self, key: T::Key, object: T) -> Weight {
        let objects = T::objects(self);
        let weight = match objects.get(&key) {
            Some(before) if **before == object => return Weight::None,
            Some(before) => Weight::of(object.differs(before)),
            None => Weight::Matters,
        };
        objects.insert(key, object);
        weight
    }

    pub fn remove<T: Kept>(&mut self, key: &T::Key) -> Weight {
        Weight::of(T::objects(self).remove(key))
    }
}
