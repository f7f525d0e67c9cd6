//! The origin of one lane: it takes what Weir sends on any of its connections, and plays the case's replies.
//!
//! ```text
//! Weir ──► Reader ──► request ──► its Reply: send, breathe, await, close ──► Weir
//!                        └──► seen
//! ```
//!
//! Connections live on from case to case, as Weir's pool does. Nothing here blocks: the stage says when there is something to read.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use super::case::{Begins, Case, Reply, Step};
use super::message::{Holds, Message, Reader};

/// What the stage asks for behind a case, to see whether the connection still works.
pub const SENTINEL: &str = "/sentinel";

const SENTINEL_ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nX-Sentinel: yes\r\nContent-Length: 8\r\n\r\nsentinel";

pub struct Origin {
    pub address: SocketAddr,
    listener: TcpListener,
    connections: Vec<Connection>,
    /// Of this case, in the order in which they began.
    seen: Vec<Message>,
    turn: Turn,
}

/// Which reply is next. A request that is tried again is known by its id: how often it is tried must not shift the replies to others.
#[derive(Default)]
struct Turn {
    /// Requests before the current one.
    begun: usize,
    is_again: bool,
    current: Option<(Vec<u8>, Vec<u8>)>,
}

impl Turn {
    /// The reply to a request: the next one, and when it comes again the one after that.
    fn reply_to(&mut self, request: &Message) -> usize {
        let id = request.values("x-request-id").next().unwrap_or_default().to_vec();
        let current = Some((request.first.clone(), id));
        self.is_again = self.current.is_some() && self.current == current;
        if !self.is_again {
            self.begun += usize::from(self.current.is_some());
            self.current = current;
        }
        self.begun + usize::from(self.is_again)
    }
}

struct Connection {
    stream: TcpStream,
    reader: Reader,
    exchange: Option<Exchange>,
    out: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Everything is said; what Weir still sends is heard.
    Closing,
    Gone,
}

/// A request that is not done with.
struct Exchange {
    /// None: the sentinel.
    seen: Option<usize>,
    reply: usize,
    step: usize,
    is_whole: bool,
    tunnelled: usize,
}

impl Origin {
    pub fn listen(address: SocketAddr) -> io::Result<Origin> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Origin { address, listener, connections: Vec::new(), seen: Vec::new(), turn: Turn::default() })
    }

    pub fn begin(&mut self) {
        self.seen.clear();
        self.turn = Turn::default();
        self.connections.retain(|connection| connection.is_idle());
    }

    /// What came, and what of it came in part.
    pub fn finish(&mut self) -> Vec<Message> {
        for connection in &mut self.connections {
            connection.give_up(&mut self.seen);
        }
        self.connections.retain(|connection| connection.is_idle());
        std::mem::take(&mut self.seen)
    }

    /// Those that nobody has looked at yet, too. True: there were any.
    pub fn forget_connections(&mut self) -> bool {
        self.accept();
        let had_any = !self.connections.is_empty();
        self.connections.clear();
        had_any
    }

    pub fn is_idle(&self) -> bool {
        self.connections.iter().all(Connection::is_idle)
    }

    /// Of each socket, whether it is waited on for writing too.
    pub fn sockets(&self) -> impl Iterator<Item = (RawFd, bool)> {
        let connections = self.connections.iter().map(|one| (one.stream.as_raw_fd(), !one.out.is_empty()));
        [(self.listener.as_raw_fd(), false)].into_iter().chain(connections)
    }

    /// A socket is ready. False: it is not one of ours.
    pub fn attend(&mut self, socket: RawFd) -> bool {
        if socket == self.listener.as_raw_fd() {
            self.accept();
            return true;
        }
        let Some(connection) = self.connections.iter_mut().find(|one| one.stream.as_raw_fd() == socket) else {
            return false;
        };
        connection.read(&mut self.seen);
        true
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if stream.set_nonblocking(true).is_ok() && stream.set_nodelay(true).is_ok() {
                self.connections.push(Connection {
                    stream,
                    reader: Reader::new(Holds::Requests),
                    exchange: None,
                    out: Vec::new(),
                    state: State::Open,
                });
            }
        }
    }

    /// Goes on with every reply as far as it goes. True: some have stopped for a breath only.
    pub fn advance(&mut self, case: &Case) -> bool {
        let mut is_breathing = false;
        for connection in &mut self.connections {
            is_breathing |= connection.advance(case, &mut self.seen, &mut self.turn);
        }
        self.connections.retain(|connection| connection.state != State::Gone);
        is_breathing
    }

    /// Nothing happens any more: what was not answered stays so.
    pub fn hang_up(&mut self) {
        for connection in self.connections.iter_mut().filter(|connection| !connection.is_idle()) {
            connection.give_up(&mut self.seen);
        }
        self.connections.retain(Connection::is_idle);
    }
}

impl Connection {
    fn is_idle(&self) -> bool {
        self.exchange.is_none() && self.state == State::Open && self.reader.is_between()
    }

