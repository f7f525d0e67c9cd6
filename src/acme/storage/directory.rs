//! The storage in a folder, laid out as certbot's users know it.
//!
//! ```text
//! accounts/HOST-PATH.json                                  live/a.test ──► ../archive/a.test/3
//! archive/a.test/3/{fullchain,privkey,cert,chain}.pem      orders/a.test.json   progress/a.test.json
//! challenges/TOKEN.json     tickets.json                   locks/a.test.lock (flock)
//! ```
//!
//! A certificate changes when its link does: chain and key are renewed together, and `kill -9` leaves the old pair or the
//! new one. Locks end with the process that holds them. All is readable by the owner alone.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use super::{
    CertificateStorage, Lease, PendingOrder, Progress, Secret, StorageError, StoredCertificate, StoredChallenge, file,
};

const FOLDERS: [&str; 7] = ["accounts", "archive", "challenges", "live", "locks", "orders", "progress"];

/// What other processes change and this one must know of.
const WATCHED: [&str; 2] = ["challenges", "live"];

/// Some file systems tell of no changes.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Nobody writes one file for so long: a process died at it.
const ABANDONED: Duration = Duration::from_secs(600);

/// Authorities forget challenges after a week, at most.
const FORGOTTEN: Duration = Duration::from_secs(86_400);

/// Certificates that were replaced: one to go back to.
const KEPT_BEFORE: usize = 1;

#[derive(Clone)]
pub struct Directory {
    root: Arc<Path>,
    changes: Arc<Notify>,
    /// None: changes are looked for.
    _watcher: Option<Arc<RecommendedWatcher>>,
}

impl Directory {
    /// Makes the folder where there is none, and proves that it can be written. Blocks.
    pub fn open(root: &Path) -> Result<Self, StorageError> {
        let wrong = |what: &Path, error: std::io::Error| StorageError {
            what: what.display().to_string(),
            reason: error.to_string(),
        };
        for folder in FOLDERS.map(|name| root.join(name)) {
            file::make_folder(&folder).map_err(|error| wrong(&folder, error))?;
            remove_abandoned(&folder);
        }
        remove_forgotten(&root.join("challenges"));
        let probe = root.join("locks").join(".probe");
        file::write(&probe, b"").and_then(|()| file::remove(&probe)).map_err(|error| wrong(root, error))?;
        let changes = Arc::new(Notify::new());
        let watcher = watch(root, changes.clone()).map(Arc::new);
        Ok(Self { root: root.into(), changes, _watcher: watcher })
    }

    fn path(&self, folder: &str, name: &str, extension: &str) -> PathBuf {
        self.root.join(folder).join(format!("{}{extension}", file_name(name)))
    }

    /// Runs on a thread that may block.
    async fn blocking<T: Send + 'static>(
        &self,
        what: PathBuf,
        work: impl FnOnce(&Self, &Path) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, StorageError> {
        let storage = self.clone();
        let name = what.display().to_string();
        let done = tokio::task::spawn_blocking(move || work(&storage, &what)).await;
        let reason = match done {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        Err(StorageError { what: name, reason })
    }

    async fn read_json<T: DeserializeOwned + Send + 'static>(&self, path: PathBuf) -> Result<Option<T>, StorageError> {
        self.blocking(path, |_, path| Ok(file::read(path)?.map(|text| serde_json::from_str(&text)).transpose()?)).await
    }

    async fn write_json(&self, path: PathBuf, value: &impl Serialize) -> Result<(), StorageError> {
        let text = serde_json::to_vec_pretty(value)
            .map_err(|error| StorageError { what: path.display().to_string(), reason: error.to_string() })?;
        self.blocking(path, move |_, path| file::write(path, &text)).await
    }

    async fn remove(&self, path: PathBuf) -> Result<(), StorageError> {
        self.blocking(path, |_, path| file::remove(path)).await
    }
}

#[async_trait]
impl CertificateStorage for Directory {
    async fn account(&self, directory: &str) -> Result<Option<Secret>, StorageError> {
        self.blocking(self.path("accounts", directory, ".json"), |_, path| Ok(file::read(path)?.map(Secret::new))).await
    }

    async fn put_account(&self, directory: &str, account: &Secret) -> Result<(), StorageError> {
        let account = account.clone();
        let path = self.path("accounts", directory, ".json");
        self.blocking(path, move |_, path| file::write(path, account.expose().as_bytes())).await
    }

