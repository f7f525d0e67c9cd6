//! A client's connection, of whatever protocol, and what can be asked on it.
//!
//! ```text
//! Errand + seed ──► Line (HTTP/1.1 or HTTP/2, plain or TLS) ──► is the answer the one to this very request?
//! ```

use std::fmt::Display;
use std::net::SocketAddr;

use bytes::Bytes;

use super::origins::{answer_to, body};
use crate::support::{Connection, H2Client, Response, TlsClient};

pub const HOST: &str = "soak.test";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    Plain,
    Tls,
    Http2,
    Http2Tls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// May be asked of somebody else where the one who was asked dies.
    Get,
    /// With a small body; may be repeated as well.
    Put,
    Post(usize),
    PostInChunks(usize),
    Download(usize),
    /// So many in one packet.
    Pipelined(usize),
}

impl Errand {
    pub fn requests(self) -> usize {
        if let Errand::Pipelined(count) = self { count } else { 1 }
    }

    /// Only what may be repeated is asked of those that die.
    fn asked(self, seed: usize) -> Asked {
        let (method, target, body) = match self {
            Errand::Get | Errand::Pipelined(_) => ("GET", format!("/wild/get?seed={seed}"), None),
            Errand::Put => ("PUT", format!("/wild/put?seed={seed}&sent={SMALL}"), Some(SMALL)),
            Errand::Post(size) | Errand::PostInChunks(size) => {
                ("POST", format!("/steady/post?seed={seed}&sent={size}"), Some(size))
            }
            Errand::Download(size) => ("GET", format!("/steady/large?seed={seed}&size={size}"), None),
        };
        Asked { method, target, body: body.map(|size| self::body(seed, size)) }
    }

    fn expected(self, seed: usize) -> Vec<u8> {
        let asked = self.asked(seed);
        match self {
            Errand::Download(size) => body(seed, size).to_vec(),
            _ => answer_to(asked.method, &asked.target, asked.body.map(|_| true)).into_bytes(),
        }
    }
}

const SMALL: usize = 300;

struct Asked {
    method: &'static str,
    target: String,
    body: Option<&'static [u8]>,
}

pub enum Line {
    Http1(Connection),
    Http2(H2Client),
}

/// Where a Weir listens, without TLS and with it.
#[derive(Clone, Copy)]
pub struct Doors {
    pub http: SocketAddr,
    pub https: SocketAddr,
}

impl Line {
    pub fn open(wire: Wire, doors: Doors) -> Result<Line, String> {
        let told = |error: std::io::Error| format!("no connection: {error}");
        match wire {
            Wire::Plain => Connection::try_open(doors.http).map(Line::Http1).map_err(told),
            Wire::Tls => {
                let client = TlsClient::trusting_anyone(&[b"http/1.1"]);
                client.connect(doors.https, HOST).map(Line::Http1).map_err(told)
            }
            Wire::Http2 => Ok(Line::Http2(H2Client::plain(doors.http))),
            Wire::Http2Tls => Ok(Line::Http2(H2Client::tls(doors.https, HOST, &TlsClient::trusting_anyone(&[b"h2"])))),
        }
    }

    /// Whether the connection may be used again, where all went well.
    pub fn run(&mut self, errand: Errand, seed: usize) -> Result<Again, String> {
        match self {
            Line::Http1(connection) => run_http1(connection, errand, seed),
            Line::Http2(client) => run_http2(client, errand, seed),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    OnThis,
    OnAnother,
}

fn run_http1(connection: &mut Connection, errand: Errand, seed: usize) -> Result<Again, String> {
    let seeds = seed..seed + errand.requests();
    let bytes: Vec<u8> = seeds.clone().flat_map(|seed| as_http1(errand, seed)).collect();
    connection.try_write(bytes).map_err(|error| told(errand, seed, error))?;
    let mut again = Again::OnThis;
    for seed in seeds {
        let method = errand.asked(seed).method;
        let answer = connection.try_read_response(method).map_err(|error| told(errand, seed, error))?;
        again = judge(errand, seed, &answer)?;
    }
    Ok(again)
}

/// The request as bytes.
pub fn as_http1(errand: Errand, seed: usize) -> Vec<u8> {
    let Asked { method, target, body } = errand.asked(seed);
    let head = format!("{method} {target} HTTP/1.1\r\nHost: {HOST}\r\n");
    match (errand, body) {
        (Errand::PostInChunks(_), Some(body)) => {
            let mut bytes = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
            for piece in body.chunks(500) {
                bytes.extend(format!("{:x}\r\n", piece.len()).into_bytes());
                bytes.extend(piece);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\n");
            bytes
        }
        (_, Some(body)) => [format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat(),
        (_, None) => format!("{head}\r\n").into_bytes(),
    }
}

/// Whether this is the answer to that request.
pub fn judge(errand: Errand, seed: usize, answer: &Response) -> Result<Again, String> {
    is_right(errand, seed, answer.status, &answer.body)?;
    Ok(if answer.header("connection") == Some("close") { Again::OnAnother } else { Again::OnThis })
}

fn run_http2(client: &mut H2Client, errand: Errand, seed: usize) -> Result<Again, String> {
    let Asked { method, target, body } = errand.asked(seed);
    let answer = client.try_send(method, HOST, &target, &[], body.map(Bytes::from_static));
    let answer = answer.map_err(|error| told(errand, seed, error))?;
    is_right(errand, seed, answer.status, &answer.body).map(|()| Again::OnThis)
}

fn is_right(errand: Errand, seed: usize, status: u16, body: &[u8]) -> Result<(), String> {
    if status == 200 && body == errand.expected(seed) {
        return Ok(());
    }
    let beginning = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
    Err(told(errand, seed, format!("{status}, {} bytes: {beginning:?}", body.len())))
}

fn told(errand: Errand, seed: usize, what: impl Display) -> String {
    format!("{errand:?}, seed {seed}: {what}")
}
