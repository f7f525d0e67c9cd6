//! A translation as text: what differs from the plainest one.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::cluster::{of_objects, simple};
use crate::model::{Action, EndpointAddress, EndpointLists, Filter, Model, Route, Upstream, VirtualHost};
use crate::sources::kube::translate::{Settings, Translation, translate};

pub fn text(translation: &Translation, settings: &Settings) -> String {
    let usual = Usual::of(settings);
    let mut out = String::new();
    let model = &translation.model;
    usual.process(&mut out, model);
    for listener in &model.tcp_listeners {
        let _ = writeln!(out, "tcp {} {}", listener.address, json(&listener.tunnel));
        if let Some(protocol) = &listener.proxy_protocol {
            let _ = writeln!(out, "  proxy-protocol {}", json(protocol));
        }
    }
    for listener in &model.udp_listeners {
        let mut shown = serde_json::to_value(listener).unwrap();
        for key in ["name", "origin", "address"] {
            shown.as_object_mut().unwrap().remove(key);
        }
        let _ = writeln!(out, "udp {} {shown}", listener.address);
    }
    for host in &model.hosts {
        usual.host(&mut out, host);
    }
    for upstream in &model.upstreams {
        usual.upstream(&mut out, upstream, &translation.lists);
    }
    for certificate in &model.certificates {
        let _ = writeln!(out, "certificate {} {}", json(&certificate.source), json(&certificate.usage));
    }
    for (path, content) in translation.material.iter() {
        let _ = writeln!(out, "file {} ({} lines)", path.display(), content.as_bytes().split(|b| *b == b'\n').count());
    }
    for status in &translation.statuses {
        let _ = writeln!(out, "status {} {:?}", status.ingress, status.addresses);
    }
    for event in &translation.events {
        let _ = writeln!(out, "event {} {} {}: {}", event.object.kind, event.object.key, event.reason, event.message);
    }
    // Each Event is a diagnostic, too; here are the others.
    for diagnostic in translation.diagnostics.iter() {
        if !translation.events.iter().any(|event| event.message.ends_with(&diagnostic.message)) {
            let _ = writeln!(out, "diagnostic {diagnostic}");
        }
    }
    out
}

/// What the plainest Ingress comes to.
struct Usual {
    model: Model,
    filters: Vec<Filter>,
    upstream: Value,
}

impl Usual {
    fn of(settings: &Settings) -> Self {
        let class = super::cluster::settings().class;
        let settings = Settings { config_map: None, class, ..settings.clone() };
        let [mut ingress, service, slice] = simple(0);
        ingress["metadata"]["annotations"] = Value::Null;
        let model = translate(&of_objects([ingress, service, slice]), &settings).model;
        let filters = model.hosts.iter().find_map(|host| Some(host.routes.first()?.filters.clone()));
        let filters = filters.filter(|filters| !filters.is_empty()).expect("filters that every route has");
        let upstream = serde_json::to_value(&model.upstreams[0]).unwrap();
        Self { model, filters, upstream }
    }

    fn process(&self, out: &mut String, model: &Model) {
        let differs = difference(
            &serde_json::to_value(&model.process).unwrap(),
            &serde_json::to_value(&self.model.process).unwrap(),
        );
        if !differs.is_empty() {
            let _ = writeln!(out, "process {}", json(&differs));
        }
        for (listener, usual) in model.listeners.iter().zip(&self.model.listeners) {
            let differs = difference(&serde_json::to_value(listener).unwrap(), &serde_json::to_value(usual).unwrap());
            if !differs.is_empty() {
                let _ = writeln!(out, "listener {} {}", listener.name, json(&differs));
            }
        }
    }

    fn host(&self, out: &mut String, host: &VirtualHost) {
        let names: Vec<_> = host.names.iter().map(ToString::to_string).collect();
        let _ = write!(out, "host {}", names.join(" "));
        if host.patterns != Default::default() {
            let _ = write!(out, " patterns: {}", json(&host.patterns));
        }
        if host.tls != Default::default() {
            let _ = write!(out, " tls: {}", json(&host.tls));
        }
        out.push('\n');
        for filter in &host.filters {
            let _ = writeln!(out, "  + {}", json(&filter.kind));
        }
        for route in &host.routes {
            self.route(out, route);
        }
    }

    fn route(&self, out: &mut String, route: &Route) {
        let _ = write!(out, "  {} -> ", route.matches.path);
        match &route.action {
            Action::Forward(forward) => {
                let value = serde_json::to_value(forward).unwrap();
                let plain = serde_json::json!({
                    "upstream": forward.upstream,
                    "rewrite": { "path": null, "query": "keep", "host": null },
                    "timeouts": { "request": null, "connect": null, "read": null, "write": null },
                    "retry": null,
                });
                let differs = difference(&value, &plain);
                let _ = write!(out, "{}", forward.upstream);
                if !differs.is_empty() {
                    let _ = write!(out, " {}", json(&differs));
                }
            }
            Action::Respond(respond) if respond.headers.is_empty() => {
                let _ = write!(out, "{}", respond.status);
            }
            Action::Split(_) | Action::Redirect(_) | Action::Respond(_) | Action::Files(_) => {
                let _ = write!(out, "{}", json(&route.action));
            }
        }
        out.push('\n');
        for filter in route.filters.iter().filter(|filter| !self.filters.iter().any(|usual| usual.kind == filter.kind))
        {
            let _ = writeln!(out, "    + {}", json(&filter.kind));
        }
        let usual: Vec<_> = self.filters.iter().map(|filter| filter.kind.name()).collect();
        let lacks = usual.iter().filter(|name| !route.filters.iter().any(|filter| filter.kind.name() == **name));
        let lacks: Vec<_> = lacks.copied().collect();
        if !lacks.is_empty() && matches!(route.action, Action::Forward(_)) {
            let _ = writeln!(out, "    - {}", lacks.join(", "));
        }
    }

    fn upstream(&self, out: &mut String, upstream: &Upstream, lists: &EndpointLists) {
        let endpoints: Vec<_> = upstream
            .endpoints
            .iter()
            .flat_map(|endpoint| match &endpoint.address {
                EndpointAddress::Listed(name) => lists[name].to_vec(),
                EndpointAddress::Ip(_) | EndpointAddress::Dns { .. } | EndpointAddress::Srv(_) => {
                    vec![endpoint.clone()]
                }
            })
            .map(|endpoint| format!("{}{}", endpoint.address, if endpoint.backup { " (backup)" } else { "" }))
            .collect();
        let mut value = serde_json::to_value(upstream).unwrap();
        for key in ["name", "origin", "endpoints"] {
            value.as_object_mut().unwrap().remove(key);
        }
        let differs = difference(&value, &self.upstream);
        let _ = write!(out, "upstream {}: {}", upstream.name, endpoints.join(", "));
        if !differs.is_empty() {
            let _ = write!(out, " {}", json(&differs));
        }
        out.push('\n');
    }
}

/// The keys of `value` that are not so in `usual`, at any depth.
fn difference(value: &Value, usual: &Value) -> Map<String, Value> {
    let (Value::Object(value), Value::Object(usual)) = (value, usual) else { return Map::new() };
    let mut differs = Map::new();
    for (key, inner) in value {
        match usual.get(key) {
            Some(other) if other == inner => {}
            Some(other @ Value::Object(_)) if inner.is_object() => {
                differs.insert(key.clone(), Value::Object(difference(inner, other)));
            }
            Some(_) | None => {
                differs.insert(key.clone(), inner.clone());
            }
        }
    }
    differs
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap()
}
