//! What the filters of a route have become: checks, edit lists and bounds, in the order they act.
//!
//! ```text
//! listener, host and route filters ──compile──► FilterChain { checks, limits, request edits, response edits, max body }
//! ```
//!
//! Neither lane knows a filter by its kind: it runs checks and limits on a `RequestView` and applies the edits to a head.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use ipnet::IpNet;

use super::basic_auth::BasicAuth;
use super::cache::CachePolicy;
use super::cache_headers::CacheRule;
use super::compress::Compress;
use super::cors::Cors;
use super::error_pages::ErrorPages;
use super::forward_auth::ForwardAuth;
use super::jwt::Jwt;
use super::limit::{ConcurrencyLimit, RateLimit, SharedRateLimit};
use super::mirror::Mirror;
use super::redirect::Redirecting;
use super::request::RequestView;
use crate::model::{Bandwidth, BodyBuffer, Conditions, Logging, ResponseRewrite, TemplatePart, Variable};
use crate::tls::TlsFacts;

#[derive(Debug, Default)]
pub struct FilterChain {
    pub checks: Vec<Check>,
    /// Asked after the checks: what is refused or redirected there is not counted. A request that waits for its rate has its
    /// place here already.
    pub concurrency_limits: Vec<ConcurrencyLimit>,
    pub rate_limits: Vec<RateLimit>,
    /// Those that are counted together with other processes, after the others.
    pub shared_rate_limits: Vec<SharedRateLimit>,
    /// Asked last: it may take long, and limits bound how often.
    pub sign_in: Option<Arc<SignIn>>,
    /// What answers say to browsers; preflights are answered among the checks.
    pub cors: Option<Arc<Cors>>,
    /// What of the upstream's answers is kept.
    pub cache: Option<Arc<CachePolicy>>,
    pub cache_rules: Vec<CacheRule>,
    pub error_pages: Option<Arc<ErrorPages>>,
    pub request_edits: Vec<Edit>,
    pub response_edits: Vec<Edit>,
    /// After those, on answers whose status is among `EditedStatuses::Success`.
    pub success_edits: Vec<Edit>,
    /// Comes after the edits: what they say of the content decides.
    pub compress: Option<Arc<Compress>>,
    /// Comes before the edits, on upstreams' answers alone.
    pub response_rewrite: Option<Arc<ResponseRewrite>>,
    pub logging: Logging,
    /// Of the request, in bytes.
    pub max_body: Option<u64>,
    pub bandwidth: Option<Bandwidth>,
    /// The upstream is asked when the request's body stands there as a whole.
    pub body_buffer: Option<Arc<BodyBuffer>>,
    /// Who is sent copies.
    pub mirrors: Vec<Arc<Mirror>>,
    /// For `explain`: each filter in force, with where it stands.
    pub applied: Vec<AppliedFilter>,
}

/// Who it is: all of these must know, in this order; or one of them, where an address is as good.
#[derive(Debug, Default)]
pub struct SignIn {
    /// Asked first: who is let in by it is not asked who it is.
    pub or_by_address: Option<Addresses>,
    pub jwt: Option<Arc<Jwt>>,
    /// Those that count by what a token says: asked when it was verified.
    pub concurrency_limits: Vec<ConcurrencyLimit>,
    pub rate_limits: Vec<RateLimit>,
    pub basic: Option<BasicAuth>,
    pub forward: Option<Arc<ForwardAuth>>,
}

impl SignIn {
    /// Whether what is known of the client goes to the upstream under this name, in lowercase.
    pub fn tells_upstream(&self, name: &str) -> bool {
        let by_token = self.jwt.iter().flat_map(|jwt| &jwt.definition().claims_to_headers).map(|(_, field)| field);
        let by_service = self.forward.iter().flat_map(|forward| &forward.definition().response_headers);
        by_token.chain(by_service).any(|field| field.eq_ignore_ascii_case(name))
    }

    /// Whether anybody has to know.
    pub fn asks(&self) -> bool {
        let limits = !self.rate_limits.is_empty() || !self.concurrency_limits.is_empty();
        limits || self.knows_clients()
    }

    pub fn knows_clients(&self) -> bool {
        self.jwt.is_some() || self.basic.is_some() || self.forward.is_some()
    }
}

/// Who is let in by address alone, and who is not.
#[derive(Debug, Default)]
pub struct Addresses {
    pub deny: Vec<IpNet>,
    pub allow: Vec<IpNet>,
}

/// What an address comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByAddress {
    Allowed,
    Denied,
    /// Nobody has said anything of it.
    Unknown,
}

impl Addresses {
    pub fn judge(&self, client: IpAddr) -> ByAddress {
        let has = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&client));
        match (has(&self.deny), has(&self.allow)) {
            (true, _) => ByAddress::Denied,
            (false, true) => ByAddress::Allowed,
            // A list of who is allowed leaves the others out.
            (false, false) if !self.allow.is_empty() => ByAddress::Denied,
            (false, false) => ByAddress::Unknown,
        }
    }

    pub fn into_checks(self) -> impl Iterator<Item = Check> {
        let deny = (!self.deny.is_empty()).then_some(Check::Deny(self.deny));
        let allow = (!self.allow.is_empty()).then_some(Check::Allow(self.allow));
        deny.into_iter().chain(allow)
    }
}

