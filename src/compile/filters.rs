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
    self, CacheHeaders, EditSet, EditedStatuses, Filter, FilterKind, HeaderEdits, HeaderTemplate, PageFile, PageSource,
    SecurityHeaders, TemplatePart,
};
use crate::passwords::UserFiles;
use crate::snapshot::basic_auth::BasicAuth;
use crate::snapshot::cache::CachePolicy;
use crate::snapshot::cache_headers::CacheRule;
use crate::snapshot::chain::{AppliedFilter, Check, Edit, EditValue, FilterChain};
use crate::snapshot::compress::Compress;
use crate::snapshot::cors::Cors;
use crate::snapshot::error_pages::{ErrorPages, Rule, Source};
use crate::snapshot::limit::{ConcurrencyLimit, RateLimit, States};
use crate::snapshot::redirect::{Redirecting, Served, WwwRedirect};
use crate::telemetry::metrics::Metrics;

/// What filters have outside of a chain.
#[derive(Clone, Copy)]
pub struct Outside<'a> {
    /// What limits count in.
    pub states: &'a States,
    pub metrics: &'a Metrics,
    /// Who may come in by password.
    pub users: &'a UserFiles,
    pub served: &'a Served,
    /// That error pages may come from.
    pub upstreams: &'a Upstreams,
    pub pages: &'a PageFiles,
    /// Where answers are kept.
    pub stores: &'a Stores,
}

/// Of two filters of one kind the nearest to the route stands; order within a level does not matter. Restrictions of
/// access add up: to restrict a route further must not open what its listener had closed. Limits add up within a level;
/// a level that has any replaces those of the outer ones, as in nginx.
pub fn chain(levels: Levels<'_>, outside: Outside<'_>) -> FilterChain {
    let mut chain = FilterChain::default();
    for (filter, level) in in_force(levels) {
        add(&mut chain, &filter.kind, outside);
        chain.applied.push(AppliedFilter { name: filter.kind.name(), level, origin: filter.origin.clone() });
    }
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
        FilterKind::Allow(_) | FilterKind::Deny(_) => AddsUp::Always,
        FilterKind::ConcurrencyLimit(_) | FilterKind::RateLimit(_) => AddsUp::WithinALevel,
        FilterKind::BasicAuth(_)
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
        | FilterKind::Headers(_) => AddsUp::Never,
    }
}

/// When a kind acts: who may come in, then where they are sent, then what is bounded, then what is edited.
/// Preflights are answered before they could be redirected, counted or asked who they are: browsers follow no redirect of theirs, and
/// send no credentials with them. Passwords come after the limits, as in nginx: these bound how fast they can be guessed. `headers` comes after the presets, so that what an operator
/// wrote out stands above them; `compress` looks at what has come of it all.
fn position(kind: &FilterKind) -> u8 {
    match kind {
        FilterKind::Deny(_) => 0,
        FilterKind::Allow(_) => 1,
        FilterKind::Cors(_) => 2,
        FilterKind::HttpsRedirect(_) => 3,
        FilterKind::WwwRedirect(_) => 4,
        FilterKind::AppRoot(_) => 5,
        FilterKind::TrailingSlash(_) => 6,
        FilterKind::ConcurrencyLimit(_) => 7,
        FilterKind::RateLimit(_) => 8,
        FilterKind::BasicAuth(_) => 9,
        FilterKind::MaxBodySize(_) => 10,
        FilterKind::Cache(_) => 11,
        FilterKind::CacheHeaders(_) => 12,
        FilterKind::ErrorPages(_) => 13,
        FilterKind::SecurityHeaders(_) => 14,
        FilterKind::Headers(_) => 15,
        FilterKind::Compress(_) => 16,
    }
}

fn add(chain: &mut FilterChain, kind: &FilterKind, outside: Outside<'_>) {
    let Outside { states, metrics, users, served, stores, .. } = outside;
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
            chain.concurrency_limits.push(ConcurrencyLimit::new(limit.clone(), state, metrics));
        }
        FilterKind::RateLimit(limit) => {
            let (state, metrics) = (states.rate(limit), metrics.rate_limit(&limit.name));
            chain.rate_limits.push(RateLimit::new(limit.clone(), state, metrics));
        }
        FilterKind::BasicAuth(auth) => chain.basic_auth = Some(Arc::new(BasicAuth::new(auth, users))),
        FilterKind::MaxBodySize(size) => chain.max_body = Some(size.0),
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
        | FilterKind::BasicAuth(_)
        | FilterKind::Cache(_)
        | FilterKind::CacheHeaders(_)
        | FilterKind::Compress(_)
        | FilterKind::ErrorPages(_)
        | FilterKind::Headers(_)
        | FilterKind::SecurityHeaders(_)
        | FilterKind::MaxBodySize(_) => None,
    }
}

