//! Filters of three levels become one chain.
//!
//! ```text
//! listener ─┐
//! host ─────┼─► all that restrict access; of the rest the nearest of each kind ──► checks, limits, edits, bounds
//! route ────┘
//! ```

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use super::Upstreams;
use crate::cache::Stores;
use crate::error_pages::PageFiles;
use crate::model::{
    self, CacheHeaders, EditSet, EditedStatuses, Filter, FilterKind, HeaderEdits, HeaderTemplate, LimitScope, PageFile,
    PageSource, RequestBuffering, Satisfy, SecurityHeaders, TemplatePart,
};
use crate::passwords::UserFiles;
use crate::shared_counts::Store;
use crate::snapshot::basic_auth::BasicAuth;
use crate::snapshot::cache::CachePolicy;
use crate::snapshot::cache_headers::CacheRule;
use crate::snapshot::chain::{Addresses, AppliedFilter, Check, Edit, EditValue, FilterChain, SignIn};
use crate::snapshot::compress::Compress;
use crate::snapshot::cors::Cors;
use crate::snapshot::error_pages::{ErrorPages, Rule, Source};
use crate::snapshot::forward_auth::ForwardAuths;
use crate::snapshot::jwt::Jwts;
use crate::snapshot::limit::{ConcurrencyLimit, RateLimit, SharedRateLimit, States};
use crate::snapshot::mirror::Mirrors;
use crate::snapshot::redirect::{Redirecting, Served, WwwRedirect};
use crate::telemetry::metrics::Metrics;

/// What filters have outside of a chain.
#[derive(Clone, Copy)]
pub struct Outside<'a> {
    /// What limits count in.
    pub states: &'a States,
    /// What they may count in together with other processes.
    pub redis: Option<&'a Arc<Store>>,
    pub metrics: &'a Metrics,
    /// Who may come in by password.
    pub users: &'a UserFiles,
    pub served: &'a Served,
    /// That error pages may come from.
    pub upstreams: &'a Upstreams,
    pub pages: &'a PageFiles,
    /// Who is asked, by place.
    pub forward_auths: &'a ForwardAuths,
    /// Tokens, by place.
    pub jwts: &'a Jwts,
    /// Where answers are kept.
    pub stores: &'a Stores,
    /// Who is sent copies, by place and upstream.
    pub mirrors: &'a Mirrors,
}

/// Of two filters of one kind the nearest to the route stands; order within a level does not matter. Restrictions of
/// access add up: to restrict a route further must not open what its listener had closed. Limits and mirrors add up
/// within a level; a level that has any replaces those of the outer ones, as in nginx.
pub fn chain(levels: Levels<'_>, outside: Outside<'_>) -> FilterChain {
    let (mut chain, mut sign_in) = (FilterChain::default(), SignIn::default());
    let in_force = in_force(levels);
    let one_is_enough = in_force.iter().find(|(filter, _)| filter.kind == FilterKind::Satisfy(Satisfy::Any));
    let joins = |level: &str| one_is_enough.is_some_and(|(_, at)| levels.is_at_or_below(level, at));
    let mut addresses = Addresses::default();
    for (filter, level) in &in_force {
        match &filter.kind {
            FilterKind::Deny(networks) if joins(level) => addresses.deny.extend(networks),
            FilterKind::Allow(networks) if joins(level) => addresses.allow.extend(networks),
            kind => add(&mut chain, &mut sign_in, kind, outside),
        }
        chain.applied.push(AppliedFilter { name: filter.kind.name(), level, origin: filter.origin.clone() });
    }
    if one_is_enough.is_some() {
        match sign_in.knows_clients() {
            true => sign_in.or_by_address = Some(addresses),
            // Nobody else is asked: they decide alone.
            false => chain.checks.extend(addresses.into_checks()),
        }
    }
    chain.sign_in = sign_in.asks().then(|| Arc::new(sign_in));
    chain
}

/// With the level that each stands at, in the order in which they act.
pub fn in_force(levels: Levels<'_>) -> Vec<(&Filter, &'static str)> {
    let mut nearest: Vec<(&Filter, &'static str)> = Vec::new();
    for (level, filters) in levels.nearest_first() {
        for filter in filters {
            let is_replaced = |(other, at): &(&Filter, &'static str)| {
                other.kind.name() == filter.kind.name()
                    && match adds_up(&filter.kind) {
                        AddsUp::Never => true,
                        AddsUp::WithinALevel => *at != level,
                        AddsUp::Always => false,
                    }
            };
            if !nearest.iter().any(is_replaced) {
                nearest.push((filter, level));
            }
        }
    }
    nearest.sort_by_key(|(filter, _)| position(&filter.kind));
    nearest
}

/// Where the filters of a route stand.
#[derive(Clone, Copy, Default)]
pub struct Levels<'a> {
    pub listener: &'a [Filter],
    pub host: &'a [Filter],
    pub route: &'a [Filter],
}

