//! Services and their endpoints.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::objects::text;
use super::{ObjectKey, PublishedAddress};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub key: ObjectKey,
    pub kind: ServiceKind,
    /// Of TCP and UDP.
    pub ports: Vec<ServicePort>,
    /// What a load balancer gave it, and the external addresses that were written.
    pub published: Vec<PublishedAddress>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceKind {
    /// Of an address in the cluster.
    Cluster(IpAddr),
    /// Its endpoints alone have addresses.
    Headless,
    /// A name outside of the cluster.
    ExternalName(Arc<str>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Ports of a Service that has one only may have none.
    pub name: Option<Arc<str>>,
    pub transport: Transport,
    pub number: u16,
    pub target: PortName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    Tcp,
    Udp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Transport::Tcp => "TCP",
            Transport::Udp => "UDP",
        })
    }
}

/// How a port is referred to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PortName {
    Number(u16),
    Name(Arc<str>),
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PortName::Number(number) => write!(f, "{number}"),
            PortName::Name(name) => f.write_str(name),
        }
    }
}

impl Service {
    /// By its name, or by its number.
    pub fn port(&self, port: &PortName, transport: Transport) -> Option<&ServicePort> {
        self.ports_of(transport).find(|candidate| match port {
            PortName::Number(number) => candidate.number == *number,
            PortName::Name(name) => candidate.name.as_ref() == Some(name),
        })
    }

    pub fn ports_of(&self, transport: Transport) -> impl Iterator<Item = &ServicePort> {
        self.ports.iter().filter(move |port| port.transport == transport)
    }
}

impl From<&core::Service> for Service {
    fn from(object: &core::Service) -> Self {
        let spec = object.spec.as_ref();
        let external_name = text(spec.and_then(|spec| spec.external_name.as_ref()));
        let of_type = |name| spec.and_then(|spec| spec.type_.as_deref()) == Some(name);
        let address = spec.and_then(|spec| spec.cluster_ip.as_deref()?.parse().ok());
        let kind = match (of_type("ExternalName"), external_name, address) {
            (true, name, _) => ServiceKind::ExternalName(name.unwrap_or_default()),
            (false, _, Some(address)) => ServiceKind::Cluster(address),
            (false, _, None) => ServiceKind::Headless,
        };
        let ports = spec.and_then(|spec| spec.ports.as_ref());
        let balancer = object.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let given = balancer.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
        let written = spec.and_then(|spec| spec.external_ips.as_ref()).into_iter().flatten();
        let published = given
            .filter_map(|address| PublishedAddress::of(address.ip.as_ref(), address.hostname.as_ref()))
            .chain(written.filter_map(|address| PublishedAddress::of(Some(address), None)))
            .collect::<Vec<_>>();
        // As ingress-nginx: without a load balancer, what the cluster itself knows it by.
        let published = match &kind {
            ServiceKind::ExternalName(name) => vec![PublishedAddress::Hostname(name.clone())],
            ServiceKind::Cluster(address) if published.is_empty() && !of_type("LoadBalancer") => {
                vec![PublishedAddress::Ip(address.to_string().into())]
            }
            ServiceKind::Cluster(_) | ServiceKind::Headless => published,
        };
        let ports = ports.into_iter().flatten().filter_map(service_port).collect();
        Self { key: ObjectKey::from(&object.metadata), kind, ports, published }
    }
}

fn service_port(port: &core::ServicePort) -> Option<ServicePort> {
    let transport = transport(port.protocol.as_deref())?;
    let number = u16::try_from(port.port).ok()?;
    let target = match &port.target_port {
        Some(IntOrString::Int(target)) => u16::try_from(*target).ok().filter(|target| *target != 0),
        Some(IntOrString::String(name)) => {
            return Some(ServicePort {
                name: text(port.name.as_ref()),
                transport,
                number,
                target: PortName::Name(name.as_str().into()),
            });
        }
        None => None,
    };
    let target = PortName::Number(target.unwrap_or(number));
    Some(ServicePort { name: text(port.name.as_ref()), transport, number, target })
}

/// None: SCTP, which nobody carries.
fn transport(protocol: Option<&str>) -> Option<Transport> {
    match protocol {
        None | Some("TCP") => Some(Transport::Tcp),
        Some("UDP") => Some(Transport::Udp),
        Some(_) => None,
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSlice {
    pub key: ObjectKey,
    /// Whose endpoints they are.
    pub service: ObjectKey,
    /// Of TCP and UDP.
    pub ports: Vec<EndpointPort>,
    pub endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointPort {
    /// The Service's name of the port.
    pub name: Option<Arc<str>>,
    pub transport: Transport,
    pub number: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub address: IpAddr,
    pub condition: EndpointCondition,
    pub zone: Option<Arc<str>>,
}

/// What the three conditions of an endpoint come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointCondition {
    Ready,
    /// Terminating, and answering still.
    Leaving,
    NotReady,
}

const SERVICE_NAME: &str = "kubernetes.io/service-name";

impl From<&discovery::EndpointSlice> for EndpointSlice {
    fn from(object: &discovery::EndpointSlice) -> Self {
        let key = ObjectKey::from(&object.metadata);
        let service = object.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME));
        let ports = object.ports.iter().flatten().filter_map(|port| {
            let (transport, number) = (transport(port.protocol.as_deref())?, u16::try_from(port.port?).ok()?);
            Some(EndpointPort { name: text(port.name.as_ref()), transport, number })
        });
        Self {
            service: ObjectKey::new(key.namespace.clone(), service.map_or("", String::as_str)),
            key,
            ports: ports.collect(),
            endpoints: object.endpoints.iter().flatten().flat_map(endpoints).collect(),
        }
    }
}

/// All addresses of an endpoint are the same pod, and the API allows to take the first alone.
fn endpoints(endpoint: &discovery::Endpoint) -> Option<Endpoint> {
    let address = endpoint.addresses.first()?.parse().ok()?;
    Some(Endpoint { address, condition: condition(endpoint.conditions.as_ref()), zone: text(endpoint.zone.as_ref()) })
}

/// What is not said of readiness means ready (EndpointConditions of the API); what is not said of serving is as readiness.
fn condition(conditions: Option<&discovery::EndpointConditions>) -> EndpointCondition {
    let Some(conditions) = conditions else { return EndpointCondition::Ready };
    let ready = conditions.ready.unwrap_or(true);
    match (ready, conditions.serving.unwrap_or(ready), conditions.terminating.unwrap_or(false)) {
        (true, _, false) => EndpointCondition::Ready,
        (_, true, true) => EndpointCondition::Leaving,
        _ => EndpointCondition::NotReady,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_conditions_come_to_one() {
        use EndpointCondition::*;
        for (ready, serving, terminating, expected) in [
            (None, None, None, Ready),
            (Some(true), Some(true), Some(false), Ready),
            (Some(false), Some(true), Some(true), Leaving),
            (Some(false), Some(false), Some(true), NotReady),
            (Some(false), Some(false), None, NotReady),
            (Some(false), None, None, NotReady),
            // publishNotReadyAddresses: ready whatever the pod does.
            (Some(true), Some(true), Some(true), Leaving),
        ] {
            let written = discovery::EndpointConditions { ready, serving, terminating };
            assert_eq!(condition(Some(&written)), expected, "{written:?}");
        }
        assert_eq!(condition(None), Ready);
    }
}
