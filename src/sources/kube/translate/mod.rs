//! From the cluster to the model: pure, and the same answer for the same objects.
//!
//! ```text
//! ClusterState ──class──► our Ingresses, the oldest first ──► hosts and their locations ──► Part ──► Model
//!   Settings  ──────────► options                                 │ conflicts, what is wrong
//!                                                                 └──► Events · Diagnostics
//! ```
//!
//! [`translate`] makes one part of all. A [`Translator`] makes one of each island, whose Ingresses have nothing to do with any
//! other, and takes over what a change does not concern.
//!
//! What cannot be used of an object is left out and reported; the rest of it, and every other object, is served. Where what was left
//! out protects a route, the route answers 503.

mod auth;
mod backend;
mod canary;
mod certificate;
mod changes;
mod class;
mod common;
mod context;
mod cors;
mod endpoints;
mod glance;
mod host;
mod island;
mod last_usable;
mod limits;
mod listener;
mod material;
mod mirror;
mod part;
mod passthrough;
mod prepare;
mod report;
mod review;
mod route;
mod server;
mod settings;
mod snippets;
mod status;
mod streams;
mod tally;
mod translator;
mod whole;

pub use class::{age, is_ours, ours};
pub use last_usable::LastUsable;
pub use material::Material;
pub use report::{Event, Findings, ObjectKind, ObjectReference, Reason};
pub use review::{Claims, Review, review};
pub use settings::*;
pub use translator::Translator;

use common::{Common, read_options};
use context::{Patterns, Scene};
use endpoints::Slices;
use glance::Glance;
use part::{Role, part};
use report::Report;
use whole::Whole;

use std::sync::Arc;

use crate::diagnostics::Diagnostics;
use crate::model::{EndpointLists, ListenerName, Model, Process};
use crate::sources::kube::options::Options;
use crate::sources::kube::state::{ClusterState, ObjectKey, PublishedAddress};

/// Everything that follows from the cluster as it is.
#[derive(Clone, Debug)]
pub struct Translation {
    pub model: Model,
    pub material: Material,
    /// What the model's lists of endpoints hold.
    pub lists: EndpointLists,
    /// Sorted; equal ones once.
    pub events: Vec<Event>,
    /// Warnings alone: whatever a cluster holds, there is a model to serve.
    pub diagnostics: Diagnostics,
    /// For every Ingress that is ours.
    pub statuses: Vec<Status>,
    /// Whom to tell where a port cannot be listened on.
    pub stream_owners: Vec<(ListenerName, ObjectReference)>,
}

impl Translation {
    /// What was found before it began.
    pub fn tell(&mut self, found: Findings) {
        self.events.extend(found.events);
        self.events.sort();
        self.diagnostics.extend(found.diagnostics);
        self.diagnostics = std::mem::take(&mut self.diagnostics).sorted();
    }
}

/// What the status of an Ingress should show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub ingress: ObjectKey,
    pub addresses: Arc<[PublishedAddress]>,
}

/// Without regard to any state before.
pub fn translate(state: &ClusterState, settings: &Settings) -> Translation {
    let mut report = Report::default();
    let options = read_options(state, settings, &mut report);
    let ours = class::ours(state, &settings.class);
    let glances: Vec<_> = ours.iter().map(|ingress| Glance::of(ingress, &settings.annotations_prefix)).collect();
    let common = Common::of(glances.iter());
    let slices = Slices::of(state, |_| true);
    let scene = Scene { state, settings, options: &options, common: &common, slices };
    let mut whole = Whole::default();
    whole.add(part(&scene, &mut Patterns::default(), &ours, Role::Main, report));
    let statuses = status::statuses(state, settings, ours.iter().map(|ingress| &ingress.key));
    put_together(&whole, settings, &options, statuses)
}

fn put_together(whole: &Whole, settings: &Settings, options: &Options, statuses: Vec<Status>) -> Translation {
    let streams = &whole.main().streams;
    Translation {
        model: Model {
            process: process(settings, options),
            listeners: listener::listeners(settings, options),
            tcp_listeners: streams.tcp.clone(),
            udp_listeners: streams.udp.clone(),
            certificates: whole.certificates(),
            acme: None,
            hosts: whole.hosts(),
            upstreams: whole.upstreams(),
            cache_stores: Vec::new(),
        },
        material: whole.material().collect(),
        lists: whole.lists(),
        events: whole.events(),
        diagnostics: whole.diagnostics(),
        statuses,
        stream_owners: streams.owners.clone(),
    }
}

fn process(settings: &Settings, options: &Options) -> Process {
    let mut process = settings.process.clone();
    if options.forwarded.use_headers || options.forwarded.real_ip {
        process.trusted_proxies = options.forwarded.trusted.clone();
    }
    if !options.access_log {
        process.access_log = None;
    }
    process
}
