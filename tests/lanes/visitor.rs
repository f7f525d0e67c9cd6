//! The client of one lane: it sends the pieces of a case on one connection, and keeps what it is answered.
//!
//! ```text
//! pieces ──when they may──► Weir ──► Reader ──► interim and final answers ──► may the next piece go? is that all?
//! ```

use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};

use socket2::{Domain, Socket, Type};

use super::case::{Case, When};
use super::message::{Holds, Message, Reader};
use super::origin::{flush, read_all};

pub struct Visitor {
    stream: TcpStream,
    reader: Reader,
    out: Vec<u8>,
    /// The other side has ended the connection.
    pub is_over: bool,
    pub has_half_closed: bool,
    pieces_sent: usize,
    finals: usize,
    /// Behind how many final ones each of them came.
    interims: Vec<usize>,
    has_switched: bool,
    answers: Vec<Message>,
    heads: Heads,
}

/// Which of the case's requests are HEAD requests: their answers have no body.
enum Heads {
    None,
    Of(Vec<bool>),
}

impl Visitor {
    pub fn connect(from: SocketAddr, to: SocketAddr) -> io::Result<Visitor> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        choose_port_late(&socket)?;
        socket.bind(&from.into())?;
        socket.connect(&to.into())?;
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        Ok(Visitor {
            stream: socket.into(),
            reader: Reader::new(Holds::Answers),
            out: Vec::new(),
            is_over: false,
            has_half_closed: false,
            pieces_sent: 0,
            finals: 0,
            interims: Vec::new(),
            has_switched: false,
            answers: Vec::new(),
            heads: Heads::None,
        })
    }

    pub fn begin(&mut self, case: &Case) {
        (self.pieces_sent, self.finals, self.has_switched) = (0, 0, false);
        self.interims.clear();
        self.heads = Heads::of(case);
    }

    pub fn socket(&self) -> (RawFd, bool) {
        (self.stream.as_raw_fd(), !self.out.is_empty())
    }

    pub fn finals(&self) -> usize {
        self.finals
    }

    pub fn has_answers(&self) -> bool {
        !self.answers.is_empty() || !self.reader.is_between()
    }

    pub fn take_answers(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.answers)
    }

    /// Whether the last answer says that it is the last.
    pub fn was_told_to_leave(&self) -> bool {
        self.answers.last().is_some_and(|answer| answer.lists("connection", "close"))
    }

    pub fn has_sent_all(&self, case: &Case) -> bool {
        self.pieces_sent == case.pieces.len() && self.out.is_empty()
    }

    /// Sends the next piece, where it may go. True: it has.
    pub fn advance(&mut self, case: &Case) -> bool {
        let may_go = self.out.is_empty()
            && case.pieces.get(self.pieces_sent).is_some_and(|piece| match piece.when {
                When::AtOnce => true,
                When::AfterInterim(count) => self.interims.contains(&count),
                When::AfterSwitch => self.has_switched,
                When::AfterAnswers(count) => self.finals >= count,
            });
        may_go && self.send_next(case)
    }

    /// Sends it, whether its time has come or not. False: there is none.
    pub fn send_next(&mut self, case: &Case) -> bool {
        let Some(piece) = case.pieces.get(self.pieces_sent) else { return false };
        self.pieces_sent += 1;
        self.send(&piece.bytes);
        true
    }

    pub fn send(&mut self, bytes: &[u8]) {
        if !self.has_half_closed {
            self.out.extend_from_slice(bytes);
            flush(&mut self.stream, &mut self.out);
        }
    }

    pub fn half_close(&mut self) {
        self.has_half_closed = true;
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Reads on to the end, of which nobody wants to know. True: there it is.
    pub fn has_ended(&mut self) -> bool {
        if !self.has_half_closed {
            self.half_close();
        }
        let mut stream = &self.stream;
        read_all(&mut stream, |_| {})
    }

    /// Nothing that comes from here on is taken.
    pub fn leave(&mut self) {
        self.give_up();
        self.has_half_closed = true;
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Whether something has come, or the connection has ended, where nothing was to come. Only between cases.
    pub fn is_disturbed(&mut self) -> bool {
        let mut piece = [0; 64];
        !matches!(self.stream.peek(&mut piece), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// The socket is ready.
    pub fn attend(&mut self) {
        if !self.out.is_empty() {
            flush(&mut self.stream, &mut self.out);
        }
        let mut stream = &self.stream;
        self.is_over |= read_all(&mut stream, |piece| self.reader.push(piece));
        self.understand();
    }

    fn understand(&mut self) {
        loop {
            let is_head = self.heads.at(self.finals);
            let has_body = |answer: &Message| !is_head && !matches!(answer.status(), 100 | 102..=199 | 204 | 304);
            let next = match self.reader.next(has_body) {
                None if self.is_over => self.reader.end(),
                next => next,
            };
            let Some(answer) = next else { break };
            match answer.status() {
                100 | 102..=199 => self.interims.push(self.finals),
                status => {
                    self.finals += 1;
                    self.has_switched |= status == 101;
                }
            }
            self.answers.push(answer);
        }
        // The tunnel is open while its bytes still come.
        self.has_switched |= self.reader.open().is_some_and(|answer| answer.status() == 101);
    }

    /// The last answer, taken back where it is the sentinel's.
    pub fn take_sentinel(&mut self) -> bool {
        let is_sentinel = self.answers.last().is_some_and(|answer| answer.values("x-sentinel").next().is_some());
        if is_sentinel {
            self.answers.pop();
        }
        is_sentinel
    }

    /// Nobody waits any longer: what has come of an answer is what came.
    pub fn give_up(&mut self) {
        self.is_over = true;
        self.understand();
    }
}

/// Many connections come from one address: the kernel chooses the port when it knows where they go.
fn choose_port_late(socket: &Socket) -> io::Result<()> {
    let yes: libc::c_int = 1;
    let size = size_of_val(&yes) as libc::socklen_t;
    let (level, option) = (libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT);
    // SAFETY: plain system call; the value outlives it.
    let outcome = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const yes).cast(), size) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

impl Heads {
    fn of(case: &Case) -> Heads {
        let mentions = |bytes: &[u8]| bytes.windows(5).any(|word| word == b"HEAD ");
        // Only pieces together hold all words: any of them may be cut in two.
        let sent: Vec<&[u8]> = case.pieces.iter().map(|piece| piece.bytes.as_slice()).collect();
        let sent = sent.concat();
        if !mentions(&sent) {
            return Heads::None;
        }
        let mut reader = Reader::new(Holds::Requests);
        reader.push(&sent);
        let mut heads = Vec::new();
        while let Some(request) = reader.next(|_| true) {
            heads.push(request.first.starts_with(b"HEAD "));
        }
        heads.extend(reader.open().map(|request| request.first.starts_with(b"HEAD ")));
        Heads::Of(heads)
    }

    fn at(&self, request: usize) -> bool {
        match self {
            Heads::None => false,
            Heads::Of(heads) => heads.get(request).copied().unwrap_or_default(),
        }
    }
}
