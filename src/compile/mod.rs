//! Model to snapshot: pure, and the only place where precedence and inheritance are decided.
//!
//! ```text
//! Model + what runs already ──compile──► Snapshot
//! ```
//!
//! What runs already (health, connections in flight, resolved endpoints, what limits have counted, counters) is carried over by name. Nothing
//! here reads a file, a clock or the network.

mod carriers;
mod circles;
mod filters;
mod known;
mod lint;

pub use lint::lint;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use crate::cache::Stores;
use crate::diagnostics::{Diagnostic, Diagnostics, Origin};
use crate::error_pages::PageFiles;
use crate::files::Folder;
use crate::model::{
    self, BoundFilters, ForwardCertificate, HostClientAuth, Lanes, Model, UpstreamName, UpstreamProtocol,
};
use crate::passwords::UserFiles;
use crate::sharded::Common;
use crate::shared_counts::{self, Store};
use crate::snapshot::Snapshot;
use crate::snapshot::cache_headers::CacheRule;
use crate::snapshot::chain::{Edit, EditValue, FilterChain};
use crate::snapshot::forward_auth::{self, ForwardAuths};
use crate::snapshot::jwt::Jwts;
use crate::snapshot::limit::States;
use crate::snapshot::mirror::{self, Mirrors};
use crate::snapshot::redirect::Served;
use crate::snapshot::router::{HostEntry, Router};
use crate::snapshot::split::Split;
use crate::snapshot::table::{
    Action, CertificateFields, Forward, Host, HostTls, Needs, Respond, Route, Table, Timeouts,
};
use crate::snapshot::upstream::Upstream;
use crate::telemetry::metrics::Metrics;
use crate::tls::{ClientRootFiles, ClientTerms, Terms, UpstreamTlsMaterial};
use crate::tokens::KeyFiles;
use filters::{Levels, Outside};
use known::{Known, KnownUpstreams, Standing};

/// What compiling needs beside the model.
pub struct Surroundings<'a> {
    pub previous: Option<&'a Snapshot>,
    /// Loaded keys and certificates, by upstream.
    pub upstream_tls: &'a BTreeMap<UpstreamName, UpstreamTlsMaterial>,
    /// Whose certificates are accepted from clients, by file.
    pub client_roots: &'a ClientRootFiles,
    /// Who may come in by password, by file.
    pub users: &'a UserFiles,
    /// What is shown instead of errors, by file.
    pub pages: &'a PageFiles,
    /// What tokens are verified by, by file.
    pub keys: &'a KeyFiles,
    /// How Redis is reached.
    pub redis: Option<&'a Arc<shared_counts::Settings>>,
    /// Where answers are kept, whatever is reloaded.
    pub stores: &'a Stores,
    /// Hands out counters, the same for the same name.
    pub metrics: &'a Metrics,
    pub now: Instant,
}

/// Fails where an upstream's TLS material cannot be used: every one that is so is named.
pub fn compile(model: Arc<Model>, surroundings: &Surroundings<'_>) -> Result<Snapshot, Diagnostics> {
    let upstreams = upstreams(&model, surroundings)?;
    let bound = BoundFilters::of(&model);
    let known = surroundings.previous.map(|previous| &previous.limits);
    let limits = States::of(&bound, model.process.replicas.as_ref(), known);
    let known = surroundings.previous.map(|previous| &previous.forward_auths);
    let forward_auths: ForwardAuths = forward_auth::of(&bound, &upstreams, known, surroundings.metrics);
    let known = surroundings.previous.map(|previous| &previous.jwts);
    let jwts = Jwts::of(&bound, surroundings.keys, known, surroundings.metrics);
    let mirrors = mirror::of(&bound, &upstreams, surroundings.metrics);
    let redis = redis(surroundings)?;
    let standing = Standing::of(&upstreams, surroundings.previous);
    let running = Running {
        upstreams: &upstreams,
        standing: &standing,
        bound: &bound,
        states: &limits,
        redis: redis.as_ref(),
        metrics: surroundings.metrics,
        users: surroundings.users,
        pages: surroundings.pages,
        forward_auths: &forward_auths,
        jwts: &jwts,
        stores: surroundings.stores,
        mirrors: &mirrors,
    };
    let carriers = carriers::carriers(&model, &upstreams, surroundings)?;
    let mut tables = HashMap::with_capacity(model.listeners.len());
    for listener in &model.listeners {
        tables.insert(listener.name.clone(), table(&model, listener, running, surroundings)?);
    }
    let (mut paces, mut lean) = (false, false);
    for route in tables.values().flat_map(Table::routes) {
        paces |= route.chain.bandwidth.is_some();
        lean |= route.needs.lean;
    }
    lean &= model.process.lanes == Lanes::Auto;
    let generation = surroundings.previous.map_or(1, |previous| previous.generation + 1);
    Ok(Snapshot { generation, model, tables, carriers, upstreams, paces, lean, limits, forward_auths, jwts, redis })
}