    fn read(&mut self, seen: &mut [Message]) {
        let mut stream = &self.stream;
        let ended = read_all(&mut stream, |piece| match &mut self.exchange {
            Some(Exchange { seen: Some(at), is_whole: true, tunnelled, step, .. }) if *step > 0 => {
                *tunnelled += piece.len();
                seen[*at].body.extend_from_slice(piece);
            }
            _ => self.reader.push(piece),
        });
        if ended {
            self.state = State::Gone;
        }
    }

    fn advance(&mut self, case: &Case, seen: &mut Vec<Message>, turn: &mut Turn) -> bool {
        loop {
            self.listen(case, seen, turn);
            let Some(exchange) = &mut self.exchange else { break };
            if self.state == State::Gone {
                break;
            }
            let Some(at) = exchange.seen else {
                self.out.extend_from_slice(SENTINEL_ANSWER);
                self.exchange = None;
                self.flush();
                continue;
            };
            let reply = &case.replies[exchange.reply];
            match self.play(reply) {
                Played::Breathing => return true,
                Played::Waiting => break,
                Played::Through => {
                    self.exchange = None;
                    // The next request stands for itself.
                    debug_assert!(at < seen.len());
                }
            }
        }
        self.flush();
        if self.state == State::Gone {
            self.give_up(seen);
        }
        false
    }

    /// Finds the beginning of a request, and its end.
    fn listen(&mut self, case: &Case, seen: &mut Vec<Message>, turn: &mut Turn) {
        if self.exchange.as_ref().is_some_and(|exchange| exchange.is_whole) {
            return;
        }
        let whole = self.reader.next(|_| true);
        if self.exchange.is_none()
            && let Some(message) = whole.as_ref().or(self.reader.open())
        {
            let is_sentinel = message.first.windows(SENTINEL.len()).any(|word| word == SENTINEL.as_bytes());
            let at = (!is_sentinel).then_some(seen.len());
            let mut reply = 0;
            if !is_sentinel {
                reply = turn.reply_to(message).min(case.replies.len() - 1);
                seen.push(Message::default());
            }
            self.exchange = Some(Exchange { seen: at, reply, step: 0, is_whole: false, tunnelled: 0 });
        }
        if let (Some(exchange), Some(message)) = (&mut self.exchange, whole) {
            exchange.is_whole = true;
            if let Some(at) = exchange.seen {
                seen[at] = message;
            }
        }
    }

    fn play(&mut self, reply: &Reply) -> Played {
        let Some(exchange) = &mut self.exchange else { return Played::Waiting };
        if reply.begins == Begins::AtEnd && !exchange.is_whole {
            return Played::Waiting;
        }
        while let Some(step) = reply.steps.get(exchange.step) {
            match step {
                Step::AwaitTunnelled(bytes) if exchange.tunnelled < *bytes => return Played::Waiting,
                Step::AwaitTunnelled(_) => exchange.step += 1,
                Step::Send(bytes) => {
                    self.out.extend_from_slice(bytes);
                    exchange.step += 1;
                }
                Step::Breath => {
                    exchange.step += 1;
                    return Played::Breathing;
                }
                Step::Close => {
                    if !self.out.is_empty() && !flush(&mut self.stream, &mut self.out) {
                        return Played::Waiting;
                    }
                    exchange.step += 1;
                    // A socket that is closed with unread bytes is reset, which overtakes the answer.
                    self.state = if exchange.is_whole { State::Gone } else { State::Closing };
                    let _ = self.stream.shutdown(Shutdown::Write);
                    return Played::Waiting;
                }
                Step::Reset => {
                    let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
                    self.state = State::Gone;
                    return Played::Waiting;
                }
            }
        }
        match exchange.is_whole && self.state == State::Open {
            true => Played::Through,
            false => Played::Waiting,
        }
    }

    fn flush(&mut self) {
        if !self.out.is_empty() {
            flush(&mut self.stream, &mut self.out);
        }
    }

    /// The connection ends, or its case does: what came in part is what came.
    fn give_up(&mut self, seen: &mut Vec<Message>) {
        match self.exchange.take() {
            Some(Exchange { seen: Some(at), is_whole: false, .. }) => {
                seen[at] = self.reader.end().unwrap_or_default();
            }
            Some(_) => {}
            None => seen.extend(self.reader.end()),
        }
        if self.state != State::Open {
            self.state = State::Gone;
        }
    }
}

enum Played {
    Through,
    Waiting,
    Breathing,
}

thread_local! {
    static PIECE: RefCell<Vec<u8>> = RefCell::new(vec![0; 32 << 10]);
}

/// Hands over what has come. True: nothing more will; a reset ends a stream as anything else does.
pub fn read_all(stream: &mut &TcpStream, mut take: impl FnMut(&[u8])) -> bool {
    PIECE.with_borrow_mut(|piece| {
        loop {
            match stream.read(piece) {
                Ok(0) => return true,
                Ok(n) => {
                    take(&piece[..n]);
                    if n < piece.len() {
                        return false;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return true,
            }
        }
    })
}

/// True when all of it is written, or nobody takes it any more.
pub fn flush(stream: &mut TcpStream, out: &mut Vec<u8>) -> bool {
    loop {
        match stream.write(out) {
            Ok(n) if n == out.len() => break out.clear(),
            Ok(n) => drop(out.drain(..n)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break out.clear(),
        }
    }
    true
}
