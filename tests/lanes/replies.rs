//! Answers of the origin: mostly such as are sent, with one or two things about them that are not.
//!
//! ```text
//! Random, the request ──► (interim answers) ──► head, framing, body ──► steps: in pieces, early, cut short, reset
//! ```

use super::answer_words;
use super::case::{Begins, Reply, Step};
use super::random::Random;
use super::requests::{Request, chunked, latin, text};
use super::words;

/// What there is to know of a reply besides its steps.
pub struct Written {
    pub reply: Reply,
    /// It is not what it says: what follows on the connection is anybody's guess.
    pub is_odd: bool,
}

pub fn write(random: &mut Random, request: &Request) -> Written {
    if request.upgrades && random.percent(60) {
        return Written { reply: switching(random), is_odd: false };
    }
    match random.permille(12) {
        true => Written { reply: broken(random), is_odd: true },
        false => answer(random, request),
    }
}

/// No answer, or none that anybody could read.
fn broken(random: &mut Random) -> Reply {
    let begins = if random.percent(80) { Begins::AtEnd } else { Begins::AtHead };
    let noise: [&[u8]; 8] = [
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nX: y",
        b"\r\n\r\n",
        b"garbage\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"ICY 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"\0\0\0\0",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ];
    let steps = match random.below(4) {
        0 => vec![Step::Reset],
        1 => vec![Step::Close],
        _ => vec![Step::Send(random.pick(&noise).to_vec()), Step::Close],
    };
    // A reset under a request that still comes is seen by whoever writes first.
    let begins = if steps[0] == Step::Reset { Begins::AtEnd } else { begins };
    Reply { begins, steps }
}

fn switching(random: &mut Random) -> Reply {
    let protocol = random.pick(&["websocket", "websocket", "h2c", "other"]);
    let head =
        format!("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\nX-Many: 1\r\n\r\n");
    let steps = vec![
        Step::Send(head.into_bytes()),
        Step::Breath,
        Step::Send(b"hello".to_vec()),
        Step::AwaitTunnelled(4),
        Step::Send(b"bye".to_vec()),
        Step::Close,
    ];
    Reply { begins: Begins::AtEnd, steps }
}

fn answer(random: &mut Random, request: &Request) -> Written {
    let mut writer = Writer { random, head: Vec::new(), body: Vec::new(), is_odd: false, closes: false };
    writer.interims(request);
    let is_http10 = writer.status_line();
    writer.fields();
    writer.framing(request, is_http10);
    writer.finish(request)
}

struct Writer<'r> {
    random: &'r mut Random,
    head: Vec<u8>,
    body: Vec<u8>,
    is_odd: bool,
    closes: bool,
}

