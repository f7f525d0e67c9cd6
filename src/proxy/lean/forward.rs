//! A request on its way to an upstream, attempt by attempt.
//!
//! ```text
//! endpoint ──► connection (pooled, or new) ──► conversation ──► the client has its answer ──► pooled again
//!    ▲                                            │ failed, and nothing went to the client
//!    └────────── may it be tried again? ◄─────────┘
//! ```

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use http::Method;

use super::arrival::Arrival;
use super::body::Framing;
use super::client::{Client, unless_gone};
use super::conversation::{self, Conversation};
use super::exchange::Broken;
use super::head::After;
use super::patience::in_time;
use super::pool::{self, Link, PoolKey};
use super::upload::{Bounds, Upload};
use crate::model::{ConnectionLimits, RetryOn};
use crate::proxy::affinity::Affinity;
use crate::proxy::attempts::{Attempts, Replay, Sent};
use crate::proxy::fields::without_port;
use crate::proxy::upstream_stream::{OpenFailed, UpstreamStream};
use crate::snapshot::table::Forward;
use crate::snapshot::upstream::{Endpoint, Outcome, PickError, PickRequest};
use crate::telemetry::record::{Ended, RequestRecord, UpstreamConnection};

/// Where a request is sent, and how.
pub struct Plan<'a> {
    pub arrival: &'a Arrival<'a>,
    pub forward: &'a Forward,
    /// Path and query, as the upstream gets them.
    pub target: Cow<'a, str>,
    pub affinity: Affinity,
    pub body: Framing,
    pub limits: &'a ConnectionLimits,
}

/// How far it has come.
pub struct Progress {
    pub record: RequestRecord,
    pub attempts: Attempts,
    /// None: there is no body.
    /// Boxed: most have none.
    pub upload: Option<Box<Upload>>,
    /// An answer before the answer has gone to the client: what another attempt says could contradict it.
    pub has_spoken: bool,
}

/// How it ended.
pub enum Ending {
    /// The client has its answer, or is gone.
    Over(After),
    /// The client is to be told, by this status.
    Failed(u16),
}

enum Step {
    Again,
    Ended(Ending),
}

impl<'a> Plan<'a> {
    pub fn new(
        arrival: &'a Arrival<'a>,
        forward: &'a Forward,
        target: Cow<'a, str>,
        body: Framing,
        limits: &'a ConnectionLimits,
    ) -> Self {
        let affinity = Affinity::of(&forward.upstream, arrival.view);
        Self { arrival, forward, target, affinity, body, limits }
    }

    pub fn begin(&self) -> Progress {
        let deadline = self.forward.timeouts.request.map(|limit| self.arrival.started + limit);
        let bounds = Bounds {
            max: self.arrival.route.chain.max_body,
            kept: self.forward.retry.max_body.0,
            // As in the full lane, where an upstream's silence cannot be told from that of the client it waits for.
            client_timeout: self.limits.body_timeout.min(self.forward.timeouts.read),
            write_timeout: self.forward.timeouts.write,
            read_timeout: self.forward.timeouts.read,
            deadline,
        };
        let upload = (self.body != Framing::None).then(|| Box::new(Upload::new(self.body, self.replay(), bounds)));
        Progress { record: self.arrival.record(), attempts: Attempts::until(deadline), upload, has_spoken: false }
    }

    pub fn upstream(&self) -> &str {
        self.forward.upstream.definition().name.as_str()
    }

    /// `now`: when it sets out. `after`: what becomes of the client's connection, asked when the answer begins.
    pub async fn run(
        &self,
        progress: &mut Progress,
        client: &mut impl Client,
        mut now: Instant,
        after: &(dyn Fn() -> After + Sync),
    ) -> Ending {
        if self.forward.retry.attempts.get() > 1 {
            self.forward.upstream.note_request(now);
        }
        loop {
            match self.attempt(progress, client, now, after).await {
                Step::Again => now = Instant::now(),
                Step::Ended(ending) => return ending,
            }
        }
    }

    async fn attempt(
        &self,
        progress: &mut Progress,
        client: &mut impl Client,
        now: Instant,
        after: &(dyn Fn() -> After + Sync),
    ) -> Step {
        match unless_gone(client, self.choose(progress, now)).await {
            Some(Ok(())) => {}
            Some(Err(status)) => return Step::Ended(Ending::Failed(status)),
            None => return self.broken(progress, &Broken::ClientGone),
        }
        let mut upstream = match unless_gone(client, self.connect(progress)).await {
            Some(Ok(upstream)) => upstream,
            Some(Err(reason)) => return self.not_connected(progress, reason),
            None => return self.broken(progress, &Broken::ClientGone),
        };
        let conversation = Conversation { plan: self, progress, client, upstream: &mut upstream };
        match conversation.hold(after).await {
            conversation::End::Over { client, upstream: After::KeepAlive } => {
                self.leave(progress, upstream);
                Step::Ended(Ending::Over(client))
            }
            conversation::End::Over { client, upstream: After::Close } => Step::Ended(Ending::Over(client)),
            conversation::End::Cut(broken) => {
                client.break_off(&broken);
                progress.record.ended = ended(&broken);
                Step::Ended(Ending::Over(After::Close))
            }
            conversation::End::Nothing(broken) => self.broken(progress, &broken),
            conversation::End::Elsewhere if rewind(progress) => Step::Again,
            conversation::End::Elsewhere => Step::Ended(Ending::Failed(502)),
        }
    }

