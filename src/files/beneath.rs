//! Files are opened below a folder and nowhere else, whatever links stand there.
//!
//! ```text
//! root ──open, for each request──► openat2(RESOLVE_BENEATH) ──► a file · a folder · nothing (what leads out, too)
//! ```
//!
//! The kernel holds every step of the way to it: there is no time between a check and the opening. A link may lead anywhere below the
//! root, as long as it is relative. Where the kernel has no openat2 (before 5.6, or a sandbox), what was opened is asked where it
//! is before it is read.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

pub struct Root(OwnedFd);

pub enum Opened {
    File(File),
    Folder,
    Nothing,
}

impl Root {
    /// None: there is no such folder.
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match openat(CWD, path, flags, Mode::empty()) {
            Ok(root) => Ok(Some(Self(root))),
            Err(error) => if_nothing(error, None),
        }
    }

    /// To be read. Neither folders nor what is no regular file (a device, a pipe) can be.
    pub fn open_file(&self, name: &str) -> io::Result<Opened> {
        // Without NONBLOCK the opening of a pipe would wait for whoever writes it.
        self.open_as(name, OFlags::RDONLY | OFlags::NONBLOCK)
    }

    pub fn has_file(&self, name: &str) -> io::Result<bool> {
        Ok(matches!(self.open_as(name, OFlags::PATH)?, Opened::File(_)))
    }

    fn open_as(&self, name: &str, flags: OFlags) -> io::Result<Opened> {
        let flags = flags | OFlags::CLOEXEC;
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let open = || openat2(&self.0, name, flags, Mode::empty(), beneath);
        // Something was renamed somewhere while a `..` was followed: the kernel asks to be asked again.
        let opened = (0..RENAMES).map(|_| open()).find(|opened| !matches!(opened, Err(Errno::AGAIN)));
        let opened = match opened.unwrap_or(Err(Errno::AGAIN)) {
            Err(Errno::NOSYS | Errno::PERM) => self.open_and_ask(name, flags),
            opened => opened,
        };
        match opened {
            Ok(opened) => kind_of(opened.into()),
            Err(error) => if_nothing(error, Opened::Nothing),
        }
    }

    /// The way without openat2.
    fn open_and_ask(&self, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let opened = openat(&self.0, name, flags, Mode::empty())?;
        let (root, place) = (place_of(&self.0)?, place_of(&opened)?);
        if place.starts_with(root) { Ok(opened) } else { Err(Errno::XDEV) }
    }
}

/// As often as a busy machine needs.
const RENAMES: usize = 32;

/// Where it really is, as the kernel says.
fn place_of(opened: &impl AsFd) -> Result<PathBuf, Errno> {
    let link = format!("/proc/self/fd/{}", opened.as_fd().as_raw_fd());
    std::fs::read_link(link).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

fn kind_of(opened: File) -> io::Result<Opened> {
    let kind = opened.metadata()?.file_type();
    Ok(match (kind.is_file(), kind.is_dir()) {
        (true, _) => Opened::File(opened),
        (false, true) => Opened::Folder,
        (false, false) => Opened::Nothing,
    })
}

/// What a request can ask for and is not there: no such name, a file where a folder would have to be, a way out, links in a circle,
/// a name that is too long, a socket.
fn if_nothing<T>(error: Errno, nothing: T) -> io::Result<T> {
    match error {
        Errno::NOENT | Errno::NOTDIR | Errno::XDEV | Errno::LOOP | Errno::NAMETOOLONG | Errno::NXIO => Ok(nothing),
        error => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("sub/deep")).unwrap();
        std::fs::write(folder.path().join("outside"), "outside").unwrap();
        std::fs::write(root.join("file"), "inside").unwrap();
        symlink("../file", root.join("sub/up")).unwrap();
        symlink("sub/deep/../up", root.join("winding")).unwrap();
        symlink("../outside", root.join("out")).unwrap();
        symlink("../root/file", root.join("out-and-in")).unwrap();
        symlink(folder.path().join("outside"), root.join("absolute")).unwrap();
        symlink("/", root.join("everything")).unwrap();
        symlink("circle", root.join("circle")).unwrap();
        rustix::fs::mknodat(CWD, root.join("pipe"), rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        folder
    }

    fn content(opened: Opened) -> Option<String> {
        let Opened::File(mut file) = opened else { return None };
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        Some(text)
    }

    #[test]
    fn links_lead_anywhere_below_the_root_and_nowhere_else() {
        let folder = folder();
        let root = Root::open(&folder.path().join("root")).unwrap().unwrap();
        for inside in ["file", "sub/up", "winding"] {
            assert_eq!(content(root.open_file(inside).unwrap()).as_deref(), Some("inside"), "{inside}");
            assert!(root.has_file(inside).unwrap(), "{inside}");
        }
        let long = "x".repeat(300);
        for nothing in
            ["out", "absolute", "out-and-in", "everything/etc/passwd", "circle", "pipe", "none", "file/x", &long]
        {
            assert!(matches!(root.open_file(nothing).unwrap(), Opened::Nothing), "{nothing}");
            assert!(!root.has_file(nothing).unwrap(), "{nothing}");
        }
        assert!(matches!(root.open_file("sub").unwrap(), Opened::Folder));
        assert!(matches!(root.open_file("everything").unwrap(), Opened::Nothing));
    }

    #[test]
    fn without_openat2_what_lies_outside_is_refused_when_it_has_been_opened() {
        let folder = folder();
        let root = Root::open(&folder.path().join("root")).unwrap().unwrap();
        let open = |name: &str| root.open_and_ask(name, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC);
        for inside in ["file", "sub/up", "winding", "out-and-in"] {
            assert!(open(inside).is_ok(), "{inside}");
        }
        for outside in ["out", "absolute", "everything/etc/passwd", "everything", "../outside"] {
            assert_eq!(open(outside).unwrap_err(), Errno::XDEV, "{outside}");
        }
    }

    #[test]
    fn a_root_that_is_gone_has_nothing() {
        let folder = folder();
        assert!(Root::open(&folder.path().join("none")).unwrap().is_none());
        assert!(Root::open(&folder.path().join("root/file")).unwrap().is_none());
    }
}
