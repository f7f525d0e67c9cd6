//! What choosing an endpoint costs: pick, report and drop, per policy, with 2, 10 and 100 endpoints; with an
//! endpoint out; with limits; and on two threads that count at the same endpoints.
//!
//! `cargo bench --bench balancers`

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use weir::diagnostics::Origin;
use weir::model::{
    ByteSize, EndpointAddress, EndpointSpec, HashKey, HealthCheck, Keepalive, LbPolicy, OutlierDetection, Percent,
    Probe, Retry, Upstream as Definition, UpstreamLimits, UpstreamName, UpstreamProtocol, UpstreamTimeouts,
    WhenAllUnhealthy,
};
use weir::snapshot::upstream::{Outcome, PickRequest, Upstream, hash_key};
use weir::tls::UpstreamTlsMaterial;

const SIZES: [usize; 3] = [2, 10, 100];

fn policies() -> [(&'static str, LbPolicy); 5] {
    [
        ("round-robin", LbPolicy::RoundRobin),
        ("least-connections", LbPolicy::LeastConnections),
        ("peak-ewma", LbPolicy::PeakEwma),
        ("random", LbPolicy::Random),
        ("hash", LbPolicy::Hash(HashKey::ClientIp)),
    ]
}

fn definition(balance: LbPolicy, endpoints: usize) -> Definition {
    let spec = |n: usize| EndpointSpec {
        address: EndpointAddress::Ip(([10, 0, 0, n as u8], 80).into()),
        weight: NonZeroU32::MIN,
        backup: false,
    };
    let seconds = Duration::from_secs;
    Definition {
        name: UpstreamName::new("api"),
        origin: Origin::builtin(),
        endpoints: (0..endpoints).map(spec).collect(),
        balance,
        sticky: None,
        slow_start: None,
        health_check: Some(HealthCheck {
            probe: Probe::Tcp,
            interval: seconds(5),
            timeout: seconds(1),
            unhealthy_after: NonZeroU32::MIN,
            healthy_after: NonZeroU32::MIN,
            port: None,
        }),
        outlier_detection: Some(OutlierDetection {
            failures: NonZeroU32::MIN,
            window: seconds(10),
            eject_for: seconds(10),
            statuses: vec![],
            max_ejected: Percent(50),
        }),
        when_all_unhealthy: WhenAllUnhealthy::TryAll,
        protocol: UpstreamProtocol::Http1,
        tls: None,
        keepalive: Keepalive { connections: 32, idle_timeout: seconds(60), max_requests: None },
        timeouts: UpstreamTimeouts { connect: seconds(5), read: seconds(60), write: seconds(60), request: None },
        retry: Retry {
            attempts: NonZeroU32::MIN.saturating_add(1),
            on: vec![],
            timeout: None,
            budget: Percent(20),
            max_body: ByteSize::kib(64),
        },
        limits: UpstreamLimits { max_connections: None, queue: 0, queue_timeout: seconds(1) },
    }
}

fn upstream(definition: &Definition) -> Arc<Upstream> {
    Arc::new(Upstream::new(definition.clone().into(), None, &UpstreamTlsMaterial::default(), Instant::now()).unwrap())
}

/// What one request does.
fn request(upstream: &Upstream, now: Instant, key: u64) {
    let request = PickRequest { key: Some(key), ..PickRequest::at(now) };
    let lease = upstream.pick(&request).unwrap();
    black_box(lease.endpoint().address);
    lease.report(Outcome::Answered { status: 200, latency: Some(Duration::from_millis(3)) }, now);
}

fn by_policy(criterion: &mut Criterion) {
    for (name, policy) in policies() {
        let mut group = criterion.benchmark_group(name);
        for endpoints in SIZES {
            let upstream = upstream(&definition(policy.clone(), endpoints));
            let (now, mut key) = (Instant::now(), 0u64);
            group.bench_function(BenchmarkId::from_parameter(endpoints), |bencher| {
                bencher.iter(|| {
                    key = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
                    request(&upstream, now, key);
                })
            });
        }
    }
}

fn with_an_endpoint_out(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one of ten out");
    for (name, policy) in policies() {
        let upstream = upstream(&definition(policy, 10));
        let out = upstream.endpoints().endpoints().next().unwrap().clone();
        let now = Instant::now();
        upstream.record_probe(&out, &Err("refused".into()), now);
        let mut key = 0u64;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                key = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
                request(&upstream, now, key);
            })
        });
    }
}

fn with_a_limit(criterion: &mut Criterion) {
    let mut limited = definition(LbPolicy::RoundRobin, 10);
    limited.limits.max_connections = NonZeroU32::new(100);
    let (upstream, now) = (upstream(&limited), Instant::now());
    criterion.bench_function("a limit that is not reached", |bencher| bencher.iter(|| request(&upstream, now, 0)));
}

/// The second thread does the same all the while.
fn contended(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("two threads, two endpoints");
    for (name, policy) in policies() {
        let (upstream, now) = (upstream(&definition(policy, 2)), Instant::now());
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    request(&upstream, now, hash_key(b"other"));
                }
            });
            group.bench_function(name, |bencher| bencher.iter(|| request(&upstream, now, hash_key(b"one"))));
            stop.store(true, Ordering::Relaxed);
        });
    }
}

criterion_group!(benches, by_policy, with_an_endpoint_out, with_a_limit, contended);
criterion_main!(benches);
