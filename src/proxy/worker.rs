//! A worker: one thread, one runtime, its own sockets, its own upstream connections.
//!
//! ```text
//! DataPlane ──Command──► Worker ──► accept tasks, sweeper ──► connections
//! ```
//!
//! Nothing on a worker waits for another thread. The control plane speaks to it through one channel.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use pingora::apps::HttpServerApp;
use pingora::server::configuration::ServerConf;
use pingora_proxy::HttpProxy;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::connection::Connection;
use super::datagrams::{self, DatagramListener, DatagramSocket};
use super::full::FullLane;
use super::head::Refusal;
use super::listener::{self, ListenerState};
use super::pace::Paces;
use super::{Shared, deadline, http1, lean};
use crate::sharded;
use crate::telemetry::access_log;
use crate::telemetry::record::{Ended, Protocol, RequestRecord, RequestText};
use crate::telemetry::session::SessionRecord;
use crate::tls::ServerTls;

pub struct Worker {
    shared: Arc<Shared>,
    proxy: Arc<HttpProxy<FullLane>>,
    shutdown: watch::Receiver<bool>,
    draining: AtomicBool,
    connections: OpenConnections,
}

pub enum Command {
    Listen(Arc<ListenerState>, std::net::TcpListener),
    CarryDatagrams(Arc<DatagramListener>, std::net::UdpSocket),
    /// Carry no more here: sessions end. Answered as soon as that is so.
    CloseDatagrams(Arc<DatagramListener>, oneshot::Sender<()>),
    /// Accept no more here. Answered as soon as that is so.
    Close(Arc<ListenerState>, oneshot::Sender<()>),
    /// Accept no more, end what is idle, let the rest finish. Answered as soon as nothing more is accepted.
    Drain(oneshot::Sender<()>),
    /// Whatever is held back for the access log.
    FlushLog(oneshot::Sender<()>),
}

/// The control plane's end.
struct WorkerHandle {
    commands: mpsc::UnboundedSender<Command>,
    connections: OpenConnections,
}

impl Worker {
    fn start(number: usize, shared: Arc<Shared>) -> std::io::Result<WorkerHandle> {
        let (commands, receiver) = mpsc::unbounded_channel();
        let connections = OpenConnections::default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS)
            .build()?;
        let counter = connections.clone();
        // Detached: it ends when the last of its commands' senders is dropped.
        std::thread::Builder::new().name(format!("weir-{number}")).spawn(move || {
            sharded::enter(number);
            runtime.block_on(run(shared, counter, receiver));
        })?;
        Ok(WorkerHandle { commands, connections })
    }

    pub fn proxy(&self) -> Arc<HttpProxy<FullLane>> {
        self.proxy.clone()
    }

    pub fn shutdown(&self) -> &watch::Receiver<bool> {
        &self.shutdown
    }

    /// For a stream of HTTP/2, where some route bounds the bandwidth.
    pub fn paces(&self) -> Option<Arc<Paces>> {
        self.shared.snapshot.load().paces.then(Arc::default)
    }

    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    pub fn tls(&self) -> &ServerTls {
        &self.shared.tls
    }

    /// The same as `shutdown` says, without its lock.
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Counts and logs a request that was refused before it could be routed.
    pub fn refused(&self, connection: &Connection, refusal: Refusal) {
        let mut record = RequestRecord::new(
            Instant::now(),
            SocketAddr::new(connection.peer.ip().to_canonical(), connection.peer.port()),
            Protocol::Http11,
            connection.tls.as_ref().map(|tls| tls.agreement.facts),
        );
        record.status = refusal.status;
        record.ended = Ended::Refused("head");
        let unrouted = &connection.listener.metrics.unrouted;
        unrouted.begin();
        unrouted.end("", &record);
        if let Some(log) = &*self.shared.access_log.load() {
            log.write(&record, &RequestText::unread(connection.listener.name.as_str()));
        }
        let (listener, reason) = (&connection.listener.name, refusal.reason);
        tracing::debug!(%listener, client = %connection.peer, status = refusal.status, reason, "refused a request");
    }

    pub fn log_session(&self, session: &SessionRecord<'_>) {
        if let Some(log) = &*self.shared.access_log.load() {
            log.write_session(session);
        }
    }

    pub fn connections(&self) -> &OpenConnections {
        &self.connections
    }
}

/// How many connections and sessions are open: who drains waits for them.
#[derive(Clone, Default)]
pub struct OpenConnections(Arc<AtomicUsize>);

/// One of them.
pub struct OpenConnection(Arc<AtomicUsize>);

