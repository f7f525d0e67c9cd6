//! What would happen to a request, and why: for `weir explain` and `/explain`.
//!
//! ```text
//! Question ──► the snapshot's own matcher, checks and balancers ──► Explanation ──► text, JSON
//! ```
//!
//! Nothing is guessed here: the router that serves says who won and why the others lost.

mod carried;

use std::fmt::{self, Write};
use std::net::IpAddr;
use std::time::Instant;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use serde::Serialize;

use crate::diagnostics::Origin;
use crate::files::{Folder, Found};
use crate::model::{EndpointAddress, Listener, Scheme, format_duration};
use crate::proxy::{Affinity, client_address, filters};
use crate::snapshot::Snapshot;
use crate::snapshot::accept_encoding::AcceptEncoding;
use crate::snapshot::chain::AppliedFilter;
use crate::snapshot::host::Authority;
use crate::snapshot::path::{Resource, Target};
use crate::snapshot::request::RequestView;
use crate::snapshot::rewrite;
use crate::snapshot::router::{NameVerdict, RouteId, RouteVerdict, Verdict};
use crate::snapshot::split::{Reason, Split};
use crate::snapshot::table::{Action, Forward, Lookup, Route, Table};
use crate::snapshot::upstream::{PickRequest, Upstream};

pub struct Question {
    pub method: String,
    pub url: String,
    /// `name: value`
    pub headers: Vec<String>,
    pub from: IpAddr,
}

#[derive(Debug, Serialize)]
pub struct Explanation {
    pub listener: Chosen,
    pub host: Option<String>,
    /// As it is matched: decoded, dot segments resolved, slashes merged.
    pub path: String,
    pub names: Vec<Candidate>,
    pub routes: Vec<Candidate>,
    pub route: Option<Chosen>,
    pub filters: Vec<AppliedFilter>,
    /// How it stands with each limit now; it is not counted.
    pub limits: Vec<Limit>,
    /// What filters make of it that let it pass.
    pub notes: Vec<Note>,
    pub action: String,
    pub endpoints: Vec<Candidate>,
}

/// What was chosen, and where the file says so.
#[derive(Debug, Serialize)]
pub struct Chosen {
    pub name: String,
    pub origin: Origin,
}

#[derive(Debug, Serialize)]
pub struct Limit {
    pub filter: &'static str,
    pub name: String,
    pub standing: String,
}

#[derive(Debug, Serialize)]
pub struct Note {
    pub filter: &'static str,
    pub words: String,
}

#[derive(Debug, Serialize)]
pub struct Candidate {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    pub chosen: bool,
    /// Why it was not, or how it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Why there is nothing to explain.
#[derive(Debug, thiserror::Error)]
pub enum Unexplained {
    /// The question itself is wrong.
    #[error("{0}")]
    Question(String),
    /// Weir would answer before it looks for a route.
    #[error("answered {0}: {1}")]
    Refused(u16, String),
}

impl From<String> for Unexplained {
    fn from(reason: String) -> Self {
        Unexplained::Question(reason)
    }
}

pub fn explain(snapshot: &Snapshot, question: &Question) -> Result<Explanation, Unexplained> {
    let uri: Uri = question.url.parse().map_err(|error| format!("\"{}\" is not a URL: {error}", question.url))?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(format!("\"{}\" is not a whole URL; write it as \"http://example.org/path\"", question.url).into());
    };
    let scheme = match scheme {
        "tcp" => return carried::explain(snapshot, question, authority.port_u16()),
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => return Err(format!("the scheme \"{other}\" is not served; write http, https or tcp").into()),
    };
    if ["TRACE", "CONNECT"].contains(&question.method.as_str()) {
        return Err(Unexplained::Refused(405, "this method is not served".into()));
    }
    let headers = headers(&question.headers)?;
    let host_field = headers.get(http::header::HOST).map_or(authority.as_str().as_bytes(), HeaderValue::as_bytes);
    let refused = |reason: &dyn fmt::Display| Unexplained::Refused(400, reason.to_string());
    let host = Authority::parse(host_field).map_err(|reason| refused(&reason))?.host;
    let raw = uri.path_and_query().map_or("/", |target| target.as_str());
    let target = match Target::parse(raw.as_bytes()).map_err(|reason| refused(&reason))? {
        Target::Resource(target) => target,
        Target::Server => return Err(String::from("nothing is known of the server as a whole").into()),
    };
    let listener = choose_listener(snapshot, scheme, authority.port_u16())?;
    let Some(table) = snapshot.tables.get(&listener.name) else {
        return Err(format!("the listener {} has no table", listener.name).into());
    };
    let client = client_address::resolve(question.from, scheme, &headers, &snapshot.model.process.trusted_proxies);
    let view = RequestView {
        method: &question.method,
        path: &target.path,
        query: target.query,
        host: &host,
        port: authority.port_u16(),
        headers: &headers,
        client: client.address,
        scheme: client.scheme,
    };
    Ok(assemble(listener, table, &view, &target))
}

