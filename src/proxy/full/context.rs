//! What the full lane remembers of one request, from its arrival to its line in the log.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, HeaderValue};
use pingora::http::RequestHeader;

use super::cache::Caching;
use super::mirror::{Feed, Shadow};
use super::pooled::{Afterwards, Turn};
use super::sign_in::Vouched;
use super::slow_body::Bounds;
use crate::model::{ForwardedField, Scheme};
use crate::proxy::affinity::Affinity;
use crate::proxy::attempts::Attempts;
use crate::proxy::client_address::{Client, Through};
use crate::proxy::connection::Connection;
use crate::proxy::filters::{Admission, Compression};
use crate::proxy::request_id::RequestId;
use crate::sharded::Owned;
use crate::snapshot::chain::Facts;
use crate::snapshot::error_pages::ErrorPages;
use crate::snapshot::request::RequestView;
use crate::snapshot::table::{Forward, Route};
use crate::telemetry::record::{Protocol, RequestRecord};

pub struct Context {
    pub record: RequestRecord,
    pub client: Option<Client>,
    pub request_id: RequestId,
    pub route: Option<Owned<Route>>,
    /// Which way of a split.
    pub arm: usize,
    pub view: Option<KeptView>,
    /// What it was let pass with: places of its own until it is over.
    pub admission: Admission,
    /// Of the listener or the host, where no route was found.
    pub pages: Option<Arc<ErrorPages>>,
    /// By a page.
    pub replaced: Replaced,
    /// Whether it had to wait until it was known who it is from.
    pub was_held: bool,
    pub vouched: Vouched,
    /// Who has proven to be who.
    pub user: Option<Arc<str>>,
    /// How slowly its body may come; none: at any rate.
    pub slow_body: Option<Bounds>,
    /// Where the answer is compressed on its way.
    pub compression: Option<Box<Compression>>,
    /// Present from the moment it is decided that the request goes to an upstream.
    pub forwarding: Option<Box<Forwarding>>,
    /// Present where the route's cache has to do with the request.
    pub caching: Option<Box<Caching>>,
    /// Of its body to shadows.
    pub feeds: Vec<Feed>,
    pub purpose: Purpose,
}

/// Whom a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Client,
    /// For the cache, behind a client that was shown something stale: that one was let pass, counted and logged.
    Refresh,
}

/// Until the request has arrived.
const UNKNOWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

impl Default for Context {
    fn default() -> Self {
        Self {
            record: RequestRecord::new(Instant::now(), UNKNOWN, Protocol::Http11, None),
            client: None,
            request_id: RequestId::None,
            route: None,
            arm: 0,
            view: None,
            admission: Admission::default(),
            pages: None,
            replaced: Replaced::Nothing,
            was_held: false,
            vouched: Vouched::default(),
            user: None,
            slow_body: None,
            compression: None,
            forwarding: None,
            caching: None,
            feeds: Vec::new(),
            purpose: Purpose::Client,
        }
    }
}

impl Context {
    /// Fills in what was not known when Pingora asked for a context.
    pub fn begin(&mut self, connection: &Connection, client: Client, version: http::Version) {
        self.client = Some(client);
        let port = if client.through == Through::Nobody { connection.peer.port() } else { 0 };
        self.record.client = SocketAddr::new(client.address, port);
        self.record.tls = connection.tls.as_ref().map(|tls| tls.agreement.facts);
        self.record.protocol = match version {
            http::Version::HTTP_2 => Protocol::Http2,
            http::Version::HTTP_11 => Protocol::Http11,
            _ => Protocol::Http10,
        };
    }

    /// What variables stand for.
    pub fn facts<'a>(&'a self, request: &'a RequestView<'a>, header: &'a RequestHeader) -> Facts<'a> {
        let raw = std::str::from_utf8(header.raw_path()).unwrap_or_default();
        Facts {
            request,
            request_id: self.request_id(),
            // An absolute target is none that edits speak of.
            target: match raw.starts_with('/') {
                true => raw,
                false => header.uri.path_and_query().map_or("", |target| target.as_str()),
            },
            client_port: self.record.client.port(),
            route: self.route.as_ref().map_or("", |route| route.name.as_str()),
            upstream: self.forwarding.as_ref().map_or("", |f| f.forward().upstream.definition().name.as_str()),
            endpoint: self.record.endpoint,
            tls: self.record.tls,
            user: self.user.as_deref(),
        }
    }

    /// What is shown instead of errors of this request.
    pub fn error_pages(&self) -> Option<Arc<ErrorPages>> {
        match &self.route {
            Some(route) => route.chain.error_pages.clone(),
            None => self.pages.clone(),
        }
    }

    pub fn request_id(&self) -> &str {
        self.request_id.as_str()
    }

    /// What edits are rendered for: as it was matched where some edit has a variable or some rule regards the path, else the client's side alone.
    /// None before the request has arrived.
    pub fn view_for_edits<'a>(&'a self, headers: &'a HeaderMap) -> Option<RequestView<'a>> {
        match &self.view {
            Some(kept) => Some(kept.view(headers)),
            None => Some(self.client?.bare_view(headers)),
        }
    }
}

/// What a page stands in the place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    Nothing,
    /// An error of Weir's own.
    Own,
    /// The upstream's answer, of whose body so many bytes were dropped.
    Upstream {
        dropped: usize,
    },
}

/// A request on its way to an upstream.
pub struct Forwarding {
    pub route: Owned<Route>,
    /// The context's.
    pub arm: usize,
    /// The rewritten path and query; none: as it came.
    pub target: Option<String>,
    /// The client's Host.
    pub host: Option<HeaderValue>,
    pub forwarded: ForwardedField,
    pub affinity: Affinity,
    /// Whom copies go to.
    pub shadows: Vec<Shadow>,
    pub max_body: Option<u64>,
    pub received_body: u64,
    pub attempt: Attempts,
    /// Of the attempt that is under way.
    pub pooling: Pooling,
}

/// What becomes of the connection to the endpoint.
#[derive(Clone, Copy, Default)]
pub struct Pooling {
    pub turn: Turn,
    pub afterwards: Afterwards,
    /// While there is one.
    pub socket: RawFd,
}

impl Forwarding {
    pub fn forward(&self) -> &Forward {
        match self.route.forward(self.arm) {
            Some(forward) => forward,
            None => unreachable!("only a forwarding route makes a Forwarding"),
        }
    }
}

/// The view at the time of matching, for edits with variables.
pub struct KeptView {
    method: Box<str>,
    path: Box<str>,
    host: Box<str>,
    client: IpAddr,
    scheme: Scheme,
}

impl KeptView {
    pub fn of(view: &RequestView<'_>) -> Self {
        Self {
            method: view.method.into(),
            path: view.path.into(),
            host: view.host.into(),
            client: view.client,
            scheme: view.scheme,
        }
    }

    pub fn view<'a>(&'a self, headers: &'a HeaderMap) -> RequestView<'a> {
        RequestView {
            method: &self.method,
            path: &self.path,
            query: None,
            host: &self.host,
            port: None,
            headers,
            client: self.client,
            scheme: self.scheme,
        }
    }
}
