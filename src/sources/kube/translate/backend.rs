//! Upstreams: what a Service, a port and a way of speaking come to.
//!
//! ```text
//! namespace/service:port + Variant ──Service──► its port ──► a list of endpoints, or an address ──► Upstream
//! ```
//!
//! In ingress-nginx the first Ingress that names a Service decides how it is balanced for all. Here each way of speaking with it is
//! an upstream of its own, so that no Ingress changes another's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::endpoints::{Listings, Slices, Standing, endpoint, service_port};
use super::report::{ObjectKind, origin};
use crate::defaults;
use crate::model::{
    EndpointAddress, EndpointSpec, HashKey, HashPart, Keepalive, LbPolicy, Percent, Retry, RetryOn, StickyCookie,
    Upstream, UpstreamLimits, UpstreamName, UpstreamProtocol, UpstreamTimeouts, UpstreamTls,
};
use crate::sources::asked_upstream::standard_outlier_detection;
use crate::sources::kube::options::Options;
use crate::sources::kube::state::{ClusterState, ObjectKey, PortName, Service, ServiceKind, ServicePort, Transport};

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Backend {
    pub service: ObjectKey,
    pub port: PortName,
}

/// How it is spoken with.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    pub protocol: UpstreamProtocol,
    pub tls: Option<UpstreamTls>,
    pub balance: LbPolicy,
    pub sticky: Option<StickyCookie>,
    pub address: AddressedBy,
    pub reuse: Reuse,
    pub sent: Sent,
}

/// What goes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    Requests,
    Connections,
    Datagrams,
}

impl Sent {
    fn transport(self) -> Transport {
        match self {
            Sent::Requests | Sent::Connections => Transport::Tcp,
            Sent::Datagrams => Transport::Udp,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressedBy {
    Endpoints,
    /// The Service's own address.
    Service,
}

/// Whether connections serve several requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    Keep,
    Close,
}

impl Variant {
    /// Plain HTTP, in turn.
    pub fn plain() -> Self {
        Self {
            protocol: UpstreamProtocol::Http1,
            tls: None,
            balance: LbPolicy::RoundRobin,
            sticky: None,
            address: AddressedBy::Endpoints,
            reuse: Reuse::Keep,
            sent: Sent::Requests,
        }
    }

    /// Carried on as they come, in turn.
    pub fn connections() -> Self {
        Self { sent: Sent::Connections, ..Self::plain() }
    }

    pub fn datagrams() -> Self {
        Self { sent: Sent::Datagrams, ..Self::plain() }
    }

    /// What tells it from the usual one, in words.
    fn words(&self) -> String {
        let mut words = Vec::new();
        if let Some(tls) = &self.tls {
            words.push(tls.server_name.as_deref().map_or("tls".into(), |name| format!("tls:{name}")));
        }
        match self.protocol {
            UpstreamProtocol::Http1 => {}
            UpstreamProtocol::Http2 => words.push("http2".into()),
            UpstreamProtocol::Auto => words.push("auto".into()),
        }
        match &self.balance {
            LbPolicy::RoundRobin => {}
            LbPolicy::LeastConnections => words.push("least-connections".into()),
            LbPolicy::PeakEwma => words.push("ewma".into()),
            LbPolicy::Random => words.push("random".into()),
            LbPolicy::Hash(key) => words.push(hash_words(key)),
            LbPolicy::HashSubset(key, size) => words.push(format!("{}/{size}", hash_words(key))),
        }
        if let Some(sticky) = &self.sticky {
            words.push(format!("cookie:{}{}", sticky.name, sticky.path));
        }
        if self.address == AddressedBy::Service {
            words.push("service".into());
        }
        if self.reuse == Reuse::Close {
            words.push("close".into());
        }
        match self.sent {
            Sent::Requests => {}
            Sent::Connections => words.push("tcp".into()),
            Sent::Datagrams => words.push("udp".into()),
        }
        words.join(",")
    }
}

fn hash_words(key: &HashKey) -> String {
    match key {
        HashKey::ClientIp => "hash:client-ip".into(),
        HashKey::Header(name) => format!("hash:header:{name}"),
        HashKey::Cookie(name) => format!("hash:cookie:{name}"),
        HashKey::Path => "hash:path".into(),
        HashKey::Query(name) => format!("hash:query:{name}"),
        HashKey::Host => "hash:host".into(),
        HashKey::Uri => "hash:uri".into(),
        HashKey::Joined(parts) => {
            let words = parts.iter().map(|part| match part {
                HashPart::Text(text) => text.to_string(),
                HashPart::Key(key) => hash_words(key),
            });
            words.collect::<Vec<_>>().join("+")
        }
    }
}

/// The upstreams that somebody asked for.
pub struct Upstreams<'s> {
    state: &'s ClusterState,
    options: &'s Options,
    slices: &'s Slices<'s>,
    listings: Listings,
    /// Services that were looked for.
    services: BTreeSet<ObjectKey>,
    built: BTreeMap<Backend, Vec<(Variant, Upstream)>>,
}

/// Why a backend has no endpoints that could ever come.
#[derive(Debug)]
pub enum BadBackend {
    NoService,
    NoPort(Transport),
    /// A name that is none, or that leads back to this machine.
    ExternalName(Arc<str>),
    /// `service-upstream` of a Service that has no address.
    NoAddress,
}

impl BadBackend {
    pub fn in_words(&self, Backend { service, port }: &Backend) -> String {
        match self {
            BadBackend::NoService => format!("there is no Service {service}"),
            BadBackend::NoPort(transport) => format!("the Service {service} has no {transport} port {port}"),
            BadBackend::ExternalName(name) => {
                format!("the Service {service} stands for {name:?}, which is no host elsewhere")
            }
            BadBackend::NoAddress => format!("the Service {service} has no address of its own"),
        }
    }
}

impl<'s> Upstreams<'s> {
    pub fn new(state: &'s ClusterState, options: &'s Options, slices: &'s Slices<'s>) -> Self {
        let (listings, services, built) = Default::default();
        Self { state, options, slices, listings, services, built }
    }

