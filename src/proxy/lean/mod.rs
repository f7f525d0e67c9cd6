//! The lean lane: plain requests to HTTP/1.1 upstreams, served from the bytes of their heads over connections of the thread's own.
//!
//! ```text
//! bytes ──► Head ──► RequestView ──► route ──if it needs no more──► admission ──► what is kept, or
//!   │                                                                          └► Plan ──attempts──► Conversation ──► client
//!   └──────────── anything else, before anything is counted or sent: the full lane, which gets the head as it came
//! ```
//!
//! What few requests need (a new connection, a wait, an answer of Weir's own) is boxed: all would pay for its size.
//!
//! Routing, checks, limits, edits, balancing, metrics and logs are the same objects as in the full lane. Both lanes answer alike: whoever
//! can tell them apart has found a defect.

mod arrival;
mod body;
mod buffer;
mod client;
mod conversation;
mod exchange;
mod fields;
mod forward;
mod head;
mod kept;
mod own;
mod patience;
pub mod pool;
mod reply;
mod upload;

use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures::future::BoxFuture;

use super::answer::{Answer, failure_detail};
use super::client_address;
use super::connection::Connection;
use super::filters::{self, Admission};
use super::head::{Body, Request};
use super::refusal::{Refused, judged};
use super::request_id::RequestId;
use super::worker::Worker;
use crate::model::ConnectionLimits;
use crate::snapshot::host::Authority;
use crate::snapshot::path::Target;
use crate::snapshot::request::RequestView;
use crate::snapshot::rewrite;
use crate::snapshot::table::{Lookup, Route};
use crate::telemetry::record::{Ended, Protocol, RequestRecord};
use crate::tls::HTTP_CHALLENGE_PATH;
use arrival::Arrival;
use body::Framing;
pub use client::Stream;
use client::{Client, unless_gone};
use forward::{Ending, Plan};
pub use head::After;
use head::Head;

/// What carries a request here.
pub struct Carrier<'a> {
    pub limits: &'a ConnectionLimits,
    pub worker: &'a Worker,
    /// Whether the connection may serve another request afterwards, as far as the listener has to say.
    pub after: After,
}

/// Serves a request; returns what becomes of the connection. Or the head as it came: it is the full lane's, and nothing has been
/// counted, read or sent.
///
/// Boxed here: a connection that is idle should not have the size of one that is busy.
pub fn serve<'a, C: Client>(
    client: &'a mut C,
    request: Request,
    carrier: Carrier<'a>,
) -> BoxFuture<'a, Result<After, BytesMut>> {
    Box::pin(async move {
        let after = serve_here(client, &request, &carrier).await;
        after.ok_or(request.bytes)
    })
}

async fn serve_here<C: Client>(client: &mut C, request: &Request, carrier: &Carrier<'_>) -> Option<After> {
    let connection = &*client.connection().clone();
    let shared = carrier.worker.shared();
    let started = Instant::now();
    let (head, body) = (Head::of(&request.bytes, &request.head)?, request.head.body);
    if head.target.starts_with(HTTP_CHALLENGE_PATH) {
        return None;
    }
    let Authority { host, port } = Authority::parse(head.host()).ok()?;
    let Ok(Target::Resource(target)) = Target::parse(head.target.as_bytes()) else { return None };
    // The snapshot is let go of before anything is waited for.
    let (sender, view, route, ids, forwarded) = {
        let snapshot = connection.listener.snapshot(shared);
        let process = &snapshot.model.process;
        if !snapshot.lean {
            return None;
        }
        let peer = connection.peer.ip();
        let sender = client_address::resolve(peer, connection.scheme(), &head, &process.trusted_proxies);
        let view = RequestView {
            method: head.method,
            path: &target.path,
            query: target.query,
            host: &host,
            port,
            headers: &head,
            client: sender.address,
            scheme: sender.scheme,
        };
        // Several hosts come on one connection of HTTP/2, some of which have certificates of their own.
        if C::PROTOCOL == Protocol::Http2 && connection.misdirects(&host, &shared.tls) {
            return None;
        }
        let Lookup::Route(route) = connection.listener.table(&snapshot)?.find(&view) else { return None };
        if !is_here(route, connection, body, carrier.limits) {
            return None;
        }
        (sender, view, route.own(), process.request_ids, process.forwarded)
    };
    let arrival = Arrival {
        connection,
        protocol: C::PROTOCOL,
        client: sender,
        head: &head,
        view: &view,
        target: &target,
        arm: route.arm(&view),
        route,
        request_id: RequestId::of(ids, sender.through, head.find("x-request-id")),
        forwarded,
        started,
    };
    let after = if head.after == After::Close { After::Close } else { carrier.after };
    if let Some(policy) = &arrival.route.chain.cache {
        if body != Body::None || filters::run(&arrival.route.chain.checks, &view, &target.raw).is_some() {
            return None;
        }
        let kept = kept::find(&arrival, policy)?;
        return Box::pin(kept.answer(&arrival, after, client, carrier.limits.body_timeout, shared)).await;
    }
    Some(pass(client, body, carrier, &arrival, after).await)
}

