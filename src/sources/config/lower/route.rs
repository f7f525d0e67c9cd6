//! Routes: what is matched, and what is done.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::names::Names;
use super::process::every;
use super::rewrite::{MatchedBy, PathKeys, RoutePath, path_rewrite, query_rewrite};
use super::upstream::Upstreams;
use super::{Lowering, files, filter, headers, retry, split};
use crate::defaults;
use crate::model::{
    Action, FieldMatch, Forward, LocationForm, PathMatch, Redirect, Respond, Rewrite, Route, RouteMatch, RouteName,
    RouteTimeouts, Scheme, UpstreamName, ValueMatch,
};
use crate::sources::asked_upstream::standard_retry;
use crate::sources::config::decode::{Either, Field, List, Table};
use crate::sources::config::shapes::{self, FieldCondition, FieldWord, scalar};
use crate::sources::config::tree::{NodeId, abridged};

/// What routes refer to.
pub struct Scope<'a> {
    pub upstream_names: &'a Names,
    pub upstreams: &'a Upstreams,
}

/// Stands in for an action that cannot be read: which requests the route takes is known all the same.
fn no_action() -> Action {
    Action::Respond(Respond { status: 503, headers: Vec::new(), body: "".into() })
}

/// `host` is the name of the first host, for the route's own name.
pub fn route(
    cx: &Lowering,
    field: Field<shapes::Route>,
    host: &str,
    scope: &Scope,
    names: &mut RouteNames,
) -> Option<Route> {
    if field.is_wrong() {
        scope.upstream_names.lost_a_use();
    }
    let (at, shape) = field.given()?;
    let matched_by = check_paths(cx, at, &shape);
    let path = path_match(cx, shape.path, shape.exact, shape.regex);
    let methods = every(shape.methods);
    let headers = conditions(cx, shape.headers, FieldKind::Header);
    let query = conditions(cx, shape.query, FieldKind::Query);
    let name = path.as_ref().map(|path| names.name(shape.name.value(), host, path));
    let level = format!("route:{}", name.as_ref().map_or("?", RouteName::as_str));
    let filters = filter::filters(cx, shape.filters, level);
    let keys = ActionKeys {
        upstream: shape.upstream,
        split: shape.split,
        redirect: shape.redirect,
        respond: shape.respond,
        files: shape.files,
        forwarding: ForwardingKeys { rewrite: shape.rewrite, timeouts: shape.timeouts, retry: shape.retry },
    };
    let action = action(cx, at, keys, RoutePath::of(matched_by, path.as_ref()), scope);
    let (path, name) = (path?, name?);
    // Without one of its conditions it would take what others are there for.
    if matched_by == MatchedBy::Unknown || cx.is_one_misspelled(at, &["methods", "headers", "query"]) {
        return None;
    }
    let matches = RouteMatch { path, methods: methods?, headers: headers?, query: query? };
    Some(Route {
        name,
        origin: cx.findings.origin(at.value()),
        matches,
        action: action.unwrap_or_else(no_action),
        filters,
    })
}

fn check_paths(cx: &Lowering, at: NodeId, shape: &shapes::Route) -> MatchedBy {
    let keys = [("path", shape.path.key()), ("exact", shape.exact.key()), ("regex", shape.regex.key())];
    match cx.only_one(&keys) {
        0 => {
            let help = "write path: / for everything, exact: /health for one path, or regex: ^/v[0-9]+/";
            cx.missing(at, &["path", "exact", "regex"], "nothing says which paths the route takes", help);
        }
        1 => {}
        _ => return MatchedBy::Unknown,
    }
    match keys {
        [(_, Some(_)), _, _] => MatchedBy::Prefix,
        [_, (_, Some(_)), _] => MatchedBy::Exact,
        [_, _, (_, Some(_))] => MatchedBy::Regex,
        [(_, None), (_, None), (_, None)] => MatchedBy::Unknown,
    }
}

fn path_match(
    cx: &Lowering,
    prefix: Field<scalar::MatchedPath>,
    exact: Field<scalar::MatchedPath>,
    regex: Field<scalar::Regex>,
) -> Option<PathMatch> {
    if let Field::Given(at, scalar::Regex(pattern)) = &regex
        && let Some(first) = pattern.as_str().strip_prefix('^').and_then(|rest| rest.chars().next())
        && first.is_ascii_alphanumeric()
    {
        let message = "this never matches: every path begins with a slash";
        cx.warning(at.value(), message, format!("write \"^/{}\"", abridged(&pattern.as_str()[1..])));
    }
    prefix
        .scalar()
        .map(PathMatch::Prefix)
        .or_else(|| exact.scalar().map(PathMatch::Exact))
        .or_else(|| regex.scalar().map(PathMatch::Regex))
}

#[derive(Clone, Copy)]
pub enum FieldKind {
    /// Kept in lowercase.
    Header,
    Cookie,
    Query,
}

