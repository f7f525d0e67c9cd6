//! The owner with a probe that is played, and the probes against small servers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::model::{HttpProbe, Pattern, Probe, StatusRange};
use crate::snapshot::upstream::tests::{definition, one};
use crate::snapshot::upstream::{Answers, Question, Records};
use crate::tls::UpstreamTlsMaterial;

fn check(probe: Probe) -> model::HealthCheck {
    model::HealthCheck {
        probe,
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        unhealthy_after: one(2),
        healthy_after: one(2),
        port: None,
    }
}

fn upstream(endpoints: &str, check: model::HealthCheck) -> Arc<Upstream> {
    let definition = model::Upstream { health_check: Some(check), ..definition(endpoints) };
    let now = Instant::now().into_std();
    Arc::new(Upstream::new(definition.clone().into(), None, &UpstreamTlsMaterial::default(), now).unwrap())
}

/// Answers by address what it was told to.
#[derive(Default)]
struct Played(Mutex<HashMap<SocketAddr, Result<(), Arc<str>>>>);

impl Played {
    fn says(&self, address: &str, verdict: Result<(), &str>) {
        self.0.lock().unwrap().insert(address.parse().unwrap(), verdict.map_err(Arc::from));
    }
}

#[async_trait]
impl Check for Played {
    async fn check(&self, endpoint: &Endpoint, _: &model::HealthCheck) -> Result<(), Arc<str>> {
        let verdict = self.0.lock().unwrap().get(&endpoint.address).cloned();
        match verdict {
            Some(verdict) => verdict,
            None => std::future::pending().await,
        }
    }
}

type Changes = mpsc::UnboundedReceiver<String>;

fn observed() -> (Observer, Changes) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let observer: Observer = Arc::new(move |upstream, change| {
        let _ = sender.send(format!("{upstream} {} {:?} -> {:?}", change.endpoint, change.from, change.to));
    });
    (observer, receiver)
}

#[tokio::test(start_paused = true)]
async fn the_first_verdicts_come_at_once_and_later_ones_by_thresholds() {
    let (played, (observer, mut changes)) = (Arc::new(Played::default()), observed());
    played.says("10.0.0.1:80", Ok(()));
    played.says("10.0.0.2:80", Err("connection refused"));
    let upstream = upstream("10.0.0.1:80,10.0.0.2:80", check(Probe::Tcp));
    let begin = Instant::now();
    assert!(!upstream.is_settled());
    let _checks = HealthChecks::start(Arc::clone(&upstream), played.clone(), observer).unwrap();
    let mut first = [changes.recv().await.unwrap(), changes.recv().await.unwrap()];
    first.sort();
    assert_eq!(first, ["api 10.0.0.1:80 Unknown -> Healthy", "api 10.0.0.2:80 Unknown -> Unhealthy"]);
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert!(upstream.is_settled());

    played.says("10.0.0.1:80", Err("answered 500"));
    assert_eq!(changes.recv().await.unwrap(), "api 10.0.0.1:80 Healthy -> Unhealthy");
    let took = begin.elapsed();
    assert!(took >= Duration::from_secs(5) && took <= Duration::from_secs(10), "two probes took {took:?}");
}

