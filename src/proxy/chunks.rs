//! Where a chunked body ends (RFC 9112 §7.1), in whatever pieces it comes. What is in it is not looked at.
//!
//! A client's framing is held to the grammar: what else could stand in a size's line or in a trailer, another reader might take for
//! an end.

use super::head::{is_control_byte, is_token_byte};

/// What has been seen of one body.
#[derive(Debug, Default)]
pub struct Chunks {
    sender: Sender,
    state: State,
    /// Bytes of content, without framing.
    content: u64,
    framing: u64,
}

/// Whose body it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sender {
    #[default]
    Client,
    /// Odd extensions and trailers are passed over, as Pingora does in the full lane: they end here, and nobody is framed by them.
    Origin,
}

/// What comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Begin,
    Size {
        size: u64,
        digits: u8,
    },
    /// Space behind a size: digits do not go on, and nothing but an extension begins (RFC 9112 §7.1.1).
    Space(u64),
    Extension(u64),
    SizeEnd(u64),
    Content(u64),
    ContentCr,
    ContentLf,
    TrailerBegin,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    Done,
}

/// It is none, or mostly framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadChunks;

/// So much framing belongs to no content: trailers, an extension.
const SPARE_FRAMING: u64 = 64 << 10;

/// The framing of a chunk of one byte takes five; some clients add an extension.
const FRAMING_FOR_A_BYTE: u64 = 16;

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    Framing(usize),
    Content(usize),
}

impl Chunks {
    pub fn sent_by(sender: Sender) -> Self {
        Self { sender, ..Self::default() }
    }

    /// How many of these bytes belong to the body.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<usize, BadChunks> {
        let mut at = 0;
        while at < bytes.len() && !self.is_whole() {
            at += match self.next(&bytes[at..])? {
                Piece::Framing(length) | Piece::Content(length) => length,
            };
        }
        Ok(at)
    }

    /// Takes the longest piece that begins these bytes. Empty where the body is whole, or there are none.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Piece, BadChunks> {
        if let State::Content(left) = self.state {
            let here = left.min(bytes.len() as u64);
            self.content += here;
            self.state = if here == left { State::ContentCr } else { State::Content(left - here) };
            return Ok(Piece::Content(here as usize));
        }
        let mut at = 0;
        while at < bytes.len() && !matches!(self.state, State::Content(_) | State::Done) {
            if self.sender == Sender::Client && self.state.forbids(bytes[at]) {
                return Err(BadChunks);
            }
            self.state = self.state.after(bytes[at])?;
            at += 1;
        }
        self.framing += at as u64;
        if self.framing > SPARE_FRAMING + self.content.saturating_mul(FRAMING_FOR_A_BYTE) {
            return Err(BadChunks);
        }
        Ok(Piece::Framing(at))
    }

    pub fn content(&self) -> u64 {
        self.content
    }

    pub fn is_whole(&self) -> bool {
        self.state == State::Done
    }
}

impl State {
    fn after(self, byte: u8) -> Result<State, BadChunks> {
        let digit = || char::from(byte).to_digit(16).map(u64::from);
        Ok(match (self, byte) {
            (State::Begin, _) => State::Size { size: digit().ok_or(BadChunks)?, digits: 1 },
            (State::Size { size, .. } | State::Space(size), b'\r') => State::SizeEnd(size),
            (State::Size { size, .. } | State::Space(size), b';') => State::Extension(size),
            (State::Size { size, .. } | State::Space(size), b' ' | b'\t') => State::Space(size),
            // As long as Pingora's, zeros included: such sizes stay below 2⁶⁴.
            (State::Size { digits: 16.., .. }, _) => return Err(BadChunks),
            (State::Size { size, digits }, _) => {
                State::Size { size: size * 16 + digit().ok_or(BadChunks)?, digits: digits + 1 }
            }
            (State::Extension(size), b'\r') => State::SizeEnd(size),
            (State::Extension(_), b'\n') => return Err(BadChunks),
            (State::Extension(size), _) => State::Extension(size),
            (State::SizeEnd(0), b'\n') | (State::TrailerLf, b'\n') => State::TrailerBegin,
            (State::SizeEnd(size), b'\n') => State::Content(size),
            (State::ContentCr, b'\r') => State::ContentLf,
            (State::ContentLf, b'\n') => State::Begin,
            (State::TrailerBegin, b'\r') => State::LastLf,
            (State::TrailerName | State::TrailerValue, b'\r') => State::TrailerLf,
            (State::TrailerBegin | State::TrailerName | State::TrailerValue, b'\n') => return Err(BadChunks),
            (State::TrailerName, b':') => State::TrailerValue,
            (State::TrailerBegin | State::TrailerName, _) => State::TrailerName,
            (State::TrailerValue, _) => State::TrailerValue,
            (State::LastLf, b'\n') => State::Done,
            (
                State::Space(_)
                | State::SizeEnd(_)
                | State::ContentCr
                | State::ContentLf
                | State::TrailerLf
                | State::LastLf,
                _,
            ) => return Err(BadChunks),
            (State::Content(_) | State::Done, _) => self,
        })
    }

