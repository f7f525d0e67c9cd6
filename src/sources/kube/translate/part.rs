//! What some Ingresses come to, by themselves: a part of the model, and what was looked at for it.
//!
//! ```text
//! Ingresses ──prepare──► ──lay out──► hosts, upstreams, certificates, Events ──► Part
//!                │
//!                └── every Service, Secret and ConfigMap that was looked for: while they stay, so does the part
//! ```

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::backend::Backend;
use super::context::{Context, Patterns, Scene};
use super::endpoints::Listings;
use super::report::{Event, Report};
use super::streams::Streams;
use super::{canary, certificate, host, prepare, server, streams};
use crate::diagnostics::Diagnostic;
use crate::model::{Certificate, HostName, Upstream, UpstreamName, VirtualHost};
use crate::sources::kube::state::{Ingress, ObjectKey, SecretBytes};

pub struct Part {
    pub hosts: Vec<(HostPlace, VirtualHost)>,
    pub upstreams: Vec<(UpstreamPlace, Upstream)>,
    pub certificates: Vec<((ObjectKey, HostName), Certificate)>,
    pub material: Vec<(PathBuf, SecretBytes)>,
    pub listings: Listings,
    pub events: Vec<Event>,
    pub findings: Vec<Diagnostic>,
    /// Of the main part alone.
    pub main: Option<Main>,
    pub looked_at: LookedAt,
}

/// What belongs to no Ingress.
#[derive(Default)]
pub struct Main {
    pub default_certificate: Option<Certificate>,
    pub streams: Streams,
}

/// Which part has the catch-all host, the default certificate, and the TCP and UDP services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Main,
    Other,
}

/// Where a host stands among all: each by its name, and what leads there from its other form right after it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPlace {
    pub name: HostName,
    pub form: HostForm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostForm {
    Own,
    Other,
}

/// Those of Services before the others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UpstreamPlace {
    OfService(Backend, UpstreamName),
    Other(Arc<str>),
}

/// Objects that were looked for, there or not.
#[derive(Clone, Debug, Default)]
pub struct LookedAt {
    pub services: Vec<ObjectKey>,
    pub secrets: Vec<ObjectKey>,
    pub config_maps: Vec<ObjectKey>,
}

/// `ingresses`: the oldest first. `report`: what was found before.
pub fn part(
    scene: &Scene<'_>,
    patterns: &mut Patterns,
    ingresses: &[&Arc<Ingress>],
    role: Role,
    report: Report,
) -> Part {
    let mut cx = Context::new(scene, patterns, report);
    let prepared: Vec<_> = ingresses.iter().map(|ingress| prepare::prepare(&mut cx, ingress)).collect();
    let servers = server::lay_out(&mut cx, &prepared, role);
    let canaries = canary::find(&mut cx, &servers, &prepared);
    let hosts = host::hosts(&mut cx, &servers, &canaries);
    let certificates = certificate::certificates(&mut cx, &servers);
    let main = (role == Role::Main).then(|| Main {
        default_certificate: certificate::default_certificate(&mut cx),
        streams: streams::streams(&mut cx),
    });
    let Context { report, material, secrets, config_maps, upstreams, others, .. } = cx;
    let (events, diagnostics) = report.finish();
    let (of_services, listings, services) = upstreams.finish();
    let others = others.into_iter().map(|(name, upstream)| (UpstreamPlace::Other(name), upstream));
    let listed = |keys: BTreeSet<ObjectKey>| keys.into_iter().collect();
    Part {
        hosts,
        upstreams: of_services
            .into_iter()
            .map(|(backend, upstream)| (UpstreamPlace::OfService(backend, upstream.name.clone()), upstream))
            .chain(others)
            .collect(),
        certificates,
        material: material.into_entries(),
        listings,
        events,
        findings: diagnostics.into_iter().collect(),
        main,
        looked_at: LookedAt { services: listed(services), secrets: listed(secrets), config_maps: listed(config_maps) },
    }
}