    /// An upstream without endpoints answers 503.
    pub fn of(&mut self, backend: &Backend, variant: &Variant) -> Result<UpstreamName, BadBackend> {
        if let Some(known) = self.built.get(backend)
            && let Some((_, upstream)) = known.iter().find(|(known, _)| known == variant)
        {
            return Ok(upstream.name.clone());
        }
        let endpoints = self.endpoints(backend, variant.address, variant.sent.transport())?;
        let name = self.name(backend, variant);
        let upstream = upstream(name.clone(), &backend.service, endpoints, variant, self.options);
        self.built.entry(backend.clone()).or_default().push((variant.clone(), upstream));
        Ok(name)
    }

    pub fn has_endpoints(&mut self, backend: &Backend) -> bool {
        let Some(service) = self.service(&backend.service) else { return false };
        match (&service.kind, service_port(service, &backend.port, Transport::Tcp)) {
            (ServiceKind::Cluster(_) | ServiceKind::Headless, Some(port)) => {
                self.listings.decide(backend, || self.slices.endpoints(service, port))
            }
            (ServiceKind::Cluster(_) | ServiceKind::Headless, None) => false,
            (ServiceKind::ExternalName(_), _) => {
                self.endpoints(backend, AddressedBy::Endpoints, Transport::Tcp).is_ok()
            }
        }
    }

    /// The first port of a Service, which stands for it where none is named.
    pub fn first_port(&mut self, service: &ObjectKey) -> Result<PortName, BadBackend> {
        let service = self.service(service).ok_or(BadBackend::NoService)?;
        let mut ports = service.ports_of(Transport::Tcp);
        ports.next().map(|port| PortName::Number(port.number)).ok_or(BadBackend::NoPort(Transport::Tcp))
    }

    /// With the lists that they name, and the Services that were looked for.
    pub fn finish(self) -> (Vec<(Backend, Upstream)>, Listings, BTreeSet<ObjectKey>) {
        let mut upstreams = Vec::new();
        for (backend, variants) in self.built {
            upstreams.extend(variants.into_iter().map(|(_, upstream)| (backend.clone(), upstream)));
        }
        (upstreams, self.listings, self.services)
    }

    fn service(&mut self, key: &ObjectKey) -> Option<&'s Service> {
        if !self.services.contains(key) {
            self.services.insert(key.clone());
        }
        self.state.services.get(key).map(|service| &**service)
    }

    /// No name of an object has a slash, a colon or a plus: two upstreams never have one name.
    fn name(&self, backend: &Backend, variant: &Variant) -> UpstreamName {
        let base = format!("{}:{}", backend.service, backend.port);
        let words = variant.words();
        let name = if words.is_empty() { base } else { format!("{base}+{words}") };
        let taken = |name: &str| {
            self.built
                .get(backend)
                .is_some_and(|known| known.iter().any(|(_, upstream)| upstream.name.as_str() == name))
        };
        let free = (2_u32..).map(|number| format!("{name}#{number}")).find(|name| !taken(name));
        UpstreamName::new(if taken(&name) { free.unwrap_or(name) } else { name })
    }

