//! The metrics: counted by plain atomics, put together when somebody asks.
//!
//! ```text
//! compile ──names──► Metrics ──handles──► snapshot ──► request path: relaxed additions
//! app ──reloads, certificates──► Metrics ──render──► /metrics
//! ```
//!
//! Numbers are kept by name, so they survive a reload; what the configuration no longer names is forgotten
//! after it ([`Metrics::retain`]). Labels are therefore bounded by the configuration.

mod auth;
mod cells;
mod compression;
mod exposition;
mod families;
mod limit;
mod listener;
mod mirror;
mod process;
mod redis;
mod route;
mod session;
mod upstream;

#[cfg(test)]
mod tests;

pub use auth::{ForwardAuthMetrics, JwtMetrics, KeySetMetrics};
pub use cells::{Counter, Histogram};
pub use compression::CompressionMetrics;
pub use limit::LimitMetrics;
pub use listener::{ListenerMetrics, OpenConnection, Rejection};
pub use mirror::{MirrorMetrics, MirrorOutcome, MirrorPlace};
pub use redis::RedisMetrics;
pub use route::RouteMetrics;
pub use session::SessionMetrics;
pub use upstream::UpstreamMetrics;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::cache::Standing;
use crate::model::{
    Action, BoundFilters, CacheStoreName, CertificateSource, JwtKeys, Limit, LimitName, ListenerName, Model, Route,
    RouteName, UpstreamName,
};
use crate::snapshot::upstream::UpstreamStatus;
use crate::tls::Validity;

/// All numbers of the process. Shared by handle; its lock is taken by the control plane alone.
#[derive(Debug)]
pub struct Metrics {
    started: SystemTime,
    access_log_dropped: Arc<Counter>,
    compression: Arc<CompressionMetrics>,
    named: Mutex<Named>,
}

/// What has a name in the configuration.
#[derive(Clone, Debug, Default)]
struct Named {
    /// A route that forwards elsewhere after a reload begins anew: its labels are others.
    routes: BTreeMap<(RouteName, Option<UpstreamName>), Arc<RouteMetrics>>,
    upstreams: BTreeMap<UpstreamName, Arc<UpstreamMetrics>>,
    listeners: BTreeMap<ListenerName, Arc<ListenerMetrics>>,
    sessions: session::Sessions,
    rate_limits: BTreeMap<LimitName, Arc<LimitMetrics>>,
    concurrency_limits: BTreeMap<LimitName, Arc<LimitMetrics>>,
    /// By where the filter stands.
    forward_auths: BTreeMap<Arc<str>, Arc<ForwardAuthMetrics>>,
    jwts: BTreeMap<Arc<str>, Arc<JwtMetrics>>,
    /// By where the filter stands, and to whom.
    mirrors: BTreeMap<(Arc<str>, UpstreamName), Arc<MirrorMetrics>>,
    /// By URL.
    key_sets: BTreeMap<Arc<str>, Arc<KeySetMetrics>>,
    /// Present where limits may be counted in one.
    redis: Option<Arc<RedisMetrics>>,
    /// By file or name.
    certificates: BTreeMap<Arc<str>, Validity>,
    /// By certificate.
    orders: BTreeMap<Arc<str>, Orders>,
    /// Those of `orders` that no model names.
    kept_orders: BTreeSet<Arc<str>>,
    reloads: Reloads,
}

#[derive(Clone, Copy, Debug, Default)]
struct Orders {
    issued: u64,
    failed: u64,
    failed_in_a_row: u32,
}

/// How an order of a certificate ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Issued,
    Failed { in_a_row: u32 },
}

#[derive(Clone, Debug, Default)]
struct Reloads {
    applied: u64,
    unchanged: u64,
    rejected: u64,
    last: Option<Reload>,
    generation: u64,
    last_success: Option<SystemTime>,
}

/// How an attempt to load the configuration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// It is in force, under this generation.
    Applied { generation: u64, at: SystemTime },
    /// It is what is in force already.
    Unchanged,
    /// It has errors; what ran before runs on.
    Rejected,
}

impl Metrics {
    pub fn new(started: SystemTime) -> Self {
        Self { started, access_log_dropped: Arc::default(), compression: Arc::default(), named: Mutex::default() }
    }

    /// The route's numbers: carried over if it was there before, else zero.
    /// One for each arm of a split.
    pub fn route(&self, route: &Route) -> Vec<Arc<RouteMetrics>> {
        let mut named = self.named();
        let owned = |(name, upstream): (&RouteName, Option<&UpstreamName>)| (name.clone(), upstream.cloned());
        keys_of(route).map(|key| named.routes.entry(owned(key)).or_default().clone()).collect()
    }

