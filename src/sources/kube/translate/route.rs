//! What one location does: its action and its filters.
//!
//! ```text
//! closed? 503 ──► leads elsewhere? redirect ──► rewritten, to its Service's upstream ──► filters: https, limits, access, auth, errors
//! ```

use std::sync::Arc;

use super::backend::{AddressedBy, Backend, BadBackend, Variant};
use super::canary::{Canaries, Share};
use super::context::Context;
use super::prepare::Prepared;
use super::report::{ObjectKind, Reason, origin};
use super::server::{Leads, Location};
use crate::defaults;
use crate::model::{
    Action, ErrorPage, ErrorPages, Filter, FilterKind, Forward, HeaderTemplate, HostName, HttpsRedirect, Intercept,
    LocationForm, PageSource, PageStatus, PathRewrite, Pattern, QueryRewrite, Redirect, RedirectSlash, RedirectStatus,
    Replacement, Respond, Rewrite, Scheme, SecureCookie, Split, SplitArm, SplitRule, SplitSessions, StatusRange,
    StickyCookie, TemplatePart, UpstreamName, Variable,
};
use crate::sources::kube::annotations::Destination;
use crate::sources::kube::state::ObjectKey;

/// The host that a location is of.
pub struct Site<'a> {
    pub name: &'a HostName,
    /// Whether plain requests could be sent to https.
    pub certificate: bool,
    pub canaries: &'a Canaries<'a>,
}

pub fn act(cx: &mut Context<'_>, site: &Site<'_>, location: &Location<'_>) -> (Action, Vec<Filter>) {
    let Some(owner) = location.owner else { return (default_backend(cx), Vec::new()) };
    if owner.policy.closed.is_some() || matches!(location.leads, Leads::Refused) {
        return (respond(503), Vec::new());
    }
    // nginx answers and redirects before it asks who comes; preflights are answered before that.
    let early = |action| (action, owner.cors.iter().cloned().collect());
    if let Some(action) = answered(owner).or_else(|| redirected(owner)) {
        return early(action);
    }
    let rewriting = rewriting(cx, location, owner).unwrap_or_else(|message| {
        let path = cx.annotation("rewrite-target");
        cx.warn(owner.ingress, Reason::InvalidAnnotation, path, message);
        Rewriting::Nothing
    });
    let rewrite = match rewriting {
        Rewriting::Elsewhere(redirect) => return early(Action::Redirect(redirect)),
        Rewriting::Nothing => Rewrite::default(),
        Rewriting::Path(path, query) => Rewrite { path: Some(path), query, host: None },
    };
    let filters = filters(cx, site, location, owner);
    (forward(cx, site, location, owner, rewrite), filters)
}

fn forward(
    cx: &mut Context<'_>,
    site: &Site<'_>,
    location: &Location<'_>,
    owner: &Prepared<'_>,
    rewrite: Rewrite,
) -> Action {
    let Some((upstream, variant)) = upstream(cx, location, owner) else {
        return match location.leads {
            Leads::Nowhere => default_backend(cx),
            Leads::To(_) | Leads::Refused => respond(503),
        };
    };
    let forward = Forward {
        upstream,
        rewrite: Rewrite { host: owner.policy.backend.host.clone(), ..rewrite },
        timeouts: owner.timeouts.clone(),
        retry: owner.retry.clone(),
    };
    match (canary(site, location), &owner.on_tls) {
        (Some(canary), None) => canary.of(cx, forward, &variant),
        (Some(_), Some(_)) => {
            let path = cx.annotation("backend-protocol");
            cx.warn(
                owner.ingress,
                Reason::Conflict,
                path,
                "AUTO_HTTP and a canary do not go together: the canary has no effect",
            );
            by_scheme(cx, location, owner, forward)
        }
        (None, Some(_)) => by_scheme(cx, location, owner, forward),
        (None, None) => Action::Forward(forward),
    }
}

