//! Sees when the file, or a file that it names, is another than it was.
//!
//! ```text
//! inotify ──touched──┐
//!                    ├─► Mailbox ──► thread: wait until it is quiet, look ──► Watch::changed ──► reload
//! every few seconds ─┘
//! ```
//!
//! Folders are watched, not files: a file that is replaced by renaming, or by swapping a symbolic link above it as
//! Kubernetes does with a ConfigMap, is another file. It knows nothing of what stands in the files.

mod trail;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tracing::warn;

use trail::{FolderId, Sight};

/// Watches as long as it lives.
pub struct Watch {
    mailbox: Arc<Mailbox>,
}

/// How patient the watch is.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// So long nothing may have happened before a change counts as complete.
    pub settle: Duration,
    /// After so long it counts as complete all the same.
    pub longest: Duration,
    /// How often files are looked at without a sign: some file systems give none.
    pub poll: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { settle: Duration::from_millis(50), longest: Duration::from_millis(500), poll: Duration::from_secs(5) }
    }
}

/// Where the signs come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signs {
    /// The system's, and polling.
    System,
    /// Polling alone.
    Poll,
}

impl Watch {
    /// Begins to watch these files; they need not exist.
    pub fn start(files: Vec<PathBuf>) -> std::io::Result<Self> {
        Self::with(files, Timing::default(), Signs::System)
    }

    pub fn with(files: Vec<PathBuf>, timing: Timing, signs: Signs) -> std::io::Result<Self> {
        let mailbox = Arc::new(Mailbox::default());
        let mut lookout = Lookout::new(&mailbox, signs);
        lookout.replace(files);
        let theirs = mailbox.clone();
        std::thread::Builder::new().name("weir-watch".into()).spawn(move || lookout.run(&theirs, timing))?;
        Ok(Self { mailbox })
    }

    /// Waits until something changed since the last time this returned. Changes that come together count as one.
    pub async fn changed(&self) {
        self.mailbox.changed.notified().await;
    }

    /// Watches these files from now on. Call it when a new file has been parsed and before what it names is read, so
    /// that no change falls between. A file that cannot be used does not say what it names: then keep the files
    /// of the one in force beside it.
    pub fn replace(&self, files: Vec<PathBuf>) {
        self.mailbox.put(|letters| letters.files = Some(files));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.mailbox.put(|letters| letters.stop = true);
    }
}

/// Between the owner, the system's signs and the thread that looks. Letters of one kind are one letter, so that it is bounded.
#[derive(Default)]
struct Mailbox {
    letters: Mutex<Letters>,
    arrived: Condvar,
    changed: Notify,
    /// Paths whose events matter.
    interest: Mutex<HashSet<PathBuf>>,
}

#[derive(Default)]
struct Letters {
    stop: bool,
    files: Option<Vec<PathBuf>>,
    sign: Option<Sign>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sign {
    /// Something near the files happened.
    Near,
    /// One of the files was written, replaced or removed.
    Touched,
}

impl Mailbox {
    fn put(&self, write: impl FnOnce(&mut Letters)) {
        write(&mut lock(&self.letters));
        self.arrived.notify_all();
    }

    /// Waits for a letter; none comes back when the time has passed.
    fn wait(&self, time: Duration) -> Letters {
        let empty = |letters: &mut Letters| !letters.stop && letters.files.is_none() && letters.sign.is_none();
        let waited = self.arrived.wait_timeout_while(lock(&self.letters), time, empty);
        std::mem::take(&mut *waited.unwrap_or_else(PoisonError::into_inner).0)
    }

    /// What an event of the system means. Reading a file is no sign, or each reload would lead to the next.
    fn read(&self, event: notify::Result<notify::Event>) {
        let sign = match event {
            Ok(event) if event.need_rescan() => Some(Sign::Touched),
            Ok(event) => match event.kind {
                EventKind::Access(AccessKind::Close(AccessMode::Write)) => self.sign_of(&event.paths),
                EventKind::Access(_) => None,
                EventKind::Any
                | EventKind::Create(_)
                | EventKind::Modify(_)
                | EventKind::Remove(_)
                | EventKind::Other => self.sign_of(&event.paths),
            },
            Err(_) => Some(Sign::Near),
        };
        if sign.is_some() {
            self.put(|letters| letters.sign = letters.sign.max(sign));
        }
    }

