//! An origin whose answers are scripted and that keeps every byte it was sent.
//!
//! ```text
//! accept ──► a thread per connection: read a request ──► script(&Received) ──► Answer ──► bytes, close, reset, silence
//!                                          └──► kept, for the test to look at
//! ```

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::http1::{find, is_timeout, parse_fields};
use super::ports::{free_address, listen};
use super::wait::{LIMIT, eventually};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// Which connection of the origin it came on, from 0.
    pub connection: usize,
    pub method: String,
    pub target: String,
    pub version: String,
    pub headers: Vec<(String, String)>,
    /// Without its framing.
    pub body: Vec<u8>,
    /// Every byte of it, framing included.
    pub raw: Vec<u8>,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn headers(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }
}

/// What the origin does about a request.
pub enum Answer {
    /// These bytes; the connection stays open.
    Send(Vec<u8>),
    /// These bytes, then the connection is closed.
    SendAndClose(Vec<u8>),
    /// The connection is reset, unanswered.
    Reset,
    /// Nothing, for as long as the other side waits.
    Silence,
    /// The script takes the connection over; it is closed afterwards.
    Drive(Box<dyn FnOnce(&mut TcpStream) + Send>),
}

impl Answer {
    /// 200 with this text.
    pub fn ok(body: &str) -> Answer {
        Answer::status(200, body)
    }

