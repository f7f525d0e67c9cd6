//! A configuration that could be put in force: a model, and everything that it names, read and laid side by side.
//!
//! ```text
//! file, cluster ──sources──► Model ──┐
//! what it names (Material) ──tls, …──┼──► Candidate { model, certificates, upstream TLS, clients' authorities, users, Redis, diagnostics }
//! file:                       lint ──┘        `weir check` shows it · start and reload apply it
//! ```
//!
//! An error in a file refuses it as a whole. A cluster has many authors: what one of them got wrong is left out, and reported.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::acme;
use crate::cache::Stores;
use crate::compile::{self, Surroundings};
use crate::diagnostics::{Diagnostic, Diagnostics, Origin, Severity};
use crate::error_pages::{self, PageFiles};
use crate::files;
use crate::jwks;
use crate::material::Material;
use crate::model::{
    Certificate, CertificateSource, EndpointLists, Extent, HostName, ListenerName, Model, UpstreamName,
};
use crate::passwords::{self, UserFiles};
use crate::shared_counts;
use crate::snapshot::Snapshot;
use crate::snapshot::upstream::PeerTemplate;
use crate::sources::config::{self, SourceText, Understood};
use crate::sources::kube::translate::Translation;
use crate::telemetry::metrics::Metrics;
use crate::tls::{
    self, CertificateName, ClientRootFiles, LoadedCertificate, RememberedCertificates, UpstreamTlsMaterial,
};
use crate::tokens::{self, KeyFiles};

/// Who wrote a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authors {
    /// It is one piece: it counts as a whole, when all of it is ready.
    One,
    /// Nobody waits for what another one got wrong.
    Many,
}

pub struct Candidate {
    pub authors: Authors,
    /// What the model's lists of endpoints hold.
    pub lists: EndpointLists,
    /// What could be understood of the file; where there are errors, less than all.
    understood: Option<Arc<Model>>,
    pub certificates: Vec<Arc<LoadedCertificate>>,
    pub upstream_tls: Arc<BTreeMap<UpstreamName, UpstreamTlsMaterial>>,
    client_roots: Arc<ClientRootFiles>,
    /// Whom an ACME authority's own certificate is verified against, beside the system's.
    acme_roots: acme::Roots,
    users: Arc<UserFiles>,
    pages: Arc<PageFiles>,
    keys: Arc<KeyFiles>,
    /// How Redis is reached.
    redis: Option<Arc<shared_counts::Settings>>,
    pub diagnostics: Diagnostics,
    pub source: SourceText,
    /// The file and every file that it names.
    pub files: Vec<PathBuf>,
}

/// What the next candidate is laid beside.
pub struct InForce {
    text: Box<str>,
    model: Option<Arc<Model>>,
    upstream_tls: Arc<BTreeMap<UpstreamName, UpstreamTlsMaterial>>,
    client_roots: Arc<ClientRootFiles>,
    acme_roots: acme::Roots,
    users: Arc<UserFiles>,
    pages: Arc<PageFiles>,
    keys: Arc<KeyFiles>,
    redis: Option<Arc<shared_counts::Settings>>,
    pub certificates: Vec<Arc<LoadedCertificate>>,
    pub files: Vec<PathBuf>,
}

impl Candidate {
    /// Blocks on files.
    pub fn load(file: &Path) -> Self {
        let loaded = config::load(file);
        let mut candidate = Self::empty(Authors::One, loaded.source);
        (candidate.diagnostics, candidate.files) = (loaded.diagnostics, loaded.files);
        if let Some(understood) = loaded.understood {
            candidate.read_named_files(&understood);
            candidate.understood = Some(Arc::new(understood.model));
        }
        candidate.diagnostics = candidate.diagnostics.sorted();
        candidate
    }

