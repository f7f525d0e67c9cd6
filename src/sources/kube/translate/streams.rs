//! TCP and UDP services: what the ConfigMaps of two flags say is carried on.
//!
//! ```text
//! "5432": "shop/db:postgres:PROXY:PROXY" ──► a listener on 5432 ──► Service shop/db, port postgres
//!                           decode ┘  └ encode
//! ```
//!
//! An entry that cannot be served is told of by an Event on the ConfigMap, and costs the others nothing.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::backend::{Backend, Variant};
use super::context::Context;
use super::report::{ObjectKind, ObjectReference, Reason, origin};
use crate::model::{ListenerName, ProxyProtocol, ProxyVersion, TcpListener, Tunnel, UdpListener, UpstreamName};
use crate::sources::kube::annotations::value::quoted;
use crate::sources::kube::state::{ConfigMap, ObjectKey, PortName};

/// What is listened on, and whose wish it is.
#[derive(Default)]
pub struct Streams {
    pub tcp: Vec<TcpListener>,
    pub udp: Vec<UdpListener>,
    /// For whom a port cannot be listened on.
    pub owners: Vec<(ListenerName, ObjectReference)>,
}

pub fn streams(cx: &mut Context<'_>) -> Streams {
    let mut streams = Streams::default();
    if let Some(map) = map_of(cx, cx.settings.tcp_services.as_ref()) {
        for (key, value) in &map.data {
            match tcp(cx, key, value) {
                Ok(listener) => {
                    streams.owners.push((listener.name.clone(), reference(&map)));
                    streams.tcp.push(listener);
                }
                Err((reason, message)) => warn(cx, &map, key, reason, message),
            }
        }
    }
    if let Some(map) = map_of(cx, cx.settings.udp_services.as_ref()) {
        for (key, value) in &map.data {
            match udp(cx, &map, key, value) {
                Ok(listener) => {
                    streams.owners.push((listener.name.clone(), reference(&map)));
                    streams.udp.push(listener);
                }
                Err((reason, message)) => warn(cx, &map, key, reason, message),
            }
        }
    }
    streams
}

fn map_of(cx: &mut Context<'_>, key: Option<&ObjectKey>) -> Option<Arc<ConfigMap>> {
    let key = key?;
    let found = cx.config_map(key).cloned();
    if found.is_none() {
        let message = format!("there is no ConfigMap {key}; no port of it is listened on");
        cx.report.note(origin(ObjectKind::ConfigMap, key), "", message);
    }
    found
}

fn reference(map: &ConfigMap) -> ObjectReference {
    ObjectReference { kind: ObjectKind::ConfigMap, key: map.key.clone(), uid: map.uid.clone() }
}

fn warn(cx: &mut Context<'_>, map: &ConfigMap, key: &str, reason: Reason, message: String) {
    cx.report.warn_of(reference(map), reason, format!("data[{key}]"), message);
}

type Refused = (Reason, String);

fn invalid(message: String) -> Refused {
    (Reason::InvalidService, message)
}

fn tcp(cx: &mut Context<'_>, key: &str, value: &str) -> Result<TcpListener, Refused> {
    let entry = Entry::parse(key, value).map_err(invalid)?;
    let settings = cx.settings;
    let admin = settings.process.admin.as_ref().map(|admin| admin.address.port());
    let taken = [("--http-port", Some(settings.http.port())), ("--https-port", Some(settings.https.port()))];
    for (whose, port) in taken.into_iter().chain([("--healthz-port", admin)]) {
        if port == Some(entry.port) {
            return Err(invalid(format!("port {} is Weir's own ({whose})", entry.port)));
        }
    }
    let options = cx.options;
    Ok(TcpListener {
        name: ListenerName::new(format!("tcp-{}", entry.port)),
        origin: crate::diagnostics::Origin::builtin(),
        address: SocketAddr::new(settings.http.ip(), entry.port),
        proxy_protocol: entry.decodes.then(|| ProxyProtocol { trusted: options.forwarded.trusted.clone() }),
        max_connections: crate::defaults::MAX_CONNECTIONS as usize,
        header_timeout: options.connections.header_timeout,
        tunnel: Tunnel {
            upstream: upstream(cx, &entry.backend, &Variant::connections())?,
            idle_timeout: options.streams.timeout,
            // As nginx writes it.
            send_proxy_protocol: entry.encodes.then_some(ProxyVersion::V1),
        },
    })
}

