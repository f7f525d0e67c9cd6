//! How many processes share the traffic, as it is known at this moment.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::model::Replicas;

#[derive(Debug)]
pub struct ReplicaCount {
    definition: Replicas,
    /// 0: not known yet.
    count: AtomicU32,
}

impl ReplicaCount {
    pub fn new(definition: Replicas) -> Self {
        let count = match &definition {
            Replicas::Count(count) => count.get(),
            Replicas::Dns(_) => 0,
        };
        Self { definition, count: count.into() }
    }

    pub fn is_of(&self, definition: &Replicas) -> bool {
        self.definition == *definition
    }

    /// Whose addresses are counted.
    pub fn dns_name(&self) -> Option<&Arc<str>> {
        match &self.definition {
            Replicas::Count(_) => None,
            Replicas::Dns(name) => Some(name),
        }
    }

    /// While nobody knows, this one is alone: too much is let pass rather than too little.
    pub fn get(&self) -> NonZeroU32 {
        NonZeroU32::new(self.count.load(Ordering::Relaxed)).unwrap_or(NonZeroU32::MIN)
    }

    /// The number there was; 0 where it was not known.
    pub fn set(&self, count: u32) -> u32 {
        self.count.swap(count, Ordering::Relaxed)
    }
}