#[derive(Clone, Debug, serde::Serialize)]
pub struct AppliedFilter {
    pub name: &'static str,
    /// `listener`, `host` or `route`.
    pub level: &'static str,
    pub origin: crate::diagnostics::Origin,
}

/// Lets a request pass or answers it. Asked in the chain's order; the first answer stands.
#[derive(Debug)]
pub enum Check {
    Deny(Vec<IpNet>),
    Allow(Vec<IpNet>),
    Cors(Arc<Cors>),
    Redirect(Redirecting),
    Conditions(Conditions),
    /// A filter that should stand here, by this name, could not be built: nobody passes.
    Closed(&'static str),
}

/// One change to a head.
#[derive(Debug)]
pub enum Edit {
    Remove(HeaderName),
    Set(HeaderName, EditValue),
    Add(HeaderName, EditValue),
    /// Joined to the values that are there, by a comma.
    Append(HeaderName, EditValue),
    /// Set unless the field is there already.
    SetDefault(HeaderName, EditValue),
    /// As `SetDefault`, for clients on TLS.
    SetDefaultOnTls(HeaderName, EditValue),
}

impl Edit {
    /// Whether it gives the field of this name a value that is not the same for all requests.
    pub fn differs(&self, name: &str) -> bool {
        match self {
            Edit::Set(field, EditValue::Template(_))
            | Edit::Add(field, EditValue::Template(_))
            | Edit::Append(field, EditValue::Template(_))
            | Edit::SetDefault(field, EditValue::Template(_))
            | Edit::SetDefaultOnTls(field, EditValue::Template(_)) => field.as_str() == name,
            _ => false,
        }
    }
}

#[derive(Debug)]
pub enum EditValue {
    /// Shared, never copied.
    Static(HeaderValue),
    Template(Vec<TemplatePart>),
}

/// What variables stand for.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    pub request: &'a RequestView<'a>,
    pub request_id: &'a str,
    /// Path and query, as they came.
    pub target: &'a str,
    /// 0 where it is not known.
    pub client_port: u16,
    pub route: &'a str,
    /// Empty where there is none.
    pub upstream: &'a str,
    pub endpoint: Option<SocketAddr>,
    pub tls: Option<TlsFacts>,
    pub user: Option<&'a str>,
}

impl EditValue {
    /// The value for this request. A template that comes out empty, or not as a value (a path with odd bytes), yields none.
    pub fn render(&self, facts: &Facts<'_>) -> Option<Cow<'_, HeaderValue>> {
        match self {
            EditValue::Static(value) => Some(Cow::Borrowed(value)),
            EditValue::Template(parts) => render(parts, facts).map(Cow::Owned),
        }
    }
}

/// As [`EditValue::render`].
pub fn render(parts: &[TemplatePart], facts: &Facts<'_>) -> Option<HeaderValue> {
    let mut text = String::new();
    for part in parts {
        match part {
            TemplatePart::Text(literal) => text.push_str(literal),
            TemplatePart::Variable(variable) => push(&mut text, variable, facts),
        }
    }
    HeaderValue::try_from(text).ok().filter(|value| !value.is_empty())
}

fn push(text: &mut String, variable: &Variable, facts: &Facts<'_>) {
    let request = facts.request;
    match variable {
        Variable::ClientIp => text.push_str(&request.client.to_string()),
        Variable::ClientPort if facts.client_port == 0 => {}
        Variable::ClientPort => text.push_str(&facts.client_port.to_string()),
        Variable::Host => text.push_str(request.host),
        Variable::Method => text.push_str(request.method),
        Variable::Path => text.push_str(request.path),
        Variable::Query => text.push_str(facts.target.split_once('?').map_or("", |(_, query)| query)),
        Variable::Uri => text.push_str(facts.target),
        Variable::Scheme => text.push_str(request.scheme.as_str()),
        Variable::RequestId => text.push_str(facts.request_id),
        Variable::Route => text.push_str(facts.route),
        Variable::Upstream => text.push_str(facts.upstream),
        Variable::Endpoint => text.push_str(&facts.endpoint.map_or_else(String::new, |endpoint| endpoint.to_string())),
        Variable::TlsVersion => text.push_str(facts.tls.map_or("", |tls| tls.version)),
        Variable::TlsCipher => text.push_str(facts.tls.map_or("", |tls| tls.cipher)),
        Variable::User => text.push_str(facts.user.unwrap_or_default()),
        Variable::Header(name) => {
            let value = request.headers.first(name).and_then(|value| std::str::from_utf8(value).ok());
            text.push_str(value.unwrap_or_default());
        }
    }
}