fn udp(cx: &mut Context<'_>, map: &ConfigMap, key: &str, value: &str) -> Result<UdpListener, Refused> {
    let entry = Entry::parse(key, value).map_err(invalid)?;
    if entry.decodes || entry.encodes {
        // ingress-nginx passes it over.
        let message = "the PROXY protocol is of connections; the port is served without it".to_owned();
        warn(cx, map, key, Reason::InvalidService, message);
    }
    Ok(UdpListener {
        name: ListenerName::new(format!("udp-{}", entry.port)),
        origin: crate::diagnostics::Origin::builtin(),
        address: SocketAddr::new(cx.settings.http.ip(), entry.port),
        upstream: upstream(cx, &entry.backend, &Variant::datagrams())?,
        idle_timeout: cx.options.streams.timeout,
        responses: NonZeroU32::new(cx.options.streams.responses),
        max_sessions: crate::defaults::MAX_UDP_SESSIONS as usize,
    })
}

fn upstream(cx: &mut Context<'_>, backend: &Backend, variant: &Variant) -> Result<UpstreamName, Refused> {
    cx.upstreams.of(backend, variant).map_err(|bad| (Reason::ServiceNotFound, bad.in_words(backend)))
}

/// `port: namespace/service:port[:PROXY[:PROXY]]`
#[derive(Debug)]
struct Entry {
    port: u16,
    backend: Backend,
    /// Connections begin with a PROXY header.
    decodes: bool,
    /// The Service's connections do.
    encodes: bool,
}

impl Entry {
    fn parse(key: &str, value: &str) -> Result<Self, String> {
        let port = key.parse::<u16>().ok().filter(|port| *port != 0);
        let port = port.ok_or_else(|| format!("{} is no port", quoted(key)))?;
        let mut fields = value.trim().split(':');
        let service = fields.next().and_then(ObjectKey::parse);
        let (Some(service), Some(target)) = (service, fields.next().filter(|target| !target.is_empty())) else {
            return Err(format!("{} names no port of a Service; write it as namespace/service:port", quoted(value)));
        };
        let proxy = |field: Option<&str>| match field {
            None | Some("") => Ok(false),
            Some(word) if word.eq_ignore_ascii_case("PROXY") => Ok(true),
            Some(word) => Err(format!("{} is not PROXY, which alone may stand there", quoted(word))),
        };
        let (decodes, encodes) = (proxy(fields.next())?, proxy(fields.next())?);
        if fields.next().is_some() {
            return Err(format!("{} goes on after the second PROXY", quoted(value)));
        }
        let target = target.parse().map_or_else(|_| PortName::Name(target.into()), PortName::Number);
        Ok(Self { port, backend: Backend { service, port: target }, decodes, encodes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_port_and_a_service_and_where_the_proxy_protocol_is_spoken() {
        let read = |value: &str| {
            let entry = Entry::parse("5432", value).unwrap();
            format!("{}:{} {} {}", entry.backend.service, entry.backend.port, entry.decodes, entry.encodes)
        };
        assert_eq!(read("shop/db:5432"), "shop/db:5432 false false");
        assert_eq!(read("shop/db:postgres:PROXY"), "shop/db:postgres true false");
        assert_eq!(read("shop/db:5432::proxy"), "shop/db:5432 false true");
        assert_eq!(read(" shop/db:5432:PROXY:PROXY"), "shop/db:5432 true true");
    }

    #[test]
    fn what_is_no_entry_says_how_one_is_written() {
        for (key, value, expected) in [
            ("0", "a/b:1", "\"0\" is no port"),
            ("http", "a/b:1", "\"http\" is no port"),
            ("70000", "a/b:1", "\"70000\" is no port"),
            ("1", "b:1", "write it as namespace/service:port"),
            ("1", "a/b", "write it as namespace/service:port"),
            ("1", "a/b:", "write it as namespace/service:port"),
            ("1", "a/b:1:PROXI", "\"PROXI\" is not PROXY"),
            ("1", "a/b:1:PROXY:PROXY:PROXY", "goes on after the second PROXY"),
        ] {
            let message = Entry::parse(key, value).unwrap_err();
            assert!(message.contains(expected), "{key}: {value}: {message}");
        }
    }
}