impl<'a> Levels<'a> {
    /// Whether what stands at `level` is as near to the route as what stands at `other`.
    fn is_at_or_below(&self, level: &str, other: &str) -> bool {
        let place = |name: &str| self.nearest_first().iter().position(|(known, _)| *known == name);
        place(level) <= place(other)
    }

    fn nearest_first(self) -> [(&'static str, &'a [Filter]); 3] {
        [("route", self.route), ("host", self.host), ("listener", self.listener)]
    }
}

/// Whether several of a kind hold together.
enum AddsUp {
    Never,
    WithinALevel,
    Always,
}

fn adds_up(kind: &FilterKind) -> AddsUp {
    match kind {
        FilterKind::Allow(_) | FilterKind::Deny(_) | FilterKind::Conditions(_) => AddsUp::Always,
        FilterKind::ConcurrencyLimit(_) | FilterKind::RateLimit(_) | FilterKind::Mirror(_) => AddsUp::WithinALevel,
        FilterKind::Bandwidth(_)
        | FilterKind::BasicAuth(_)
        | FilterKind::Jwt(_)
        | FilterKind::ForwardAuth(_)
        | FilterKind::RequestBuffering(_)
        | FilterKind::Cache(_)
        | FilterKind::CacheHeaders(_)
        | FilterKind::Compress(_)
        | FilterKind::Cors(_)
        | FilterKind::ErrorPages(_)
        | FilterKind::HttpsRedirect(_)
        | FilterKind::WwwRedirect(_)
        | FilterKind::AppRoot(_)
        | FilterKind::TrailingSlash(_)
        | FilterKind::MaxBodySize(_)
        | FilterKind::SecurityHeaders(_)
        | FilterKind::Satisfy(_)
        | FilterKind::ResponseRewrite(_)
        | FilterKind::AccessLog(_)
        | FilterKind::Headers(_) => AddsUp::Never,
    }
}

/// When a kind acts: where requests are sent, then who may come in, then what is bounded, then what is edited. As in nginx a redirect comes
/// before any question of access: it shows nothing but another URL.
/// Preflights are answered before they could be redirected, counted or asked who they are: browsers follow no redirect of theirs, and
/// send no credentials with them. Who it is comes after the limits, as in nginx: these bound how fast passwords can be guessed; what
/// costs a question to somebody else comes last of that. `headers` comes after the presets, so that what an operator wrote out
/// stands above them; `compress` looks at what has come of it all.
fn position(kind: &FilterKind) -> u8 {
    match kind {
        FilterKind::Cors(_) => 0,
        FilterKind::Conditions(_) => 1,
        FilterKind::HttpsRedirect(_) => 2,
        FilterKind::WwwRedirect(_) => 3,
        FilterKind::AppRoot(_) => 4,
        FilterKind::TrailingSlash(_) => 5,
        // All of them say 403.
        FilterKind::Deny(_) | FilterKind::Allow(_) | FilterKind::Satisfy(_) => 6,
        FilterKind::ConcurrencyLimit(_) => 7,
        FilterKind::RateLimit(_) => 8,
        FilterKind::Jwt(_) => 9,
        FilterKind::BasicAuth(_) => 10,
        FilterKind::ForwardAuth(_) => 11,
        FilterKind::MaxBodySize(_) => 12,
        FilterKind::Cache(_) => 13,
        FilterKind::CacheHeaders(_) => 14,
        FilterKind::ErrorPages(_) => 15,
        FilterKind::SecurityHeaders(_) => 16,
        FilterKind::Headers(_) => 17,
        FilterKind::Compress(_) => 18,
        FilterKind::Bandwidth(_) => 19,
        FilterKind::RequestBuffering(_) => 20,
        FilterKind::Mirror(_) => 21,
        FilterKind::ResponseRewrite(_) => 22,
        FilterKind::AccessLog(_) => 23,
    }
}