fn headers(fields: &[String]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for field in fields {
        let parsed = field.split_once(':').and_then(|(name, value)| {
            let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
            Some((name, HeaderValue::from_str(value.trim()).ok()?))
        });
        let Some((name, value)) = parsed else {
            return Err(format!("\"{field}\" is not a header field; write it as \"name: value\""));
        };
        headers.append(name, value);
    }
    Ok(headers)
}

/// The one with that scheme and port; a port that nobody has is taken as published from elsewhere (a container's).
fn choose_listener(snapshot: &Snapshot, scheme: Scheme, port: Option<u16>) -> Result<&Listener, String> {
    let port = port.unwrap_or(scheme.default_port());
    if let Some(carrier) = snapshot.model.tcp_listeners.iter().find(|listener| listener.address.port() == port) {
        return Err(format!("listener {} carries connections, and looks into none; ask for tcp://", carrier.name));
    }
    let speaks = |listener: &&Listener| listener.tls.is_some() == (scheme == Scheme::Https);
    let listeners = || snapshot.model.listeners.iter().filter(speaks);
    listeners()
        .find(|listener| listener.address.port() == port)
        .or_else(|| listeners().next())
        .ok_or_else(|| format!("no listener speaks {}", scheme.as_str()))
}

fn assemble(listener: &Listener, table: &Table, view: &RequestView<'_>, target: &Resource<'_>) -> Explanation {
    let verdicts = table.explain(view);
    let route_of = |id: RouteId| table.route(id.host, id.route);
    let won = verdicts.routes.iter().find(|candidate| candidate.verdict == Verdict::Won);
    let won = won.map(|candidate| route_of(candidate.route));
    let elsewhere = match table.find(view) {
        Lookup::Elsewhere(tunnel) => Some(tunnel),
        Lookup::Route(_) | Lookup::NoHost(_) | Lookup::NoRoute(..) => None,
    };
    let name = |candidate: &NameVerdict| verdict(candidate.name.to_string(), None, &candidate.verdict);
    let route = |candidate: &RouteVerdict| {
        let route = route_of(candidate.route);
        verdict(format!("{} ({})", route.name, route.path), Some(route.origin.clone()), &candidate.verdict)
    };
    Explanation {
        listener: Chosen { name: listener.name.to_string(), origin: listener.origin.clone() },
        host: verdicts.names.iter().find(|name| name.verdict == Verdict::Won).map(|name| name.name.to_string()),
        path: view.path.to_owned(),
        names: verdicts.names.iter().map(name).collect(),
        routes: verdicts.routes.iter().map(route).collect(),
        route: won.map(|route| Chosen { name: route.name.to_string(), origin: route.origin.clone() }),
        filters: won.map(|route| route.chain.applied.clone()).unwrap_or_default(),
        limits: won.map(|route| limits(route, view)).unwrap_or_default(),
        notes: won.map(|route| notes(route, view)).unwrap_or_default(),
        action: match elsewhere {
            Some(Some(tunnel)) => format!("TLS is not held here: {}", carried::in_words(tunnel)),
            Some(None) => "closed: the upstream that holds TLS of this host is not there".to_owned(),
            None => action(won.map(|route| &***route), view, target),
        },
        endpoints: match elsewhere {
            Some(tunnel) => tunnel.map(|tunnel| carried::endpoints(tunnel, view.client)).unwrap_or_default(),
            None => won.map(|route| endpoints(route, view)).unwrap_or_default(),
        },
    }
}

