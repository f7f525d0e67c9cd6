//! Upstreams.

use std::collections::HashMap;

use super::names::check_name;
use super::{Lowering, certificate, health, retry};
use crate::defaults;
use crate::model::{
    ClientCertificate, EndpointAddress, EndpointSpec, HashKey, HealthCheck, Keepalive, LbPolicy, Listener, Probe,
    SameSite, SecureCookie, StickyCookie, Upstream, UpstreamLimits, UpstreamName, UpstreamProtocol, UpstreamTimeouts,
    UpstreamTls, Verify, WhenAllUnhealthy,
};
use crate::sources::asked_upstream::standard_retry;
use crate::sources::config::decode::{Either, Field, List, Table};
use crate::sources::config::findings::Place;
use crate::sources::config::shapes::{self, scalar};
use crate::sources::config::tree::NodeId;

/// The upstreams that could be read, in the order of the file.
pub struct Upstreams {
    list: Vec<Upstream>,
    index: HashMap<String, usize>,
}

impl Upstreams {
    pub fn get(&self, name: &str) -> Option<&Upstream> {
        self.index.get(name).map(|at| &self.list[*at])
    }

    pub fn into_values(self) -> Vec<Upstream> {
        self.list
    }
}

pub fn upstreams(cx: &Lowering, written: Field<Table<shapes::Upstream>>, listeners: &[(Place, Listener)]) -> Upstreams {
    let mut upstreams = Upstreams { list: Vec::new(), index: HashMap::new() };
    for (name, field) in written.value().map_or(Vec::new(), |Table(entries)| entries) {
        let Some(place) = field.key() else { continue };
        check_name(cx, "upstream", &name, place);
        let Some((at, shape)) = field.given() else { continue };
        check_sticky(cx, &shape, listeners);
        let upstream = upstream(cx, &name, at, shape);
        upstreams.index.insert(name, upstreams.list.len());
        upstreams.list.push(upstream);
    }
    upstreams
}

fn upstream(cx: &Lowering, name: &str, at: NodeId, shape: shapes::Upstream) -> Upstream {
    let protocol = protocol(cx, &shape);
    let health_check = shape.health_check.given().and_then(|(at, shape)| {
        let check = health::health_check(cx, at, shape);
        check_grpc(cx, at, check.as_ref(), protocol);
        check
    });
    let timeouts = shape.timeouts.value().unwrap_or_default();
    let endpoints = cx.required(shape.endpoints, at, "endpoints", "endpoints: [\"backend:8080\"]");
    Upstream {
        name: UpstreamName::new(name),
        origin: cx.findings.origin(at.key()),
        balance: shape.balance.value().map_or(defaults::BALANCE, balance),
        sticky: shape.sticky.given().and_then(|(at, shape)| sticky(cx, at, shape)),
        slow_start: shape.slow_start.scalar().filter(|time| !time.is_zero()),
        health_check,
        outlier_detection: health::outlier_detection(shape.outlier_detection),
        when_all_unhealthy: match shape.when_all_unhealthy.value() {
            Some(shapes::WhenAllUnhealthy::TryAll) => WhenAllUnhealthy::TryAll,
            Some(shapes::WhenAllUnhealthy::Refuse) => WhenAllUnhealthy::Refuse,
            None => defaults::WHEN_ALL_UNHEALTHY,
        },
        protocol,
        tls: shape.tls.value().map(|shape| tls(cx, shape)),
        keepalive: keepalive(shape.keepalive),
        timeouts: UpstreamTimeouts {
            connect: timeouts.connect.scalar_or(defaults::CONNECT_TIMEOUT),
            read: timeouts.read.scalar_or(defaults::READ_TIMEOUT),
            write: timeouts.write.scalar_or(defaults::WRITE_TIMEOUT),
            request: timeouts.request.scalar(),
        },
        retry: retry::overrides(cx, shape.retry.value().unwrap_or_default()).over(standard_retry()),
        limits: limits(cx, shape.limits.value().unwrap_or_default()),
        endpoints: endpoints.map(|(at, list)| self::endpoints(cx, at, list)).unwrap_or_default(),
    }
}

