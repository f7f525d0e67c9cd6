//! The lean lane: plain HTTP/1.1 requests that are answered from the bytes of their head, without a session of Pingora's.
//!
//! ```text
//! head ──parsed in place──► RequestView ──► route ──if its needs allow it──► what the cache has at hand ──► one send
//!   └──────────────── anything else: the full lane, which gets the head as it came
//! ```
//!
//! So far it serves what is kept of answers. Both lanes answer alike: whoever can tell them apart has found a defect.

mod head;

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::{Buf, Bytes};
use futures::FutureExt;
use http::header::DATE;
use pingora::http::ResponseHeader;
use pingora::protocols::http::date::get_cached_date;
use pingora_cache::key::hash_key;
use tokio::io::AsyncWriteExt;

use super::client_address::{self, Client, Through};
use super::connection::Connection;
use super::request_id::RequestId;
use super::stream::ClientStream;
use super::{Shared, filters, hit};
use crate::model::{Logging, RequestIds};
use crate::snapshot::chain::Facts;
use crate::snapshot::host::Authority;
use crate::snapshot::path::{Resource, Target};
use crate::snapshot::request::{HeaderFields, RequestView};
use crate::snapshot::table::{Action, Lookup, Route};
use crate::telemetry::record::{CacheOutcome, Ended, Protocol, RequestRecord, RequestText};
use crate::tls::HTTP_CHALLENGE_PATH;
use head::{Head, room};

/// An answer that is ready to be sent.
pub struct Hit {
    route: Arc<Route>,
    head: Vec<u8>,
    body: Bytes,
    record: RequestRecord,
    request_id: RequestId,
}

/// None: the request is the full lane's. Nothing has been counted then.
pub fn find(bytes: &[u8], connection: &Connection, shared: &Shared) -> Option<Hit> {
    let snapshot = connection.listener.snapshot(shared);
    // What slowed the request before down is forgotten by the full lane.
    if !snapshot.lean || connection.paces.any() {
        return None;
    }
    let started = Instant::now();
    let mut room = room();
    let head = Head::parse(bytes, &mut room)?;
    if head.target.starts_with(HTTP_CHALLENGE_PATH) {
        return None;
    }
    let Authority { host, port } = Authority::parse(head.host()).ok()?;
    let Ok(Target::Resource(target)) = Target::parse(head.target.as_bytes()) else { return None };
    let trusted = &snapshot.model.process.trusted_proxies;
    let client = client_address::resolve(connection.peer.ip(), connection.scheme(), &head, trusted);
    let view = RequestView {
        method: "GET",
        path: &target.path,
        query: target.query,
        host: &host,
        port,
        headers: &head,
        client: client.address,
        scheme: client.scheme,
    };
    let Lookup::Route(route) = connection.listener.table(&snapshot)?.find(&view) else { return None };
    let agreement = connection.tls.as_ref().map(|tls| &tls.agreement);
    if !route.needs.lean
        || route.terms.judge(agreement).is_err()
        || filters::run(&route.chain.checks, &view, &target.raw).is_some()
    {
        return None;
    }
    let ids = snapshot.model.process.request_ids;
    answer(&Arrival { connection, client, ids, view: &view, target: &target, started }, route, &head)
}

/// What is known of a request that a route has taken.
struct Arrival<'a> {
    connection: &'a Connection,
    client: Client,
    ids: RequestIds,
    view: &'a RequestView<'a>,
    target: &'a Resource<'a>,
    started: Instant,
}

fn answer(arrival: &Arrival<'_>, route: &Arc<Route>, request: &Head<'_>) -> Option<Hit> {
    let Arrival { connection, client, ids, view, target, started } = arrival;
    let (policy, Action::Forward(forward)) = (route.chain.cache.as_ref()?, &route.action) else { return None };
    if policy.bypasses(view) {
        return None;
    }
    let (key, now) = (policy.key(forward.upstream.definition().name.as_str(), view, &target.raw), SystemTime::now());
    let object = hit::find(policy, hash_key(&key), request, now)?;
    let port = if client.through == Through::Nobody { connection.peer.port() } else { 0 };
    let tls = connection.tls.as_ref().map(|tls| tls.agreement.facts);
    let mut record = RequestRecord::new(*started, (client.address, port).into(), Protocol::Http11, tls);
    record.cache = Some(CacheOutcome::Hit);
    let request_id = RequestId::of(*ids, client.through, request.first("x-request-id"));
    let mut head = hit::head(&object, policy, now).ok()?;
    let facts = Facts {
        request: view,
        request_id: request_id.as_str(),
        target: request.target,
        client_port: port,
        route: route.name.as_str(),
        upstream: "",
        endpoint: None,
        tls,
        user: None,
    };
    filters::edit(&route.chain, &mut head, &facts, Some(now));
    record.status = head.status.as_u16();
    head.insert_header(DATE, get_cached_date()).ok()?;
    route.metrics(0).begin();
    Some(Hit { route: route.clone(), head: written(&head), body: object.body.clone(), record, request_id })
}

/// What most heads fit in.
const HEAD_SIZE: usize = 512;

/// As Pingora writes it.
fn written(head: &ResponseHeader) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_SIZE);
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(head.status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.get_reason_phrase().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    head.header_to_h1_wire(&mut out);
    out.extend_from_slice(b"Connection: keep-alive\r\n\r\n");
    out
}

/// A timer is set where it does not succeed at once, and nowhere else: it costs as much as the rest.
async fn within<T>(patience: Duration, step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let mut step = pin!(step);
    if let Some(done) = step.as_mut().now_or_never() {
        return done;
    }
    tokio::time::timeout(patience, step).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

impl Hit {
    /// Each piece may take as long as `patience` to be taken.
    pub async fn send(&mut self, stream: &mut ClientStream, patience: Duration) -> io::Result<()> {
        self.record.bytes_out = self.body.len() as u64;
        within(patience, stream.write_all(&self.head)).await?;
        while !self.body.is_empty() {
            let taken = within(patience, stream.write(&self.body)).await?;
            self.body.advance(taken);
        }
        within(patience, stream.flush()).await
    }

    /// Counted, and written to the log. `bytes`: the request's head.
    pub fn finish(mut self, sent: &io::Result<()>, bytes: &[u8], connection: &Connection, shared: &Shared) {
        if let Err(error) = sent {
            let is_late = error.kind() == io::ErrorKind::TimedOut;
            self.record.ended = if is_late { Ended::ClientTimeout } else { Ended::ClientClosed };
            self.record.bytes_out -= self.body.len() as u64;
        }
        self.record.finish(Instant::now());
        self.route.metrics(0).end("GET", &self.record);
        if self.route.chain.logging == Logging::Off {
            return;
        }
        let Some(log) = &*shared.access_log.load() else { return };
        let mut room = room();
        let Some(head) = Head::parse(bytes, &mut room) else { return };
        let host = Authority::parse(head.host()).map(|authority| authority.host).unwrap_or_default();
        let text = RequestText {
            request_id: self.request_id.as_str(),
            user: None,
            listener: connection.listener.name.as_str(),
            method: "GET",
            target: head.target.as_bytes(),
            host: &host,
            route: Some(self.route.name.as_str()),
            upstream: None,
            sni: connection.tls.as_ref().and_then(|tls| tls.server_name.as_deref()),
            user_agent: head.find("user-agent"),
            referer: head.find("referer"),
        };
        log.write(&self.record, &text);
    }
}