/// Of those that would be shown for errors before there is a route.
pub fn error_pages_of(levels: Levels<'_>, outside: Outside<'_>) -> Option<Arc<ErrorPages>> {
    let definition = in_force(levels).into_iter().find_map(|(filter, _)| filter.kind.error_pages())?;
    Some(Arc::new(error_pages(definition, outside)))
}

/// A page whose files could not be read shows nothing.
fn error_pages(definition: &model::ErrorPages, Outside { upstreams, pages, .. }: Outside<'_>) -> ErrorPages {
    let source = |source: &PageSource| match source {
        PageSource::Files(files) => {
            let page = |file: &PageFile| pages.get(&(file.file.clone(), file.format)).cloned();
            let files: Vec<_> = files.iter().filter_map(page).collect();
            (!files.is_empty()).then_some(Source::Files(files))
        }
        PageSource::Upstream { name, path } => {
            Some(Source::Upstream { upstream: upstreams.get(name)?.clone(), path: path.clone() })
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
mod tests {
    use std::num::NonZeroU32;
    use std::time::SystemTime;

    use super::*;
    use crate::diagnostics::Origin;
    use crate::model::{ByteSize, Counted, Ipv6Prefix, LimitKey, LimitMode, LimitName};

    fn filter(kind: FilterKind) -> Filter {
        Filter { origin: Origin::builtin(), kind }
    }

    fn limit(size: u64) -> Filter {
        filter(FilterKind::MaxBodySize(ByteSize(size)))
    }

    fn deny(network: &str) -> Filter {
        filter(FilterKind::Deny(vec![network.parse().unwrap()]))
    }

    fn at_most(name: &str) -> Filter {
        filter(FilterKind::ConcurrencyLimit(model::ConcurrencyLimit {
            name: LimitName::Place(name.into()),
            max: NonZeroU32::MIN,
            counted: Counted { key: vec![LimitKey::ClientIp], ipv6_prefix: Ipv6Prefix::new(64), allow: Vec::new() },
            status: 429,
            mode: LimitMode::Enforce,
        }))
    }

    fn chain_of(listener: &[Filter], host: &[Filter], route: &[Filter]) -> FilterChain {
        let metrics = Metrics::new(SystemTime::UNIX_EPOCH);
        let outside = Outside {
            states: &States::default(),
            metrics: &metrics,
            users: &UserFiles::new(),
            served: &Served::default(),
            upstreams: &Upstreams::new(),
            pages: &PageFiles::new(),
            stores: &Stores::default(),
        };
        chain(Levels { listener, host, route }, outside)
    }

    #[test]
    fn the_nearest_filter_of_a_kind_stands() {
        let chain = chain_of(&[limit(1)], &[limit(2)], &[limit(3)]);
        assert_eq!(chain.max_body, Some(3));
        assert_eq!(chain.applied.len(), 1);
    }

    #[test]
    fn restrictions_of_access_add_up() {
        let chain = chain_of(&[deny("10.0.0.0/8")], &[limit(2)], &[deny("192.0.2.0/24")]);
        let levels: Vec<_> = chain.applied.iter().map(|filter| (filter.name, filter.level)).collect();
        assert_eq!(levels, [("deny", "route"), ("deny", "listener"), ("max-body-size", "host")]);
        assert_eq!(chain.checks.len(), 2);
    }

    #[test]
    fn limits_of_the_nearest_level_hold_and_all_of_them() {
        let names = |chain: &FilterChain| -> Vec<_> {
            chain.concurrency_limits.iter().map(|limit| limit.definition().name.to_string()).collect()
        };
        let (listener, host) = ([at_most("a")], [at_most("b"), at_most("c")]);
        assert_eq!(names(&chain_of(&listener, &host, &[deny("10.0.0.0/8")])), ["b", "c"]);
        assert_eq!(names(&chain_of(&listener, &host, &[at_most("d")])), ["d"]);
        assert_eq!(names(&chain_of(&listener, &[], &[])), ["a"]);
    }
}