#[tokio::test(start_paused = true)]
async fn no_answer_in_time_is_a_failure() {
    let (observer, mut changes) = observed();
    let upstream = upstream("10.0.0.1:80", check(Probe::Tcp));
    let _checks = HealthChecks::start(Arc::clone(&upstream), Arc::new(Played::default()), observer).unwrap();
    assert_eq!(changes.recv().await.unwrap(), "api 10.0.0.1:80 Unknown -> Unhealthy");
    let status = upstream.status(Instant::now().into_std());
    assert_eq!(status.endpoints[0].reason.as_deref(), Some("health checks fail: no answer within 2s"));
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_come_are_checked_and_those_that_go_are_not() {
    let (played, (observer, mut changes)) = (Arc::new(Played::default()), observed());
    played.says("10.0.0.1:80", Ok(()));
    played.says("10.0.0.2:80", Ok(()));
    let upstream = upstream("api.test:80", check(Probe::Tcp));
    let answer = |ip: &str| {
        let mut answers = Answers::default();
        let addresses = Records::Addresses(vec![ip.parse().unwrap()]);
        answers.succeed(Question::Addresses("api.test".into()), addresses);
        upstream.apply(answers, Instant::now().into_std());
    };
    let checks = HealthChecks::start(Arc::clone(&upstream), played.clone(), observer).unwrap();
    answer("10.0.0.1");
    assert_eq!(changes.recv().await.unwrap(), "api 10.0.0.1:80 Unknown -> Healthy");
    answer("10.0.0.2");
    assert_eq!(changes.recv().await.unwrap(), "api 10.0.0.2:80 Unknown -> Healthy");
    played.says("10.0.0.1:80", Err("gone"));
    played.says("10.0.0.2:80", Err("refused"));
    assert_eq!(changes.recv().await.unwrap(), "api 10.0.0.2:80 Healthy -> Unhealthy");
    drop(checks);
    assert_eq!(changes.recv().await, None, "dropped checks hold nothing");
}

#[test]
fn an_upstream_without_a_health_check_starts_nothing() {
    let definition = definition("10.0.0.1:80");
    let upstream =
        Upstream::new(definition.clone().into(), None, &UpstreamTlsMaterial::default(), std::time::Instant::now());
    assert!(HealthChecks::start(Arc::new(upstream.unwrap()), Arc::new(Played::default()), observed().0).is_none());
}

/// Reads one request head, sends what it is told to, and hands the head back.
async fn answering(answer: &'static str) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let served = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
        socket.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(head).unwrap()
    });
    (address, served)
}

fn http_probe() -> HttpProbe {
    HttpProbe {
        method: "GET".into(),
        path: "/health".into(),
        host: None,
        status: vec![StatusRange { from: 200, to: 399 }],
        body: None,
    }
}

async fn probe_once(address: &str, check: model::HealthCheck) -> Result<(), String> {
    let upstream = upstream(address, check.clone());
    let endpoint = upstream.endpoints().endpoints().next().unwrap().clone();
    Prober::new().check(&endpoint, &check).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn an_http_probe_sends_its_method_path_and_host() {
    let (address, served) = answering("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n").await;
    let mut probe = http_probe();
    probe.method = "HEAD".into();
    probe.host = Some("api.test".into());
    assert_eq!(probe_once(&address, check(Probe::Http(probe))).await, Ok(()));
    let head = served.await.unwrap();
    assert!(head.starts_with("HEAD /health HTTP/1.1\r\n"), "{head}");
    assert!(head.to_lowercase().contains("\r\nhost: api.test\r\n"), "{head}");
}

#[tokio::test]
async fn an_http_probe_judges_status_and_body() {
    let (address, _) = answering("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").await;
    let verdict = probe_once(&address, check(Probe::Http(http_probe()))).await;
    assert_eq!(verdict.unwrap_err(), "answered 503, expected 200-399");

    let with_body =
        |pattern: &str| check(Probe::Http(HttpProbe { body: Some(Pattern::parse(pattern).unwrap()), ..http_probe() }));
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"status\":\"up\"}";
    let (address, _) = answering(answer).await;
    assert_eq!(probe_once(&address, with_body("\"status\":\"up\"")).await, Ok(()));
    let (address, _) = answering(answer).await;
    let verdict = probe_once(&address, with_body("down")).await;
    assert_eq!(verdict.unwrap_err(), "answered 200, but its body does not match /down/");
}

#[tokio::test]
async fn a_probe_may_have_a_port_of_its_own() {
    let (address, served) = answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let port = address.parse::<SocketAddr>().unwrap().port();
    let check = model::HealthCheck { port: Some(port), ..check(Probe::Http(http_probe())) };
    assert_eq!(probe_once("127.0.0.1:1", check).await, Ok(()));
    assert!(served.await.unwrap().contains(&format!("127.0.0.1:{port}")));
}

#[tokio::test]
async fn a_tcp_probe_wants_a_connection_and_nothing_more() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    assert_eq!(probe_once(&address, check(Probe::Tcp)).await, Ok(()));
    drop(listener);
    assert_eq!(probe_once(&address, check(Probe::Tcp)).await.unwrap_err(), "connection refused");
}