/// Whether the lane does all that the request needs.
fn is_here(route: &Route, connection: &Connection, body: Body, limits: &ConnectionLimits) -> bool {
    let agreement = connection.tls.as_ref().map(|tls| &tls.agreement);
    let is_simple = match body {
        Body::None => true,
        Body::Length(length) => {
            limits.min_body_rate.is_none()
                && route.chain.body_buffer.is_none()
                && route.chain.max_body.is_none_or(|max| length <= max)
        }
        Body::Chunked => limits.min_body_rate.is_none() && route.chain.body_buffer.is_none(),
        Body::Upgrade => false,
    };
    // What slowed the request before down is forgotten by the full lane.
    route.needs.lean && is_simple && route.terms.judge(agreement).is_ok() && !connection.paces.any()
}

/// Admits it, and sends it on.
async fn pass<C: Client>(
    client: &mut C,
    body: Body,
    carrier: &Carrier<'_>,
    arrival: &Arrival<'_>,
    after: After,
) -> After {
    let (route, shared) = (&arrival.route, carrier.worker.shared());
    route.metrics(arrival.arm).begin();
    // What is sent on has a record of its own.
    let (mut record, refused) = match filters::admit(&route.chain, arrival.view, &arrival.target.raw, arrival.started) {
        Ok(admission) => match planned(arrival, C::framing(body), carrier.limits) {
            Ok(plan) => return send(client, plan, admission, carrier, after).await,
            Err(refused) => (arrival.record(), Err(refused)),
        },
        Err((filter, verdict)) => {
            let mut record = arrival.record();
            let refused = judged(filter, verdict, &mut record);
            (record, refused)
        }
    };
    let answer = refused.unwrap_or_else(|refused| page(refused, arrival, &mut record));
    let words = own::Words { arrival, upstream: None, patience: carrier.limits.body_timeout };
    let after = Box::pin(words.tell(client, answer, &mut record, after, body)).await;
    record.finish(Instant::now());
    arrival.finish(&record, None, shared);
    after
}

fn planned<'a>(arrival: &'a Arrival<'a>, body: Framing, limits: &'a ConnectionLimits) -> Result<Plan<'a>, Refused> {
    let Some(forward) = arrival.forward() else { return Err(Refused::new(500, failure_detail(500))) };
    let (view, raw) = (arrival.view, &*arrival.target.raw);
    let target = rewrite::upstream_target(forward.rewrite.as_ref(), forward.query, &arrival.route.path, view, raw)
        .map_err(|reason| Refused::new(reason.status(), reason.to_string()))?;
    Ok(Plan::new(arrival, forward, target, body, limits))
}

fn page(refused: Refused, arrival: &Arrival<'_>, record: &mut RequestRecord) -> Answer {
    refused.page(arrival.request_id.as_str(), arrival.head.find("accept"), record)
}

/// To an upstream, and its answer back.
async fn send(
    client: &mut impl Client,
    plan: Plan<'_>,
    admission: Admission,
    carrier: &Carrier<'_>,
    after: After,
) -> After {
    let (arrival, shared) = (plan.arrival, carrier.worker.shared());
    let mut progress = plan.begin();
    let delayed = if admission.delay.is_zero() { Delayed::Not } else { Box::pin(wait(client, admission.delay)).await };
    let ending = match delayed {
        Delayed::ClientGone => {
            progress.record.ended = Ended::ClientClosed;
            Ending::Over(After::Close)
        }
        delayed => {
            let now = if delayed == Delayed::Not { arrival.started } else { Instant::now() };
            let after = || if carrier.is_ending(arrival.connection) { After::Close } else { after };
            plan.run(&mut progress, client, now, &after).await
        }
    };
    let after = match ending {
        Ending::Over(after) => after,
        Ending::Failed(status) => {
            let (id, accept) = (arrival.request_id.as_str(), arrival.head.find("accept"));
            let answer = Answer::error(status, failure_detail(status), id, accept);
            let words = own::Words { arrival, upstream: Some(plan.upstream()), patience: carrier.limits.body_timeout };
            // As in the full lane, whose sessions end with a failure.
            Box::pin(words.tell(client, answer, &mut progress.record, After::Close, Body::None)).await
        }
    };
    // Given back before anything is counted: who reads a metric sees the place free.
    drop(admission);
    let now = Instant::now();
    progress.close(now);
    let record = &mut progress.record;
    record.finish(now);
    plan.forward.metrics.end(record);
    arrival.finish(record, Some(plan.upstream()), shared);
    after
}

#[derive(PartialEq, Eq)]
enum Delayed {
    Not,
    Over,
    ClientGone,
}

/// A request that came sooner than its rate allows waits here, for as long as its client does.
async fn wait(client: &mut impl Client, delay: Duration) -> Delayed {
    unless_gone(client, tokio::time::sleep(delay)).await.map_or(Delayed::ClientGone, |()| Delayed::Over)
}

impl Carrier<'_> {
    /// Nobody listens there any more: the answer is the connection's last.
    fn is_ending(&self, connection: &Connection) -> bool {
        self.worker.draining() || connection.listener.is_removed()
    }
}
