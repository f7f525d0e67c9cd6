//! What one client sends, and what comes back for it: with one endpoint, for as long as something comes or goes.

use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::socket::DatagramSocket;
use super::{Client, LARGEST};
use crate::proxy::proxy_protocol::canonical;
use crate::proxy::tunnel::key;
use crate::proxy::worker::Worker;
use crate::snapshot::tunnel::Datagrams;
use crate::snapshot::upstream::{Lease, Outcome, PickError, PickRequest};
use crate::telemetry::record::UpstreamConnection;
use crate::telemetry::session::{SessionEnd, SessionProtocol, SessionRecord};

/// Datagrams of one session at one time.
const BATCH: usize = 32;

/// How often it is asked whether the endpoint is still there, in milliseconds.
const LOOK_EVERY: u64 = 250;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; LARGEST].into());
}

pub struct Session {
    upstream: UdpSocket,
    carries: Arc<Datagrams>,
    client: Client,
    begun: Instant,
    endpoint: SocketAddr,
    /// In milliseconds since it began.
    moved: AtomicU64,
    /// The same: when its endpoint was looked for last.
    looked: AtomicU64,
    bytes_in: AtomicU64,
    refused: Notify,
    given_up: Notify,
}

/// Waits for what the upstream sends.
pub struct Answers {
    session: Arc<Session>,
    lease: Lease,
    bytes_out: u64,
    count: u32,
}

/// None: there is no endpoint, and it has been told.
pub fn open(carries: Arc<Datagrams>, client: Client, worker: &Worker) -> Option<(Arc<Session>, Answers)> {
    let begun = Instant::now();
    carries.to.sessions.begin();
    match connect(&carries, client, begun) {
        Ok((upstream, lease)) => {
            let session = Arc::new(Session {
                upstream,
                carries,
                client,
                begun,
                endpoint: lease.endpoint().address,
                moved: AtomicU64::new(0),
                looked: AtomicU64::new(0),
                bytes_in: AtomicU64::new(0),
                refused: Notify::new(),
                given_up: Notify::new(),
            });
            let answers = Answers { session: session.clone(), lease, bytes_out: 0, count: 0 };
            Some((session, answers))
        }
        Err(ended) => {
            tell(&carries, client, Facts { begun, endpoint: None, bytes_in: 0, bytes_out: 0, ended }, worker);
            None
        }
    }
}

/// Nothing is waited for: who sends datagrams sends them again.
fn connect(carries: &Datagrams, client: Client, now: Instant) -> Result<(UdpSocket, Lease), SessionEnd> {
    let upstream = &carries.to.upstream;
    let key = key(&upstream.definition().balance, canonical(client.address).ip());
    let pick = PickRequest { now: now.into_std(), key, sticky: None, exclude: &[] };
    let lease = upstream.pick(&pick).map_err(|error| match error {
        PickError::NoEndpoints | PickError::AllUnhealthy => SessionEnd::NoEndpoint,
        PickError::Saturated(_) => SessionEnd::QueueOverflow,
    })?;
    let socket = socket_to(lease.endpoint().address).map_err(|error| {
        tracing::debug!(upstream = carries.to.name(), endpoint = %lease.endpoint().address, %error, "no socket");
        SessionEnd::ConnectFailed
    })?;
    Ok((socket, lease))
}

