//! HTTP/1 messages as a neutral reader finds them in a stream, in whatever pieces they come. It judges nothing: what it
//! cannot read it keeps as it came.
//!
//! ```text
//! bytes ──► head ──► framing ──► content, trailers ──► Message { first, fields, body, trailers, end }
//! ```

use std::fmt;

/// Name and value, as they came but for the space around the value.
pub type Fields = Vec<(Vec<u8>, Vec<u8>)>;

#[derive(Clone, Default, PartialEq)]
pub struct Message {
    /// Request line or status line.
    pub first: Vec<u8>,
    pub fields: Fields,
    /// Without its framing.
    pub body: Vec<u8>,
    pub trailers: Fields,
    pub end: End,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// It goes on, or the stream ended within it.
    #[default]
    Missing,
    Whole,
    /// It is no message, or its chunks are none.
    Broken,
}

/// As it is read, not as numbers.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first.escape_ascii())?;
        for (name, value) in self.fields.iter().chain(&self.trailers) {
            write!(f, " | {}: {}", name.escape_ascii(), value.escape_ascii())?;
        }
        let shown = &self.body[..self.body.len().min(100)];
        write!(f, " | {} bytes ({:?}): {}", self.body.len(), self.end, shown.escape_ascii())
    }
}

impl Message {
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let named = self.fields.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name.as_bytes()));
        named.map(|(_, value)| value.as_slice())
    }

    /// Whether a list of this name holds the word.
    pub fn lists(&self, name: &str, word: &str) -> bool {
        let words = self.values(name).flat_map(|value| value.split(|byte| *byte == b','));
        words.map(<[u8]>::trim_ascii).any(|item| item.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// Of a status line; 0 where it is none.
    pub fn status(&self) -> u16 {
        let word = self.first.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        std::str::from_utf8(word).ok().and_then(|word| word.parse().ok()).unwrap_or_default()
    }

    fn parse_head(head: &[u8]) -> Message {
        let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let first = lines.next().unwrap_or_default().to_vec();
        Message { first, fields: lines.filter_map(field).collect(), ..Message::default() }
    }

    fn framing(&self) -> Framing {
        if self.lists("transfer-encoding", "chunked") {
            return Framing::Chunks(Chunk::Size(Vec::new()));
        }
        let length = self.values("content-length").next().and_then(|value| std::str::from_utf8(value).ok());
        match length.and_then(|length| length.parse().ok()) {
            Some(0) => Framing::Done,
            Some(length) => Framing::Length(length),
            None => Framing::UntilEnd,
        }
    }
}

fn field(line: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    Some((line[..colon].to_vec(), line[colon + 1..].trim_ascii().to_vec()))
}

/// What is left of a body.
enum Framing {
    Length(u64),
    Chunks(Chunk),
    UntilEnd,
    Done,
}

enum Chunk {
    /// Its line so far.
    Size(Vec<u8>),
    Content(u64),
    /// The line break behind the content.
    Tail(u8),
    Trailer(Vec<u8>),
}

/// What a stream holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    Requests,
    Answers,
}

/// Reads the messages of one stream.
pub struct Reader {
    holds: Holds,
    /// Not read yet: less than a head, or what follows a message that nobody has asked about.
    ahead: Vec<u8>,
    current: Option<(Message, Framing)>,
}

impl Reader {
    pub fn new(holds: Holds) -> Reader {
        Reader { holds, ahead: Vec::new(), current: None }
    }

    /// Whether nothing of a further message has come.
    pub fn is_between(&self) -> bool {
        self.current.is_none() && self.ahead.is_empty()
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.ahead.extend_from_slice(bytes);
    }

    /// The head that has come and is not answered or ended yet.
    pub fn open(&self) -> Option<&Message> {
        self.current.as_ref().map(|(message, _)| message)
    }

    /// The next message that is whole or broken. `has_body`: asked where the head alone does not say it.
    pub fn next(&mut self, has_body: impl Fn(&Message) -> bool) -> Option<Message> {
        if self.current.is_none() {
            self.begin(has_body)?;
        }
        let (message, framing) = self.current.as_mut()?;
        let taken = match feed(message, framing, &self.ahead) {
            Ok(taken) => taken,
            Err(NoChunk) => {
                message.end = End::Broken;
                message.body.append(&mut self.ahead);
                return self.current.take().map(|(message, _)| message);
            }
        };
        self.ahead.drain(..taken);
        matches!(framing, Framing::Done).then_some(())?;
        message.end = End::Whole;
        self.current.take().map(|(message, _)| message)
    }

