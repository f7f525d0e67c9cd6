//! The admission webhook of a cluster: an Ingress is looked at beside what is served.
//!
//! ```text
//! ClusterState ──► Bench { state, claims } ◄── asked by admission::Server
//! files, or a certificate of Weir's own ──► what handshakes are shown
//! ```

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use http::StatusCode;
use kube::Client;
use tokio::task::JoinHandle;

use super::candidate::cannot_listen;
use crate::admission::{Judge, OwnCertificate, Refused, Server, Shown, keep_own_certificate};
use crate::model::acme_words::STATE_TYPE;
use crate::sources::config::watch::Watch;
use crate::sources::kube::admission;
use crate::sources::kube::issuance::{Issuer, issuance};
use crate::sources::kube::reporting::Reporter;
use crate::sources::kube::state::{ClusterState, Ingress, Objects};
use crate::sources::kube::translate::{Claims, Review, Settings, review};
use crate::sources::kube::watch::{Namespaces, Scope};

#[derive(Clone, Debug)]
pub struct Webhook {
    pub address: SocketAddr,
    pub certificate: WebhookCertificate,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookCertificate {
    /// PEM, followed when they change.
    Files { certificate: PathBuf, key: PathBuf },
    /// Weir's own, told to the ValidatingWebhookConfiguration of this name.
    Own { configuration: String },
}

/// Works as long as it lives.
pub(super) struct Admission {
    bench: Arc<Bench>,
    _server: Server,
    showing: JoinHandle<()>,
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.showing.abort();
    }
}

impl Admission {
    pub fn start(
        client: &Client,
        reporter: &Reporter,
        settings: &Arc<Settings>,
        scope: &Scope,
        issuers: &[Issuer],
        webhook: &Webhook,
    ) -> anyhow::Result<Self> {
        let shown = Shown::default();
        let showing = match &webhook.certificate {
            WebhookCertificate::Files { certificate, key } => {
                let watch = Watch::start(vec![certificate.clone(), key.clone()])
                    .context("cannot watch the webhook's certificate")?;
                show_files(&shown, certificate, key).map_err(anyhow::Error::msg)?;
                tokio::spawn(follow_files(watch, shown.clone(), certificate.clone(), key.clone()))
            }
            WebhookCertificate::Own { configuration } => {
                let own = OwnCertificate {
                    client: client.clone(),
                    namespace: reporter.namespace().to_owned(),
                    secret_type: STATE_TYPE,
                    configuration: configuration.clone(),
                    leads: reporter.leads(),
                };
                tokio::spawn(keep_own_certificate(own, shown.clone()))
            }
        };
        let bench = Arc::new(Bench {
            settings: settings.clone(),
            namespaces: scope.namespaces.clone(),
            issuers: issuers.to_vec(),
            known: Mutex::default(),
        });
        let server = Server::bind(webhook.address, shown, bench.clone())
            .map_err(|error| anyhow::Error::msg(cannot_listen(webhook.address, &error)))?;
        tracing::info!(address = %server.address(), "the admission webhook is asked here");
        Ok(Self { bench, _server: server, showing })
    }

    /// The cluster as it is now.
    pub fn follow(&self, state: &ClusterState) {
        self.bench.follow(state);
    }
}

fn show_files(shown: &Shown, certificate: &PathBuf, key: &PathBuf) -> Result<(), String> {
    let read = |path: &PathBuf| std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()));
    shown.replace(&read(certificate)?, &read(key)?).map_err(|reason| {
        format!("the webhook's certificate in {} and {} cannot be used: {reason}", certificate.display(), key.display())
    })
}

async fn follow_files(watch: Watch, shown: Shown, certificate: PathBuf, key: PathBuf) {
    loop {
        watch.changed().await;
        match show_files(&shown, &certificate, &key) {
            Ok(()) => tracing::info!("the admission webhook has a new certificate"),
            // Perhaps half of it has been written: the rest is another change.
            Err(error) => tracing::warn!(error, "what was shown before is shown on"),
        }
    }
}

/// What is known where somebody is judged.
struct Bench {
    settings: Arc<Settings>,
    namespaces: Namespaces,
    issuers: Vec<Issuer>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// None before every object has been seen.
    state: Option<ClusterState>,
    claims: Claims,
}

impl Bench {
    fn follow(&self, state: &ClusterState) {
        let Settings { class, annotations_prefix, .. } = &*self.settings;
        let mut known = self.lock();
        known.claims.follow(state, class, annotations_prefix);
        known.state = Some(state.clone());
    }

    fn review(&self, state: &ClusterState, ingress: &Ingress) -> Review {
        let mut review = review(state, &self.settings, ingress, |ingress| self.lock().claims.conflicts(ingress));
        let mut alone = ClusterState { ingresses: Objects::default(), ..state.clone() };
        alone.ingresses.insert(ingress.key.clone(), ingress.clone());
        let told = issuance(&alone, &self.settings.class, &self.issuers).events;
        review.warnings.extend(told.into_iter().map(|event| event.message));
        review
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Claims that a panic left half followed are of one Ingress; held for as long as one is looked up, or followed.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serves(&self, namespace: &str) -> bool {
        match &self.namespaces {
            Namespaces::One(one) => **one == *namespace,
            // Whose labels count is what the webhook's own selector says.
            Namespaces::All | Namespaces::Labelled(_) => true,
        }
    }
}

impl Judge for Bench {
    fn judge(&self, body: &[u8]) -> Result<Vec<u8>, Refused> {
        let state = self.lock().state.clone();
        let state = state.ok_or_else(|| Refused {
            status: StatusCode::SERVICE_UNAVAILABLE,
            reason: "the cluster's objects are not known yet".into(),
        })?;
        let answer = admission::answer(body, |ingress| match self.serves(&ingress.key.namespace) {
            true => self.review(&state, ingress),
            false => Review::default(),
        });
        answer.map_err(|reason| Refused { status: StatusCode::BAD_REQUEST, reason })
    }
}
