//! One session as metrics and logs see it: a connection that was carried on, or the datagrams of one client.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug)]
pub struct SessionRecord<'a> {
    pub started: Instant,
    /// As decided by the PROXY protocol.
    pub client: SocketAddr,
    pub protocol: SessionProtocol,
    pub listener: &'a str,
    pub upstream: &'a str,
    /// The name that was asked for, where TLS was passed through.
    pub sni: Option<&'a str>,
    /// The last that was tried.
    pub endpoint: Option<SocketAddr>,
    /// What opening the connection to it took, TLS included.
    pub connect: Option<Duration>,
    /// Attempts after the first.
    pub retries: u32,
    /// From the client.
    pub bytes_in: u64,
    /// To the client.
    pub bytes_out: u64,
    pub ended: SessionEnd,
    pub duration: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionProtocol {
    Tcp,
    /// TCP whose beginning was looked at.
    Tls,
    Udp,
}

impl SessionProtocol {
    pub fn as_str(self) -> &'static str {
        match self {
            SessionProtocol::Tcp => "TCP",
            SessionProtocol::Tls => "TLS",
            SessionProtocol::Udp => "UDP",
        }
    }
}

/// Why a session ended. In the words of requests, where they have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// Both sides had said all; or a session of datagrams had its answers.
    Completed,
    /// The client broke the connection off.
    ClientClosed,
    /// The upstream broke the connection off.
    UpstreamReset,
    IdleTimeout,
    /// No endpoint could be used.
    NoEndpoint,
    /// The upstream's queue was full, or the wait in it too long.
    QueueOverflow,
    ConnectFailed,
    ConnectTimeout,
    TlsFailed,
}

impl SessionEnd {
    pub const ALL: [SessionEnd; 9] = [
        Self::Completed,
        Self::ClientClosed,
        Self::UpstreamReset,
        Self::IdleTimeout,
        Self::NoEndpoint,
        Self::QueueOverflow,
        Self::ConnectFailed,
        Self::ConnectTimeout,
        Self::TlsFailed,
    ];

    /// For logs and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            SessionEnd::Completed => "completed",
            SessionEnd::ClientClosed => "client-closed",
            SessionEnd::UpstreamReset => "upstream-reset",
            SessionEnd::IdleTimeout => "idle-timeout",
            SessionEnd::NoEndpoint => "no-endpoint",
            SessionEnd::QueueOverflow => "queue-overflow",
            SessionEnd::ConnectFailed => "upstream-connect-failed",
            SessionEnd::ConnectTimeout => "upstream-connect-timeout",
            SessionEnd::TlsFailed => "upstream-tls-failed",
        }
    }

    /// nginx's `$status` of a stream session.
    pub fn status(self) -> u16 {
        match self {
            SessionEnd::Completed | SessionEnd::ClientClosed | SessionEnd::UpstreamReset | SessionEnd::IdleTimeout => {
                200
            }
            SessionEnd::NoEndpoint
            | SessionEnd::QueueOverflow
            | SessionEnd::ConnectFailed
            | SessionEnd::ConnectTimeout
            | SessionEnd::TlsFailed => 502,
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// With every value set, 12.345 ms long.
    pub(crate) fn session() -> SessionRecord<'static> {
        SessionRecord {
            started: Instant::now(),
            client: SocketAddr::from(([203, 0, 113, 9], 4711)),
            protocol: SessionProtocol::Tls,
            listener: "db",
            upstream: "postgres",
            sni: Some("db.a.test"),
            endpoint: Some(SocketAddr::from(([10, 0, 0, 1], 5432))),
            connect: Some(Duration::from_micros(250)),
            retries: 1,
            bytes_in: 5,
            bytes_out: 1024,
            ended: SessionEnd::IdleTimeout,
            duration: Duration::from_micros(12_345),
        }
    }
}