fn add(chain: &mut FilterChain, sign_in: &mut SignIn, kind: &FilterKind, outside: Outside<'_>) {
    let Outside { states, redis, metrics, users, served, forward_auths, jwts, stores, mirrors, .. } = outside;
    match kind {
        FilterKind::Deny(networks) => chain.checks.push(Check::Deny(networks.clone())),
        FilterKind::Allow(networks) => chain.checks.push(Check::Allow(networks.clone())),
        FilterKind::Cors(cors) => {
            let cors = Arc::new(Cors::new(cors.clone()));
            chain.checks.push(Check::Cors(cors.clone()));
            chain.cors = Some(cors);
        }
        FilterKind::HttpsRedirect(_)
        | FilterKind::WwwRedirect(_)
        | FilterKind::AppRoot(_)
        | FilterKind::TrailingSlash(_) => chain.checks.extend(redirecting(kind, served).map(Check::Redirect)),
        FilterKind::ConcurrencyLimit(limit) => {
            let (state, metrics) = (states.concurrency(limit), metrics.concurrency_limit(&limit.name));
            let limits = match limit.counted.regards_claims() {
                true => &mut sign_in.concurrency_limits,
                false => &mut chain.concurrency_limits,
            };
            limits.push(ConcurrencyLimit::new(limit.clone(), state, metrics));
        }
        FilterKind::RateLimit(limit) => {
            let (state, metrics) = (states.rate(limit), metrics.rate_limit(&limit.name));
            let built = RateLimit::new(limit.clone(), state, metrics);
            // The sources demand what a scope needs; a limit that lacks it all the same is held by each process.
            let (built, store) = match (limit.scope, states.replica_count(), redis) {
                (LimitScope::ReplicaShare, Some(replicas), _) => (built.shared_by(replicas.clone()), None),
                (LimitScope::Redis { on_failure }, _, Some(store)) => (built, Some((store.clone(), on_failure))),
                (LimitScope::Process | LimitScope::ReplicaShare | LimitScope::Redis { .. }, _, _) => (built, None),
            };
            match store {
                // The sources refuse that one counts by claims and in Redis.
                _ if limit.counted.regards_claims() => sign_in.rate_limits.push(built),
                Some((store, on_failure)) => {
                    chain.shared_rate_limits.push(SharedRateLimit::new(built, store, on_failure));
                }
                None => chain.rate_limits.push(built),
            }
        }
        FilterKind::Jwt(jwt) => match jwts.at(&jwt.place) {
            Some(jwt) => sign_in.jwt = Some(jwt.clone()),
            None => chain.checks.push(Check::Closed(kind.name())),
        },
        FilterKind::BasicAuth(auth) => sign_in.basic = Some(BasicAuth::new(auth, users)),
        FilterKind::ForwardAuth(auth) => match forward_auths.get(&auth.place) {
            Some(auth) => sign_in.forward = Some(auth.clone()),
            None => chain.checks.push(Check::Closed(kind.name())),
        },
        FilterKind::Bandwidth(bandwidth) => chain.bandwidth = Some(*bandwidth),
        FilterKind::RequestBuffering(RequestBuffering::Off) => {}
        FilterKind::RequestBuffering(RequestBuffering::On(buffer)) => {
            chain.body_buffer = Some(Arc::new(buffer.clone()))
        }
        FilterKind::Mirror(mirror) => {
            let key = (mirror.place.clone(), mirror.upstream.clone());
            chain.mirrors.extend(mirrors.get(&key).cloned());
        }
        FilterKind::MaxBodySize(size) => chain.max_body = Some(size.0),
        // Seen to when all are there.
        FilterKind::Satisfy(_) => {}
        FilterKind::ResponseRewrite(rewrite) => chain.response_rewrite = Some(Arc::new(rewrite.clone())),
        FilterKind::AccessLog(logging) => chain.logging = *logging,
        FilterKind::Conditions(conditions) => chain.checks.push(Check::Conditions(conditions.clone())),
        FilterKind::Cache(cache) => {
            let policy = CachePolicy { definition: cache.clone(), store: stores.named(&cache.store) };
            chain.cache = Some(Arc::new(policy));
        }
        FilterKind::CacheHeaders(CacheHeaders(rules)) => {
            chain.cache_rules = rules.iter().cloned().filter_map(CacheRule::new).collect();
        }
        FilterKind::Compress(compress) => {
            chain.compress = Some(Arc::new(Compress::new(compress.clone(), metrics.compression())));
        }
        FilterKind::ErrorPages(pages) => chain.error_pages = Some(Arc::new(error_pages(pages, outside))),
        FilterKind::SecurityHeaders(preset) => chain.response_edits.extend(security_headers(preset)),
        FilterKind::Headers(HeaderEdits { request, response, statuses }) => {
            chain.request_edits.extend(edits(request));
            match statuses {
                EditedStatuses::All => chain.response_edits.extend(edits(response)),
                EditedStatuses::Success => chain.success_edits.extend(edits(response)),
            }
        }
    }
}

