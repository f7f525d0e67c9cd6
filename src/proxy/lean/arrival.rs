//! What is known of a request in the lean lane once a route has taken it.

use std::net::SocketAddr;
use std::time::Instant;

use super::head::Head;
use crate::model::{ForwardedField, Logging};
use crate::proxy::Shared;
use crate::proxy::client_address::{Client, Through};
use crate::proxy::connection::Connection;
use crate::proxy::request_id::RequestId;
use crate::sharded::Owned;
use crate::snapshot::chain::Facts;
use crate::snapshot::path::Resource;
use crate::snapshot::request::RequestView;
use crate::snapshot::table::{Forward, Route};
use crate::telemetry::record::{Lane, Protocol, RequestRecord, RequestText};
use crate::tls::TlsFacts;

/// What is known of a request that a route has taken.
pub struct Arrival<'a> {
    pub connection: &'a Connection,
    pub protocol: Protocol,
    pub client: Client,
    pub head: &'a Head<'a>,
    pub view: &'a RequestView<'a>,
    pub target: &'a Resource<'a>,
    pub route: Owned<Route>,
    /// Which way of a split.
    pub arm: usize,
    pub request_id: RequestId,
    pub forwarded: ForwardedField,
    pub started: Instant,
}

impl<'a> Arrival<'a> {
    pub fn record(&self) -> RequestRecord {
        let client = SocketAddr::new(self.client.address, self.client_port());
        RequestRecord { lane: Lane::Lean, ..RequestRecord::new(self.started, client, self.protocol, self.tls()) }
    }

    /// The arm that the request goes; none where Weir itself would answer.
    pub fn forward(&self) -> Option<&Forward> {
        self.route.forward(self.arm)
    }

    /// What variables stand for. `record`: how far the request has come.
    pub fn facts<'f>(&'f self, record: &RequestRecord, upstream: &'f str) -> Facts<'f> {
        Facts {
            request: self.view,
            request_id: self.request_id.as_str(),
            target: self.head.target,
            client_port: self.client_port(),
            route: self.route.name.as_str(),
            upstream,
            endpoint: record.endpoint,
            tls: self.tls(),
            user: None,
        }
    }

    /// It is over, and the record is finished: counted, and written to the log.
    pub fn finish(&self, record: &RequestRecord, upstream: Option<&str>, shared: &Shared) {
        self.route.metrics(self.arm).end(self.head.method, record);
        if self.route.chain.logging == Logging::Off {
            return;
        }
        let Some(log) = &*shared.access_log.load() else { return };
        let text = RequestText {
            request_id: self.request_id.as_str(),
            user: None,
            listener: self.connection.listener.name.as_str(),
            method: self.head.method,
            target: self.head.target.as_bytes(),
            host: self.view.host,
            route: Some(self.route.name.as_str()),
            upstream,
            sni: self.connection.tls.as_ref().and_then(|tls| tls.server_name.as_deref()),
            user_agent: self.head.find("user-agent"),
            referer: self.head.find("referer"),
        };
        log.write(record, &text);
    }

    fn client_port(&self) -> u16 {
        if self.client.through == Through::Nobody { self.connection.peer.port() } else { 0 }
    }

    fn tls(&self) -> Option<TlsFacts> {
        self.connection.tls.as_ref().map(|tls| tls.agreement.facts)
    }
}
