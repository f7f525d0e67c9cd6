//! Objects in files below one folder.
//!
//! ```text
//! FOLDER/3f/3f2a…   an object, named by its key      FOLDER/new/PID-N   one that is being written
//! ```
//!
//! An index in memory says what there is, so that a miss costs no look at the disk; it is made from the files at the start. Until that
//! is done the files themselves are asked. Everything here blocks: it is called where that is allowed.

mod file;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

pub use file::{ReadError, Reader, Writer};

use super::object::Stamp;
use super::shelf::{Kept, Removed, Shelf};
use crate::model::Purge;

pub struct Disk {
    folder: PathBuf,
    index: Shelf<Entry>,
    loaded: AtomicBool,
    /// Of names for new files.
    number: AtomicU64,
    /// Bytes that wait to be written.
    pub pending: AtomicUsize,
}

/// What is known of a file without reading it.
#[derive(Clone)]
struct Entry {
    size: u64,
    url: Arc<str>,
    tags: Arc<[Box<str>]>,
}

/// File systems give out room in these.
const UNIT: u64 = 4096;

impl Kept for Entry {
    fn size(&self) -> usize {
        self.size.next_multiple_of(UNIT) as usize
    }

    fn is_taken_by(&self, purge: &Purge) -> bool {
        purge.takes(&self.url, &self.tags)
    }
}

/// Where a process writes what has no name yet.
const NEW: &str = "new";

/// Files that nobody has finished after so long were left by a process that is gone.
const ABANDONED: Duration = Duration::from_secs(3600);

impl Disk {
    pub fn open(folder: &Path, limit: usize) -> io::Result<Self> {
        prepare(folder)?;
        Ok(Self {
            folder: folder.into(),
            index: Shelf::new(limit),
            loaded: AtomicBool::new(false),
            number: AtomicU64::new(0),
            pending: AtomicUsize::new(0),
        })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns how many files had to go.
    pub fn set_limit(&self, bytes: usize) -> u64 {
        self.unlink(self.index.set_limit(bytes))
    }

    pub fn used(&self) -> usize {
        self.index.used()
    }

    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether a file of this size is kept at all.
    pub fn takes(&self, size: u64) -> bool {
        size <= self.index.limit() as u64
    }

    /// Whether there may be such an object. Costs no look at the disk once the index is made.
    pub fn may_have(&self, key: u128) -> bool {
        self.index.get(key).is_some() || !self.loaded.load(Relaxed)
    }

    pub fn read(&self, key: u128) -> Result<Option<Reader>, ReadError> {
        match Reader::open(&self.path(key), key) {
            Ok(reader) => Ok(Some(reader)),
            Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                self.index.remove(key);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    pub fn begin(&self) -> io::Result<Writer> {
        let number = self.number.fetch_add(1, Relaxed);
        let path = self.folder.join(NEW).join(format!("{}-{number}", std::process::id()));
        match Writer::create(path.clone()) {
            // Somebody has removed the folder, to empty the cache.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                prepare(&self.folder)?;
                Writer::create(path)
            }
            // A process of our number has left it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                std::fs::remove_file(&path)?;
                Writer::create(path)
            }
            outcome => outcome,
        }
    }

    /// Returns how many files had to go for it.
    pub fn keep(&self, writer: Writer, key: u128, stamp: &Stamp) -> io::Result<u64> {
        let path = self.path(key);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let size = writer.finish(key, stamp, &path)?;
        Ok(self.unlink(self.index.put(key, entry(size, stamp))))
    }

    pub fn restamp(&self, key: u128, stamp: &Stamp) -> Result<(), ReadError> {
        file::restamp(&self.path(key), key, stamp)
    }

    /// Whether it was there.
    pub fn remove(&self, key: u128) -> bool {
        let known = self.index.remove(key).is_some();
        std::fs::remove_file(self.path(key)).is_ok() || known
    }

    pub fn purge(&self, purge: &Purge) -> u64 {
        self.unlink(self.index.purge(purge))
    }

    /// Makes the index from the files. Returns how many were garbled, and how many had to go for want of room.
    pub fn load(&self) -> (u64, u64) {
        let (mut corrupt, mut evicted) = (0, 0);
        let mut found: Vec<(SystemTime, u128)> = Vec::new();
        for folder in folders(&self.folder) {
            found.extend(files(&folder).filter_map(|(name, changed)| Some((changed, key_of(&name)?))));
        }
        // The newest last: they are the last to go.
        found.sort_unstable();
        for (_, key) in found {
            if self.index.get(key).is_some() {
                continue;
            }
            match self.entry_of(key) {
                Ok(Some(entry)) => evicted += self.unlink(self.index.put(key, entry)),
                Ok(None) => {}
                Err(_) => {
                    self.remove(key);
                    corrupt += 1;
                }
            }
        }
        for (name, changed) in files(&self.folder.join(NEW)) {
            if changed.elapsed().is_ok_and(|age| age > ABANDONED) {
                let _ = std::fs::remove_file(self.folder.join(NEW).join(name));
            }
        }
        self.loaded.store(true, Relaxed);
        (corrupt, evicted)
    }

    fn entry_of(&self, key: u128) -> Result<Option<Entry>, ReadError> {
        let Some(reader) = self.read(key)? else { return Ok(None) };
        Ok(Some(entry(reader.size()?, &reader.stamp)))
    }

    fn unlink(&self, removed: Removed<Entry>) -> u64 {
        for (key, _) in &removed {
            // Gone already is gone.
            let _ = std::fs::remove_file(self.path(*key));
        }
        removed.len() as u64
    }

    fn path(&self, key: u128) -> PathBuf {
        let name = format!("{key:032x}");
        self.folder.join(&name[..2]).join(name)
    }
}

/// Whether objects can be kept below this folder; makes it where it is missing.
pub fn prepare(folder: &Path) -> io::Result<()> {
    let new = folder.join(NEW);
    std::fs::create_dir_all(&new)?;
    let probe = new.join(format!("{}-probe", std::process::id()));
    std::fs::write(&probe, b"")?;
    std::fs::remove_file(&probe)
}

fn entry(size: u64, stamp: &Stamp) -> Entry {
    Entry { size, url: (*stamp.url).into(), tags: stamp.tags.to_vec().into() }
}

fn key_of(name: &str) -> Option<u128> {
    (name.len() == 32).then(|| u128::from_str_radix(name, 16).ok())?
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().len() == 2).map(|entry| entry.path()).collect()
}

