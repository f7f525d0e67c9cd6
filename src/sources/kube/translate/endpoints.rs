//! Endpoints of Services: lists that upstreams name, and that change without a translation.
//!
//! ```text
//! Service:port ──► its EndpointSlices ──► addresses of pods ──► a list
//! slices alone changed ──Listings::again──► those lists, filled anew
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use super::backend::Backend;
use crate::defaults;
use crate::model::{EndpointAddress, EndpointLists, EndpointSpec, ListName};
use crate::sources::kube::state::{
    ClusterState, EndpointCondition, EndpointSlice, ObjectKey, PortName, Service, ServicePort, Transport,
};

/// The lists that a translation named, by their Services.
#[derive(Clone, Debug, Default)]
pub struct Listings(BTreeMap<ObjectKey, BTreeMap<(PortName, Transport), Listing>>);

#[derive(Clone, Debug)]
struct Listing {
    name: ListName,
    endpoints: Arc<[EndpointSpec]>,
    /// Something else was decided by whether there are any.
    decides: bool,
}

impl Listings {
    pub fn lists(&self) -> EndpointLists {
        let listings = self.0.values().flat_map(BTreeMap::values);
        listings.map(|listing| (listing.name.clone(), listing.endpoints.clone())).collect()
    }

    /// The lists of `services` as the state has them now. None where more follows from that: then the whole is to be translated.
    pub fn again(&self, state: &ClusterState, services: &BTreeSet<ObjectKey>) -> Option<EndpointLists> {
        let slices = Slices::new(state, |service| services.contains(service));
        let mut lists = EndpointLists::new();
        for (key, listings) in services.iter().filter_map(|key| Some((key, self.0.get(key)?))) {
            let service = state.services.get(key)?;
            for ((port, transport), listing) in listings {
                let endpoints = slices.endpoints(service, service_port(service, port, *transport)?);
                if listing.decides && endpoints.is_empty() != listing.endpoints.is_empty() {
                    return None;
                }
                lists.insert(listing.name.clone(), endpoints.into());
            }
        }
        Some(lists)
    }

    /// The list of a backend, made where nobody asked for it before.
    pub(super) fn name(
        &mut self,
        backend: &Backend,
        transport: Transport,
        endpoints: impl FnOnce() -> Vec<EndpointSpec>,
    ) -> ListName {
        self.listing(backend, transport, endpoints).name.clone()
    }

    /// Whether a backend has endpoints, as a decision that holds until it has some or has none any more.
    pub(super) fn decide(&mut self, backend: &Backend, endpoints: impl FnOnce() -> Vec<EndpointSpec>) -> bool {
        let listing = self.listing(backend, Transport::Tcp, endpoints);
        listing.decides = true;
        !listing.endpoints.is_empty()
    }

    fn listing(
        &mut self,
        backend: &Backend,
        transport: Transport,
        endpoints: impl FnOnce() -> Vec<EndpointSpec>,
    ) -> &mut Listing {
        let ports = self.0.entry(backend.service.clone()).or_default();
        let suffix = match transport {
            Transport::Tcp => "",
            Transport::Udp => "/udp",
        };
        ports.entry((backend.port.clone(), transport)).or_insert_with(|| Listing {
            name: format!("{}:{}{suffix}", backend.service, backend.port).into(),
            endpoints: endpoints().into(),
            decides: false,
        })
    }
}

/// By the Service whose they are.
pub struct Slices<'s>(HashMap<&'s ObjectKey, Vec<&'s EndpointSlice>>);

impl<'s> Slices<'s> {
    pub fn new(state: &'s ClusterState, counts: impl Fn(&ObjectKey) -> bool) -> Self {
        let mut slices: HashMap<_, Vec<_>> = HashMap::new();
        for (_, slice) in state.slices.iter().filter(|(_, slice)| counts(&slice.service)) {
            slices.entry(&slice.service).or_default().push(&**slice);
        }
        Self(slices)
    }

    /// Each address once, whatever slices it stands in. Those that leave are used where no other is left.
    pub fn endpoints(&self, service: &Service, port: &ServicePort) -> Vec<EndpointSpec> {
        let slices = self.0.get(&service.key).map_or(&[][..], Vec::as_slice);
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