/// None: it is no filter that redirects.
pub fn redirecting(kind: &FilterKind, served: &Served) -> Option<Redirecting> {
    match kind {
        FilterKind::HttpsRedirect(redirect) => Some(Redirecting::Https(redirect.clone())),
        FilterKind::WwwRedirect(redirect) => {
            Some(Redirecting::Www(WwwRedirect { to: redirect.to, status: redirect.status, served: served.clone() }))
        }
        FilterKind::AppRoot(redirect) => Some(Redirecting::AppRoot(redirect.clone())),
        FilterKind::TrailingSlash(redirect) => Some(Redirecting::TrailingSlash(redirect.clone())),
        FilterKind::Allow(_)
        | FilterKind::Deny(_)
        | FilterKind::Cors(_)
        | FilterKind::ConcurrencyLimit(_)
        | FilterKind::RateLimit(_)
        | FilterKind::Jwt(_)
        | FilterKind::BasicAuth(_)
        | FilterKind::ForwardAuth(_)
        | FilterKind::Cache(_)
        | FilterKind::CacheHeaders(_)
        | FilterKind::Compress(_)
        | FilterKind::ErrorPages(_)
        | FilterKind::Headers(_)
        | FilterKind::SecurityHeaders(_)
        | FilterKind::MaxBodySize(_)
        | FilterKind::Bandwidth(_)
        | FilterKind::RequestBuffering(_)
        | FilterKind::Satisfy(_)
        | FilterKind::ResponseRewrite(_)
        | FilterKind::AccessLog(_)
        | FilterKind::Conditions(_)
        | FilterKind::Mirror(_) => None,
    }
}

/// Of those that would be shown for errors before there is a route.
pub fn error_pages_of(levels: Levels<'_>, outside: Outside<'_>) -> Option<Arc<ErrorPages>> {
    let definition = in_force(levels).into_iter().find_map(|(filter, _)| filter.kind.error_pages())?;
    Some(Arc::new(error_pages(definition, outside)))
}

/// A page whose files could not be read shows nothing.
fn error_pages(definition: &model::ErrorPages, Outside { upstreams, metrics, pages, .. }: Outside<'_>) -> ErrorPages {
    let source = |source: &PageSource| match source {
        PageSource::Files(files) => {
            let page = |file: &PageFile| pages.get(&(file.file.clone(), file.format)).cloned();
            let files: Vec<_> = files.iter().filter_map(page).collect();
            (!files.is_empty()).then_some(Source::Files(files))
        }
        PageSource::Upstream { name, path, told } => {
            let (upstream, metrics) = (upstreams.get(name)?.clone(), metrics.upstream(name));
            let told = told.iter().filter_map(|(name, value)| super::field(name, value)).collect();
            Some(Source::Upstream { upstream, metrics, path: path.clone(), told })
        }
    };
    let rule = |page: &model::ErrorPage| {
        Some(Rule { statuses: page.statuses.clone(), source: source(&page.source)?, answered: page.answered })
    };
    ErrorPages { intercept: definition.intercept, rules: definition.pages.iter().filter_map(rule).collect() }
}

fn edits(set: &EditSet) -> impl Iterator<Item = Edit> {
    let removed = set.remove.iter().filter_map(|name| Some(Edit::Remove(header(name)?)));
    let replaced = set.set.iter().filter_map(|(name, value)| Some(Edit::Set(header(name)?, edit_value(value)?)));
    let added = set.add.iter().filter_map(|(name, value)| Some(Edit::Add(header(name)?, edit_value(value)?)));
    let joined = set.append.iter().filter_map(|(name, value)| Some(Edit::Append(header(name)?, edit_value(value)?)));
    removed.chain(replaced).chain(added).chain(joined)
}

fn security_headers(preset: &SecurityHeaders) -> Vec<Edit> {
    let plain = [
        ("x-frame-options", &preset.frame_options),
        ("x-content-type-options", &preset.content_type_options),
        ("referrer-policy", &preset.referrer_policy),
        ("permissions-policy", &preset.permissions_policy),
        ("content-security-policy", &preset.content_security_policy),
    ];
    let fixed = |value: &str| HeaderValue::from_str(value).ok().map(EditValue::Static);
    let mut edits: Vec<Edit> = plain
        .into_iter()
        .filter_map(|(name, value)| Some(Edit::SetDefault(HeaderName::from_static(name), fixed(value.as_deref()?)?)))
        .collect();
    if let Some(value) = preset.hsts.as_deref().and_then(fixed) {
        edits.push(Edit::SetDefaultOnTls(HeaderName::from_static("strict-transport-security"), value));
    }
    edits
}

/// Names are checked where they are read; one that is none is left out rather than sent.
fn header(name: &str) -> Option<HeaderName> {
    HeaderName::from_bytes(name.as_bytes()).ok()
}

fn edit_value(template: &HeaderTemplate) -> Option<EditValue> {
    match template.0.as_slice() {
        [TemplatePart::Text(text)] => HeaderValue::from_str(text).ok().map(EditValue::Static),
        parts => Some(EditValue::Template(parts.to_vec())),
    }
}

#[cfg(test)]
mod tests;
