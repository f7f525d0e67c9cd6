//! The cluster, watched: every change of an object that matters, as a state to translate.
//!
//! ```text
//! API server ──list, watch──► Source of each kind ──slim──► Board ──quiet for 20 ms──► Watch::changed ──► translate, or endpoints alone
//!                              (back-off, re-list)
//! ```
//!
//! Objects are slimmed where they arrive. While the API server is away the board stands as it was; a list that begins anew
//! takes effect as a whole, so that nothing is missing in between. Knows nothing of what the objects mean.

mod board;
mod kept;
mod source;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1 as core;
use kube::runtime::watcher;
use kube::{Api, Client};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::state::{ClusterState, ConfigMap, EndpointSlice, Ingress, IngressClass, ObjectKey, Secret, Service};
use board::Board;
pub use board::{Change, Extent};
use kept::Kept;
use source::{Forbidden, Source};

/// So long nothing may have happened before a change counts as complete: a rollout changes several objects at once.
const QUIET: Duration = Duration::from_millis(20);
/// After so long it counts as complete all the same.
const LONGEST: Duration = Duration::from_millis(100);

/// What is kept in Secrets by others and never served: it can be most of a cluster's bytes.
const SECRETS_OF_USE: &str = "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token,\
                              type!=kubernetes.io/dockerconfigjson,type!=bootstrap.kubernetes.io/token,\
                              type!=weir/state";
/// Slices that belong to no Service lead nowhere.
const SLICES_OF_SERVICES: &str = "kubernetes.io/service-name";

/// Which part of the cluster is watched.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    pub namespaces: Namespaces,
    pub external_names: ExternalNames,
    /// ConfigMaps, Secrets and Services that flags name: they may stand outside of those namespaces.
    pub config_maps: Vec<ObjectKey>,
    pub secrets: Vec<ObjectKey>,
    pub services: Vec<ObjectKey>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Namespaces {
    #[default]
    All,
    /// Nothing is asked about any other, so that a Role is enough.
    One(Arc<str>),
    /// Those that have these labels.
    Labelled(String),
}

/// Whether Services may lead out of the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExternalNames {
    #[default]
    Serve,
    /// They count as if they were not there.
    Ignore,
}

/// Watches as long as it lives.
pub struct Watch {
    board: Arc<Board>,
    _sources: JoinSet<()>,
}

impl Watch {
    /// Starts on the current Tokio runtime.
    pub fn start(client: &Client, scope: &Scope) -> Self {
        let mut start = Start { client, board: Arc::default(), sources: JoinSet::new() };
        start.board.regard(scope.external_names);
        start.everywhere::<IngressClass>();
        let all = watcher::Config::default;
        start.within::<Ingress>(scope, all(), &[]);
        start.within::<Service>(scope, all(), &of_names(&scope.services));
        let slices = |selector: &str| all().labels(selector);
        let named = scope.services.iter().map(|key| (key, slices(&format!("{SLICES_OF_SERVICES}={}", key.name))));
        start.within::<EndpointSlice>(scope, slices(SLICES_OF_SERVICES), &named.collect::<Vec<_>>());
        start.within::<Secret>(scope, all().fields(SECRETS_OF_USE), &of_names(&scope.secrets));
        start.within::<ConfigMap>(scope, all(), &of_names(&scope.config_maps));
        if let Namespaces::Labelled(selector) = &scope.namespaces {
            start.namespaces(selector, scope);
        }
        Self { board: start.board, _sources: start.sources }
    }

    /// Waits until something changed since the last time this returned, and until it is quiet. The first time: until every
    /// object has been seen. Whoever drops it before that asks [`now`](Self::now): what it had heard of is not told again.
    pub async fn changed(&self) -> Change {
        loop {
            self.board.touched().await;
            self.settle().await;
            match self.board.take() {
                Some(change) => return change,
                // What is not listed yet says so when it is.
                None => continue,
            }
        }
    }

    /// All that is known now, be it quiet or not; None before every object has been seen.
    pub fn now(&self) -> Option<Change> {
        self.board.take().map(|change| Change { extent: Extent::Everything, ..change })
    }

    /// For whoever outlives the watch, or looks beside it.
    pub fn outlook(&self) -> Outlook {
        Outlook(self.board.clone())
    }

    async fn settle(&self) {
        let end = Instant::now() + LONGEST;
        loop {
            let quiet = (Instant::now() + QUIET).min(end);
            match tokio::time::timeout_at(quiet, self.board.touched()).await {
                Ok(()) if Instant::now() < end => {}
                Ok(()) | Err(_) => return,
            }
        }
    }
}

/// Looks at what a watch knows.
#[derive(Clone)]
pub struct Outlook(Arc<Board>);

impl Outlook {
    pub fn now(&self) -> Option<ClusterState> {
        self.0.state()
    }
}

fn of_names(keys: &[ObjectKey]) -> Vec<(&ObjectKey, watcher::Config)> {
    let of_name = |key: &ObjectKey| watcher::Config::default().fields(&format!("metadata.name={}", key.name));
    keys.iter().map(|key| (key, of_name(key))).collect()
}

struct Start<'a> {
    client: &'a Client,
    board: Arc<Board>,
    sources: JoinSet<()>,
}

impl Start<'_> {
    /// A kind without namespaces. Where it is forbidden, as by a Role, there are none: classes by annotation go on.
    fn everywhere<T: Kept>(&mut self)
    where
        T::Object: kube::Resource<Scope = k8s_openapi::ClusterResourceScope>,
    {
        let api = Api::all(self.client.clone());
        self.spawn::<T>(api, watcher::Config::default(), Forbidden::MeansNone);
    }

    /// Those of the namespaces, and what is `named` outside of them.
    fn within<T: Kept>(&mut self, scope: &Scope, config: watcher::Config, named: &[(&ObjectKey, watcher::Config)])
    where
        T::Object: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
    {
        let client = || self.client.clone();
        let api = match &scope.namespaces {
            Namespaces::All | Namespaces::Labelled(_) => Api::all(client()),
            Namespaces::One(namespace) => Api::namespaced(client(), namespace),
        };
        let mut apis = vec![(api, config)];
        for (key, config) in named {
            let is_within = match &scope.namespaces {
                Namespaces::All | Namespaces::Labelled(_) => true,
                Namespaces::One(namespace) => *namespace == key.namespace,
            };
            if !is_within {
                apis.push((Api::namespaced(client(), &key.namespace), config.clone()));
            }
        }
        for (api, config) in apis {
            self.spawn::<T>(api, config, Forbidden::IsAnError);
        }
    }

    fn namespaces(&mut self, selector: &str, scope: &Scope) {
        let named = scope.config_maps.iter().chain(&scope.secrets).chain(&scope.services);
        self.board.restrict(named.cloned().collect());
        let api: Api<core::Namespace> = Api::all(self.client.clone());
        self.spawn::<kept::Namespace>(api, watcher::Config::default().labels(selector), Forbidden::IsAnError);
    }

    fn spawn<T: Kept>(&mut self, api: Api<T::Object>, config: watcher::Config, forbidden: Forbidden) {
        self.board.await_another();
        let source = Source::<T>::new(self.board.clone(), forbidden);
        self.sources.spawn(source.follow(api, config));
    }
}
