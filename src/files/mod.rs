//! Static files: the path of a request becomes an open file below a folder, or nothing.
//!
//! ```text
//! path ──(prefix, hidden?)──► below the root ──► the file · the index of a folder · the fallback ──► its sibling in a coding
//! ```
//!
//! Everything here blocks on the disk, and is asked on threads that may. Nothing is kept between requests: what is put in the root's
//! place (a link that is moved to the next release) is served from the next request on.

mod beneath;
mod load;
mod media_type;

pub use load::check_roots;

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use http::HeaderValue;

use crate::model::{Coding, Files, HiddenFiles, PathMatch, RoutePrefix};
use beneath::{Opened, Root};
use media_type::MediaTypes;

/// A folder as a route serves it.
#[derive(Debug)]
pub struct Folder {
    definition: Files,
    /// What is taken off the beginning of a path, without a slash at its end.
    stripped: Arc<str>,
    types: MediaTypes,
}

/// What a path stands for.
#[derive(Debug)]
pub enum Found {
    File(Box<FoundFile>),
    /// A folder with an index, asked for without the slash at the end.
    Folder,
    Nothing,
    /// It is there, and Weir may not read it.
    Unreadable,
}

#[derive(Debug)]
pub struct FoundFile {
    pub content: Content,
    pub modified: SystemTime,
    /// Strong: of the file that is sent, in its coding.
    pub etag: HeaderValue,
    /// None: its extension says nothing.
    pub media_type: Option<HeaderValue>,
    pub coding: Option<Coding>,
    /// The file is there in several codings.
    pub varies: bool,
    /// Below the root.
    pub name: String,
}

impl Folder {
    pub fn new(definition: Files, matched: &PathMatch) -> Self {
        let stripped = match (definition.prefix, matched) {
            (RoutePrefix::Strip, PathMatch::Prefix(prefix)) => prefix.trim_end_matches('/').into(),
            (RoutePrefix::Keep, _) | (RoutePrefix::Strip, PathMatch::Exact(_) | PathMatch::Regex(_)) => "".into(),
        };
        Self { stripped, types: MediaTypes::new(&definition.types), definition }
    }

    pub fn definition(&self) -> &Files {
        &self.definition
    }

    /// What stands for `path`, which is normalized. `accepted`: the codings that the client takes, the best first. Blocks.
    pub fn find(&self, path: &str, accepted: &[Coding]) -> io::Result<Found> {
        match self.look(path, accepted) {
            Ok(found) => Ok(found),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(Found::Unreadable),
            Err(error) => Err(error),
        }
    }

    fn look(&self, path: &str, accepted: &[Coding]) -> io::Result<Found> {
        let Some(below) = path.strip_prefix(&*self.stripped) else { return Ok(Found::Nothing) };
        let name = below.strip_prefix('/').unwrap_or(below);
        if self.definition.hidden_files == HiddenFiles::Deny && is_hidden(name) {
            return Ok(Found::Nothing);
        }
        let Some(root) = Root::open(&self.definition.root)? else { return Ok(Found::Nothing) };
        if let Some(found) = self.file_or_folder(&root, path, name, accepted)? {
            return Ok(found);
        }
        let Some(fallback) = self.definition.fallback.as_deref() else { return Ok(Found::Nothing) };
        match root.open_file(fallback)? {
            Opened::File(file) => self.served(&root, file, fallback, accepted).map(Found::File),
            Opened::Folder | Opened::Nothing => Ok(Found::Nothing),
        }
    }

    fn file_or_folder(&self, root: &Root, path: &str, name: &str, accepted: &[Coding]) -> io::Result<Option<Found>> {
        if path.ends_with('/') {
            for index in &self.definition.index {
                let name = format!("{name}{index}");
                if let Opened::File(file) = root.open_file(&name)? {
                    return self.served(root, file, &name, accepted).map(|file| Some(Found::File(file)));
                }
            }
            return Ok(None);
        }
        // The route's own prefix, stripped.
        let opened = if name.is_empty() { Opened::Folder } else { root.open_file(name)? };
        match opened {
            Opened::File(file) => self.served(root, file, name, accepted).map(|file| Some(Found::File(file))),
            Opened::Nothing => Ok(None),
            Opened::Folder => {
                let prefix = if name.is_empty() { String::new() } else { format!("{name}/") };
                for index in &self.definition.index {
                    if root.has_file(&format!("{prefix}{index}"))? {
                        return Ok(Some(Found::Folder));
                    }
                }
                Ok(None)
            }
        }
    }

