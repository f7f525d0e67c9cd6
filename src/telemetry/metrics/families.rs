//! Every family that Weir exposes: its name, its help, and where its samples come from.
//!
//! ```text
//! Metrics ──copied out of the lock──► routes, upstreams, listeners ──► Exposition
//! ```
//!
//! A route that was never asked for is left out: ten thousand of them would be 200,000 lines a scrape.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::auth;
use super::compression::{CodingMetrics, CompressionMetrics};
use super::exposition::{Exposition, Label};
use super::limit::LimitMetrics;
use super::listener::ListenerMetrics;
use super::mirror;
use super::process::ProcessFacts;
use super::redis::RedisMetrics;
use super::route::RouteCounts;
use super::session;
use super::upstream::UpstreamCounts;
use super::{Metrics, Named, Orders, Reload, Reloads};
use crate::cache::Standing;
use crate::model::{CacheStoreName, Coding, LimitName, ListenerName, UpstreamName};
use crate::snapshot::upstream::{EndpointStatus, Health, UpstreamStatus};
use crate::tls::Validity;

pub(super) fn of(metrics: &Metrics, statuses: &[UpstreamStatus], stores: &[Store]) -> Exposition {
    // Copied, so that a slow scrape never holds up a reload.
    let named = metrics.named().clone();
    let mut out = Exposition::default();
    let (routes, upstream_counts) = (used_routes(&named), read_upstreams(&named));
    requests(&mut out, &routes);
    upstreams(&mut out, &upstream_counts);
    endpoints(&mut out, statuses);
    health_changes(&mut out, &upstream_counts, statuses);
    limits(&mut out, &named);
    auth::families(&mut out, &named);
    mirror::families(&mut out, &named);
    named.redis.iter().for_each(|metrics| redis(&mut out, metrics));
    compression(&mut out, &metrics.compression);
    caches(&mut out, &routes, stores);
    connections(&mut out, &named.listeners);
    session::families(&mut out, &named);
    out.counter(
        "weir_access_log_dropped_total",
        "Access log lines that could not be written.",
        vec![([], metrics.access_log_dropped.value() as f64)],
    );
    reloads(&mut out, &named.reloads);
    certificates(&mut out, &named.certificates);
    orders(&mut out, &named.orders);
    process(&mut out, metrics.started);
    out
}

/// A route's labels and numbers; where no route was found, the listener's.
type LabelledRoute<'a> = ([Label<'a>; 3], RouteCounts);

fn used_routes(named: &Named) -> Vec<LabelledRoute<'_>> {
    let unrouted = named.listeners.iter().map(|(listener, metrics)| {
        ([("route", ""), ("upstream", ""), ("listener", listener.as_str())], metrics.unrouted.read())
    });
    let routed = named.routes.iter().map(|((route, upstream), metrics)| {
        let upstream = upstream.as_ref().map_or("", UpstreamName::as_str);
        ([("route", route.as_str()), ("upstream", upstream), ("listener", "")], metrics.read())
    });
    unrouted.chain(routed).filter(|(_, metrics)| metrics.was_used()).collect()
}

fn requests(out: &mut Exposition, routes: &[LabelledRoute<'_>]) {
    out.counter(
        "weir_requests_total",
        "Requests that have ended, by route (where none was found, by listener), upstream, method and status code; 000 is no answer.",
        answers(routes)
            .iter()
            .map(|(labels, code, count)| {
                let [route, upstream, listener, method] = *labels;
                ([route, upstream, listener, method, ("code", code.as_str())], *count)
            })
            .collect(),
    );
    out.histogram(
        "weir_request_duration_seconds",
        "From when a request's head was whole to the last byte of its answer.",
        routes.iter().map(|(labels, metrics)| (*labels, &metrics.duration)).collect(),
    );
    let lanes = "Requests that have ended, by the lane they took.";
    out.counter("weir_lane_requests_total", lanes, routes.iter().flat_map(by_lane).collect());
    let each = |value: fn(&RouteCounts) -> u64| {
        routes.iter().map(|(labels, metrics)| (*labels, value(metrics) as f64)).collect()
    };
    let in_flight = "Requests that have begun and not ended.";
    out.gauge("weir_requests_in_flight", in_flight, each(RouteCounts::in_flight));
    out.counter("weir_request_body_bytes_total", "Body bytes from clients.", each(|route| route.bytes().0));
    out.counter("weir_response_body_bytes_total", "Body bytes to clients.", each(|route| route.bytes().1));
}

fn by_lane<'a>((labels, metrics): &LabelledRoute<'a>) -> [([Label<'a>; 4], f64); 2] {
    let [route, upstream, listener] = *labels;
    metrics.lanes().map(|(lane, count)| ([route, upstream, listener, ("lane", lane.as_str())], count as f64))
}

type Answer<'a> = ([Label<'a>; 4], String, f64);

