//! The two listeners: plain and TLS.

use crate::defaults;
use crate::diagnostics::Origin;
use crate::model::{ConnectionLimits, Listener, ListenerName, ListenerTls};

use super::settings::Settings;

pub fn listeners(settings: &Settings) -> Vec<Listener> {
    let tls = ListenerTls { min_version: defaults::TLS_MIN_VERSION, http2: defaults::HTTP2, client_auth: None };
    [("http", settings.http, None), ("https", settings.https, Some(tls))]
        .into_iter()
        .map(|(name, address, tls)| Listener {
            name: ListenerName::new(name),
            origin: Origin::builtin(),
            address,
            tls,
            proxy_protocol: None,
            limits: limits(),
            filters: Vec::new(),
        })
        .collect()
}

fn limits() -> ConnectionLimits {
    ConnectionLimits {
        max_connections: defaults::MAX_CONNECTIONS as usize,
        max_header_size: defaults::MAX_HEADER_SIZE,
        header_timeout: defaults::HEADER_TIMEOUT,
        body_timeout: defaults::BODY_TIMEOUT,
        min_body_rate: None,
        idle_timeout: defaults::IDLE_TIMEOUT,
        max_requests: defaults::MAX_REQUESTS,
        max_streams: defaults::MAX_STREAMS,
    }
}
