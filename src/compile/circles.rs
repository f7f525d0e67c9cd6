//! Redirects that lead in a circle: seen by following them, as a browser would.
//!
//! ```text
//! a route's own URL ──► the router that will serve ──► its redirect ──► Location ──► … ──► seen before?
//! ```
//!
//! What is reported is a circle for sure; one that only some headers, queries or patterns lead into is not looked for.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, Uri};

use super::filters::{self, Levels};
use super::{entries, hosts_of};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::model::{
    Action, BoundFilters, Filter, FilterKind, HostName, Listener, Model, PathMatch, Route, Scheme, VirtualHost, WwwForm,
};
use crate::snapshot::path::{Resource, Target, encode_into};
use crate::snapshot::redirect::Served;
use crate::snapshot::request::RequestView;
use crate::snapshot::rewrite;
use crate::snapshot::router::{Found, Router};

/// Browsers give up after twenty.
const MOST_HOPS: usize = 20;

pub fn circles(model: &Model) -> Diagnostics {
    let mut found = Diagnostics::default();
    let redirects = |route: &Route| matches!(route.action, Action::Redirect(_));
    if !model.filters().any(redirecting) && !model.hosts.iter().flat_map(|host| &host.routes).any(redirects) {
        return found;
    }
    let places: Vec<Place<'_>> = model.listeners.iter().map(|listener| Place::of(model, listener)).collect();
    for place in &places {
        let by_listener = place.listener.filters.iter().any(redirecting);
        for host in &place.hosts {
            www_that_leads_nowhere(place, host, &mut found);
            let by_host = by_listener || host.filters.iter().any(redirecting);
            for route in host.routes.iter().filter(|r| by_host || redirects(r) || r.filters.iter().any(redirecting)) {
                if let Some(trail) = urls(place, host, route).into_iter().find_map(|url| follow(&places, place, url)) {
                    found.push(warning(route, &trail));
                }
            }
        }
    }
    found
}

fn redirecting(filter: &Filter) -> bool {
    filters::redirecting(&filter.kind, &Served::default()).is_some()
}

fn warning(route: &Route, trail: &[String]) -> Diagnostic {
    let message = match trail.len() > MOST_HOPS {
        true => format!("{} is redirected on and on, to {} and further", trail[0], trail[1]),
        false => format!("redirects lead in a circle: {}", trail.join(" to ")),
    };
    let help = "let the redirect lead to what another route takes, or take one of them out";
    Diagnostic::warning(route.origin.clone(), route.name.as_str(), message).help(help)
}

/// What is served on one listener.
struct Place<'m> {
    listener: &'m Listener,
    hosts: Vec<&'m VirtualHost>,
    served: Served,
    router: Router,
}

impl<'m> Place<'m> {
    fn of(model: &'m Model, listener: &'m Listener) -> Self {
        let hosts = hosts_of(model, listener);
        let (router, served) =
            (Router::build(&entries(listener, &hosts)), super::served(&BoundFilters::of(model), &hosts));
        Self { listener, hosts, served, router }
    }

    fn scheme(&self) -> Scheme {
        if self.listener.tls.is_some() { Scheme::Https } else { Scheme::Http }
    }

    /// Where this request is redirected to.
    fn redirect(&self, view: &RequestView<'_>, raw: &str) -> Option<String> {
        let Found::Route(id) = self.router.find(view) else { return None };
        let host = self.hosts[id.host];
        let route = &host.routes[id.route];
        let levels = Levels { listener: &self.listener.filters, host: &host.filters, route: &route.filters };
        let by_filter = filters::in_force(levels)
            .into_iter()
            .find_map(|(filter, _)| filters::redirecting(&filter.kind, &self.served)?.location(view, raw)?.ok());
        match &route.action {
            _ if by_filter.is_some() => by_filter,
            Action::Redirect(redirect) => rewrite::location(redirect, &route.matches.path, view, raw).ok(),
            Action::Forward(_) | Action::Split(_) | Action::Respond(_) | Action::Files(_) => None,
        }
    }
}

