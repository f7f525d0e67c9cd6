//! The process as an ingress: what flags say, and how ingress-nginx behaves otherwise.

use std::net::SocketAddr;
use std::time::Duration;

use crate::defaults;
use crate::diagnostics::Origin;
use crate::model::{AccessLog, Admin, LogTarget, OcspStapling, Process, RequestIds, SessionTickets, Shutdown, Threads};

/// Global options change parts of it.
pub fn process(admin: SocketAddr, delay: Duration) -> Process {
    Process {
        threads: Threads::Auto,
        access_log: Some(AccessLog {
            origin: Origin::builtin(),
            format: defaults::ACCESS_LOG,
            target: LogTarget::Stdout,
        }),
        admin: Some(Admin { origin: Origin::builtin(), address: admin }),
        trusted_proxies: Vec::new(),
        request_ids: RequestIds::OfClients,
        forwarded: defaults::FORWARDED_FIELD,
        shutdown: Shutdown { delay, timeout: defaults::INGRESS_SHUTDOWN_TIMEOUT },
        resolvers: Vec::new(),
        // Both as in ingress-nginx, where they are off unless a ConfigMap says otherwise.
        session_tickets: SessionTickets::Off,
        ocsp_stapling: OcspStapling::Off,
        redis: None,
        replicas: None,
    }
}