    pub fn upstream(&self, name: &UpstreamName) -> Arc<UpstreamMetrics> {
        self.named().upstreams.entry(name.clone()).or_default().clone()
    }

    pub fn listener(&self, name: &ListenerName) -> Arc<ListenerMetrics> {
        self.named().listeners.entry(name.clone()).or_default().clone()
    }

    /// Of what a listener carries to an upstream.
    pub fn sessions(&self, listener: &ListenerName, upstream: &UpstreamName) -> Arc<SessionMetrics> {
        self.named().sessions.entry((listener.clone(), upstream.clone())).or_default().clone()
    }

    pub fn rate_limit(&self, name: &LimitName) -> Arc<LimitMetrics> {
        self.named().rate_limits.entry(name.clone()).or_default().clone()
    }

    pub fn concurrency_limit(&self, name: &LimitName) -> Arc<LimitMetrics> {
        self.named().concurrency_limits.entry(name.clone()).or_default().clone()
    }

    /// `place`: where the filter stands.
    pub fn forward_auth(&self, place: &Arc<str>) -> Arc<ForwardAuthMetrics> {
        self.named().forward_auths.entry(place.clone()).or_default().clone()
    }

    /// `place`: where the filter stands.
    pub fn jwt(&self, place: &Arc<str>) -> Arc<JwtMetrics> {
        self.named().jwts.entry(place.clone()).or_default().clone()
    }

    /// `place`: where the filter stands.
    pub fn mirror(&self, place: &Arc<str>, upstream: &UpstreamName) -> Arc<MirrorMetrics> {
        self.named().mirrors.entry((place.clone(), upstream.clone())).or_default().clone()
    }

    /// Of all sets of that URL, whatever its query is: that may be a secret.
    pub fn key_set(&self, url: &str) -> Arc<KeySetMetrics> {
        self.named().key_sets.entry(without_query(url).into()).or_default().clone()
    }

    pub fn redis(&self) -> Arc<RedisMetrics> {
        self.named().redis.get_or_insert_default().clone()
    }

    /// By coding.
    pub fn compression(&self) -> Arc<CompressionMetrics> {
        self.compression.clone()
    }

    /// Counts access log lines that could not be written.
    pub fn access_log_dropped(&self) -> Arc<Counter> {
        self.access_log_dropped.clone()
    }

    /// Forgets what `model` does not name. Called when it has come into force.
    pub fn retain(&self, model: &Model) {
        let routes = model.hosts.iter().flat_map(|host| &host.routes);
        let routes: HashSet<_, FastHash> = routes.flat_map(keys_of).collect();
        let upstreams: HashSet<_, FastHash> = model.upstreams.iter().map(|upstream| &upstream.name).collect();
        let listeners: BTreeSet<_> = model.listener_names().collect();
        let carried: BTreeSet<_> = model.carried().collect();
        let filters = BoundFilters::of(model);
        let (rate_limits, concurrency_limits) = limits(&filters);
        let mut named = self.named();
        named.redis = named.redis.take().filter(|_| model.process.redis.is_some());
        named.rate_limits.retain(|name, _| rate_limits.contains(name));
        named.concurrency_limits.retain(|name, _| concurrency_limits.contains(name));
        let forward_auths: BTreeSet<_> = filters.forward_auths().map(|auth| &auth.place).collect();
        named.forward_auths.retain(|place, _| forward_auths.contains(place));
        let jwts: BTreeSet<_> = filters.jwts().map(|jwt| &jwt.place).collect();
        named.jwts.retain(|place, _| jwts.contains(place));
        let mirrors: BTreeSet<_> = filters.mirrors().map(|mirror| (&mirror.place, &mirror.upstream)).collect();
        named.mirrors.retain(|(place, upstream), _| mirrors.contains(&(place, upstream)));
        let key_urls = key_urls(&filters);
        named.key_sets.retain(|url, _| key_urls.contains(&**url));
        named.routes.retain(|(route, upstream), _| routes.contains(&(route, upstream.as_ref())));
        named.upstreams.retain(|name, _| upstreams.contains(name));
        named.listeners.retain(|name, _| listeners.contains(name));
        named.sessions.retain(|(listener, upstream), _| carried.contains(&(listener, upstream)));
        let ordered = ordered_certificates(model);
        let ordered: BTreeSet<Arc<str>> = ordered.into_iter().chain(named.kept_orders.iter().cloned()).collect();
        named.orders.retain(|name, _| ordered.contains(name));
        // At zero before the first: an increase is seen from there.
        for name in ordered {
            named.orders.entry(name).or_default();
        }
    }

