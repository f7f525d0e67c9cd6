//! A store: its two tiers, and what requests for the same thing share.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use pingora_cache::lock::CacheLock;
use pingora_cache::predictor::Predictor;
use pingora_limits::rate::Rate;

use super::counts::{Counts, Standing};
use super::disk::{self, Disk};
use super::object::Object;
use super::shelf::{Kept, Shelf};
use crate::model::{CacheStore, CacheStoreName, DiskTier, Purge};

/// How long one request may keep others waiting before another one tries; nginx's `proxy_cache_lock_age`.
const LOCK_AGE: Duration = Duration::from_secs(5);

/// Requests for what turned out not to be kept are not made to wait for one another again: so many are remembered.
const UNKEPT_REMEMBERED: usize = 4096;
const UNKEPT_SHARDS: usize = 16;

/// Uses are forgotten after so long; nginx's `inactive`.
const USES_WINDOW: Duration = Duration::from_secs(600);

/// No object may take more of the memory than this share: one visitor shall not empty the house.
const LARGEST_SHARE: usize = 4;

pub struct Store {
    name: CacheStoreName,
    pub(super) memory: Shelf<Arc<Object>>,
    pub(super) disk: ArcSwapOption<Disk>,
    pub(super) counts: Counts,
    pub lock: CacheLock,
    pub unkept: Predictor<UNKEPT_SHARDS>,
    uses: Rate,
}

/// Reasons of ours that say nothing of the next answer begin so.
pub const FOR_NOW: &str = "for now: ";

impl Store {
    fn new(name: CacheStoreName) -> Self {
        Self {
            name,
            memory: Shelf::new(0),
            disk: ArcSwapOption::empty(),
            counts: Counts::default(),
            lock: CacheLock::new(LOCK_AGE),
            unkept: Predictor::new(UNKEPT_REMEMBERED / UNKEPT_SHARDS, Some(|reason| reason.starts_with(FOR_NOW))),
            uses: Rate::new(USES_WINDOW),
        }
    }

    pub fn name(&self) -> &CacheStoreName {
        &self.name
    }

    /// An object in memory; one on disk alone is found by Pingora's way.
    pub fn at_hand(&self, key: u128) -> Option<Arc<Object>> {
        self.memory.get(key)
    }

    /// Counts a use of the key; how many there have been, this one among them. An estimate, never too low.
    pub fn used(&self, key: u128) -> u64 {
        u64::try_from(self.uses.observe(&key, 1)).unwrap_or(0)
    }

    /// Whether memory takes an object of this size.
    pub(super) fn memory_takes(&self, size: usize) -> bool {
        size <= self.memory.limit() / LARGEST_SHARE
    }

    /// Replaces what was there.
    pub(super) fn put(&self, key: u128, object: Arc<Object>) {
        if self.memory_takes(object.size()) {
            self.counts.evicted(self.memory.put(key, object).len() as u64);
        } else {
            self.memory.remove(key);
        }
    }

    /// Takes one variant out of the memory at once, and off the disk. Blocks on the disk.
    pub fn remove(&self, key: u128) -> bool {
        let in_memory = self.memory.remove(key).is_some();
        let on_disk = self.disk.load().as_ref().is_some_and(|disk| disk.remove(key));
        in_memory || on_disk
    }

    /// Returns how many objects went. Blocks on the disk.
    pub fn purge(&self, purge: &Purge) -> u64 {
        let in_memory = self.memory.purge(purge).len() as u64;
        let on_disk = self.disk.load().as_ref().map_or(0, |disk| disk.purge(purge));
        // What is in memory is on the disk, too, but for what the disk did not take.
        let purged = in_memory.max(on_disk);
        self.counts.purged(purged);
        purged
    }

    pub fn standing(&self) -> Standing {
        let disk = self.disk.load();
        let mut standing = Standing {
            memory_bytes: self.memory.used() as u64,
            memory_objects: self.memory.len() as u64,
            disk_bytes: disk.as_ref().map_or(0, |disk| disk.used() as u64),
            disk_objects: disk.as_ref().map_or(0, |disk| disk.len() as u64),
            ..Standing::default()
        };
        self.counts.add_to(&mut standing);
        standing
    }

    /// Blocks on the disk.
    fn follow(&'static self, memory: u64, disk: Option<&DiskTier>) {
        let memory = usize::try_from(memory).unwrap_or(usize::MAX);
        self.counts.evicted(self.memory.set_limit(memory).len() as u64);
        let current = self.disk.load_full();
        let Some(tier) = disk else { return self.disk.store(None) };
        let size = usize::try_from(tier.size.0).unwrap_or(usize::MAX);
        match current {
            Some(disk) if disk.folder() == tier.path => self.counts.evicted(disk.set_limit(size)),
            Some(_) | None => match Disk::open(&tier.path, size) {
                Ok(disk) => self.take_up(Arc::new(disk)),
                Err(error) => {
                    self.disk.store(None);
                    tracing::error!(store = %self.name, path = %tier.path.display(), %error, "answers are kept in memory alone");
                }
            },
        }
    }

    fn take_up(&'static self, disk: Arc<Disk>) {
        self.disk.store(Some(disk.clone()));
        let load = move || {
            let (corrupt, evicted) = disk.load();
            self.counts.corrupt(corrupt);
            self.counts.evicted(evicted);
            let (store, objects, bytes) = (&self.name, disk.len(), disk.used());
            tracing::info!(%store, objects, bytes, corrupt, "read what is on the disk of the cache");
        };
        if let Err(error) = std::thread::Builder::new().name("weir-cache".into()).spawn(load) {
            tracing::warn!(store = %self.name, %error, "cannot read what is on the disk of the cache");
        }
    }
}

/// All stores there have been, by name. They live as long as the process.
#[derive(Default)]
pub struct Stores(Mutex<BTreeMap<CacheStoreName, &'static Store>>);

impl Stores {
    /// Makes it where it is new; it keeps nothing until [`Stores::follow`].
    pub fn named(&self, name: &CacheStoreName) -> &'static Store {
        let mut stores = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Leaked on purpose, one for each name that was ever written.
        stores.entry(name.clone()).or_insert_with(|| Box::leak(Box::new(Store::new(name.clone()))))
    }

    pub fn all(&self) -> Vec<&'static Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().copied().collect()
    }

    /// The folders that cannot be used, and why. Changes nothing that is kept. Blocks on disks.
    pub fn unusable(definitions: &[CacheStore]) -> Vec<(&CacheStore, &DiskTier, io::Error)> {
        let disks = definitions.iter().filter_map(|store| Some((store, store.disk.as_ref()?)));
        disks.filter_map(|(store, disk)| Some((store, disk, disk::prepare(&disk.path).err()?))).collect()
    }

    /// Gives every store what it is to have; those that are not defined any more keep nothing. Blocks on disks.
    pub fn follow(&self, definitions: &[CacheStore]) {
        definitions.iter().for_each(|definition| {
            self.named(&definition.name).follow(definition.memory.0, definition.disk.as_ref());
        });
        for store in self.all() {
            if !definitions.iter().any(|definition| definition.name == *store.name()) {
                store.follow(0, None);
            }
        }
    }
}
