//! What is counted of each listener: its connections, and the requests that no route took.

use std::sync::Arc;

use super::cells::Counter;
use super::route::RouteMetrics;

#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ListenerMetrics {
    pub(super) accepted: Counter,
    closed: Counter,
    rejected: [Counter; Rejection::ALL.len()],
    /// Requests that are answered before a route is found.
    pub unrouted: RouteMetrics,
}

/// Why a connection was closed before its first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The listener's `max-connections` are open.
    TooMany,
    /// It does not come from a network that may send PROXY headers.
    Untrusted,
    /// It does not begin with a PROXY header that can be read.
    ProxyHeader,
    /// The TLS handshake failed.
    Handshake,
    /// The PROXY header or the handshake took too long.
    Timeout,
}

impl Rejection {
    pub const ALL: [Rejection; 5] = [Self::TooMany, Self::Untrusted, Self::ProxyHeader, Self::Handshake, Self::Timeout];

    pub fn as_str(self) -> &'static str {
        match self {
            Rejection::TooMany => "too-many",
            Rejection::Untrusted => "untrusted",
            Rejection::ProxyHeader => "proxy-header",
            Rejection::Handshake => "handshake",
            Rejection::Timeout => "timeout",
        }
    }
}

impl ListenerMetrics {
    /// A connection was accepted; it is open for as long as the guard lives.
    #[inline]
    pub fn accepted(self: &Arc<Self>) -> OpenConnection {
        self.accepted.increment();
        OpenConnection(self.clone())
    }

    pub fn rejected(&self, reason: Rejection) {
        self.rejected[reason as usize].increment();
    }

    pub(super) fn open(&self) -> u64 {
        // The closed ones are read first: none of them can be missing from the accepted ones.
        let closed = self.closed.value();
        self.accepted.value().saturating_sub(closed)
    }

    pub(super) fn rejections(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Rejection::ALL.iter().map(|reason| (reason.as_str(), self.rejected[*reason as usize].value()))
    }
}

/// Counts as open until it is dropped.
#[derive(Debug)]
pub struct OpenConnection(Arc<ListenerMetrics>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.closed.increment();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_open_while_its_guard_lives() {
        let listener = Arc::new(ListenerMetrics::default());
        let first = listener.accepted();
        let _second = listener.accepted();
        drop(first);
        assert_eq!((listener.accepted.value(), listener.open()), (2, 1));
    }

    #[test]
    fn rejections_are_told_apart_by_reason() {
        let listener = ListenerMetrics::default();
        Rejection::ALL.into_iter().for_each(|reason| listener.rejected(reason));
        listener.rejected(Rejection::Handshake);
        let counts: Vec<_> = listener.rejections().map(|(_, count)| count).collect();
        assert_eq!(counts, [1, 1, 1, 2, 1]);
    }
}
