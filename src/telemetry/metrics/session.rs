//! What is counted of sessions: connections that are carried on, and datagrams.

use std::sync::Arc;

use super::Named;
use super::cells::Counter;
use super::exposition::Exposition;
use crate::model::{ListenerName, UpstreamName};
use crate::telemetry::session::{SessionEnd, SessionRecord};

/// Of one listener and one upstream. Aligned as a route's numbers are.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct SessionMetrics {
    begun: Counter,
    ended: [Counter; SessionEnd::ALL.len()],
    bytes_in: Counter,
    bytes_out: Counter,
}

impl SessionMetrics {
    pub fn begin(&self) {
        self.begun.increment();
    }

    /// As they pass: a session may last for days.
    #[inline]
    pub fn carried(&self, bytes_in: u64, bytes_out: u64) {
        self.bytes_in.add(bytes_in);
        self.bytes_out.add(bytes_out);
    }

    pub fn end(&self, record: &SessionRecord<'_>) {
        self.ended[record.ended as usize].increment();
    }

    fn open(&self) -> u64 {
        // The ended ones are read first: none of them can be missing from those that were begun.
        let ended = self.ended.iter().map(Counter::value).sum();
        self.begun.value().saturating_sub(ended)
    }
}

pub(super) type Sessions = std::collections::BTreeMap<(ListenerName, UpstreamName), Arc<SessionMetrics>>;

pub(super) fn families(out: &mut Exposition, named: &Named) {
    let mut ended = Vec::new();
    for ((listener, upstream), metrics) in &named.sessions {
        let labels = [("listener", listener.as_str()), ("upstream", upstream.as_str())];
        for end in SessionEnd::ALL {
            let count = metrics.ended[end as usize].value();
            ended.push(([labels[0], labels[1], ("ended", end.as_str())], count as f64));
        }
    }
    out.counter(
        "weir_sessions_total",
        "Connections that were carried to an upstream, and sessions of datagrams, by how they ended.",
        ended,
    );
    let each = |value: fn(&SessionMetrics) -> u64| {
        let of = named.sessions.iter().map(|((listener, upstream), metrics)| {
            ([("listener", listener.as_str()), ("upstream", upstream.as_str())], value(metrics) as f64)
        });
        of.collect::<Vec<_>>()
    };
    out.gauge("weir_sessions_open", "Of these, those that have begun and not ended.", each(SessionMetrics::open));
    out.counter("weir_session_input_bytes_total", "Bytes from clients in sessions.", each(|s| s.bytes_in.value()));
    out.counter("weir_session_output_bytes_total", "Bytes to clients in sessions.", each(|s| s.bytes_out.value()));
}