fn endpoints(
    cx: &Lowering,
    at: NodeId,
    list: List<Either<scalar::EndpointText, shapes::Endpoint>>,
) -> Vec<EndpointSpec> {
    if list.is_empty() {
        cx.error_with(at.value(), "there are no endpoints", "write at least one, as [\"backend:8080\"]");
    }
    let is_complete = list.iter().all(|field| !field.is_wrong());
    let mut first_lines: HashMap<EndpointAddress, u32> = HashMap::new();
    let mut endpoints = Vec::with_capacity(list.len());
    for (at, written) in list.into_iter().filter_map(Field::given) {
        let Some(endpoint) = endpoint(cx, at, written) else { continue };
        let line = cx.findings.line(at.value());
        if let Some(first) = first_lines.insert(endpoint.address.clone(), line) {
            let message = format!("the endpoint {} is here twice; it was first at line {first}", endpoint.address);
            cx.error_with(at.value(), message, "for a larger share give it a weight");
        }
        endpoints.push(endpoint);
    }
    if is_complete && !endpoints.is_empty() && endpoints.iter().all(|endpoint| endpoint.backup) {
        cx.warning(at.key(), "every endpoint is a backup", "take the mark from those that should be used first");
    }
    endpoints
}

fn endpoint(
    cx: &Lowering,
    at: NodeId,
    written: Either<scalar::EndpointText, shapes::Endpoint>,
) -> Option<EndpointSpec> {
    match written {
        Either::Short(address) => Some(EndpointSpec { address: address.0, weight: defaults::WEIGHT, backup: false }),
        Either::Full(shape) => {
            let (_, address) = cx.required(shape.address, at, "address", "address: \"backend:8080\"")?;
            Some(EndpointSpec {
                address: address.0,
                weight: shape.weight.scalar_or(defaults::WEIGHT),
                backup: shape.backup.value_or(false),
            })
        }
    }
}

fn balance(shape: shapes::Balance) -> LbPolicy {
    match shape {
        shapes::Balance::RoundRobin => LbPolicy::RoundRobin,
        shapes::Balance::LeastConnections => LbPolicy::LeastConnections,
        shapes::Balance::PeakEwma => LbPolicy::PeakEwma,
        shapes::Balance::Random => LbPolicy::Random,
        shapes::Balance::Hash(key) => LbPolicy::Hash(hash_key(key)),
    }
}

pub fn hash_key(shape: shapes::HashKey) -> HashKey {
    match shape {
        shapes::HashKey::ClientIp => HashKey::ClientIp,
        shapes::HashKey::Path => HashKey::Path,
        shapes::HashKey::Header(name) => HashKey::Header(name.0.to_ascii_lowercase().into()),
        shapes::HashKey::Cookie(name) => HashKey::Cookie(name.0),
        shapes::HashKey::Query(name) => HashKey::Query(name.into()),
    }
}

fn sticky(cx: &Lowering, at: NodeId, shape: shapes::Sticky) -> Option<StickyCookie> {
    let (_, name) = cx.required(shape.cookie, at, "cookie", "cookie: weir, the name it has")?;
    Some(StickyCookie {
        name: name.0,
        max_age: shape.max_age.scalar(),
        path: shape.path.scalar_or(defaults::STICKY_PATH.into()),
        same_site: match shape.same_site.value() {
            Some(shapes::SameSite::Strict) => SameSite::Strict,
            Some(shapes::SameSite::Lax) => SameSite::Lax,
            Some(shapes::SameSite::None) => SameSite::None,
            None => defaults::STICKY_SAME_SITE,
        },
        domain: None,
        secure: SecureCookie::AsGiven,
    })
}

