//! Clients that take their time, and clients that leave: the first are served, the others are no loss.
//!
//! ```text
//! DEEDS, one after the other, each client beginning with another ──► Ok: done ─┬► Ledger
//!                                                                └─► Err ──────┘
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;

use super::ledger::Ledger;
use super::lines::{Doors, Errand, HOST, Line, Wire, as_http1, judge};
use super::origins::{answer_to, body};
use crate::support::{Connection, H2Client};

/// Between two bytes, or two sips: all of what is sent takes a second or two.
const PAUSE: Duration = Duration::from_millis(20);
const SLOWLY_READ: usize = 8 << 20;

type Deed = fn(Wire, Doors, usize) -> Result<(), String>;

const DEEDS: [(&str, Deed); 11] = [
    ("a head came byte by byte", head_byte_by_byte),
    ("a body came byte by byte", body_byte_by_byte),
    ("chunks came byte by byte", chunks_byte_by_byte),
    ("a stream's body came piece by piece", stream_piece_by_piece),
    ("an answer was read slowly", answer_read_slowly),
    ("a connection paused between requests", pauses_between_requests),
    ("a connection was idle for too long", idle_for_too_long),
    ("a client left within its head", leaves_within_the_head),
    ("a client left within its body", leaves_within_the_body),
    ("a client left within its answer", leaves_within_the_answer),
    ("a stream was given up", stream_given_up),
];

pub struct SlowClients {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl SlowClients {
    /// So many times as many as there are deeds.
    pub fn start(doors: Doors, crowds: usize, ledger: &Arc<Ledger>) -> SlowClients {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |number: usize| {
            let (told, ledger) = (stop.clone(), ledger.clone());
            std::thread::spawn(move || {
                for turn in number.. {
                    if told.load(Ordering::SeqCst) {
                        return;
                    }
                    let (name, deed) = DEEDS[turn % DEEDS.len()];
                    let wire = if (turn / DEEDS.len()).is_multiple_of(2) { Wire::Plain } else { Wire::Tls };
                    match ledger.watch(|| deed(wire, doors, (number << 32) + turn)) {
                        Ok(()) => ledger.done(name),
                        Err(what) => ledger.fail(format!("{name}, {wire:?}: {what}")),
                    }
                }
            })
        };
        let clients = (0..crowds * DEEDS.len()).map(client).collect();
        SlowClients { stop, clients }
    }

    pub fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.clients.into_iter().for_each(|client| client.join().expect("a slow client goes on"));
    }

    pub fn deeds() -> impl Iterator<Item = &'static str> {
        DEEDS.iter().map(|(name, _)| *name)
    }
}

fn dial(wire: Wire, doors: Doors) -> Result<Connection, String> {
    match Line::open(wire, doors)? {
        Line::Http1(connection) => Ok(connection),
        Line::Http2(_) => Err("this wire is HTTP/2's".into()),
    }
}

fn told(error: std::io::Error) -> String {
    error.to_string()
}

