//! Datagrams that are carried to an upstream, and its answers back.
//!
//! ```text
//! socket ──► the client's address ─┬─ known ──► its session's own socket ──► endpoint
//!                                  └─ new ────► an endpoint is chosen, a socket opened, a task waits for answers ──► socket ──► client
//! ```
//!
//! A listener has one socket per worker; the kernel sends what one client sends always to the same of them, so that sessions
//! belong to a thread. Nothing is queued: a datagram that cannot go on at once is dropped, as the network would.

mod ports;
mod session;
mod socket;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot, watch};

pub use ports::Ports;
pub use socket::DatagramSocket;

use super::worker::{self, Farewell, Worker};
use crate::model::ListenerName;
use crate::snapshot::tunnel::Datagrams;
use crate::telemetry::metrics::{ListenerMetrics, OpenConnection, Rejection};
use session::Session;

/// The largest there is, and a byte beyond: nothing is cut short.
const LARGEST: usize = 64 << 10;

/// One listener, over all workers and reloads.
pub struct DatagramListener {
    pub name: ListenerName,
    pub carries: ArcSwap<Datagrams>,
    pub metrics: Arc<ListenerMetrics>,
    open: AtomicUsize,
}

impl DatagramListener {
    pub fn new(carries: Arc<Datagrams>, metrics: Arc<ListenerMetrics>) -> Self {
        let name = carries.definition.name.clone();
        Self { name, carries: ArcSwap::new(carries), metrics, open: AtomicUsize::new(0) }
    }
}

/// A session's place among the open ones; given back when it is dropped.
struct Place {
    listener: Arc<DatagramListener>,
    _counted: OpenConnection,
    _open: worker::OpenConnection,
}

impl Place {
    fn take(listener: &Arc<DatagramListener>, worker: &Worker, max: usize) -> Option<Self> {
        // Counted first: two workers cannot both take the last place.
        if listener.open.fetch_add(1, Relaxed) >= max {
            listener.open.fetch_sub(1, Relaxed);
            return None;
        }
        let (counted, open) = (listener.metrics.accepted(), worker.connections().begin());
        Some(Place { listener: listener.clone(), _counted: counted, _open: open })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.listener.open.fetch_sub(1, Relaxed);
    }
}

/// Carries until it is told to close. Sessions then come to their own end, or are ended with the port.
pub async fn carry(
    socket: DatagramSocket,
    listener: Arc<DatagramListener>,
    worker: Arc<Worker>,
    mut close: oneshot::Receiver<Farewell>,
) {
    let (tell_ended, mut ended) = mpsc::unbounded_channel();
    let (end_all, ending) = watch::channel(false);
    let mut here = Here { socket: Arc::new(socket), listener, worker, tell_ended, ending, sessions: HashMap::new() };
    let mut buffer = vec![0; LARGEST];
    let farewell = loop {
        let received = tokio::select! {
            biased;
            farewell = &mut close => break farewell,
            Some(session) = ended.recv() => {
                here.forget(&session);
                continue;
            }
            received = here.socket.receive(&mut buffer) => received,
        };
        match received {
            Ok((length, client)) => here.forward(client, &buffer[..length]),
            // An answer of a session that could not be delivered, mostly: it says nothing of the port.
            Err(error) => tracing::debug!(listener = %here.listener.name, %error, "no datagram"),
        }
    };
    if farewell == Ok(Farewell::EndAll) {
        // Their sockets are the port's: while one is open it takes its share of what comes there.
        let _ = end_all.send(true);
    }
    // Whoever goes on does so without this task; nobody listens to the ends any more.
    drop(here);
}

/// Who sends, and to what address of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    pub address: SocketAddr,
    pub to: socket::Local,
}

struct Here {
    socket: Arc<DatagramSocket>,
    listener: Arc<DatagramListener>,
    worker: Arc<Worker>,
    tell_ended: mpsc::UnboundedSender<Arc<Session>>,
    ending: watch::Receiver<bool>,
    sessions: HashMap<Client, Arc<Session>>,
}

impl Here {
    fn forward(&mut self, client: Client, datagram: &[u8]) {
        if let Some(session) = self.sessions.get(&client)
            && session.stays(&self.listener.carries.load())
        {
            session.send(datagram);
            return;
        }
        let former = self.sessions.remove(&client);
        let carries = self.listener.carries.load_full();
        // Its place is free in a moment.
        let max = carries.definition.max_sessions.saturating_add(usize::from(former.is_some()));
        former.iter().for_each(|session| session.give_up());
        let Some(place) = Place::take(&self.listener, &self.worker, max) else {
            self.listener.metrics.rejected(Rejection::TooMany);
            return;
        };
        if let Some((session, answers)) = session::open(carries, client, &self.worker) {
            session.send(datagram);
            self.sessions.insert(client, session.clone());
            let (socket, worker) = (self.socket.clone(), self.worker.clone());
            let (tell_ended, ending) = (self.tell_ended.clone(), self.ending.clone());
            tokio::spawn(async move {
                answers.carry_back(&socket, ending, &worker).await;
                drop(place);
                // Nobody listens where the port is closed.
                let _ = tell_ended.send(session);
            });
        }
    }

    /// The client may have another one by now.
    fn forget(&mut self, session: &Arc<Session>) {
        if self.sessions.get(&session.client()).is_some_and(|current| Arc::ptr_eq(current, session)) {
            self.sessions.remove(&session.client());
        }
    }
}
