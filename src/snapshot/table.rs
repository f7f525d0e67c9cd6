//! What one listener serves: its router and the routes that it finds.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::chain::FilterChain;
use super::request::RequestView;
use super::router::{Explanation, Found, Router};
use super::upstream::Upstream;
use crate::diagnostics::Origin;
use crate::model::{PathMatch, PathRewrite, Redirect, Retry, RouteName};
use crate::telemetry::metrics::{RouteMetrics, UpstreamMetrics};

pub struct Table {
    router: Router,
    /// As the router counts them.
    hosts: Vec<Vec<Arc<Route>>>,
}

pub enum Lookup<'a> {
    Route(&'a Arc<Route>),
    /// No virtual host has the request's name.
    NoHost,
    /// The host is known; none of its routes takes the request.
    NoRoute,
}

impl Table {
    pub fn new(router: Router, hosts: Vec<Vec<Arc<Route>>>) -> Self {
        Self { router, hosts }
    }

    pub fn find(&self, request: &RequestView<'_>) -> Lookup<'_> {
        match self.router.find(request) {
            Found::Route(id) => Lookup::Route(&self.hosts[id.host][id.route]),
            Found::NoHost => Lookup::NoHost,
            Found::NoRoute { .. } => Lookup::NoRoute,
        }
    }

    pub fn explain(&self, request: &RequestView<'_>) -> Explanation {
        self.router.explain(request)
    }

    pub fn route(&self, host: usize, route: usize) -> &Arc<Route> {
        &self.hosts[host][route]
    }
}

pub struct Route {
    pub name: RouteName,
    pub origin: Origin,
    /// The host's names, for logs and `explain`.
    pub host: Arc<str>,
    pub path: PathMatch,
    pub action: Action,
    pub chain: FilterChain,
    pub needs: Needs,
    pub metrics: Arc<RouteMetrics>,
}

/// What a route asks of a lane. All false: header bytes are enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Some edit has a variable: the matched view is kept for it.
    pub view: bool,
    /// The request body is watched.
    pub body: bool,
}

pub enum Action {
    Forward(Box<Forward>),
    Redirect(Redirect),
    Respond(Respond),
}

pub struct Forward {
    pub upstream: Arc<Upstream>,
    pub rewrite: Option<PathRewrite>,
    pub host: Option<HeaderValue>,
    pub timeouts: Timeouts,
    pub retry: Retry,
    pub metrics: Arc<UpstreamMetrics>,
}

/// The upstream's, or the route's own where it has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    pub connect: Duration,
    pub read: Duration,
    pub write: Duration,
    pub request: Option<Duration>,
}

pub struct Respond {
    pub status: u16,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Bytes,
}
