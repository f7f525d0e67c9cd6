//! Where a part of a head stands in its bytes: what was read once is found again without being copied.

/// A part of some bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

/// A header field.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub name: Span,
    pub value: Span,
}

impl Span {
    pub fn new(start: usize, end: usize) -> Self {
        // Heads are bounded far below 4 GiB.
        Self { start: start as u32, end: end as u32 }
    }

    /// `part` is a part of `whole`.
    pub fn of(whole: &[u8], part: &[u8]) -> Self {
        if part.is_empty() {
            // It may stand anywhere.
            return Self::default();
        }
        let start = part.as_ptr().addr() - whole.as_ptr().addr();
        Self::new(start, start + part.len())
    }

    pub fn start(self) -> usize {
        self.start as usize
    }

    pub fn end(self) -> usize {
        self.end as usize
    }

    pub fn length(self) -> usize {
        self.end() - self.start()
    }

    /// The part of the bytes that it was made of.
    pub fn in_bytes(self, whole: &[u8]) -> &[u8] {
        &whole[self.start()..self.end()]
    }
}

impl Field {
    /// Name and value are parts of `head`.
    pub fn of(head: &[u8], name: &[u8], value: &[u8]) -> Self {
        Self { name: Span::of(head, name), value: Span::of(head, value) }
    }
}
