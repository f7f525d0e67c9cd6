//! HTTP/2 on both sides: by ALPN, with prior knowledge, gRPC with its trailers, and one connection for several names.

mod support;

use std::net::SocketAddr;

use bytes::Bytes;
use support::{
    Answer, Authority, H2Client, H2Origin, Nginx, Origin, TlsClient, Weir, curl, free_address, free_port, grpc_message,
    h2load,
};
use tempfile::TempDir;

/// A Weir with a TLS listener and certificates for these groups of names.
struct Secure {
    weir: Weir,
    authority: Authority,
    https: SocketAddr,
    _folder: TempDir,
}

impl Secure {
    fn start(groups: &[&[&str]], tls_keys: &str, rest: &str) -> Secure {
        let folder = tempfile::tempdir().unwrap();
        let (authority, https) = (Authority::new("test"), free_address());
        let certificates: String = groups
            .iter()
            .enumerate()
            .map(|(number, names)| {
                let (cert, key) = authority.issue(names).write(folder.path(), &format!("{number}"));
                format!("  - file: {{ cert: {}, key: {} }}\n", cert.display(), key.display())
            })
            .collect();
        let weir = Weir::start(&format!(
            "listeners:\n  https:\n    address: \"{https}\"\n    tls: {{ {tls_keys} }}\ncertificates:\n{certificates}{}",
            support::indent(rest, 0)
        ));
        Secure { weir, authority, https, _folder: folder }
    }

    fn h2(&self, name: &str) -> H2Client {
        H2Client::tls(self.https, name, &TlsClient::trusting(&self.authority, &[b"h2", b"http/1.1"]))
    }

    fn protocol_offered(&self, alpn: &[&[u8]]) -> String {
        TlsClient::trusting(&self.authority, alpn).shown(self.https, "a.test").1
    }
}

#[test]
fn alpn_picks_http2_where_the_client_has_it() {
    let origin = Origin::named("origin");
    let secure = Secure::start(&[&["a.test"]], "", &Weir::forwarding_to(&[origin.address], ""));
    assert_eq!(secure.protocol_offered(&[b"h2", b"http/1.1"]), "h2");
    assert_eq!(secure.protocol_offered(&[b"http/1.1", b"h2"]), "h2", "the server's preference counts");
    assert_eq!(secure.protocol_offered(&[b"http/1.1"]), "http/1.1");
    assert_eq!(secure.protocol_offered(&[]), "");

    let answer = secure.h2("a.test").get("a.test", "/x?y=1");
    assert_eq!((answer.status, answer.text().as_str()), (200, "origin"));
}

#[test]
fn http2_can_be_left_out_of_alpn() {
    let origin = Origin::named("origin");
    let secure = Secure::start(&[&["a.test"]], "http2: false", &Weir::forwarding_to(&[origin.address], ""));
    assert_eq!(secure.protocol_offered(&[b"h2", b"http/1.1"]), "http/1.1");
}

#[test]
fn curl_speaks_http2_over_tls_and_with_prior_knowledge() {
    let nginx = Nginx::shared();
    let secure = Secure::start(&[&["a.test"]], "", &Weir::forwarding_to(&[nginx.address], ""));
    let ca = secure.authority.write_pem(secure.weir.folder());
    let port = secure.https.port();
    let resolve = format!("a.test:{port}:127.0.0.1");
    let url = format!("https://a.test:{port}/page");
    let seen = curl(&["--http2", "--cacert", ca.to_str().unwrap(), "--resolve", &resolve, &url]);
    assert_eq!((seen.status, seen.version.as_str(), seen.body.as_str()), (200, "2", "nginx /page"), "{}", seen.errors);

    let weir = Weir::in_front_of(&[nginx.address]);
    let seen = curl(&["--http2-prior-knowledge", &format!("http://{}/page", weir.http)]);
    assert_eq!((seen.status, seen.version.as_str(), seen.body.as_str()), (200, "2", "nginx /page"), "{}", seen.errors);
}

#[test]
fn one_port_takes_http1_and_http2_with_prior_knowledge() {
    let origin = Origin::named("origin");
    let weir = Weir::in_front_of(&[origin.address]);
    assert_eq!(weir.get("/").text(), "origin");
    assert_eq!(H2Client::plain(weir.http).get("a.test", "/").text(), "origin");
}