fn answers<'a>(routes: &[LabelledRoute<'a>]) -> Vec<Answer<'a>> {
    let of_route = |([route, upstream, listener], metrics): &LabelledRoute<'a>| {
        let (route, upstream, listener) = (*route, *upstream, *listener);
        let answers = metrics.answers().into_iter();
        answers.map(move |(method, status, count)| {
            ([route, upstream, listener, ("method", method)], format!("{status:03}"), count as f64)
        })
    };
    routes.iter().flat_map(of_route).collect()
}

fn limits(out: &mut Exposition, named: &Named) {
    let mut family = |name, help, limits: &BTreeMap<LimitName, Arc<LimitMetrics>>| {
        let mut samples = Vec::new();
        for (limit, metrics) in limits {
            for (outcome, count) in metrics.outcomes() {
                samples.push(([("limit", limit.as_str()), ("outcome", outcome)], count as f64));
            }
        }
        out.counter(name, help, samples);
    };
    family(
        "weir_rate_limit_total",
        "Requests that a rate limit was asked about, and what became of them there.",
        &named.rate_limits,
    );
    family(
        "weir_concurrency_limit_total",
        "Requests that a concurrency limit was asked about, and what became of them there.",
        &named.concurrency_limits,
    );
}

fn redis(out: &mut Exposition, metrics: &RedisMetrics) {
    let samples = metrics.outcomes().map(|(outcome, count)| ([("outcome", outcome)], count as f64));
    out.counter(
        "weir_redis_requests_total",
        "Requests whose limits were to be counted in Redis, and what came of it; unasked where it was known to be away.",
        samples.into(),
    );
    out.histogram(
        "weir_redis_request_duration_seconds",
        "What it took Redis to count a request.",
        vec![([], &metrics.duration)],
    );
    let up = metrics.is_up().map(|up| ([], if up { 1.0 } else { 0.0 }));
    out.gauge("weir_redis_up", "0 where some thread has no answer from Redis, else 1.", up.into_iter().collect());
}

fn compression(out: &mut Exposition, metrics: &CompressionMetrics) {
    let each = |value: fn(&CodingMetrics) -> u64| {
        let of = |coding: Coding| ([("coding", coding.name())], value(metrics.of(coding)) as f64);
        Coding::BY_PREFERENCE.map(of).to_vec()
    };
    out.counter("weir_compressed_responses_total", "Answers that Weir has compressed.", each(|c| c.answers.value()));
    let before = "Body bytes of answers before Weir compressed them.";
    out.counter("weir_compression_input_bytes_total", before, each(|c| c.bytes_in.value()));
    let after = "Body bytes of answers after Weir compressed them.";
    out.counter("weir_compression_output_bytes_total", after, each(|c| c.bytes_out.value()));
}

fn caches(out: &mut Exposition, routes: &[LabelledRoute<'_>], stores: &[Store]) {
    let mut outcomes = Vec::new();
    for ([route, upstream, _], metrics) in routes {
        for (outcome, count) in metrics.cached().filter(|(_, count)| *count > 0) {
            outcomes.push(([*route, *upstream, ("outcome", outcome.as_str())], count as f64));
        }
    }
    out.counter("weir_cache_requests_total", "Requests of routes with a cache, by what it made of them.", outcomes);
    tier_gauge(out, "weir_cache_bytes", "What is kept takes.", stores, |s| [s.memory_bytes, s.disk_bytes]);
    tier_gauge(out, "weir_cache_objects", "Answers that are kept.", stores, |s| [s.memory_objects, s.disk_objects]);
    let mut counter = |name, help, value: fn(&Standing) -> u64| {
        let samples = stores.iter().map(|(store, standing)| ([("store", &*store.0)], value(standing) as f64));
        out.counter(name, help, samples.collect());
    };
    counter("weir_cache_evicted_total", "Answers that had to go for want of room.", |s| s.evicted);
    counter("weir_cache_purged_total", "Answers that were purged.", |s| s.purged);
    counter("weir_cache_disk_errors_total", "Reads and writes that the disk refused.", |s| s.disk_failed);
    counter("weir_cache_corrupt_total", "Files that were not as they had been written.", |s| s.corrupt);
    counter("weir_cache_skipped_total", "Answers that a slow disk did not take.", |s| s.skipped);
}

fn tier_gauge(out: &mut Exposition, name: &str, help: &str, stores: &[Store], value: fn(&Standing) -> [u64; 2]) {
    let samples = stores.iter().flat_map(|(store, standing)| {
        let [memory, disk] = value(standing);
        [("memory", memory), ("disk", disk)].map(|(tier, value)| ([("store", &*store.0), ("tier", tier)], value as f64))
    });
    out.gauge(name, help, samples.collect());
}

type Store = (CacheStoreName, Standing);

type Upstreams<'a> = BTreeMap<&'a UpstreamName, UpstreamCounts>;

fn read_upstreams(named: &Named) -> Upstreams<'_> {
    named.upstreams.iter().map(|(name, metrics)| (name, metrics.read())).collect()
}