    /// Takes a place at an endpoint, or says with which status there is none.
    async fn choose(&self, progress: &mut Progress, now: Instant) -> Result<(), u16> {
        let Progress { record, attempts, .. } = progress;
        if attempts.begun > 0 {
            attempts.lease = None;
            self.forward.metrics.retried();
            // What became of the attempt before is not what becomes of the request.
            (record.ended, record.first_byte, record.connection) = (Ended::Completed, None, None);
        }
        let upstream = &self.forward.upstream;
        let pick = PickRequest {
            now,
            key: self.affinity.key,
            sticky: self.affinity.sticky.as_deref(),
            exclude: &attempts.tried,
        };
        let lease = match upstream.acquire(&pick, attempts.deadline).await {
            Ok(lease) => lease,
            Err(unavailable) => {
                in_bounds(attempts, Instant::now(), record)?;
                record.ended = match unavailable {
                    PickError::NoEndpoints | PickError::AllUnhealthy => Ended::NoEndpoint,
                    PickError::Saturated(_) => Ended::QueueOverflow,
                };
                return Err(503);
            }
        };
        // Waiting for a place is not the endpoint's latency.
        let may_have_waited = upstream.definition().limits.max_connections.is_some();
        let begun = if may_have_waited { Instant::now() } else { now };
        in_bounds(attempts, begun, record)?;
        attempts.first.get_or_insert(begun);
        attempts.current = Some(begun);
        attempts.sent = Some(begun);
        attempts.begun += 1;
        record.endpoint = Some(lease.endpoint().address);
        record.retries = attempts.begun - 1;
        attempts.lease = Some(lease);
        Ok(())
    }

