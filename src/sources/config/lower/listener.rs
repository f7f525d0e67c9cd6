//! Listeners.

use std::net::{Ipv4Addr, SocketAddr};

use super::certificate::Certificates;
use super::names::check_name;
use super::process::all;
use super::{Lowering, client_auth, filter, tunnel};
use crate::defaults;
use crate::diagnostics::Origin;
use crate::model::{
    Admin, ByteSize, ConnectionLimits, Http2, Listener, ListenerName, ListenerTls, MinBodyRate, ProxyProtocol,
    TcpListener, UdpListener, overlap,
};
use crate::sources::config::decode::{Field, Table};
use crate::sources::config::findings::Place;
use crate::sources::config::shapes;
use crate::sources::config::tree::NodeId;

/// The listeners that could be read, each with the place of its address.
#[derive(Default)]
pub struct Listeners {
    pub http: Vec<(Place, Listener)>,
    pub tcp: Vec<(Place, TcpListener)>,
    pub udp: Vec<(Place, UdpListener)>,
}

pub fn listeners(cx: &Lowering, written: Field<Table<shapes::Listener>>, certificates: Certificates) -> Listeners {
    let mut listeners = Listeners::default();
    let Some((at, Table(entries))) = written.given() else { return listeners };
    if entries.is_empty() {
        cx.error_with(
            at.key(),
            "no listener is named, so that nothing would be served",
            "write http: { address: \":80\" }",
        );
    }
    for (name, field) in entries {
        let Some(place) = field.key() else { continue };
        check_name(cx, "listener", &name, place);
        if let Some((at, shape)) = field.given() {
            let is_carrier = shape.tcp.key().or(shape.udp.key()).is_some();
            if let (Some(tls), Certificates::Missing, false) = (shape.tls.key(), certificates, is_carrier) {
                let message = "TLS is on, but there are no certificates: every client gets a self-signed one";
                cx.warning(tls, message, "write certificates: [{ file: { cert: …, key: … } }]");
            }
            listeners.add(cx, name, at, shape);
        }
    }
    listeners
}

/// Stands in for an address that cannot be read. Any number of listeners may have it.
const NO_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// What all of them have.
pub struct Door {
    pub name: ListenerName,
    pub origin: Origin,
    pub address: SocketAddr,
}

impl Listeners {
    fn add(&mut self, cx: &Lowering, name: String, at: NodeId, mut shape: shapes::Listener) {
        let carries = [("tcp", shape.tcp.key()), ("udp", shape.udp.key())];
        cx.only_one(&carries);
        if carries.iter().any(|(_, place)| place.is_some()) {
            cx.carriers.borrow_mut().insert(name.clone());
        }
        let address = cx.required(std::mem::take(&mut shape.address), at, "address", "address: \":80\"");
        let (place, address) = address.map_or((at.key(), NO_ADDRESS), |(at, address)| (at.value(), address.0));
        let door = Door { name: ListenerName::new(name), origin: cx.findings.origin(at.key()), address };
        match (std::mem::take(&mut shape.tcp), std::mem::take(&mut shape.udp)) {
            (Field::Given(at, tunnel), _) => {
                self.tcp.extend(tunnel::tcp(cx, door, (at, tunnel), shape).map(|listener| (place, listener)));
            }
            (_, Field::Given(at, datagrams)) => {
                self.udp.extend(tunnel::udp(cx, door, (at, datagrams), &shape).map(|listener| (place, listener)));
            }
            // What it should carry has been reported.
            (Field::Wrong(_), _) | (_, Field::Wrong(_)) => cx.upstreams.lost_a_use(),
            (Field::Absent, Field::Absent) => self.http.push((place, listener(cx, door, shape))),
        }
    }
}

fn listener(cx: &Lowering, door: Door, shape: shapes::Listener) -> Listener {
    let tls = shape.tls.value().map(|shape| tls(cx, shape));
    let proxy_protocol = shape.proxy_protocol.given().map(|(at, shape)| proxy_protocol(cx, at, shape));
    let limits = limits(cx, shape.limits.value().unwrap_or_default());
    let filters = filter::filters(cx, shape.filters, format!("listener:{}", door.name));
    let Door { name, origin, address } = door;
    Listener { name, origin, address, tls, proxy_protocol, limits, filters }
}

fn tls(cx: &Lowering, shape: shapes::ListenerTls) -> ListenerTls {
    ListenerTls {
        min_version: shape.min_version.scalar_or(defaults::TLS_MIN_VERSION),
        ciphers: shape.ciphers.value().map(client_auth::ciphers).unwrap_or_default(),
        http2: match shape.http2.value() {
            Some(true) => Http2::Offer,
            Some(false) => Http2::Off,
            None => defaults::HTTP2,
        },
        client_auth: shape.client_auth.given().and_then(|(at, shape)| client_auth::client_auth(cx, at, shape)),
    }
}