/// Clients on TLS have their backend spoken with in TLS, others without.
fn by_scheme(cx: &mut Context<'_>, location: &Location<'_>, owner: &Prepared<'_>, plain: Forward) -> Action {
    let (Leads::To(backend), Some(variant)) = (&location.leads, &owner.on_tls) else { return Action::Forward(plain) };
    let variant = Variant { sticky: sticky(location, owner), ..variant.clone() };
    let tls = cx.upstreams.of(backend, &variant).ok().filter(|_| cx.upstreams.has_endpoints(backend));
    // Without endpoints it is the default backend that answers.
    let Some(upstream) = tls else { return Action::Forward(plain) };
    let on_tls = Forward { upstream: upstream.clone(), ..plain.clone() };
    let (headers, cookies, query) = (Vec::new(), Vec::new(), Vec::new());
    Action::Split(Split {
        rules: vec![SplitRule { headers, cookies, query, scheme: Some(Scheme::Https), upstream }],
        arms: vec![SplitArm { weight: 1, forward: plain }, SplitArm { weight: 0, forward: on_tls }],
        by: None,
        sessions: SplitSessions::Split,
    })
}

/// A snippet's `return`.
fn answered(owner: &Prepared<'_>) -> Option<Action> {
    let (status, text) = owner.policy.respond.as_ref()?;
    let headers = if text.is_empty() { Vec::new() } else { vec![("Content-Type".into(), "text/plain".into())] };
    Some(Action::Respond(Respond { status: *status, headers, body: text.clone() }))
}

pub fn respond(status: u16) -> Action {
    Action::Respond(Respond { status, headers: Vec::new(), body: "".into() })
}

/// For what nobody has: 404, where no Service was named.
fn default_backend(cx: &mut Context<'_>) -> Action {
    let upstream = cx.settings.default_backend.clone().and_then(|service| cx.service_upstream(&service));
    match upstream {
        Some(upstream) => Action::Forward(Forward {
            upstream,
            rewrite: Rewrite::default(),
            timeouts: Default::default(),
            retry: None,
        }),
        None => respond(404),
    }
}

/// The upstream of its Service. Where that has no endpoints, the annotation's default backend answers.
fn upstream(cx: &mut Context<'_>, location: &Location<'_>, owner: &Prepared<'_>) -> Option<(UpstreamName, Variant)> {
    let Leads::To(backend) = &location.leads else { return None };
    let mut variant = owner.variant.clone();
    variant.sticky = sticky(location, owner);
    let found = match cx.upstreams.of(backend, &variant) {
        Err(BadBackend::NoAddress) => {
            variant.address = AddressedBy::Endpoints;
            cx.upstreams.of(backend, &variant)
        }
        found => found,
    };
    if let Some(upstream) = gives_way(cx, location, owner) {
        return Some((upstream, Variant::plain()));
    }
    found
        .map(|name| (name, variant))
        .map_err(|reason| {
            let message = format!("{}; it answers 503", reason.in_words(backend));
            cx.warn(owner.ingress, Reason::ServiceNotFound, location.at.clone(), message);
        })
        .ok()
}

/// The default backend, where the Service has no endpoints.
fn gives_way(cx: &mut Context<'_>, location: &Location<'_>, owner: &Prepared<'_>) -> Option<UpstreamName> {
    let Leads::To(backend) = &location.leads else { return None };
    let instead = owner.policy.errors.default_backend.as_ref().filter(|_| !cx.upstreams.has_endpoints(backend))?;
    cx.service_upstream(&ObjectKey::new(owner.ingress.key.namespace.clone(), instead.clone()))
}

fn canary<'a>(site: &Site<'a>, location: &Location<'_>) -> Option<&'a Share<'a>> {
    match &location.leads {
        Leads::To(backend) => site.canaries.get(backend),
        Leads::Nowhere | Leads::Refused => None,
    }
}

fn sticky(location: &Location<'_>, owner: &Prepared<'_>) -> Option<StickyCookie> {
    let session = &owner.policy.session;
    session.cookie.then(|| StickyCookie {
        name: session.name.clone().unwrap_or_else(|| "INGRESSCOOKIE".into()),
        max_age: session.max_age.or(session.expires),
        path: session.path.clone().unwrap_or_else(|| location.path.clone()),
        domain: session.domain.clone(),
        same_site: session.same_site.unwrap_or(defaults::STICKY_SAME_SITE),
        secure: if session.secure { SecureCookie::Always } else { SecureCookie::AsGiven },
    })
}

fn redirected(owner: &Prepared<'_>) -> Option<Action> {
    let redirect = &owner.policy.redirect;
    let temporal = redirect.temporal.as_ref().map(|to| (to, redirect.temporal_code.unwrap_or(302)));
    let permanent = redirect.permanent.as_ref().map(|to| (to, redirect.permanent_code.unwrap_or(301)));
    temporal.or(permanent).map(|(to, code)| redirect_to(to, code))
}