fn check_sticky(cx: &Lowering, shape: &shapes::Upstream, listeners: &[(Place, Listener)]) {
    let Field::Given(at, sticky) = &shape.sticky else { return };
    if let Field::Given(_, shapes::Balance::Hash(_)) = &shape.balance {
        let help = "keep one: a hash finds the endpoint from the request alone, a cookie remembers it";
        cx.error_with(at.key(), "\"sticky\" cannot stand beside balance: { hash: … }", help);
    }
    if let Field::Given(at, shapes::SameSite::None) = &sticky.same_site
        && !listeners.iter().any(|(_, listener)| listener.tls.is_some())
    {
        let message = "browsers take a same-site: none cookie over TLS only, and no listener has TLS";
        cx.warning(at.value(), message, "write lax, or give a listener tls: {}");
    }
}

fn protocol(cx: &Lowering, shape: &shapes::Upstream) -> UpstreamProtocol {
    if let (Field::Given(at, shapes::Protocol::Auto), Field::Absent) = (&shape.protocol, &shape.tls) {
        let message = "protocols are agreed on during the TLS handshake, and this upstream has no TLS";
        cx.error_with(at.value(), message, "write http1 or http2, or give it tls: {}");
    }
    match &shape.protocol {
        Field::Given(_, shapes::Protocol::Http1) => UpstreamProtocol::Http1,
        Field::Given(_, shapes::Protocol::Http2) => UpstreamProtocol::Http2,
        Field::Given(_, shapes::Protocol::Auto) => UpstreamProtocol::Auto,
        Field::Absent => defaults::PROTOCOL,
        // Whatever was meant, nothing is said about what needs HTTP/2.
        Field::Wrong(_) => UpstreamProtocol::Http2,
    }
}

fn check_grpc(cx: &Lowering, at: NodeId, check: Option<&HealthCheck>, protocol: UpstreamProtocol) {
    let is_grpc = matches!(check, Some(HealthCheck { probe: Probe::Grpc { .. }, .. }));
    if is_grpc && protocol == UpstreamProtocol::Http1 {
        cx.error_with(at.key(), "a grpc health check needs HTTP/2", "give the upstream protocol: http2");
    }
}

fn tls(cx: &Lowering, shape: shapes::UpstreamTls) -> UpstreamTls {
    let pair = shape.client_certificate.given().and_then(|(at, pair)| certificate::key_pair(cx, at, pair));
    UpstreamTls {
        verify: match shape.verify.value() {
            Some(shapes::Verify::Full) => Verify::Full,
            Some(shapes::Verify::Skip) => Verify::Skip,
            None => defaults::VERIFY,
        },
        server_name: shape.server_name.scalar(),
        ca: shape.ca.scalar().map(|ca| cx.file(ca)),
        client_certificate: pair.map(|(cert, key)| ClientCertificate { cert, key }),
    }
}

fn keepalive(written: Field<Either<scalar::Amount, shapes::Keepalive>>) -> Keepalive {
    let shape = match written {
        Field::Given(at, Either::Short(connections)) => {
            shapes::Keepalive { connections: Field::Given(at, connections), ..Default::default() }
        }
        Field::Given(_, Either::Full(shape)) => shape,
        Field::Absent | Field::Wrong(_) => shapes::Keepalive::default(),
    };
    Keepalive {
        connections: shape.connections.scalar_or(defaults::KEEPALIVE_CONNECTIONS) as usize,
        idle_timeout: shape.idle_timeout.scalar_or(defaults::KEEPALIVE_IDLE_TIMEOUT),
        max_requests: shape.max_requests.scalar(),
    }
}

fn limits(cx: &Lowering, shape: shapes::UpstreamLimits) -> UpstreamLimits {
    if matches!(shape.max_connections, Field::Absent) {
        for place in [shape.queue.key(), shape.queue_timeout.key()].into_iter().flatten() {
            let message = "nothing ever waits, since there is no \"max-connections\" beside it";
            cx.warning(place, message, "write max-connections, or take it out");
        }
    }
    UpstreamLimits {
        max_connections: shape.max_connections.scalar(),
        queue: shape.queue.scalar_or(defaults::QUEUE) as usize,
        queue_timeout: shape.queue_timeout.scalar_or(defaults::QUEUE_TIMEOUT),
    }
}
