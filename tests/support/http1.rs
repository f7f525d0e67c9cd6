//! HTTP/1.1 as bytes: what is sent is what the test wrote, what is read is kept as it came.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::wait::LIMIT;

/// A byte stream that a response can be read from: TCP, or TLS over it.
pub trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// An open connection, for what a well-behaved client does not do.
pub struct Connection {
    stream: Box<dyn Stream>,
    tcp: TcpStream,
    /// Read, but not yet part of a response.
    ahead: Vec<u8>,
}

#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub version: String,
    pub reason: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Fields after a chunked body.
    pub trailers: Vec<(String, String)>,
}

/// A request on a connection of its own.
#[derive(Clone, Debug)]
pub struct Request {
    to: SocketAddr,
    from: Option<SocketAddr>,
    method: String,
    target: String,
    host: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

pub fn request(to: SocketAddr, method: &str, target: &str) -> Request {
    Request {
        to,
        from: None,
        method: method.into(),
        target: target.into(),
        host: "weir.test".into(),
        headers: Vec::new(),
        body: None,
    }
}

impl Request {
    pub fn try_get(to: SocketAddr, target: &str) -> io::Result<Response> {
        request(to, "GET", target).try_send()
    }

    pub fn host(mut self, host: &str) -> Self {
        self.host = host.into();
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Comes from this loopback address (any of 127.0.0.0/8 will do).
    pub fn from(mut self, address: [u8; 4]) -> Self {
        self.from = Some((address, 0).into());
        self
    }

    #[track_caller]
    pub fn send(self) -> Response {
        let described = format!("{} {} to {}", self.method, self.target, self.to);
        match self.try_send() {
            Ok(response) => response,
            Err(error) => panic!("{described} got no answer: {error}"),
        }
    }

    pub fn try_send(self) -> io::Result<Response> {
        let mut connection = match self.from {
            Some(from) => Connection::try_open_from(from, self.to)?,
            None => Connection::try_open(self.to)?,
        };
        connection.try_write(self.bytes())?;
        connection.try_read_response(&self.method)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.target, self.host);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = &self.body {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("Connection: close\r\n\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }
}

impl Response {
    /// The first value of a field; `name` in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn headers(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    pub fn trailer(&self, name: &str) -> Option<&str> {
        self.trailers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Connection {
    #[track_caller]
    pub fn open(to: SocketAddr) -> Connection {
        match Self::try_open(to) {
            Ok(connection) => connection,
            Err(error) => panic!("no connection to {to}: {error}"),
        }
    }

    pub fn try_open(to: SocketAddr) -> io::Result<Connection> {
        Self::over_tcp(TcpStream::connect_timeout(&to, LIMIT)?)
    }

    /// Connects from an address of its own, so that it is another client.
    pub fn try_open_from(from: SocketAddr, to: SocketAddr) -> io::Result<Connection> {
        let socket = socket2::Socket::new(socket2::Domain::for_address(to), socket2::Type::STREAM, None)?;
        socket.bind(&from.into())?;
        socket.connect_timeout(&to.into(), LIMIT)?;
        Self::over_tcp(socket.into())
    }

    fn over_tcp(tcp: TcpStream) -> io::Result<Connection> {
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(LIMIT))?;
        tcp.set_write_timeout(Some(LIMIT))?;
        let stream = Box::new(tcp.try_clone()?);
        Ok(Connection { stream, tcp, ahead: Vec::new() })
    }

    /// The same over TLS: `wrap` turns the TCP stream into the stream that is spoken on.
    pub fn wrapped<S: Stream + 'static>(self, wrap: impl FnOnce(TcpStream) -> S) -> Connection {
        let inner = self.tcp.try_clone().expect("a second handle");
        Connection { stream: Box::new(wrap(inner)), ..self }
    }

    pub fn local_address(&self) -> SocketAddr {
        self.tcp.local_addr().expect("a connected socket")
    }

    #[track_caller]
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        if let Err(error) = self.try_write(bytes) {
            panic!("the other side did not take what was written: {error}");
        }
    }

    pub fn try_write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())?;
        self.stream.flush()
    }

    /// Says that nothing more will be sent.
    pub fn finish_writing(&mut self) {
        self.tcp.shutdown(Shutdown::Write).expect("the socket is open");
    }

    /// The final answer to a GET; interim ones (1xx) are passed over.
    #[track_caller]
    pub fn read_response(&mut self) -> Response {
        self.read_response_to("GET")
    }

    #[track_caller]
    pub fn read_response_to(&mut self, method: &str) -> Response {
        match self.try_read_response(method) {
            Ok(response) => response,
            Err(error) => panic!("no answer to {method}: {error}; read so far: {:?}", self.seen()),
        }
    }

    pub fn try_read_response(&mut self, method: &str) -> io::Result<Response> {
        loop {
            let mut response = self.read_head()?;
            if response.status >= 200 || response.status == 101 {
                self.read_body(&mut response, method)?;
                return Ok(response);
            }
        }
    }

    /// The next head alone, interim ones included; the body stays to be read.
    pub fn read_head(&mut self) -> io::Result<Response> {
        let end = loop {
            if let Some(at) = find(&self.ahead, b"\r\n\r\n") {
                break at + 4;
            }
            self.read_more()?;
        };
        let head: Vec<u8> = self.ahead.drain(..end).collect();
        parse_head(&String::from_utf8_lossy(&head))
    }

