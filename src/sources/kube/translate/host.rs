//! Hosts: the rules of all Ingresses, by host and path.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::backend::{Backend, BadBackend, Upstreams};
use super::report::{ObjectKind, Reason, Report, origin};
use crate::diagnostics::Origin;
use crate::model::{
    Action, Forward, HostName, HostTls, PathMatch, PatternOrder, Respond, Rewrite, Route, RouteMatch, RouteName,
    RouteTimeouts, VirtualHost,
};
use crate::sources::kube::state::{Ingress, IngressBackend, IngressPath, PathType};

/// The rules that hold, of each host. Of two for one host, path and kind of path the first is kept.
pub fn hosts(ingresses: &[&Arc<Ingress>], upstreams: &mut Upstreams<'_>, report: &mut Report) -> Vec<VirtualHost> {
    let mut hosts: BTreeMap<HostName, Locations> = BTreeMap::new();
    for ingress in ingresses {
        for (index, rule) in ingress.rules.iter().enumerate() {
            let at = format!("spec.rules[{index}]");
            let name = match rule.host.as_deref().map(HostName::parse) {
                None => HostName::CatchAll,
                Some(Ok(name)) => name,
                Some(Err(message)) => {
                    report.warn(ingress, Reason::InvalidRule, format!("{at}.host"), message);
                    continue;
                }
            };
            let locations = hosts.entry(name.clone()).or_default();
            for (index, path) in rule.paths.iter().enumerate() {
                let at = format!("{at}.http.paths[{index}]");
                locations.add(ingress, &name, path, &at, upstreams, report);
            }
        }
    }
    hosts.into_iter().map(|(name, locations)| locations.finish(name)).collect()
}

#[derive(Default)]
struct Locations {
    routes: Vec<Route>,
    taken: HashSet<(Arc<str>, PathType)>,
}

impl Locations {
    fn add(
        &mut self,
        ingress: &Ingress,
        host: &HostName,
        path: &IngressPath,
        at: &str,
        upstreams: &mut Upstreams<'_>,
        report: &mut Report,
    ) {
        let text: Arc<str> = path.path.clone().unwrap_or_else(|| "/".into());
        let kind = match path.path_type {
            PathType::Exact => PathType::Exact,
            PathType::Prefix | PathType::ImplementationSpecific => PathType::Prefix,
        };
        let IngressBackend::Service { name, port } = &path.backend else {
            report.warn(ingress, Reason::InvalidRule, at, "the backend is no Service");
            return;
        };
        if !self.taken.insert((text.clone(), kind)) {
            report.warn(ingress, Reason::Conflict, at, format!("{host}{text} belongs to an older Ingress"));
            return;
        }
        let backend = Backend {
            service: crate::sources::kube::state::ObjectKey::new(ingress.key.namespace.clone(), name.clone()),
            port: port.clone(),
        };
        let action = match upstreams.of(&backend) {
            Ok(upstream) => Action::Forward(Forward {
                upstream,
                rewrite: Rewrite::default(),
                timeouts: RouteTimeouts::default(),
                retry: None,
            }),
            Err(reason) => {
                report.warn(ingress, Reason::ServiceNotFound, at, in_words(&backend, &reason));
                closed()
            }
        };
        let path = match kind {
            PathType::Exact => PathMatch::Exact(text),
            PathType::Prefix | PathType::ImplementationSpecific => PathMatch::Prefix(text),
        };
        self.routes.push(Route {
            name: RouteName::new(format!("{host}{path}")),
            origin: origin(ObjectKind::Ingress, &ingress.key),
            matches: RouteMatch { path, methods: Vec::new(), headers: Vec::new(), query: Vec::new() },
            action,
            filters: Vec::new(),
        });
    }

    fn finish(self, name: HostName) -> VirtualHost {
        VirtualHost {
            origin: self.routes.first().map_or_else(Origin::builtin, |route| route.origin.clone()),
            names: vec![name],
            listeners: Vec::new(),
            tls: HostTls::default(),
            filters: Vec::new(),
            patterns: PatternOrder::Narrowest,
            routes: self.routes,
        }
    }
}

fn closed() -> Action {
    Action::Respond(Respond { status: 503, headers: Vec::new(), body: "".into() })
}

fn in_words(backend: &Backend, reason: &BadBackend) -> String {
    match reason {
        BadBackend::NoService => format!("there is no Service {}", backend.service),
        BadBackend::NoPort => format!("the Service {} has no port {}", backend.service, backend.port),
        BadBackend::ExternalName(name) => format!("the Service {} leads to \"{name}\"", backend.service),
    }
}