fn limits(route: &Route, view: &RequestView<'_>) -> Vec<Limit> {
    let words = filters::limits_in_words(&route.chain, view, Instant::now()).into_iter();
    words.map(|limit| Limit { filter: limit.kind, name: limit.name, standing: limit.standing }).collect()
}

fn notes(route: &Route, view: &RequestView<'_>) -> Vec<Note> {
    let notes = filters::notes_in_words(&route.chain, view).into_iter();
    notes.map(|note| Note { filter: note.filter, words: note.words }).collect()
}

fn verdict(name: String, origin: Option<Origin>, verdict: &Verdict) -> Candidate {
    match verdict {
        Verdict::Won => Candidate { name, origin, chosen: true, reason: None },
        Verdict::Lost(reason) => Candidate { name, origin, chosen: false, reason: Some(reason.clone()) },
    }
}

/// In words, checks first: they answer before the action does.
fn action(route: Option<&Route>, view: &RequestView<'_>, target: &Resource<'_>) -> String {
    let Some(route) = route else { return "answered 404: nothing is served there".into() };
    if let Some(answer) = filters::in_words(&route.chain, view, &target.raw, Instant::now()) {
        return answer;
    }
    match &route.action {
        Action::Forward(forward) => forward_in_words(forward, route, view, target),
        Action::Split(split) => split_in_words(split, route, view, target),
        Action::Respond(respond) => format!("answered {} by Weir", respond.status),
        Action::Files(folder) => file_in_words(folder, view),
        Action::Redirect(redirect) => match rewrite::location(redirect, &route.path, view, &target.raw) {
            Ok(location) => format!("redirected with {} to {location}", redirect.status.code()),
            Err(reason) => format!("answered {}: {reason}", reason.status()),
        },
    }
}

/// As the disk is now.
fn file_in_words(folder: &Folder, view: &RequestView<'_>) -> String {
    let root = &folder.definition().root;
    if !matches!(view.method, "GET" | "HEAD") {
        return "answered 405: files are only read".into();
    }
    let accepted = AcceptEncoding::of(view.headers).ranked(folder.definition().precompressed.iter().copied());
    match folder.find(view.path, &accepted) {
        Ok(Found::File(file)) => format!("answered with the file {}", root.join(&file.name).display()),
        Ok(Found::Folder) => format!("redirected with 301 to {}/", view.path),
        Ok(Found::Nothing) => format!("answered 404: there is no such file below {}", root.display()),
        Ok(Found::Unreadable) => "answered 403: Weir may not read the file".into(),
        Err(error) => format!("answered 500: {error}"),
    }
}

fn forward_in_words(forward: &Forward, route: &Route, view: &RequestView<'_>, target: &Resource<'_>) -> String {
    let upstream = &forward.upstream.definition().name;
    let timeouts = &forward.timeouts;
    let [connect, read, write] = [timeouts.connect, timeouts.read, timeouts.write].map(format_duration);
    match rewrite::upstream_target(forward.rewrite.as_ref(), forward.query, &route.path, view, &target.raw) {
        Ok(sent) => format!(
            "forwarded to upstream {upstream} as {} {sent} (timeouts: connect {connect}, read {read}, write {write})",
            view.method
        ),
        Err(reason) => format!("answered {}: {reason}", reason.status()),
    }
}