    fn begin(&mut self, has_body: impl Fn(&Message) -> bool) -> Option<()> {
        self.ahead.drain(..self.blank());
        let end = end_of_head(&self.ahead)?;
        let message = Message::parse_head(&self.ahead[..end]);
        self.ahead.drain(..end);
        let framing = match (has_body(&message), message.framing()) {
            (false, _) => Framing::Done,
            (true, Framing::UntilEnd) if self.holds == Holds::Requests => Framing::Done,
            (true, framing) => framing,
        };
        self.current = Some((message, framing));
        Some(())
    }

    /// As Weir, a reader of HTTP/1 passes over empty lines before a head; before a request's only over such as end as they should.
    fn blank(&self) -> usize {
        match self.holds {
            Holds::Answers => self.ahead.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count(),
            Holds::Requests => 2 * self.ahead.chunks_exact(2).take_while(|line| line == b"\r\n").count(),
        }
    }

    /// The stream has ended: what there is of a message, if there is anything.
    pub fn end(&mut self) -> Option<Message> {
        let (mut message, end) = match self.current.take() {
            Some((message, Framing::UntilEnd)) => (message, End::Whole),
            Some((message, _)) => (message, End::Missing),
            None if self.ahead.is_empty() => return None,
            None => (Message { first: std::mem::take(&mut self.ahead), ..Message::default() }, End::Missing),
        };
        message.end = end;
        Some(message)
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let next = at + bytes[at..].iter().position(|byte| *byte == b'\n')? + 1;
        match &bytes[next..] {
            [b'\n', ..] => return Some(next + 1),
            [b'\r', b'\n', ..] => return Some(next + 2),
            _ => at = next,
        }
    }
}

struct NoChunk;

/// Takes in what belongs to the body; says how much that was.
fn feed(message: &mut Message, framing: &mut Framing, bytes: &[u8]) -> Result<usize, NoChunk> {
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        match framing {
            Framing::Done => break,
            Framing::UntilEnd => {
                message.body.extend_from_slice(rest);
                at = bytes.len();
            }
            Framing::Length(left) => {
                let here = (*left).min(rest.len() as u64);
                message.body.extend_from_slice(&rest[..here as usize]);
                at += here as usize;
                *left -= here;
                if *left == 0 {
                    *framing = Framing::Done;
                }
            }
            Framing::Chunks(Chunk::Content(left)) => {
                let here = (*left).min(rest.len() as u64);
                message.body.extend_from_slice(&rest[..here as usize]);
                at += here as usize;
                *left -= here;
                if *left == 0 {
                    *framing = Framing::Chunks(Chunk::Tail(b'\r'));
                }
            }
            Framing::Chunks(chunk) => {
                match chunk.after(rest[0], message)? {
                    Some(next) => *chunk = next,
                    None => *framing = Framing::Done,
                }
                at += 1;
            }
        }
    }
    Ok(at)
}

impl Chunk {
    /// What comes after a byte of framing; none behind the last.
    fn after(&mut self, byte: u8, message: &mut Message) -> Result<Option<Chunk>, NoChunk> {
        Ok(Some(match self {
            Chunk::Size(line) if byte == b'\n' => match size(line)? {
                0 => Chunk::Trailer(Vec::new()),
                size => Chunk::Content(size),
            },
            Chunk::Trailer(line) if byte == b'\n' => {
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                if line.is_empty() {
                    return Ok(None);
                }
                message.trailers.extend(field(line));
                Chunk::Trailer(Vec::new())
            }
            Chunk::Size(line) => {
                line.push(byte);
                Chunk::Size(std::mem::take(line))
            }
            Chunk::Trailer(line) => {
                line.push(byte);
                Chunk::Trailer(std::mem::take(line))
            }
            Chunk::Tail(wanted) => match (*wanted, byte) {
                (b'\r', b'\r') => Chunk::Tail(b'\n'),
                (b'\n', b'\n') => Chunk::Size(Vec::new()),
                _ => return Err(NoChunk),
            },
            Chunk::Content(left) => Chunk::Content(*left),
        }))
    }
}

fn size(line: &[u8]) -> Result<u64, NoChunk> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let digits = line.split(|byte| matches!(byte, b';' | b' ' | b'\t')).next().unwrap_or_default();
    let digits = std::str::from_utf8(digits).map_err(|_| NoChunk)?;
    u64::from_str_radix(digits, 16).map_err(|_| NoChunk)
}