fn redirect_to(to: &Destination, code: u16) -> Action {
    let port = to.port.or(to.scheme.map(|scheme| scheme.default_port()));
    match RedirectStatus::from_code(code) {
        Some(status) => Action::Redirect(Redirect {
            status,
            scheme: to.scheme,
            host: to.host.clone(),
            port,
            path: to.path.as_deref().map(|path| PathRewrite::Full(Replacement::literal(path))),
            query: if to.path.is_some() { QueryRewrite::Drop } else { QueryRewrite::Keep },
            form: LocationForm::Absolute,
        }),
        // 300, 304, 305 and 306 redirect nobody; nginx sends them with a Location all the same.
        None => {
            let scheme = to.scheme.map_or("http", |scheme| scheme.as_str());
            let host = to.host.as_deref().unwrap_or_default();
            let location = format!("{scheme}://{host}{}", to.path.as_deref().unwrap_or("/"));
            let headers = vec![("Location".into(), location.into())];
            Action::Respond(Respond { status: code, headers, body: "".into() })
        }
    }
}

enum Rewriting {
    Nothing,
    Path(PathRewrite, QueryRewrite),
    /// A target that is a URL.
    Elsewhere(Redirect),
}

/// `rewrite "(?i)path" target break`: the whole URI is replaced, wherever in it the path was found.
fn rewriting(cx: &mut Context<'_>, location: &Location<'_>, owner: &Prepared<'_>) -> Result<Rewriting, String> {
    let Some(target) = owner.policy.rewrite.target.as_ref().filter(|target| **target != location.path) else {
        return Ok(Rewriting::Nothing);
    };
    let pattern = cx.pattern(&format!("(?i)^(?s:.*?)(?:{})(?s:.*)$", location.path))?;
    let (query, target) = match target.strip_suffix('?') {
        Some(target) => (QueryRewrite::Drop, target),
        None => (QueryRewrite::Keep, &**target),
    };
    let url =
        ["http://", "https://", "$scheme://"].iter().find_map(|scheme| Some((*scheme, target.strip_prefix(scheme)?)));
    let Some((scheme, rest)) = url else {
        let slash = if target.starts_with('/') { "" } else { "/" };
        let replacement = replacement(&format!("{slash}{target}"), &pattern)?;
        return Ok(Rewriting::Path(PathRewrite::Regex { pattern, replacement }, query));
    };
    let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let scheme = match scheme {
        "http://" => Some(crate::model::Scheme::Http),
        "https://" => Some(crate::model::Scheme::Https),
        _ => None,
    };
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()),
        None => (host, None),
    };
    let host = match HostName::parse(host) {
        Ok(HostName::Exact(name)) => name,
        Ok(_) | Err(_) => return Err("the target is no URL that Weir can redirect to".into()),
    };
    Ok(Rewriting::Elsewhere(Redirect {
        status: RedirectStatus::Found,
        scheme,
        host: Some(host),
        port: port.or(scheme.map(|scheme| scheme.default_port())),
        path: Some(PathRewrite::Regex { replacement: replacement(&path, &pattern)?, pattern }),
        query,
        form: LocationForm::Absolute,
    }))
}

/// nginx's captures have one digit, and one that the pattern has not is empty.
fn replacement(target: &str, pattern: &Pattern) -> Result<Replacement, String> {
    let mut text = String::new();
    let mut rest = target;
    while let Some((before, after)) = rest.split_once('$') {
        text.push_str(before);
        let digit = after.chars().next().and_then(|digit| digit.to_digit(10)).map(|digit| digit as usize);
        let braced = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        rest = match (digit, braced) {
            (Some(digit), _) => {
                if digit < pattern.regex().captures_len() {
                    text.push_str(&format!("${{{digit}}}"));
                }
                &after[1..]
            }
            (None, Some((name, next))) if pattern.regex().capture_names().flatten().any(|known| known == name) => {
                text.push_str(&format!("${{{name}}}"));
                next
            }
            (None, _) => {
                return Err(format!("{target:?} has a variable that Weir does not have; captures are $1 to $9"));
            }
        };
    }
    text.push_str(rest);
    Replacement::parse(&text, pattern).map_err(|_| format!("{target:?} cannot be written as a URI"))
}

