//! What is carried on without being read, bound to the upstream that it goes to.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::ClientConfig;

use super::upstream::Upstream;
use crate::model::{self, ListenerName};
use crate::telemetry::metrics::{SessionMetrics, UpstreamMetrics};

/// By listener. One whose upstream is lost is not there.
#[derive(Default)]
pub struct Carriers {
    pub tcp: BTreeMap<ListenerName, Arc<Tunnel>>,
    pub udp: BTreeMap<ListenerName, Arc<Datagrams>>,
}

pub struct Tunnel {
    pub definition: model::Tunnel,
    pub listener: ListenerName,
    pub to: Destination,
    /// Present where the upstream is spoken with in TLS of Weir's own.
    pub tls: Option<Arc<ClientConfig>>,
}

pub struct Datagrams {
    pub definition: model::UdpListener,
    pub to: Destination,
}

/// An upstream, and what is counted of what goes there.
#[derive(Clone)]
pub struct Destination {
    pub upstream: Arc<Upstream>,
    pub metrics: Arc<UpstreamMetrics>,
    pub sessions: Arc<SessionMetrics>,
}

impl Destination {
    pub fn name(&self) -> &str {
        self.upstream.definition().name.as_str()
    }
}
