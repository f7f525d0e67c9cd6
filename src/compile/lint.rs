//! What can be seen of a model only when its parts are laid side by side: warnings, for `weir check` and the log.

use super::circles::circles;
use super::filters::{Levels, in_force};
use super::{entries, hosts_of};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::model::{
    Action, ClientAuth, ClientAuthMode, Extent, Filter, FilterKind, HostClientAuth, HostName, Listener, Model,
    UpstreamName, VirtualHost,
};
use crate::snapshot::router;

/// `known`: whether the model has all that were written. `covers` tells whether some certificate has the name.
pub fn lint(model: &Model, known: Extent, covers: &dyn Fn(&HostName) -> bool) -> Diagnostics {
    let mut found = Diagnostics::default();
    for listener in &model.listeners {
        let hosts = hosts_of(model, listener);
        unreachable_routes(listener, &hosts, &mut found);
        limits_by_claims_of_nobody(listener, &hosts, &mut found);
        idle_mirrors(listener, &hosts, &mut found);
        if listener.tls.is_some() {
            names_without_certificate(listener, &hosts, covers, &mut found);
        } else {
            hosts_that_need_tls(listener, &hosts, &mut found);
        }
        if hosts.is_empty() && known == Extent::Whole {
            let message = "no host is served on this listener: every request is answered 404";
            found.push(Diagnostic::warning(listener.origin.clone(), format!("listeners.{}", listener.name), message));
        }
    }
    passed_nowhere(model, &mut found);
    found.extend(circles(model));
    found.sorted()
}

/// TLS cannot be carried on where there is none.
fn passed_nowhere(model: &Model, found: &mut Diagnostics) {
    let has_tls = |host: &VirtualHost| {
        let named = |listener: &&Listener| host.listeners.is_empty() || host.listeners.contains(&listener.name);
        model.listeners.iter().filter(named).any(|listener| listener.tls.is_some())
    };
    for host in model.hosts.iter().filter(|host| host.tls.passthrough.is_some() && !has_tls(host)) {
        let name = host.names.first().map_or_else(String::new, ToString::to_string);
        let message =
            "TLS of this host is to be passed through, and none of its listeners has TLS: it is served nowhere";
        let help = "give a listener tls: {}, or name one that has it";
        found.push(Diagnostic::warning(host.origin.clone(), format!("{name}.tls.passthrough"), message).help(help));
    }
}

fn unreachable_routes(listener: &Listener, hosts: &[&VirtualHost], found: &mut Diagnostics) {
    for shadowed in router::unreachable(&entries(listener, hosts)) {
        let route = |id: router::RouteId| &hosts[id.host].routes[id.route];
        let (loser, winner) = (route(shadowed.loser), route(shadowed.winner));
        let message = format!(
            "this route is never reached: {} (line {}) takes every request that it could take; {}",
            winner.matches.path, winner.origin.line, shadowed.reason
        );
        let help = "remove it, or give it a condition that the other one lacks";
        found.push(Diagnostic::warning(loser.origin.clone(), loser.name.as_str(), message).help(help));
    }
}

/// What counts by a claim counts nobody where no token is asked for.
fn limits_by_claims_of_nobody(listener: &Listener, hosts: &[&VirtualHost], found: &mut Diagnostics) {
    let asks = |filters: &[Filter]| filters.iter().any(|filter| matches!(filter.kind, FilterKind::Jwt(_)));
    let counts = |filter: &&Filter| filter.kind.limit().is_some_and(|limit| limit.counted().regards_claims());
    for host in hosts {
        for route in &host.routes {
            let levels = [&listener.filters, &host.filters, &route.filters];
            if levels.iter().any(|filters| asks(filters)) {
                continue;
            }
            for filter in levels.into_iter().flatten().filter(counts) {
                let message = format!(
                    "this limit counts by what a token says, and none is asked for at route \"{}\": it counts nobody there",
                    route.name
                );
                let help = "give it the filter jwt, or another key";
                let place = filter.kind.limit().map_or("", |limit| limit.name().as_str()).to_owned();
                found.push(Diagnostic::warning(filter.origin.clone(), place, message).help(help));
            }
        }
    }
}

