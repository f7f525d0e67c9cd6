//! The sockets of the admin listener, and the owner that moves and stops them.
//!
//! ```text
//! bind ──► accept loop ──► one short task for each connection: read, answer, close
//! rebind: the new address first, then the old one is let go of; its answers are finished
//! ```

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header;
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::protocols::l4::stream::Stream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use super::Inspect;
use super::endpoints::{Answer, Asked, From, answer};

/// Probes and scrapes are few; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 64;
/// For one request and its answer: a client that is slower is cut off.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(10);
/// How long `stop` waits for answers that are under way.
const STOP_LIMIT: Duration = Duration::from_secs(1);
/// After an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound admin listener. Dropping it stops it at once.
pub struct AdminServer {
    inspect: Arc<dyn Inspect>,
    /// As it was asked for: the port may be 0.
    asked: SocketAddr,
    /// With the port that the kernel chose.
    address: SocketAddr,
    /// None where a move failed and somebody took the old address meanwhile.
    running: Option<Running>,
    /// Connections of addresses that were let go of.
    draining: JoinSet<()>,
}

/// One accept loop. It ends when `stop` is dropped, and returns the connections that are still answered.
struct Running {
    stop: oneshot::Sender<()>,
    accepting: JoinHandle<JoinSet<()>>,
}

impl AdminServer {
    /// Must be called on the control plane's runtime: its tasks live there.
    pub async fn bind(asked: SocketAddr, inspect: Arc<dyn Inspect>) -> io::Result<Self> {
        let listener = TcpListener::bind(asked).await?;
        let address = listener.local_addr()?;
        let running = Some(Running::start(listener, inspect.clone()));
        Ok(Self { inspect, asked, address, running, draining: JoinSet::new() })
    }

    /// Where it listens: with the port that the kernel chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Moves to another address; nothing happens where it is the same. On an error it stays where it was.
    pub async fn rebind(&mut self, asked: SocketAddr) -> io::Result<()> {
        if asked == self.asked && self.running.is_some() {
            return Ok(());
        }
        let listener = match TcpListener::bind(asked).await {
            Ok(listener) => listener,
            // 127.0.0.1:9090 → 0.0.0.0:9090: the old listener itself is in the way.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && asked.port() == self.address.port() => {
                self.release().await;
                match TcpListener::bind(asked).await {
                    Ok(listener) => listener,
                    Err(error) => {
                        self.switch_to(TcpListener::bind(self.address).await?).await?;
                        return Err(error);
                    }
                }
            }
            Err(error) => return Err(error),
        };
        self.switch_to(listener).await?;
        self.asked = asked;
        Ok(())
    }

    /// Stops listening and waits a moment for answers that are under way.
    pub async fn stop(mut self) {
        self.release().await;
        let all = async { while self.draining.join_next().await.is_some() {} };
        // What is left after the limit is aborted when the set is dropped.
        let _ = tokio::time::timeout(STOP_LIMIT, all).await;
    }

    async fn switch_to(&mut self, listener: TcpListener) -> io::Result<()> {
        let address = listener.local_addr()?;
        let next = Running::start(listener, self.inspect.clone());
        self.release().await;
        self.address = address;
        self.running = Some(next);
        Ok(())
    }

    /// The address is free when this returns; answers that are under way are finished behind it.
    async fn release(&mut self) {
        let Some(Running { stop, accepting }) = self.running.take() else { return };
        drop(stop);
        // An error says that the loop was aborted with its runtime, and its connections with it.
        let mut connections = accepting.await.unwrap_or_default();
        // Sets that are empty by now are let go of here.
        while self.draining.try_join_next().is_some() {}
        self.draining.spawn(async move { while connections.join_next().await.is_some() {} });
    }
}

impl Running {
    fn start(listener: TcpListener, inspect: Arc<dyn Inspect>) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self { stop, accepting: tokio::spawn(accept(listener, inspect, stopped)) }
    }
}

async fn accept(listener: TcpListener, inspect: Arc<dyn Inspect>, mut stopped: oneshot::Receiver<()>) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => return connections,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((socket, peer)) => {
                    let serve = serve(socket, peer, inspect.clone());
                    connections.spawn(async move {
                        if let Err(error) = tokio::time::timeout(CONNECTION_LIFETIME, serve).await {
                            tracing::debug!(%error, "an admin connection was too slow");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the admin listener cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

async fn serve(socket: TcpStream, peer: SocketAddr, inspect: Arc<dyn Inspect>) {
    let mut session = ServerSession::new_http1(Box::new(Stream::from(socket)));
    // One request each: nothing idles, and no limit for keep-alive is needed.
    session.set_keepalive(None);
    if let Err(error) = exchange(&mut session, peer, &*inspect).await {
        tracing::debug!(%error, "an admin request failed");
        return;
    }
    // An error says that the client is gone.
    let _ = session.finish().await;
}

async fn exchange(session: &mut ServerSession, peer: SocketAddr, inspect: &dyn Inspect) -> pingora::Result<()> {
    if !session.read_request().await? {
        return Ok(());
    }
    let request = session.req_header();
    let is_head = request.method == http::Method::HEAD;
    let is_browser = ["origin", "sec-fetch-site"].iter().any(|name| request.headers.contains_key(*name));
    let asked = Asked {
        method: &request.method,
        path: request.uri.path(),
        query: request.uri.query().unwrap_or(""),
        from: match peer.ip().to_canonical().is_loopback() {
            false => From::Elsewhere,
            true if is_browser => From::Browser,
            true => From::Program,
        },
    };
    let answer = answer(inspect, &asked).await;
    session.write_response_header(Box::new(head_of(&answer)?)).await?;
    if !is_head {
        session.write_response_body(answer.body.into(), true).await?;
    }
    Ok(())
}

fn head_of(answer: &Answer) -> pingora::Result<ResponseHeader> {
    let mut head = ResponseHeader::build(answer.status, Some(6))?;
    head.insert_header(header::CONTENT_TYPE, answer.content_type)?;
    head.insert_header(header::CONTENT_LENGTH, answer.body.len())?;
    head.insert_header(header::CACHE_CONTROL, "no-store")?;
    head.insert_header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")?;
    if answer.status == http::StatusCode::METHOD_NOT_ALLOWED {
        head.insert_header(header::ALLOW, answer.allow)?;
    }
    Ok(head)
}
