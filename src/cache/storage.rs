//! Pingora's doors to a store: looking up, reading, filling.
//!
//! ```text
//! lookup ──► Memory ──► Disk ──► (CacheMeta, Hit)         Fill: chunks ──► small: Memory, and Disk behind it
//!                        └─ small: into Memory                       └──► large: Disk while it arrives
//! ```
//!
//! Disks are read and written on the runtime's threads for blocking work.

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use pingora::{Error, ErrorType, Result};
use pingora_cache::key::{CacheHashKey, CompactCacheKey};
use pingora_cache::storage::{HandleHit, HandleMiss, MissFinishType};
use pingora_cache::trace::SpanHandle;
use pingora_cache::{CacheKey, CacheMeta, HitHandler, MissHandler, PurgeOutcome, PurgeTarget, PurgeType, Storage};
use tokio::task::spawn_blocking;

use super::disk::{Disk, ReadError, Reader, Writer};
use super::object::{Object, Stamp};
use super::store::Store;

/// A body up to here is gathered in memory, and read from a disk in one go; a larger one goes through in pieces.
const SMALL: usize = 1 << 20;

/// So many bytes may wait for a disk; what comes then stays in memory alone.
const MOST_PENDING: usize = 64 << 20;

/// For the key that a purge by URL shall find the object under.
#[derive(Clone)]
pub struct Url(pub Box<str>);

fn number(key: &impl CacheHashKey) -> u128 {
    u128::from_be_bytes(key.combined_bin())
}

#[async_trait]
impl Storage for Store {
    async fn lookup(&'static self, key: &CacheKey, _: &SpanHandle) -> Result<Option<(CacheMeta, HitHandler)>> {
        let key = number(key);
        if let Some(object) = self.memory.get(key) {
            return Ok(Some((object.stamp.meta()?, Hit::of(object))));
        }
        let Some(disk) = self.disk.load_full().filter(|disk| disk.may_have(key)) else { return Ok(None) };
        let read = move || Ok(disk.read(key)?.map(Found::read).transpose()?.map(|found| (found.meta(), found)));
        match blocking(read).await {
            Ok(None) => Ok(None),
            Ok(Some((Ok(meta), found))) => {
                let hit = match found {
                    Found::Small(stamp, body) => {
                        let object = Arc::new(Object::new(stamp, &meta, body));
                        self.put(key, object.clone());
                        Hit::of(object)
                    }
                    Found::Large(reader) => {
                        Box::new(Hit { range: 0..reader.length, from: From::Disk { store: self, key, reader } })
                    }
                };
                Ok(Some((meta, hit)))
            }
            Ok(Some((Err(_), _))) => {
                self.garbled(key);
                Ok(None)
            }
            Err(error) => {
                self.unreadable(key, &error);
                Ok(None)
            }
        }
    }

    async fn get_miss_handler(&'static self, key: &CacheKey, meta: &CacheMeta, _: &SpanHandle) -> Result<MissHandler> {
        let url = key.extensions.get::<Url>().map_or("", |url| &url.0);
        let object = Object::awaiting_body(Stamp::new(url, meta)?, meta);
        Ok(Box::new(Fill { store: self, key: number(key), object, length: 0, chunks: Vec::new(), to: To::Memory }))
    }

    async fn purge(&'static self, target: PurgeTarget<'_>, _: PurgeType, _: &SpanHandle) -> Result<PurgeOutcome> {
        let key: &CompactCacheKey = target.key();
        let key = number(key);
        match blocking(move || Ok(self.remove(key))).await {
            Ok(true) => Ok(PurgeOutcome::Purged(None)),
            Ok(false) | Err(_) => Ok(PurgeOutcome::NotFound),
        }
    }

    /// After a validation: the same body under a new head.
    async fn update_meta(&'static self, key: &CacheKey, meta: &CacheMeta, _: &SpanHandle) -> Result<bool> {
        let url = key.extensions.get::<Url>().map_or("", |url| &url.0);
        let (key, stamp) = (number(key), Stamp::new(url, meta)?);
        let before = self.memory.get(key);
        if let Some(before) = &before {
            self.put(key, Arc::new(Object::new(stamp.clone(), meta, before.body.clone())));
        }
        let Some(disk) = self.disk.load_full().filter(|disk| disk.may_have(key)) else { return Ok(before.is_some()) };
        match blocking(move || disk.restamp(key, &stamp)).await {
            Ok(()) => Ok(true),
            Err(error) => {
                self.unreadable(key, &error);
                Ok(before.is_some())
            }
        }
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync + 'static) {
        self
    }
}