fn upstreams(out: &mut Exposition, upstreams: &Upstreams<'_>) {
    let mut connections = Vec::new();
    for (name, metrics) in upstreams {
        let upstream = ("upstream", name.as_str());
        connections.push(([upstream, ("state", "new")], metrics.connections_new.value() as f64));
        connections.push(([upstream, ("state", "reused")], metrics.connections_reused.value() as f64));
    }
    out.counter(
        "weir_upstream_connections_total",
        "Connections that requests were sent on: opened for it, or reused from the pool.",
        connections,
    );
    out.counter(
        "weir_upstream_retries_total",
        "Attempts after the first.",
        upstreams.iter().map(|(name, m)| ([("upstream", name.as_str())], m.retries.value() as f64)).collect(),
    );
    let connected = || upstreams.iter().filter(|(_, metrics)| metrics.was_connected());
    out.histogram(
        "weir_upstream_request_duration_seconds",
        "From the first attempt to the end of the upstream's answer.",
        connected().map(|(name, metrics)| ([("upstream", name.as_str())], &metrics.duration)).collect(),
    );
    out.histogram(
        "weir_upstream_connect_duration_seconds",
        "What opening a connection took, TLS included.",
        connected().map(|(name, metrics)| ([("upstream", name.as_str())], &metrics.connect)).collect(),
    );
}

/// Counted by the endpoints themselves, whose numbers the balancers go by.
fn endpoints(out: &mut Exposition, upstreams: &[UpstreamStatus]) {
    let each = |value: fn(&EndpointStatus) -> f64| {
        let of = |upstream: &'_ UpstreamStatus| {
            let samples = upstream.endpoints.iter().map(|endpoint| (endpoint.address.clone(), value(endpoint)));
            samples.collect::<Vec<_>>()
        };
        upstreams.iter().map(|upstream| (upstream.name.as_str(), of(upstream))).collect::<Vec<_>>()
    };
    let mut family = |name: &str, help: &str, kind: Kind, samples: Vec<(&str, Vec<(String, f64)>)>| {
        let labelled = samples.iter().flat_map(|(upstream, endpoints)| {
            let labels = |endpoint| [("upstream", *upstream), ("endpoint", endpoint)];
            endpoints.iter().map(move |(endpoint, value)| (labels(endpoint.as_str()), *value))
        });
        match kind {
            Kind::Counter => out.counter(name, help, labelled.collect()),
            Kind::Gauge => out.gauge(name, help, labelled.collect()),
        }
    };
    family(
        "weir_endpoint_healthy",
        "1 where an endpoint gets traffic, 0 where it is unhealthy or ejected.",
        Kind::Gauge,
        each(|endpoint| {
            let out = endpoint.health == Health::Unhealthy || endpoint.ejected_for.is_some();
            if out { 0.0 } else { 1.0 }
        }),
    );
    family(
        "weir_endpoint_requests_in_flight",
        "Attempts that are under way at an endpoint.",
        Kind::Gauge,
        each(|endpoint| f64::from(endpoint.in_flight)),
    );
    family(
        "weir_endpoint_requests_total",
        "Attempts that went to an endpoint.",
        Kind::Counter,
        each(|endpoint| endpoint.requests as f64),
    );
    family(
        "weir_endpoint_failures_total",
        "Attempts that failed there.",
        Kind::Counter,
        each(|endpoint| endpoint.failures as f64),
    );
}

/// By upstream alone: the addresses behind a name come and go.
fn health_changes(out: &mut Exposition, upstreams: &Upstreams<'_>, statuses: &[UpstreamStatus]) {
    let mut samples = Vec::new();
    for status in statuses {
        let mut push = |to, count: u64| samples.push(([("upstream", status.name.as_str()), ("to", to)], count as f64));
        if let Some(metrics) = upstreams.get(&status.name) {
            push("healthy", metrics.became_healthy.value());
            push("unhealthy", metrics.became_unhealthy.value());
        }
        push("ejected", status.ejections);
    }
    out.counter(
        "weir_endpoint_health_changes_total",
        "How often health checks changed their mind of an endpoint, and how often one was ejected.",
        samples,
    );
}

