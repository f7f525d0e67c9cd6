//! Virtual hosts.

use std::collections::HashMap;

use super::names::Names;
use super::route::{self, RouteNames, Scope};
use super::{Lowering, client_auth, filter};
use crate::model::{Extent, HostName, ListenerName, PatternOrder, VirtualHost};
use crate::sources::config::decode::{Field, List};
use crate::sources::config::shapes::{self, scalar};
use crate::sources::config::tree::{Document, NodeId};

pub fn hosts(cx: &Lowering, written: Field<List<shapes::Host>>, listeners: &Names, scope: &Scope) -> Vec<VirtualHost> {
    if written.is_wrong() || cx.findings.is_misspelled(Document::ROOT, "hosts") {
        cx.hosts.set(Extent::Partial);
        scope.upstream_names.lost_a_use();
    }
    let list = written.value().unwrap_or_default();
    let mut route_names = RouteNames::given(cx, &list);
    let mut claims = Claims::default();
    let mut hosts = Vec::with_capacity(list.len());
    for field in list {
        match field {
            Field::Given(at, shape) => {
                hosts.extend(host(cx, at, shape, listeners, scope, &mut route_names, &mut claims));
            }
            Field::Wrong(_) => {
                cx.hosts.set(Extent::Partial);
                scope.upstream_names.lost_a_use();
            }
            Field::Absent => {}
        }
    }
    hosts
}

fn host(
    cx: &Lowering,
    at: NodeId,
    shape: shapes::Host,
    known_listeners: &Names,
    scope: &Scope,
    route_names: &mut RouteNames,
    claims: &mut Claims,
) -> Option<VirtualHost> {
    let is_carried = is_carried(cx, &shape);
    let listeners = listeners(cx, at, shape.listeners, known_listeners);
    let names = names(cx, at, shape.names, listeners.as_deref(), claims);
    let prefix = names.first().map_or_else(|| "?".into(), HostName::to_string);
    let tls = shape.tls.value().map(|shape| client_auth::host_tls(cx, shape)).unwrap_or_default();
    let filters = filter::filters(cx, shape.filters, level(&prefix, listeners.as_deref().unwrap_or_default()));
    let written =
        if is_carried { None } else { cx.required(shape.routes, at, "routes", "routes: [{ path: /, upstream: … }]") };
    let routes = match written {
        None if is_carried => Vec::new(),
        None => {
            scope.upstream_names.lost_a_use();
            Vec::new()
        }
        Some((at, list)) => {
            if list.is_empty() {
                cx.error_with(at.key(), "there are no routes", "write at least one, as { path: /, upstream: … }");
            }
            list.into_iter().filter_map(|field| route::route(cx, field, &prefix, scope, route_names)).collect()
        }
    };
    Some(VirtualHost {
        origin: cx.findings.origin(at.value()),
        names,
        listeners: listeners?,
        tls,
        filters,
        patterns: PatternOrder::Narrowest,
        routes,
    })
}

/// Whether TLS of the host is carried on. Nothing that is asked of requests can stand beside that.
fn is_carried(cx: &Lowering, shape: &shapes::Host) -> bool {
    let Field::Given(_, tls) = &shape.tls else { return false };
    if tls.passthrough.key().is_none() {
        return false;
    }
    let others = [
        ("routes", shape.routes.key()),
        ("filters", shape.filters.key()),
        ("min-version", tls.min_version.key()),
        ("client-auth", tls.client_auth.key()),
    ];
    for (key, place) in others.into_iter().filter_map(|(key, place)| Some((key, place?))) {
        let message = format!("\"{key}\" cannot stand beside \"passthrough\": TLS of this host ends at the upstream");
        let help = "take it out; on other listeners another host may have the name";
        cx.error_with(place, message, help);
    }
    true
}

/// Two hosts may have one name, on different listeners.
fn level(name: &str, listeners: &[ListenerName]) -> String {
    let listeners: Vec<_> = listeners.iter().map(ListenerName::as_str).collect();
    match listeners.is_empty() {
        true => format!("host:{name}"),
        false => format!("host:{name}@{}", listeners.join(",")),
    }
}

/// None where it cannot be told which: without them it would be served on all.
fn listeners(cx: &Lowering, at: NodeId, written: Field<List<String>>, known: &Names) -> Option<Vec<ListenerName>> {
    if let Field::Given(at, list) = &written
        && list.is_empty()
    {
        cx.error_with(at.value(), "a host that no listener serves", "name one, or take the key out to serve it on all");
    }
    let mut certain = !written.is_wrong() && !cx.findings.is_misspelled(at, "listeners");
    let mut listeners = Vec::new();
    for field in written.value().unwrap_or_default() {
        match field {
            Field::Given(at, name) if cx.carriers.borrow().contains(&name) => {
                let message =
                    format!("the listener \"{name}\" serves no hosts: what comes there is carried to its upstream");
                cx.error_with(at.value(), message, "name a listener of HTTP");
                certain = false;
            }
            Field::Given(at, name) if known.resolve(cx, at, &name) => listeners.push(ListenerName::new(name)),
            Field::Given(..) | Field::Wrong(_) => certain = false,
            Field::Absent => {}
        }
    }
    if !certain {
        cx.hosts.set(Extent::Partial);
    }
    (certain || !listeners.is_empty()).then_some(listeners)
}

fn names(
    cx: &Lowering,
    at: NodeId,
    written: Field<List<scalar::HostPattern>>,
    listeners: Option<&[ListenerName]>,
    claims: &mut Claims,
) -> Vec<HostName> {
    let Some((at, list)) = cx.required(written, at, "names", "names: [example.org], or [\"*\"] for any") else {
        return Vec::new();
    };
    if list.is_empty() {
        cx.error_with(at.value(), "a host without a name", "write at least one, as [example.org], or [\"*\"] for any");
    }
    let mut names = Vec::with_capacity(list.len());
    for (at, name) in list.into_iter().filter_map(Field::given) {
        if claims.claim(cx, at, &name.0, listeners.unwrap_or_default()) {
            names.push(name.0);
        }
    }
    names
}

/// Who has which name on which listeners (none: on all).
#[derive(Default)]
struct Claims(HashMap<HostName, Vec<(Vec<ListenerName>, u32)>>);

impl Claims {
    /// Whether the name was free.
    fn claim(&mut self, cx: &Lowering, at: NodeId, name: &HostName, listeners: &[ListenerName]) -> bool {
        let claims = self.0.entry(name.clone()).or_default();
        let meets = |other: &[ListenerName]| {
            other.is_empty() || listeners.is_empty() || other.iter().any(|name| listeners.contains(name))
        };
        if let Some((_, first)) = claims.iter().find(|(other, _)| meets(other)) {
            let message = format!("the host \"{name}\" is here twice; it was first at line {first}");
            cx.error_with(at.value(), message, "put the routes of both under one host");
            return false;
        }
        claims.push((listeners.to_vec(), cx.findings.line(at.value())));
        true
    }
}
