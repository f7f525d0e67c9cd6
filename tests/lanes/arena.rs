//! The two Weirs, with the same file but for the lane, and what each worker has of them: a listener and an origin a side.

use std::net::SocketAddr;

use super::origin::Origin;
use super::stage::Side;
use crate::support::{Weir, free_address};

pub struct Arena {
    pub workers: Vec<Vec<Side>>,
    // Stopped last: the sides' connections have ended then.
    weirs: Vec<Weir>,
}

impl Arena {
    /// `lanes`: the word for each side. The first is the oracle.
    pub fn open(lanes: &[&str], workers: usize) -> Arena {
        let mut sides: Vec<Vec<Side>> = (0..workers).map(|_| Vec::new()).collect();
        let mut weirs = Vec::new();
        for lane in lanes {
            let places: Vec<Place> = (0..workers).map(|_| Place::new()).collect();
            weirs.push(Weir::start(&file(lane, &places)));
            for (worker, place) in sides.iter_mut().zip(places) {
                worker.push(Side::new(place.weir, place.origin));
            }
        }
        Arena { workers: sides, weirs }
    }

    /// Of the requests that the last Weir routed, how many of a hundred took the lean lane.
    pub fn lean_share(&self) -> f64 {
        let count = |weir: &Weir, lane: &str| {
            weir.metric("weir_lane_requests_total", &[&format!("lane=\"{lane}\"")]).unwrap_or_default()
        };
        let shares = self.weirs.last().map(|weir| (count(weir, "lean"), count(weir, "full")));
        shares.map_or(0.0, |(lean, full)| 100.0 * lean / (lean + full).max(1.0))
    }
}

struct Place {
    weir: SocketAddr,
    origin: Origin,
}

impl Place {
    fn new() -> Place {
        let origin = Origin::listen(free_address()).expect("a free port can be listened on");
        Place { weir: free_address(), origin }
    }
}

fn file(lane: &str, places: &[Place]) -> String {
    let mut text = format!("threads: 1\naccess-log: off\nlanes: {lane}\ntrusted-proxies: [ 127.0.0.9 ]\nlisteners:\n");
    for (number, place) in places.iter().enumerate() {
        text += &format!(
            "  w{number}: {{ address: \"{}\", limits: {{ max-requests: 1000000000, body-timeout: 30s, idle-timeout: 10m }} }}\n",
            place.weir
        );
    }
    text += "upstreams:\n";
    for (number, place) in places.iter().enumerate() {
        for (name, keys) in UPSTREAMS {
            text += &format!(
                "  {name}{number}: {{ endpoints: [\"{}\"], keepalive: {{ max-requests: 1000000000, idle-timeout: 10m }}, {keys} }}\n",
                place.origin.address
            );
        }
    }
    text += "hosts:\n";
    for number in 0..places.len() {
        text += &HOSTS.replace("@", &number.to_string());
    }
    text
}

/// A retry is no matter of what the requests of the last seconds leave of a budget.
const UPSTREAMS: [(&str, &str); 3] = [
    ("o", "retry: { budget: 100% }"),
    ("s", "sticky: { cookie: node }, retry: { budget: 100% }"),
    ("t", "timeouts: { read: 150ms }, retry: { budget: 100%, on: [connect, reset, 503] }"),
];

