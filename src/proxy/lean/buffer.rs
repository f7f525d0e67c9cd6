//! Buffers for what upstreams send, borrowed from a pool of the thread: who waits holds none.

use std::cell::RefCell;

/// What is read at once.
const SIZE: usize = 64 << 10;

/// Buffers that a thread keeps for its next answers.
const POOLED: usize = 32;

thread_local! {
    static BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes that have come and were not used yet.
#[derive(Default)]
pub struct Buffer {
    /// Empty while nothing is held.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    pub fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Room for more, behind what has come; never none.
    pub fn spare(&mut self) -> &mut [u8] {
        if self.bytes.is_empty() {
            self.bytes = BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; SIZE]);
        } else if self.end == self.bytes.len() {
            self.bytes.resize(2 * self.end, 0);
        }
        &mut self.bytes[self.end..]
    }

    pub fn came(&mut self, length: usize) {
        self.end += length;
    }

    /// What was used is not wanted any more.
    pub fn consume(&mut self, length: usize) {
        self.start += length;
        if self.is_empty() {
            self.give_back();
        }
    }

    pub fn clear(&mut self) {
        self.give_back();
    }

    fn give_back(&mut self) {
        (self.start, self.end) = (0, 0);
        let bytes = std::mem::take(&mut self.bytes);
        // One that has grown is not kept.
        if bytes.len() == SIZE {
            BUFFERS.with_borrow_mut(|buffers| {
                if buffers.len() < POOLED {
                    buffers.push(bytes);
                }
            });
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            self.give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_held_until_they_are_used_and_the_buffer_no_longer() {
        let mut buffer = Buffer::default();
        assert!(buffer.filled().is_empty());
        buffer.spare()[..3].copy_from_slice(b"abc");
        buffer.came(3);
        buffer.consume(1);
        assert_eq!(buffer.filled(), b"bc");
        let room = buffer.spare().len();
        buffer.came(room);
        assert_eq!(buffer.spare().len(), SIZE, "it grows");
        buffer.clear();
        assert!(buffer.is_empty() && buffer.bytes.is_empty());
    }
}
