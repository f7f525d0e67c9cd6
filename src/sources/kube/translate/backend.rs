//! Upstreams: what a Service and a port come to.
//!
//! ```text
//! namespace/service:port ──Service──► its port ──EndpointSlices──► addresses of pods ──► Upstream
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use super::report::{ObjectKind, origin};
use crate::defaults;
use crate::model::{
    EndpointAddress, EndpointSpec, Keepalive, OutlierDetection, Retry, Upstream, UpstreamLimits, UpstreamName,
    UpstreamTimeouts,
};
use crate::sources::kube::state::{
    ClusterState, EndpointCondition, EndpointSlice, ObjectKey, PortName, Service, ServiceKind, ServicePort,
};

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Backend {
    pub service: ObjectKey,
    pub port: PortName,
}

impl Backend {
    /// No name of an object has a slash or a colon: two backends never have one name.
    fn upstream_name(&self) -> UpstreamName {
        UpstreamName::new(format!("{}:{}", self.service, self.port))
    }
}

/// The upstreams that somebody asked for, by backend.
pub struct Upstreams<'s> {
    state: &'s ClusterState,
    slices: HashMap<&'s ObjectKey, Vec<&'s EndpointSlice>>,
    built: BTreeMap<Backend, Upstream>,
}

/// Why a backend has no endpoints that could ever come.
pub enum BadBackend {
    NoService,
    NoPort,
    /// A name that is none, or that leads back to this machine.
    ExternalName(Arc<str>),
}

impl<'s> Upstreams<'s> {
    pub fn new(state: &'s ClusterState) -> Self {
        let mut slices: HashMap<_, Vec<_>> = HashMap::new();
        for (_, slice) in state.slices.iter() {
            slices.entry(&slice.service).or_default().push(&**slice);
        }
        Self { state, slices, built: BTreeMap::new() }
    }

    /// An upstream without endpoints answers 503.
    pub fn of(&mut self, backend: &Backend) -> Result<UpstreamName, BadBackend> {
        if !self.built.contains_key(backend) {
            let endpoints = self.endpoints(backend)?;
            self.built.insert(backend.clone(), upstream(backend, endpoints));
        }
        Ok(backend.upstream_name())
    }

    pub fn into_values(self) -> Vec<Upstream> {
        self.built.into_values().collect()
    }

    fn endpoints(&self, backend: &Backend) -> Result<Vec<EndpointSpec>, BadBackend> {
        let service = self.state.services.get(&backend.service).ok_or(BadBackend::NoService)?;
        if let ServiceKind::ExternalName(name) = &service.kind {
            let number = service.port(&backend.port).map(target_number).or(match backend.port {
                PortName::Number(number) => Some(number),
                PortName::Name(_) => None,
            });
            return external(name, number.ok_or(BadBackend::NoPort)?).map(|endpoint| vec![endpoint]);
        }
        let port = service.port(&backend.port).ok_or(BadBackend::NoPort)?;
        Ok(self.of_slices(service, port))
    }

    /// Each address once, whatever slices it stands in. Those that leave are used where no other is left.
    fn of_slices(&self, service: &Service, port: &ServicePort) -> Vec<EndpointSpec> {
        let slices = self.slices.get(&service.key).map_or(&[][..], Vec::as_slice);
        let (mut ready, mut leaving) = (BTreeSet::new(), BTreeSet::new());
        for slice in slices {
            let numbers: Vec<u16> = slice_ports(slice, port);
            for endpoint in &slice.endpoints {
                let addresses = numbers.iter().map(|number| SocketAddr::new(endpoint.address, *number));
                match endpoint.condition {
                    EndpointCondition::Ready => ready.extend(addresses),
                    EndpointCondition::Leaving => leaving.extend(addresses),
                    EndpointCondition::NotReady => {}
                }
            }
        }
        let endpoint =
            |address, backup| EndpointSpec { address: EndpointAddress::Ip(address), weight: defaults::WEIGHT, backup };
        let leaving = leaving.difference(&ready).map(|address| endpoint(*address, true));
        ready.iter().map(|address| endpoint(*address, false)).chain(leaving).collect()
    }
}

/// Those of the Service's port; where none has its name, the target that is a number.
fn slice_ports(slice: &EndpointSlice, port: &ServicePort) -> Vec<u16> {
    let named = slice.ports.iter().filter(|candidate| port.name.is_none() || candidate.name == port.name);
    let numbers: Vec<u16> = named.map(|candidate| candidate.number).collect();
    match (&port.target, numbers.is_empty()) {
        (PortName::Number(number), true) => vec![*number],
        (PortName::Number(_) | PortName::Name(_), _) => numbers,
    }
}

fn target_number(port: &ServicePort) -> u16 {
    match port.target {
        PortName::Number(number) => number,
        PortName::Name(_) => port.number,
    }
}

fn external(name: &Arc<str>, port: u16) -> Result<EndpointSpec, BadBackend> {
    let bad = || BadBackend::ExternalName(name.clone());
    let host = name.trim_end_matches('.');
    let address = match host.parse() {
        Ok(ip) => EndpointAddress::Ip(SocketAddr::new(ip, port)),
        Err(_) => EndpointAddress::parse(&format!("{host}:{port}")).map_err(|_| bad())?,
    };
    let is_here = match &address {
        EndpointAddress::Ip(address) => address.ip().is_loopback() || address.ip().is_unspecified(),
        EndpointAddress::Dns { host, .. } => &**host == "localhost" || host.ends_with(".localhost"),
        EndpointAddress::Srv(_) => true,
    };
    if is_here { Err(bad()) } else { Ok(EndpointSpec { address, weight: defaults::WEIGHT, backup: false }) }
}

fn upstream(backend: &Backend, endpoints: Vec<EndpointSpec>) -> Upstream {
    Upstream {
        name: backend.upstream_name(),
        origin: origin(ObjectKind::Ingress, &backend.service),
        endpoints,
        balance: defaults::BALANCE,
        sticky: None,
        slow_start: None,
        health_check: None,
        outlier_detection: Some(OutlierDetection {
            failures: defaults::OUTLIER_FAILURES,
            window: defaults::OUTLIER_WINDOW,
            eject_for: defaults::OUTLIER_EJECT_FOR,
            statuses: Vec::new(),
            max_ejected: defaults::OUTLIER_MAX_EJECTED,
        }),
        when_all_unhealthy: defaults::WHEN_ALL_UNHEALTHY,
        protocol: defaults::PROTOCOL,
        tls: None,
        keepalive: Keepalive {
            connections: defaults::KEEPALIVE_CONNECTIONS as usize,
            idle_timeout: defaults::KEEPALIVE_IDLE_TIMEOUT,
            max_requests: None,
        },
        timeouts: UpstreamTimeouts {
            connect: defaults::CONNECT_TIMEOUT,
            read: defaults::READ_TIMEOUT,
            write: defaults::WRITE_TIMEOUT,
            request: None,
        },
        retry: Retry {
            attempts: defaults::RETRY_ATTEMPTS,
            on: defaults::RETRY_ON.to_vec(),
            timeout: Some(defaults::RETRY_TIMEOUT),
            budget: defaults::RETRY_BUDGET,
            max_body: defaults::RETRY_MAX_BODY,
        },
        limits: UpstreamLimits {
            max_connections: None,
            queue: defaults::QUEUE as usize,
            queue_timeout: defaults::QUEUE_TIMEOUT,
        },
    }
}
