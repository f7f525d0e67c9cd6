//! An upstream that is asked beside the one a request goes to: whether somebody may come in, or for a copy's sake.

use std::time::Duration;

use crate::defaults;
use crate::diagnostics::Origin;
use crate::model::{
    EndpointSpec, Keepalive, OutlierDetection, Retry, Upstream, UpstreamLimits, UpstreamName, UpstreamTimeouts,
    UpstreamTls,
};

/// Nobody waits for it longer than `timeout`.
pub fn asked_upstream(
    name: UpstreamName,
    origin: Origin,
    endpoints: Vec<EndpointSpec>,
    tls: Option<UpstreamTls>,
    timeout: Duration,
) -> Upstream {
    Upstream {
        name,
        origin,
        endpoints,
        balance: defaults::BALANCE,
        sticky: None,
        slow_start: None,
        health_check: None,
        outlier_detection: Some(standard_outlier_detection()),
        when_all_unhealthy: defaults::WHEN_ALL_UNHEALTHY,
        protocol: defaults::PROTOCOL,
        tls,
        keepalive: Keepalive {
            connections: defaults::KEEPALIVE_CONNECTIONS as usize,
            idle_timeout: defaults::KEEPALIVE_IDLE_TIMEOUT,
            max_requests: None,
        },
        timeouts: UpstreamTimeouts {
            connect: timeout.min(defaults::CONNECT_TIMEOUT),
            read: timeout,
            write: timeout,
            request: None,
        },
        retry: standard_retry(),
        limits: UpstreamLimits {
            max_connections: Some(defaults::FORWARD_AUTH_CONNECTIONS),
            queue: defaults::FORWARD_AUTH_QUEUE,
            queue_timeout: timeout,
        },
    }
}

/// What holds where nothing is said of it.
pub fn standard_retry() -> Retry {
    Retry {
        attempts: defaults::RETRY_ATTEMPTS,
        on: defaults::RETRY_ON.to_vec(),
        timeout: Some(defaults::RETRY_TIMEOUT),
        budget: defaults::RETRY_BUDGET,
        max_body: defaults::RETRY_MAX_BODY,
    }
}

/// What holds where nothing is said of it.
pub fn standard_outlier_detection() -> OutlierDetection {
    OutlierDetection {
        failures: defaults::OUTLIER_FAILURES,
        window: defaults::OUTLIER_WINDOW,
        eject_for: defaults::OUTLIER_EJECT_FOR,
        statuses: Vec::new(),
        max_ejected: defaults::OUTLIER_MAX_EJECTED,
    }
}