#[test]
fn an_http1_origin_sees_an_ordinary_request() {
    let origin = Origin::named("origin");
    let weir = Weir::in_front_of(&[origin.address]);
    let headers = [("cookie", "a=1"), ("cookie", "b=2"), ("x-mixed", "Kept"), ("te", "trailers")];
    let answer = H2Client::plain(weir.http).send("POST", "a.test:8080", "/p?q=1", &headers, Some(Bytes::from("body")));
    assert_eq!(answer.status, 200);
    let seen = origin.only_request();
    assert_eq!((seen.method.as_str(), seen.target.as_str(), seen.version.as_str()), ("POST", "/p?q=1", "HTTP/1.1"));
    assert_eq!((seen.headers("host"), seen.body.as_slice()), (vec!["a.test:8080"], &b"body"[..]));
    assert_eq!(seen.headers("cookie"), ["a=1; b=2"], "RFC 9113 §8.2.3");
    assert_eq!(seen.header("x-mixed"), Some("Kept"));
    assert!(seen.headers.iter().all(|(name, _)| !name.starts_with(':')), "{:?}", seen.headers);
}

#[test]
fn an_http1_origins_hop_by_hop_fields_never_enter_http2() {
    let origin = Origin::start(|_| {
        Answer::with_headers("Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\nX-Kept: 1\r\n", "body")
    });
    let weir = Weir::in_front_of(&[origin.address]);
    let answer = H2Client::plain(weir.http).get("a.test", "/");
    for name in ["connection", "keep-alive", "upgrade", "transfer-encoding"] {
        assert_eq!(answer.header(name), None, "{name} is malformed in HTTP/2 (RFC 9113 §8.2.2)");
    }
    assert_eq!((answer.header("x-kept"), answer.text().as_str()), (Some("1"), "body"));
}

