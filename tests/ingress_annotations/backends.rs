//! How backends are spoken with: the protocol, TLS with them, and what they are told.

use std::net::SocketAddr;

use serde_json::json;
use tempfile::TempDir;

use crate::cluster::{endpoint_address, service};
use crate::stage::{NAMESPACE, Stage, stage};
use crate::support::{Answer, Authority, Identity, Nginx, Origin, eventually};

/// An nginx that speaks TLS, and says in what it was spoken with: protocol, SNI, and the client's name.
struct Tls {
    _nginx: Nginx,
    _folder: TempDir,
    address: SocketAddr,
}

const SAYS: &str = "return 200 '$server_protocol sni=$ssl_server_name client=$ssl_client_s_dn';";

fn nginx_on_tls(identity: &Identity, clients: &Authority, options: &str) -> Tls {
    let (folder, address) = (tempfile::tempdir().expect("a folder"), endpoint_address());
    let (cert, key) = identity.write(folder.path(), "server");
    let ca = clients.write_pem(folder.path());
    let nginx = Nginx::start(&format!(
        "listen {address} ssl {options}; ssl_certificate {}; ssl_certificate_key {}; ssl_client_certificate {};
         ssl_verify_client optional; location / {{ {SAYS} }}",
        cert.display(),
        key.display(),
        ca.display(),
    ));
    Tls { _nginx: nginx, _folder: folder, address }
}

#[test]
fn backends_are_spoken_with_in_their_protocol() {
    let stage = stage();
    let authority = Authority::new("backends");
    let identity = authority.issue(&["backend.test"]);
    let https = nginx_on_tls(&identity, &authority, "");
    let grpcs = nginx_on_tls(&identity, &authority, "http2");
    let plain = endpoint_address();
    let _grpc = Nginx::start(&format!("listen {plain} http2; location / {{ {SAYS} }}"));
    for (name, protocol, address, says) in [
        ("https-backend", "HTTPS", https.address, "HTTP/1.1 sni=https-backend.test"),
        ("grpcs-backend", "GRPCS", grpcs.address, "HTTP/2.0 sni=grpcs-backend.test"),
        ("grpc-backend", "GRPC", plain, "HTTP/2.0 sni="),
    ] {
        stage.backend(name, &[address]);
        let site = stage.draft(name).with("backend-protocol", protocol).path("/", name).serve();
        let said = site.get("/").text();
        assert!(said.starts_with(says), "{protocol}: {said}");
    }
}

#[test]
fn a_backend_may_be_spoken_with_as_its_client_speaks() {
    let stage = stage();
    let authority = Authority::new("backends");
    let both = nginx_on_tls(&authority.issue(&["both.test"]), &authority, "");
    stage.backend("both", &[both.address]);
    let draft =
        stage.draft("both").with("backend-protocol", "AUTO_HTTP").with("ssl-redirect", "false").path("/", "both");
    let site = draft.tls().serve();
    assert_eq!(site.get_tls("/").text(), "HTTP/1.1 sni=both.test client=");
    // The endpoint speaks TLS alone: nginx says so to who does not.
    assert_eq!(site.get("/").status, 400);
}

/// A Secret with what is shown to backends, and what they are verified against.
fn upstream_secret(stage: &Stage, name: &str, shown: &Identity, authority: &Authority) {
    stage.secret(name, &[("tls.crt", &shown.cert), ("tls.key", &shown.key), ("ca.crt", &authority.pem())]);
}

#[test]
fn backends_certificates_are_verified_and_they_are_shown_one_where_that_is_wanted() {
    let stage = stage();
    let authority = Authority::new("backends");
    let backend = nginx_on_tls(&authority.issue(&["inner.test"]), &authority, "");
    stage.backend("verified", &[backend.address]);
    upstream_secret(stage, "proxy-tls", &authority.issue(&["weir"]), &authority);
    let draft = |name: &str| {
        let draft = stage.draft(name).path("/", "verified").with("backend-protocol", "HTTPS");
        draft.with("proxy-ssl-secret", &format!("{NAMESPACE}/proxy-tls")).with("proxy-ssl-verify", "on")
    };
    let site = draft("verified").with("proxy-ssl-name", "inner.test").serve();
    assert_eq!(site.get("/").text(), "HTTP/1.1 sni=inner.test client=CN=weir");
    // The certificate is not that of the request's host.
    assert_eq!(draft("misnamed").serve().get("/").status, 502);
    upstream_secret(stage, "other-tls", &authority.issue(&["weir"]), &Authority::new("others"));
    let strange = draft("strange").with("proxy-ssl-name", "inner.test").with("proxy-ssl-secret", "other-tls").serve();
    assert_eq!(strange.get("/").status, 502);
}

