//! Endpoints of Services: lists that upstreams name, and that change without a translation.
//!
//! ```text
//! Service:port ──► its EndpointSlices ──► addresses of pods ──► a list
//! slices alone changed ──Whole::lists_again──► those lists, filled anew
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::backend::Backend;
use crate::defaults;
use crate::model::{EndpointAddress, EndpointSpec, ListName};
use crate::sources::kube::state::{
    ClusterState, EndpointCondition, EndpointSlice, ObjectKey, PortName, Service, ServicePort, Transport,
};

/// The lists that upstreams named.
#[derive(Debug, Default)]
pub struct Listings {
    pub lists: BTreeMap<ListKey, Listing>,
    /// Something else was decided by whether they have any endpoint.
    pub decisions: BTreeSet<ListKey>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListKey {
    pub service: ObjectKey,
    pub port: PortName,
    pub transport: Transport,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Listing {
    pub name: ListName,
    pub endpoints: Arc<[EndpointSpec]>,
}

impl ListKey {
    fn of(backend: &Backend, transport: Transport) -> Self {
        Self { service: backend.service.clone(), port: backend.port.clone(), transport }
    }

    /// None of the Service's stands before it.
    pub fn first_of(service: &ObjectKey) -> Self {
        Self { service: service.clone(), port: PortName::Number(0), transport: Transport::Tcp }
    }
}

impl Listings {
    /// The list of a backend, made where nobody asked for it before.
    pub fn name(
        &mut self,
        backend: &Backend,
        transport: Transport,
        endpoints: impl FnOnce() -> Vec<EndpointSpec>,
    ) -> ListName {
        self.listing(backend, transport, endpoints).name.clone()
    }

    /// Whether a backend has endpoints, as a decision that holds until it has some or has none any more.
    pub fn decide(&mut self, backend: &Backend, endpoints: impl FnOnce() -> Vec<EndpointSpec>) -> bool {
        self.decisions.insert(ListKey::of(backend, Transport::Tcp));
        !self.listing(backend, Transport::Tcp, endpoints).endpoints.is_empty()
    }

    fn listing(
        &mut self,
        backend: &Backend,
        transport: Transport,
        endpoints: impl FnOnce() -> Vec<EndpointSpec>,
    ) -> &Listing {
        let suffix = match transport {
            Transport::Tcp => "",
            Transport::Udp => "/udp",
        };
        self.lists.entry(ListKey::of(backend, transport)).or_insert_with(|| Listing {
            name: format!("{}:{}{suffix}", backend.service, backend.port).into(),
            endpoints: endpoints().into(),
        })
    }
}

/// In the order of the Services whose they are.
pub struct Slices<'s>(Vec<&'s EndpointSlice>);

impl<'s> Slices<'s> {
    pub fn of(state: &'s ClusterState, counts: impl Fn(&ObjectKey) -> bool) -> Self {
        let slices = state.slices.iter().map(|(_, slice)| &**slice);
        let mut slices: Vec<_> = slices.filter(|slice| counts(&slice.service)).collect();
        slices.sort_by(|a, b| a.service.cmp(&b.service));
        Self(slices)
    }

    fn of_service(&self, service: &ObjectKey) -> &[&'s EndpointSlice] {
        let start = self.0.partition_point(|slice| slice.service < *service);
        let end = start + self.0[start..].partition_point(|slice| slice.service == *service);
        &self.0[start..end]
    }

    /// Each address once, whatever slices it stands in. Those that leave are used where no other is left.
    pub fn endpoints(&self, service: &Service, port: &ServicePort) -> Vec<EndpointSpec> {
        let slices = self.of_service(&service.key);
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
        let leaving = leaving.difference(&ready).map(|address| endpoint(*address, Standing::Backup));
        ready.iter().map(|address| endpoint(*address, Standing::First)).chain(leaving).collect()
    }
}

pub enum Standing {
    First,
    Backup,
}

pub fn endpoint(address: SocketAddr, standing: Standing) -> EndpointSpec {
    let backup = matches!(standing, Standing::Backup);
    EndpointSpec { address: EndpointAddress::Ip(address), weight: defaults::WEIGHT, backup }
}

/// By name or number; as in ingress-nginx, the number of its target will do.
pub fn service_port<'s>(service: &'s Service, port: &PortName, transport: Transport) -> Option<&'s ServicePort> {
    let by_target = || service.ports_of(transport).find(|candidate| candidate.target == *port);
    service.port(port, transport).or_else(by_target)
}

/// Those of the Service's port; where none has its name, the target that is a number.
fn slice_ports(slice: &EndpointSlice, port: &ServicePort) -> Vec<u16> {
    let alike = slice.ports.iter().filter(|candidate| candidate.transport == port.transport);
    let named = alike.filter(|candidate| port.name.is_none() || candidate.name == port.name);
    let numbers: Vec<u16> = named.map(|candidate| candidate.number).collect();
    match (&port.target, numbers.is_empty()) {
        (PortName::Number(number), true) => vec![*number],
        (PortName::Number(_) | PortName::Name(_), _) => numbers,
    }
}
