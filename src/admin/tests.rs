//! Over real sockets, against an app that says what each test needs.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::diagnostics::{Diagnostic, Origin};
use crate::model::*;

#[derive(Default)]
struct App {
    ready: AtomicBool,
}

#[async_trait]
impl Inspect for App {
    fn readiness(&self) -> Readiness {
        match self.ready.load(Ordering::Relaxed) {
            true => Readiness::Ready,
            false => Readiness::NotReady(vec!["draining".into(), "weir.yaml was rejected".into()]),
        }
    }

    fn configuration(&self) -> Configuration {
        Configuration { generation: 3, model: Arc::new(model()) }
    }

    fn reload_status(&self) -> ReloadStatus {
        let mut diagnostics = Diagnostics::default();
        let origin = Origin { file: "weir.yaml".into(), line: 4, column: 2, length: 1 };
        diagnostics.push(Diagnostic::error(origin, "hosts", "is no list"));
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400);
        ReloadStatus { at, result: ReloadResult::Rejected, generation: 3, diagnostics }
    }

    fn upstreams(&self) -> Value {
        json!([{ "name": "backend" }])
    }

    fn certificates(&self) -> Value {
        json!([{ "names": ["a.test"] }])
    }

    fn caches(&self) -> Value {
        json!([{ "store": "default", "memory_bytes": 7 }])
    }

    fn explain(&self, query: &ExplainQuery) -> Result<Value, String> {
        match query.url.starts_with("https://") {
            true => Ok(json!({ "method": query.method, "url": query.url, "headers": query.headers })),
            false => Err(format!("\"{}\" has no scheme", query.url)),
        }
    }

    fn metrics(&self) -> String {
        "weir_build_info 1\n".into()
    }

    async fn operate(&self, operation: Operation) -> Result<String, String> {
        match operation {
            Operation::RenewCertificate { name } if name == "a.test" => Ok(format!("renewing {name}")),
            Operation::RenewCertificate { name } => Err(format!("there is no {name}")),
            Operation::PurgeCache { store, purge } => Ok(format!("purged {purge:?} of {store:?}")),
            Operation::RevokeCertificate { name, reason } => Ok(format!("revoked {name}: {reason:?}")),
        }
    }
}