fn drip(connection: &mut Connection, bytes: &[u8]) -> Result<(), String> {
    for byte in bytes {
        connection.try_write([*byte]).map_err(told)?;
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// The answer, and that the connection goes on to serve.
fn is_served(connection: &mut Connection, errand: Errand, method: &str, seed: usize) -> Result<(), String> {
    judge(errand, seed, &connection.try_read_response(method).map_err(told)?)?;
    asks(connection, seed)
}

fn asks(connection: &mut Connection, seed: usize) -> Result<(), String> {
    connection.try_write(as_http1(Errand::Get, seed)).map_err(told)?;
    judge(Errand::Get, seed, &connection.try_read_response("GET").map_err(told)?).map(drop)
}

/// Head and body of a request.
fn parts(errand: Errand, seed: usize) -> (Vec<u8>, Vec<u8>) {
    let mut head = as_http1(errand, seed);
    let end = head.windows(4).position(|window| window == b"\r\n\r\n").map_or(head.len(), |at| at + 4);
    let body = head.split_off(end);
    (head, body)
}

fn head_byte_by_byte(wire: Wire, doors: Doors, seed: usize) -> Result<(), String> {
    let mut connection = dial(wire, doors)?;
    drip(&mut connection, &as_http1(Errand::Get, seed))?;
    is_served(&mut connection, Errand::Get, "GET", seed)
}

fn body_byte_by_byte(wire: Wire, doors: Doors, seed: usize) -> Result<(), String> {
    sends_a_body_slowly(wire, doors, Errand::Post(80), seed)
}

fn chunks_byte_by_byte(wire: Wire, doors: Doors, seed: usize) -> Result<(), String> {
    sends_a_body_slowly(wire, doors, Errand::PostInChunks(80), seed)
}

fn sends_a_body_slowly(wire: Wire, doors: Doors, errand: Errand, seed: usize) -> Result<(), String> {
    let (head, body) = parts(errand, seed);
    let mut connection = dial(wire, doors)?;
    connection.try_write(head).map_err(told)?;
    drip(&mut connection, &body)?;
    is_served(&mut connection, errand, "POST", seed)
}

fn stream_piece_by_piece(_: Wire, doors: Doors, seed: usize) -> Result<(), String> {
    const SIZE: usize = 2000;
    let target = format!("/steady/post?seed={seed}&sent={SIZE}");
    let mut client = H2Client::plain(doors.http);
    let mut stream = client.open_stream("POST", HOST, &target, &[]);
    for piece in body(seed, SIZE).chunks(40) {
        stream.send(Bytes::from_static(piece));
        std::thread::sleep(PAUSE);
    }
    stream.finish();
    let (status, text) = (stream.status(), stream.text());
    let is_right = status == 200 && text == answer_to("POST", &target, Some(true));
    is_right.then_some(()).ok_or_else(|| format!("{status} {text:?}"))
}

fn answer_read_slowly(wire: Wire, doors: Doors, seed: usize) -> Result<(), String> {
    let mut connection = dial(wire, doors)?;
    connection.try_write(as_http1(Errand::Download(SLOWLY_READ), seed)).map_err(told)?;
    let status = connection.read_head().map_err(told)?.status;
    if status != 200 {
        return Err(format!("{status}"));
    }
    let mut left = SLOWLY_READ;
    while left > 0 {
        let sip = left.min(128 << 10);
        let mut thirst = sip;
        while thirst > 0 {
            thirst -= connection.read_some(thirst);
        }
        left -= sip;
        std::thread::sleep(PAUSE);
    }
    asks(&mut connection, seed)
}

fn pauses_between_requests(wire: Wire, doors: Doors, seed: usize) -> Result<(), String> {
    let mut connection = dial(wire, doors)?;
    for number in 0..3 {
        std::thread::sleep(Duration::from_secs(1));
        asks(&mut connection, seed + number)?;
    }
    Ok(())
}

/// The end comes without another byte.
fn idle_for_too_long(wire: Wire, doors: Doors, seed: usize) -> Result<(), String> {
    let mut connection = dial(wire, doors)?;
    asks(&mut connection, seed)?;
    let rest = connection.read_to_end();
    // TLS says goodbye, which the harness does not show as bytes.
    rest.is_empty().then_some(()).ok_or_else(|| format!("{} bytes came unasked", rest.len()))
}

fn leaves_within_the_head(wire: Wire, doors: Doors, seed: usize) -> Result<(), String> {
    let (head, _) = parts(Errand::Get, seed);
    drip(&mut dial(wire, doors)?, &head[..head.len() / 2])
}

fn leaves_within_the_body(wire: Wire, doors: Doors, seed: usize) -> Result<(), String> {
    let (head, body) = parts(Errand::Post(80), seed);
    let mut connection = dial(wire, doors)?;
    connection.try_write(head).map_err(told)?;
    drip(&mut connection, &body[..40])
}

fn leaves_within_the_answer(wire: Wire, doors: Doors, seed: usize) -> Result<(), String> {
    let mut connection = dial(wire, doors)?;
    connection.try_write(as_http1(Errand::Download(SLOWLY_READ), seed)).map_err(told)?;
    connection.read_head().map_err(told)?;
    connection.read_some(1000);
    std::thread::sleep(PAUSE * 10);
    Ok(())
}

fn stream_given_up(_: Wire, doors: Doors, seed: usize) -> Result<(), String> {
    let mut client = H2Client::plain(doors.http);
    let mut stream = client.open_stream("POST", HOST, &format!("/steady/post?seed={seed}&sent=2000"), &[]);
    stream.send(Bytes::from_static(body(seed, 1000)));
    std::thread::sleep(PAUSE * 10);
    stream.cancel();
    let mut line = Line::Http2(client);
    line.run(Errand::Get, seed).map(drop)
}
