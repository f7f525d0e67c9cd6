//! A service that says who may come in, ready to be asked, and what it said lately.
//!
//! ```text
//! model ──► ForwardAuths, by place ──► a filter's chains share one: its kept answers, its numbers
//! previous ─┘ (kept answers, where the filter is as it was)
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};

use super::chain::EditValue;
use super::kept::{Digest, Kept};
use super::outage::Outage;
use super::request::RequestView;
use super::upstream::Upstream;
use crate::model::{self, AskedWith, AuthCache, AuthCacheKey, BoundFilters, HeaderTemplate, UpstreamName};
use crate::telemetry::metrics::{ForwardAuthMetrics, Metrics, UpstreamMetrics};

#[derive(Debug)]
pub struct ForwardAuth {
    definition: model::ForwardAuth,
    /// None: no such upstream. Nobody comes in.
    pub upstream: Option<Arc<Upstream>>,
    pub upstream_metrics: Arc<UpstreamMetrics>,
    pub method: Method,
    pub host: Option<HeaderValue>,
    /// None: all that may.
    pub request_headers: Option<Vec<HeaderName>>,
    pub set_headers: Vec<(HeaderName, EditValue)>,
    pub response_headers: Vec<HeaderName>,
    answers: Option<Arc<KeptAnswers>>,
    pub outage: Outage,
    pub metrics: Arc<ForwardAuthMetrics>,
}

/// What the service said, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthAnswer {
    pub status: u16,
    /// For the upstream where it lets the request pass, else for the client.
    pub fields: Vec<(HeaderName, HeaderValue)>,
    /// `Set-Cookie`, for the client.
    pub cookies: Vec<HeaderValue>,
    pub body: Bytes,
}

/// Larger ones are not kept.
const LARGEST_KEPT: usize = 16 << 10;

impl AuthAnswer {
    fn size(&self) -> usize {
        self.body.len() + self.fields.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>()
    }
}

#[derive(Debug)]
struct KeptAnswers {
    definition: AuthCache,
    answers: Kept<Arc<AuthAnswer>>,
}

impl ForwardAuth {
    fn new(
        definition: &model::ForwardAuth,
        upstreams: &BTreeMap<UpstreamName, Arc<Upstream>>,
        previous: Option<&Self>,
        metrics: &Metrics,
    ) -> Self {
        let names = |names: &[Arc<str>]| -> Vec<HeaderName> {
            // Checked where they are read.
            names.iter().filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()).collect()
        };
        let upstream = upstreams.get(&definition.service.upstream).cloned();
        let answers = previous
            .filter(|previous| previous.definition == *definition && previous.asks_the_same(upstream.as_deref()))
            .map(|previous| previous.answers.clone());
        Self {
            method: Method::from_bytes(definition.method.as_bytes()).unwrap_or(Method::GET),
            host: definition.service.host.as_deref().and_then(|host| HeaderValue::from_str(host).ok()),
            request_headers: match &definition.request_headers {
                AskedWith::All => None,
                AskedWith::Listed(listed) => Some(names(listed)),
            },
            set_headers: set_headers(definition),
            response_headers: names(&definition.response_headers),
            answers: answers
                .unwrap_or_else(|| definition.cache.as_ref().map(|cache| Arc::new(KeptAnswers::new(cache)))),
            outage: Outage::default(),
            metrics: metrics.forward_auth(&definition.place),
            upstream_metrics: metrics.upstream(&definition.service.upstream),
            upstream,
            definition: definition.clone(),
        }
    }

    pub fn definition(&self) -> &model::ForwardAuth {
        &self.definition
    }

    fn asks_the_same(&self, upstream: Option<&Upstream>) -> bool {
        let parts = |upstream: &Upstream| {
            let definition = upstream.definition();
            (definition.endpoints.clone(), definition.tls.clone())
        };
        self.upstream.as_deref().map(parts) == upstream.map(parts)
    }

    /// What the answer to this request is kept under; none where it is not kept.
    pub fn key_of(&self, request: &RequestView<'_>, route: &str) -> Option<Digest> {
        key(&self.answers.as_deref()?.definition.key, request, route)
    }

    pub fn kept(&self, key: &Digest, now: Instant) -> Option<Arc<AuthAnswer>> {
        self.answers.as_deref()?.answers.get(key, now)
    }

    pub fn keep(&self, key: Digest, answer: &Arc<AuthAnswer>, now: Instant) {
        let Some(kept) = self.answers.as_deref() else { return };
        if let Some(ttl) = kept.ttl(answer) {
            kept.answers.insert(key, now + ttl, answer.clone(), now);
        }
    }
}

impl KeptAnswers {
    fn new(definition: &AuthCache) -> Self {
        Self { definition: definition.clone(), answers: Kept::new(definition.max_entries) }
    }

    /// A cookie is one client's.
    fn ttl(&self, answer: &AuthAnswer) -> Option<Duration> {
        let may_be_kept = answer.cookies.is_empty() && answer.size() <= LARGEST_KEPT;
        self.definition.ttl.get(&answer.status).copied().filter(|_| may_be_kept)
    }
}

fn set_headers(definition: &model::ForwardAuth) -> Vec<(HeaderName, EditValue)> {
    let field = |(name, template): &(Arc<str>, HeaderTemplate)| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, EditValue::Template(template.0.clone())))
    };
    definition.set_headers.iter().filter_map(field).collect()
}

/// None where the request has none of the fields and cookies in it: then nothing would tell who asks.
fn key(parts: &[AuthCacheKey], request: &RequestView<'_>, route: &str) -> Option<Digest> {
    let client = request.client.to_string();
    let mut values = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            AuthCacheKey::ClientIp => values.push(client.as_bytes().to_vec()),
            AuthCacheKey::Host => values.push(request.host.as_bytes().to_vec()),
            AuthCacheKey::Route => values.push(route.as_bytes().to_vec()),
            AuthCacheKey::Method => values.push(request.method.as_bytes().to_vec()),
            AuthCacheKey::Path => values.push(request.path.as_bytes().to_vec()),
            AuthCacheKey::Header(name) => {
                // Each value by itself: services differ in which of several they read.
                let mut all = Vec::new();
                request.headers.each(name, &mut |value| {
                    all.extend_from_slice(&value.len().to_le_bytes());
                    all.extend_from_slice(value);
                });
                values.push(all);
            }
            AuthCacheKey::Cookie(name) => values.push(request.cookie(name).unwrap_or_default().to_vec()),
        }
    }
    let may_lack = |part: &AuthCacheKey| matches!(part, AuthCacheKey::Header(_) | AuthCacheKey::Cookie(_));
    let mut shown = parts.iter().zip(&values).filter(|(part, _)| may_lack(part)).map(|(_, value)| !value.is_empty());
    let tells_who = shown.any(|is_there| is_there) || !parts.iter().any(may_lack);
    tells_who.then(|| Digest::of(values.iter().map(Vec::as_slice)))
}

/// Of one model, by place.
pub type ForwardAuths = BTreeMap<Arc<str>, Arc<ForwardAuth>>;

pub fn of(
    filters: &BoundFilters<'_>,
    upstreams: &BTreeMap<UpstreamName, Arc<Upstream>>,
    previous: Option<&ForwardAuths>,
    metrics: &Metrics,
) -> ForwardAuths {
    let built = filters.forward_auths().map(|definition| {
        let previous = previous.and_then(|previous| previous.get(&definition.place)).map(|previous| &**previous);
        (definition.place.clone(), Arc::new(ForwardAuth::new(definition, upstreams, previous, metrics)))
    });
    built.collect()
}
