//! Requests: mostly such as are sent, with one or two things about them that are not.
//!
//! ```text
//! Random ──► request line, Host, fields, framing ──► bytes of a head, and of its body
//! ```

use super::random::Random;
use super::words;

/// One request, and what the rest of the case depends on.
pub struct Request {
    pub head: Vec<u8>,
    /// With its framing.
    pub body: Vec<u8>,
    pub is_head: bool,
    pub expects: bool,
    pub upgrades: bool,
    /// Less or more body comes than is said, or the head means nothing good: what follows on the connection is anybody's guess.
    pub is_odd: bool,
}

pub fn write(random: &mut Random) -> Request {
    let mut request = Writer::begin(random);
    request.host();
    request.fields();
    request.framing();
    request.finish()
}

/// A long answer to a question of one word.
pub fn text(random: &mut Random, length: usize) -> Vec<u8> {
    let start = random.below(26);
    (0..length).map(|at| b'a' + ((start + at) % 26) as u8).collect()
}

struct Writer<'r> {
    random: &'r mut Random,
    head: Vec<u8>,
    body: Vec<u8>,
    method: &'static str,
    absolute: Option<&'static str>,
    /// Behind the request line, so that they can be put in any order.
    lines: Vec<Vec<u8>>,
    expects: bool,
    upgrades: bool,
    is_odd: bool,
}