/// None where one of them cannot be read.
pub fn conditions(
    cx: &Lowering,
    written: Field<Table<Either<FieldWord, FieldCondition>>>,
    kind: FieldKind,
) -> Option<Vec<FieldMatch>> {
    let mut certain = !written.is_wrong();
    let mut conditions = Vec::new();
    for (name, field) in written.value().map_or(Vec::new(), |Table(entries)| entries) {
        let Some((at, condition)) = field.given() else {
            certain = false;
            continue;
        };
        let value = match condition {
            Either::Short(FieldWord::Present) => ValueMatch::Present,
            Either::Short(FieldWord::Absent) => ValueMatch::Absent,
            Either::Short(FieldWord::Exact(text)) | Either::Full(FieldCondition::Exact(text)) => {
                ValueMatch::Exact(text.into())
            }
            Either::Full(FieldCondition::Regex(pattern)) => ValueMatch::Regex(pattern.0),
        };
        let name: Result<Arc<str>, String> = match kind {
            FieldKind::Query => Ok(name.into()),
            FieldKind::Cookie => scalar::cookie_name(&name),
            FieldKind::Header => scalar::header_name(&name).map(|name| name.to_ascii_lowercase().into()),
        };
        let Ok(name) = name.map_err(|message| cx.error(at.key(), message)) else {
            certain = false;
            continue;
        };
        conditions.push(FieldMatch { name, value });
    }
    certain.then_some(conditions)
}

struct ActionKeys {
    upstream: Field<String>,
    split: Field<Box<shapes::Split>>,
    redirect: Field<Box<shapes::Redirect>>,
    respond: Field<Box<shapes::Respond>>,
    files: Field<Box<shapes::Files>>,
    forwarding: ForwardingKeys,
}

/// What can only stand beside `upstream` and `split`.
struct ForwardingKeys {
    rewrite: Field<Box<shapes::Rewrite>>,
    timeouts: Field<Box<shapes::Timeouts>>,
    retry: Field<Box<shapes::Retry>>,
}

fn action(cx: &Lowering, at: NodeId, keys: ActionKeys, route: RoutePath<'_>, scope: &Scope) -> Option<Action> {
    let actions = [
        ("upstream", keys.upstream.key()),
        ("split", keys.split.key()),
        ("redirect", keys.redirect.key()),
        ("respond", keys.respond.key()),
        ("files", keys.files.key()),
    ];
    if cx.only_one(&actions) == 0 {
        let names = ["upstream", "split", "redirect", "respond", "files"];
        let help = "write upstream: …, split: { … }, redirect: { … }, respond: { … } or files: { … }";
        cx.missing(at, &names, "nothing says what is done with the requests", help);
        scope.upstream_names.lost_a_use();
    }
    match (keys.upstream, keys.split) {
        (Field::Given(at, name), _) => {
            scope.upstream_names.resolve(cx, at, &name);
            Some(Action::Forward(manner(cx, keys.forwarding, route).to(&name, scope)))
        }
        (Field::Absent, Field::Given(at, shape)) => {
            split::split(cx, at, *shape, &manner(cx, keys.forwarding, route), scope).map(Action::Split)
        }
        (Field::Wrong(_), _) | (Field::Absent, Field::Wrong(_)) => {
            scope.upstream_names.lost_a_use();
            None
        }
        (Field::Absent, Field::Absent) => {
            if actions.iter().any(|(_, place)| place.is_some()) {
                refuse_forwarding(cx, &keys.forwarding);
            }
            let redirected = keys.redirect.given().map(|(at, shape)| Action::Redirect(redirect(cx, at, *shape, route)));
            let responded = keys.respond.given().map(|(_, shape)| Action::Respond(respond(cx, *shape)));
            let served = keys.files.given().map(|(at, shape)| Action::Files(files::files(cx, at, *shape, route.by)));
            redirected.or(responded).or(served)
        }
    }
}

fn refuse_forwarding(cx: &Lowering, keys: &ForwardingKeys) {
    let places = [("rewrite", keys.rewrite.key()), ("timeouts", keys.timeouts.key()), ("retry", keys.retry.key())];
    for (key, place) in places {
        if let Some(place) = place {
            let message = format!("\"{key}\" has no effect where nothing is sent upstream");
            cx.error_with(place, message, "take it out, or write upstream: …");
        }
    }
}

/// How the route sends requests on, whatever the upstream.
pub struct Manner {
    rewrite: Rewrite,
    timeouts: RouteTimeouts,
    retry: Option<retry::Overrides>,
}

impl Manner {
    pub fn to(&self, name: &str, scope: &Scope) -> Forward {
        let otherwise = || scope.upstreams.get(name).map_or_else(standard_retry, |upstream| upstream.retry.clone());
        Forward {
            upstream: UpstreamName::new(name),
            rewrite: self.rewrite.clone(),
            timeouts: self.timeouts.clone(),
            retry: self.retry.as_ref().map(|overrides| overrides.over(otherwise())),
        }
    }
}