fn model() -> Model {
    let token = HeaderTemplate::parse("s3cret").unwrap();
    let edits = EditSet { set: vec![("authorization".into(), token)], ..EditSet::default() };
    let filter = Filter {
        origin: Origin::builtin(),
        kind: FilterKind::Headers(HeaderEdits { request: edits, ..HeaderEdits::default() }),
    };
    Model {
        process: Process {
            threads: Threads::Auto,
            access_log: None,
            admin: None,
            trusted_proxies: Vec::new(),
            request_ids: crate::model::RequestIds::OfTrustedProxies,
            lanes: crate::defaults::LANES,
            forwarded: ForwardedField::Omit,
            shutdown: Shutdown { delay: Duration::ZERO, timeout: Duration::from_secs(30) },
            resolvers: Vec::new(),
            session_tickets: SessionTickets::Off,
            ocsp_stapling: OcspStapling::Off,
            redis: None,
            replicas: None,
        },
        listeners: Vec::new(),
        tcp_listeners: Vec::new(),
        udp_listeners: Vec::new(),
        acme: None,
        certificates: Vec::new(),
        hosts: vec![Reused::from(VirtualHost {
            origin: Origin::builtin(),
            names: vec![HostName::CatchAll],
            listeners: Vec::new(),
            tls: HostTls::default(),
            patterns: Default::default(),
            filters: vec![filter],
            routes: Vec::new(),
        })],
        upstreams: Vec::new(),
        cache_stores: Vec::new(),
    }
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

async fn server() -> (AdminServer, Arc<App>) {
    let app = Arc::new(App::default());
    (AdminServer::bind(any_port(), app.clone()).await.unwrap(), app)
}

/// The whole answer, to the end of the connection.
async fn ask(address: SocketAddr, method: &str, target: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!("{method} {target} HTTP/1.1\r\nHost: admin\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn get(address: SocketAddr, target: &str) -> (u16, String) {
    let answer = ask(address, "GET", target).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

async fn get_json(address: SocketAddr, target: &str) -> Value {
    let (status, body) = get(address, target).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn readiness_says_every_reason_until_it_is_ready() {
    let (server, app) = server().await;
    assert_eq!(get(server.address(), "/healthz").await, (200, "ok\n".into()));
    let not_ready = "not ready: draining\nnot ready: weir.yaml was rejected\n";
    assert_eq!(get(server.address(), "/readyz").await, (503, not_ready.into()));
    app.ready.store(true, Ordering::Relaxed);
    assert_eq!(get(server.address(), "/readyz").await, (200, "ready\n".into()));
}

#[tokio::test]
async fn the_configuration_is_shown_with_its_generation_and_without_secrets() {
    let (server, _) = server().await;
    let shown = get_json(server.address(), "/config").await;
    assert_eq!(shown["generation"], 3);
    assert_eq!(shown["model"]["process"]["shutdown"]["timeout"], "30s");
    assert_eq!(shown["model"]["hosts"][0]["filters"][0]["headers"]["request"]["set"][0][1], "(redacted)");
}

#[tokio::test]
async fn the_last_reload_is_told_with_its_diagnostics() {
    let (server, _) = server().await;
    let status = get_json(server.address(), "/config/status").await;
    assert_eq!((&status["at"], &status["result"]), (&json!("1970-01-02T00:00:00Z"), &json!("rejected")));
    assert_eq!(status["diagnostics"][0]["message"], "is no list");
    assert_eq!(status["diagnostics"][0]["origin"]["line"], 4);
}

#[tokio::test]
async fn what_the_app_lists_is_passed_on() {
    let (server, _) = server().await;
    assert_eq!(get_json(server.address(), "/upstreams").await, json!([{ "name": "backend" }]));
    assert_eq!(get_json(server.address(), "/certificates").await, json!([{ "names": ["a.test"] }]));
    assert_eq!(get(server.address(), "/metrics").await, (200, "weir_build_info 1\n".into()));
    let answer = ask(server.address(), "GET", "/metrics").await.to_ascii_lowercase();
    assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{answer}");
}

#[tokio::test]
async fn a_question_is_explained_or_refused_with_its_reason() {
    let (server, _) = server().await;
    let target = "/explain?method=PUT&url=https%3A%2F%2Fa.test%2F&header=X-A:%20b";
    let explained = get_json(server.address(), target).await;
    assert_eq!(explained, json!({ "method": "PUT", "url": "https://a.test/", "headers": [["x-a", "b"]] }));
    assert_eq!(get(server.address(), "/explain?url=a").await, (400, "\"a\" has no scheme\n".into()));
    let (status, body) = get(server.address(), "/explain").await;
    assert!(status == 400 && body.contains("\"url\" is missing"), "{status} {body}");
}

#[tokio::test]
async fn operations_want_a_post_and_their_parameters() {
    let (server, _) = server().await;
    let post = |target: &'static str| ask(server.address(), "POST", target);
    for (target, expected) in [
        ("/certificates/renew?name=a.test", "202 Accepted|renewing a.test\n"),
        ("/cache/purge?url=https://A.test/x%3Fy", "202 Accepted|purged Url(\"a.test/x?y\") of None\n"),
        ("/cache/purge?prefix=a.test&store=s", "202 Accepted|purged Prefix(\"a.test/\") of Some(\"s\")\n"),
        ("/cache/purge?tag=t", "202 Accepted|purged Tag(\"t\") of None\n"),
        ("/cache/purge?all=true", "202 Accepted|purged Everything of None\n"),
        (
            "/cache/purge?all=yes",
            "400 Bad Request|write one of ?url=a.test/path, ?prefix=a.test/path, ?tag=… and ?all=true\n",
        ),
        ("/certificates/renew?name=b.test", "409 Conflict|there is no b.test\n"),
        ("/certificates/renew", "400 Bad Request|the parameter \"name\" is missing; write ?name=…\n"),
        ("/certificates/revoke?name=a.test&reason=key-compromise", "202 Accepted|revoked a.test: KeyCompromise\n"),
        ("/certificates/revoke?name=a.test", "202 Accepted|revoked a.test: Unspecified\n"),
        ("/metrics", "405 Method Not Allowed|only GET, HEAD is answered here\n"),
    ] {
        let answer = post(target).await;
        let (status, body) = expected.split_once('|').unwrap();
        assert!(answer.contains(status) && answer.ends_with(body), "{target}: {answer}");
    }
    let refused = post("/certificates/revoke?name=a.test&reason=spite").await;
    assert!(refused.contains("there is no reason \"spite\"; there are unspecified, key-compromise"), "{refused}");
    let looked = ask(server.address(), "GET", "/certificates/renew?name=a.test").await;
    assert!(looked.contains("405") && looked.to_lowercase().contains("allow: post"), "{looked}");
}

#[tokio::test]
async fn nothing_is_changed_for_a_browser() {
    let (server, _) = server().await;
    for field in ["Origin: https://evil.test", "Sec-Fetch-Site: cross-site"] {
        let mut socket = TcpStream::connect(server.address()).await.unwrap();
        let request = format!("POST /certificates/renew?name=a.test HTTP/1.1\r\nHost: admin\r\n{field}\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("403") && answer.contains("nothing is changed for a browser"), "{answer}");
    }
}

#[tokio::test]
async fn an_unknown_path_lists_what_there_is() {
    let (server, _) = server().await;
    let (status, body) = get(server.address(), "/nothing").await;
    assert_eq!(status, 404);
    for path in
        ["/healthz", "/readyz", "/metrics", "/config ", "/config/status", "/upstreams", "/certificates", "/explain"]
    {
        assert!(body.contains(path), "{path} is not in {body}");
    }
}

#[tokio::test]
async fn only_get_and_head_are_answered() {
    let (server, _) = server().await;
    let answer = ask(server.address(), "DELETE", "/config").await.to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 405 ") && answer.contains("allow: get, head\r\n"), "{answer}");
    let answer = ask(server.address(), "HEAD", "/healthz").await.to_ascii_lowercase();
    assert!(answer.contains("content-length: 3\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_reload_moves_it_to_another_address_and_frees_the_old_one() {
    let (mut server, _) = server().await;
    let old = server.address();
    server.rebind(any_port()).await.unwrap();
    assert_eq!(server.address(), old, "the same address was bound anew");

    let next = SocketAddr::from(([127, 0, 0, 2], 0));
    server.rebind(next).await.unwrap();
    assert_ne!(server.address(), old);
    assert_eq!(get(server.address(), "/healthz").await.0, 200);
    assert!(TcpStream::connect(old).await.is_err());
}

#[tokio::test]
async fn it_opens_up_on_the_port_that_it_holds_itself() {
    let (mut server, _) = server().await;
    let wide = SocketAddr::from(([0, 0, 0, 0], server.address().port()));
    server.rebind(wide).await.unwrap();
    assert_eq!(server.address(), wide);
    let other = SocketAddr::from(([127, 0, 0, 3], wide.port()));
    assert_eq!(get(other, "/healthz").await.0, 200);
}

#[tokio::test]
async fn an_address_that_cannot_be_bound_leaves_it_where_it_was() {
    let (mut server, _) = server().await;
    let occupied = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = server.rebind(occupied.local_addr().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert_eq!(get(server.address(), "/healthz").await.0, 200);
}

#[tokio::test]
async fn a_connection_that_says_nothing_neither_holds_up_others_nor_the_stop() {
    let (server, _) = server().await;
    let address = server.address();
    let _silent = TcpStream::connect(address).await.unwrap();
    assert_eq!(get(address, "/healthz").await.0, 200);
    server.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
}
