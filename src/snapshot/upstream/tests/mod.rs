//! The balancers as a whole. Time is given, randomness seeded; what the tests share stands here.

mod addresses;
mod choice;
mod life;
mod properties;
mod waiting;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::diagnostics::Origin;
use crate::model::{
    ByteSize, EndpointAddress, EndpointSpec, HashKey, HealthCheck, Keepalive, LbPolicy, OutlierDetection, Percent,
    Probe, Retry, StatusRange, UpstreamLimits, UpstreamName, UpstreamProtocol, UpstreamTimeouts,
};
use crate::tls::UpstreamTlsMaterial;

pub(crate) fn one(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

/// `10.0.0.1:80`, `10.0.0.1:80 weight 3`, `10.0.0.1:80 backup`, joined by commas.
pub(crate) fn definition(endpoints: &str) -> model::Upstream {
    let spec = |text: &str| {
        let mut words = text.split_whitespace();
        let address = EndpointAddress::parse(words.next().unwrap()).unwrap();
        let rest: Vec<&str> = words.collect();
        let weight = rest.iter().position(|word| *word == "weight").map_or(1, |at| rest[at + 1].parse().unwrap());
        EndpointSpec { address, weight: one(weight), backup: rest.contains(&"backup") }
    };
    model::Upstream {
        name: UpstreamName::new("api"),
        origin: Origin::builtin(),
        endpoints: endpoints.split(',').filter(|text| !text.trim().is_empty()).map(spec).collect(),
        balance: LbPolicy::RoundRobin,
        sticky: None,
        slow_start: None,
        health_check: None,
        outlier_detection: None,
        when_all_unhealthy: WhenAllUnhealthy::TryAll,
        protocol: UpstreamProtocol::Http1,
        tls: None,
        keepalive: Keepalive { connections: 32, idle_timeout: Duration::from_secs(60), max_requests: None },
        timeouts: UpstreamTimeouts {
            connect: Duration::from_secs(5),
            read: Duration::from_secs(60),
            write: Duration::from_secs(60),
            request: None,
        },
        retry: Retry { attempts: one(2), on: vec![], timeout: None, budget: Percent(20), max_body: ByteSize::kib(64) },
        limits: UpstreamLimits { max_connections: None, queue: 0, queue_timeout: Duration::from_secs(1) },
    }
}

fn numbered(count: usize) -> String {
    (1..=count).map(|n| format!("10.0.{}.{}:80", n / 250, n % 250)).collect::<Vec<_>>().join(",")
}

fn checked() -> HealthCheck {
    HealthCheck {
        probe: Probe::Tcp,
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(1),
        unhealthy_after: one(1),
        healthy_after: one(1),
        port: None,
    }
}

fn three_failures() -> OutlierDetection {
    OutlierDetection {
        failures: one(3),
        window: Duration::from_secs(30),
        eject_for: Duration::from_secs(30),
        statuses: vec![StatusRange { from: 500, to: 599 }],
        max_ejected: Percent(50),
    }
}

fn policies() -> [LbPolicy; 5] {
    [
        LbPolicy::RoundRobin,
        LbPolicy::LeastConnections,
        LbPolicy::PeakEwma,
        LbPolicy::Random,
        LbPolicy::Hash(HashKey::ClientIp),
    ]
}

fn build(definition: &model::Upstream, now: Instant) -> Arc<Upstream> {
    Arc::new(Upstream::new(definition.clone().into(), None, &UpstreamTlsMaterial::default(), now).unwrap())
}

fn rebuild(definition: &model::Upstream, previous: &Upstream, now: Instant) -> Arc<Upstream> {
    Arc::new(Upstream::new(definition.clone().into(), Some(previous), &UpstreamTlsMaterial::default(), now).unwrap())
}

fn start() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

fn endpoint(upstream: &Upstream, address: &str) -> Arc<Endpoint> {
    let address: SocketAddr = address.parse().unwrap();
    upstream.endpoints().endpoints().find(|e| e.address == address).unwrap().clone()
}

fn set_health(upstream: &Upstream, address: &str, verdict: Result<(), &str>, now: Instant) {
    let verdict = verdict.map_err(Arc::from);
    upstream.record_probe(&endpoint(upstream, address), &verdict, now);
}

/// How often each endpoint is picked, by requests one after the other.
fn spread(upstream: &Upstream, picks: u64, now: Instant) -> HashMap<String, u64> {
    let mut counts = HashMap::new();
    for n in 0..picks {
        let lease =
            upstream.pick(&PickRequest { key: Some(hash_key(&n.to_le_bytes())), ..PickRequest::at(now) }).unwrap();
        *counts.entry(lease.endpoint().address.to_string()).or_default() += 1;
    }
    counts
}

fn picked(upstream: &Upstream, now: Instant) -> String {
    upstream.pick(&PickRequest::at(now)).unwrap().endpoint().address.to_string()
}