/// `@`: the worker. Every filter that both lanes have, each on a route of its own, and a route with all of them.
const HOSTS: &str = r#"
  - names: ["*"]
    listeners: [w@]
    routes:
      - { path: /, upstream: o@ }
      - { exact: /exact, upstream: o@, filters: [ security-headers ] }
      - path: /edits
        upstream: o@
        filters:
          - headers:
              request:
                set: { X-Set: "${client-ip} ${host} ${method} ${scheme}", X-Uri: "${uri}", X-Path: "${path}", X-Query: "${query}", X-Empty: "${header:x-nothing}" }
                add: { X-Many: "${header:x-many}", Via: "1.1 weir" }
                append: { Accept: "text/x", X-List: "${header:user-agent}" }
                remove: [ X-Gone, Referer, Accept-Encoding ]
              response:
                set: { X-Set: "${client-ip} ${host} ${method} ${scheme} ${route} ${upstream}", X-Uri: "${uri}", X-Path: "${path}", X-Query: "${query}" }
                add: { X-Many: "${header:x-many}", Set-Cookie: "weir=1" }
                append: { Vary: "X-Edited", X-List: more }
                remove: [ Server, X-Gone, X-Powered-By ]
      - path: /success
        upstream: o@
        filters: [ { headers: { response: { statuses: success, set: { X-Set: yes }, remove: [ Server ] } } } ]
      - path: /cors
        upstream: o@
        filters: [ { cors: { origins: ["https://a.test", "https://*.b.test"], credentials: true, methods: [GET, POST], expose: [X-Total], max-age: 1h } } ]
      - path: /any
        upstream: o@
        filters: [ { cors: { origins: ["*"] } } ]
      - path: /cache-headers
        upstream: o@
        filters:
          - cache-headers:
              - { path: /cache-headers/assets, cache-control: "public, immutable", expires: 1h }
              - { extension: [js, css], cache-control: "max-age=60" }
              - { type: "text/*", cache-control: no-cache, keep: true }
      - path: /limited
        upstream: o@
        filters: [ { rate-limit: { rate: 100000/s, burst: 100000 } }, { concurrency-limit: { max: 1000 } } ]
      - { path: /denied, upstream: o@, filters: [ { deny: [ 127.0.0.1 ] } ] }
      - { path: /allowed, upstream: o@, filters: [ { allow: [ 127.0.0.9, 203.0.113.0/24 ] } ] }
      - { path: /rewritten, upstream: o@, rewrite: { prefix: /to/here } }
      - { path: /dropped, upstream: o@, rewrite: { prefix: /, query: drop, host: "inner.test:82" } }
      - { regex: "^/user/([^/]+)(/.*)?$", upstream: o@, rewrite: { regex: { replacement: "/u$2/$1?from=$1" } } }
      - { path: /moved, redirect: { prefix: /to } }
      - { path: /else, redirect: { status: 308, scheme: https, host: new.test, port: 8443 } }
      - { path: /said, respond: { status: 418, headers: { Content-Type: text/plain }, body: short } }
      - { path: /refused, respond: { status: 403 } }
      - { path: /sticky, upstream: s@ }
      - { path: /hurried, upstream: t@ }
      - { path: /small, upstream: o@, filters: [ { max-body-size: 64B } ] }
      - { path: /posted, methods: [POST, PUT], upstream: o@ }
      - { path: /asked, headers: { X-Version: "2", X-Debug: absent }, query: { v: { regex: "^[0-9]+$" } }, upstream: o@, rewrite: { prefix: /asked-well } }
      - path: /slashed
        upstream: o@
        filters: [ { trailing-slash: { slash: add } } ]
      - path: /own
        upstream: o@
        filters:
          - response-rewrite: { cookie-path: { from: /app, to: /own }, location: { from: "http://inner.test/", to: /own/ } }
      - path: /whole
        upstream: s@
        rewrite: { prefix: /api }
        filters:
          - deny: [ 198.51.100.0/24 ]
          - rate-limit: { rate: 100000/s, burst: 100000, delay: none }
          - concurrency-limit: { max: 1000 }
          - max-body-size: 1MiB
          - security-headers
          - cors: { origins: ["https://a.test"], credentials: true }
          - cache-headers: [ { extension: js, cache-control: "max-age=60" } ]
          - headers: { request: { set: { X-Client: "${client-ip}" }, remove: [ X-Gone ] }, response: { set: { X-Served-By: weir }, remove: [ Server ] } }
  - names: [other.test, "*.wild.test"]
    listeners: [w@]
    filters: [ { www-redirect: { to: to-www } } ]
    routes: [ { path: /only, upstream: s@ }, { path: /, upstream: o@ } ]
"#;
