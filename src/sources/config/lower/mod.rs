//! From shapes to the model: fills in defaults, resolves names, and finds what single values cannot tell.
//!
//! ```text
//! File ──► process, listeners, certificates, upstreams ──► hosts (by the names of the others) ──► Model
//!   └────► Findings
//! ```
//!
//! It goes on after every fault with whatever stands in for the faulty part, so that the rest can be examined all the
//! same; of what cannot be told for sure, nothing stands there. What was reported while decoding (`Field::Wrong`) is not
//! reported again.

mod acme;
mod bandwidth;
mod basic_auth;
mod buffering;
mod cache;
mod cache_headers;
mod certificate;
mod client_auth;
mod compress;
mod cors;
mod error_pages;
mod files;
mod filter;
mod forward_auth;
mod headers;
mod health;
mod host;
mod jwt;
mod limit;
mod listener;
mod mirror;
mod names;
mod process;
mod redirect;
mod response_rewrite;
mod retry;
mod rewrite;
mod route;
mod split;
mod tunnel;
mod upstream;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::decode::Field;
use super::findings::{Findings, Place};
use super::shapes;
use super::tree::{Document, NodeId};
use crate::model::{Extent, Model, Reused, Upstream};
use certificate::{Authority, Challengeable};
use limit::{Counting, SharedLimits};
use names::Names;

/// What could be understood of a file. Where there are errors it is less than was written: to be examined for more of
/// them, never to be served.
#[derive(Debug)]
pub struct Understood {
    pub model: Model,
    /// Whether the model has every host, on every listener it was meant for.
    pub hosts: Extent,
    pub certificates: Extent,
}

/// With every file that is named and read. `folder` is where relative paths begin.
pub fn lower(mut file: shapes::File, findings: &Findings, folder: &Path) -> (Understood, BTreeSet<PathBuf>) {
    let listener_names = Names::of("listener", &file.listeners);
    let upstream_names = Names::of("upstream", &file.upstreams);
    let cx = Lowering {
        findings,
        upstreams: &upstream_names,
        folder,
        files: RefCell::default(),
        limits: RefCell::default(),
        services: RefCell::default(),
        counting: Counting::of(findings, &file),
        carriers: RefCell::default(),
        carried: RefCell::default(),
        stores: Names::of("cache-store", &file.cache_stores),
        hosts: Cell::default(),
        certificates: certificate::extent(findings, &file.certificates).into(),
    };
    check_top(&cx, &file);

    let process = process::process(&cx, &mut file);
    let listeners_extent = match file.listeners {
        Field::Given(..) => Extent::Whole,
        Field::Wrong(_) | Field::Absent => Extent::Partial,
    };
    let listeners =
        listener::listeners(&cx, file.listeners, certificate::are_named(&cx, &file.certificates, &file.acme));
    listener::check_addresses(&cx, &listeners, process.admin.as_ref());
    let answering = Challengeable::of(listeners.http.iter().map(|(_, listener)| listener), listeners_extent);
    let acme_was_written = file.acme.key().is_some() || cx.findings.is_misspelled(Document::ROOT, "acme");
    let acme = acme::acme(&cx, file.acme, answering);
    let authority = match (&acme, acme_was_written) {
        (Some(acme), _) => Authority::Named(acme),
        (None, true) => Authority::Unreadable,
        (None, false) => Authority::Missing,
    };
    let certificates = certificate::certificates(&cx, file.certificates, authority, answering);
    let upstreams = upstream::upstreams(&cx, file.upstreams, &listeners.http);
    let scope = route::Scope { upstream_names: &upstream_names, upstreams: &upstreams };
    let hosts = host::hosts(&cx, file.hosts, &listener_names, &scope);
    tunnel::check_upstreams(&cx, &upstreams);
    upstream_names.report_unused(&cx);
    let cache_stores = cache::cache_stores(&cx, file.cache_stores);

    let mut upstreams = upstreams.into_values();
    upstreams.append(&mut cx.services.borrow_mut());
    let model = Model {
        process,
        listeners: listeners.http.into_iter().map(|(_, listener)| listener).collect(),
        tcp_listeners: listeners.tcp.into_iter().map(|(_, listener)| listener).collect(),
        udp_listeners: listeners.udp.into_iter().map(|(_, listener)| listener).collect(),
        certificates,
        acme,
        hosts: hosts.into_iter().map(Reused::from).collect(),
        upstreams: upstreams.into_iter().map(Reused::from).collect(),
        cache_stores,
    };
    (Understood { model, hosts: cx.hosts.get(), certificates: cx.certificates.get() }, cx.files.into_inner())
}

