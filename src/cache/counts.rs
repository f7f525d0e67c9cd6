//! What a store tells of itself, for metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

#[derive(Debug, Default)]
pub struct Counts {
    evicted: AtomicU64,
    purged: AtomicU64,
    disk_failed: AtomicU64,
    corrupt: AtomicU64,
    skipped: AtomicU64,
}

/// One moment of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Standing {
    pub memory_bytes: u64,
    pub memory_objects: u64,
    pub disk_bytes: u64,
    pub disk_objects: u64,
    /// For want of room, out of memory or off the disk.
    pub evicted: u64,
    pub purged: u64,
    /// Reads and writes that the disk refused.
    pub disk_failed: u64,
    /// Files that were not as they had been written.
    pub corrupt: u64,
    /// Objects that did not reach the disk because it was too far behind.
    pub skipped: u64,
}

macro_rules! counters {
    ($($counter:ident),*) => {
        impl Counts {
            $(pub fn $counter(&self, count: u64) {
                self.$counter.fetch_add(count, Relaxed);
            })*

            pub fn add_to(&self, standing: &mut Standing) {
                $(standing.$counter += self.$counter.load(Relaxed);)*
            }
        }
    };
}

counters!(evicted, purged, disk_failed, corrupt, skipped);
