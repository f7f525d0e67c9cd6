//! What a model names by path and does not hold: certificates, keys, passwords.
//!
//! ```text
//! path ──► Material ──OnDisk──► the file          ──► bytes
//!                   └─Brought─► what a source has ──┘
//! ```
//!
//! A source without files (a cluster) brings the contents along, under the names that its model has for them. Knows
//! nothing of what the bytes mean.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Clone, Default, PartialEq, Eq)]
pub enum Material {
    #[default]
    OnDisk,
    Brought(BTreeMap<PathBuf, Arc<[u8]>>),
}

impl Material {
    /// What stands under `path`. More than `largest` bytes are [`io::ErrorKind::FileTooLarge`]. Blocks where it is a file.
    pub fn read(&self, path: &Path, largest: u64) -> io::Result<Arc<[u8]>> {
        let bytes = match self {
            Self::OnDisk => read_file(path, largest)?.into(),
            Self::Brought(contents) => {
                contents.get(path).cloned().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?
            }
        };
        if bytes.len() as u64 > largest { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
    }
}

/// One byte more than the largest, where there is more: a path to what has no end must not fill the memory.
fn read_file(path: &Path, largest: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(largest.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Secrets stand in it.
impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnDisk => f.write_str("OnDisk"),
            Self::Brought(contents) => f.debug_set().entries(contents.keys()).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_source_brings_is_read_as_a_file_would_be() {
        let material = Material::Brought([(PathBuf::from("secret/a/b"), Arc::from(*b"four"))].into());
        assert_eq!(&*material.read(Path::new("secret/a/b"), 4).unwrap(), b"four");
        let kind = |path: &str, largest| material.read(Path::new(path), largest).unwrap_err().kind();
        assert_eq!(kind("secret/a/b", 3), io::ErrorKind::FileTooLarge);
        assert_eq!(kind("secret/a/c", 4), io::ErrorKind::NotFound);
        assert_eq!(format!("{material:?}"), "{\"secret/a/b\"}");
    }

    #[test]
    fn a_file_that_has_no_end_is_refused() {
        let read = Material::OnDisk.read(Path::new("/dev/zero"), 1000);
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