/// The one there was, with its connections, where it is reached in the same way.
fn redis(surroundings: &Surroundings<'_>) -> Result<Option<Arc<Store>>, Diagnostics> {
    let Some(settings) = surroundings.redis else { return Ok(None) };
    let previous = surroundings.previous.and_then(|previous| previous.redis.as_ref());
    if let Some(store) = previous.filter(|store| store.is_of(settings)) {
        return Ok(Some(store.clone()));
    }
    Store::new(settings.clone(), surroundings.metrics.redis()).map(|store| Some(Arc::new(store))).map_err(|error| {
        Diagnostics::from(Diagnostic::error(Origin::builtin(), "redis", format!("it cannot be used: {error}")))
    })
}

fn upstreams(model: &Model, surroundings: &Surroundings<'_>) -> Result<Upstreams, Diagnostics> {
    let (mut built, mut found) = (Vec::with_capacity(model.upstreams.len()), Diagnostics::default());
    let without_tls = UpstreamTlsMaterial::default();
    let known = KnownUpstreams::of(surroundings.previous);
    for definition in &model.upstreams {
        // What is spoken with in TLS is made anew: its files may have changed beneath the same names.
        if let Some(same) = known.same(definition).filter(|_| definition.tls.is_none()) {
            built.push((definition.name.clone(), same.clone()));
            continue;
        }
        let previous = known.named(&definition.name);
        let material = surroundings.upstream_tls.get(&definition.name).unwrap_or(&without_tls);
        match Upstream::new(definition.clone(), previous.map(|previous| &**previous), material, surroundings.now) {
            Ok(upstream) => built.push((definition.name.clone(), Arc::new(upstream))),
            Err(error) => {
                let path = format!("upstreams.{}.tls", definition.name);
                found.push(Diagnostic::error(definition.origin.clone(), path, error.to_string()));
            }
        }
    }
    if found.has_errors() { Err(found) } else { Ok(built.into_iter().collect()) }
}

type Upstreams = BTreeMap<UpstreamName, Arc<Upstream>>;

/// What routes are bound to.
#[derive(Clone, Copy)]
struct Running<'a> {
    upstreams: &'a Upstreams,
    standing: &'a Standing,
    bound: &'a BoundFilters<'a>,
    states: &'a States,
    metrics: &'a Metrics,
    users: &'a UserFiles,
    pages: &'a PageFiles,
    forward_auths: &'a ForwardAuths,
    jwts: &'a Jwts,
    redis: Option<&'a Arc<Store>>,
    stores: &'a Stores,
    mirrors: &'a Mirrors,
}

impl<'a> Running<'a> {
    fn outside(self, served: &'a Served) -> Outside<'a> {
        let Self { upstreams, states, metrics, users, pages, forward_auths, jwts, redis, stores, mirrors, .. } = self;
        Outside { states, metrics, users, served, upstreams, pages, forward_auths, jwts, redis, stores, mirrors }
    }
}

/// The hosts that a listener serves, in the model's order.
pub fn hosts_of<'m>(model: &'m Model, listener: &model::Listener) -> Vec<&'m model::VirtualHost> {
    model.hosts_of(listener).collect()
}

fn table(
    model: &Model,
    listener: &model::Listener,
    running: Running<'_>,
    surroundings: &Surroundings<'_>,
) -> Result<Table, Diagnostics> {
    let hosts = hosts_of(model, listener);
    let served = served(running.bound, &hosts);
    let known = Known::of(listener, model, surroundings.previous);
    let same: Vec<_> = hosts.iter().map(|host| known.find(host, running.standing)).collect();
    let router = Router::build_beside(known.router(), &entries(listener, &hosts), |index| same[index]);
    let terms = |host| Arc::new(Terms::of(listener.tls.as_ref(), host, surroundings.client_roots));
    let others =
        if asks_for_certificates(model) { CertificateFields::KeepOfTrustedProxies } else { CertificateFields::Keep };
    let built = hosts.iter().zip(&same).map(|(host, same)| {
        if let Some(known) = same.and_then(|index| known.host(index)) {
            return Ok(known.clone());
        }
        let tls = host_tls(listener, host, running, surroundings)?;
        let names: Vec<String> = host.names.iter().map(ToString::to_string).collect();
        let terms = terms(Some(&host.tls));
        let part = HostPart {
            listener,
            host,
            served: &served,
            names: names.join(" ").into(),
            certificate_fields: certificate_fields(&terms, others),
            terms: terms.clone(),
        };
        let routes = routes_at(listener, host).iter().map(|r| Common::new(route(&part, r, running))).collect();
        let levels = Levels { listener: &listener.filters, host: &host.filters, route: &[] };
        let pages = filters::error_pages_of(levels, running.outside(&served));
        Ok(Arc::new(Host { terms, routes, pages, tls, made_of: known::made_of(host) }))
    });
    let built = built.collect::<Result<_, Diagnostics>>()?;
    let levels = Levels { listener: &listener.filters, ..Levels::default() };
    let pages = filters::error_pages_of(levels, running.outside(&served));
    Ok(Table::new(router, built, terms(None), pages))
}