impl<'r> Writer<'r> {
    fn begin(random: &'r mut Random) -> Writer<'r> {
        let (method, odd_method) = match random.permille(12) {
            true => (random.pick(words::ODD_METHODS), true),
            false => (random.pick(words::METHODS), false),
        };
        let absolute = random.permille(25).then(|| random.pick(words::HOSTS));
        let version = match random.below(1000) {
            0..30 => "HTTP/1.0",
            30..38 => random.pick(words::VERSIONS),
            _ => "HTTP/1.1",
        };
        let space = if random.permille(4) { random.pick(&["  ", "\t", "", " \t"]) } else { " " };
        let target = target(random, absolute);
        let mut head = Vec::with_capacity(512);
        for part in [method.as_bytes(), space.as_bytes(), &target, b" ", version.as_bytes()] {
            head.extend_from_slice(part);
        }
        let is_odd = odd_method || version != "HTTP/1.1" || space != " ";
        Writer {
            random,
            head,
            body: Vec::new(),
            method,
            absolute,
            lines: Vec::new(),
            expects: false,
            upgrades: false,
            is_odd,
        }
    }

    fn line(&mut self, name: &str, value: &str) {
        let between = match self.random.below(2000) {
            0..40 => self.random.pick(&[":", ":  ", ":\t", ": \t "]),
            40 => " : ",
            41 => ":\r\n ",
            _ => ": ",
        };
        let name = match self.random.below(8) {
            0 => name.to_ascii_lowercase(),
            1 => name.to_ascii_uppercase(),
            _ => name.to_owned(),
        };
        let mut line = latin(&name);
        line.extend_from_slice(between.as_bytes());
        line.extend_from_slice(&latin(value));
        if self.random.permille(10) {
            line.extend_from_slice(self.random.pick(&[&b" "[..], b"\t", b"   "]));
        }
        self.lines.push(line);
    }

    fn host(&mut self) {
        let host = match (self.absolute, self.random.permille(15)) {
            (_, true) => self.random.pick(words::ODD_HOSTS),
            (Some(authority), false) if self.random.percent(70) => authority,
            _ => self.random.pick(words::HOSTS),
        };
        if !self.random.permille(8) {
            self.line("Host", host);
        }
        if self.random.permille(5) {
            let second = self.random.pick(words::HOSTS);
            self.line("Host", second);
        }
    }

    fn fields(&mut self) {
        let count = match self.random.below(100) {
            0..15 => 0,
            15..80 => 1 + self.random.below(6),
            80..99 => 6 + self.random.below(14),
            // Around the rooms of both parsers.
            _ => 40 + self.random.below(230),
        };
        for _ in 0..count {
            let (name, values) = match self.random.below(100) {
                0..72 => self.random.pick(words::REQUEST_FIELDS),
                72..88 => self.random.pick(words::FORWARDING_FIELDS),
                _ => self.random.pick(words::HOP_FIELDS),
            };
            let value = self.random.pick(values);
            self.expects |= name == "Expect" && value.eq_ignore_ascii_case("100-continue");
            self.line(name, value);
        }
        if self.random.permille(20) {
            let (name, value) = (self.random.pick(words::ODD_NAMES), self.random.pick(words::ODD_VALUES));
            self.line(name, value);
            self.is_odd = true;
        }
        if self.random.permille(25) {
            let value = self.random.pick(words::ODD_VALUES);
            self.line("X-Odd", value);
            self.is_odd = true;
        }
        if self.random.permille(10) {
            let length = 1000 << self.random.below(6);
            let value = String::from_utf8(text(self.random, length)).unwrap_or_default();
            self.line("X-Long", &value);
        }
        if self.random.permille(8) {
            self.upgrades = true;
            // What is meant for the tunnel begins another request where there is none.
            self.is_odd = true;
            self.line("Connection", "Upgrade");
            self.line("Upgrade", "websocket");
        }
    }

    fn framing(&mut self) {
        let has_body = match self.method {
            "POST" | "PUT" | "PATCH" => self.random.percent(85),
            _ => self.random.percent(6),
        };
        if !has_body {
            if self.random.permille(40) {
                self.line("Content-Length", "0");
            }
            return self.break_framing();
        }
        let length = match self.random.below(20) {
            0 => 0,
            1..16 => 1 + self.random.below(200),
            16..19 => self.random.below(5_000),
            _ => self.random.below(120_000),
        };
        let content = text(self.random, length);
        if self.random.percent(60) {
            self.line("Content-Length", &content.len().to_string());
            self.body = content;
            match self.random.below(200) {
                0 => self.shorten(),
                1 => self.lengthen(),
                _ => {}
            }
        } else {
            self.line("Transfer-Encoding", "chunked");
            let is_broken = self.random.permille(60);
            self.body = chunked(self.random, &content, is_broken);
            self.is_odd |= is_broken;
        }
        self.break_framing();
    }

    fn shorten(&mut self) {
        let left = self.random.below(self.body.len().max(1));
        self.body.truncate(left);
        self.is_odd = true;
    }

    fn lengthen(&mut self) {
        let more = 1 + self.random.below(20);
        let more = text(self.random, more);
        self.body.extend(more);
        self.is_odd = true;
    }

    fn break_framing(&mut self) {
        if !self.random.permille(20) {
            return;
        }
        self.is_odd = true;
        match self.random.below(4) {
            0 => {
                let value = self.random.pick(words::ODD_LENGTHS);
                self.line("Content-Length", value);
            }
            1 => {
                let value = self.random.pick(words::ODD_CODINGS);
                self.line("Transfer-Encoding", value);
            }
            2 => {
                let length = self.body.len().to_string();
                self.line("Content-Length", &length);
            }
            _ => self.line("Transfer-Encoding", "chunked"),
        }
    }

    fn finish(self) -> Request {
        let Writer { random, mut head, body, mut lines, method, expects, upgrades, is_odd, .. } = self;
        if random.percent(20) {
            // Framing comes last else.
            let at = random.below(lines.len().max(1));
            lines.rotate_left(at);
        }
        let mut is_odd = is_odd;
        for line in lines.iter().map(Vec::as_slice).chain([&b""[..]]) {
            let bare = random.permille(1);
            is_odd |= bare;
            head.extend_from_slice(if bare { b"\n" } else { b"\r\n" });
            head.extend_from_slice(line);
        }
        head.extend_from_slice(b"\r\n");
        Request { head, body, is_head: method == "HEAD", expects, upgrades, is_odd }
    }
}

fn target(random: &mut Random, absolute: Option<&str>) -> Vec<u8> {
    if random.permille(8) {
        return latin(random.pick(&["*", "a", "", "//", "http:", "http://", "a.test:80", "?x", "#", "\u{e9}", "/ /"]));
    }
    let mut target = Vec::new();
    if let Some(authority) = absolute {
        let scheme = random.pick(&["http://", "http://", "https://", "HTTP://", "ftp://"]);
        target.extend_from_slice(scheme.as_bytes());
        target.extend_from_slice(authority.as_bytes());
        if random.permille(100) {
            return target;
        }
    }
    target.extend_from_slice(random.pick(words::ROUTES).as_bytes());
    if random.percent(50) {
        // The others hit routes of their own.
        for _ in 0..1 + random.below(3) {
            target.push(b'/');
            let odd = random.percent(12);
            let segment =
                if odd { random.pick(words::SEGMENTS) } else { random.pick(&["a", "b.js", "index.html", "42"]) };
            target.extend_from_slice(&latin(segment));
        }
    }
    if random.percent(35) {
        target.push(b'?');
        target.extend_from_slice(&latin(random.pick(words::QUERIES)));
    }
    target
}

/// One byte a character up to U+00FF, so that the dictionary can name any byte; others as UTF-8.
pub fn latin(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match u8::try_from(u32::from(character)) {
            Ok(byte) => bytes.push(byte),
            Err(_) => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

/// Content in chunks, with all that may stand around it, and what may not where it is to be broken.
pub fn chunked(random: &mut Random, content: &[u8], is_broken: bool) -> Vec<u8> {
    let mut body = Vec::with_capacity(content.len() + 64);
    let mut rest = content;
    let breaks_at = if is_broken { random.below(3) } else { usize::MAX };
    let mut number = 0;
    while !rest.is_empty() {
        let most = match random.below(4) {
            0 => 1,
            1 => 10,
            _ => rest.len().max(1),
        };
        let (piece, left) = rest.split_at((1 + random.below(most)).min(rest.len()));
        rest = left;
        chunk(random, &mut body, piece, number == breaks_at);
        number += 1;
    }
    let last = if random.permille(60) { random.pick(&["000", "0;x=y", "00000000000000000", "0 "]) } else { "0" };
    body.extend_from_slice(last.as_bytes());
    body.extend_from_slice(b"\r\n");
    if random.permille(80) {
        let trailers = [
            "X-Sum: abc\r\n",
            "Content-Length: 5\r\n",
            "Host: evil.test\r\n",
            "X-Many: late\r\nX-Sum: 2\r\n",
            "Set-Cookie: a=late\r\n",
        ];
        body.extend_from_slice(random.pick(&trailers).as_bytes());
    }
    let odd_ends: [&[u8]; 6] = [b"", b"\n", b"X: y\n\r\n", b"no colon\r\n\r\n", b" folded: x\r\n\r\n", b"\r\n\r\n"];
    body.extend_from_slice(if number <= breaks_at && is_broken { random.pick(&odd_ends) } else { b"\r\n" });
    body
}

fn chunk(random: &mut Random, body: &mut Vec<u8>, piece: &[u8], is_broken: bool) {
    let size = match random.below(10) {
        0 => format!("{:X}", piece.len()),
        1 => format!("{:04x}", piece.len()),
        _ => format!("{:x}", piece.len()),
    };
    let extension = match random.permille(80) {
        true => random.pick(&[";a=b", ";a", ";a=\"b c\"", " ;a", ";", " ", ";a=\"\\\"\"", "\t", ";\u{e9}"]),
        false => "",
    };
    let (size, extension, end, tail) = match (is_broken, random.below(8)) {
        (false, _) => (size, extension, "\r\n", "\r\n"),
        (true, 0) => (format!("{:x}", piece.len() + 1), extension, "\r\n", "\r\n"),
        (true, 1) => (size, extension, "\n", "\r\n"),
        (true, 2) => (size, extension, "\r\n", "\n"),
        (true, 3) => (format!("0x{size}"), extension, "\r\n", "\r\n"),
        (true, 4) => (String::new(), extension, "\r\n", "\r\n"),
        (true, 5) => (format!("{size}{}", "0".repeat(17)), extension, "\r\n", "\r\n"),
        // Not `;a\nb`: in answers Pingora passes over it, and the lean lane does not (tests/refusals.rs has it in requests).
        (true, 6) => (size, ";a\rb", "\r\n", "\r\n"),
        (true, _) => (format!(" {size}"), extension, "\r\n", ""),
    };
    body.extend_from_slice(size.as_bytes());
    body.extend_from_slice(&latin(extension));
    body.extend_from_slice(end.as_bytes());
    body.extend_from_slice(piece);
    body.extend_from_slice(tail.as_bytes());
}