    /// What a cluster holds. Nothing in it refuses the whole.
    pub fn of_cluster(translation: Translation, certificates: &mut RememberedCertificates) -> Self {
        let Translation { mut model, material, lists, diagnostics, .. } = translation;
        let material = Material::Brought(material.into_contents());
        let mut candidate = Self::empty(Authors::Many, SourceText::new("cluster", ""));
        candidate.lists = lists;
        let mut found = diagnostics;
        let (certificates, unusable) = certificates.load(&model.certificates, &material, SystemTime::now());
        found.extend(unusable);
        let (upstream_tls, unusable) = tls::load_upstreams(&model.upstreams, &material);
        found.extend(unusable);
        let (client_roots, unusable) = tls::load_client_roots(&model, &material);
        found.extend(unusable);
        let (users, unusable) = passwords::load_users(&model, &material);
        found.extend(unusable);
        // Its routes are closed: it must not be spoken to with less than was asked for.
        model.upstreams.retain(|upstream| {
            let has_all = |material| PeerTemplate::new(upstream, material).is_ok();
            upstream.tls.is_none() || upstream_tls.get(&upstream.name).is_some_and(has_all)
        });
        (candidate.certificates, candidate.upstream_tls) = (certificates, Arc::new(upstream_tls));
        (candidate.client_roots, candidate.users) = (Arc::new(client_roots), Arc::new(users));
        candidate.understood = Some(Arc::new(model));
        candidate.diagnostics = found.at_most(Severity::Warning).sorted();
        candidate
    }

    fn empty(authors: Authors, source: SourceText) -> Self {
        Self {
            authors,
            lists: EndpointLists::default(),
            understood: None,
            certificates: Vec::new(),
            upstream_tls: Arc::default(),
            client_roots: Arc::default(),
            acme_roots: acme::Roots::new(),
            users: Arc::default(),
            pages: Arc::default(),
            keys: Arc::default(),
            redis: None,
            diagnostics: Diagnostics::default(),
            source,
            files: Vec::new(),
        }
    }

    fn read_named_files(&mut self, understood: &Understood) {
        let model = &understood.model;
        let (certificates, found) = tls::load_certificates(&model.certificates, &Material::OnDisk, SystemTime::now());
        self.diagnostics.extend(found);
        let (upstream_tls, found) = tls::load_upstreams(&model.upstreams, &Material::OnDisk);
        self.diagnostics.extend(found);
        self.diagnostics.extend(model.acme.as_ref().map(acme::check).unwrap_or_default());
        self.acme_roots = model.acme.as_ref().and_then(|acme| acme::roots(acme).ok()).unwrap_or_default();
        let (client_roots, found) = tls::load_client_roots(model, &Material::OnDisk);
        self.diagnostics.extend(found);
        let (users, found) = passwords::load_users(model, &Material::OnDisk);
        self.diagnostics.extend(found);
        let (pages, found) = error_pages::load_pages(model);
        self.diagnostics.extend(found);
        let (keys, found) = tokens::load_keys(model);
        self.diagnostics.extend(found);
        self.diagnostics.extend(jwks::check(model));
        let (redis, found) = shared_counts::load(model);
        self.diagnostics.extend(found);
        self.redis = redis.map(Arc::new);
        self.diagnostics.extend(files::check_roots(model));
        let store = tls::CertificateStore::new(certificates.clone());
        // A certificate that could not be read has been reported; that its names lack one follows from it.
        let files = model.certificates.iter().filter(|certificate| is_file(certificate)).count();
        let complete = understood.certificates == Extent::Whole && certificates.len() == files;
        let is_on_demand = model.acme.as_ref().is_some_and(|acme| acme.on_demand.is_some());
        let ordered: Vec<CertificateName> = model.certificates.iter().flat_map(ordered_names).collect();
        let covered = |host: &str| store.covering(host).is_some() || ordered.iter().any(|name| name.covers(host));
        let covers = |name: &HostName| match name {
            HostName::Exact(name) => covered(name),
            HostName::Wildcard(parent) | HostName::OneLabel(parent) => covered(&format!("any.{parent}")),
            HostName::CatchAll => true,
        };
        let complete = complete && !is_on_demand;
        self.diagnostics.extend(compile::lint(model, understood.hosts, &|name| !complete || covers(name)));
        (self.certificates, self.upstream_tls) = (certificates, Arc::new(upstream_tls));
        (self.client_roots, self.users) = (Arc::new(client_roots), Arc::new(users));
        (self.pages, self.keys) = (Arc::new(pages), Arc::new(keys));
    }