    /// Reads until these bytes have come, and returns everything up to their end.
    #[track_caller]
    pub fn read_until(&mut self, mark: &str) -> String {
        loop {
            if let Some(at) = find(&self.ahead, mark.as_bytes()) {
                let piece: Vec<u8> = self.ahead.drain(..at + mark.len()).collect();
                return String::from_utf8_lossy(&piece).into_owned();
            }
            if let Err(error) = self.read_more() {
                panic!("{mark:?} did not come: {error}; read so far: {:?}", self.seen());
            }
        }
    }

    /// The next chunk of a chunked body: its size, and what it holds. After the last, whose size is 0, nothing is left of it.
    #[track_caller]
    pub fn read_chunk(&mut self) -> (usize, Vec<u8>) {
        let mut read = || {
            let size = self.take_line()?;
            let digits = size.split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(digits, 16).map_err(|_| malformed("a chunk size is no number"))?;
            let data = self.take(size)?;
            self.take(2)?;
            io::Result::Ok((size, data))
        };
        match read() {
            Ok(chunk) => chunk,
            Err(error) => panic!("no chunk: {error}"),
        }
    }

    /// Everything until the other side closes; a reset counts as closing.
    #[track_caller]
    pub fn read_to_end(&mut self) -> Vec<u8> {
        loop {
            match self.read_more() {
                Ok(()) => {}
                Err(error) if is_timeout(&error) => panic!("the connection stays open; read so far: {:?}", self.seen()),
                Err(_) => return std::mem::take(&mut self.ahead),
            }
        }
    }

    /// Reads some of a body, at most so many bytes, and throws them away. Says how many.
    #[track_caller]
    pub fn read_some(&mut self, most: usize) -> usize {
        if self.ahead.is_empty()
            && let Err(error) = self.read_more()
        {
            panic!("the body broke off: {error}");
        }
        let length = self.ahead.len().min(most);
        self.ahead.drain(..length);
        length
    }

    /// Asserts that the other side closes, having sent nothing more.
    #[track_caller]
    pub fn assert_closed(&mut self) {
        let rest = self.read_to_end();
        assert!(rest.is_empty(), "more came before the end: {:?}", String::from_utf8_lossy(&rest));
    }

    /// Takes what has arrived already, without waiting for more.
    pub fn read_available(&mut self) -> Vec<u8> {
        self.tcp.set_nonblocking(true).expect("a socket");
        while self.read_more().is_ok() {}
        self.tcp.set_nonblocking(false).expect("a socket");
        std::mem::take(&mut self.ahead)
    }

    fn read_body(&mut self, response: &mut Response, method: &str) -> io::Result<()> {
        if method == "HEAD" || matches!(response.status, 101 | 204 | 304) {
            return Ok(());
        }
        let is_chunked = response.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked"));
        if is_chunked {
            return self.read_chunks(response);
        }
        if let Some(length) = response.header("content-length") {
            let length: usize = length.parse().map_err(|_| malformed("content-length is no number"))?;
            response.body = self.take(length)?;
            return Ok(());
        }
        loop {
            match self.read_more() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            }
        }
        response.body = std::mem::take(&mut self.ahead);
        Ok(())
    }

    fn read_chunks(&mut self, response: &mut Response) -> io::Result<()> {
        loop {
            let size = self.take_line()?;
            let digits = size.split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(digits, 16).map_err(|_| malformed("a chunk size is no number"))?;
            if size == 0 {
                break;
            }
            response.body.extend(self.take(size)?);
            self.take(2)?;
        }
        loop {
            let line = self.take_line()?;
            match line.split_once(':') {
                Some((name, value)) => response.trailers.push((name.into(), value.trim().into())),
                None => return Ok(()),
            }
        }
    }

    fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.ahead.len() < length {
            self.read_more()?;
        }
        Ok(self.ahead.drain(..length).collect())
    }

    fn take_line(&mut self) -> io::Result<String> {
        let end = loop {
            if let Some(at) = find(&self.ahead, b"\r\n") {
                break at;
            }
            self.read_more()?;
        };
        let line = self.take(end + 2)?;
        Ok(String::from_utf8_lossy(&line[..end]).into_owned())
    }

    fn read_more(&mut self) -> io::Result<()> {
        let mut piece = [0; 16 << 10];
        match self.stream.read(&mut piece)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                self.ahead.extend_from_slice(&piece[..n]);
                Ok(())
            }
        }
    }

    fn seen(&self) -> String {
        String::from_utf8_lossy(&self.ahead).into_owned()
    }
}

pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

pub(super) fn find(text: &[u8], piece: &[u8]) -> Option<usize> {
    text.windows(piece.len()).position(|window| window == piece)
}

/// The fields of a head, without its first line.
pub(super) fn parse_fields(head: &str) -> Vec<(String, String)> {
    let fields = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

fn parse_head(head: &str) -> io::Result<Response> {
    let first = head.split("\r\n").next().unwrap_or_default();
    let mut words = first.splitn(3, ' ');
    let version = words.next().unwrap_or_default();
    let status = words.next().and_then(|word| word.parse().ok());
    let Some(status) = status.filter(|_| version.starts_with("HTTP/1.")) else {
        return Err(malformed(&format!("this is no status line: {first:?}")));
    };
    Ok(Response {
        status,
        version: version.into(),
        reason: words.next().unwrap_or_default().into(),
        headers: parse_fields(head),
        body: Vec::new(),
        trailers: Vec::new(),
    })
}

fn malformed(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