    pub fn reload(&self, reload: Reload) {
        let reloads = &mut self.named().reloads;
        reloads.last = Some(reload);
        match reload {
            Reload::Unchanged => reloads.unchanged += 1,
            Reload::Rejected => reloads.rejected += 1,
            Reload::Applied { generation, at } => {
                reloads.applied += 1;
                reloads.generation = generation;
                reloads.last_success = Some(at);
            }
        }
    }

    /// The certificates in force. Of several under one label the first to end is shown.
    pub fn set_certificates(&self, validities: impl IntoIterator<Item = (Arc<str>, Validity)>) {
        let mut certificates: BTreeMap<Arc<str>, Validity> = BTreeMap::new();
        for (label, validity) in validities {
            let shown = certificates.entry(label).or_insert(validity);
            if validity.not_after < shown.not_after {
                *shown = validity;
            }
        }
        self.named().certificates = certificates;
    }

    /// The certificates that are ordered though no model names them: those of a cluster's Secrets.
    pub fn keep_orders(&self, names: impl Iterator<Item = Arc<str>>) {
        let mut named = self.named();
        let names: BTreeSet<Arc<str>> = names.collect();
        let before = std::mem::take(&mut named.kept_orders);
        named.orders.retain(|name, _| names.contains(name) || !before.contains(name));
        for name in &names {
            named.orders.entry(name.clone()).or_default();
        }
        named.kept_orders = names;
    }

    /// Counts an order. `certificate`: its name.
    pub fn order(&self, certificate: &str, order: Order) {
        let mut named = self.named();
        let orders = named.orders.entry(certificate.into()).or_default();
        match order {
            Order::Issued => (orders.issued, orders.failed_in_a_row) = (orders.issued + 1, 0),
            Order::Failed { in_a_row } => (orders.failed, orders.failed_in_a_row) = (orders.failed + 1, in_a_row),
        }
    }

    /// The Prometheus text format, version 0.0.4. `upstreams` and `stores` as they stand at the scrape.
    pub fn render(&self, upstreams: &[UpstreamStatus], stores: &[(CacheStoreName, Standing)]) -> String {
        families::of(self, upstreams, stores).encode()
    }

    fn named(&self) -> MutexGuard<'_, Named> {
        // Every change is a single insertion or removal, so a panic elsewhere leaves nothing half done.
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The names of limits on the rate, and of those on concurrency.
fn limits<'m>(filters: &BoundFilters<'m>) -> (BTreeSet<&'m LimitName>, BTreeSet<&'m LimitName>) {
    let (mut rate, mut concurrency) = (BTreeSet::new(), BTreeSet::new());
    for limit in filters.limits() {
        match limit {
            Limit::Rate(limit) => drop(rate.insert(&limit.name)),
            Limit::Concurrency(limit) => drop(concurrency.insert(&limit.name)),
        }
    }
    (rate, concurrency)
}

fn without_query(url: &str) -> &str {
    url.split('?').next().unwrap_or_default()
}

fn key_urls<'m>(filters: &BoundFilters<'m>) -> BTreeSet<&'m str> {
    let urls = filters.jwts().filter_map(|jwt| match &jwt.keys {
        JwtKeys::Url(source) => Some(without_query(&source.url)),
        JwtKeys::File(_) | JwtKeys::SecretFile(_) => None,
    });
    urls.collect()
}

/// Of names that are asked for some thousand times with each change.
type FastHash = foldhash::fast::RandomState;

/// What orders are counted under.
fn ordered_certificates(model: &Model) -> BTreeSet<Arc<str>> {
    let names = model.certificates.iter().filter_map(|certificate| match &certificate.source {
        CertificateSource::Acme(ordered) => ordered.domains.first().map(|domain| domain.as_str().into()),
        CertificateSource::File { .. } => None,
    });
    let on_demand = model.acme.as_ref().and_then(|acme| acme.on_demand.as_ref()).map(|_| ON_DEMAND.into());
    names.chain(on_demand).collect()
}

/// All certificates that nobody wrote down: clients choose their names, and must not make labels.
pub const ON_DEMAND: &str = "on-demand";

fn keys_of(route: &Route) -> impl Iterator<Item = (&RouteName, Option<&UpstreamName>)> {
    let (one, arms) = match &route.action {
        Action::Forward(forward) => (Some(Some(&forward.upstream)), &[][..]),
        Action::Split(split) => (None, &split.arms[..]),
        Action::Redirect(_) | Action::Respond(_) | Action::Files(_) => (Some(None), &[][..]),
    };
    let upstreams = one.into_iter().chain(arms.iter().map(|arm| Some(&arm.forward.upstream)));
    upstreams.map(|upstream| (&route.name, upstream))
}
