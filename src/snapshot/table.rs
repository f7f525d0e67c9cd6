//! What one listener serves: its router and the routes that it finds.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::chain::FilterChain;
use super::error_pages::ErrorPages;
use super::request::RequestView;
use super::router::{Explanation, Found, Router};
use super::split::Split;
use super::tunnel::Tunnel;
use super::upstream::Upstream;
use crate::diagnostics::Origin;
use crate::files::Folder;
use crate::model::{PathMatch, PathRewrite, QueryRewrite, Redirect, Retry, RouteName, SslClientCert};
use crate::sharded::Common;
use crate::telemetry::metrics::{RouteMetrics, UpstreamMetrics};
use crate::tls::Terms;

pub struct Table {
    router: Router,
    /// As the router counts them.
    hosts: Vec<Arc<Host>>,
    /// The listener's own: what a name without a host is spoken with on.
    terms: Arc<Terms>,
    /// The listener's own: for names without a host.
    pages: Option<Arc<ErrorPages>>,
}

pub struct Host {
    pub terms: Arc<Terms>,
    /// For paths without a route.
    pub pages: Option<Arc<ErrorPages>>,
    pub routes: Vec<Common<Route>>,
    pub tls: HostTls,
    pub made_of: MadeOf,
}

/// Whether the next snapshot may take a host over whose definition has not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MadeOf {
    /// Of its definition, and of what goes on under the names in it.
    ItsDefinition,
    /// Of more, which may have changed beneath the same names.
    More,
}

/// Where TLS of a host ends.
pub enum HostTls {
    /// Here, or there is none.
    Here,
    /// At an upstream; none where that is lost. No request of the host is served.
    Elsewhere(Option<Arc<Tunnel>>),
}

pub enum Lookup<'a> {
    Route(&'a Common<Route>),
    /// No virtual host has the request's name.
    NoHost(Option<&'a Arc<ErrorPages>>),
    /// The host's TLS does not end here: another connection would lead to it.
    Elsewhere(Option<&'a Arc<Tunnel>>),
    /// The host is known; none of its routes takes the request.
    NoRoute(&'a Terms, Option<&'a Arc<ErrorPages>>),
}

impl Route {
    /// Which way of a split a request goes; 0 where there is but one.
    pub fn arm(&self, request: &RequestView<'_>) -> usize {
        match &self.action {
            Action::Split(split) => split.choose(request).0,
            Action::Forward(_) | Action::Redirect(_) | Action::Respond(_) | Action::Files(_) => 0,
        }
    }

    pub fn metrics(&self, arm: usize) -> &RouteMetrics {
        &self.metrics[arm]
    }

    /// Where requests of this arm are sent on.
    pub fn forward(&self, arm: usize) -> Option<&Forward> {
        self.forwards().get(arm)
    }

    /// By arm; none where Weir itself answers.
    pub fn forwards(&self) -> &[Forward] {
        match &self.action {
            Action::Forward(forward) => std::slice::from_ref(forward),
            Action::Split(split) => split.arms(),
            Action::Redirect(_) | Action::Respond(_) | Action::Files(_) => &[],
        }
    }
}

impl Table {
    pub fn new(router: Router, hosts: Vec<Arc<Host>>, terms: Arc<Terms>, pages: Option<Arc<ErrorPages>>) -> Self {
        Self { router, hosts, terms, pages }
    }

    pub fn find(&self, request: &RequestView<'_>) -> Lookup<'_> {
        match self.router.find(request) {
            Found::Route(id) => Lookup::Route(&self.hosts[id.host].routes[id.route]),
            Found::NoHost => Lookup::NoHost(self.pages.as_ref()),
            Found::NoRoute { host } => {
                let host = &self.hosts[host];
                match &host.tls {
                    HostTls::Here => Lookup::NoRoute(&host.terms, host.pages.as_ref()),
                    HostTls::Elsewhere(tunnel) => Lookup::Elsewhere(tunnel.as_ref()),
                }
            }
        }
    }

    pub fn explain(&self, request: &RequestView<'_>) -> Explanation {
        self.router.explain(request)
    }

    pub fn route(&self, host: usize, route: usize) -> &Common<Route> {
        &self.hosts[host].routes[route]
    }

    /// As the router counts them.
    pub fn host(&self, index: usize) -> &Arc<Host> {
        &self.hosts[index]
    }

    pub fn router(&self) -> &Router {
        &self.router
    }

    pub fn routes(&self) -> impl Iterator<Item = &Common<Route>> {
        self.hosts.iter().flat_map(|host| &host.routes)
    }

    pub fn terms(&self) -> &Arc<Terms> {
        &self.terms
    }

    /// In the model's order.
    pub fn hosts(&self) -> &[Arc<Host>] {
        &self.hosts
    }
}

pub struct Route {
    pub name: RouteName,
    pub origin: Origin,
    /// The host's names, for logs and `explain`.
    pub host: Arc<str>,
    pub path: PathMatch,
    /// The host's.
    pub terms: Arc<Terms>,
    pub certificate_fields: CertificateFields,
    pub action: Action,
    pub chain: FilterChain,
    pub needs: Needs,
    /// By arm.
    pub metrics: Vec<Arc<RouteMetrics>>,
}

/// What becomes of the fields that tell of a client's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateFields {
    /// No host asks for certificates: they mean nothing here.
    Keep,
    /// Another host asks: an upstream may believe them, so that they come from trusted proxies only.
    KeepOfTrustedProxies,
    /// This host asks, and tells nobody.
    Remove,
    /// This host asks, and tells.
    Set,
    /// The same, in ingress-nginx's fields.
    SetSslClient(SslClientCert),
}

/// What a route asks of a lane. All false: header bytes are enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Some edit has a variable: the matched view is kept for it.
    pub view: bool,
    /// The request body is watched.
    pub body: bool,
    /// The lean lane is enough.
    pub lean: bool,
}

pub enum Action {
    Forward(Box<Forward>),
    Split(Box<Split>),
    Redirect(Redirect),
    Respond(Respond),
    Files(Arc<Folder>),
}

pub struct Forward {
    pub upstream: Arc<Upstream>,
    pub rewrite: Option<PathRewrite>,
    pub query: QueryRewrite,
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
