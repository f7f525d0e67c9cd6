//! An attack: bytes of one connection, of which everybody must find `/attack` first and at most `/next` behind it.

pub const HOST: &str = "smuggling.test";

/// What is hidden. Nobody ever asks for it.
pub const HIDDEN: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// What is asked behind the attack; where it is answered, the connection ends.
const NEXT: &str = "GET /next HTTP/1.1\r\nHost: smuggling.test\r\nConnection: close\r\n\r\n";

pub struct Attack {
    pub name: String,
    pub bytes: Vec<u8>,
}

impl Attack {
    /// A head without its last empty line, and what is sent behind that.
    pub fn new(name: impl Into<String>, head: &[u8], body: &[u8]) -> Attack {
        let bytes = [head, b"\r\n\r\n", body, NEXT.as_bytes()].concat();
        Attack { name: name.into(), bytes }
    }

    /// A POST with these lines between `Host` and the end of the head.
    pub fn post(name: impl Into<String>, lines: &[&[u8]], body: &[u8]) -> Attack {
        let first = format!("POST /attack HTTP/1.1\r\nHost: {HOST}");
        let all: Vec<&[u8]> = std::iter::once(first.as_bytes()).chain(lines.iter().copied()).collect();
        Attack::new(name, &all.join(&b"\r\n"[..]), body)
    }
}

/// Chunks that end at once for whoever reads them as such, with the hidden request behind.
pub fn ends_early() -> String {
    format!("0\r\n\r\n{HIDDEN}")
}

/// One chunk that holds the hidden request.
pub fn in_a_chunk() -> String {
    format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len())
}
