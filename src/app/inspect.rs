//! What the admin listener shows of the running program.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Instant, SystemTime};

use serde_json::{Value, json};

use super::App;
use crate::admin::{Configuration, ExplainQuery, Inspect, Readiness, ReloadStatus};
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

impl Inspect for Inspector {
    fn readiness(&self) -> Readiness {
        let app = self.app();
        if app.draining.load(Ordering::Relaxed) {
            return Readiness::NotReady(vec!["shutting down".into()]);
        }
        let snapshot = app.shared.snapshot.load();
        let unsettled: Vec<String> = snapshot
            .upstreams
            .values()
            .filter(|upstream| !upstream.is_settled())
            .map(|upstream| format!("upstream \"{}\" is not resolved and checked yet", upstream.definition().name))
            .collect();
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
        json!(self.app().shared.tls.certificates().store().summaries(SystemTime::now()))
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
        app.metrics.render(&app.upstream_statuses())
    }
}

impl App {
    fn upstream_statuses(&self) -> Vec<UpstreamStatus> {
        let now = Instant::now();
        self.shared.snapshot.load().upstreams.values().map(|upstream| upstream.status(now)).collect()
    }
}