    async fn external_account_key(&self, path: &Path) -> Result<Secret, StorageError> {
        self.blocking(path.to_owned(), |_, path| Ok(Secret::new(fs::read_to_string(path)?))).await
    }

    async fn certificate(&self, name: &str) -> Result<Option<StoredCertificate>, StorageError> {
        self.blocking(self.path("live", name, ""), |_, link| {
            // Resolved once: both files are of one certificate, whatever the link points to next.
            let Some(folder) = file::absent_is_none(fs::canonicalize(link))? else { return Ok(None) };
            let (chain, key) = (file::read(&folder.join(CHAIN))?, file::read(&folder.join(KEY))?);
            Ok(chain.zip(key).map(|(chain, key)| StoredCertificate { chain, key: Secret::new(key) }))
        })
        .await
    }

    async fn put_certificate(&self, name: &str, certificate: &StoredCertificate) -> Result<(), StorageError> {
        let (archive, certificate) = (self.path("archive", name, ""), certificate.clone());
        self.blocking(self.path("live", name, ""), move |_, link| replace(&archive, link, &certificate)).await
    }

    async fn remove_certificate(&self, name: &str) -> Result<(), StorageError> {
        let archive = self.path("archive", name, "");
        self.blocking(self.path("live", name, ""), move |_, link| {
            file::remove(link)?;
            file::absent_is_none(fs::remove_dir_all(archive)).map(drop)
        })
        .await
    }

    async fn versions(&self) -> Result<BTreeMap<String, String>, StorageError> {
        self.blocking(self.root.join("live"), |_, folder| {
            let version = |name: &String| {
                let target = fs::read_link(folder.join(name)).unwrap_or_default();
                (name_of(name), target.display().to_string())
            };
            Ok(file::list(folder)?.iter().map(version).collect())
        })
        .await
    }

    async fn order(&self, name: &str) -> Result<Option<PendingOrder>, StorageError> {
        self.read_json(self.path("orders", name, ".json")).await
    }

    async fn put_order(&self, name: &str, order: &PendingOrder) -> Result<(), StorageError> {
        self.write_json(self.path("orders", name, ".json"), order).await
    }

    async fn remove_order(&self, name: &str) -> Result<(), StorageError> {
        self.remove(self.path("orders", name, ".json")).await
    }

    async fn progress(&self, name: &str) -> Result<Progress, StorageError> {
        let path = self.path("progress", name, ".json");
        let Some(text) = self.blocking(path.clone(), |_, path| file::read(path)).await? else {
            return Ok(Progress::default());
        };
        // Nothing is lost with it but when to try again.
        Ok(serde_json::from_str(&text).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "how far a certificate is cannot be read, and is begun anew");
            Progress::default()
        }))
    }

    async fn put_progress(&self, name: &str, progress: &Progress) -> Result<(), StorageError> {
        self.write_json(self.path("progress", name, ".json"), progress).await
    }

    async fn challenges(&self) -> Result<Vec<StoredChallenge>, StorageError> {
        self.blocking(self.root.join("challenges"), |_, folder| {
            let mut challenges = Vec::new();
            for name in file::list(folder)? {
                // Gone meanwhile, or not ours: nobody will ask for it.
                let text = file::read(&folder.join(name))?;
                challenges.extend(text.and_then(|text| serde_json::from_str(&text).ok()));
            }
            Ok(challenges)
        })
        .await
    }

    async fn put_challenge(&self, challenge: &StoredChallenge) -> Result<(), StorageError> {
        self.write_json(self.path("challenges", &challenge.token, ".json"), challenge).await
    }

    async fn remove_challenge(&self, token: &str) -> Result<(), StorageError> {
        self.remove(self.path("challenges", token, ".json")).await
    }

    async fn ticket_keys(&self) -> Result<Option<Secret>, StorageError> {
        self.blocking(self.root.join("tickets.json"), |_, path| Ok(file::read(path)?.map(Secret::new))).await
    }

    async fn put_ticket_keys(&self, keys: &Secret) -> Result<(), StorageError> {
        let keys = keys.clone();
        self.blocking(self.root.join("tickets.json"), move |_, path| file::write(path, keys.expose().as_bytes())).await
    }

    async fn lock(&self, what: &str) -> Result<Option<Lease>, StorageError> {
        self.blocking(self.path("locks", what, ".lock"), |_, path| {
            let file = File::options().create(true).append(true).mode(file::FILE_MODE).open(path)?;
            match file.try_lock() {
                // The kernel takes it from no process that lives.
                Ok(()) => Ok(Some(Lease::new(file, std::future::pending()))),
                Err(TryLockError::WouldBlock) => Ok(None),
                Err(TryLockError::Error(error)) => Err(error),
            }
        })
        .await
    }

    async fn changed(&self) {
        // What is told while nobody waits is kept for the next who does.
        let _ = tokio::time::timeout(LOOK_EVERY, self.changes.notified()).await;
    }
}

