//! The first step of a lookup: the host whose most specific name covers the request's.
//!
//! ```text
//! x.y.example.org ──► exact? ──► one label below y.example.org? ──► *.y.example.org? ──► *.example.org? ──► *.org? ──► *
//! ```

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use crate::model::HostName;

use super::HostEntry;

type Names = HashMap<Arc<str>, NameId, foldhash::fast::RandomState>;

/// A name in a [`HostTable`], and the host it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NameId {
    name: u32,
    host: u32,
}

impl NameId {
    pub fn host(self) -> usize {
        self.host as usize
    }
}

#[derive(Default)]
pub(super) struct HostTable {
    exact: Names,
    wildcard: Names,
    one_label: Names,
    /// How many labels the deepest wildcard has: what a hostile host of 127 labels may cost.
    deepest_wildcard: usize,
    catch_all: Option<NameId>,
    /// Every name as it was given, for explanations.
    names: Vec<(HostName, NameId)>,
}

impl HostTable {
    pub fn build(hosts: &[HostEntry<'_>]) -> Self {
        let mut table = Self::default();
        table.exact.reserve(hosts.len());
        table.names.reserve(hosts.len());
        let named = hosts.iter().zip(0..).flat_map(|(entry, host)| entry.names.iter().map(move |name| (name, host)));
        for ((name, host), index) in named.zip(0..) {
            let id = NameId { name: index, host };
            table.names.push((name.clone(), id));
            match name {
                HostName::Exact(text) => {
                    table.exact.entry(text.clone()).or_insert(id);
                }
                HostName::Wildcard(text) => {
                    table.deepest_wildcard = table.deepest_wildcard.max(text.split('.').count());
                    table.wildcard.entry(text.clone()).or_insert(id);
                }
                HostName::OneLabel(text) => {
                    table.one_label.entry(text.clone()).or_insert(id);
                }
                HostName::CatchAll => {
                    table.catch_all.get_or_insert(id);
                }
            }
        }
        table
    }

    pub fn find(&self, host: &str) -> Option<NameId> {
        let one_label = || self.one_label.get(parent_of(host)?).copied();
        self.exact.get(host).copied().or_else(one_label).or_else(|| self.find_wildcard(host)).or(self.catch_all)
    }

    fn find_wildcard(&self, host: &str) -> Option<NameId> {
        let (before, _) = host.rmatch_indices('.').take(self.deepest_wildcard).last()?;
        let mut suffix = &host[before + 1..];
        loop {
            if let Some(id) = self.wildcard.get(suffix) {
                return Some(*id);
            }
            (_, suffix) = suffix.split_once('.')?;
        }
    }

    /// The names that cover `host` or nearly do, most specific first.
    pub fn candidates(&self, host: &str) -> Vec<Candidate<'_>> {
        let candidate = |(name, id): &'_ (HostName, NameId)| Some((coverage(name, host)?, *id));
        let mut found: Vec<_> = self.names.iter().filter_map(candidate).collect();
        found.sort_by_key(|(coverage, id)| (*coverage, id.name));
        let name = |id: NameId| &self.names[id.name as usize].0;
        found.into_iter().map(|(coverage, id)| Candidate { name: name(id), id, coverage }).collect()
    }
}

pub(super) struct Candidate<'t> {
    pub name: &'t HostName,
    pub id: NameId,
    pub coverage: Coverage,
}

/// How a name covers a host, most specific first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Coverage {
    Exact,
    OneLabel,
    Wildcard(Reverse<usize>),
    CatchAll,
    /// `*.example.org` and the host `example.org`: not covered, but easily thought so.
    LabelMissing,
}

fn coverage(name: &HostName, host: &str) -> Option<Coverage> {
    match name {
        HostName::Exact(text) => (**text == *host).then_some(Coverage::Exact),
        HostName::Wildcard(text) => match host.strip_suffix(&**text)? {
            "" => Some(Coverage::LabelMissing),
            before => before.ends_with('.').then_some(Coverage::Wildcard(Reverse(text.len()))),
        },
        HostName::OneLabel(text) if **text == *host => Some(Coverage::LabelMissing),
        HostName::OneLabel(text) => (parent_of(host) == Some(text)).then_some(Coverage::OneLabel),
        HostName::CatchAll => Some(Coverage::CatchAll),
    }
}

/// What stands after the first label, where there is one.
fn parent_of(host: &str) -> Option<&str> {
    host.split_once('.').filter(|(label, _)| !label.is_empty()).map(|(_, parent)| parent)
}