    pub fn status(status: u16, body: &str) -> Answer {
        Answer::Send(format!("HTTP/1.1 {status} Scripted\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
    }

    /// 200 with these header lines (each ended by CRLF).
    pub fn with_headers(lines: &str, body: &str) -> Answer {
        Answer::Send(format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
    }

    pub fn drive(script: impl FnOnce(&mut TcpStream) + Send + 'static) -> Answer {
        Answer::Drive(Box::new(script))
    }
}

type Script = dyn Fn(&Received) -> Answer + Send + Sync;

/// When the script is asked.
#[derive(Clone, Copy, PartialEq)]
enum Ask {
    /// As soon as the head is there: what the body brings, the script reads itself.
    AfterHead,
    AfterBody,
}

/// What becomes of a request when it is answered.
#[derive(Clone, Copy, PartialEq)]
enum Keep {
    Everything,
    Nothing,
}

/// Stops listening and cuts its connections when dropped.
pub struct Origin {
    pub address: SocketAddr,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

struct State {
    script: Box<Script>,
    ask: Ask,
    keep: Keep,
    received: Mutex<Vec<Received>>,
    requests: AtomicUsize,
    busy: AtomicUsize,
    /// By connection; what ended is taken out, so that the last handle closes the socket.
    open: Mutex<HashMap<usize, TcpStream>>,
    connections: AtomicUsize,
    bytes: AtomicUsize,
    stopped: AtomicBool,
}

impl Origin {
    pub fn start(script: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Origin {
        Self::start_at(free_address(), script)
    }

    pub fn start_at(address: SocketAddr, script: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Origin {
        Self::begin(Ask::AfterBody, Keep::Everything, address, Box::new(script))
    }

    /// Keeps nothing of what it is sent, for loads that go on for long: it only counts.
    pub fn forgetful(script: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Origin {
        Self::begin(Ask::AfterBody, Keep::Nothing, free_address(), Box::new(script))
    }

    /// The script is asked before the body has come: `raw` ends with what of the body came along.
    pub fn start_at_head(script: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Origin {
        Self::start_at_head_at(free_address(), script)
    }

    /// The same, at an address of the test's choice.
    pub fn start_at_head_at(
        address: SocketAddr,
        script: impl Fn(&Received) -> Answer + Send + Sync + 'static,
    ) -> Origin {
        Self::begin(Ask::AfterHead, Keep::Everything, address, Box::new(script))
    }

    fn begin(ask: Ask, keep: Keep, address: SocketAddr, script: Box<Script>) -> Origin {
        let listener = listen(address);
        let state = Arc::new(State {
            script,
            ask,
            keep,
            received: Mutex::default(),
            requests: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            open: Mutex::default(),
            connections: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        });
        let accepting = std::thread::spawn({
            let state = state.clone();
            move || accept(&listener, &state)
        });
        Origin { address, state, accepting: Some(accepting) }
    }

    /// Answers 200 with its name.
    pub fn named(name: &'static str) -> Origin {
        Self::named_at(free_address(), name)
    }

    pub fn named_at(address: SocketAddr, name: &'static str) -> Origin {
        Self::start_at(address, move |_| Answer::ok(name))
    }

    pub fn received(&self) -> Vec<Received> {
        self.state.received.lock().expect("no panic while held").clone()
    }

    /// Those that came since this was last asked.
    pub fn take_received(&self) -> Vec<Received> {
        std::mem::take(&mut *self.state.received.lock().expect("no panic while held"))
    }

    /// The only request there was.
    #[track_caller]
    pub fn only_request(&self) -> Received {
        let mut received = self.received();
        assert_eq!(received.len(), 1, "the origin got {} requests: {received:?}", received.len());
        received.remove(0)
    }

    pub fn last_request(&self) -> Received {
        self.received().pop().expect("the origin got a request")
    }

    pub fn request_count(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// Requests whose head has come and whose answer has not gone out yet.
    pub fn busy_count(&self) -> usize {
        self.state.busy.load(Ordering::SeqCst)
    }

    pub fn connection_count(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Those that are open now.
    pub fn open_connections(&self) -> usize {
        self.state.open.lock().expect("no panic while held").len()
    }

    /// Everything that came in, whether it made a request or not.
    pub fn byte_count(&self) -> usize {
        self.state.bytes.load(Ordering::SeqCst)
    }

    #[track_caller]
    pub fn wait_for_requests(&self, count: usize) {
        eventually(&format!("{count} requests at the origin"), || (self.request_count() >= count).then_some(()));
    }

    /// As if the process had died: the port is closed and every connection cut.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        for (_, stream) in self.state.open.lock().expect("no panic while held").drain() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.end();
    }
}

fn accept(listener: &TcpListener, state: &Arc<State>) {
    for stream in listener.incoming() {
        if state.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(mut stream) = stream else { continue };
        let number = state.connections.fetch_add(1, Ordering::SeqCst);
        if let Ok(handle) = stream.try_clone() {
            state.open.lock().expect("no panic while held").insert(number, handle);
        }
        let state = state.clone();
        std::thread::spawn(move || {
            let _ = converse(&mut stream, number, &state);
            state.open.lock().expect("no panic while held").remove(&number);
        });
    }
}

fn converse(stream: &mut TcpStream, connection: usize, state: &State) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut ahead = Vec::new();
    while let Some((request, _busy)) = read_counted(stream, connection, &mut ahead, state)? {
        if state.keep == Keep::Everything {
            state.received.lock().expect("no panic while held").push(request.clone());
        }
        state.requests.fetch_add(1, Ordering::SeqCst);
        match (state.script)(&request) {
            Answer::Send(bytes) => stream.write_all(&bytes)?,
            Answer::SendAndClose(bytes) => return stream.write_all(&bytes),
            Answer::Reset => return socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO)),
            Answer::Silence => return wait_for_the_end(stream),
            Answer::Drive(script) => {
                script(stream);
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Counts one request as busy for as long as it lives.
struct Busy<'a>(&'a AtomicUsize);

impl<'a> Busy<'a> {
    fn begin(count: &'a AtomicUsize) -> Busy<'a> {
        count.fetch_add(1, Ordering::SeqCst);
        Busy(count)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One request; none when the other side closed before it.
fn read_counted<'a>(
    stream: &mut TcpStream,
    connection: usize,
    ahead: &mut Vec<u8>,
    state: &'a State,
) -> io::Result<Option<(Received, Busy<'a>)>> {
    let mut read_more = |ahead: &mut Vec<u8>| -> io::Result<bool> {
        let mut piece = [0; 16 << 10];
        let n = stream.read(&mut piece)?;
        state.bytes.fetch_add(n, Ordering::SeqCst);
        ahead.extend_from_slice(&piece[..n]);
        Ok(n > 0)
    };
    let head_end = loop {
        if let Some(at) = find(ahead, b"\r\n\r\n") {
            break at + 4;
        }
        if !read_more(ahead)? {
            return Ok(None);
        }
    };
    let busy = Busy::begin(&state.busy);
    let head = String::from_utf8_lossy(&ahead[..head_end]).into_owned();
    let headers = parse_fields(&head);
    let framing = match state.ask {
        Ask::AfterHead => Framing::Everything,
        Ask::AfterBody => Framing::of(&headers),
    };
    let (body, end) = loop {
        if let Some(done) = framing.body(ahead, head_end) {
            break done;
        }
        if !read_more(ahead)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let mut words = head.split("\r\n").next().unwrap_or_default().split(' ').map(str::to_owned);
    let mut word = || words.next().unwrap_or_default();
    let (method, target, version) = (word(), word(), word());
    let raw = ahead.drain(..end).collect();
    Ok(Some((Received { connection, method, target, version, headers, body, raw }, busy)))
}

enum Framing {
    /// Whatever has come already.
    Everything,
    None,
    Length(usize),
    Chunked,
}

impl Framing {
    fn of(headers: &[(String, String)]) -> Framing {
        let value = |name: &str| headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str());
        if value("transfer-encoding").is_some_and(|v| v.to_ascii_lowercase().contains("chunked")) {
            return Framing::Chunked;
        }
        value("content-length").and_then(|v| v.parse().ok()).map_or(Framing::None, Framing::Length)
    }

    /// The body and where it ends in `bytes`, once all of it is there.
    fn body(&self, bytes: &[u8], from: usize) -> Option<(Vec<u8>, usize)> {
        match self {
            Framing::Everything => Some((Vec::new(), bytes.len())),
            Framing::None => Some((Vec::new(), from)),
            Framing::Length(length) => Some((bytes.get(from..from + length)?.to_vec(), from + length)),
            Framing::Chunked => {
                let (mut body, mut at) = (Vec::new(), from);
                loop {
                    let line_end = at + find(bytes.get(at..)?, b"\r\n")?;
                    let size = std::str::from_utf8(&bytes[at..line_end]).ok()?;
                    let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
                    at = line_end + 2;
                    if size == 0 {
                        // Trailers, if any, end with an empty line.
                        let trailers = &bytes[at - 2..];
                        return Some((body, at - 2 + find(trailers, b"\r\n\r\n")? + 4));
                    }
                    body.extend_from_slice(bytes.get(at..at + size)?);
                    at += size + 2;
                }
            }
        }
    }
}

fn wait_for_the_end(stream: &mut TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(LIMIT))?;
    let mut piece = [0; 1024];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if is_timeout(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