fn filters(cx: &mut Context<'_>, site: &Site<'_>, location: &Location<'_>, owner: &Prepared<'_>) -> Vec<Filter> {
    let begins = |list: &[Arc<str>]| list.iter().any(|start| location.path.starts_with(&**start));
    let mut filters: Vec<Filter> = owner.cors.iter().cloned().collect();
    let origin = origin(ObjectKind::Ingress, &owner.ingress.key);
    let redirect = &owner.policy.redirect;
    let forced = redirect.force_ssl.unwrap_or(cx.options.force_ssl_redirect);
    let wanted = redirect.ssl.unwrap_or(cx.options.ssl_redirect) && site.certificate;
    if (forced || wanted) && !begins(&cx.options.no_tls_redirect) {
        let keeps = redirect.preserve_trailing_slash.unwrap_or(cx.options.preserve_trailing_slash);
        let kind = FilterKind::HttpsRedirect(HttpsRedirect {
            status: cx.options.redirect_status,
            port: if redirect.use_port { cx.settings.https.port() } else { 443 },
            slash: if keeps { RedirectSlash::Keep } else { RedirectSlash::Drop },
        });
        filters.push(Filter { origin: origin.clone(), kind });
    }
    filters.extend(owner.filters.iter().cloned());
    if !begins(&cx.options.no_auth) {
        filters.extend(owner.auth.iter().cloned());
    }
    let told = told(location, owner);
    if gives_way(cx, location, owner).is_some() {
        tell_default_backend(&mut filters, &told);
    }
    filters.extend(error_pages(cx, owner, told).map(|kind| Filter { origin, kind }));
    filters
}

/// What the default backend is told of where an error came from.
fn told(location: &Location<'_>, owner: &Prepared<'_>) -> Vec<(Arc<str>, Arc<str>)> {
    let key = &owner.ingress.key;
    let mut told = vec![("X-Namespace".into(), key.namespace.clone()), ("X-Ingress-Name".into(), key.name.clone())];
    if let Leads::To(backend) = &location.leads {
        told.push(("X-Service-Name".into(), backend.service.name.clone()));
        told.push(("X-Service-Port".into(), backend.port.to_string().into()));
    }
    told
}

/// It gets the request itself where the Service has no endpoints, as if for a page of the error 503.
fn tell_default_backend(filters: &mut [Filter], told: &[(Arc<str>, Arc<str>)]) {
    let text = |text: &Arc<str>| HeaderTemplate(vec![TemplatePart::Text(text.clone())]);
    let accept = HeaderTemplate(vec![TemplatePart::Variable(Variable::Header("accept".into()))]);
    for filter in filters {
        if let FilterKind::Headers(edits) = &mut filter.kind {
            let usual = [("X-Code".into(), text(&"503".into())), ("X-Format".into(), accept.clone())];
            edits.request.set.extend(usual);
            edits.request.set.extend(told.iter().map(|(name, value)| (name.clone(), text(value))));
        }
    }
}

/// The pages are the default backend's: the annotation's, else the one for all.
fn error_pages(cx: &mut Context<'_>, owner: &Prepared<'_>, told: Vec<(Arc<str>, Arc<str>)>) -> Option<FilterKind> {
    let errors = &owner.policy.errors;
    let codes = errors.codes.clone().unwrap_or_else(|| cx.options.custom_errors.clone());
    if codes.is_empty() {
        return None;
    }
    let own = errors.default_backend.as_ref();
    let own = own.map(|name| ObjectKey::new(owner.ingress.key.namespace.clone(), name.clone()));
    let service = own.or_else(|| cx.settings.default_backend.clone());
    let Some(name) = service.as_ref().and_then(|service| cx.service_upstream(service)) else {
        let path = cx.annotation("custom-http-errors");
        cx.warn(
            owner.ingress,
            Reason::InvalidAnnotation,
            path,
            "no default backend is there that could show the errors",
        );
        return None;
    };
    let leave = errors.leave_upstreams.unwrap_or(cx.options.leave_upstream_errors);
    Some(FilterKind::ErrorPages(ErrorPages {
        intercept: if leave { Intercept::Own } else { Intercept::All },
        pages: vec![ErrorPage {
            statuses: codes.into_iter().map(|code| StatusRange { from: code, to: code }).collect(),
            source: PageSource::Upstream { name, path: "/".into(), told },
            answered: PageStatus::OfThePage,
        }],
    }))
}

impl Context<'_> {
    /// A Service by its first port, plainly spoken with.
    fn service_upstream(&mut self, service: &ObjectKey) -> Option<UpstreamName> {
        let port = self.upstreams.first_port(service).ok()?;
        let backend = Backend { service: service.clone(), port };
        self.upstreams.of(&backend, &Variant::plain()).ok()
    }
}
