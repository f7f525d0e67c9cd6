//! One object in a file.
//!
//! ```text
//! body | a checksum per block of it | stamp | footer { magic, key, lengths, checksum of the two before }
//! ```
//!
//! What changes while an object lives (how long it is fresh) comes last, so that it can be written anew in place. A file that was
//! cut, mixed up or written half is known by its footer, and a garbled body by the checksum of its block.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::super::object::Stamp;

/// The part of a body that is read and checked at once.
pub const BLOCK: u64 = 128 << 10;

const MAGIC: &[u8; 8] = b"weirobj1";
const FOOTER: usize = 8 + 16 + 8 + 4 + 4;

/// An object on its way into a file. Dropped before its time it leaves nothing.
pub struct Writer {
    file: File,
    path: PathBuf,
    length: u64,
    block: crc32fast::Hasher,
    sums: Vec<u32>,
}

impl Writer {
    pub fn create(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        Ok(Self { file, path, length: 0, block: crc32fast::Hasher::new(), sums: Vec::new() })
    }

    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        while !bytes.is_empty() {
            let room = (BLOCK - self.length % BLOCK) as usize;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.block.update(now);
            self.length += now.len() as u64;
            if self.length.is_multiple_of(BLOCK) {
                self.end_block();
            }
            bytes = later;
        }
        Ok(())
    }

    fn end_block(&mut self) {
        self.sums.push(std::mem::take(&mut self.block).finalize());
    }

    /// Gives the file its name, whole. Returns its length.
    pub fn finish(mut self, key: u128, stamp: &Stamp, path: &Path) -> io::Result<u64> {
        if !self.length.is_multiple_of(BLOCK) {
            self.end_block();
        }
        let tail = tail(key, self.length, &self.sums, stamp)?;
        self.file.write_all(&tail)?;
        std::fs::rename(&self.path, path)?;
        // Nothing is left to be removed.
        self.path = PathBuf::new();
        Ok(self.length + tail.len() as u64)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn tail(key: u128, length: u64, sums: &[u32], stamp: &Stamp) -> io::Result<Vec<u8>> {
    let too_large = |_| io::Error::other("the head of the object is too large");
    let mut tail: Vec<u8> = sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
    let begin = tail.len();
    for part in [stamp.url.as_bytes(), stamp.tags.join("\n").as_bytes(), &stamp.internal, &stamp.header] {
        tail.extend(u32::try_from(part.len()).map_err(too_large)?.to_le_bytes());
        tail.extend_from_slice(part);
    }
    let stamp_length = u32::try_from(tail.len() - begin).map_err(too_large)?;
    let sum = crc32fast::hash(&tail);
    tail.extend_from_slice(MAGIC);
    tail.extend(key.to_le_bytes());
    tail.extend(length.to_le_bytes());
    tail.extend(stamp_length.to_le_bytes());
    tail.extend(sum.to_le_bytes());
    Ok(tail)
}

/// An object in its file, ready to be read.
#[derive(Clone)]
pub struct Reader {
    file: Arc<File>,
    pub length: u64,
    sums: Arc<[u32]>,
    pub stamp: Stamp,
}

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("it is not as it was written")]
    Corrupt,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Reader {
    pub fn open(path: &Path, key: u128) -> Result<Self, ReadError> {
        let file = File::open(path)?;
        let (length, sums, stamp) = read_tail(&file, key)?;
        Ok(Self { file: Arc::new(file), length, sums: sums.into(), stamp })
    }

    /// What the file takes.
    pub fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// The block in which `at` is, from there on.
    pub fn read(&self, at: u64) -> Result<Bytes, ReadError> {
        let begin = at - at % BLOCK;
        let mut block = vec![0; BLOCK.min(self.length.saturating_sub(begin)) as usize];
        self.file.read_exact_at(&mut block, begin)?;
        match self.sums.get((begin / BLOCK) as usize) {
            Some(sum) if crc32fast::hash(&block) == *sum => Ok(Bytes::from(block).slice((at - begin) as usize..)),
            Some(_) | None => Err(ReadError::Corrupt),
        }
    }
}

/// Writes another stamp after the same body. Whoever is reading it goes on.
pub fn restamp(path: &Path, key: u128, stamp: &Stamp) -> Result<(), ReadError> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let (length, sums, _) = read_tail(&file, key)?;
    let tail = tail(key, length, &sums, stamp)?;
    file.write_all_at(&tail, length)?;
    Ok(file.set_len(length + tail.len() as u64)?)
}

