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
use crate::model::{Filter, FilterKind, HostClientAuth, HostName, LimitScope, Listener, Model, VirtualHost};
use crate::snapshot::Snapshot;
use crate::snapshot::router::Router;
use crate::snapshot::table::{Host, Table};
use crate::snapshot::upstream::Upstream;

/// Of one listener.
#[derive(Default)]
pub struct Known<'a> {
    table: Option<&'a Table>,
    hosts: HashMap<&'a HostName, (usize, &'a VirtualHost)>,
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
        let is_plain = host.tls.client_auth == HostClientAuth::Inherited
            && host.tls.passthrough.is_none()
            && are_plain(&host.filters)
            && host.routes.iter().all(|route| are_plain(&route.filters));
        // The source may have given the host over as it was.
        let is_same = is_plain && (std::ptr::eq(before, host) || before == host) && self.leads_to(index, standing);
        is_same.then_some(index)
    }

    /// Whether the host's upstreams are those that would be bound to it now.
    fn leads_to(&self, index: usize, standing: &Standing) -> bool {
        let Some(table) = self.table else { return false };
        let mut forwards = table.host(index).routes.iter().flat_map(|route| route.forwards());
        forwards.all(|to| standing.has(&to.upstream))
    }

    pub fn router(&self) -> Option<&'a Router> {
        self.table.map(Table::router)
    }

    pub fn host(&self, index: usize) -> Option<&'a Arc<Host>> {
        self.table.map(|table| table.host(index))
    }
}

/// The upstreams of a snapshot. One of the snapshot before that is among them is there under its name, as it was.
pub struct Standing(HashSet<*const Upstream>);

impl Standing {
    pub fn of(upstreams: &Upstreams) -> Self {
        Self(upstreams.values().map(Arc::as_ptr).collect())
    }

    fn has(&self, upstream: &Arc<Upstream>) -> bool {
        self.0.contains(&Arc::as_ptr(upstream))
    }
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
