//! The first user's file beside the nginx file that it replaces: the same requests, the same answers, limits, caches and headers.
//!
//! Both stand in front of origins of their own that say the same. What is in the way of a test is taken out of the file: TLS and the
//! authority (so that requests go over plain HTTP), names of machines, folders.

mod support;

use std::net::SocketAddr;
use std::path::Path;

use support::{Nginx, Origin, Received, Response, Weir, free_address, request};

const FILE: &str = "config/first-user.yaml";

/// Its server blocks for the two names, as they were.
const NGINX: &str = r#"
server {
    listen LISTEN;
    server_name api.sql-studio.app;
    client_max_body_size 10m;
    add_header X-Frame-Options DENY always;
    add_header X-Content-Type-Options nosniff always;
    location = /lb-health { default_type text/plain; return 200 "healthy\n"; }
    location = /health { proxy_pass http://backend; }
    location ~ ^/api/v1/auth/(login|register|magic-link) {
        limit_req zone=auth burst=3 nodelay;
        proxy_pass http://backend;
    }
    location /api/ {
        limit_req zone=requests burst=50 nodelay;
        limit_conn addresses 10;
        proxy_cache api;
        proxy_cache_valid 200 5m;
        proxy_cache_valid 404 1m;
        proxy_no_cache $cookie_session $http_authorization;
        proxy_cache_bypass $http_authorization;
        add_header X-Cache-Status $upstream_cache_status always;
        add_header X-Frame-Options DENY always;
        add_header X-Content-Type-Options nosniff always;
        proxy_pass http://backend;
    }
    location /ws/ { proxy_pass http://backend; proxy_read_timeout 7d; }
}
server {
    listen LISTEN;
    server_name sql-studio.app www.sql-studio.app;
    client_max_body_size 10m;
    add_header X-Frame-Options DENY always;
    add_header X-Content-Type-Options nosniff always;
    location = /lb-health { default_type text/plain; return 200 "healthy\n"; }
    location ^~ /assets/ {
        proxy_cache static;
        proxy_cache_valid 200 1y;
        proxy_cache_valid 404 1m;
        proxy_cache_use_stale error timeout updating http_500 http_502 http_503 http_504;
        proxy_cache_lock on;
        add_header X-Cache-Status $upstream_cache_status always;
        add_header Cache-Control "public, max-age=31536000, immutable";
        add_header X-Frame-Options DENY always;
        add_header X-Content-Type-Options nosniff always;
        proxy_pass http://frontend;
    }
    location = /sw.js {
        add_header Cache-Control no-store;
        add_header X-Frame-Options DENY always;
        add_header X-Content-Type-Options nosniff always;
        proxy_pass http://frontend;
    }
    location ~ \.(png|woff2)$ {
        add_header Cache-Control "public, max-age=2592000";
        add_header X-Frame-Options DENY always;
        add_header X-Content-Type-Options nosniff always;
        proxy_pass http://frontend;
    }
    location / {
        add_header Cache-Control no-cache;
        add_header X-Frame-Options DENY always;
        add_header X-Content-Type-Options nosniff always;
        proxy_pass http://frontend;
    }
}
"#;

fn origin() -> Origin {
    Origin::start(|request: &Received| {
        let path = request.target.split('?').next().unwrap_or_default();
        let (status, kind) = match path {
            _ if path.contains("missing") => (404, "text/plain"),
            _ if path.contains("broken") => (500, "text/plain"),
            _ if path.ends_with(".png") => (200, "image/png"),
            _ if path.ends_with(".woff2") => (200, "font/woff2"),
            _ if path.ends_with(".js") => (200, "text/javascript"),
            _ if path.starts_with("/api") => (200, "application/json"),
            _ => (200, "text/html"),
        };
        let cookie = if path.contains("signed-in") { "Set-Cookie: session=1\r\n" } else { "" };
        let body = format!("{} {} of {}", request.method, request.target, request.body.len());
        support::Answer::Send(
            format!(
                "HTTP/1.1 {status} Scripted\r\nContent-Type: {kind}\r\n{cookie}Content-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .into_bytes(),
        )
    })
}

/// The example, in front of this origin, and the address of what is its TLS listener.
fn weir(origin: SocketAddr, caches: &Path) -> (Weir, SocketAddr) {
    let (http, https, status) = (free_address(), free_address(), free_address());
    let mut text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE)).unwrap();
    let cut = |text: &mut String, from: &str, to: &str| {
        let begin = text.find(from).unwrap_or_else(|| panic!("{FILE} has no {from:?}"));
        let end = begin + text[begin..].find(to).unwrap_or_else(|| panic!("{FILE} has no {to:?} after it"));
        text.replace_range(begin..end, "");
    };
    cut(&mut text, "acme:\n", "certificates:\n");
    cut(&mut text, "certificates:\n", "# nginx: proxy_cache_path");
    cut(&mut text, "admin:", "shutdown:");
    for (from, to) in [
        ("    tls: { min-version: \"1.2\" }\n", ""),
        ("0.0.0.0:80\"", &*format!("{http}\"")),
        ("0.0.0.0:443", &https.to_string()),
        ("0.0.0.0:8080", &status.to_string()),
        ("\"backend-1:8500\"", &format!("\"{origin}\"")),
        ("      - \"backend-2:8500\"\n", ""),
        ("      - { address: \"backend-3:8500\", backup: true }\n", ""),
        ("\"frontend-1:80\", \"frontend-2:80\"", &format!("\"{origin}\"")),
        ("/var/cache/weir", &caches.display().to_string()),
    ] {
        assert!(text.contains(from), "{FILE} has no {from:?}");
        text = text.replace(from, to);
    }
    (Weir::start(&text), https)
}

struct Both {
    nginx: Nginx,
    _weir: Weir,
    weir_at: SocketAddr,
    _origins: [Origin; 2],
    _caches: tempfile::TempDir,
}

fn both() -> Both {
    let (origins, caches) = ([origin(), origin()], tempfile::tempdir().unwrap());
    let at = origins[0].address;
    let nginx = Nginx::start_with_servers(
        &format!(
            "limit_req_zone $binary_remote_addr zone=requests:10m rate=30r/s;
             limit_req_zone $binary_remote_addr zone=auth:10m rate=5r/m;
             limit_conn_zone $binary_remote_addr zone=addresses:10m;
             limit_req_status 429; limit_conn_status 429;
             proxy_cache_path api keys_zone=api:10m max_size=1g;
             proxy_cache_path static keys_zone=static:10m max_size=1g inactive=1y;
             proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header Host $host;
             upstream backend {{ least_conn; server {at}; keepalive 32; }}
             upstream frontend {{ least_conn; server {at}; keepalive 32; }}\n"
        ),
        NGINX,
    );
    let (weir, weir_at) = weir(origins[1].address, caches.path());
    Both { nginx, _weir: weir, weir_at, _origins: origins, _caches: caches }
}

/// Host, method, target, header fields.
type Step = (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);

/// What is compared of an answer.
#[derive(Debug, PartialEq)]
struct Seen {
    status: u16,
    body: String,
    fields: Vec<Option<String>>,
}

impl Seen {
    fn of(response: &Response) -> Self {
        let field = |name: &str| response.header(name).map(str::to_owned);
        let names = [
            "x-cache-status",
            "cache-control",
            "x-frame-options",
            "x-content-type-options",
            "content-type",
            "set-cookie",
        ];
        // Pages of errors are each one's own; so is their type.
        let is_own = response.status >= 400 && !response.text().contains(" of ");
        let mut fields: Vec<_> = names.iter().map(|name| field(name)).collect();
        if is_own {
            fields = vec![field("x-frame-options")];
        }
        Self { status: response.status, body: if is_own { String::new() } else { response.text() }, fields }
    }
}

const API: &str = "api.sql-studio.app";
const SESSION: &[(&str, &str)] = &[("Cookie", "session=1")];

const PAGES: &str = "sql-studio.app";

#[test]
fn requests_are_answered_as_nginx_answered_them() {
    let both = both();
    let steps: &[Step] = &[
        (API, "GET", "/lb-health", &[]),
        (API, "GET", "/health", &[]),
        (API, "GET", "/api/v1/projects", &[]),
        (API, "GET", "/api/v1/projects", &[]),
        (API, "HEAD", "/api/v1/projects", &[]),
        (API, "GET", "/api/v1/projects?page=2", &[]),
        (API, "GET", "/api/v1/projects?page=2", &[]),
        (API, "GET", "/api/v1/missing", &[]),
        (API, "GET", "/api/v1/missing", &[]),
        (API, "GET", "/api/v1/broken", &[]),
        (API, "GET", "/api/v1/broken", &[]),
        (API, "GET", "/api/v1/me", SESSION),
        (API, "GET", "/api/v1/me", SESSION),
        (API, "GET", "/api/v1/me", &[]),
        (API, "GET", "/api/v1/me", &[]),
        (API, "GET", "/api/v1/signed-in", &[]),
        (API, "GET", "/api/v1/signed-in", &[]),
        (API, "GET", "/api/v1/orders", &[]),
        (API, "GET", "/api/v1/orders", &[]),
        (API, "GET", "/ws/plain", &[]),
        (API, "GET", "/nowhere", &[]),
        (PAGES, "GET", "/lb-health", &[]),
        (PAGES, "GET", "/", &[]),
        (PAGES, "GET", "/pricing?x=1", &[]),
        (PAGES, "GET", "/sw.js", &[]),
        (PAGES, "GET", "/logo.png", &[]),
        (PAGES, "GET", "/font.woff2", &[]),
        (PAGES, "GET", "/assets/app.1f3.js", &[]),
        (PAGES, "GET", "/assets/app.1f3.js", &[]),
        (PAGES, "GET", "/assets/logo.png", &[]),
        (PAGES, "GET", "/assets/logo.png", &[]),
        (PAGES, "GET", "/assets/missing.js", &[]),
        (PAGES, "GET", "/assets/missing.js", &[]),
        (PAGES, "POST", "/contact", &[]),
        ("www.sql-studio.app", "GET", "/", &[]),
        ("www.sql-studio.app", "GET", "/assets/app.1f3.js", &[]),
    ];
    let mut unlike = Vec::new();
    for (host, method, target, headers) in steps {
        let ask = |address| {
            let mut request = request(address, method, target).host(host);
            for (name, value) in *headers {
                request = request.header(name, value);
            }
            Seen::of(&request.send())
        };
        let (theirs, ours) = (ask(both.nginx.address), ask(both.weir_at));
        if theirs != ours && !is_meant(host, target, &theirs, &ours) {
            unlike.push(format!("{host} {method} {target} {headers:?}\n  nginx {theirs:?}\n  weir  {ours:?}"));
        }
    }
    assert!(unlike.is_empty(), "{}", unlike.join("\n"));
    // Nobody's answer is given to somebody else.
    let with = |address| {
        let signed =
            |value: &str| request(address, "GET", "/api/v1/mine").host(API).header("Authorization", value).send();
        [signed("Bearer a"), signed("Bearer b")].map(|response| response.header("x-cache-status").map(str::to_owned))
    };
    assert!(with(both.weir_at).iter().all(|outcome| outcome.as_deref() == Some("MISS")));
}

/// Where Weir does more than the file it replaces.
fn is_meant(host: &str, target: &str, theirs: &Seen, ours: &Seen) -> bool {
    // nginx keys its cache on the upstream's name alone, so that two hosts share what is kept; Weir's default has the host, too.
    let other_host = host.starts_with("www") && target.starts_with("/assets/");
    // What no location takes is answered by both, each with its own page.
    let own_page = theirs.status == ours.status && target == "/nowhere";
    other_host || own_page
}

#[test]
fn limits_let_as_many_pass_as_nginx_did() {
    let both = both();
    let burst = |address, method: &str, target: &str, count: usize| {
        let statuses = (0..count).map(|_| request(address, method, target).host(API).send().status);
        statuses.filter(|status| *status == 429).count()
    };
    // The bucket leaks while they are sent.
    for (method, target, count, refused) in
        [("POST", "/api/v1/auth/login", 8, 4..=4), ("GET", "/api/v1/x", 90, 20..=39)]
    {
        for (who, address) in [("nginx", both.nginx.address), ("weir", both.weir_at)] {
            let seen = burst(address, method, target, count);
            assert!(refused.contains(&seen), "{who} refused {seen} of {count} to {target}");
        }
    }
}