fn read_tail(file: &File, key: u128) -> Result<(u64, Vec<u32>, Stamp), ReadError> {
    let size = file.metadata()?.len();
    let begin = size.checked_sub(FOOTER as u64).ok_or(ReadError::Corrupt)?;
    let mut footer = [0; FOOTER];
    file.read_exact_at(&mut footer, begin)?;
    let mut footer = Parts(&footer);
    if footer.take(8) != Some(MAGIC) || footer.number::<16>().map(u128::from_le_bytes) != Some(key) {
        return Err(ReadError::Corrupt);
    }
    let (length, stamp, sum) = (|| {
        let length = u64::from_le_bytes(footer.number()?);
        Some((length, u32::from_le_bytes(footer.number()?), u32::from_le_bytes(footer.number()?)))
    })()
    .ok_or(ReadError::Corrupt)?;
    let blocks = length.div_ceil(BLOCK);
    let expected = blocks.checked_mul(4).and_then(|sums| length.checked_add(sums)?.checked_add(stamp.into()));
    if expected != Some(begin) {
        return Err(ReadError::Corrupt);
    }
    let mut tail = vec![0; (begin - length) as usize];
    file.read_exact_at(&mut tail, length)?;
    if crc32fast::hash(&tail) != sum {
        return Err(ReadError::Corrupt);
    }
    let (sums, stamp) = tail.split_at(blocks as usize * 4);
    let sums = sums.chunks_exact(4).filter_map(|sum| Some(u32::from_le_bytes(sum.try_into().ok()?))).collect();
    Ok((length, sums, read_stamp(stamp).ok_or(ReadError::Corrupt)?))
}

fn read_stamp(bytes: &[u8]) -> Option<Stamp> {
    let mut parts = Parts(bytes);
    let mut next = || {
        let length = u32::from_le_bytes(parts.number()?);
        parts.take(length as usize)
    };
    let url = std::str::from_utf8(next()?).ok()?.into();
    let tags = std::str::from_utf8(next()?).ok()?;
    let tags = tags.split('\n').filter(|tag| !tag.is_empty()).map(Into::into).collect();
    Some(Stamp { url, tags, internal: next()?.into(), header: next()?.into() })
}

struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (now, later) = self.0.split_at_checked(count)?;
        self.0 = later;
        Some(now)
    }

    fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(url: &str) -> Stamp {
        let tags = ["a".into(), "b".into()].into();
        Stamp { url: url.into(), tags, internal: [1, 2, 3].into(), header: [4; 300].into() }
    }

    fn written(body: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("object");
        let mut writer = Writer::create(folder.path().join("new")).unwrap();
        body.chunks(1000).for_each(|chunk| writer.write(chunk).unwrap());
        let size = writer.finish(7, &stamp("a.test/"), &path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), size);
        (folder, path)
    }

    fn read_all(reader: &Reader) -> Vec<u8> {
        let mut body = Vec::new();
        while (body.len() as u64) < reader.length {
            body.extend_from_slice(&reader.read(body.len() as u64).unwrap());
        }
        body
    }

    #[test]
    fn what_was_written_is_read() {
        for length in [0, 1, 1000, BLOCK as usize, BLOCK as usize + 1, 3 * BLOCK as usize + 17] {
            let body: Vec<u8> = (0..length).map(|at| (at * 7 % 251) as u8).collect();
            let (_folder, path) = written(&body);
            let reader = Reader::open(&path, 7).unwrap();
            assert_eq!((reader.length, &reader.stamp), (length as u64, &stamp("a.test/")));
            assert_eq!(read_all(&reader), body);
            if length > 500 {
                assert_eq!(reader.read(500).unwrap()[..], body[500..length.min(BLOCK as usize)]);
            }
        }
    }

    #[test]
    fn another_stamp_leaves_the_body_and_its_readers_alone() {
        let (_folder, path) = written(&[9; 5000]);
        let before = Reader::open(&path, 7).unwrap();
        let mut shorter = stamp("b.test/");
        shorter.header = [5].into();
        restamp(&path, 7, &shorter).unwrap();
        let after = Reader::open(&path, 7).unwrap();
        assert_eq!(after.stamp, shorter);
        assert_eq!((read_all(&before), read_all(&after)), (vec![9; 5000], vec![9; 5000]));
    }

    #[test]
    fn every_garbled_byte_and_every_cut_is_noticed() {
        let (_folder, path) = written(&[9; 200]);
        let whole = std::fs::read(&path).unwrap();
        let is_whole = || Reader::open(&path, 7).is_ok_and(|reader| reader.read(0).is_ok());
        assert!(is_whole());
        for at in 0..whole.len() {
            let mut garbled = whole.clone();
            garbled[at] ^= 1;
            std::fs::write(&path, &garbled).unwrap();
            assert!(!is_whole(), "byte {at}");
            std::fs::write(&path, &whole[..at]).unwrap();
            assert!(!is_whole(), "cut at {at}");
        }
        std::fs::write(&path, &whole).unwrap();
        assert!(Reader::open(&path, 8).is_err(), "another's");
    }

    #[test]
    fn what_is_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(folder.path().join("new")).unwrap();
        writer.write(b"abc").unwrap();
        drop(writer);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
