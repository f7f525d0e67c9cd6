//! Hosts of the model: what was laid out becomes routes.
//!
//! ```text
//! Server ──► does any location need patterns? ──► routes: by prefix and exact path, or all of them patterns, the longest first
//! ```

use std::collections::HashSet;

use super::canary::Canaries;
use super::context::Context;
use super::part::{HostForm, HostPlace};
use super::passthrough;
use super::report::{ObjectKind, Reason, origin};
use super::route::{self, Site};
use super::server::{Clients, Kind, Location, Server, Servers};
use crate::diagnostics::Origin;
use crate::model::{
    Action, AppRoot, Ciphers, Filter, FilterKind, HostClientAuth, HostName, HostTls, LocationForm, PathMatch,
    PathRewrite, PatternOrder, QueryRewrite, Redirect, RedirectStatus, Replacement, Route, RouteMatch, RouteName,
    VirtualHost,
};

pub fn hosts(cx: &mut Context<'_>, servers: &Servers<'_>, canaries: &Canaries<'_>) -> Vec<(HostPlace, VirtualHost)> {
    let mut hosts = Vec::with_capacity(servers.len());
    for (name, server) in servers {
        let place = |form| HostPlace { name: name.clone(), form };
        let site = Site { name, certificate: has_certificate(cx, name, server), canaries };
        hosts.push((place(HostForm::Own), host(cx, &site, server)));
        hosts.extend(www_host(cx, name, server).map(|host| (place(HostForm::Other), host)));
    }
    hosts
}

/// Its own, or that of the wildcard above it: what ingress-nginx looks up before it redirects to https.
fn has_certificate(cx: &Context<'_>, name: &HostName, server: &Server<'_>) -> bool {
    let above = match name {
        HostName::Exact(name) => name.split_once('.').map(|(_, parent)| HostName::OneLabel(parent.into())),
        HostName::OneLabel(_) | HostName::Wildcard(_) | HostName::CatchAll => None,
    };
    server.shown.is_some() || above.is_some_and(|above| cx.common.wildcards.contains(&above))
}

fn host(cx: &mut Context<'_>, site: &Site<'_>, server: &Server<'_>) -> VirtualHost {
    let owner = server.locations.iter().find_map(|location| location.owner);
    let origin = owner.map_or_else(Origin::builtin, |owner| origin(ObjectKind::Ingress, &owner.ingress.key));
    // The longest first, as ingress-nginx sorts them.
    let mut locations: Vec<_> = server.locations.iter().collect();
    locations.sort_by(|a, b| (b.path.len(), &b.path, a.kind).cmp(&(a.path.len(), &a.path, b.kind)));
    let patterns = locations.iter().any(|location| needs_patterns(location));
    let mut routes = match patterns {
        true => by_pattern(cx, site, &locations),
        false => by_path(cx, site, server, &locations),
    };
    let (client_auth, refused) = match &server.clients {
        Clients::Undecided => (HostClientAuth::Inherited, false),
        Clients::Decided(auth) => (auth.clone(), false),
        Clients::Refused => (HostClientAuth::Inherited, true),
    };
    if refused {
        for route in &mut routes {
            (route.action, route.filters) = (route::respond(403), Vec::new());
        }
    }
    let passthrough = passthrough::tunnel(cx, site.name, server);
    let mut names = vec![site.name.clone()];
    names.extend(server.aliases.iter().cloned());
    VirtualHost {
        filters: app_root(&locations, &origin).filter(|_| !refused).into_iter().collect(),
        origin,
        names,
        listeners: Vec::new(),
        tls: HostTls { min_version: None, ciphers: ciphers(cx, server), client_auth, passthrough },
        patterns: if patterns { PatternOrder::Listed } else { PatternOrder::Narrowest },
        routes,
    }
}

