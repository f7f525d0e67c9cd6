//! Listeners.

use std::net::{Ipv4Addr, SocketAddr};

use super::certificate::Certificates;
use super::names::check_name;
use super::process::all;
use super::{Lowering, client_auth, filter};
use crate::defaults;
use crate::model::{
    Admin, ByteSize, ConnectionLimits, Http2, Listener, ListenerName, ListenerTls, MinBodyRate, ProxyProtocol, overlap,
};
use crate::sources::config::decode::{Field, Table};
use crate::sources::config::findings::Place;
use crate::sources::config::shapes;
use crate::sources::config::tree::NodeId;

/// The listeners that could be read, each with the place of its address.
pub fn listeners(
    cx: &Lowering,
    written: Field<Table<shapes::Listener>>,
    certificates: Certificates,
) -> Vec<(Place, Listener)> {
    let Some((at, Table(entries))) = written.given() else { return Vec::new() };
    if entries.is_empty() {
        cx.error_with(
            at.key(),
            "no listener is named, so that nothing would be served",
            "write http: { address: \":80\" }",
        );
    }
    let mut listeners = Vec::with_capacity(entries.len());
    for (name, field) in entries {
        let Some(place) = field.key() else { continue };
        check_name(cx, "listener", &name, place);
        if let Some((at, shape)) = field.given() {
            if let (Some(tls), Certificates::Missing) = (shape.tls.key(), certificates) {
                let message = "TLS is on, but there are no certificates: every client gets a self-signed one";
                cx.warning(tls, message, "write certificates: [{ file: { cert: …, key: … } }]");
            }
            listeners.push(listener(cx, name, at, shape));
        }
    }
    listeners
}

/// Stands in for an address that cannot be read. Any number of listeners may have it.
const NO_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

fn listener(cx: &Lowering, name: String, at: NodeId, shape: shapes::Listener) -> (Place, Listener) {
    let tls = shape.tls.value().map(|shape| tls(cx, shape));
    let proxy_protocol = shape.proxy_protocol.given().map(|(at, shape)| proxy_protocol(cx, at, shape));
    let limits = limits(cx, shape.limits.value().unwrap_or_default());
    let filters = filter::filters(cx, shape.filters, format!("listener:{name}"));
    let address = cx.required(shape.address, at, "address", "address: \":80\"");
    let (place, address) = address.map_or((at.key(), NO_ADDRESS), |(at, address)| (at.value(), address.0));
    let listener = Listener {
        name: ListenerName::new(name),
        origin: cx.findings.origin(at.key()),
        address,
        tls,
        proxy_protocol,
        limits,
        filters,
    };
    (place, listener)
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

fn proxy_protocol(cx: &Lowering, at: NodeId, shape: shapes::ProxyProtocol) -> ProxyProtocol {
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
pub fn check_addresses(cx: &Lowering, listeners: &[(Place, Listener)], admin: Option<&Admin>) {
    for (at, (place, listener)) in listeners.iter().enumerate() {
        let address = listener.address;
        if let Some(admin) = admin.filter(|admin| overlap(admin.address, address)) {
            let by = format!("\"admin\" on {}", admin.address);
            refuse_address(cx, *place, address, &by);
            continue;
        }
        let others = &listeners[..at];
        if let Some((first, other)) = others.iter().find(|(_, o)| o.address == address && address.port() != 0) {
            refuse_address(cx, *place, address, &format!("\"{}\" (line {})", other.name, cx.findings.line(*first)));
        } else if let Some((_, other)) = others.iter().find(|(_, other)| is_part(other.address, address)) {
            let (part, whole) = match other.address.ip().is_unspecified() {
                true => (listener, other),
                false => (other, listener),
            };
            let message = format!(
                "{} is a part of {}: what comes there is served by \"{}\", and not by \"{}\"",
                part.address, whole.address, part.name, whole.name
            );
            cx.warning(*place, message, "nothing, if this is meant; else write another address or port");
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