enum Kind {
    Counter,
    Gauge,
}

fn connections(out: &mut Exposition, listeners: &BTreeMap<ListenerName, Arc<ListenerMetrics>>) {
    let each = |value: fn(&ListenerMetrics) -> f64| {
        listeners.iter().map(|(name, m)| ([("listener", name.as_str())], value(m))).collect::<Vec<_>>()
    };
    out.counter(
        "weir_connections_accepted_total",
        "Connections from clients.",
        each(|listener| listener.accepted.value() as f64),
    );
    out.gauge("weir_connections_open", "Connections from clients that are open.", each(|l| l.open() as f64));
    let mut rejected = Vec::new();
    for (name, metrics) in listeners {
        for (reason, count) in metrics.rejections() {
            rejected.push(([("listener", name.as_str()), ("reason", reason)], count as f64));
        }
    }
    out.counter("weir_connections_rejected_total", "Connections closed before their first request.", rejected);
}

fn reloads(out: &mut Exposition, reloads: &Reloads) {
    out.counter(
        "weir_reloads_total",
        "Attempts to load the configuration, the first included.",
        vec![
            ([("result", "applied")], reloads.applied as f64),
            ([("result", "unchanged")], reloads.unchanged as f64),
            ([("result", "rejected")], reloads.rejected as f64),
        ],
    );
    let Some(last) = reloads.last else { return };
    let successful = match last {
        Reload::Applied { .. } | Reload::Unchanged => 1.0,
        Reload::Rejected => 0.0,
    };
    out.gauge(
        "weir_config_last_reload_successful",
        "0 where the last attempt to load the configuration was rejected, else 1.",
        vec![([], successful)],
    );
    out.gauge(
        "weir_config_generation",
        "Counts the configurations that were in force.",
        vec![([], reloads.generation as f64)],
    );
    let success = reloads.last_success.map(|at| ([], unix_seconds(at)));
    out.gauge(
        "weir_config_last_reload_success_timestamp_seconds",
        "When the configuration in force was loaded.",
        success.into_iter().collect(),
    );
}

fn certificates(out: &mut Exposition, certificates: &BTreeMap<Arc<str>, Validity>) {
    let mut times = |name, help, time: fn(&Validity) -> SystemTime| {
        let samples = certificates.iter().map(|(label, validity)| {
            let certificate = [("certificate", &**label)];
            (certificate, unix_seconds(time(validity)))
        });
        out.gauge(name, help, samples.collect());
    };
    times(
        "weir_certificate_not_before_seconds",
        "When a certificate began to be valid, in seconds since 1970.",
        |validity| validity.not_before,
    );
    times("weir_certificate_not_after_seconds", "When a certificate expires, in seconds since 1970.", |validity| {
        validity.not_after
    });
}

fn orders(out: &mut Exposition, orders: &BTreeMap<Arc<str>, Orders>) {
    let mut samples = Vec::new();
    for (certificate, orders) in orders {
        let certificate = ("certificate", &**certificate);
        samples.push(([certificate, ("result", "issued")], orders.issued as f64));
        samples.push(([certificate, ("result", "failed")], orders.failed as f64));
    }
    out.counter("weir_acme_orders_total", "Attempts to have a certificate issued, by how they ended.", samples);
    let failing = orders.iter().map(|(certificate, orders)| {
        let certificate = [("certificate", &**certificate)];
        (certificate, f64::from(orders.failed_in_a_row))
    });
    let help = "Attempts that have failed since a certificate was issued last.";
    out.gauge("weir_acme_failures_in_a_row", help, failing.collect());
}

fn process(out: &mut Exposition, started: SystemTime) {
    let version = env!("CARGO_PKG_VERSION");
    out.gauge("weir_build_info", "Which Weir this is; always 1.", vec![([("version", version)], 1.0)]);
    let mut gauge = |name, help, value: f64| out.gauge(name, help, vec![([], value)]);
    gauge("process_start_time_seconds", "When the process started, in seconds since 1970.", unix_seconds(started));
    let Some(facts) = ProcessFacts::read() else { return };
    gauge("process_resident_memory_bytes", "Memory in use.", facts.resident_bytes as f64);
    gauge("process_virtual_memory_bytes", "Address space in use.", facts.virtual_bytes as f64);
    gauge("process_threads", "Threads.", facts.threads as f64);
    gauge("process_open_fds", "Open file descriptors.", facts.open_fds as f64);
    if let Some(max) = facts.max_fds {
        gauge("process_max_fds", "How many file descriptors may be open.", max as f64);
    }
    out.counter("process_cpu_seconds_total", "Processor time spent.", vec![([], facts.cpu_seconds)]);
}

fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