impl Writer<'_> {
    fn line(&mut self, name: &str, value: &str) {
        let between = match self.random.permille(20) {
            true => self.random.pick(&[":", ":  ", ":\t"]),
            false => ": ",
        };
        for part in [latin(name), latin(between), latin(value)] {
            self.head.extend_from_slice(&part);
        }
        let bare = self.random.permille(1);
        self.is_odd |= bare;
        self.head.extend_from_slice(if bare { b"\n" } else { b"\r\n" });
    }

    fn interims(&mut self, request: &Request) {
        let wanted = if request.expects { 60 } else { 2 };
        if request.expects && self.random.percent(wanted) {
            self.head.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        if self.random.permille(20) {
            for _ in 0..1 + self.random.below(2) {
                let interims = [
                    "102 Processing",
                    "103 Early Hints\r\nLink: </s.css>; rel=preload",
                    "100 Continue",
                    "199 What\r\nX-Many: 1",
                    "103",
                ];
                let line = format!("HTTP/1.1 {}\r\n\r\n", self.random.pick(&interims));
                self.head.extend_from_slice(line.as_bytes());
            }
        }
    }

    /// Whether it is of HTTP/1.0.
    fn status_line(&mut self) -> bool {
        let is_http10 = self.random.permille(25);
        let odd_version = self.random.permille(4);
        let version = match (odd_version, is_http10) {
            (true, _) => self.random.pick(words::VERSIONS),
            (false, true) => "HTTP/1.0",
            (false, false) => "HTTP/1.1",
        };
        let (status, reason) = self.random.pick(answer_words::STATUSES);
        let odd_status = self.random.permille(8);
        let status = match odd_status {
            true => (self.random.pick(answer_words::ODD_STATUSES)).to_owned(),
            false => status.to_string(),
        };
        let odd_reason = self.random.permille(40);
        let reason = if odd_reason { self.random.pick(answer_words::REASONS) } else { reason };
        let space = if reason.is_empty() && self.random.percent(50) { "" } else { " " };
        self.is_odd |= odd_version || odd_status || odd_reason;
        let line = format!("{version} {status}{space}{reason}\r\n");
        self.head.extend_from_slice(&latin(&line));
        is_http10
    }

    fn fields(&mut self) {
        let count = match self.random.below(100) {
            0..10 => 0,
            10..80 => 1 + self.random.below(5),
            80..99 => 5 + self.random.below(14),
            _ => 40 + self.random.below(230),
        };
        for _ in 0..count {
            let (name, values) = match self.random.below(100) {
                0..90 => self.random.pick(answer_words::FIELDS),
                _ => self.random.pick(answer_words::HOP_FIELDS),
            };
            let value = self.random.pick(values);
            self.closes |= name == "Connection" && value.to_ascii_lowercase().contains("close");
            self.line(name, value);
        }
        if self.random.permille(25) {
            let (name, value) = (self.random.pick(words::ODD_NAMES), self.random.pick(words::ODD_VALUES));
            self.line(name, value);
            self.is_odd = true;
        }
        if self.random.permille(25) {
            let value = self.random.pick(words::ODD_VALUES);
            self.line("X-Odd", value);
            self.is_odd = true;
        }
        if self.random.permille(6) {
            let length = 1000 << self.random.below(6);
            let value = String::from_utf8(text(self.random, length)).unwrap_or_default();
            self.line("X-Long", &value);
        }
    }

    fn framing(&mut self, request: &Request, is_http10: bool) {
        let length = match self.random.below(40) {
            0..4 => 0,
            4..34 => 1 + self.random.below(300),
            34..38 => self.random.below(6_000),
            38 => 16_300 + self.random.below(200),
            _ => self.random.below(200_000),
        };
        let content = text(self.random, length);
        match self.random.below(100) {
            0..62 => {
                self.line("Content-Length", &content.len().to_string());
                self.body = content;
                self.misstate();
            }
            62..85 if !is_http10 => {
                self.line("Transfer-Encoding", "chunked");
                let is_broken = self.random.permille(40);
                self.is_odd |= is_broken;
                self.body = chunked(self.random, &content, is_broken);
                self.closes |= is_broken;
            }
            85..92 => {
                self.closes = true;
                self.body = content;
                if self.random.percent(50) {
                    self.line("Connection", "close");
                }
            }
            _ => {
                self.line("Content-Length", "0");
            }
        }
        if self.random.permille(15) {
            self.break_framing();
        }
        // Whoever asked by HEAD is told of a body that does not come.
        if request.is_head && !self.random.permille(10) {
            self.body.clear();
        } else {
            self.is_odd |= request.is_head;
        }
        self.closes |= is_http10 && self.random.percent(80);
        self.head.extend_from_slice(b"\r\n");
    }

    /// More or less comes than is said.
    fn misstate(&mut self) {
        match self.random.below(120) {
            0 => {
                let left = self.random.below(self.body.len().max(1));
                self.body.truncate(left);
                (self.is_odd, self.closes) = (true, true);
            }
            1 => {
                self.body.extend_from_slice(b"HTTP/1.1 200 OK\r\nX-Poison: yes\r\nContent-Length: 0\r\n\r\n");
                self.is_odd = true;
            }
            2 => {
                self.body.extend_from_slice(b"surplus");
                self.is_odd = true;
            }
            _ => {}
        }
    }

    fn break_framing(&mut self) {
        (self.is_odd, self.closes) = (true, true);
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

    fn finish(self, request: &Request) -> Written {
        let Writer { random, head, body, is_odd, closes } = self;
        let mut steps = Vec::new();
        let whole = [head, body].concat();
        match random.below(100) {
            0..85 => steps.push(Step::Send(whole)),
            _ => {
                let mut rest = whole.as_slice();
                for _ in 0..1 + random.below(4) {
                    let (piece, left) = rest.split_at(random.below(rest.len() + 1));
                    rest = left;
                    steps.extend([Step::Send(piece.to_vec()), Step::Breath]);
                }
                steps.push(Step::Send(rest.to_vec()));
            }
        }
        if closes {
            steps.push(Step::Close);
        }
        let is_early = !request.body.is_empty() && random.permille(15) || request.expects && random.percent(70);
        let begins = if is_early { Begins::AtHead } else { Begins::AtEnd };
        Written { reply: Reply { begins, steps }, is_odd }
    }
}
