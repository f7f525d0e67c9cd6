//! Sites and requests for the router's tests, written as short as a file would have them.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::model::{FieldMatch, HostName, PathMatch, Pattern, PatternOrder, RouteMatch, Scheme, ValueMatch};
use crate::snapshot::request::RequestView;

use super::{HostEntry, Router};

#[derive(Clone, Debug, Default)]
pub struct Site {
    hosts: Vec<(Vec<HostName>, Vec<RouteMatch>)>,
}

impl Site {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn host(mut self, names: &[&str], routes: Vec<RouteSpec>) -> Self {
        let names = names.iter().map(|name| HostName::parse(name).unwrap()).collect();
        self.hosts.push((names, routes.into_iter().map(|route| route.0).collect()));
        self
    }

    pub fn entries(&self) -> Vec<HostEntry<'_>> {
        self.hosts
            .iter()
            .map(|(names, routes)| HostEntry {
                names,
                patterns: PatternOrder::Narrowest,
                routes: routes.iter().collect(),
            })
            .collect()
    }

    pub fn router(&self) -> Router {
        Router::build(&self.entries())
    }
}

#[derive(Clone, Debug)]
pub struct RouteSpec(pub RouteMatch);

pub fn exact(path: &str) -> RouteSpec {
    RouteSpec::of(PathMatch::Exact(path.into()))
}

pub fn prefix(path: &str) -> RouteSpec {
    RouteSpec::of(PathMatch::Prefix(path.into()))
}

pub fn regex(source: &str) -> RouteSpec {
    RouteSpec::of(PathMatch::Regex(Pattern::parse(source).unwrap()))
}

impl RouteSpec {
    fn of(path: PathMatch) -> Self {
        Self(RouteMatch { path, methods: vec![], headers: vec![], query: vec![] })
    }

    pub fn method(mut self, method: &str) -> Self {
        self.0.methods.push(method.into());
        self
    }

    /// None: any value.
    pub fn header(mut self, name: &str, value: Option<&str>) -> Self {
        self.0.headers.push(field(name, value));
        self
    }

    /// None: any value.
    pub fn query(mut self, name: &str, value: Option<&str>) -> Self {
        self.0.query.push(field(name, value));
        self
    }
}

fn field(name: &str, value: Option<&str>) -> FieldMatch {
    let value = value.map_or(ValueMatch::Present, |text| ValueMatch::Exact(text.into()));
    FieldMatch { name: name.into(), value }
}

/// A request that owns what its view borrows.
#[derive(Clone, Debug)]
pub struct Sent {
    pub method: String,
    pub host: String,
    pub path: String,
    pub query: Option<&'static str>,
    pub headers: HeaderMap,
}

pub fn request(method: &str, host: &str, path: &str) -> Sent {
    Sent { method: method.into(), host: host.into(), path: path.into(), query: None, headers: HeaderMap::new() }
}

impl Sent {
    pub fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        self
    }

    pub fn query(mut self, query: &'static str) -> Self {
        self.query = Some(query);
        self
    }

    pub fn view(&self) -> RequestView<'_> {
        RequestView {
            method: &self.method,
            path: &self.path,
            query: self.query,
            host: &self.host,
            port: None,
            headers: &self.headers,
            client: IpAddr::from([127, 0, 0, 1]),
            scheme: Scheme::Http,
        }
    }
}
