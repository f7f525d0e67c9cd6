//! The first user's Ingress, as it stood in front of ingress-nginx, unmodified: what clients see.

// It has a part of it.
#[allow(dead_code)]
#[path = "support/kube.rs"]
mod cluster;
mod support;

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::{Value, json};

use cluster::{Cluster, Ingress, endpoint_address, service, slice, tls_secret};
use support::{Answer, Authority, Origin, Response, TlsClient, eventually, request};

const NAMESPACE: &str = "studio";
const HOST: &str = "sql-studio.test";

/// Says who it is, and the status that the path ends with. At two paths it says nothing.
fn origin(name: &'static str) -> Origin {
    Origin::start_at(endpoint_address(), move |received| {
        let path = received.target.split('?').next().unwrap_or_default();
        match path {
            "/api/never" | "/api/held" => return Answer::Silence,
            _ => {}
        }
        match path.rsplit('/').next().and_then(|end| end.parse::<u16>().ok()) {
            Some(status) => Answer::status(status, "the backend's own error"),
            None => Answer::ok(name),
        }
    })
}

fn serve(cluster: &Cluster, name: &str, origins: &[&Origin]) {
    let port = origins[0].address.port();
    let addresses: Vec<_> = origins.iter().map(|origin| origin.address.ip()).collect();
    cluster.apply(service(NAMESPACE, name, &[("web", 80)]));
    cluster.apply(slice(NAMESPACE, name, ("web", port), &addresses));
}

fn path(path: &str, kind: &str, service: &str) -> Value {
    json!({ "path": path, "pathType": kind, "backend": { "service": { "name": service, "port": { "number": 80 } } } })
}

fn main_ingress() -> Value {
    let paths =
        [path("/api", "Prefix", "backend"), path("/health", "Exact", "backend"), path("/", "Prefix", "frontend")];
    let rule = |host: &str| json!({ "host": host, "http": { "paths": paths } });
    let annotation = |key: &str| format!("nginx.ingress.kubernetes.io/{key}");
    let mut annotations = json!({ "kubernetes.io/ingress.class": NAMESPACE });
    for (key, value) in [
        ("ssl-redirect", "true"),
        ("force-ssl-redirect", "true"),
        ("from-to-www-redirect", "true"),
        ("limit-rps", "20"),
        ("limit-rpm", "100"),
        ("limit-connections", "10"),
        ("proxy-body-size", "10m"),
        ("proxy-connect-timeout", "5"),
        ("proxy-read-timeout", "3"),
        ("proxy-send-timeout", "60"),
        ("enable-cors", "true"),
        ("cors-allow-origin", "https://*.sql-studio.test"),
        ("cors-allow-credentials", "true"),
        ("upstream-hash-by", "$remote_addr"),
        ("custom-http-errors", "404,503"),
        ("default-backend", "errors"),
        ("configuration-snippet", "more_set_headers \"X-Frame-Options: DENY\";\nadd_header X-Studio yes always;\n"),
    ] {
        annotations[annotation(key)] = value.into();
    }
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": { "namespace": NAMESPACE, "name": "studio", "annotations": annotations },
        "spec": {
            "tls": [{ "hosts": [HOST, "api.sql-studio.test"], "secretName": "studio-tls" }],
            "rules": [rule(HOST), rule("api.sql-studio.test")],
        },
    })
}

fn staging_ingress() -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": { "namespace": NAMESPACE, "name": "staging", "annotations": {
            "kubernetes.io/ingress.class": NAMESPACE,
            "nginx.ingress.kubernetes.io/auth-type": "basic",
            "nginx.ingress.kubernetes.io/auth-secret": "staging-users",
            "nginx.ingress.kubernetes.io/auth-realm": "Staging",
        } },
        "spec": { "rules": [{ "host": "staging.sql-studio.test", "http": { "paths": [path("/", "Prefix", "frontend")] } }] },
    })
}

/// Over TLS.
struct Visitor {
    https: SocketAddr,
    tls: TlsClient,
}