/// Of the first that speaks of them, for the whole host.
fn ciphers(cx: &Context<'_>, server: &Server<'_>) -> Option<Ciphers> {
    let written = server.locations.iter().filter_map(|location| Some(&location.owner?.policy.ciphers));
    let first = written.into_iter().find(|written| written.suites.is_some() || written.order.is_some())?;
    let usual = &cx.options.ciphers;
    Some(Ciphers {
        tls12: first.suites.clone().or_else(|| usual.tls12.clone()),
        order: first.order.unwrap_or(usual.order),
    })
}

/// `use-regex`, or a `rewrite-target` that differs from the path.
fn needs_patterns(location: &Location<'_>) -> bool {
    location.owner.is_some_and(|owner| {
        let rewrite = &owner.policy.rewrite;
        rewrite.use_regex || rewrite.target.as_ref().is_some_and(|target| *target != location.path)
    })
}

fn by_pattern(cx: &mut Context<'_>, site: &Site<'_>, locations: &[&Location<'_>]) -> Vec<Route> {
    let mut routes = Vec::with_capacity(locations.len());
    let mut last = None;
    for location in locations {
        // Of an exact path and a prefix that are the same pattern the first takes all.
        if last.replace(&location.path) == Some(&location.path) {
            continue;
        }
        match cx.pattern(&format!("(?i)^{}", location.path)) {
            Ok(pattern) => routes.push(one(cx, site, location, PathMatch::Regex(pattern))),
            Err(message) => routes.extend(closed_beginning(cx, site, location, message)),
        }
    }
    routes
}

/// A pattern that cannot be read is left out. Where it was protected what begins like it is closed: another location would take it
/// without that protection.
fn closed_beginning(cx: &mut Context<'_>, site: &Site<'_>, location: &Location<'_>, message: String) -> Option<Route> {
    let owner = location.owner?;
    if !owner.protects() {
        cx.warn(owner.ingress, Reason::InvalidRule, location.at.clone(), message);
        return None;
    }
    let start = literal_start(&location.path);
    let path = PathMatch::Regex(cx.pattern(&format!("(?i)^{}", regex::escape(start))).ok()?);
    let message = format!("{message}; paths that begin with {start} answer 503");
    cx.warn(owner.ingress, Reason::RouteClosed, location.at.clone(), message);
    Some(Route {
        name: RouteName::new(format!("{}{path}", site.name)),
        origin: location_origin(location),
        matches: RouteMatch { path, methods: Vec::new(), headers: Vec::new(), query: Vec::new() },
        action: route::respond(503),
        filters: Vec::new(),
    })
}

/// What every match must begin with, as far as it can be told without reading the pattern.
fn literal_start(pattern: &str) -> &str {
    // A choice anywhere may begin otherwise.
    if pattern.contains('|') && !pattern.contains('(') {
        return "/";
    }
    let end =
        pattern.find(['\\', '^', '$', '.', '|', '?', '*', '+', '(', ')', '[', ']', '{', '}']).unwrap_or(pattern.len());
    let is_repeated = pattern[end..].starts_with(['?', '*', '{']);
    let start = &pattern[..end];
    match start.char_indices().next_back() {
        Some((last, _)) if is_repeated => &start[..last],
        Some(_) | None => start,
    }
}

fn by_path(cx: &mut Context<'_>, site: &Site<'_>, server: &Server<'_>, locations: &[&Location<'_>]) -> Vec<Route> {
    let kinds: HashSet<_> = server.locations.iter().map(|other| (&*other.path, other.kind)).collect();
    let has = |path: &str, kind| kinds.contains(&(path, kind));
    let mut routes = Vec::with_capacity(locations.len());
    for location in locations {
        let path = &location.path;
        let matches = match location.kind {
            Kind::Exact => PathMatch::Exact(path.clone()),
            // The longer one has the paths below; this one is left with its own.
            Kind::Prefix if !path.ends_with('/') && has(&format!("{path}/"), Kind::Prefix) => {
                match has(path, Kind::Exact) {
                    true => continue,
                    false => PathMatch::Exact(path.clone()),
                }
            }
            Kind::Prefix => PathMatch::Prefix(path.clone()),
        };
        routes.push(one(cx, site, location, matches));
        if let Some(bare) = path.strip_suffix('/').filter(|bare| !bare.is_empty())
            && location.kind == Kind::Prefix
            && !has(bare, Kind::Exact)
            && !has(bare, Kind::Prefix)
        {
            routes.push(slash_redirect(cx, site, location, bare));
        }
    }
    routes
}