#[test]
fn requests_go_to_the_service_itself_where_that_is_wanted() {
    let stage = stage();
    let address: SocketAddr = (std::net::Ipv4Addr::new(10, 96, 7, 7), endpoint_address().port()).into();
    let _service = Origin::named_at(address, "the service");
    let _endpoint = stage.named("addressed");
    let mut object = service(NAMESPACE, "addressed", &[("web", 80)]);
    object["metadata"]["name"] = json!("addressed-itself");
    object["spec"]["clusterIP"] = json!(address.ip());
    object["spec"]["ports"] = json!([{ "name": "web", "port": address.port() }]);
    stage.cluster.apply(object);
    let mut site = stage.draft("addressed").with("service-upstream", "true");
    site = site.path_to_port("/", "addressed-itself", address.port());
    assert_eq!(site.serve().get("/").text(), "the service");
}

#[test]
fn backends_are_asked_as_another_host() {
    let site = stage().draft("renamed").with("upstream-vhost", "inner.test:8080").serve();
    let echo = site.echo("/");
    assert_eq!((echo.header("host"), echo.header("x-forwarded-host")), (Some("inner.test:8080"), Some("renamed.test")));
}

#[test]
fn connections_to_a_backend_end_with_their_request() {
    let stage = stage();
    let (closing, keeping) = (stage.named("closing"), stage.named("keeping"));
    let site =
        |name: &str, value: &str| stage.draft(name).with("connection-proxy-header", value).path("/", name).serve();
    let (close, keep) = (site("closing", "close"), site("keeping", "keep-alive"));
    for _ in 0..4 {
        assert_eq!((close.get("/").text().as_str(), keep.get("/").text().as_str()), ("closing", "keeping"));
    }
    assert_eq!(closing.connection_count(), 4);
    assert_eq!(closing.last_request().header("connection"), Some("close"));
    // A thread that has not spoken with it yet connects anew.
    assert!(keeping.connection_count() < 4 || keeping.last_request().header("connection").is_none());
}

#[test]
fn answers_get_the_fields_of_a_config_map_that_are_allowed() {
    let stage = stage();
    stage.config_map("fields", &[("X-Team", "shop"), ("X-Tier", "one, two")]);
    stage.config_map("more-fields", &[("X-Team", "shop"), ("X-Secret", "x")]);
    let site = stage.draft("with-fields").with("custom-headers", &format!("{NAMESPACE}/fields")).serve();
    let answer = site.get("/");
    assert_eq!((answer.header("x-team"), answer.header("x-tier")), (Some("shop"), Some("one, two")));
    let refused = stage.draft("with-more-fields").with("custom-headers", &format!("{NAMESPACE}/more-fields")).serve();
    assert_eq!(refused.get("/").status, 503);
}

#[test]
fn cookies_of_a_backend_are_said_in_other_words() {
    let stage = stage();
    let cookies = "Set-Cookie: a=b; Domain=.inner.test; Path=/app/x; Secure\r\nSet-Cookie: c=d; path=/other\r\n";
    let _origin = stage.origin("baking", move |_| Answer::with_headers(cookies, ""));
    let draft = |name: &str| stage.draft(name).path("/", "baking");
    let site = draft("baking")
        .with("proxy-cookie-domain", "inner.test shop.test")
        .with("proxy-cookie-path", "/app/ /")
        .serve();
    let answer = site.get("/");
    assert_eq!(answer.headers("set-cookie"), ["a=b; Domain=.shop.test; Path=/x; Secure", "c=d; path=/other"]);
    let site = draft("baking-by-pattern").with("proxy-cookie-path", "~^/app(/.*)$ /v2$1").serve();
    assert_eq!(site.get("/").header("set-cookie"), Some("a=b; Domain=.inner.test; Path=/v2/x; Secure"));
}

#[test]
fn requests_are_left_out_of_the_access_log_where_the_ingress_says_so() {
    let stage = stage();
    let quiet = stage.draft("unlogged").with("enable-access-log", "false").serve();
    let loud = stage.draft("logged").with("enable-access-log", "true").serve();
    assert_eq!((quiet.get("/of-nobody-s-concern").status, loud.get("/of-concern").status), (200, 200));
    eventually("the other request is in the log", || stage.weir.log().contains("/of-concern").then_some(()));
    assert!(!stage.weir.log().contains("/of-nobody-s-concern"));
}
