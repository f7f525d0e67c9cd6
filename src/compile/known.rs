//! Hosts that are compiled already: of thousands few change, and what did not is taken over as it is.
//!
//! ```text
//! the snapshot before ──by name──► the host as it was ──same definition, same upstreams──► its routes and their index
//! ```
//!
//! What is made of more than that (passwords, tokens, pages, authorities) is made anew.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Upstreams, asks_for_certificates, hosts_of};
use crate::model::{
    self, Filter, FilterKind, HostClientAuth, HostName, LimitScope, Listener, Model, Reused, UpstreamName, VirtualHost,
};
use crate::snapshot::Snapshot;
use crate::snapshot::router::Router;
use crate::snapshot::table::{Host, MadeOf, Table};
use crate::snapshot::upstream::Upstream;

/// Of one listener.
#[derive(Default)]
pub struct Known<'a> {
    table: Option<&'a Table>,
    hosts: HashMap<&'a HostName, (usize, &'a VirtualHost), foldhash::fast::RandomState>,
}

impl<'a> Known<'a> {
    /// Nothing where the listener is another than before, or has what hosts are bound to beside their own.
    pub fn of(listener: &Listener, model: &Model, previous: Option<&'a Snapshot>) -> Self {
        let same = previous.and_then(|previous| {
            let before = previous.model.listeners.iter().find(|before| *before == listener)?;
            let is_same = asks_for_certificates(&previous.model) == asks_for_certificates(model)
                && listener.tls.as_ref().is_none_or(|tls| tls.client_auth.is_none())
                && are_plain(&listener.filters);
            Some((hosts_of(&previous.model, before), previous.tables.get(&before.name)?)).filter(|_| is_same)
        });
        let Some((hosts, table)) = same else { return Self::default() };
        let named =
            hosts.into_iter().enumerate().filter_map(|(index, host)| Some((host.names.first()?, (index, host))));
        Self { table: Some(table), hosts: named.collect() }
    }

    /// Where the host stands in the table before, if it can be taken from there.
    pub fn find(&self, host: &VirtualHost, standing: &Standing) -> Option<usize> {
        let (index, before) = *self.hosts.get(host.names.first()?)?;
        // The source may have given the host over as it was.
        let is_unchanged = std::ptr::eq(before, host) || before == host;
        let compiled = self.table?.host(index);
        let is_same = is_unchanged && compiled.made_of == MadeOf::ItsDefinition && standing.have_all_of(compiled);
        is_same.then_some(index)
    }

    pub fn router(&self) -> Option<&'a Router> {
        self.table.map(Table::router)
    }

    pub fn host(&self, index: usize) -> Option<&'a Arc<Host>> {
        self.table.map(|table| table.host(index))
    }
}

/// The upstreams of the snapshot before.
#[derive(Default)]
pub struct KnownUpstreams<'a> {
    by_name: Option<&'a Upstreams>,
    /// Of thousands few change: those whose definition is the very same need no name to be found by.
    by_definition: HashMap<*const model::Upstream, &'a Arc<Upstream>, foldhash::fast::RandomState>,
}

impl<'a> KnownUpstreams<'a> {
    pub fn of(previous: Option<&'a Snapshot>) -> Self {
        let Some(previous) = previous else { return Self::default() };
        let by_definition = previous.upstreams.values().map(|upstream| (&raw const **upstream.definition(), upstream));
        Self { by_name: Some(&previous.upstreams), by_definition: by_definition.collect() }
    }

    /// The one of this definition.
    pub fn same(&self, definition: &Reused<model::Upstream>) -> Option<&'a Arc<Upstream>> {
        let very_same = self.by_definition.get(&(&raw const **definition)).copied();
        very_same.or_else(|| self.named(&definition.name).filter(|known| known.definition() == definition))
    }

    pub fn named(&self, name: &UpstreamName) -> Option<&'a Arc<Upstream>> {
        self.by_name?.get(name)
    }
}

/// What became of the upstreams of the snapshot before.
pub struct Standing {
    /// Those that are not there any more, or others under the same name. Mostly none.
    lost: HashSet<*const Upstream>,
}

impl Standing {
    pub fn of(upstreams: &Upstreams, previous: Option<&Snapshot>) -> Self {
        let now: Pointers = upstreams.values().map(Arc::as_ptr).collect();
        let before = previous.into_iter().flat_map(|previous| previous.upstreams.values()).map(Arc::as_ptr);
        Self { lost: before.filter(|upstream| !now.contains(upstream)).collect() }
    }

    /// Whether the host's upstreams are those that would be bound to it now.
    fn have_all_of(&self, host: &Host) -> bool {
        let mut forwards = host.routes.iter().flat_map(|route| route.forwards());
        self.lost.is_empty() || forwards.all(|to| !self.lost.contains(&Arc::as_ptr(&to.upstream)))
    }
}

type Pointers = HashSet<*const Upstream, foldhash::fast::RandomState>;

/// What a host is compiled from.
pub fn made_of(host: &VirtualHost) -> MadeOf {
    let is_plain = host.tls.client_auth == HostClientAuth::Inherited
        && host.tls.passthrough.is_none()
        && are_plain(&host.filters)
        && host.routes.iter().all(|route| are_plain(&route.filters));
    if is_plain { MadeOf::ItsDefinition } else { MadeOf::More }
}

/// Whether what these become depends on nothing but themselves, and on what goes on under their names.
fn are_plain(filters: &[Filter]) -> bool {
    filters.iter().all(|filter| match &filter.kind {
        FilterKind::Allow(_)
        | FilterKind::Deny(_)
        | FilterKind::Cors(_)
        | FilterKind::HttpsRedirect(_)
        | FilterKind::AppRoot(_)
        | FilterKind::TrailingSlash(_)
        | FilterKind::ConcurrencyLimit(_)
        | FilterKind::MaxBodySize(_)
        | FilterKind::Cache(_)
        | FilterKind::CacheHeaders(_)
        | FilterKind::Compress(_)
        | FilterKind::SecurityHeaders(_)
        | FilterKind::Headers(_)
        | FilterKind::Bandwidth(_)
        | FilterKind::RequestBuffering(_)
        | FilterKind::Satisfy(_)
        | FilterKind::ResponseRewrite(_)
        | FilterKind::AccessLog(_)
        | FilterKind::Conditions(_) => true,
        FilterKind::RateLimit(limit) => limit.scope == LimitScope::Process,
        FilterKind::Jwt(_)
        | FilterKind::BasicAuth(_)
        | FilterKind::ForwardAuth(_)
        | FilterKind::ErrorPages(_)
        | FilterKind::Mirror(_)
        | FilterKind::WwwRedirect(_) => false,
    })
}