#[test]
fn a_length_that_is_said_twice_is_refused() {
    let origin = Origin::named("origin");
    let weir = Weir::in_front_of(&[origin.address]);
    let mut client = H2Client::plain(weir.http);
    let lengths = [("content-length", "2"), ("content-length", "2")];
    let answer = client.send("POST", "a.test", "/", &lengths, Some(Bytes::from("hi")));
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(answer.text().contains("two Content-Length fields"), "{}", answer.text());
    assert_eq!(client.get("a.test", "/").text(), "origin");
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn streams_of_one_connection_are_answered_side_by_side() {
    let nginx = Nginx::shared();
    let weir = Weir::in_front_of(&[nginx.address]);
    assert_eq!(h2load(&format!("http://{}/x", weir.http), 2, 50, 2000), 2000);
}

#[test]
fn a_name_that_the_connections_certificate_does_not_cover_is_misdirected() {
    let hosts = r#"
        hosts:
          - names: [a.test, "*.wild.test"]
            routes: [ { path: /, respond: { status: 200, body: a } } ]
          - names: [b.test]
            routes: [ { path: /, respond: { status: 200, body: b } } ]
        "#;
    let secure = Secure::start(&[&["a.test", "*.wild.test"], &["b.test"]], "", hosts);
    let mut client = secure.h2("a.test");
    assert_eq!(client.get("a.test", "/").status, 200);
    assert_eq!(client.get("x.wild.test", "/").status, 200, "the certificate covers it: the connection may be shared");
    assert_eq!(client.get("b.test", "/").status, 421, "RFC 9110 §15.5.20");
    let posted = client.send("POST", "b.test", "/", &[], Some(Bytes::from("body")));
    assert_eq!(posted.status, 421, "with a body, too");
    assert_eq!(client.get("a.test", "/").status, 200, "the connection stays usable");
    assert_eq!(secure.h2("b.test").get("b.test", "/").text(), "b");
}

#[test]
fn no_more_streams_are_open_than_the_listener_allows() {
    let (origin, http) = (Origin::named("origin"), free_address());
    let _weir = Weir::start(&format!(
        "listeners:\n  http:\n    address: \"{http}\"\n    limits: {{ max-streams: 3 }}\n{}",
        Weir::forwarding_to(&[origin.address], "")
    ));
    let mut client = H2Client::plain(http);
    assert_eq!(client.get("a.test", "/").status, 200);
    assert_eq!(client.max_streams(), 3, "SETTINGS_MAX_CONCURRENT_STREAMS");
}

const GRPC: &[(&str, &str)] = &[("content-type", "application/grpc"), ("te", "trailers")];

#[test]
fn grpc_calls_reach_an_h2c_service_and_come_back_with_their_trailers() {
    let service = H2Origin::plain();
    let weir = Weir::start(&Weir::forwarding_to(&[service.address], "protocol: http2"));
    let mut client = H2Client::plain(weir.http);

    let answer = client.send("POST", "grpc.test", "/echo.Echo/Unary", GRPC, Some(grpc_message(b"ping")));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/grpc")));
    assert_eq!(answer.body, grpc_message(b"ping"));
    assert_eq!(answer.trailer("grpc-status"), Some("0"));

    let refused = client.send("POST", "grpc.test", "/echo.Echo/Fail", GRPC, Some(grpc_message(b"ping")));
    assert_eq!((refused.status, refused.header("grpc-status")), (200, Some("7")), "an answer of trailers alone");

    let seen = &service.received()[0];
    assert_eq!(seen.headers["te"], "trailers", "gRPC servers insist on it");
    assert_eq!(seen.uri.authority().map(|a| a.as_str()), Some("grpc.test"));
    assert_eq!(seen.headers["x-forwarded-for"], "127.0.0.1");
}

#[test]
fn a_grpc_stream_flows_both_ways_while_it_is_open() {
    let service = H2Origin::plain();
    let weir = Weir::start(&Weir::forwarding_to(&[service.address], "protocol: http2"));
    let mut client = H2Client::plain(weir.http);
    let mut stream = client.open_stream("POST", "grpc.test", "/echo.Echo/Stream", GRPC);
    for word in ["one", "two", "three"] {
        let message = grpc_message(word.as_bytes());
        // Sent only now: what comes back was not buffered until the end.
        stream.send(message.clone());
        assert_eq!(stream.receive(), Some(message));
    }
    stream.finish();
    assert_eq!(stream.receive(), None);
    assert_eq!(stream.trailers().expect("trailers")["grpc-status"], "0");
}

#[test]
fn http2_requests_share_a_connection_to_an_http2_upstream() {
    let service = H2Origin::plain();
    let weir = Weir::start(&format!("threads: 1\n{}", Weir::forwarding_to(&[service.address], "protocol: http2")));
    for number in 0..20 {
        assert_eq!(
            weir.get(&format!("/{number}")).text(),
            format!("h2 GET /{number}"),
            "an HTTP/1.1 client is served, too"
        );
    }
    assert_eq!(service.connection_count(), 1);
}

/// A Weir in front of one TLS origin that `authority` vouches for as `inner.test`.
fn in_front_of_tls(origin: SocketAddr, protocol: &str, authority: &Authority) -> (Weir, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let ca = authority.write_pem(folder.path());
    let keys = format!("protocol: {protocol}\ntls: {{ server-name: inner.test, ca: {} }}", ca.display());
    (Weir::start(&Weir::forwarding_to(&[origin], &keys)), folder)
}

fn tls_nginx(authority: &Authority, folder: &TempDir) -> (Nginx, SocketAddr) {
    tls_nginx_for("inner.test", authority, folder)
}

fn tls_nginx_for(name: &str, authority: &Authority, folder: &TempDir) -> (Nginx, SocketAddr) {
    let (cert, key) = authority.issue(&[name]).write(folder.path(), "inner");
    let tls: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let nginx = Nginx::start(&format!(
        "listen {tls} ssl; ssl_certificate {}; ssl_certificate_key {};
         location / {{ return 200 'nginx $ssl_server_name $server_protocol'; }}",
        cert.display(),
        key.display()
    ));
    (nginx, tls)
}

#[test]
fn an_upstream_over_tls_is_spoken_to_in_the_protocol_it_agrees_on() {
    let authority = Authority::new("inner");
    let service = H2Origin::tls(&authority.issue(&["inner.test"]));
    for protocol in ["http2", "auto"] {
        let (weir, _folder) = in_front_of_tls(service.address, protocol, &authority);
        assert_eq!(weir.get("/x").text(), "h2 GET /x", "{protocol}");
    }

    let folder = tempfile::tempdir().unwrap();
    let (_nginx, tls) = tls_nginx(&authority, &folder);
    for protocol in ["http1", "auto"] {
        let (weir, _folder) = in_front_of_tls(tls, protocol, &authority);
        assert_eq!(weir.get("/x").text(), "nginx inner.test HTTP/1.1", "{protocol}");
    }
}

#[test]
fn a_connection_serves_the_name_alone_that_it_was_verified_for() {
    let (authority, folder) = (Authority::new("inner"), tempfile::tempdir().unwrap());
    let (_nginx, tls) = tls_nginx_for("one.localhost", &authority, &folder);
    let (ca, port) = (authority.write_pem(folder.path()), tls.port());
    let upstream = |name: &str| {
        format!("  {name}:\n    endpoints: [ \"{name}.localhost:{port}\" ]\n    tls: {{ ca: {} }}\n", ca.display())
    };
    let weir = Weir::start(&format!(
        "threads: 1\nupstreams:\n{}{}hosts: [ {{ names: [\"*\"], routes: [ {{ path: /one, upstream: one }}, \
         {{ path: /two, upstream: two }} ] }} ]\n",
        upstream("one"),
        upstream("two")
    ));
    for _ in 0..3 {
        assert_eq!((weir.get("/one").status, weir.get("/two").status), (200, 502));
    }
}

#[test]
fn a_name_that_the_client_chose_is_not_held_against_an_endpoint() {
    let (authority, folder) = (Authority::new("inner"), tempfile::tempdir().unwrap());
    let (_nginx, tls) = tls_nginx(&authority, &folder);
    let weir = |tls_keys: &str| Weir::start(&Weir::forwarding_to(&[tls], &format!("tls: {{ {tls_keys} }}")));
    let verifying = weir(&format!("ca: {}", authority.write_pem(folder.path()).display()));
    for _ in 0..12 {
        assert_eq!(verifying.request("GET", "/").host("stranger.test").send().status, 502);
    }
    assert_eq!(verifying.request("GET", "/").host("inner.test").send().status, 200);
    assert_eq!(verifying.metric("weir_endpoint_failures_total", &[]), Some(0.0));

    // An address is a name, too.
    assert_eq!(weir("verify: skip").request("GET", "/").host("[::1]").send().status, 200);
}

#[test]
fn an_upstream_whose_certificate_cannot_be_verified_is_502() {
    let (authority, stranger) = (Authority::new("inner"), Authority::new("stranger"));
    let folder = tempfile::tempdir().unwrap();
    let (_nginx, tls) = tls_nginx(&authority, &folder);
    let (weir, _folder) = in_front_of_tls(tls, "http1", &stranger);
    assert_eq!(weir.get("/").status, 502, "another authority");

    let ca = authority.write_pem(folder.path());
    let keys = format!("tls: {{ server-name: other.test, ca: {} }}", ca.display());
    assert_eq!(Weir::start(&Weir::forwarding_to(&[tls], &keys)).get("/").status, 502, "another name");

    let keys = "tls: { verify: skip, server-name: inner.test }";
    assert_eq!(Weir::start(&Weir::forwarding_to(&[tls], keys)).get("/").status, 200, "whoever asks for it");
}

#[test]
fn an_upstream_can_ask_weir_for_a_certificate() {
    let authority = Authority::new("inner");
    let folder = tempfile::tempdir().unwrap();
    let ca = authority.write_pem(folder.path());
    let (cert, key) = authority.issue(&["inner.test"]).write(folder.path(), "inner");
    let (client_cert, client_key) = authority.issue(&["weir.test"]).write(folder.path(), "client");
    let tls: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let _nginx = Nginx::start(&format!(
        "listen {tls} ssl; ssl_certificate {}; ssl_certificate_key {};
         ssl_verify_client on; ssl_client_certificate {};
         location / {{ return 200 'hello $ssl_client_s_dn'; }}",
        cert.display(),
        key.display(),
        ca.display()
    ));
    let keys = format!(
        "tls:\n  server-name: inner.test\n  ca: {}\n  client-certificate: {{ cert: {}, key: {} }}",
        ca.display(),
        client_cert.display(),
        client_key.display()
    );
    let answer = Weir::start(&Weir::forwarding_to(&[tls], &keys)).get("/");
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("CN=weir.test"), "{}", answer.text());
}