impl Store {
    /// They are gone when it returns.
    pub async fn remove_all(&'static self, keys: Vec<u128>) {
        let remove = move || {
            for key in keys {
                self.remove(key);
            }
        };
        match self.disk.load().is_some() {
            true => drop(
                blocking(move || {
                    remove();
                    Ok(())
                })
                .await,
            ),
            false => remove(),
        }
    }

    /// A file that cannot be used is taken out; that it is missing is none of its faults.
    fn unreadable(&'static self, key: u128, error: &ReadError) {
        match error {
            ReadError::Corrupt => self.garbled(key),
            ReadError::Io(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            ReadError::Io(error) => self.failed(error),
        }
    }

    fn garbled(&'static self, key: u128) {
        self.counts.corrupt(1);
        tracing::debug!(store = %self.name(), object = %format_args!("{key:032x}"), "a file of the cache was garbled, and is removed");
        drop(spawn_blocking(move || self.remove(key)));
    }

    fn failed(&self, error: &std::io::Error) {
        self.counts.disk_failed(1);
        // Each one is counted; the log would be full of them as the disk is.
        tracing::debug!(store = %self.name(), %error, "the disk of the cache failed");
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    // Fails where the work panicked, or the runtime ends.
    spawn_blocking(work).await.unwrap_or_else(|error| Err(std::io::Error::other(error).into()))
}

enum Found {
    Small(Stamp, Bytes),
    Large(Reader),
}

impl Found {
    fn read(reader: Reader) -> Result<Self, ReadError> {
        if reader.length > SMALL as u64 {
            return Ok(Found::Large(reader));
        }
        let mut body = BytesMut::with_capacity(reader.length as usize);
        while (body.len() as u64) < reader.length {
            body.extend_from_slice(&reader.read(body.len() as u64)?);
        }
        Ok(Found::Small(reader.stamp, body.freeze()))
    }

    fn meta(&self) -> Result<CacheMeta> {
        match self {
            Found::Small(stamp, _) => stamp.meta(),
            Found::Large(reader) => reader.stamp.meta(),
        }
    }
}

/// An object that is being read.
struct Hit {
    /// What is still to be read.
    range: Range<u64>,
    from: From,
}

enum From {
    Memory(Arc<Object>),
    Disk { store: &'static Store, key: u128, reader: Reader },
}

impl Hit {
    fn of(object: Arc<Object>) -> Box<Self> {
        Box::new(Self { range: 0..object.body.len() as u64, from: From::Memory(object) })
    }
}

#[async_trait]
impl HandleHit for Hit {
    async fn read_body(&mut self) -> Result<Option<Bytes>> {
        if self.range.is_empty() {
            return Ok(None);
        }
        let mut piece = match &self.from {
            From::Memory(object) => object.body.slice(self.range.start as usize..),
            From::Disk { store, key, reader } => {
                let (at, open) = (self.range.start, reader.clone());
                blocking(move || open.read(at)).await.map_err(|error| {
                    store.unreadable(*key, &error);
                    Error::because(ErrorType::ReadError, "reading a file of the cache", error)
                })?
            }
        };
        let left = self.range.end - self.range.start;
        piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        self.range.start += piece.len() as u64;
        Ok(Some(piece))
    }

    async fn finish(self: Box<Self>, _: &'static (dyn Storage + Sync), _: &CacheKey, _: &SpanHandle) -> Result<()> {
        Ok(())
    }

    fn can_seek(&self) -> bool {
        true
    }

    fn seek(&mut self, start: usize, end: Option<usize>) -> Result<()> {
        let length = match &self.from {
            From::Memory(object) => object.body.len() as u64,
            From::Disk { reader, .. } => reader.length,
        };
        let start = start as u64;
        if start >= length {
            return Error::e_explain(ErrorType::InternalError, "the range begins behind the object's end");
        }
        self.range = start..end.map_or(length, |end| length.min(end as u64));
        Ok(())
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }

    fn as_any_mut(&mut self) -> &mut (dyn Any + Send + Sync) {
        self
    }
}

/// An object that is arriving. Dropped before its end it leaves nothing.
struct Fill {
    store: &'static Store,
    key: u128,
    /// Without its body.
    object: Object,
    length: usize,
    chunks: Vec<Bytes>,
    to: To,
}

enum To {
    Memory,
    Disk(Arc<Disk>, Writer),
    /// It cannot be kept; the client has it all the same.
    Nowhere,
}

#[async_trait]
impl HandleMiss for Fill {
    async fn write_body(&mut self, data: Bytes, _end: bool) -> Result<()> {
        if data.is_empty() || matches!(self.to, To::Nowhere) {
            return Ok(());
        }
        self.length += data.len();
        self.chunks.push(data);
        if self.is_poured() {
            self.pour().await;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<MissFinishType> {
        let length = self.length;
        match std::mem::replace(&mut self.to, To::Nowhere) {
            To::Memory => self.keep_small(),
            To::Disk(disk, writer) => self.keep_large(disk, writer).await,
            To::Nowhere => {
                // What was there is older than what was just sent.
                let (store, key) = (self.store, self.key);
                let _ = blocking(move || Ok(store.remove(key))).await;
            }
        }
        Ok(MissFinishType::Created(length))
    }
}

impl Fill {
    /// Whether it is not gathered any more: it goes to the disk as it comes, or is too large for the memory.
    fn is_poured(&self) -> bool {
        let is_large = || self.length > SMALL;
        let has_disk = || self.store.disk.load().is_some();
        matches!(self.to, To::Disk(..)) || is_large() && (has_disk() || !self.store.memory_takes(self.length))
    }

    /// What has been gathered goes to the disk; without one it is given up.
    async fn pour(&mut self) {
        let chunks = std::mem::take(&mut self.chunks);
        let (disk, writer) = match std::mem::replace(&mut self.to, To::Nowhere) {
            To::Disk(disk, writer) => (disk, Some(writer)),
            To::Memory => match self.store.disk.load_full() {
                Some(disk) if disk.takes(self.length as u64) => (disk, None),
                Some(_) | None => return,
            },
            To::Nowhere => return,
        };
        let opened = disk.clone();
        let write = move || {
            let mut writer = writer.map_or_else(|| opened.begin(), Ok)?;
            chunks.iter().try_for_each(|chunk| writer.write(chunk))?;
            Ok(writer)
        };
        match blocking(write).await {
            Ok(writer) => self.to = To::Disk(disk, writer),
            Err(error) => self.store.unreadable(self.key, &error),
        }
    }

    fn keep_small(self: Box<Self>) {
        let Self { store, key, object, length, chunks, .. } = *self;
        let body = joined(chunks, length);
        let stamp = object.stamp.clone();
        store.put(key, Arc::new(object.with_body(body.clone())));
        let Some(disk) = store.disk.load_full() else { return };
        if disk.pending.fetch_add(length, Relaxed) > MOST_PENDING {
            disk.pending.fetch_sub(length, Relaxed);
            store.counts.skipped(1);
            // Else the older one would come back with the next process.
            drop(spawn_blocking(move || disk.remove(key)));
            return;
        }
        drop(spawn_blocking(move || {
            let kept = disk.begin().and_then(|mut writer| {
                writer.write(&body)?;
                disk.keep(writer, key, &stamp)
            });
            disk.pending.fetch_sub(length, Relaxed);
            store.settle(&disk, key, kept);
        }));
    }

    async fn keep_large(self: Box<Self>, disk: Arc<Disk>, writer: Writer) {
        let Self { store, key, object, .. } = *self;
        let keep = move || {
            let kept = disk.keep(writer, key, &object.stamp);
            store.settle(&disk, key, kept);
            Ok(())
        };
        let _ = blocking(keep).await;
        // An older and smaller one may be there.
        store.memory.remove(key);
    }
}

impl Store {
    fn settle(&self, disk: &Disk, key: u128, kept: std::io::Result<u64>) {
        match kept {
            Ok(evicted) => self.counts.evicted(evicted),
            Err(error) => {
                self.failed(&error);
                disk.remove(key);
            }
        }
    }
}

fn joined(mut chunks: Vec<Bytes>, length: usize) -> Bytes {
    if chunks.len() == 1 {
        // A copy where it is a small part of a large read buffer, which it would keep.
        return Bytes::copy_from_slice(&chunks.remove(0));
    }
    let mut body = BytesMut::with_capacity(length);
    chunks.iter().for_each(|chunk| body.extend_from_slice(chunk));
    body.freeze()
}