fn host_tls(
    listener: &model::Listener,
    host: &model::VirtualHost,
    running: Running<'_>,
    surroundings: &Surroundings<'_>,
) -> Result<HostTls, Diagnostics> {
    match (&listener.tls, &host.tls.passthrough) {
        (Some(_), Some(passed)) => {
            carriers::tunnel(&listener.name, passed, running.upstreams, surroundings).map(HostTls::Elsewhere)
        }
        (Some(_), None) | (None, _) => Ok(HostTls::Here),
    }
    .map_err(Diagnostics::from)
}

/// None where TLS of the host ends elsewhere.
fn routes_at<'m>(listener: &model::Listener, host: &'m model::VirtualHost) -> &'m [model::Route] {
    match (&listener.tls, &host.tls.passthrough) {
        (Some(_), Some(_)) => &[],
        (Some(_), None) | (None, _) => &host.routes,
    }
}

fn asks_for_certificates(model: &Model) -> bool {
    let at_host = |host: &model::VirtualHost| matches!(host.tls.client_auth, HostClientAuth::Own(_));
    let at_listener = |listener: &model::Listener| listener.tls.as_ref().is_some_and(|tls| tls.client_auth.is_some());
    model.hosts.iter().map(|host| &**host).any(at_host) || model.listeners.iter().any(at_listener)
}

fn certificate_fields(terms: &Terms, others: CertificateFields) -> CertificateFields {
    match &terms.client {
        None => others,
        Some(ClientTerms { forward: ForwardCertificate::Omit, .. }) => CertificateFields::Remove,
        Some(ClientTerms { forward: ForwardCertificate::Send, .. }) => CertificateFields::Set,
        Some(ClientTerms { forward: ForwardCertificate::SslClient(cert), .. }) => {
            CertificateFields::SetSslClient(*cert)
        }
    }
}

/// What a host's routes have in common at one listener.
struct HostPart<'m> {
    listener: &'m model::Listener,
    host: &'m model::VirtualHost,
    served: &'m Served,
    names: Arc<str>,
    terms: Arc<Terms>,
    certificate_fields: CertificateFields,
}

/// The names that hosts answer to, for whom asks.
fn served(filters: &BoundFilters<'_>, hosts: &[&model::VirtualHost]) -> Served {
    let names = hosts.iter().filter(|_| filters.ask_for_names()).flat_map(|host| &host.names);
    let exact = names.filter_map(|name| match name {
        model::HostName::Exact(name) => Some(Box::from(&**name)),
        model::HostName::Wildcard(_) | model::HostName::OneLabel(_) | model::HostName::CatchAll => None,
    });
    Arc::new(exact.collect())
}

/// Hosts as a listener's router takes them.
pub fn entries<'m>(listener: &model::Listener, hosts: &[&'m model::VirtualHost]) -> Vec<HostEntry<'m>> {
    let entry = |host: &&'m model::VirtualHost| HostEntry {
        names: &host.names,
        patterns: host.patterns,
        routes: routes_at(listener, host).iter().map(|route| &route.matches).collect(),
    };
    hosts.iter().map(entry).collect()
}

fn route(part: &HostPart<'_>, route: &model::Route, running: Running<'_>) -> Route {
    let levels = Levels { listener: &part.listener.filters, host: &part.host.filters, route: &route.filters };
    let mut chain = filters::chain(levels, running.outside(part.served));
    let action = action(route, running.upstreams, running.metrics);
    match action {
        Action::Forward(_) | Action::Split(_) => {}
        // Copied is what an upstream gets.
        Action::Redirect(_) | Action::Respond(_) | Action::Files(_) => chain.mirrors.clear(),
    }
    Route {
        name: route.name.clone(),
        origin: route.origin.clone(),
        host: part.names.clone(),
        path: route.matches.path.clone(),
        terms: part.terms.clone(),
        certificate_fields: part.certificate_fields,
        needs: needs(&chain, &action),
        action,
        chain,
        metrics: running.metrics.route(route),
    }
}