fn manner(cx: &Lowering, keys: ForwardingKeys, route: RoutePath<'_>) -> Manner {
    let retry = keys.retry.value().map(|shape| retry::overrides(cx, *shape));
    let timeouts = keys.timeouts.value().unwrap_or_default();
    let rewrite = keys.rewrite.value().unwrap_or_default();
    let keys = PathKeys { path: rewrite.path, prefix: rewrite.prefix, regex: rewrite.regex };
    Manner {
        rewrite: Rewrite {
            path: path_rewrite(cx, keys, route),
            query: query_rewrite(rewrite.query),
            host: rewrite.host.scalar(),
        },
        timeouts: RouteTimeouts {
            request: timeouts.request.scalar(),
            connect: timeouts.connect.scalar(),
            read: timeouts.read.scalar(),
            write: timeouts.write.scalar(),
        },
        retry,
    }
}

fn redirect(cx: &Lowering, at: NodeId, shape: shapes::Redirect, route: RoutePath<'_>) -> Redirect {
    let parts = [shape.scheme.key(), shape.host.key(), shape.port.key(), shape.path.key(), shape.prefix.key()];
    if parts.iter().flatten().next().is_none() && shape.regex.key().is_none() && shape.query.key().is_none() {
        let keys = ["scheme", "host", "port", "path", "prefix", "regex", "query"];
        let help = "say what of the URL changes: scheme, host, port, query, and path, prefix or regex";
        cx.missing(at, &keys, "this redirects every request to itself", help);
    }
    let form = location_form(shape.relative);
    if let (LocationForm::Relative, Some(place)) = (form, parts[..3].iter().flatten().next()) {
        let message = "a relative Location has no scheme, host and port (RFC 9110 §10.2.2)";
        cx.error_with(*place, message, "take this out, or relative: true");
    }
    let keys = PathKeys { path: shape.path, prefix: shape.prefix, regex: shape.regex };
    Redirect {
        status: shape.status.scalar_or(defaults::REDIRECT_STATUS),
        scheme: shape.scheme.value().map(|scheme| match scheme {
            shapes::Scheme::Http => Scheme::Http,
            shapes::Scheme::Https => Scheme::Https,
        }),
        host: shape.host.scalar(),
        port: shape.port.scalar(),
        path: path_rewrite(cx, keys, route),
        query: query_rewrite(shape.query),
        form,
    }
}

pub fn location_form(relative: Field<bool>) -> LocationForm {
    match relative.value() {
        Some(true) => LocationForm::Relative,
        Some(false) => LocationForm::Absolute,
        None => defaults::LOCATION_FORM,
    }
}

fn respond(cx: &Lowering, shape: shapes::Respond) -> Respond {
    let body_place = shape.body.key();
    let respond = Respond {
        status: shape.status.scalar_or(defaults::RESPOND_STATUS),
        headers: headers::fields(cx, shape.headers),
        body: shape.body.value().unwrap_or_default().into(),
    };
    if let (Some(place), 204 | 304, false) = (body_place, respond.status, respond.body.is_empty()) {
        let message = format!("an answer of status {} has no body (RFC 9110 §6.4.1)", respond.status);
        cx.error_with(place, message, "take the body out, or write another status");
    }
    respond
}

/// Gives each route a name of its own.
pub struct RouteNames {
    taken: HashSet<String>,
    /// The last number that was given to names made alike.
    numbers: HashMap<String, u32>,
}

impl RouteNames {
    /// Those that were written; one that was written twice is reported.
    pub fn given(cx: &Lowering, hosts: &List<shapes::Host>) -> Self {
        let mut first_lines: HashMap<String, u32> = HashMap::new();
        let routes = hosts.iter().filter_map(|host| match host {
            Field::Given(_, shapes::Host { routes: Field::Given(_, routes), .. }) => Some(routes),
            Field::Given(..) | Field::Wrong(_) | Field::Absent => None,
        });
        for route in routes.flatten() {
            let Field::Given(_, shapes::Route { name: Field::Given(at, name), .. }) = route else { continue };
            let line = cx.findings.line(at.value());
            if name.is_empty() {
                cx.error_with(at.value(), "a name cannot be empty", "take the key out, and one is made");
            } else if let Some(first) = first_lines.get(name) {
                let message = format!("the route \"{}\" is here twice; it was first at line {first}", abridged(name));
                cx.error_with(at.value(), message, "give it another name");
            } else {
                first_lines.insert(name.clone(), line);
            }
        }
        Self { taken: first_lines.into_keys().collect(), numbers: HashMap::new() }
    }

    fn name(&mut self, given: Option<String>, host: &str, path: &PathMatch) -> RouteName {
        if let Some(name) = given {
            return RouteName::new(name);
        }
        let made = format!("{host}{path}");
        if self.taken.insert(made.clone()) {
            return RouteName::new(made);
        }
        let number = self.numbers.entry(made.clone()).or_insert(1);
        loop {
            *number += 1;
            let name = format!("{made}#{number}");
            if self.taken.insert(name.clone()) {
                return RouteName::new(name);
            }
        }
    }
}
