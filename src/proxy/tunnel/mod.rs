//! A connection that is carried to an upstream: its bytes go there as they come, and come back so.
//!
//! ```text
//! Arrival ──► connect (endpoints in turn, while nothing was sent) ──► PROXY header, what was read ──► relay, both ways
//!                                                                                                      └──► log, metrics
//! ```
//!
//! Nothing of what passes is looked at. A side that has said all is told to the other, which may go on; one that breaks off breaks
//! the other off.

mod connect;
mod relay;

use std::sync::Arc;
use std::time::Instant;

use super::establish::LookedAt;
use super::proxy_protocol::{self, Proxied};
use super::socket::Socket;
use super::worker::Worker;
use crate::snapshot::tunnel::Tunnel;
use crate::telemetry::session::{SessionEnd, SessionProtocol, SessionRecord};
pub use connect::key;

use connect::connect;
use relay::{Relay, Side};

/// A connection and where it goes.
pub struct Arrival {
    pub stream: Socket,
    pub tunnel: Arc<Tunnel>,
    /// Who connected, and to what.
    pub between: Proxied,
    /// What was read of TLS that ends elsewhere.
    pub hello: Option<LookedAt>,
}

pub async fn serve(arrival: Box<Arrival>, worker: &Worker) {
    let Arrival { mut stream, tunnel, between, hello } = *arrival;
    let to = &tunnel.to;
    let mut record = SessionRecord {
        started: Instant::now(),
        client: proxy_protocol::canonical(between.source),
        protocol: if hello.is_some() { SessionProtocol::Tls } else { SessionProtocol::Tcp },
        listener: tunnel.listener.as_str(),
        upstream: to.name(),
        sni: hello.as_ref().and_then(|hello| hello.server_name.as_deref()),
        endpoint: None,
        connect: None,
        retries: 0,
        bytes_in: 0,
        bytes_out: 0,
        ended: SessionEnd::Completed,
        duration: Default::default(),
    };
    to.sessions.begin();
    record.ended = match connect(&tunnel, &mut record).await {
        Err(end) => end,
        Ok((mut upstream, lease)) => {
            let read = hello.as_ref().map_or(&[][..], |hello| &hello.bytes);
            let header = tunnel.definition.send_proxy_protocol.map(|version| proxy_protocol::header(version, between));
            let first = [header.as_deref().unwrap_or_default(), read].concat();
            to.sessions.carried(read.len() as u64, 0);
            let relay = Relay::new(tunnel.definition.idle_timeout, &to.sessions, first, read.len() as u64);
            let carried = relay.run(&mut stream, &mut upstream).await;
            (record.bytes_in, record.bytes_out) = (carried.bytes_in, carried.bytes_out);
            match carried.broken {
                Some(Side::Client) => upstream.break_off(),
                Some(Side::Upstream) => stream.break_off(),
                None => {}
            }
            drop(lease);
            carried.ended
        }
    };
    record.duration = record.started.elapsed();
    to.sessions.end(&record);
    worker.log_session(&record);
}