    /// A connection to the endpoint that was chosen.
    async fn connect(&self, progress: &mut Progress) -> Result<Link, NoLink> {
        let Progress { record, attempts, upload, .. } = progress;
        let (Some(lease), Some(begun)) = (&attempts.lease, attempts.current) else { return Err(NoLink::Refused) };
        let keepalive = &self.forward.upstream.definition().keepalive;
        let max = keepalive.max_requests.map_or(u32::MAX, NonZeroU32::get);
        let replay = self.may_replay(upload.as_deref());
        // One of them was closed while it was idle: the others may be, too.
        let takes = keepalive.connections > 0 && attempts.stale == 0;
        let pooled = takes.then(|| pool::take(self.pool_key(lease.endpoint()), max, replay)).flatten();
        let (link, connection) = match pooled {
            Some(link) => (link, UpstreamConnection::Reused),
            None => {
                let left =
                    attempts.deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(begun));
                let limit = self.forward.timeouts.connect.min(left);
                let opened = in_time(limit, Box::pin(self.open(lease.endpoint()))).await.ok_or(NoLink::Late)?;
                let stream = opened.map_err(|failed| {
                    tracing::debug!(endpoint = %lease.endpoint().address, error = %failed, "no connection");
                    match failed {
                        OpenFailed::Connect(_) => NoLink::Refused,
                        OpenFailed::Tls(_) => NoLink::TlsFailed,
                    }
                })?;
                let now = Instant::now();
                // Nothing was sent before there was a connection.
                attempts.sent = Some(now);
                (Link::new(stream), UpstreamConnection::New { took: now - begun })
            }
        };
        self.forward.metrics.connected(connection);
        record.connection = Some(connection);
        Ok(link)
    }

    async fn open(&self, endpoint: &Endpoint) -> Result<UpstreamStream, OpenFailed> {
        let upstream = &self.forward.upstream;
        let tls = upstream.tls().map(|config| (config, self.tls_name(endpoint)));
        UpstreamStream::open(endpoint.address, tls).await
    }

    /// The upstream's own, or the endpoint's; where there is none, the host that is asked for.
    fn tls_name<'b>(&'b self, endpoint: &'b Endpoint) -> &'b str {
        self.forward.upstream.server_name(endpoint).unwrap_or_else(|| {
            let own = self.forward.host.as_ref().and_then(|host| host.to_str().ok());
            own.map_or(self.arrival.view.host, without_port)
        })
    }

    fn pool_key<'b>(&'b self, endpoint: &'b Endpoint) -> PoolKey<'b> {
        let name = self.forward.upstream.tls().map(|_| self.tls_name(endpoint));
        PoolKey { endpoint: endpoint.pool(), name }
    }

    fn not_connected(&self, progress: &mut Progress, reason: NoLink) -> Step {
        let attempts = &progress.attempts;
        let (ended, status) = match reason {
            NoLink::Late if attempts.is_over_time(Instant::now()) => {
                attempts.report_over_time(self.forward.timeouts.request);
                (Ended::RequestTimeout, 504)
            }
            NoLink::Late => {
                attempts.report(Outcome::TimedOut);
                (Ended::UpstreamConnectTimeout, 504)
            }
            NoLink::Refused => {
                attempts.report(Outcome::ConnectFailed);
                (Ended::UpstreamConnectFailed, 502)
            }
            NoLink::TlsFailed => {
                attempts.report_no_tls(&self.forward.upstream);
                (Ended::UpstreamTlsFailed, 502)
            }
        };
        progress.record.ended = ended;
        self.again(progress, RetryOn::Connect, Sent::Nothing).unwrap_or(Step::Ended(Ending::Failed(status)))
    }

    /// Nothing has gone to the client.
    fn broken(&self, progress: &mut Progress, broken: &Broken) -> Step {
        let failed = |status| Step::Ended(Ending::Failed(status));
        let (condition, outcome, status) = match broken {
            Broken::ClientGone | Broken::ClientLate | Broken::BodyTooLarge | Broken::BodyMalformed => {
                progress.record.ended = ended(broken);
                return match broken {
                    Broken::ClientLate => failed(408),
                    Broken::BodyTooLarge => failed(413),
                    Broken::BodyMalformed => failed(400),
                    _ => Step::Ended(Ending::Over(After::Close)),
                };
            }
            Broken::Reset | Broken::Protocol => (RetryOn::Reset, Outcome::Reset, 502),
            Broken::UpstreamLate | Broken::OverTime => (RetryOn::Timeout, Outcome::TimedOut, 504),
        };
        // A pooled connection that the upstream closed while it was idle says nothing of the upstream's health.
        let is_stale = progress.record.connection == Some(UpstreamConnection::Reused)
            && *broken == Broken::Reset
            && progress.record.first_byte.is_none()
            && progress.attempts.may_be_stale();
        if is_stale
            && !progress.has_spoken
            && self.may_replay(progress.upload.as_deref()) == Replay::Possible
            && progress.attempts.was_stale()
            && rewind(progress)
        {
            return Step::Again;
        }
        if let Some(upload) = &progress.upload {
            progress.attempts.sent = upload.sent_at();
        }
        match broken {
            Broken::OverTime => progress.attempts.report_over_time(self.forward.timeouts.request),
            _ => progress.attempts.report(outcome),
        }
        self.again(progress, condition, Sent::Something).unwrap_or_else(|| {
            progress.record.ended = ended(broken);
            failed(status)
        })
    }

    /// None where there may be no other attempt.
    fn again(&self, progress: &mut Progress, condition: RetryOn, sent: Sent) -> Option<Step> {
        let replay = self.may_replay(progress.upload.as_deref());
        let allowed = !progress.has_spoken
            && progress.attempts.may_try_again(self.forward, condition, sent, replay)
            && rewind(progress);
        allowed.then_some(Step::Again)
    }

    pub fn may_replay(&self, upload: Option<&Upload>) -> Replay {
        upload.map_or(self.replay(), Upload::replay)
    }

    /// Whether the method allows it (RFC 9110 §9.2.2).
    fn replay(&self) -> Replay {
        let method = Method::from_bytes(self.arrival.head.method.as_bytes());
        if method.is_ok_and(|method| method.is_idempotent()) { Replay::Possible } else { Replay::Impossible }
    }

    fn leave(&self, progress: &mut Progress, upstream: Link) {
        if let Some(lease) = progress.attempts.lease.take() {
            let keepalive = &self.forward.upstream.definition().keepalive;
            pool::put(self.pool_key(lease.endpoint()), upstream, keepalive);
        }
    }
}

/// Why there is no connection.
enum NoLink {
    Late,
    Refused,
    TlsFailed,
}

impl Progress {
    /// What is known at the end.
    pub fn close(&mut self, now: Instant) {
        self.attempts.lease = None;
        self.record.upstream_time = self.attempts.first.map(|first| now - first);
        if let Some(upload) = &self.upload {
            self.record.bytes_in = upload.received();
        }
    }
}

fn rewind(progress: &mut Progress) -> bool {
    progress.upload.as_mut().is_none_or(|upload| upload.rewind() == Replay::Possible)
}

fn in_bounds(attempts: &Attempts, now: Instant, record: &mut RequestRecord) -> Result<(), u16> {
    if attempts.is_over_time(now) {
        record.ended = Ended::RequestTimeout;
        return Err(504);
    }
    Ok(())
}

fn ended(broken: &Broken) -> Ended {
    match broken {
        Broken::ClientGone => Ended::ClientClosed,
        Broken::ClientLate => Ended::ClientTimeout,
        Broken::BodyTooLarge => Ended::Refused("max-body-size"),
        Broken::BodyMalformed => Ended::Refused("request"),
        Broken::Reset => Ended::UpstreamReset,
        Broken::UpstreamLate => Ended::UpstreamTimeout,
        Broken::OverTime => Ended::RequestTimeout,
        Broken::Protocol => Ended::UpstreamProtocol,
    }
}