/// A gRPC server for one call, with HTTP/2 by prior knowledge; hands back what it was asked.
async fn grpc_server(
    message: &'static [u8],
    grpc_status: &'static str,
) -> (String, tokio::task::JoinHandle<(String, Bytes)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let served = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(socket).await.unwrap();
        let (mut request, mut respond) = connection.accept().await.unwrap().unwrap();
        let drive = tokio::spawn(async move { while connection.accept().await.is_some() {} });
        let asked = request.body_mut().data().await.unwrap().unwrap();
        let head = http::Response::builder().header("content-type", "application/grpc").body(()).unwrap();
        let mut body = respond.send_response(head, false).unwrap();
        body.send_data(Bytes::from_static(message), false).unwrap();
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", grpc_status.parse().unwrap());
        body.send_trailers(trailers).unwrap();
        drive.await.unwrap();
        (request.uri().path().to_owned(), asked)
    });
    (address, served)
}

#[tokio::test]
async fn a_grpc_probe_wants_the_service_serving() {
    let grpc = || check(Probe::Grpc { service: "api".into() });
    let (address, served) = grpc_server(&[0, 0, 0, 0, 2, 8, 1], "0").await;
    assert_eq!(probe_once(&address, grpc()).await, Ok(()));
    let (path, asked) = served.await.unwrap();
    assert_eq!(path, "/grpc.health.v1.Health/Check");
    assert_eq!(asked, [0, 0, 0, 0, 5, 0x0a, 3, b'a', b'p', b'i'].as_slice());

    let (address, _) = grpc_server(&[0, 0, 0, 0, 2, 8, 2], "0").await;
    assert_eq!(probe_once(&address, grpc()).await.unwrap_err(), "the service is NOT_SERVING");
    let (address, _) = grpc_server(&[], "12").await;
    let unimplemented = probe_once(&address, grpc()).await.unwrap_err();
    assert_eq!(unimplemented, "grpc-status 12: the endpoint does not implement grpc.health.v1.Health");
}

/// A TLS server that answers every HTTP/1.1 request with 200; its certificate is for `name` and signs itself.
async fn tls_server(name: &str) -> (String, rustls::pki_types::CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let certificate = made.cert.der().clone();
    let config = rustls::ServerConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut socket) = acceptor.accept(socket).await else { continue };
            let _ = socket.read(&mut [0; 1024]).await;
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
    });
    (address, certificate)
}

#[tokio::test]
async fn probes_verify_as_the_upstream_does() {
    let (address, certificate) = tls_server("api.test").await;
    let probe_with = async |server_name: &str, verify: model::Verify, ca: Option<&_>, probe: Probe| {
        let check = check(probe);
        let tls =
            model::UpstreamTls { verify, server_name: Some(server_name.into()), ca: None, client_certificate: None };
        let definition = model::Upstream { tls: Some(tls), health_check: Some(check.clone()), ..definition(&address) };
        let material = UpstreamTlsMaterial {
            ca: ca.map(|ca: &rustls::pki_types::CertificateDer<'static>| vec![ca.clone()]),
            client: None,
        };
        let upstream = Upstream::new(definition.clone().into(), None, &material, Instant::now().into_std()).unwrap();
        let endpoint = upstream.endpoints().endpoints().next().unwrap().clone();
        Prober::new().check(&endpoint, &check).await.map_err(|error| error.to_string())
    };
    let full = model::Verify::Full;
    assert_eq!(probe_with("api.test", full, Some(&certificate), Probe::Http(http_probe())).await, Ok(()));
    assert_eq!(probe_with("api.test", full, Some(&certificate), Probe::Tcp).await, Ok(()));
    assert_eq!(probe_with("other.test", model::Verify::Skip, Some(&certificate), Probe::Tcp).await, Ok(()));
    for (server_name, ca) in [("other.test", certificate.clone()), ("api.test", tls_server("api.test").await.1)] {
        let error = probe_with(server_name, full, Some(&ca), Probe::Tcp).await.unwrap_err();
        assert!(error.starts_with("TLS failed: "), "{error}");
    }
}
