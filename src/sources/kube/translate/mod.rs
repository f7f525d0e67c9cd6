//! From the cluster to the model: pure, and the same answer for the same objects.
//!
//! ```text
//! ClusterState ──class──► our Ingresses, the oldest first ──► hosts and their locations ──► Model
//!   Settings  ──────────► options                                 │ conflicts, what is wrong
//!                                                                 └──► Events · Diagnostics
//! ```
//!
//! What cannot be used of an object is left out and reported; the rest of it, and every other object, is served. Where what was left
//! out protects a route, the route answers 503.

mod auth;
mod backend;
mod canary;
mod certificate;
mod class;
mod context;
mod cors;
mod endpoints;
mod host;
mod limits;
mod listener;
mod material;
mod mirror;
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

pub use class::{age, is_ours, ours};
pub use endpoints::Listings;
pub use material::Material;
pub use report::{Event, ObjectKind, ObjectReference, Reason};
pub use review::{Claims, Review, review};
pub use settings::*;

use context::Context;
use report::Report;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::diagnostics::Diagnostics;
use crate::model::{ListenerName, Model, Process};
use crate::sources::kube::options::{self, Options};
use crate::sources::kube::state::{ClusterState, ObjectKey, PublishedAddress};

/// Everything that follows from the cluster as it is.
#[derive(Clone, Debug)]
pub struct Translation {
    pub model: Model,
    pub material: Material,
    /// What the model's lists of endpoints hold.
    pub listings: Listings,
    /// Sorted; equal ones once.
    pub events: Vec<Event>,
    /// Warnings alone: whatever a cluster holds, there is a model to serve.
    pub diagnostics: Diagnostics,
    /// For every Ingress that is ours.
    pub statuses: Vec<Status>,
    /// Whom to tell where a port cannot be listened on.
    pub stream_owners: Vec<(ListenerName, ObjectReference)>,
    /// What was looked for in Secrets, there or not: nothing else needs to be watched or kept of them.
    pub secrets: BTreeSet<ObjectKey>,
}

/// What the status of an Ingress should show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub ingress: ObjectKey,
    pub addresses: Arc<[PublishedAddress]>,
}

pub fn translate(state: &ClusterState, settings: &Settings) -> Translation {
    let mut report = Report::default();
    let options = options(state, settings, &mut report);
    let mut cx = Context::new(state, settings, &options, report);
    let ours = class::ours(state, &settings.class);
    let prepared: Vec<_> = ours.iter().map(|ingress| prepare::prepare(&mut cx, ingress)).collect();
    let servers = server::lay_out(&mut cx, &prepared);
    let canaries = canary::find(&mut cx, &servers, &prepared);
    let hosts = host::hosts(&mut cx, &servers, &canaries);
    let certificates = certificate::certificates(&mut cx, &servers);
    let streams = streams::streams(&mut cx);
    let Context { report, material, secrets, upstreams, others, .. } = cx;
    let (events, diagnostics) = report.finish();
    let (upstreams, listings) = upstreams.finish();
    Translation {
        model: Model {
            process: process(settings, &options),
            listeners: listener::listeners(settings, &options),
            tcp_listeners: streams.tcp,
            udp_listeners: streams.udp,
            certificates,
            acme: None,
            hosts,
            upstreams: upstreams.into_iter().chain(others.into_values()).collect(),
            cache_stores: Vec::new(),
        },
        material,
        listings,
        events,
        diagnostics,
        statuses: status::statuses(state, settings, &ours),
        stream_owners: streams.owners,
        secrets,
    }
}

/// Of the ConfigMap, where there is one.
fn options(state: &ClusterState, settings: &Settings, report: &mut Report) -> Options {
    let Some(key) = &settings.config_map else { return Options::default() };
    let Some(map) = state.config_maps.get(key) else {
        report.note(
            report::origin(ObjectKind::ConfigMap, key),
            "",
            format!("there is no ConfigMap {key}; the defaults hold"),
        );
        return Options::default();
    };
    let (options, findings) = options::read(&map.data);
    for options::Finding { key, message } in findings {
        let object = ObjectReference { kind: ObjectKind::ConfigMap, key: map.key.clone(), uid: map.uid.clone() };
        report.warn_of(object, Reason::InvalidOption, format!("data[{key}]"), message);
    }
    options
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