/// Connected: nobody else's datagrams come in by it, and a refusal is heard of.
fn socket_to(endpoint: SocketAddr) -> io::Result<UdpSocket> {
    let any = match endpoint {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = std::net::UdpSocket::bind(any)?;
    socket.connect(endpoint)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

impl Session {
    pub fn send(&self, datagram: &[u8]) {
        self.touch();
        self.bytes_in.fetch_add(datagram.len() as u64, Relaxed);
        self.carries.to.sessions.carried(datagram.len() as u64, 0);
        // Past the runtime, which has not heard yet that a new socket can be written to.
        match socket2::SockRef::from(&self.upstream).send(datagram) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => self.refused.notify_one(),
            // One that does not fit now is lost, as it might be on its way.
            Ok(_) | Err(_) => {}
        }
    }

    /// Whether its endpoint is still one for it. What `carries` leads to now says so: a client that never pauses would stay
    /// with a pod that is gone for ever.
    pub fn stays(&self, carries: &Datagrams) -> bool {
        let now = self.age();
        if now.saturating_sub(self.looked.load(Relaxed)) < LOOK_EVERY {
            return true;
        }
        self.looked.store(now, Relaxed);
        // What goes elsewhere from now on goes on where it is.
        carries.to.name() != self.carries.to.name()
            || carries.to.upstream.keeps(self.endpoint, Instant::now().into_std())
    }

    /// Its client is served by another one.
    pub fn give_up(&self) {
        self.given_up.notify_one();
    }

    pub fn client(&self) -> Client {
        self.client
    }

    fn touch(&self) {
        self.moved.store(self.age(), Relaxed);
    }

    fn age(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// When it is over, if nothing more comes.
    fn over_at(&self) -> Instant {
        self.begun + Duration::from_millis(self.moved.load(Relaxed)) + self.carries.definition.idle_timeout
    }
}

impl Answers {
    pub async fn carry_back(mut self, port: &DatagramSocket, mut ending: watch::Receiver<bool>, worker: &Worker) {
        let session = self.session.clone();
        let ended = loop {
            let over_at = session.over_at();
            tokio::select! {
                _ = session.upstream.readable() => if let Err(ended) = self.take_all(port) {
                    break ended;
                },
                () = session.refused.notified() => break SessionEnd::ConnectFailed,
                () = session.given_up.notified() => break SessionEnd::UpstreamReset,
                () = tokio::time::sleep_until(over_at) => if session.over_at() <= Instant::now() {
                    break SessionEnd::IdleTimeout;
                },
                // Whoever could have said so has gone, and with it the port: what is under way may end by itself.
                Ok(_) = ending.wait_for(|ending| *ending) => break SessionEnd::Completed,
            }
        };
        self.report(ended);
        let facts = Facts {
            begun: session.begun,
            endpoint: Some(session.endpoint),
            bytes_in: session.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out,
            ended,
        };
        tell(&session.carries, session.client, facts, worker);
    }

    /// Whatever has come; an error where that is the end.
    fn take_all(&mut self, port: &DatagramSocket) -> Result<(), SessionEnd> {
        BUFFER.with_borrow_mut(|buffer| {
            // The others of the thread have their turn, too.
            for _ in 0..BATCH {
                match self.session.upstream.try_recv(buffer) {
                    Ok(length) => match self.take(port, &buffer[..length]) {
                        After::More => {}
                        After::Last => return Err(SessionEnd::Completed),
                    },
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                        return Err(SessionEnd::ConnectFailed);
                    }
                    Err(_) => return Err(SessionEnd::UpstreamReset),
                }
            }
            Ok(())
        })
    }

    fn take(&mut self, port: &DatagramSocket, datagram: &[u8]) -> After {
        let session = &self.session;
        session.touch();
        if self.count == 0 {
            let took = session.begun.elapsed();
            self.lease.report(Outcome::Connected { took }, Instant::now().into_std());
            session.carries.to.metrics.connected(UpstreamConnection::New { took });
        }
        self.count = self.count.saturating_add(1);
        self.bytes_out += datagram.len() as u64;
        session.carries.to.sessions.carried(0, datagram.len() as u64);
        port.send(datagram, session.client);
        match session.carries.definition.responses {
            Some(responses) if self.count >= responses.get() => After::Last,
            Some(_) | None => After::More,
        }
    }

    /// Silence speaks against an endpoint only where an answer is due.
    fn report(&self, ended: SessionEnd) {
        let outcome = match ended {
            SessionEnd::ConnectFailed => Outcome::ConnectFailed,
            SessionEnd::IdleTimeout if self.count == 0 && self.session.carries.definition.responses.is_some() => {
                Outcome::TimedOut
            }
            _ => return,
        };
        self.lease.report(outcome, Instant::now().into_std());
    }
}

#[derive(PartialEq, Eq)]
enum After {
    More,
    Last,
}

struct Facts {
    begun: Instant,
    endpoint: Option<SocketAddr>,
    bytes_in: u64,
    bytes_out: u64,
    ended: SessionEnd,
}

fn tell(carries: &Datagrams, client: Client, facts: Facts, worker: &Worker) {
    let record = SessionRecord {
        started: facts.begun.into_std(),
        client: canonical(client.address),
        protocol: SessionProtocol::Udp,
        listener: carries.definition.name.as_str(),
        upstream: carries.to.name(),
        sni: None,
        endpoint: facts.endpoint,
        connect: None,
        retries: 0,
        bytes_in: facts.bytes_in,
        bytes_out: facts.bytes_out,
        ended: facts.ended,
        duration: facts.begun.elapsed(),
    };
    carries.to.sessions.end(&record);
    worker.log_session(&record);
}