pub fn proxy_protocol(cx: &Lowering, at: NodeId, shape: shapes::ProxyProtocol) -> ProxyProtocol {
    let trusted =
        cx.required(shape.trusted, at, "trusted", "trusted: [10.0.0.0/8], the addresses of the load balancers");
    if let Some((at, list)) = &trusted
        && list.is_empty()
    {
        cx.error_with(at.value(), "nobody is trusted, so that every connection is closed", "write whom: [10.0.0.0/8]");
    }
    ProxyProtocol { trusted: all(trusted.map_or(Field::Absent, |(at, list)| Field::Given(at, list))) }
}

fn limits(cx: &Lowering, shape: shapes::ConnectionLimits) -> ConnectionLimits {
    const SMALLEST_HEADER: ByteSize = ByteSize::kib(1);
    const LARGEST_HEADER: ByteSize = ByteSize::mib(1);
    if let Field::Given(at, size) = &shape.max_header_size
        && !(SMALLEST_HEADER..=LARGEST_HEADER).contains(&size.0)
    {
        let message = format!("{} is out of bounds for a header", size.0);
        cx.error_with(at.value(), message, format!("write {SMALLEST_HEADER} to {LARGEST_HEADER}"));
    }
    ConnectionLimits {
        max_connections: shape.max_connections.scalar().map_or(defaults::MAX_CONNECTIONS, u32::from) as usize,
        max_header_size: shape.max_header_size.scalar_or(defaults::MAX_HEADER_SIZE),
        header_timeout: shape.header_timeout.scalar_or(defaults::HEADER_TIMEOUT),
        body_timeout: shape.body_timeout.scalar_or(defaults::BODY_TIMEOUT),
        min_body_rate: shape.min_body_rate.given().and_then(|(at, shape)| min_body_rate(cx, at, shape)),
        idle_timeout: shape.idle_timeout.scalar_or(defaults::IDLE_TIMEOUT),
        max_requests: shape.max_requests.scalar().map_or(defaults::MAX_REQUESTS, u32::from),
        max_streams: shape.max_streams.scalar().map_or(defaults::MAX_STREAMS, u32::from),
    }
}

fn min_body_rate(cx: &Lowering, at: NodeId, shape: shapes::MinBodyRate) -> Option<MinBodyRate> {
    let (_, rate) = cx.required(shape.rate, at, "rate", "rate: 240B/s")?;
    Some(MinBodyRate { rate: rate.0, grace: shape.grace.scalar_or(defaults::MIN_BODY_RATE_GRACE) })
}

/// No two may listen on one address; any number may ask for a free port (0). Where one listens on a part of another's,
/// what comes to that part is its own: only the admin listener does not share.
pub fn check_addresses(cx: &Lowering, listeners: &Listeners, admin: Option<&Admin>) {
    let http = listeners.http.iter().map(|(place, listener)| Taken::new(*place, &listener.name, listener.address));
    let tcp = listeners.tcp.iter().map(|(place, listener)| Taken::new(*place, &listener.name, listener.address));
    let udp = listeners.udp.iter().map(|(place, listener)| Taken::new(*place, &listener.name, listener.address));
    let mut connections: Vec<_> = http.chain(tcp).collect();
    connections.sort_by_key(|taken| cx.findings.line(taken.place));
    check_taken(cx, &connections, admin);
    // A port is another one for datagrams.
    check_taken(cx, &udp.collect::<Vec<_>>(), None);
}

struct Taken<'a> {
    place: Place,
    name: &'a ListenerName,
    address: SocketAddr,
}

impl<'a> Taken<'a> {
    fn new(place: Place, name: &'a ListenerName, address: SocketAddr) -> Self {
        Self { place, name, address }
    }
}

fn check_taken(cx: &Lowering, listeners: &[Taken<'_>], admin: Option<&Admin>) {
    for (at, listener) in listeners.iter().enumerate() {
        let (place, address) = (listener.place, listener.address);
        if let Some(admin) = admin.filter(|admin| overlap(admin.address, address)) {
            let by = format!("\"admin\" on {}", admin.address);
            refuse_address(cx, place, address, &by);
            continue;
        }
        let others = &listeners[..at];
        if let Some(other) = others.iter().find(|other| other.address == address && address.port() != 0) {
            refuse_address(cx, place, address, &format!("\"{}\" (line {})", other.name, cx.findings.line(other.place)));
        } else if let Some(other) = others.iter().find(|other| is_part(other.address, address)) {
            let (part, whole) = match other.address.ip().is_unspecified() {
                true => (listener, other),
                false => (other, listener),
            };
            let message = format!(
                "{} is a part of {}: what comes there is served by \"{}\", and not by \"{}\"",
                part.address, whole.address, part.name, whole.name
            );
            cx.warning(place, message, "nothing, if this is meant; else write another address or port");
        }
    }
}

fn refuse_address(cx: &Lowering, place: Place, address: SocketAddr, by: &str) {
    let message = format!("{address} is listened on already by {by}");
    cx.error_with(place, message, "write another address or port");
}

/// Both wildcards together are usual: one for each family.
fn is_part(a: SocketAddr, b: SocketAddr) -> bool {
    overlap(a, b) && !(a.ip().is_unspecified() && b.ip().is_unspecified())
}