/// URLs that the route takes, as far as they can be told without a request.
fn urls(place: &Place<'_>, host: &VirtualHost, route: &Route) -> Vec<String> {
    let paths = match &route.matches.path {
        PathMatch::Exact(path) => vec![path.to_string()],
        PathMatch::Prefix(path) => vec![path.to_string(), format!("{}/x", path.trim_end_matches('/'))],
        PathMatch::Regex(_) => return Vec::new(),
    };
    let is_plain = route.matches.headers.is_empty() && route.matches.query.is_empty() && takes_get(route);
    let names = host.names.iter().filter_map(|name| match name {
        HostName::Exact(name) => Some(&**name),
        HostName::CatchAll => Some("any.test"),
        HostName::Wildcard(_) | HostName::OneLabel(_) => None,
    });
    let (scheme, port) = (place.scheme(), place.listener.address.port());
    let port = if port == scheme.default_port() { String::new() } else { format!(":{port}") };
    let url = |name: &str, path: &str| {
        let mut url = format!("{}://{name}{port}", scheme.as_str());
        encode_into(&mut url, path);
        url
    };
    names.filter(|_| is_plain).flat_map(|name| paths.iter().map(move |path| url(name, path))).collect()
}

fn takes_get(route: &Route) -> bool {
    route.matches.methods.is_empty() || route.matches.methods.iter().any(|method| &**method == "GET")
}

/// Every URL on the way, where it never ends.
fn follow<'m>(places: &[Place<'m>], first: &Place<'m>, url: String) -> Option<Vec<String>> {
    let (mut place, mut trail) = (first, vec![url]);
    loop {
        let url = trail.last()?;
        let location = ask(place, url)?;
        // A relative one stays on the same server.
        let next = match location.starts_with('/') {
            true => format!("{}{location}", url.split_inclusive('/').take(3).collect::<String>().trim_end_matches('/')),
            false => location,
        };
        place = place_of(places, place, url, &next)?;
        let seen = trail.contains(&next);
        trail.push(next);
        if seen || trail.len() > MOST_HOPS {
            return Some(trail);
        }
    }
}

fn ask(place: &Place<'_>, url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let Ok(Target::Resource(Resource { path, query, raw, .. })) =
        Target::parse(uri.path_and_query()?.as_str().as_bytes())
    else {
        return None;
    };
    let view = RequestView {
        method: "GET",
        path: &path,
        query,
        host: uri.host()?,
        port: uri.port_u16(),
        headers: &HeaderMap::new(),
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        scheme: place.scheme(),
    };
    place.redirect(&view, &raw)
}

/// The listener that `next` leads to, where that can be told: ports may be published as others.
fn place_of<'a, 'm>(places: &'a [Place<'m>], here: &'a Place<'m>, url: &str, next: &str) -> Option<&'a Place<'m>> {
    let (url, next): (Uri, Uri) = (url.parse().ok()?, next.parse().ok()?);
    if url.scheme() == next.scheme() && url.port_u16() == next.port_u16() {
        return Some(here);
    }
    let scheme = if next.scheme_str() == Some("https") { Scheme::Https } else { Scheme::Http };
    let port = next.port_u16().unwrap_or(scheme.default_port());
    places.iter().find(|place| place.scheme() == scheme && place.listener.address.port() == port)
}

/// `www-redirect` at a host none of whose names has the other beside it.
fn www_that_leads_nowhere(place: &Place<'_>, host: &VirtualHost, found: &mut Diagnostics) {
    let at_host = host.filters.iter().chain(host.routes.iter().flat_map(|route| &route.filters));
    for filter in at_host {
        let FilterKind::WwwRedirect(redirect) = &filter.kind else { continue };
        let leads = |name: &HostName| match (name, redirect.to) {
            (HostName::Exact(name), WwwForm::Apex) => {
                name.strip_prefix("www.").is_some_and(|bare| place.served.contains(bare))
            }
            (HostName::Exact(name), WwwForm::Www) => place.served.contains(&*format!("www.{name}")),
            (HostName::Wildcard(_) | HostName::OneLabel(_) | HostName::CatchAll, _) => true,
        };
        if host.names.iter().any(leads) {
            continue;
        }
        let (from, to) = match redirect.to {
            WwwForm::Apex => ("www.a.test", "a.test"),
            WwwForm::Www => ("a.test", "www.a.test"),
        };
        let message = "this redirects nobody: no name of the host has its other form among the names on the listener";
        let help =
            format!("write both under names, as [{to}, {from}], or redirect: {{ host: {to} }} at a host of its own");
        let path = host.names.first().map_or_else(String::new, ToString::to_string);
        found.push(Diagnostic::warning(filter.origin.clone(), format!("{path}.www-redirect"), message).help(help));
    }
}
