//! What can be seen of a file without reading it: the way to it through symbolic links, and which file is at its end.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// As many links as Linux follows.
const MAX_LINKS: usize = 40;

/// Two are equal where nothing changed between them.
#[derive(Debug, PartialEq, Eq)]
pub struct Sight {
    /// Every place where another file could be put in: each link on the way, and the end of it (or, where the way breaks off,
    /// the first thing that is missing).
    pub trail: Vec<PathBuf>,
    state: Option<State>,
}

#[derive(Debug, PartialEq, Eq)]
struct State {
    id: FolderId,
    modified: (i64, i64),
    size: u64,
}

/// Tells a folder or file from another one of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FolderId {
    device: u64,
    inode: u64,
}

impl FolderId {
    pub fn of(path: &Path) -> Option<Self> {
        path.metadata().ok().as_ref().map(Self::from)
    }
}

impl From<&Metadata> for FolderId {
    fn from(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

impl Sight {
    /// `file` is absolute.
    pub fn of(file: &Path) -> Self {
        let state = file.metadata().ok().map(|metadata| State {
            id: FolderId::from(&metadata),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            size: metadata.size(),
        });
        Self { trail: trail(file), state }
    }
}

fn trail(file: &Path) -> Vec<PathBuf> {
    let mut trail = Vec::new();
    let mut at = PathBuf::from("/");
    let mut ahead: VecDeque<OsString> = names(file);
    while let Some(name) = ahead.pop_front() {
        if name == ".." {
            at.pop();
            continue;
        }
        at.push(name);
        match at.symlink_metadata() {
            Ok(metadata) if metadata.is_symlink() && trail.len() < MAX_LINKS => {
                trail.push(at.clone());
                let Ok(target) = at.read_link() else { return trail };
                at.pop();
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                for name in names(&target).into_iter().rev() {
                    ahead.push_front(name);
                }
            }
            Ok(_) if !ahead.is_empty() => {}
            Ok(_) | Err(_) => {
                trail.push(at);
                return trail;
            }
        }
    }
    trail
}

fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_trail_names_every_link_and_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("..v1")).unwrap();
        std::fs::write(root.join("..v1/weir.yaml"), "").unwrap();
        symlink("..v1", root.join("..data")).unwrap();
        symlink("..data/weir.yaml", root.join("weir.yaml")).unwrap();
        let expected = ["weir.yaml", "..data", "..v1/weir.yaml"].map(|name| root.join(name));
        assert_eq!(trail(&root.join("weir.yaml")), expected);
    }

    #[test]
    fn the_trail_ends_at_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        assert_eq!(trail(&root.join("a/b/c.yaml")), [root.join("a")]);
    }

    #[test]
    fn links_in_a_circle_end() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        symlink("b", root.join("a")).unwrap();
        symlink("a", root.join("b")).unwrap();
        assert_eq!(trail(&root.join("a")).len(), MAX_LINKS + 1);
    }
}
