//! What the admin listener answers, whatever carries the question.
//!
//! ```text
//! GET  path, query ──► ENDPOINTS ──► Inspect ──► Answer { status, content type, body }
//! POST path, query ──► OPERATIONS ──► Operation ──► Inspect
//! ```

use http::{Method, StatusCode};
use serde::Serialize;
use serde_json::json;

use super::query::{ExplainQuery, Parameters};
use super::redact::redact;
use super::{Inspect, Operation, Readiness};
use crate::model::{Purge, RevocationReason};

pub(super) struct Answer {
    pub status: StatusCode,
    pub content_type: &'static str,
    pub body: Vec<u8>,
    /// What would be answered here.
    pub allow: &'static str,
}

struct Endpoint {
    path: &'static str,
    shows: &'static str,
    answer: fn(&dyn Inspect, &str) -> Answer,
}

const ENDPOINTS: [Endpoint; 9] = [
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
        path: "/cache",
        shows: "stores of answers, how full they are, what they evicted and what their disks refused",
        answer: |inspect, _| Answer::json(StatusCode::OK, &inspect.caches()),
    },
    Endpoint {
        path: "/explain",
        shows: "where a request would go and why: ?method=&url=&from=&header=",
        answer: explain,
    },
];

/// What is done where it is asked for with POST.
struct OperationAt {
    path: &'static str,
    does: &'static str,
    read: fn(&Parameters) -> Result<Operation, String>,
}

const OPERATIONS: [OperationAt; 3] = [
    OperationAt {
        path: "/certificates/renew",
        does: "begins to order a certificate anew: ?name=",
        read: |asked| Ok(Operation::RenewCertificate { name: asked.needed("name")? }),
    },
    OperationAt {
        path: "/certificates/revoke",
        does: "has a certificate revoked, and another ordered: ?name=&reason=",
        read: |asked| {
            let reason = asked.get("reason").unwrap_or("unspecified");
            let reason = RevocationReason::parse(reason)?;
            Ok(Operation::RevokeCertificate { name: asked.needed("name")?, reason })
        },
    },
    OperationAt {
        path: "/cache/purge",
        does: "takes answers out of the cache: ?url=, ?prefix= (both as a.test/path), ?tag= or ?all=true, and &store=",
        read: |asked| Ok(Operation::PurgeCache { store: asked.get("store").map(str::to_owned), purge: purge(asked)? }),
    },
];

fn purge(asked: &Parameters) -> Result<Purge, String> {
    let given = ["url", "prefix", "tag", "all"].map(|name| asked.get(name).filter(|value| !value.is_empty()));
    match given {
        [Some(url), None, None, None] => Ok(Purge::Url(without_scheme(url))),
        [None, Some(prefix), None, None] => Ok(Purge::Prefix(without_scheme(prefix))),
        [None, None, Some(tag), None] => Ok(Purge::Tag(tag.into())),
        [None, None, None, Some("true")] => Ok(Purge::Everything),
        _ => Err("write one of ?url=a.test/path, ?prefix=a.test/path, ?tag=… and ?all=true".into()),
    }
}

/// As URLs are kept: whatever the scheme; the host in lowercase, and at least a slash after it.
fn without_scheme(url: &str) -> String {
    let url = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or(url);
    match url.find('/') {
        Some(at) => format!("{}{}", url[..at].to_ascii_lowercase(), &url[at..]),
        None => format!("{}/", url.to_ascii_lowercase()),
    }
}

/// What was asked, and by whom.
pub(super) struct Asked<'a> {
    pub method: &'a Method,
    pub path: &'a str,
    pub query: &'a str,
    pub from: From,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// On this machine, or in this container.
    Program,
    /// Probes and scrapes come from there, and who else can reach the port.
    Elsewhere,
    /// Any page that is open in an operator's browser can have it ask for something.
    Browser,
}

pub(super) async fn answer(inspect: &dyn Inspect, asked: &Asked<'_>) -> Answer {
    let endpoint = ENDPOINTS.iter().find(|endpoint| endpoint.path == asked.path);
    let operation = OPERATIONS.iter().find(|operation| operation.path == asked.path);
    match (endpoint, operation, asked.method) {
        (Some(endpoint), _, &Method::GET | &Method::HEAD) => (endpoint.answer)(inspect, asked.query),
        (None, Some(operation), &Method::POST) => operate(inspect, operation, asked).await,
        (Some(_), _, _) => Answer::not_allowed("GET, HEAD"),
        (None, Some(_), _) => Answer::not_allowed("POST"),
        (None, None, _) => Answer::text(StatusCode::NOT_FOUND, &listing()),
    }
}

async fn operate(inspect: &dyn Inspect, operation: &OperationAt, asked: &Asked<'_>) -> Answer {
    let refusal = match asked.from {
        From::Program => None,
        From::Browser => Some("nothing is changed for a browser; ask with weir or curl"),
        From::Elsewhere => Some("nothing is changed for other machines; ask on this one, by the loopback"),
    };
    if let Some(refusal) = refusal {
        return Answer::text(StatusCode::FORBIDDEN, refusal);
    }
    let operation = match Parameters::parse(asked.query).and_then(|parameters| (operation.read)(&parameters)) {
        Ok(operation) => operation,
        Err(reason) => return Answer::text(StatusCode::BAD_REQUEST, &reason),
    };
    match inspect.operate(operation).await {
        Ok(done) => Answer::text(StatusCode::ACCEPTED, &done),
        Err(reason) => Answer::text(StatusCode::CONFLICT, &reason),
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
    Answer::new(StatusCode::OK, content_type, inspect.metrics().into_bytes())
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
    let paths = ENDPOINTS.iter().map(|endpoint| endpoint.path).chain(OPERATIONS.iter().map(|operation| operation.path));
    let width = paths.map(str::len).max().unwrap_or(0);
    let shown = ENDPOINTS.iter().map(|endpoint| format!("  {:width$}  {}", endpoint.path, endpoint.shows));
    let done = OPERATIONS.iter().map(|operation| format!("  {:width$}  {}", operation.path, operation.does));
    let lines = |lines: Vec<String>| lines.join("\n");
    format!("there is nothing here; there are:\n{}\nand with POST:\n{}", lines(shown.collect()), lines(done.collect()))
}

impl Answer {
    fn new(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Self {
        Self { status, content_type, body, allow: "" }
    }

    fn text(status: StatusCode, text: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", format!("{text}\n").into_bytes())
    }

    fn not_allowed(allow: &'static str) -> Self {
        Self { allow, ..Self::text(StatusCode::METHOD_NOT_ALLOWED, &format!("only {allow} is answered here")) }
    }

    /// Indented: it is read by people with curl as often as by programs.
    fn json(status: StatusCode, value: &impl Serialize) -> Self {
        match serde_json::to_vec_pretty(value) {
            Ok(mut body) => {
                body.push(b'\n');
                Self::new(status, "application/json", body)
            }
            Err(error) => Self::text(StatusCode::INTERNAL_SERVER_ERROR, &format!("cannot be shown as JSON: {error}")),
        }
    }
}