fn one(cx: &mut Context<'_>, site: &Site<'_>, location: &Location<'_>, path: PathMatch) -> Route {
    let (action, filters) = route::act(cx, site, location);
    Route {
        name: RouteName::new(format!("{}{path}", site.name)),
        origin: location_origin(location),
        matches: RouteMatch { path, methods: Vec::new(), headers: Vec::new(), query: Vec::new() },
        action,
        filters,
    }
}

fn location_origin(location: &Location<'_>) -> Origin {
    location.owner.map_or_else(Origin::builtin, |owner| origin(ObjectKind::Ingress, &owner.ingress.key))
}

/// nginx's own: `/foo` is redirected to `/foo/` before anything else is looked at.
fn slash_redirect(cx: &Context<'_>, site: &Site<'_>, location: &Location<'_>, bare: &str) -> Route {
    let path = PathMatch::Exact(bare.into());
    let own = location.owner.and_then(|owner| owner.policy.redirect.relative);
    let form = match own.unwrap_or(cx.options.relative_redirects) {
        true => LocationForm::Relative,
        false => LocationForm::Absolute,
    };
    Route {
        name: RouteName::new(format!("{}{path}", site.name)),
        origin: location_origin(location),
        matches: RouteMatch { path, methods: Vec::new(), headers: Vec::new(), query: Vec::new() },
        action: Action::Redirect(Redirect {
            status: RedirectStatus::MovedPermanently,
            scheme: None,
            host: None,
            port: None,
            path: Some(PathRewrite::Full(Replacement::literal(&location.path))),
            query: QueryRewrite::Keep,
            form,
        }),
        filters: Vec::new(),
    }
}

/// Of the first that has one, for the whole host.
fn app_root(locations: &[&Location<'_>], origin: &Origin) -> Option<Filter> {
    let path = locations.iter().find_map(|location| location.owner?.policy.rewrite.app_root.clone())?;
    let kind = FilterKind::AppRoot(AppRoot { path, status: RedirectStatus::Found, form: LocationForm::Absolute });
    Some(Filter { origin: origin.clone(), kind })
}

/// `from-to-www-redirect`: a host that leads to this one.
fn www_host(cx: &Context<'_>, name: &HostName, server: &Server<'_>) -> Option<VirtualHost> {
    let HostName::Exact(to) = name else { return None };
    let (from, owner) = server.led_here.as_ref()?;
    let origin = origin(ObjectKind::Ingress, &owner.ingress.key);
    let path = PathMatch::Prefix("/".into());
    let route = Route {
        name: RouteName::new(format!("{from}{path}")),
        origin: origin.clone(),
        matches: RouteMatch { path, methods: Vec::new(), headers: Vec::new(), query: Vec::new() },
        action: Action::Redirect(Redirect {
            status: cx.options.redirect_status,
            scheme: None,
            host: Some(to.clone()),
            port: None,
            path: None,
            query: QueryRewrite::Keep,
            form: LocationForm::Absolute,
        }),
        filters: Vec::new(),
    };
    Some(VirtualHost {
        origin,
        names: vec![from.clone()],
        listeners: Vec::new(),
        tls: HostTls::default(),
        filters: Vec::new(),
        patterns: PatternOrder::Narrowest,
        routes: vec![route],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_begins_with_what_stands_before_its_first_sign() {
        for (pattern, start) in [
            ("/admin/(?!x)", "/admin/"),
            ("/ab*(", "/a"),
            ("/ab+(", "/ab"),
            ("/(", "/"),
            ("/a|/b[", "/"),
            ("/é?(", "/"),
            ("/a{2}(", "/"),
        ] {
            assert_eq!(literal_start(pattern), start, "{pattern}");
        }
    }
}