    /// The plain file, or the one beside it that the client likes better.
    fn served(&self, root: &Root, plain: File, name: &str, accepted: &[Coding]) -> io::Result<Box<FoundFile>> {
        let media_type = self.types.of(name);
        let there = &self.definition.precompressed;
        let sibling = |coding: Coding| format!("{name}{}", coding.file_suffix());
        for coding in accepted.iter().filter(|coding| there.contains(coding)) {
            if let Opened::File(file) = root.open_file(&sibling(*coding))? {
                return found(file, name.to_owned() + coding.file_suffix(), media_type, Some(*coding), true);
            }
        }
        let mut varies = false;
        for coding in there.iter().filter(|coding| !accepted.contains(coding)) {
            varies = varies || root.has_file(&sibling(*coding))?;
        }
        found(plain, name.to_owned(), media_type, None, varies)
    }
}

fn found(
    file: File,
    name: String,
    media_type: Option<HeaderValue>,
    coding: Option<Coding>,
    varies: bool,
) -> io::Result<Box<FoundFile>> {
    let metadata = file.metadata()?;
    let etag = etag(metadata.mtime(), metadata.mtime_nsec(), metadata.len())?;
    let content = Content { file: Arc::new(file), length: metadata.len() };
    Ok(Box::new(FoundFile { content, modified: metadata.modified()?, etag, media_type, coding, varies, name }))
}

/// nginx's, where the time has whole seconds, as files of images and archives do: browsers keep what they have when Weir takes nginx's
/// place. Where it has more they are told apart by it, as a strong validator must (RFC 9110 §8.8.1).
fn etag(seconds: i64, nanoseconds: i64, length: u64) -> io::Result<HeaderValue> {
    let text = match nanoseconds {
        0 => format!("\"{seconds:x}-{length:x}\""),
        _ => format!("\"{seconds:x}-{length:x}-{nanoseconds:x}\""),
    };
    HeaderValue::try_from(text).map_err(io::Error::other)
}

/// `.well-known` at the beginning is there for others to read (RFC 8615).
fn is_hidden(name: &str) -> bool {
    let mut segments = name.split('/');
    let first = segments.next().unwrap_or_default();
    (first.starts_with('.') && first != ".well-known") || segments.any(|segment| segment.starts_with('.'))
}

/// An open file. What happens to its name meanwhile does not concern it.
#[derive(Clone, Debug)]
pub struct Content {
    file: Arc<File>,
    pub length: u64,
}

impl Content {
    /// So many bytes from `offset` on. One that has become shorter is an error: its length has been promised. Blocks.
    pub fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let mut piece = BytesMut::zeroed(length);
        self.file.read_exact_at(&mut piece, offset)?;
        Ok(piece.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_begin_with_a_dot_are_hidden_well_known_at_the_beginning_apart() {
        for (name, expected) in [
            (".env", true),
            (".git/config", true),
            ("a/.htaccess", true),
            ("a/..data/b", true),
            (".well-known/security.txt", false),
            (".well-known/.secret", true),
            ("a/.well-known/b", true),
            ("a.b/c.d", false),
            ("", false),
        ] {
            assert_eq!(is_hidden(name), expected, "{name}");
        }
    }

    #[test]
    fn an_etag_is_nginxs_unless_the_time_is_finer_than_a_second() {
        assert_eq!(etag(0x65a1_b2c3, 0, 500).unwrap(), "\"65a1b2c3-1f4\"");
        assert_eq!(etag(0x65a1_b2c3, 10, 500).unwrap(), "\"65a1b2c3-1f4-a\"");
    }
}
