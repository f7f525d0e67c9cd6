//! A body that waits until it is whole: in memory while it is small, then in a file that has no name.
//!
//! ```text
//! put ──► memory ──(more than it may take)──► file ──► take, from the beginning
//! ```
//!
//! Files are written and read in place, as nginx does: it is the page cache that takes them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::{Buf, Bytes, BytesMut};

use crate::model::BodyBuffer;

/// What is read back at once.
const PIECE: usize = 64 << 10;

#[derive(Debug)]
pub struct Spool {
    max_memory: usize,
    memory: BytesMut,
    file: Option<File>,
    /// Of the file.
    written: u64,
    taken: u64,
}

impl Spool {
    pub fn new(buffer: &BodyBuffer) -> Self {
        Self { max_memory: buffer.max_memory.as_usize(), memory: BytesMut::new(), file: None, written: 0, taken: 0 }
    }

    pub fn put(&mut self, bytes: &[u8], folder: Option<&Path>) -> io::Result<()> {
        if self.file.is_none() && self.memory.len() + bytes.len() <= self.max_memory {
            self.memory.extend_from_slice(bytes);
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let file = none.insert(open(folder)?);
                file.write_all_at(&self.memory, 0)?;
                self.written = self.memory.len() as u64;
                self.memory = BytesMut::new();
                file
            }
        };
        file.write_all_at(bytes, self.written)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    pub fn is_drained(&self) -> bool {
        self.memory.is_empty() && self.taken == self.written
    }

    /// So much at most, and something while there is something.
    pub fn take(&mut self, most: usize) -> io::Result<Bytes> {
        let Some(file) = &self.file else {
            return Ok(self.memory.split_to(most.min(self.memory.len())).freeze());
        };
        let left = usize::try_from(self.written - self.taken).unwrap_or(usize::MAX);
        let mut piece = vec![0; left.min(most).min(PIECE)];
        file.read_exact_at(&mut piece, self.taken)?;
        self.taken += piece.len() as u64;
        Ok(piece.into())
    }

    /// As [`take`](Self::take), into a slice. How much it was.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(file) = &self.file else {
            let n = into.len().min(self.memory.len());
            self.memory.copy_to_slice(&mut into[..n]);
            return Ok(n);
        };
        let left = usize::try_from(self.written - self.taken).unwrap_or(usize::MAX);
        let n = left.min(into.len());
        file.read_exact_at(&mut into[..n], self.taken)?;
        self.taken += n as u64;
        Ok(n)
    }
}

fn open(folder: Option<&Path>) -> io::Result<File> {
    match folder {
        Some(folder) => tempfile::tempfile_in(folder),
        None => tempfile::tempfile(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ByteSize;

    #[test]
    fn what_was_put_comes_back_from_memory_and_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let buffer = BodyBuffer { max_memory: ByteSize(1000), max_size: ByteSize(1 << 20), folder: None };
        for pieces in [1, 2, 300] {
            let mut spool = Spool::new(&buffer);
            let bytes: Vec<u8> = (0..pieces * 500).map(|n| n as u8).collect();
            bytes.chunks(500).for_each(|piece| spool.put(piece, Some(folder.path())).unwrap());
            assert_eq!(spool.file.is_some(), pieces > 2);
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the file has no name");
            let mut back = spool.take(7).unwrap().to_vec();
            while !spool.is_drained() {
                let mut some = [0; 777];
                let n = spool.read(&mut some).unwrap();
                back.extend_from_slice(&some[..n]);
            }
            assert_eq!(back, bytes);
            assert_eq!(spool.take(7).unwrap(), "");
        }
    }
}