const CHAIN: &str = "fullchain.pem";
const KEY: &str = "privkey.pem";

fn replace(archive: &Path, link: &Path, certificate: &StoredCertificate) -> std::io::Result<()> {
    file::make_folder(archive)?;
    let numbers: Vec<u64> = file::list(archive)?.iter().filter_map(|name| name.parse().ok()).collect();
    let next = numbers.iter().max().map_or(1, |last| last + 1);
    let folder = archive.join(next.to_string());
    let staged = file::staged_name(&folder);
    file::make_folder(&staged)?;
    let (leaf, issuers) = split_chain(&certificate.chain);
    for (name, content) in
        [(CHAIN, &*certificate.chain), (KEY, certificate.key.expose()), ("cert.pem", leaf), ("chain.pem", issuers)]
    {
        file::write_synced(&staged.join(name), content.as_bytes())?;
    }
    File::open(&staged)?.sync_all()?;
    fs::rename(&staged, &folder)?;
    file::sync_parent(&folder)?;
    let target = Path::new("../archive").join(archive.file_name().unwrap_or_default()).join(next.to_string());
    file::point(link, &target)?;
    if let Err(error) = prune(archive, next) {
        tracing::warn!(folder = %archive.display(), %error, "certificates that were replaced cannot be taken out");
    }
    Ok(())
}

/// Nobody misses what is two certificates old.
fn prune(archive: &Path, current: u64) -> std::io::Result<()> {
    let mut before: Vec<u64> = file::list(archive)?.iter().filter_map(|name| name.parse().ok()).collect();
    before.retain(|number| *number != current);
    before.sort_unstable();
    let superfluous = before.len().saturating_sub(KEPT_BEFORE);
    before.iter().take(superfluous).try_for_each(|number| fs::remove_dir_all(archive.join(number.to_string())))
}

fn split_chain(chain: &str) -> (&str, &str) {
    const END: &str = "-----END CERTIFICATE-----";
    let end = chain.find(END).map_or(chain.len(), |at| at + END.len());
    let (leaf, issuers) = chain.split_at(end);
    (leaf, issuers.trim_start())
}

/// The name as a file's: `*` would be a wildcard to shells, and what a server sends must not lead elsewhere.
fn file_name(name: &str) -> String {
    let name = name.strip_prefix("https://").unwrap_or(name);
    let name = name.strip_prefix("*.").map_or_else(|| name.to_owned(), |parent| format!("{WILDCARD}{parent}"));
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = name.chars().map(safe).collect();
    if name.starts_with('.') { format!("-{name}") } else { name }
}

const WILDCARD: &str = "_wildcard.";

/// The certificate of a file's name.
fn name_of(file: &str) -> String {
    file.strip_prefix(WILDCARD).map_or_else(|| file.to_owned(), |parent| format!("*.{parent}"))
}

fn watch(root: &Path, changes: Arc<Notify>) -> Option<RecommendedWatcher> {
    let told = move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            changes.notify_one();
        }
    };
    let watched = notify::recommended_watcher(told).and_then(|mut watcher| {
        for folder in WATCHED {
            watcher.watch(&root.join(folder), RecursiveMode::NonRecursive)?;
        }
        Ok(watcher)
    });
    watched
        .inspect_err(|error| tracing::warn!(%error, "the ACME storage cannot be watched; it is looked at now and then"))
        .ok()
}

/// What nobody took back: its process died, and the certificate is not ordered any more.
fn remove_forgotten(challenges: &Path) {
    for entry in fs::read_dir(challenges).into_iter().flatten().flatten() {
        if is_older(&entry, FORGOTTEN) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn is_older(entry: &fs::DirEntry, age: Duration) -> bool {
    let modified = entry.metadata().and_then(|about| about.modified());
    modified.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|passed| passed > age))
}

/// What a process left that died while it wrote.
fn remove_abandoned(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && !file::is_staged(&entry.file_name()) {
            remove_abandoned(&path);
            continue;
        }
        if file::is_staged(&entry.file_name()) && is_older(&entry, ABANDONED) {
            let _ = if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
    }
}
