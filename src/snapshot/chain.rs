//! What the filters of a route have become: checks, edit lists and bounds, in the order they act.
//!
//! ```text
//! listener, host and route filters ──compile──► FilterChain { checks, limits, request edits, response edits, max body }
//! ```
//!
//! Neither lane knows a filter by its kind: it runs checks and limits on a `RequestView` and applies the edits to a head.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use ipnet::IpNet;

use super::basic_auth::BasicAuth;
use super::cache::CachePolicy;
use super::cache_headers::CacheRule;
use super::compress::Compress;
use super::cors::Cors;
use super::limit::{ConcurrencyLimit, RateLimit};
use super::request::RequestView;
use crate::model::{HttpsRedirect, TemplatePart, Variable};

#[derive(Debug, Default)]
pub struct FilterChain {
    pub checks: Vec<Check>,
    /// Asked after the checks: what is refused or redirected there is not counted. A request that waits for its rate has its
    /// place here already.
    pub concurrency_limits: Vec<ConcurrencyLimit>,
    pub rate_limits: Vec<RateLimit>,
    /// Asked last: it may take long, and limits bound how often.
    pub basic_auth: Option<Arc<BasicAuth>>,
    /// What answers say to browsers; preflights are answered among the checks.
    pub cors: Option<Arc<Cors>>,
    /// What of the upstream's answers is kept.
    pub cache: Option<Arc<CachePolicy>>,
    pub cache_rules: Vec<CacheRule>,
    pub request_edits: Vec<Edit>,
    pub response_edits: Vec<Edit>,
    /// Comes after the edits: what they say of the content decides.
    pub compress: Option<Arc<Compress>>,
    /// Of the request, in bytes.
    pub max_body: Option<u64>,
    /// For `explain`: each filter in force, with where it stands.
    pub applied: Vec<AppliedFilter>,
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
    HttpsRedirect(HttpsRedirect),
}

/// One change to a head.
#[derive(Debug)]
pub enum Edit {
    Remove(HeaderName),
    Set(HeaderName, EditValue),
    Add(HeaderName, EditValue),
    /// Set unless the field is there already.
    SetDefault(HeaderName, EditValue),
    /// As `SetDefault`, for clients on TLS.
    SetDefaultOnTls(HeaderName, EditValue),
}

#[derive(Debug)]
pub enum EditValue {
    /// Shared, never copied.
    Static(HeaderValue),
    Template(Vec<TemplatePart>),
}

impl EditValue {
    /// The value for this request. A template that yields no valid value (a path with odd bytes) yields none.
    pub fn render(&self, request: &RequestView<'_>, request_id: &str) -> Option<HeaderValue> {
        let parts = match self {
            EditValue::Static(value) => return Some(value.clone()),
            EditValue::Template(parts) => parts,
        };
        let mut text = String::new();
        for part in parts {
            match part {
                TemplatePart::Text(literal) => text.push_str(literal),
                TemplatePart::Variable(Variable::ClientIp) => text.push_str(&request.client.to_string()),
                TemplatePart::Variable(Variable::Host) => text.push_str(request.host),
                TemplatePart::Variable(Variable::Method) => text.push_str(request.method),
                TemplatePart::Variable(Variable::Path) => text.push_str(request.path),
                TemplatePart::Variable(Variable::Scheme) => text.push_str(request.scheme.as_str()),
                TemplatePart::Variable(Variable::RequestId) => text.push_str(request_id),
            }
        }
        HeaderValue::try_from(text).ok()
    }
}