impl OpenConnections {
    pub fn begin(&self) -> OpenConnection {
        self.0.fetch_add(1, Ordering::Relaxed);
        OpenConnection(self.0.clone())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All of them, as the control plane sees them.
pub struct Workers(Vec<WorkerHandle>);

impl Workers {
    pub fn start(count: usize, shared: &Arc<Shared>) -> std::io::Result<Self> {
        let start = |number| Worker::start(number, shared.clone());
        (0..count).map(start).collect::<Result<_, _>>().map(Self)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn send(&self, worker: usize, command: Command) {
        if self.0[worker].commands.send(command).is_err() {
            tracing::error!(worker, "a data-plane thread has ended");
        }
    }

    /// Returns when every worker has done it.
    pub async fn tell_all(&self, command: impl Fn(oneshot::Sender<()>) -> Command) {
        let told = (0..self.len()).map(|worker| {
            let (done, answer) = oneshot::channel();
            self.send(worker, command(done));
            answer
        });
        for answer in told.collect::<Vec<_>>() {
            // An error says that the thread has ended, and its connections with it.
            let _ = answer.await;
        }
    }

    /// Connections and sessions that are open.
    pub fn connections(&self) -> usize {
        self.0.iter().map(|worker| worker.connections.0.load(Ordering::Relaxed)).sum()
    }
}

/// What a socket is told when it takes no more. One that is told nothing lets what it has come to its own end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    EndAll,
}

/// Who has a socket.
enum Holder {
    Connections(Arc<ListenerState>),
    Datagrams(Arc<DatagramListener>),
}

impl Holder {
    fn is_state(&self, state: &Arc<ListenerState>) -> bool {
        matches!(self, Holder::Connections(held) if Arc::ptr_eq(held, state))
    }

    fn is_datagrams(&self, listener: &Arc<DatagramListener>) -> bool {
        matches!(self, Holder::Datagrams(held) if Arc::ptr_eq(held, listener))
    }
}

/// A socket that takes connections or datagrams.
struct Accepting {
    holder: Holder,
    close: oneshot::Sender<Farewell>,
    task: JoinHandle<()>,
}

/// Afterwards no socket of these takes anything more.
async fn end(sockets: impl Iterator<Item = Accepting>, farewell: Option<Farewell>) {
    for Accepting { close, task, .. } in sockets {
        match farewell {
            // One that has ended already needs to hear nothing.
            Some(farewell) => drop(close.send(farewell)),
            None => drop(close),
        }
        // An error would be a panic in the task: then it has ended too.
        let _ = task.await;
    }
}

/// Ends when the handle is dropped.
async fn run(shared: Arc<Shared>, connections: OpenConnections, mut commands: mpsc::UnboundedReceiver<Command>) {
    let (drain, shutdown) = watch::channel(false);
    let proxy = Arc::new(http_proxy(shared.clone()));
    let worker = Arc::new(Worker { shared, proxy, shutdown, draining: AtomicBool::new(false), connections });
    let sweepers = [tokio::spawn(deadline::sweep()), tokio::spawn(lean::pool::sweep())];
    let mut accepting: Vec<Accepting> = Vec::new();
    // Whoever waits for an answer to a command may have gone.
    while let Some(command) = commands.recv().await {
        match command {
            Command::Listen(state, socket) => match tokio::net::TcpListener::from_std(socket) {
                Ok(socket) => {
                    let (close, closed) = oneshot::channel();
                    let task = tokio::spawn(listener::accept(socket, state.clone(), worker.clone(), closed));
                    accepting.push(Accepting { holder: Holder::Connections(state), close, task });
                }
                Err(error) => tracing::error!(listener = %state.name, %error, "cannot listen"),
            },
            Command::CarryDatagrams(listener, socket) => match DatagramSocket::new(socket) {
                Ok(socket) => {
                    let (close, closed) = oneshot::channel();
                    let task = tokio::spawn(datagrams::carry(socket, listener.clone(), worker.clone(), closed));
                    accepting.push(Accepting { holder: Holder::Datagrams(listener), close, task });
                }
                Err(error) => tracing::error!(listener = %listener.name, %error, "cannot listen"),
            },
            Command::CloseDatagrams(listener, done) => {
                let held = |socket: &mut Accepting| socket.holder.is_datagrams(&listener);
                end(accepting.extract_if(.., held), Some(Farewell::EndAll)).await;
                let _ = done.send(());
            }
            Command::Close(state, done) => {
                end(accepting.extract_if(.., |socket| socket.holder.is_state(&state)), None).await;
                let _ = done.send(());
            }
            Command::Drain(done) => {
                end(accepting.drain(..), None).await;
                // The receivers are the worker's own; they live as long as it does.
                let _ = drain.send(true);
                worker.draining.store(true, Ordering::Relaxed);
                deadline::hurry_idle(http1::LINGER);
                let _ = done.send(());
                // Answers that begin from now on say that the connection ends.
                worker.proxy().http_cleanup().await;
            }
            Command::FlushLog(done) => {
                access_log::flush();
                let _ = done.send(());
            }
        }
    }
    sweepers.iter().for_each(JoinHandle::abort);
}

/// Of each worker, for files and passwords: more would not make a disk faster, and a disk that hangs must not cost a thread for each
/// request.
const BLOCKING_THREADS: usize = 32;

/// Idle upstream connections of one worker in all: more than it has descriptors for. `full::pooled` bounds them by endpoint.
const POOL_SIZE: usize = 16_384;

fn http_proxy(shared: Arc<Shared>) -> HttpProxy<FullLane> {
    let conf = ServerConf {
        threads: 1,
        upstream_keepalive_pool_size: POOL_SIZE,
        // The lane itself decides whether there is another attempt.
        max_retries: usize::from(u8::MAX),
        ..ServerConf::default()
    };
    pingora_proxy::http_proxy(&Arc::new(conf), FullLane::new(shared))
}