fn needs(chain: &FilterChain, action: &Action) -> Needs {
    let has_variable = |edit: &Edit| match edit {
        Edit::Remove(_) => false,
        Edit::Set(_, value)
        | Edit::Add(_, value)
        | Edit::Append(_, value)
        | Edit::SetDefault(_, value)
        | Edit::SetDefaultOnTls(_, value) => {
            matches!(value, EditValue::Template(_))
        }
    };
    let mut edits = chain.request_edits.iter().chain(&chain.response_edits).chain(&chain.success_edits);
    Needs {
        view: edits.any(has_variable)
            || chain.cache_rules.iter().any(CacheRule::regards_the_path)
            || chain.response_rewrite.is_some()
            || chain.sign_in.is_some(),
        body: chain.max_body.is_some(),
        lean: is_lean(chain, action),
    }
}

/// Whether the lean lane does all that the route asks for: to hand out what is kept, or else to send on.
fn is_lean(chain: &FilterChain, action: &Action) -> bool {
    let is_plain = chain.shared_rate_limits.is_empty()
        && chain.mirrors.is_empty()
        && chain.sign_in.is_none()
        && chain.error_pages.is_none()
        && chain.compress.is_none()
        && chain.response_rewrite.is_none()
        && chain.bandwidth.is_none();
    let counts_nobody = chain.concurrency_limits.is_empty() && chain.rate_limits.is_empty();
    let leads_to_http1 = |to: &Forward| to.upstream.definition().protocol == UpstreamProtocol::Http1;
    is_plain
        && match (action, &chain.cache) {
            // What is not kept is the full lane's, and counted there.
            (Action::Forward(_), Some(_)) => counts_nobody,
            (Action::Forward(to), None) => leads_to_http1(to),
            (Action::Split(split), None) => split.arms().iter().all(leads_to_http1),
            (Action::Split(_), Some(_)) | (Action::Redirect(_) | Action::Respond(_) | Action::Files(_), _) => false,
        }
}

fn action(route: &model::Route, upstreams: &Upstreams, metrics: &Metrics) -> Action {
    match &route.action {
        model::Action::Forward(forward) => match forward_to(forward, upstreams, metrics) {
            Some(forward) => Action::Forward(Box::new(forward)),
            None => closed(),
        },
        model::Action::Split(split) => {
            let arms: Option<_> = split.arms.iter().map(|arm| forward_to(&arm.forward, upstreams, metrics)).collect();
            arms.map_or_else(closed, |arms| Action::Split(Box::new(Split::new(split, arms))))
        }
        model::Action::Redirect(redirect) => Action::Redirect(redirect.clone()),
        model::Action::Respond(respond) => Action::Respond(Respond {
            status: respond.status,
            headers: respond.headers.iter().filter_map(|(name, value)| field(name, value)).collect(),
            body: Bytes::copy_from_slice(respond.body.as_bytes()),
        }),
        model::Action::Files(files) => Action::Files(Arc::new(Folder::new(files.clone(), &route.matches.path))),
    }
}

/// The sources resolve references; a route that lost its upstream all the same is closed, not dropped.
fn closed() -> Action {
    Action::Respond(Respond { status: 503, headers: Vec::new(), body: Bytes::new() })
}

fn forward_to(forward: &model::Forward, upstreams: &Upstreams, metrics: &Metrics) -> Option<Forward> {
    let upstream = upstreams.get(&forward.upstream)?;
    let spec = upstream.definition();
    let (own, inherited) = (&forward.timeouts, &spec.timeouts);
    Some(Forward {
        upstream: upstream.clone(),
        rewrite: forward.rewrite.path.clone(),
        query: forward.rewrite.query,
        host: forward.rewrite.host.as_deref().and_then(|host| HeaderValue::from_str(host).ok()),
        timeouts: Timeouts {
            connect: own.connect.unwrap_or(inherited.connect),
            read: own.read.unwrap_or(inherited.read),
            write: own.write.unwrap_or(inherited.write),
            request: own.request.or(inherited.request),
        },
        retry: forward.retry.clone().unwrap_or_else(|| spec.retry.clone()),
        metrics: metrics.upstream(&forward.upstream),
    })
}

/// Checked where they are read; what is no field is left out rather than sent.
fn field(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?))
}