/// One way, where it can be told; else all, with their shares.
fn split_in_words(split: &Split, route: &Route, view: &RequestView<'_>, target: &Resource<'_>) -> String {
    let (arm, reason) = split.choose(view);
    let why = match reason {
        Reason::Rule(number) => format!("by rule {number} of the split"),
        Reason::Session => "by its sticky cookie".into(),
        Reason::Key => "by the key of the split".into(),
        Reason::Chance => {
            let share = |(arm, share): (&Forward, f64)| {
                let percent = (share * 1e6).round() / 1e4;
                format!("{percent} % {}", forward_in_words(arm, route, view, target))
            };
            return format!("split by chance: {}", split.weighted().map(share).collect::<Vec<_>>().join("; "));
        }
    };
    format!("{}, {why}", forward_in_words(&split.arms()[arm], route, view, target))
}

fn endpoints(route: &Route, view: &RequestView<'_>) -> Vec<Candidate> {
    match &route.action {
        Action::Forward(forward) => endpoints_of(forward, view),
        Action::Split(split) => match split.choose(view) {
            (_, Reason::Chance) => split.arms().iter().flat_map(|arm| endpoints_of(arm, view)).collect(),
            (arm, Reason::Rule(_) | Reason::Session | Reason::Key) => endpoints_of(&split.arms()[arm], view),
        },
        Action::Redirect(_) | Action::Respond(_) | Action::Files(_) => Vec::new(),
    }
}

fn endpoints_of(forward: &Forward, view: &RequestView<'_>) -> Vec<Candidate> {
    let affinity = Affinity::of(&forward.upstream, view);
    let pick = PickRequest { now: Instant::now(), key: affinity.key, sticky: affinity.sticky.as_deref(), exclude: &[] };
    candidates(&forward.upstream, &pick)
}

fn candidates(upstream: &Upstream, pick: &PickRequest<'_>) -> Vec<Candidate> {
    let known = upstream.candidates(pick).into_iter().map(|candidate| Candidate {
        name: candidate.endpoint.address.to_string(),
        origin: None,
        chosen: candidate.standing.to_string() == "considered",
        reason: Some(candidate.standing.to_string()),
    });
    // Without a running Weir there are no DNS answers: the names stand for themselves.
    let unresolved = upstream.definition().endpoints.iter().filter_map(|spec| match &spec.address {
        EndpointAddress::Ip(_) | EndpointAddress::Listed(_) => None,
        name => Some(Candidate {
            name: name.to_string(),
            origin: None,
            chosen: false,
            reason: Some("a DNS name: each of its addresses is an endpoint".into()),
        }),
    });
    known.chain(unresolved).collect()
}

/// For people.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "listener  {} ({})", self.listener.name, self.listener.origin)?;
        if !self.path.is_empty() {
            writeln!(f, "path      {}", self.path)?;
        }
        section(f, "hosts", &self.names)?;
        section(f, "routes, most specific first", &self.routes)?;
        if let Some(route) = &self.route {
            writeln!(f, "route     {} ({})", route.name, route.origin)?;
        }
        for filter in &self.filters {
            writeln!(f, "filter    {} of the {} ({})", filter.name, filter.level, filter.origin)?;
        }
        for limit in &self.limits {
            writeln!(f, "limit     {} {}: {}", limit.filter, limit.name, limit.standing)?;
        }
        for note in &self.notes {
            writeln!(f, "note      {}: {}", note.filter, note.words)?;
        }
        section(f, "endpoints", &self.endpoints)?;
        writeln!(f, "outcome   {}", self.action)
    }
}

fn section(f: &mut fmt::Formatter<'_>, title: &str, candidates: &[Candidate]) -> fmt::Result {
    if candidates.is_empty() {
        return Ok(());
    }
    writeln!(f, "{title}:")?;
    for candidate in candidates {
        let mut line = format!("  {} {}", if candidate.chosen { "→" } else { " " }, candidate.name);
        if let Some(origin) = &candidate.origin {
            write!(line, " ({origin})")?;
        }
        if let Some(reason) = &candidate.reason {
            write!(line, ": {reason}")?;
        }
        writeln!(f, "{line}")?;
    }
    Ok(())
}
