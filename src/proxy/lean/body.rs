//! A body on its way through: read as it is framed on one side, written as it is framed on the other.
//!
//! ```text
//! bytes ──Incoming (length, chunks, until the end)──► content ──Outgoing (as it is, or in chunks of Weir's own)──► bytes
//! ```
//!
//! Extensions and trailers of chunks end here, as in the full lane: nobody has to read what two parsers could read differently.

use std::io::Write;

use crate::proxy::chunks::{BadChunks, Chunks, Piece, Sender};

/// How a message says where its body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    None,
    Length(u64),
    Chunked,
    /// With the connection, or with a stream of HTTP/2.
    UntilTheEnd,
}

/// A body that comes in.
#[derive(Debug)]
pub struct Incoming {
    left: Left,
    /// Content that has come.
    pub content: u64,
}

#[derive(Debug)]
enum Left {
    Bytes(u64),
    Chunks(Chunks),
    UntilTheEnd,
}

impl Incoming {
    /// Of a request.
    pub fn new(framing: Framing) -> Self {
        Self::sent_by(Sender::Client, framing)
    }

    pub fn sent_by(sender: Sender, framing: Framing) -> Self {
        let left = match framing {
            Framing::None => Left::Bytes(0),
            Framing::Length(length) => Left::Bytes(length),
            Framing::Chunked => Left::Chunks(Chunks::sent_by(sender)),
            Framing::UntilTheEnd => Left::UntilTheEnd,
        };
        Self { left, content: 0 }
    }

    /// The piece that begins these bytes; behind a whole body none does.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Piece, BadChunks> {
        let piece = match &mut self.left {
            Left::Bytes(left) => {
                let here = (*left).min(bytes.len() as u64);
                *left -= here;
                Piece::Content(here as usize)
            }
            Left::Chunks(chunks) => chunks.next(bytes)?,
            Left::UntilTheEnd => Piece::Content(bytes.len()),
        };
        if let Piece::Content(length) = piece {
            self.content += length as u64;
        }
        Ok(piece)
    }

    pub fn is_whole(&self) -> bool {
        match &self.left {
            Left::Bytes(left) => *left == 0,
            Left::Chunks(chunks) => chunks.is_whole(),
            Left::UntilTheEnd => false,
        }
    }

    /// What it was to end with has ended.
    pub fn end(&mut self) {
        self.left = Left::Bytes(0);
    }

    /// Whether the end of what carries it, a connection or a stream, is the end of the body.
    pub fn ends_with_its_carrier(&self) -> bool {
        matches!(self.left, Left::UntilTheEnd)
    }
}

/// How a body goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outgoing {
    AsItIs,
    InChunks,
}

impl Outgoing {
    pub fn of(framing: Framing) -> Self {
        match framing {
            Framing::None | Framing::Length(_) => Outgoing::AsItIs,
            Framing::Chunked | Framing::UntilTheEnd => Outgoing::InChunks,
        }
    }

    pub fn open(self, out: &mut Vec<u8>, content: usize) {
        if self == Outgoing::InChunks {
            // Writing to a vector does not fail.
            let _ = write!(out, "{content:x}\r\n");
        }
    }

    pub fn close(self, out: &mut Vec<u8>) {
        if self == Outgoing::InChunks {
            out.extend_from_slice(b"\r\n");
        }
    }

    /// One piece of content.
    pub fn put(self, out: &mut Vec<u8>, content: &[u8]) {
        if !content.is_empty() {
            self.open(out, content.len());
            out.extend_from_slice(content);
            self.close(out);
        }
    }

    pub fn end(self, out: &mut Vec<u8>) {
        if self == Outgoing::InChunks {
            out.extend_from_slice(b"0\r\n\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out of these bytes, cut in two, and how many of them are the body's.
    fn through(framing: Framing, bytes: &[u8], cut: usize) -> (Vec<u8>, usize) {
        let (mut incoming, outgoing, mut out, mut taken) =
            (Incoming::new(framing), Outgoing::of(framing), Vec::new(), 0);
        for end in [cut, bytes.len()] {
            while taken < end && !incoming.is_whole() {
                let (Piece::Framing(length) | Piece::Content(length)) = incoming.next(&bytes[taken..end]).unwrap();
                taken += length;
            }
        }
        let mut incoming = Incoming::new(framing);
        let mut at = 0;
        while at < taken && !incoming.is_whole() {
            match incoming.next(&bytes[at..taken]).unwrap() {
                Piece::Framing(length) => at += length,
                Piece::Content(length) => {
                    outgoing.put(&mut out, &bytes[at..at + length]);
                    at += length;
                }
            }
        }
        outgoing.end(&mut out);
        (out, taken)
    }

    #[test]
    fn content_goes_on_and_framing_is_written_anew() {
        let chunked = b"5;x=\"y\"\r\nhello\r\n001\r\n!\r\n0\r\nTrailer: 1\r\n\r\nGET /";
        for cut in 0..chunked.len() {
            let (out, taken) = through(Framing::Chunked, chunked, cut);
            assert_eq!(out, b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n");
            assert_eq!(&chunked[taken..], b"GET /");
        }
        assert_eq!(through(Framing::Length(3), b"abcdef", 2), (b"abc".to_vec(), 3));
        assert_eq!(through(Framing::UntilTheEnd, b"abc", 1).0, b"3\r\nabc\r\n0\r\n\r\n");
        assert_eq!(through(Framing::None, b"abc", 1), (Vec::new(), 0));
    }
}