impl Visitor {
    fn ask(&self, method: &str, host: &str, target: &str, fields: &str) -> Response {
        let mut connection = self.tls.connect(self.https, host).expect("a TLS connection");
        connection.write(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"));
        connection.read_response_to(method)
    }

    fn get(&self, host: &str, target: &str) -> Response {
        self.ask("GET", host, target, "")
    }
}

#[test]
fn the_first_users_ingress_is_served_as_it_was() {
    let cluster = Cluster::shared();
    cluster.prepare(NAMESPACE);
    let backends = [origin("backend"), origin("backend")];
    let (frontend, errors) = (
        origin("frontend"),
        Origin::start_at(endpoint_address(), |received| {
            let code = received.header("x-code").unwrap_or("none").to_owned();
            Answer::status(code.parse().unwrap_or(500), &format!("a page for {code}"))
        }),
    );
    serve(cluster, "backend", &[&backends[0]]);
    serve(cluster, "frontend", &[&frontend]);
    serve(cluster, "errors", &[&errors]);
    let authority = Authority::new("studio");
    let identity = authority.issue(&[HOST, "*.sql-studio.test"]);
    cluster.apply(tls_secret(NAMESPACE, "studio-tls", &identity.cert, &identity.key));
    // admin:studio
    let users = "admin:{SHA}mhLFDy8jr58aMTr5Uq7iswYnrHs=\n";
    cluster.apply(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "namespace": NAMESPACE, "name": "staging-users" },
        "stringData": { "auth": users },
    }));
    cluster.apply(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "namespace": NAMESPACE, "name": "options" },
        "data": { "allow-snippet-annotations": "true" },
    }));
    cluster.apply(main_ingress());
    cluster.apply(staging_ingress());
    let weir = Ingress::start(cluster, NAMESPACE, &[&format!("--configmap={NAMESPACE}/options")]);
    let visitor = Visitor { https: weir.https, tls: TlsClient::trusting(&authority, &[b"http/1.1"]) };

    // Plain requests are sent to https; the port and all else of the URL stays.
    let answer = weir.get(HOST, "/api/x?y=1");
    assert_eq!((answer.status, answer.header("location")), (308, Some(&*format!("https://{HOST}/api/x?y=1"))));
    // The other form of the name leads to the one that is served.
    let answer = visitor.get(&format!("www.{HOST}"), "/a");
    assert_eq!((answer.status, answer.header("location")), (308, Some(&*format!("https://{HOST}/a"))));

    // Paths: a prefix by segments, one path exactly, and the rest; HSTS and the snippet's headers everywhere.
    for (target, says) in [("/api", "backend"), ("/api/x", "backend"), ("/apix", "frontend"), ("/", "frontend")] {
        let answer = visitor.get(HOST, target);
        assert_eq!((answer.status, answer.text().as_str()), (200, says), "{target}");
        assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000; includeSubDomains"));
        assert_eq!((answer.header("x-frame-options"), answer.header("x-studio")), (Some("DENY"), Some("yes")));
    }
    assert_eq!(visitor.get(HOST, "/health").text(), "backend");
    assert_eq!(visitor.get(HOST, "/health/x").text(), "frontend");
    assert_eq!(visitor.get("api.sql-studio.test", "/api/x").text(), "backend");

    // CORS: one label before the domain, credentials, and preflights that are answered here.
    let allowed = |origin: &str| {
        let answer = visitor.ask("GET", HOST, "/api", &format!("Origin: {origin}\r\n"));
        answer.header("access-control-allow-origin").map(str::to_owned)
    };
    assert_eq!(allowed("https://app.sql-studio.test").as_deref(), Some("https://app.sql-studio.test"));
    assert_eq!(allowed("https://a.b.sql-studio.test"), None);
    let preflight = visitor.ask(
        "OPTIONS",
        HOST,
        "/api",
        "Origin: https://app.sql-studio.test\r\nAccess-Control-Request-Method: PUT\r\n",
    );
    assert_eq!((preflight.status, preflight.header("access-control-allow-credentials")), (204, Some("true")));

    // Bodies up to 10 MiB; no byte of a larger one goes on.
    let sized = |bytes: usize| visitor.ask("POST", HOST, "/api", &format!("Content-Length: {bytes}\r\n")).status;
    assert_eq!(sized((10 << 20) + 1), 413);

    // A backend that says nothing is waited for as long as the annotation says, of which the default is a minute.
    let begun = Instant::now();
    assert_eq!(visitor.get(HOST, "/api/never").status, 504);
    // Three times, as often as it is tried.
    assert!((2..15).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());

    // Ten requests at once; the eleventh gets the page of the error 503.
    let ask = |target: &str| {
        let mut connection = visitor.tls.connect(visitor.https, HOST).expect("a TLS connection");
        connection.write(format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
        connection
    };
    let asked = || backends[0].received().iter().filter(|received| received.target == "/api/held").count();
    let held: Vec<_> = (0..10).map(|_| ask("/api/held")).collect();
    eventually("ten are in flight", || (asked() >= 10).then_some(()));
    assert_eq!(ask("/health").read_response().text(), "a page for 503");
    drop(held);
    eventually("there is a place again", || (ask("/health").read_response().status == 200).then_some(()));

    // Errors of these statuses come from the default backend, others are the backend's own.
    let answer = visitor.get(HOST, "/api/404");
    assert_eq!((answer.status, answer.text().as_str()), (404, "a page for 404"));
    assert_eq!(visitor.get(HOST, "/api/500").text(), "the backend's own error");
    let asked = errors.last_request();
    assert_eq!((asked.header("x-code"), asked.header("x-original-uri")), (Some("404"), Some("/api/404")));

    // The staging host asks for a password, and keeps it to itself.
    let asked = request(weir.http, "GET", "/").host("staging.sql-studio.test").send();
    assert_eq!(asked.status, 401);
    assert!(asked.header("www-authenticate").is_some_and(|field| field.starts_with("Basic realm=\"Staging\"")));
    let asked = request(weir.http, "GET", "/").host("staging.sql-studio.test");
    assert_eq!(asked.header("Authorization", "Basic YWRtaW46c3R1ZGlv").send().text(), "frontend");
    assert_eq!(frontend.last_request().header("authorization"), None);

    // 20 in a second and five times as many at once; then 503, by the default backend's page.
    let mut connection = visitor.tls.connect(visitor.https, HOST).expect("a TLS connection");
    let statuses: Vec<u16> = (0..160)
        .map(|_| {
            connection.write(format!("GET /api HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
            connection.read_response().status
        })
        .collect();
    let refused = statuses.iter().filter(|status| **status == 503).count();
    assert!(refused > 0 && statuses.iter().all(|status| matches!(status, 200 | 503)), "{statuses:?}");
    eventually("the bucket leaks", || (visitor.get(HOST, "/api").status == 200).then_some(()));

    // One client, one backend: its address is the key.
    serve_two(cluster, &backends);
    eventually("the second backend is known", || {
        let shown = weir.admin("/upstreams").text();
        backends.iter().all(|backend| shown.contains(&backend.address.to_string())).then_some(())
    });
    let before: Vec<_> = backends.iter().map(Origin::request_count).collect();
    for _ in 0..10 {
        eventually("there is room for one more", || (visitor.get(HOST, "/health").status == 200).then_some(()));
    }
    let got: Vec<_> = backends.iter().zip(&before).map(|(backend, before)| backend.request_count() - before).collect();
    assert!(got.contains(&10) && got.contains(&0), "{got:?}");
}

/// Each has a port of its own: a slice for each.
fn serve_two(cluster: &Cluster, backends: &[Origin; 2]) {
    for (number, backend) in backends.iter().enumerate() {
        let mut made = slice(NAMESPACE, "backend", ("web", backend.address.port()), &[backend.address.ip()]);
        made["metadata"]["name"] = format!("backend-{}", number + 1).into();
        cluster.apply(made);
    }
}
