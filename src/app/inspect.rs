//! What the admin listener shows of the running program.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Instant, SystemTime};

use async_trait::async_trait;
use serde_json::{Value, json};

use super::App;
use super::candidate::Authors;
use crate::acme::Status;
use crate::admin::{Configuration, ExplainQuery, Inspect, Operation, Readiness, ReloadStatus};
use crate::explain::{Question, explain};
use crate::snapshot::upstream::UpstreamStatus;

/// Weak: the admin listener is a part of what it shows.
pub struct Inspector(Weak<App>);

impl Inspector {
    pub fn new(app: &Arc<App>) -> Self {
        Self(Arc::downgrade(app))
    }

    fn app(&self) -> Arc<App> {
        self.0.upgrade().unwrap_or_else(|| unreachable!("the admin listener ends before the app does"))
    }
}

#[async_trait]
impl Inspect for Inspector {
    fn readiness(&self) -> Readiness {
        let app = self.app();
        if app.draining.load(Ordering::Relaxed) {
            return Readiness::NotReady(vec!["shutting down".into()]);
        }
        if !app.programmed.load(Ordering::Relaxed) {
            return Readiness::NotReady(vec!["the cluster's objects are not served yet".into()]);
        }
        // One author's new upstream must not take everybody's away from a load balancer.
        if app.authors == Authors::Many {
            return Readiness::Ready;
        }
        let snapshot = app.shared.snapshot.load();
        let mut unsettled: Vec<String> = snapshot
            .upstreams
            .values()
            .filter(|upstream| !upstream.is_settled())
            .map(|upstream| format!("upstream \"{}\" is not resolved and checked yet", upstream.definition().name))
            .collect();
        let keys = snapshot.jwts.key_sets.values().filter(|keys| !keys.is_settled());
        unsettled.extend(keys.map(|keys| format!("the keys at {} are not fetched yet", keys.source.url)));
        if unsettled.is_empty() { Readiness::Ready } else { Readiness::NotReady(unsettled) }
    }

    fn configuration(&self) -> Configuration {
        let snapshot = self.app().shared.snapshot.load_full();
        Configuration { generation: snapshot.generation, model: snapshot.model.clone() }
    }

    fn reload_status(&self) -> ReloadStatus {
        ReloadStatus::clone(&self.app().status.load())
    }

    fn upstreams(&self) -> Value {
        json!(self.app().upstream_statuses())
    }

    fn certificates(&self) -> Value {
        let app = self.app();
        let mut orders: BTreeMap<String, Status> =
            app.acme.statuses().into_iter().map(|status| (status.source(), status)).collect();
        let served = app.shared.tls.certificates().store().summaries(SystemTime::now());
        let mut listed: Vec<Value> = served
            .iter()
            .map(|summary| match orders.remove(&*summary.certificate) {
                Some(order) => merged(json!(summary), json!({ "order": order })),
                None => json!(summary),
            })
            .collect();
        // Those that have not come yet.
        listed.extend(
            orders
                .into_iter()
                .map(|(name, order)| json!({ "certificate": name, "names": order.domains, "order": order })),
        );
        json!(listed)
    }

    fn caches(&self) -> Value {
        let stores = self.app().stores.all();
        let listed: Vec<Value> =
            stores.iter().map(|store| merged(json!({ "store": store.name() }), json!(store.standing()))).collect();
        json!(listed)
    }

    fn explain(&self, query: &ExplainQuery) -> Result<Value, String> {
        let question = Question {
            method: query.method.clone(),
            url: query.url.clone(),
            headers: query.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect(),
            from: query.from.unwrap_or(std::net::Ipv4Addr::LOCALHOST.into()),
        };
        let snapshot = self.app().shared.snapshot.load_full();
        explain(&snapshot, &question).map(|explanation| json!(explanation)).map_err(|error| error.to_string())
    }

    fn metrics(&self) -> String {
        let app = self.app();
        let stores: Vec<_> = app.stores.all().iter().map(|store| (store.name().clone(), store.standing())).collect();
        app.metrics.render(&app.upstream_statuses(), &stores)
    }

    async fn operate(&self, operation: Operation) -> Result<String, String> {
        let app = self.app();
        match operation {
            Operation::RenewCertificate { name } => {
                app.acme.renew(&name).await?;
                Ok(format!("the certificate \"{name}\" is being ordered"))
            }
            Operation::PurgeCache { store, purge } => {
                let stores = app.stores.all();
                let is_asked = |name: &str| store.as_deref().is_none_or(|asked| asked == name);
                let asked: Vec<_> = stores.into_iter().filter(|store| is_asked(&store.name().0)).collect();
                if asked.is_empty() {
                    return Err(format!("there is no cache store \"{}\"", store.unwrap_or_default()));
                }
                let purge = move || asked.iter().map(|store| store.purge(&purge)).sum::<u64>();
                let purged = tokio::task::spawn_blocking(purge).await.map_err(|error| error.to_string())?;
                tracing::info!(objects = purged, "purged from the cache");
                Ok(format!("purged {purged}"))
            }
            Operation::RevokeCertificate { name, reason } => {
                let revoked = name.clone();
                // A task of its own: who asked may lose patience, and it must not stop half way.
                let revoking = tokio::spawn(async move { app.acme.revoke(&revoked, reason).await });
                revoking.await.map_err(|error| error.to_string())??;
                Ok(format!("the certificate \"{name}\" was revoked; another is being ordered where the file names it"))
            }
        }
    }
}

fn merged(mut object: Value, more: Value) -> Value {
    if let (Value::Object(fields), Value::Object(more)) = (&mut object, more) {
        fields.extend(more);
    }
    object
}

impl App {
    fn upstream_statuses(&self) -> Vec<UpstreamStatus> {
        let now = Instant::now();
        self.shared.snapshot.load().upstreams.values().map(|upstream| upstream.status(now)).collect()
    }
}