/// What copies nothing, or to where the request goes anyway.
fn idle_mirrors(listener: &Listener, hosts: &[&VirtualHost], found: &mut Diagnostics) {
    for host in hosts {
        for route in &host.routes {
            let levels = Levels { listener: &listener.filters, host: &host.filters, route: &route.filters };
            let goes_to = upstreams_of(&route.action);
            let mirrors =
                in_force(levels).into_iter().filter_map(|(filter, at)| Some((filter, filter.kind.mirror()?, at)));
            for (filter, mirror, level) in mirrors.filter(|(_, mirror, _)| mirror.percentage.0 > 0) {
                let (message, help) = if goes_to.contains(&&mirror.upstream) {
                    let message = format!(
                        "route \"{}\" goes to the upstream \"{}\" itself: a request that is copied reaches it twice",
                        route.name, mirror.upstream
                    );
                    (message, "mirror to another upstream, or take it out with percentage: 0%")
                } else if goes_to.is_empty() && level == "route" {
                    let message = "this mirror copies nothing: only what goes to an upstream is copied".to_owned();
                    (message, "take it out, or let the route forward")
                } else {
                    continue;
                };
                let place = format!("{}.mirror", mirror.place);
                found.push(Diagnostic::warning(filter.origin.clone(), place, message).help(help));
            }
        }
    }
}

fn upstreams_of(action: &Action) -> Vec<&UpstreamName> {
    match action {
        Action::Forward(forward) => vec![&forward.upstream],
        Action::Split(split) => split.arms.iter().map(|arm| &arm.forward.upstream).collect(),
        Action::Redirect(_) | Action::Respond(_) | Action::Files(_) => Vec::new(),
    }
}

/// A host may be on a plain listener for the sake of a redirect.
fn hosts_that_need_tls(listener: &Listener, hosts: &[&VirtualHost], found: &mut Diagnostics) {
    let redirects = |filters: &[Filter]| filters.iter().any(|f| matches!(f.kind, FilterKind::HttpsRedirect(_)));
    for host in hosts {
        let HostClientAuth::Own(ClientAuth { mode: ClientAuthMode::Required, origin, .. }) = &host.tls.client_auth
        else {
            continue;
        };
        let redirected = redirects(&listener.filters)
            || redirects(&host.filters)
            || host.routes.iter().all(|route| redirects(&route.filters));
        if !redirected {
            let name = host.names.first().map_or_else(String::new, ToString::to_string);
            let message = format!(
                "this host requires client certificates, and listener \"{}\" has no TLS: every request for it is answered \
                 403 there",
                listener.name
            );
            let help = "keep the host off it with `listeners: [...]`, or give it the filter https-redirect";
            found.push(Diagnostic::warning(origin.clone(), format!("{name}.tls.client-auth"), message).help(help));
        }
    }
}

fn names_without_certificate(
    listener: &Listener,
    hosts: &[&VirtualHost],
    covers: &dyn Fn(&HostName) -> bool,
    found: &mut Diagnostics,
) {
    // Who holds the handshakes of the others shows the certificate.
    for host in hosts.iter().filter(|host| host.tls.passthrough.is_none()) {
        for name in &host.names {
            if *name == HostName::CatchAll || covers(name) {
                continue;
            }
            let message = format!(
                "no certificate has the name {name}: on listener \"{}\" its clients are shown a self-signed one",
                listener.name
            );
            let help = format!(
                "add one under `certificates`, or keep the host off with `listeners: [...]` (all but {})",
                listener.name
            );
            found.push(Diagnostic::warning(host.origin.clone(), name.to_string(), message).help(help));
        }
    }
}
