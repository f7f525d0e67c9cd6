//! The sketch of the design, less what comes later, and the large file that it may become.

use std::time::Duration;

use super::*;
use crate::model::{Action, FilterKind, LbPolicy, PathMatch, Probe};

const SKETCH: &str = r#"
threads: auto
access-log: json

listeners:
  http:  { address: "0.0.0.0:80" }
  https: { address: "0.0.0.0:443", tls: {} }

acme:
  email: ops@sql-studio.app
  directory: letsencrypt
  storage: /var/lib/weir/acme

certificates:
  - acme: { domains: [sql-studio.app, www.sql-studio.app, api.sql-studio.app] }
  - file: { cert: certs/internal.crt, key: certs/internal.key }

upstreams:
  backend:
    endpoints: [ "backend-1:8500", "backend-2:8500", { address: "backend-3:8500", backup: true } ]
    balance: least-connections
    keepalive: 32
    health-check: { http: { path: /health }, interval: 5s, unhealthy-after: 3, healthy-after: 2 }
  frontend:
    endpoints: [ "frontend-1:80", "frontend-2:80" ]

hosts:
  - names: [sql-studio.app]
    filters: [ https-redirect, security-headers ]
    routes:
      - path: /api
        upstream: backend
      - exact: /health
        upstream: backend
      - path: /
        upstream: frontend
"#;

#[test]
fn the_sketch_becomes_a_model() {
    let model = model(SKETCH);
    let names: Vec<_> = model.listeners.iter().map(|listener| listener.name.as_str()).collect();
    assert_eq!(names, ["http", "https"]);
    assert!(model.listeners[0].tls.is_none() && model.listeners[1].tls.is_some());
    let backend = &model.upstreams[0];
    assert_eq!((backend.name.as_str(), &backend.balance), ("backend", &LbPolicy::LeastConnections));
    assert_eq!(backend.endpoints.iter().map(|endpoint| endpoint.backup).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(backend.keepalive.connections, 32);
    let check = backend.health_check.as_ref().unwrap();
    assert!(matches!(&check.probe, Probe::Http(probe) if &*probe.path == "/health"));
    assert_eq!(check.interval, Duration::from_secs(5));
    let host = &model.hosts[0];
    assert!(matches!(host.filters[0].kind, FilterKind::HttpsRedirect(_)));
    assert!(matches!(host.filters[1].kind, FilterKind::SecurityHeaders(_)));
    let routes: Vec<_> = host.routes.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(routes, ["sql-studio.app/api", "sql-studio.app=/health", "sql-studio.app/"]);
    assert!(matches!(&host.routes[1].matches.path, PathMatch::Exact(path) if &**path == "/health"));
    assert!(matches!(&host.routes[2].action, Action::Forward(forward) if forward.upstream.as_str() == "frontend"));
}

#[test]
fn json_is_yaml() {
    let text = r#"{"listeners": {"http": {"address": "127.0.0.1:8080"}}, "threads": 1,
                  "upstreams": {"o": {"endpoints": ["127.0.0.1:9"], "keepalive": 256}},
                  "hosts": [{"names": ["a.test"], "routes": [{"path": "/", "upstream": "o"}]}], "access-log": "off"}"#;
    assert!(model(text).process.access_log.is_none());
}

/// A file of that many hosts, each with three routes.
fn large(hosts: usize) -> String {
    let mut text = String::from(
        "listeners: { http: { address: ':80' } }\nupstreams:\n  o: { endpoints: ['127.0.0.1:1'] }\nhosts:\n",
    );
    for i in 0..hosts {
        text += &format!(
            "  - names: [h{i}.example.org, www.h{i}.example.org]\n    filters: [https-redirect]\n    routes:\n      \
             - path: /api\n        upstream: o\n        timeouts: {{ read: 5s }}\n      - exact: /health\n        \
             upstream: o\n      - path: /\n        upstream: o\n"
        );
    }
    text
}

#[test]
fn ten_thousand_hosts_are_read() {
    let text = large(10_000);
    let model = model(&text);
    assert_eq!(model.hosts.len(), 10_000);
}
