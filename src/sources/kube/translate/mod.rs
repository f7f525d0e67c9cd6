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

mod backend;
mod class;
mod host;
mod listener;
mod material;
mod report;
mod settings;
mod status;

pub use material::Material;
pub use report::{Event, ObjectKind, ObjectReference, Reason};
pub use settings::*;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::diagnostics::Diagnostics;
use crate::model::Model;
use crate::sources::kube::state::{ClusterState, ObjectKey, PublishedAddress};

/// Everything that follows from the cluster as it is.
#[derive(Clone, Debug)]
pub struct Translation {
    pub model: Model,
    pub material: Material,
    /// Sorted; equal ones once.
    pub events: Vec<Event>,
    /// Warnings alone: whatever a cluster holds, there is a model to serve.
    pub diagnostics: Diagnostics,
    /// For every Ingress that is ours.
    pub statuses: Vec<Status>,
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
    let mut report = report::Report::default();
    let ours = class::ours(state, &settings.class);
    let mut upstreams = backend::Upstreams::new(state);
    let hosts = host::hosts(&ours, &mut upstreams, &mut report);
    let model = Model {
        process: settings.process.clone(),
        listeners: listener::listeners(settings),
        certificates: Vec::new(),
        acme: None,
        hosts,
        upstreams: upstreams.into_values(),
        cache_stores: Vec::new(),
    };
    let (events, diagnostics) = report.finish();
    Translation {
        model,
        material: Material::default(),
        events,
        diagnostics,
        statuses: status::statuses(state, settings, &ours),
        secrets: BTreeSet::new(),
    }
}
