//! Listeners that carry connections or datagrams, and hosts whose TLS ends elsewhere.

use super::Lowering;
use super::listener::{self, Door};
use super::upstream::Upstreams;
use crate::defaults;
use crate::model::{HashKey, LbPolicy, ProxyVersion, TcpListener, Tunnel, UdpListener, UpstreamName};
use crate::sources::config::decode::Field;
use crate::sources::config::findings::Place;
use crate::sources::config::shapes;
use crate::sources::config::tree::NodeId;

/// Who carries to which upstream, for what can be told of it only later.
pub struct Carried {
    place: Place,
    upstream: UpstreamName,
    by: Carrier,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Carrier {
    Connections,
    Datagrams,
}

/// None where it cannot be told where to.
pub fn tcp(
    cx: &Lowering,
    door: Door,
    (at, tunnel): (NodeId, shapes::Tunnel),
    shape: shapes::Listener,
) -> Option<TcpListener> {
    refuse_beside(cx, "tcp", &[("tls", shape.tls.key()), ("filters", shape.filters.key())]);
    let limits = shape.limits.value().unwrap_or_default();
    refuse_limits(cx, &limits);
    Some(TcpListener {
        name: door.name,
        origin: door.origin,
        address: door.address,
        proxy_protocol: shape.proxy_protocol.given().map(|(at, shape)| listener::proxy_protocol(cx, at, shape)),
        max_connections: limits.max_connections.scalar().map_or(defaults::MAX_CONNECTIONS, u32::from) as usize,
        header_timeout: limits.header_timeout.scalar_or(defaults::HEADER_TIMEOUT),
        tunnel: self::tunnel(cx, at, tunnel)?,
    })
}

pub fn udp(
    cx: &Lowering,
    door: Door,
    (at, datagrams): (NodeId, shapes::Datagrams),
    shape: &shapes::Listener,
) -> Option<UdpListener> {
    let others = [
        ("tls", shape.tls.key()),
        ("proxy-protocol", shape.proxy_protocol.key()),
        ("limits", shape.limits.key()),
        ("filters", shape.filters.key()),
    ];
    refuse_beside(cx, "udp", &others);
    Some(UdpListener {
        name: door.name,
        origin: door.origin,
        address: door.address,
        upstream: upstream(cx, at, datagrams.upstream, Carrier::Datagrams)?,
        idle_timeout: datagrams.idle_timeout.scalar_or(defaults::UDP_IDLE_TIMEOUT),
        responses: datagrams.responses.scalar(),
        max_sessions: datagrams.max_sessions.scalar().map_or(defaults::MAX_UDP_SESSIONS, u32::from) as usize,
    })
}

/// Of a listener or a host.
pub fn tunnel(cx: &Lowering, at: NodeId, shape: shapes::Tunnel) -> Option<Tunnel> {
    Some(Tunnel {
        upstream: upstream(cx, at, shape.upstream, Carrier::Connections)?,
        idle_timeout: shape.idle_timeout.scalar_or(defaults::TUNNEL_IDLE_TIMEOUT),
        send_proxy_protocol: shape.send_proxy_protocol.value().map(|version| match version {
            shapes::ProxyVersion::V1 => ProxyVersion::V1,
            shapes::ProxyVersion::V2 => ProxyVersion::V2,
        }),
    })
}

fn upstream(cx: &Lowering, at: NodeId, written: Field<String>, by: Carrier) -> Option<UpstreamName> {
    if written.is_wrong() || cx.findings.is_misspelled(at, "upstream") {
        cx.upstreams.lost_a_use();
    }
    let (at, name) = cx.required(written, at, "upstream", "upstream: db, the name of one")?;
    if !cx.upstreams.resolve(cx, at, &name) {
        return None;
    }
    let upstream = UpstreamName::new(name);
    cx.carried.borrow_mut().push(Carried { place: at.value(), upstream: upstream.clone(), by });
    Some(upstream)
}

fn refuse_beside(cx: &Lowering, carried: &str, others: &[(&str, Option<Place>)]) {
    for (key, place) in others.iter().filter_map(|(key, place)| Some((key, (*place)?))) {
        let (message, help) = match *key {
            "tls" => (
                format!("\"tls\" cannot stand beside \"{carried}\": what comes is carried on as it is"),
                "take it out; the upstream holds the handshake",
            ),
            "limits" => (
                "\"limits\" are of connections, and datagrams have none".to_owned(),
                "write max-sessions and idle-timeout under \"udp\"",
            ),
            "proxy-protocol" => {
                ("the PROXY protocol begins a connection, and datagrams have none".to_owned(), "take it out")
            }
            _ => (
                format!("\"{key}\" cannot stand beside \"{carried}\": there are no requests in it"),
                "take it out, or write it at a listener of HTTP",
            ),
        };
        cx.error_with(place, message, help);
    }
}

/// Those of requests.
fn refuse_limits(cx: &Lowering, limits: &shapes::ConnectionLimits) {
    let of_requests = [
        ("max-header-size", limits.max_header_size.key()),
        ("body-timeout", limits.body_timeout.key()),
        ("min-body-rate", limits.min_body_rate.key()),
        ("max-requests", limits.max_requests.key()),
        ("max-streams", limits.max_streams.key()),
    ];
    for (key, place) in of_requests.into_iter().filter_map(|(key, place)| Some((key, place?))) {
        let message = format!("\"{key}\" bounds requests, and there are none beside \"tcp\"");
        cx.error_with(place, message, "take it out; max-connections and header-timeout stay");
    }
    if let Some(place) = limits.idle_timeout.key() {
        let message = "this \"idle-timeout\" is between requests, and there are none beside \"tcp\"";
        cx.error_with(place, message, "write idle-timeout under \"tcp\"");
    }
}

/// What an upstream does with requests alone.
pub fn check_upstreams(cx: &Lowering, upstreams: &Upstreams) {
    for carried in cx.carried.borrow().iter() {
        let Some(upstream) = upstreams.get(carried.upstream.as_str()) else { continue };
        let name = &carried.upstream;
        if let LbPolicy::Hash(key) = &upstream.balance
            && *key != HashKey::ClientIp
        {
            let message = format!("the upstream \"{name}\" hashes a part of requests, and there are none here");
            cx.error_with(carried.place, message, "give it balance: { hash: client-ip }, or another policy");
        }
        if upstream.sticky.is_some() {
            let message = format!("the upstream \"{name}\" goes by a cookie, and there are none here");
            cx.error_with(carried.place, message, "write balance: { hash: client-ip } in place of sticky");
        }
        if carried.by == Carrier::Datagrams && upstream.tls.is_some() {
            let message = format!("the upstream \"{name}\" has TLS, which datagrams cannot be sent in");
            cx.error_with(carried.place, message, "send them to an upstream without tls");
        }
    }
}