fn check_top(cx: &Lowering, file: &shapes::File) {
    let top = Document::ROOT;
    if matches!(file.listeners, Field::Absent) {
        let message = "\"listeners\" is missing, so that nothing would be served";
        cx.missing(top, &["listeners"], message, "write listeners: { http: { address: \":80\" } }");
    }
    if matches!(file.hosts, Field::Absent) && serves_requests(file) && !cx.findings.is_misspelled(top, "hosts") {
        let message = "\"hosts\" is missing, so that every request is answered 404";
        cx.warning(top.value(), message, "write hosts: [{ names: [\"*\"], routes: […] }]");
    }
}

/// Whether some listener is of HTTP; what could not be read counts.
fn serves_requests(file: &shapes::File) -> bool {
    let is_carrier = |listener: &Field<shapes::Listener>| match listener {
        Field::Given(_, listener) => listener.tcp.key().or(listener.udp.key()).is_some(),
        Field::Wrong(_) | Field::Absent => false,
    };
    match &file.listeners {
        Field::Given(_, listeners) if !listeners.0.is_empty() => {
            !listeners.0.iter().all(|(_, field)| is_carrier(field))
        }
        Field::Given(..) | Field::Wrong(_) | Field::Absent => true,
    }
}

/// What every part of lowering needs.
pub(super) struct Lowering<'a> {
    findings: &'a Findings<'a>,
    /// Filters name some, too.
    upstreams: &'a Names,
    folder: &'a Path,
    files: RefCell<BTreeSet<PathBuf>>,
    limits: RefCell<SharedLimits>,
    /// Upstreams that were made of URLs.
    services: RefCell<Vec<Upstream>>,
    counting: Counting,
    /// Names of listeners that carry connections or datagrams.
    carriers: RefCell<BTreeSet<String>>,
    carried: RefCell<Vec<tunnel::Carried>>,
    stores: Names,
    hosts: Cell<Extent>,
    certificates: Cell<Extent>,
}

impl Lowering<'_> {
    fn error(&self, place: Place, message: impl Into<String>) {
        self.findings.report(self.findings.error(place, message));
    }

    fn error_with(&self, place: Place, message: impl Into<String>, help: impl Into<String>) {
        self.findings.report(self.findings.error(place, message).help(help));
    }

    fn warning(&self, place: Place, message: impl Into<String>, help: impl Into<String>) {
        self.findings.report(self.findings.warning(place, message).help(help));
    }

    /// The value of a key that must be there.
    fn required<T>(&self, field: Field<T>, parent: NodeId, key: &str, example: &str) -> Option<(NodeId, T)> {
        if matches!(field, Field::Absent) {
            self.missing(parent, &[key], format!("\"{key}\" is missing"), format!("write {example}"));
        }
        field.given()
    }

    /// Whether one of these keys of `parent` seems to stand there under another name.
    fn is_one_misspelled(&self, parent: NodeId, keys: &[&str]) -> bool {
        keys.iter().any(|key| self.findings.is_misspelled(parent, key))
    }

    /// Reports missing keys at their parent, unless one of them is there under a misspelled name.
    fn missing(&self, parent: NodeId, keys: &[&str], message: impl Into<String>, help: impl Into<String>) {
        if !self.is_one_misspelled(parent, keys) {
            self.error_with(parent.key(), message, help);
        }
    }

    /// Reports every key but the first that stands where only one may. Says how many there are.
    fn only_one(&self, keys: &[(&str, Option<Place>)]) -> usize {
        let written: Vec<_> = keys.iter().filter_map(|(key, place)| place.map(|place| (key, place))).collect();
        let Some(((first, _), others)) = written.split_first() else { return 0 };
        for (key, place) in others {
            self.error_with(
                *place,
                format!("\"{key}\" cannot stand beside \"{first}\""),
                format!("keep one of {}", keys.iter().map(|(key, _)| *key).collect::<Vec<_>>().join(", ")),
            );
        }
        written.len()
    }

    /// A file that is read: relative paths begin at the folder of the configuration.
    fn file(&self, path: PathBuf) -> PathBuf {
        let path = self.path(path);
        self.files.borrow_mut().insert(path.clone());
        path
    }

    /// A file that is not read, so that its changes mean nothing.
    fn path(&self, path: PathBuf) -> PathBuf {
        self.folder.join(path)
    }
}
