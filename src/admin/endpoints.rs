//! What the admin listener answers, whatever carries the question.
//!
//! ```text
//! method, path, query ──► ENDPOINTS ──► Inspect ──► Answer { status, content type, body }
//! ```

use http::{Method, StatusCode};
use serde::Serialize;
use serde_json::json;

use super::query::ExplainQuery;
use super::redact::redact;
use super::{Inspect, Readiness};

pub(super) struct Answer {
    pub status: StatusCode,
    pub content_type: &'static str,
    pub body: Vec<u8>,
}

struct Endpoint {
    path: &'static str,
    shows: &'static str,
    answer: fn(&dyn Inspect, &str) -> Answer,
}

const ENDPOINTS: [Endpoint; 8] = [
    Endpoint {
        path: "/healthz",
        shows: "200 while the process runs",
        answer: |_, _| Answer::text(StatusCode::OK, "ok"),
    },
    Endpoint {
        path: "/readyz",
        shows: "200 when what is configured is what is served, else 503 and why",
        answer: readyz,
    },
    Endpoint { path: "/metrics", shows: "metrics, in the Prometheus text format", answer: metrics },
    Endpoint { path: "/config", shows: "the model in force, without secrets", answer: config },
    Endpoint {
        path: "/config/status",
        shows: "how the last reload ended, with its diagnostics",
        answer: |inspect, _| Answer::json(StatusCode::OK, &inspect.reload_status()),
    },
    Endpoint {
        path: "/upstreams",
        shows: "upstreams, their endpoints and their health",
        answer: |inspect, _| Answer::json(StatusCode::OK, &inspect.upstreams()),
    },
    Endpoint {
        path: "/certificates",
        shows: "certificates, their names and validity",
        answer: |inspect, _| Answer::json(StatusCode::OK, &inspect.certificates()),
    },
    Endpoint {
        path: "/explain",
        shows: "where a request would go and why: ?method=&url=&from=&header=",
        answer: explain,
    },
];

pub(super) fn answer(inspect: &dyn Inspect, method: &Method, path: &str, query: &str) -> Answer {
    if method != Method::GET && method != Method::HEAD {
        return Answer::text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here");
    }
    match ENDPOINTS.iter().find(|endpoint| endpoint.path == path) {
        Some(endpoint) => (endpoint.answer)(inspect, query),
        None => Answer::text(StatusCode::NOT_FOUND, &listing()),
    }
}

fn readyz(inspect: &dyn Inspect, _: &str) -> Answer {
    match inspect.readiness() {
        Readiness::Ready => Answer::text(StatusCode::OK, "ready"),
        Readiness::NotReady(reasons) => {
            Answer::text(StatusCode::SERVICE_UNAVAILABLE, &format!("not ready: {}", reasons.join("\nnot ready: ")))
        }
    }
}

fn metrics(inspect: &dyn Inspect, _: &str) -> Answer {
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    Answer { status: StatusCode::OK, content_type, body: inspect.metrics().into_bytes() }
}

fn config(inspect: &dyn Inspect, _: &str) -> Answer {
    let configuration = inspect.configuration();
    let mut shown = json!({ "generation": configuration.generation, "model": &*configuration.model });
    redact(&mut shown);
    Answer::json(StatusCode::OK, &shown)
}

fn explain(inspect: &dyn Inspect, query: &str) -> Answer {
    match ExplainQuery::parse(query).and_then(|query| inspect.explain(&query)) {
        Ok(explanation) => Answer::json(StatusCode::OK, &explanation),
        Err(reason) => Answer::text(StatusCode::BAD_REQUEST, &reason),
    }
}

fn listing() -> String {
    let width = ENDPOINTS.iter().map(|endpoint| endpoint.path.len()).max().unwrap_or(0);
    let lines = ENDPOINTS.iter().map(|endpoint| format!("  {:width$}  {}", endpoint.path, endpoint.shows));
    format!("there is nothing here; there are:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

impl Answer {
    fn text(status: StatusCode, text: &str) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: format!("{text}\n").into_bytes() }
    }

    /// Indented: it is read by people with curl as often as by programs.
    fn json(status: StatusCode, value: &impl Serialize) -> Self {
        match serde_json::to_vec_pretty(value) {
            Ok(mut body) => {
                body.push(b'\n');
                Self { status, content_type: "application/json", body }
            }
            Err(error) => Self::text(StatusCode::INTERNAL_SERVER_ERROR, &format!("cannot be shown as JSON: {error}")),
        }
    }
}
