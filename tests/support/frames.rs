//! HTTP/2 frame by frame, for what a client library would not do.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::wait::LIMIT;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;

/// A connection whose preface was sent.
pub struct FrameConnection {
    stream: TcpStream,
}

#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// A frame as bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The header block of `METHOD http://authority/`, without compression.
pub fn head(method: &str, authority: &str) -> Vec<u8> {
    // `:scheme http` and `:path /` from HPACK's static table; `:method` (2) and `:authority` (1) as literals.
    let mut block = vec![0x86, 0x84];
    for (name, value) in [(2, method), (1, authority)] {
        block.extend([name, u8::try_from(value.len()).expect("a short value")]);
        block.extend(value.as_bytes());
    }
    block
}

impl FrameConnection {
    #[track_caller]
    pub fn open(to: SocketAddr) -> FrameConnection {
        let mut stream = TcpStream::connect(to).expect("a connection");
        stream.set_read_timeout(Some(LIMIT)).expect("a socket");
        stream.set_write_timeout(Some(LIMIT)).expect("a socket");
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("weir reads");
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).expect("weir reads");
        FrameConnection { stream }
    }

    /// An error once the server has closed the connection.
    pub fn write(&mut self, frames: &[u8]) -> io::Result<()> {
        self.stream.write_all(frames)
    }

    /// None at the end of the connection.
    pub fn read(&mut self) -> Option<Frame> {
        let mut header = [0; 9];
        self.stream.read_exact(&mut header).ok()?;
        let [a, b, c, kind, flags, stream @ ..] = header;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.stream.read_exact(&mut payload).ok()?;
        Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }

    /// Writes the same again and again, until the server has had enough of it; the error code of its GOAWAY.
    #[track_caller]
    pub fn flood(mut self, frames: impl Fn(u32) -> Vec<u8> + Send + 'static) -> u32 {
        let mut writing = FrameConnection { stream: self.stream.try_clone().expect("a socket") };
        let writer = std::thread::spawn(move || (0..1_000_000).find(|n| writing.write(&frames(*n)).is_err()));
        let code = self.goaway();
        // Reads on: what is unread when a socket closes resets the connection.
        while self.read().is_some() {}
        drop(self);
        assert!(writer.join().expect("no panic").is_some(), "the flood was let through to its end");
        code
    }

    /// Reads on until the server ends the connection; the error code that it gives.
    #[track_caller]
    pub fn goaway(&mut self) -> u32 {
        self.find(|frame| frame.kind == GOAWAY && frame.payload[4..8] != [0; 4]).error_code()
    }

    #[track_caller]
    pub fn find(&mut self, wanted: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            let frame = self.read().expect("the connection is open until the frame that is waited for");
            if wanted(&frame) {
                return frame;
            }
        }
    }
}

impl Frame {
    /// Of a RST_STREAM or a GOAWAY.
    pub fn error_code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().expect("an error code"))
    }
}
