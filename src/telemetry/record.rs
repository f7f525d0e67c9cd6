//! One request as metrics and logs see it, whichever lane it travelled in.
//!
//! ```text
//! lane ──fills──► RequestRecord (plain values, in the request's context)
//!      ──lends──► RequestText   (borrowed, when the request has ended)
//! ```
//!
//! Nothing here allocates or counts references: texts stay with whoever holds them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::tls::TlsFacts;

/// Filled as the request goes on.
#[derive(Clone, Copy, Debug)]
pub struct RequestRecord {
    pub started: Instant,
    /// As decided by the PROXY protocol and the trusted proxies.
    pub client: SocketAddr,
    pub protocol: Protocol,
    pub lane: Lane,
    pub tls: Option<TlsFacts>,
    /// What the client was sent; 0 where it was sent nothing.
    pub status: u16,
    /// Body bytes, from the client.
    pub bytes_in: u64,
    /// Body bytes, to the client.
    pub bytes_out: u64,
    /// The last that was tried.
    pub endpoint: Option<SocketAddr>,
    /// To the last endpoint.
    pub connection: Option<UpstreamConnection>,
    /// From the request's start to the first byte of the upstream's answer.
    pub first_byte: Option<Duration>,
    /// From the first attempt to the end of the upstream's answer.
    pub upstream_time: Option<Duration>,
    /// Attempts after the first.
    pub retries: u32,
    /// What the route's cache made of it; none where none had to do with it.
    pub cache: Option<CacheOutcome>,
    pub ended: Ended,
    /// From when the request's head was whole to the last byte of the answer.
    pub duration: Duration,
}

impl RequestRecord {
    pub fn new(started: Instant, client: SocketAddr, protocol: Protocol, tls: Option<TlsFacts>) -> Self {
        Self {
            started,
            client,
            protocol,
            lane: Lane::Full,
            tls,
            status: 0,
            bytes_in: 0,
            bytes_out: 0,
            endpoint: None,
            connection: None,
            first_byte: None,
            upstream_time: None,
            retries: 0,
            cache: None,
            ended: Ended::Completed,
            duration: Duration::ZERO,
        }
    }

    /// The request is over; `ended` and the numbers are final.
    pub fn finish(&mut self, now: Instant) {
        self.duration = now.saturating_duration_since(self.started);
    }
}

/// What only a log line needs, borrowed when the request has ended.
#[derive(Clone, Copy, Debug)]
pub struct RequestText<'a> {
    pub request_id: &'a str,
    /// Whose password was right, or whose token.
    pub user: Option<&'a str>,
    pub listener: &'a str,
    pub method: &'a str,
    /// As the client sent it: path and query.
    pub target: &'a [u8],
    /// Without port; empty where the request named none.
    pub host: &'a str,
    pub route: Option<&'a str>,
    pub upstream: Option<&'a str>,
    pub sni: Option<&'a str>,
    pub user_agent: Option<&'a [u8]>,
    pub referer: Option<&'a [u8]>,
}

impl<'a> RequestText<'a> {
    /// Of a request that was refused before it was read.
    pub fn unread(listener: &'a str) -> Self {
        Self {
            request_id: "",
            user: None,
            listener,
            method: "",
            target: b"",
            host: "",
            route: None,
            upstream: None,
            sni: None,
            user_agent: None,
            referer: None,
        }
    }
}

/// Which way it went through Weir.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    Full,
    Lean,
}

impl Lane {
    pub fn as_str(self) -> &'static str {
        match self {
            Lane::Full => "full",
            Lane::Lean => "lean",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http10,
    Http11,
    Http2,
}

impl Protocol {
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Http10 => "HTTP/1.0",
            Protocol::Http11 => "HTTP/1.1",
            Protocol::Http2 => "HTTP/2.0",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamConnection {
    /// `took` counts TCP and TLS.
    New {
        took: Duration,
    },
    Reused,
}

impl UpstreamConnection {
    pub fn as_str(self) -> &'static str {
        match self {
            UpstreamConnection::New { .. } => "new",
            UpstreamConnection::Reused => "reused",
        }
    }
}

/// nginx's `$upstream_cache_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheOutcome {
    /// It was kept, and fresh.
    Hit,
    /// It was not kept.
    Miss,
    /// It was past its time; the upstream sent another.
    Expired,
    /// It was past its time; the upstream said that it is the same still.
    Revalidated,
    /// It was past its time, and shown for want of something better; or this request began to fetch it anew behind it.
    Stale,
    /// It was past its time, and shown while another request fetches it anew.
    Updating,
    /// It was not looked for.
    Bypass,
}

impl CacheOutcome {
    pub const ALL: [CacheOutcome; 7] = [
        CacheOutcome::Hit,
        CacheOutcome::Miss,
        CacheOutcome::Expired,
        CacheOutcome::Revalidated,
        CacheOutcome::Stale,
        CacheOutcome::Updating,
        CacheOutcome::Bypass,
    ];