fn files(folder: &Path) -> impl Iterator<Item = (String, SystemTime)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.metadata().ok()?.modified().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(url: &str) -> Stamp {
        Stamp { url: url.into(), tags: ["t".into()].into(), internal: [1].into(), header: [2].into() }
    }

    fn keep(disk: &Disk, key: u128, url: &str, body: &[u8]) -> u64 {
        let mut writer = disk.begin().unwrap();
        writer.write(body).unwrap();
        disk.keep(writer, key, &stamp(url)).unwrap()
    }

    #[test]
    fn what_was_kept_is_found_by_the_next_process() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path(), 1 << 20).unwrap();
        keep(&disk, 1, "a.test/", b"one");
        keep(&disk, 2, "b.test/", b"two");
        let next = Disk::open(folder.path(), 1 << 20).unwrap();
        assert!(next.read(1).unwrap().is_some(), "even before it has looked around");
        assert_eq!(next.load(), (0, 0));
        assert_eq!((next.len(), next.used()), (2, disk.used()));
        assert_eq!(&next.read(2).unwrap().unwrap().read(0).unwrap()[..], b"two");
        assert!(!next.may_have(3));
        assert_eq!(next.purge(&Purge::Prefix("a.".into())), 1);
        assert!(next.read(1).unwrap().is_none());
    }

    #[test]
    fn the_oldest_go_where_there_is_no_room() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path(), 3 * UNIT as usize).unwrap();
        assert_eq!((1..=3).map(|key| keep(&disk, key << 8, "a.test/", b"x")).sum::<u64>(), 0);
        assert_eq!(keep(&disk, 4 << 8, "a.test/", b"x"), 1);
        assert!(disk.read(1 << 8).unwrap().is_none());
        assert_eq!(disk.set_limit(UNIT as usize), 2);
        assert_eq!((disk.len(), disk.used()), (1, UNIT as usize));
    }

    #[test]
    fn garbled_files_are_taken_out() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path(), 1 << 20).unwrap();
        keep(&disk, 1, "a.test/", b"one");
        std::fs::write(disk.path(1), b"garbage").unwrap();
        assert!(matches!(disk.read(1), Err(ReadError::Corrupt)));
        let next = Disk::open(folder.path(), 1 << 20).unwrap();
        assert_eq!(next.load(), (1, 0));
        assert!(!next.path(1).exists());
    }

    #[test]
    fn a_folder_that_was_removed_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(&folder.path().join("cache"), 1 << 20).unwrap();
        std::fs::remove_dir_all(disk.folder()).unwrap();
        keep(&disk, 1, "a.test/", b"one");
        assert!(disk.read(1).unwrap().is_some());
    }
}