    fn endpoints(
        &mut self,
        backend: &Backend,
        address: AddressedBy,
        transport: Transport,
    ) -> Result<Vec<EndpointSpec>, BadBackend> {
        let service = self.service(&backend.service).ok_or(BadBackend::NoService)?;
        let port = service_port(service, &backend.port, transport);
        let no_port = BadBackend::NoPort(transport);
        match (&service.kind, address) {
            (ServiceKind::ExternalName(name), _) => {
                let number = port.map(target_number).or(match backend.port {
                    PortName::Number(number) => Some(number),
                    PortName::Name(_) => None,
                });
                external(name, number.ok_or(no_port)?).map(|endpoint| vec![endpoint])
            }
            (ServiceKind::Cluster(ip), AddressedBy::Service) => {
                let port = port.ok_or(no_port)?;
                Ok(vec![endpoint(SocketAddr::new(*ip, port.number), Standing::First)])
            }
            (ServiceKind::Headless, AddressedBy::Service) => Err(BadBackend::NoAddress),
            (ServiceKind::Cluster(_) | ServiceKind::Headless, AddressedBy::Endpoints) => {
                let port = port.ok_or(no_port)?;
                let name = self.listings.name(backend, transport, || self.slices.endpoints(service, port));
                let address = EndpointAddress::Listed(name);
                Ok(vec![EndpointSpec { address, weight: defaults::WEIGHT, backup: false }])
            }
        }
    }
}

fn target_number(port: &ServicePort) -> u16 {
    match port.target {
        PortName::Number(number) => number,
        PortName::Name(_) => port.number,
    }
}

/// Not in the cluster: in the pod.
pub fn is_here(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || address.is_unspecified()
}

fn external(name: &Arc<str>, port: u16) -> Result<EndpointSpec, BadBackend> {
    let bad = || BadBackend::ExternalName(name.clone());
    let host = name.trim_end_matches('.');
    let address = match host.parse() {
        Ok(ip) => EndpointAddress::Ip(SocketAddr::new(ip, port)),
        Err(_) if host.contains([':', '/']) => return Err(bad()),
        Err(_) => EndpointAddress::parse(&format!("{host}:{port}")).map_err(|_| bad())?,
    };
    let is_here = match &address {
        EndpointAddress::Ip(address) => is_here(address.ip()),
        EndpointAddress::Dns { host, .. } => &**host == "localhost" || host.ends_with(".localhost"),
        EndpointAddress::Srv(_) | EndpointAddress::Listed(_) => true,
    };
    if is_here { Err(bad()) } else { Ok(EndpointSpec { address, weight: defaults::WEIGHT, backup: false }) }
}

fn upstream(
    name: UpstreamName,
    service: &ObjectKey,
    endpoints: Vec<EndpointSpec>,
    variant: &Variant,
    options: &Options,
) -> Upstream {
    let connections = match variant.reuse {
        Reuse::Keep => options.connections.upstream_idle,
        Reuse::Close => 0,
    };
    Upstream {
        name,
        origin: origin(ObjectKind::Service, service),
        endpoints,
        balance: variant.balance.clone(),
        sticky: variant.sticky.clone(),
        slow_start: None,
        health_check: None,
        outlier_detection: Some(standard_outlier_detection()),
        when_all_unhealthy: defaults::WHEN_ALL_UNHEALTHY,
        protocol: variant.protocol,
        tls: variant.tls.clone(),
        keepalive: Keepalive {
            connections,
            idle_timeout: options.connections.upstream_idle_timeout,
            max_requests: NonZeroU32::new(options.connections.upstream_requests),
        },
        timeouts: UpstreamTimeouts {
            connect: options.connect_timeout,
            read: options.read_timeout,
            write: options.send_timeout,
            request: None,
        },
        retry: match variant.sent {
            Sent::Requests => {
                retry(options.next_upstream.clone(), options.next_upstream_tries, options.next_upstream_timeout)
            }
            Sent::Connections | Sent::Datagrams => {
                let streams = &options.streams;
                let on = if streams.next_upstream { vec![RetryOn::Connect] } else { Vec::new() };
                retry(on, streams.next_upstream_tries, streams.next_upstream_timeout)
            }
        },
        limits: UpstreamLimits {
            max_connections: None,
            queue: defaults::QUEUE as usize,
            queue_timeout: defaults::QUEUE_TIMEOUT,
        },
    }
}

/// nginx knows no budget: as many as there are requests is as good as none.
const RETRY_BUDGET: Percent = Percent(100);

/// As nginx counts: 0 is without end, which is as many here as there may ever be.
pub fn retry(on: Vec<RetryOn>, tries: u32, timeout: Duration) -> Retry {
    let tries = match (on.is_empty(), tries) {
        (true, _) => 1,
        (false, 0) => defaults::RETRY_ATTEMPTS_LIMIT,
        (false, tries) => tries.min(defaults::RETRY_ATTEMPTS_LIMIT),
    };
    Retry {
        attempts: NonZeroU32::new(tries).unwrap_or(NonZeroU32::MIN),
        on,
        timeout: (!timeout.is_zero()).then_some(timeout),
        budget: RETRY_BUDGET,
        max_body: defaults::RETRY_MAX_BODY,
    }
}
