//! A server of bytes, and what the PROXY protocol says at the beginning of them.
//!
//! ```text
//! accept ──► a thread per connection: script(&mut TcpStream) ──► closed when it returns
//! ```

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::ports::{free_address, listen};
use super::wait::LIMIT;

/// Stops listening and cuts its connections when dropped.
pub struct TcpOrigin {
    pub address: SocketAddr,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

struct State {
    connections: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
    active: AtomicUsize,
    stopped: AtomicBool,
}

impl TcpOrigin {
    pub fn start(script: impl Fn(&mut TcpStream) -> io::Result<()> + Send + Sync + 'static) -> TcpOrigin {
        Self::start_at(free_address(), script)
    }

    pub fn start_at(
        address: SocketAddr,
        script: impl Fn(&mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> TcpOrigin {
        let listener = listen(address);
        let state = Arc::new(State {
            connections: AtomicUsize::new(0),
            open: Mutex::default(),
            active: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        });
        let accepting = std::thread::spawn({
            let (state, script) = (state.clone(), Arc::new(script));
            move || {
                for stream in listener.incoming() {
                    if state.stopped.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(mut stream) = stream else { continue };
                    let _ = stream.set_nodelay(true);
                    let _ = stream.set_read_timeout(Some(LIMIT * 4));
                    state.connections.fetch_add(1, Ordering::SeqCst);
                    state.active.fetch_add(1, Ordering::SeqCst);
                    state.open.lock().expect("no panic while held").extend(stream.try_clone());
                    let (state, script) = (state.clone(), script.clone());
                    std::thread::spawn(move || {
                        let _ = script(&mut stream);
                        // The handle that is kept would hold it open.
                        let _ = stream.shutdown(Shutdown::Both);
                        state.active.fetch_sub(1, Ordering::SeqCst);
                    });
                }
            }
        });
        TcpOrigin { address, state, accepting: Some(accepting) }
    }

    /// Says its name and a newline, then whatever it is told, to the end.
    pub fn named(name: &'static str) -> TcpOrigin {
        Self::named_at(free_address(), name)
    }

    pub fn named_at(address: SocketAddr, name: &'static str) -> TcpOrigin {
        Self::start_at(address, move |stream| {
            writeln!(stream, "{name}")?;
            echo(stream)
        })
    }

    /// Says what it is told, to the end.
    pub fn echo() -> TcpOrigin {
        Self::start(echo)
    }

    /// How many there were.
    pub fn connection_count(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Those whose script has not come to its end.
    pub fn active(&self) -> usize {
        self.state.active.load(Ordering::SeqCst)
    }
}

impl Drop for TcpOrigin {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        for stream in self.state.open.lock().expect("no panic while held").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

pub fn echo(stream: &mut TcpStream) -> io::Result<()> {
    let mut piece = vec![0; 64 << 10];
    loop {
        match stream.read(&mut piece)? {
            0 => return Ok(()),
            read => stream.write_all(&piece[..read])?,
        }
    }
}

/// The line of a PROXY header of version 1, or an error where there is none.
pub fn read_line(stream: &mut impl Read) -> io::Result<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        line.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// Source and destination of a PROXY header of version 2, over IPv4.
pub fn read_proxy_v2(stream: &mut impl Read) -> io::Result<(SocketAddr, SocketAddr)> {
    let mut header = [0; 28];
    stream.read_exact(&mut header)?;
    assert_eq!(&header[..16], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", "PROXY, over TCP and IPv4, twelve bytes");
    let address = |at: usize, port: usize| {
        let ip: [u8; 4] = header[at..at + 4].try_into().expect("four bytes");
        SocketAddr::from((ip, u16::from_be_bytes([header[port], header[port + 1]])))
    };
    Ok((address(16, 24), address(20, 26)))
}

/// Speaks TLS, and says what it is told. It remembers what protocols it was offered last.
pub struct TlsEcho {
    pub address: SocketAddr,
    offered: Arc<Mutex<Vec<Vec<u8>>>>,
    _origin: TcpOrigin,
}

impl TlsEcho {
    pub fn start(identity: &super::Identity) -> TlsEcho {
        Self::start_at(free_address(), identity)
    }

    pub fn start_at(address: SocketAddr, identity: &super::Identity) -> TlsEcho {
        let config = Arc::new(identity.server_config(&[]));
        let offered: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let seen = offered.clone();
        let origin = TcpOrigin::start_at(address, move |stream| {
            let mut acceptor = rustls::server::Acceptor::default();
            let accepted = loop {
                acceptor.read_tls(stream)?;
                match acceptor.accept() {
                    Ok(Some(accepted)) => break accepted,
                    Ok(None) => {}
                    Err((error, _)) => return Err(io::Error::other(error)),
                }
            };
            let protocols = accepted.client_hello().alpn().map(|all| all.map(<[u8]>::to_vec).collect());
            *seen.lock().expect("no panic while held") = protocols.unwrap_or_default();
            let connection = accepted.into_connection(config.clone()).map_err(|(error, _)| io::Error::other(error))?;
            let mut tls = rustls::StreamOwned::new(connection, stream.try_clone()?);
            let mut piece = [0; 4096];
            loop {
                match tls.read(&mut piece)? {
                    0 => break,
                    read => tls.write_all(&piece[..read])?,
                }
            }
            tls.conn.send_close_notify();
            tls.flush()
        });
        TlsEcho { address: origin.address, offered, _origin: origin }
    }

    pub fn offered(&self) -> Vec<Vec<u8>> {
        self.offered.lock().expect("no panic while held").clone()
    }
}