    /// The snapshot that this would be. Fails with everything that speaks against it.
    pub fn compile(
        &self,
        previous: Option<&Snapshot>,
        metrics: &Metrics,
        stores: &Stores,
    ) -> Result<Snapshot, Diagnostics> {
        let Some(model) = self.understood.as_ref().filter(|_| !self.diagnostics.has_errors()) else {
            return Err(self.diagnostics.clone());
        };
        let surroundings = Surroundings {
            previous,
            upstream_tls: &self.upstream_tls,
            client_roots: &self.client_roots,
            users: &self.users,
            pages: &self.pages,
            keys: &self.keys,
            redis: self.redis.as_ref(),
            stores,
            metrics,
            now: Instant::now(),
        };
        compile::compile(model.clone(), &surroundings).map_err(|found| {
            let mut all = self.diagnostics.clone();
            all.extend(found);
            all.sorted()
        })
    }

    /// What is remembered of it while it is in force.
    pub fn in_force(&self) -> InForce {
        InForce {
            text: self.source.text().into(),
            model: self.understood.clone(),
            certificates: self.certificates.clone(),
            upstream_tls: self.upstream_tls.clone(),
            client_roots: self.client_roots.clone(),
            acme_roots: self.acme_roots.clone(),
            users: self.users.clone(),
            pages: self.pages.clone(),
            keys: self.keys.clone(),
            redis: self.redis.clone(),
            files: self.files.clone(),
        }
    }

    /// Whether a file and everything that it names are as they were.
    pub fn is_as(&self, in_force: &InForce) -> bool {
        *self.source.text() == *in_force.text && self.names_the_same(in_force)
    }

    /// Whether what a cluster says, and everything that it names, are as they were.
    pub fn means_the_same(&self, in_force: &InForce) -> bool {
        self.names_the_same(in_force) && self.understood == in_force.model
    }

    fn names_the_same(&self, in_force: &InForce) -> bool {
        let shows_the_same =
            |(new, old): (&Arc<LoadedCertificate>, &Arc<LoadedCertificate>)| new.shows_the_same_as(old);
        !self.diagnostics.has_errors()
            && self.certificates.len() == in_force.certificates.len()
            && self.certificates.iter().zip(&in_force.certificates).all(shows_the_same)
            && self.upstream_tls == in_force.upstream_tls
            && self.client_roots == in_force.client_roots
            && self.acme_roots == in_force.acme_roots
            && self.users == in_force.users
            && self.pages == in_force.pages
            && self.keys == in_force.keys
            && self.redis == in_force.redis
    }

    /// As [`compile`](Self::compile), for a question that no running Weir is asked.
    pub fn compile_alone(&self) -> Result<Snapshot, Diagnostics> {
        self.compile(None, &Metrics::new(SystemTime::now()), &Stores::default())
    }
}

fn is_file(certificate: &Certificate) -> bool {
    matches!(certificate.source, CertificateSource::File { .. })
}

/// What a certificate that is ordered will vouch for.
fn ordered_names(certificate: &Certificate) -> Vec<CertificateName> {
    match &certificate.source {
        CertificateSource::Acme(ordered) => ordered.domains.iter().map(CertificateName::of_domain).collect(),
        CertificateSource::File { .. } => Vec::new(),
    }
}

/// An address that only trying showed to be taken.
pub fn unbound(model: &Model, name: &ListenerName, address: SocketAddr, error: &io::Error) -> Diagnostic {
    let http = model.listeners.iter().map(|listener| (&listener.name, &listener.origin));
    let tcp = model.tcp_listeners.iter().map(|listener| (&listener.name, &listener.origin));
    let udp = model.udp_listeners.iter().map(|listener| (&listener.name, &listener.origin));
    let origin = http.chain(tcp).chain(udp).find(|(other, _)| *other == name).map(|(_, origin)| origin.clone());
    let path = format!("listeners.{name}.address");
    Diagnostic::error(origin.unwrap_or_else(Origin::builtin), path, cannot_listen(address, error))
}

/// With what to do about the two errors that people meet.
pub fn cannot_listen(address: SocketAddr, error: &io::Error) -> String {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => "; another process listens there: stop it, or choose another port",
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need CAP_NET_BIND_SERVICE (or sysctl net.ipv4.ip_unprivileged_port_start=0)"
        }
        _ => "",
    };
    format!("cannot listen on {address}: {error}{hint}")
}