    fn sign_of(&self, paths: &[PathBuf]) -> Option<Sign> {
        let interest = lock(&self.interest);
        let is_folder = |path: &PathBuf| interest.iter().any(|of| of.parent() == Some(path));
        match paths {
            paths if paths.iter().any(|path| interest.contains(path)) => Some(Sign::Touched),
            paths if paths.iter().any(is_folder) => Some(Sign::Near),
            _ => None,
        }
    }
}

/// A panic while a lock was held leaves nothing half-written here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was last seen of each file, and the folders that are watched for signs.
struct Lookout {
    mailbox: Arc<Mailbox>,
    sights: HashMap<PathBuf, Sight>,
    watcher: Option<RecommendedWatcher>,
    folders: HashMap<PathBuf, Option<FolderId>>,
}

impl Lookout {
    fn new(mailbox: &Arc<Mailbox>, signs: Signs) -> Self {
        let watcher = match signs {
            Signs::System => {
                let theirs = mailbox.clone();
                notify::recommended_watcher(move |event| theirs.read(event))
                    .inspect_err(|error| warn!(%error, "files cannot be watched; they are polled"))
                    .ok()
            }
            Signs::Poll => None,
        };
        Self { mailbox: mailbox.clone(), sights: HashMap::new(), watcher, folders: HashMap::new() }
    }

    fn run(mut self, mailbox: &Mailbox, timing: Timing) {
        loop {
            let letters = mailbox.wait(timing.poll);
            if letters.stop {
                return;
            }
            if let Some(files) = letters.files {
                self.replace(files);
            }
            let sign = match letters.sign {
                None => None,
                Some(sign) => match self.settle(mailbox, timing, sign) {
                    None => return,
                    settled => settled,
                },
            };
            let differs = self.look();
            if differs || sign == Some(Sign::Touched) {
                mailbox.changed.notify_one();
            }
        }
    }

    /// Waits until it is quiet. The strongest sign of that time; none where the watch ended.
    fn settle(&mut self, mailbox: &Mailbox, timing: Timing, first: Sign) -> Option<Sign> {
        let begin = Instant::now();
        let mut strongest = first;
        while begin.elapsed() < timing.longest {
            let letters = mailbox.wait(timing.settle);
            if letters.stop {
                return None;
            }
            if let Some(files) = letters.files {
                self.replace(files);
            }
            match letters.sign {
                Some(sign) => strongest = strongest.max(sign),
                None => break,
            }
        }
        Some(strongest)
    }

    /// What is known of files that stay is kept, so that a change of theirs in the meantime is seen.
    fn replace(&mut self, files: Vec<PathBuf>) {
        let mut known = std::mem::take(&mut self.sights);
        let files: Vec<_> =
            files.iter().map(|file| std::path::absolute(file).unwrap_or_else(|_| file.clone())).collect();
        self.watch_folders(files.iter().map(|file| Sight::of(file)).collect());
        for file in files {
            let sight = known.remove(&file).unwrap_or_else(|| Sight::of(&file));
            self.sights.insert(file, sight);
        }
    }

    /// Looks at every file. Says whether one is another than it was.
    fn look(&mut self) -> bool {
        self.watch_folders(self.sights.keys().map(|file| Sight::of(file)).collect());
        let mut differs = false;
        for (file, sight) in &mut self.sights {
            let now = Sight::of(file);
            differs |= now != *sight;
            *sight = now;
        }
        differs
    }

    /// Watches the folders in which these files, and the links on the way to them, are.
    fn watch_folders(&mut self, sights: Vec<Sight>) {
        let interest: HashSet<PathBuf> = sights.into_iter().flat_map(|sight| sight.trail).collect();
        if let Some(watcher) = &mut self.watcher {
            let folders: HashSet<&Path> = interest.iter().filter_map(|path| path.parent()).collect();
            // A folder that was made anew is another one under its old name.
            self.folders.retain(|folder, id| {
                let stays = folders.contains(folder.as_path()) && FolderId::of(folder) == *id;
                if !stays {
                    // Fails where the folder is gone, and with it the watch.
                    let _ = watcher.unwatch(folder);
                }
                stays
            });
            for folder in folders {
                if !self.folders.contains_key(folder) {
                    let id = FolderId::of(folder);
                    match watcher.watch(folder, RecursiveMode::NonRecursive) {
                        Ok(()) => _ = self.folders.insert(folder.to_owned(), id),
                        Err(error) => {
                            warn!(folder = %folder.display(), %error, "a folder cannot be watched; it is polled")
                        }
                    }
                }
            }
        }
        *lock(&self.mailbox.interest) = interest;
    }
}

#[cfg(test)]
mod tests;
