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
        lanes: defaults::LANES,
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

/// As Go writes them: `30s`, `1m30s`, `500ms`.
pub fn duration(written: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{written}\" is no duration; write it as 30s or 1m30s");
    let (mut total, mut rest) = (Duration::ZERO, written);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u32 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let unit = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        total += number
            * match &rest[..unit] {
                "h" => Duration::from_secs(3600),
                "m" => Duration::from_secs(60),
                "s" => Duration::from_secs(1),
                "ms" => Duration::from_millis(1),
                _ => return Err(wrong()),
            };
        rest = &rest[unit..];
    }
    if total.is_zero() { Err(wrong()) } else { Ok(total) }
}