    /// For logs and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            CacheOutcome::Hit => "hit",
            CacheOutcome::Miss => "miss",
            CacheOutcome::Expired => "expired",
            CacheOutcome::Revalidated => "revalidated",
            CacheOutcome::Stale => "stale",
            CacheOutcome::Updating => "updating",
            CacheOutcome::Bypass => "bypass",
        }
    }

    /// As nginx users know it from `X-Cache-Status`.
    pub fn as_upper_str(self) -> &'static str {
        match self {
            CacheOutcome::Hit => "HIT",
            CacheOutcome::Miss => "MISS",
            CacheOutcome::Expired => "EXPIRED",
            CacheOutcome::Revalidated => "REVALIDATED",
            CacheOutcome::Stale => "STALE",
            CacheOutcome::Updating => "UPDATING",
            CacheOutcome::Bypass => "BYPASS",
        }
    }
}

/// Why a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The whole answer was sent.
    Completed,
    /// Both sides spoke another protocol to the end: a WebSocket, mostly.
    Upgraded,
    /// Weir answered instead of a route or an upstream; the check or filter that did, as `deny` or `max-body-size`.
    Refused(&'static str),
    /// The client went away first.
    ClientClosed,
    /// The client stopped sending or reading.
    ClientTimeout,
    /// No endpoint could be used.
    NoEndpoint,
    /// The upstream's queue was full, or the wait in it too long.
    QueueOverflow,
    UpstreamConnectFailed,
    UpstreamConnectTimeout,
    UpstreamTlsFailed,
    /// The upstream closed the connection before its answer was complete.
    UpstreamReset,
    UpstreamTimeout,
    /// What the upstream sent is not HTTP.
    UpstreamProtocol,
    /// The time for the whole request passed.
    RequestTimeout,
    /// A file could not be read, or not to the end that had been promised.
    FileFailed,
}

impl Ended {
    /// As logs show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Ended::Completed => "completed",
            Ended::Upgraded => "upgraded",
            Ended::Refused(_) => "refused",
            Ended::ClientClosed => "client-closed",
            Ended::ClientTimeout => "client-timeout",
            Ended::NoEndpoint => "no-endpoint",
            Ended::QueueOverflow => "queue-overflow",
            Ended::UpstreamConnectFailed => "upstream-connect-failed",
            Ended::UpstreamConnectTimeout => "upstream-connect-timeout",
            Ended::UpstreamTlsFailed => "upstream-tls-failed",
            Ended::UpstreamReset => "upstream-reset",
            Ended::UpstreamTimeout => "upstream-timeout",
            Ended::UpstreamProtocol => "upstream-protocol",
            Ended::RequestTimeout => "request-timeout",
            Ended::FileFailed => "file-failed",
        }
    }

    /// Which check or filter refused it.
    pub fn refused_by(self) -> Option<&'static str> {
        match self {
            Ended::Refused(by) => Some(by),
            Ended::Completed
            | Ended::Upgraded
            | Ended::ClientClosed
            | Ended::ClientTimeout
            | Ended::NoEndpoint
            | Ended::QueueOverflow
            | Ended::UpstreamConnectFailed
            | Ended::UpstreamConnectTimeout
            | Ended::UpstreamTlsFailed
            | Ended::UpstreamReset
            | Ended::UpstreamTimeout
            | Ended::UpstreamProtocol
            | Ended::RequestTimeout
            | Ended::FileFailed => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A forwarded request with every value set, 12.345 ms long.
    pub(crate) fn record() -> RequestRecord {
        let now = Instant::now();
        let tls = TlsFacts { version: "TLSv1.3", cipher: "TLS_AES_128_GCM_SHA256" };
        let mut record =
            RequestRecord::new(now, SocketAddr::from(([203, 0, 113, 9], 4711)), Protocol::Http11, Some(tls));
        record.status = 200;
        (record.bytes_in, record.bytes_out) = (5, 1024);
        record.endpoint = Some(SocketAddr::from(([10, 0, 0, 1], 8500)));
        record.connection = Some(UpstreamConnection::New { took: Duration::from_micros(250) });
        record.first_byte = Some(Duration::from_micros(9_000));
        record.upstream_time = Some(Duration::from_micros(11_001));
        record.retries = 1;
        record.finish(now + Duration::from_micros(12_345));
        record
    }

    pub(crate) fn text() -> RequestText<'static> {
        RequestText {
            request_id: "r-1",
            user: Some("ann"),
            listener: "https",
            method: "GET",
            target: b"/a?b=1",
            host: "a.test",
            route: Some("api"),
            upstream: Some("backend"),
            sni: Some("a.test"),
            user_agent: Some(b"curl/8"),
            referer: None,
        }
    }
}
