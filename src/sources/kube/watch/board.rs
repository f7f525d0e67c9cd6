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
    /// Since the state was taken last.
    extent: Extent,
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

    /// The state, and what of it changed since the last time. None until every source has listed its objects.
    pub fn take(&self) -> Option<Change> {
        let mut seen = self.lock();
        let state = seen.state()?;
        Some(Change { state, extent: std::mem::take(&mut seen.extent) })
    }

    /// None until every source has listed its objects.
    pub fn state(&self) -> Option<ClusterState> {
        self.lock().state()
    }

    /// A panic while the lock was held leaves nothing half-written here.
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A cluster that is not what it was.
#[derive(Debug)]
pub struct Change {
    pub state: ClusterState,
    pub extent: Extent,
}

/// How much of the cluster a change concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The endpoints of these Services.
    Endpoints(BTreeSet<ObjectKey>),
    Everything,
}

impl Default for Extent {
    fn default() -> Self {
        Self::Endpoints(BTreeSet::new())
    }
}

impl Extent {
    fn extend(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::Endpoints(services), Self::Endpoints(others)) => services.extend(others),
            (Self::Everything, _) => {}
            (Self::Endpoints(_), Self::Everything) => *self = Self::Everything,
        }
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
    /// Of what is seen, what counts.
    fn state(&self) -> Option<ClusterState> {
        if self.awaited > 0 {
            return None;
        }
        let mut state = self.state.clone();
        if let Some(named) = &self.restricted_to {
            let counts = |key: &ObjectKey| self.namespaces.get(&key.namespace).is_some() || named.contains(key);
            state.ingresses.retain(|key, _| counts(key));
            state.services.retain(|key, _| counts(key));
            state.slices.retain(|key, slice| counts(key) || named.contains(&slice.service));
            state.secrets.retain(|key, _| counts(key));
            state.config_maps.retain(|key, _| counts(key));
        }
        if self.external_names == ExternalNames::Ignore {
            state.services.retain(|_, service| !matches!(service.kind, ServiceKind::ExternalName(_)));
        }
        Some(state)
    }

    /// Takes in an object as it is now.
    pub fn put<T: Kept>(&mut self, key: T::Key, object: T) -> Weight {
        let before = T::objects(self).get(&key).cloned();
        let weight = match &before {
            Some(before) if **before == object => return Weight::None,
            Some(before) => Weight::of(object.differs(before)),
            None => Weight::Matters,
        };
        if weight == Weight::Matters {
            self.extent.extend(object.extent());
            before.iter().for_each(|before| self.extent.extend(before.extent()));
        }
        T::objects(self).insert(key, object);
        weight
    }

    pub fn remove<T: Kept>(&mut self, key: &T::Key) -> Weight {
        let Some(before) = T::objects(self).get(key).cloned() else { return Weight::None };
        self.extent.extend(before.extent());
        Weight::of(T::objects(self).remove(key))
    }
}
