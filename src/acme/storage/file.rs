//! Files that are whole or not there, whatever happens while they are written.
//!
//! ```text
//! bytes ──► .NAME.RANDOM.new (0600, synced) ──rename──► NAME ──► folder synced
//! ```
//!
//! Blocks: for threads that may.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How the name of a file that is being written begins and ends.
const STAGED: (&str, &str) = (".", ".new");

/// Secrets are here: for the owner alone.
const FOLDER_MODE: u32 = 0o700;
pub const FILE_MODE: u32 = 0o600;

pub fn make_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)
}

/// Replaces the file, or makes it.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let staged = staged_name(path);
    let result = write_synced(&staged, content).and_then(|()| fs::rename(&staged, path));
    if result.is_err() {
        let _ = fs::remove_file(&staged);
    }
    result.and_then(|()| sync_parent(path))
}

/// Writes a new file that nobody looks at yet.
pub fn write_synced(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Makes `link` point to `target`, at once.
pub fn point(link: &Path, target: &Path) -> io::Result<()> {
    let staged = staged_name(link);
    std::os::unix::fs::symlink(target, &staged)?;
    let result = fs::rename(&staged, link);
    if result.is_err() {
        let _ = fs::remove_file(&staged);
    }
    result.and_then(|()| sync_parent(link))
}

/// A rename lasts only when the folder has been written, too.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

/// None: it is not there.
pub fn read(path: &Path) -> io::Result<Option<String>> {
    absent_is_none(fs::read_to_string(path))
}

pub fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// One that is not there is no error.
pub fn remove(path: &Path) -> io::Result<()> {
    absent_is_none(fs::remove_file(path)).map(drop)
}

/// What stands in a folder, without what is being written; nothing where there is no folder.
pub fn list(folder: &Path) -> io::Result<Vec<String>> {
    let Some(entries) = absent_is_none(fs::read_dir(folder))? else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        if !is_staged(&name) {
            names.extend(name.into_string());
        }
    }
    names.sort();
    Ok(names)
}

pub fn is_staged(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(STAGED.0) && name.ends_with(STAGED.1))
}

/// Unlike that of any other write, in this process or another: containers all have the same number.
pub fn staged_name(path: &Path) -> PathBuf {
    // The standard library's seeds are random.
    let number = RandomState::new().hash_one(path);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{}{name}.{number:016x}{}", STAGED.0, STAGED.1))
}