    /// Bytes that no extension holds, and no trailer as RFC 9110 §5 writes fields.
    fn forbids(self, byte: u8) -> bool {
        match self {
            State::Extension(_) | State::TrailerValue => is_control_byte(byte) && byte != b'\r',
            State::TrailerBegin => !is_token_byte(byte) && byte != b'\r',
            State::TrailerName => !is_token_byte(byte) && byte != b':',
            State::Begin
            | State::Size { .. }
            | State::Space(_)
            | State::SizeEnd(_)
            | State::Content(_)
            | State::ContentCr
            | State::ContentLf
            | State::TrailerLf
            | State::LastLf
            | State::Done => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_found_in_whatever_pieces_it_comes() {
        for body in
            ["0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", "a;x=y\r\n0\r\n0\r\n\r\n01\r\n00 \t;z\r\nA: b\r\nC: d\r\n\r\n"]
        {
            let with_more = format!("{body}GET /");
            for cut in 0..with_more.len() {
                let mut chunks = Chunks::default();
                let (first, second) = with_more.as_bytes().split_at(cut);
                let taken = chunks.feed(first).unwrap();
                assert_eq!(chunks.is_whole(), cut >= body.len());
                let rest = [&first[taken..], second].concat();
                assert_eq!(taken + chunks.feed(&rest).unwrap(), body.len(), "{body:?} cut at {cut}");
                assert!(chunks.is_whole());
            }
        }
        let mut chunks = Chunks::default();
        chunks.feed(b"5\r\nhello\r\n3\r\nabc\r\n0\r\n\r\n").unwrap();
        assert_eq!(chunks.content(), 8);
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for body in [
            "x",
            "\r\n",
            "5\nhello",
            "5 0\r\nhello",
            "5 a=b\r\nhello",
            "2\r\nabc\r\n",
            "1\r\na\n",
            "0\r\n\n",
            "0\r\nA: b\n\r\n",
            "11111111111111111\r\n",
            "00000000000000000\r\n\r\n",
            "1 2\r\n",
            "1\t2\r\n",
        ] {
            for sender in [Sender::Client, Sender::Origin] {
                assert_eq!(Chunks::sent_by(sender).feed(body.as_bytes()), Err(BadChunks), "{body:?}");
            }
        }
    }

    #[test]
    fn a_clients_framing_is_held_to_the_grammar() {
        for body in [
            "0;a\0\r\n\r\n",
            "0;\x7f\r\n\r\n",
            "0;a=\"\r\n\"\r\n\r\n",
            "0\r\nno colon\r\n\r\n",
            "0\r\n: x\r\n\r\n",
            "0\r\n folded: x\r\n\r\n",
            "0\r\nA : b\r\n\r\n",
            "0\r\nA: \0\r\n\r\n",
        ] {
            assert_eq!(Chunks::default().feed(body.as_bytes()), Err(BadChunks), "{body:?}");
            let mut of_an_answer = Chunks::sent_by(Sender::Origin);
            assert_eq!(of_an_answer.feed(body.as_bytes()), Ok(body.len()), "{body:?}");
            assert!(of_an_answer.is_whole(), "{body:?}");
        }
    }

    #[test]
    fn framing_is_bounded_by_what_it_frames() {
        let mut chunks = Chunks::default();
        let endless = b"0;".iter().chain(std::iter::repeat_n(&b'x', 70_000)).copied().collect::<Vec<_>>();
        assert_eq!(chunks.feed(&endless), Err(BadChunks));
        let mut chunks = Chunks::default();
        for _ in 0..100_000 {
            chunks.feed(b"1\r\na\r\n").unwrap();
        }
    }
}
