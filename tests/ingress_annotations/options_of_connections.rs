//! Global options: how long is waited, how much is taken, and how connections are used.

use std::time::{Duration, Instant};

use crate::cluster::endpoint_address;
use crate::stage::{Echo, Scene, Site, authority};
use crate::support::{Answer, Blackhole, Connection, H2Client, Origin, TlsClient, eventually, holds_for};

#[test]
fn backends_are_waited_for_and_tried_as_the_options_say() {
    let scene = Scene::with_options(
        "opt-timeouts",
        &[
            ("proxy-connect-timeout", "1"),
            ("proxy-read-timeout", "2"),
            ("proxy-send-timeout", "1"),
            ("proxy-next-upstream", "http_503"),
            ("proxy-next-upstream-tries", "2"),
            ("proxy-next-upstream-timeout", "5"),
            ("proxy-body-size", "0"),
            ("proxy-request-buffering", "off"),
        ],
    );
    let nobody = Blackhole::start_at(endpoint_address());
    scene.backend("unreached", &[nobody.address]);
    let _silent = scene.origin("silent", |_| Answer::Silence);
    let (good, bad) = (
        Origin::named_at(endpoint_address(), "good"),
        Origin::start_at(endpoint_address(), |_| Answer::status(503, "")),
    );
    scene.backend("half", &[good.address, bad.address]);
    let site = |name: &str| scene.serve(scene.draft(name).path("/", name));
    for name in ["unreached", "silent"] {
        let (site, begun) = (site(name), Instant::now());
        assert_eq!(site.get("/").status, 504, "{name}");
        assert!(begun.elapsed() < Duration::from_secs(12), "{name}: {:?}", begun.elapsed());
    }
    let half = site("half");
    scene.knows(&[good.address, bad.address]);
    assert!((0..6).all(|_| half.get("/").text() == "good"));

    let passed = scene.origin("passed", |_| Answer::ok("passed"));
    let mut connection = site("passed").connect();
    connection.write(format!("POST / HTTP/1.1\r\nHost: passed.test\r\nContent-Length: {}\r\n\r\nhalf", 8 << 20));
    eventually("a part of a body larger than the default is passed on", || (passed.byte_count() > 0).then_some(()));
}

#[test]
fn a_backend_that_takes_nothing_is_given_up_as_the_options_say() {
    let scene = Scene::with_options(
        "opt-deaf",
        &[("proxy-send-timeout", "1"), ("proxy-body-size", "0"), ("proxy-request-buffering", "off")],
    );
    let deaf = crate::timeouts::deaf(|name, addresses| scene.backend(name, addresses));
    let site = scene.serve(scene.draft("deaf").path("/", "deaf"));
    crate::timeouts::is_given_up(&site, &deaf);
}

/// Whether the other side closes it of itself, soon.
#[track_caller]
fn is_closed(mut connection: Connection) {
    let begun = Instant::now();
    let rest = connection.read_to_end();
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?} after {rest:?}", begun.elapsed());
}

#[test]
fn connections_of_clients_are_bounded_as_the_options_say() {
    let scene = Scene::with_options(
        "opt-clients",
        &[
            ("keep-alive", "2"),
            ("keep-alive-requests", "3"),
            ("client-header-timeout", "2"),
            ("client-body-timeout", "2"),
            ("large-client-header-buffers", "1 2k"),
            ("http2-max-concurrent-streams", "7"),
        ],
    );
    let site = scene.serve(scene.draft("bounded").with("ssl-redirect", "false").tls());
    let mut idle = site.connect();
    assert_eq!(site.on(&mut idle, "/").status, 200);
    is_closed(idle);
    let mut used = site.connect();
    for _ in 0..2 {
        assert_ne!(site.on(&mut used, "/").header("connection"), Some("close"));
    }
    assert_eq!(site.on(&mut used, "/").header("connection"), Some("close"));
    let mut slow = site.connect();
    slow.write("GET / HTTP/1.1\r\nHost:");
    is_closed(slow);
    let mut stuck = site.connect();
    stuck.write("POST / HTTP/1.1\r\nHost: bounded.test\r\nContent-Length: 10\r\n\r\nhalf");
    assert_eq!(stuck.read_response_to("POST").status, 408);
    assert_eq!(site.ask("GET", "/").header("X-Large", &"x".repeat(3000)).send().status, 431);
    let mut h2 = H2Client::tls(site.weir.https, &site.host, &TlsClient::trusting(authority(), &[b"h2"]));
    assert_eq!(h2.get(&site.host, "/").status, 200);
    assert_eq!(h2.max_streams(), 7);
}

/// Connections that so many requests at different moments have made, one after the other.
fn connections(site: &Site<'_>, origin: &Origin, requests: usize) -> usize {
    let before = origin.connection_count();
    let mut connection = site.connect();
    (0..requests).for_each(|_| assert_eq!(site.on(&mut connection, "/").status, 200));
    origin.connection_count() - before
}

#[test]
fn connections_to_backends_are_kept_as_the_options_say() {
    let scene =
        Scene::with_options("opt-kept", &[("upstream-keepalive-requests", "3"), ("upstream-keepalive-timeout", "2")]);
    let origin = scene.origin("kept", |_| Answer::ok("kept"));
    let site = scene.serve(scene.draft("kept").path("/", "kept"));
    // One client is served by one thread.
    assert_eq!(connections(&site, &origin, 9), 3);
    eventually("those that are idle are closed", || (origin.open_connections() == 0).then_some(()));
    drop(site);
    let scene = Scene::with_options("opt-not-kept", &[("upstream-keepalive-connections", "0")]);
    let origin = scene.origin("not-kept", |_| Answer::ok("not kept"));
    let site = scene.serve(scene.draft("not-kept").path("/", "not-kept"));
    assert_eq!(connections(&site, &origin, 3), 3);
}

#[test]
fn answers_flow_and_endpoints_are_chosen_as_the_options_say() {
    let scene = Scene::with_options(
        "opt-flow",
        &[("limit-rate", "100"), ("limit-rate-after", "50"), ("load-balance", "ewma"), ("service-upstream", "true")],
    );
    let _large = scene.origin("large", |_| Answer::ok(&"x".repeat(250 << 10)));
    let site = scene.serve(scene.draft("large").path("/", "large").with("service-upstream", "false"));
    let begun = Instant::now();
    assert_eq!(site.get("/").body.len(), 250 << 10);
    assert!(begun.elapsed() > Duration::from_secs(1), "{:?}", begun.elapsed());

    let address: std::net::SocketAddr = (std::net::Ipv4Addr::new(10, 96, 8, 8), endpoint_address().port()).into();
    let _service = Origin::named_at(address, "the service");
    let mut object = crate::cluster::service(scene.namespace, "itself", &[("web", address.port())]);
    object["spec"]["clusterIP"] = serde_json::json!(address.ip());
    scene.cluster.apply(object);
    let itself = scene.serve(scene.draft("itself").path_to_port("/", "itself", address.port()));
    assert_eq!(itself.get("/").text(), "the service");

    let fast = Origin::named_at(endpoint_address(), "fast");
    let slow = crate::balancing::slow();
    scene.backend("uneven", &[fast.address, slow.address]);
    let uneven = scene.serve(scene.draft("uneven").path("/", "uneven").with("service-upstream", "false"));
    scene.knows(&[fast.address, slow.address]);
    let slow = (0..16).filter(|_| uneven.get("/").text() == "slow").count();
    assert!(slow < 6, "{slow} of 16 went to the slow one");
}

#[test]
fn snippets_and_fields_of_config_maps_are_heard_only_where_the_options_say_so() {
    let scene = Scene::with_options(
        "opt-quiet",
        &[("allow-snippet-annotations", "false"), ("global-allowed-response-headers", "X-Other")],
    );
    let with_snippet = scene.draft("snippet").with("configuration-snippet", "more_set_headers \"X-A: b\";");
    assert_eq!(scene.serve(with_snippet).get("/").header("x-a"), None);
    crate::stage::config_map(scene.cluster, scene.namespace, "fields", &[("X-Team", "a")]);
    let site = scene.serve(scene.draft("fields").with("custom-headers", &format!("{}/fields", scene.namespace)));
    assert_eq!(site.get("/").status, 503);
}

#[test]
fn cookies_and_redirects_of_backends_are_rewritten_as_the_options_say() {
    let scene = Scene::with_options(
        "opt-rewritten",
        &[
            ("proxy-cookie-domain", "inner.test shop.test"),
            ("proxy-cookie-path", "/app/ /"),
            ("proxy-redirect-from", "http://inner.test/"),
            ("proxy-redirect-to", "https://shop.test/"),
        ],
    );
    let fields = "Set-Cookie: a=b; Domain=inner.test; Path=/app/x\r\nLocation: http://inner.test/a\r\n";
    let _origin = scene.origin("rewritten", move |_| Answer::with_headers(fields, ""));
    let answer = scene.serve(scene.draft("rewritten").path("/", "rewritten")).get("/");
    assert_eq!(answer.header("set-cookie"), Some("a=b; Domain=shop.test; Path=/x"));
    assert_eq!(answer.header("location"), Some("https://shop.test/a"));
    let own = scene.serve(scene.draft("own").path("/", "rewritten").with("proxy-cookie-domain", "off"));
    assert_eq!(own.get("/").header("set-cookie"), Some("a=b; Domain=inner.test; Path=/x"));
}

#[test]
fn the_service_that_is_asked_everywhere_is_told_what_the_options_say() {
    let _in_the_network = crate::cluster::Cluster::shared();
    let keeper = Origin::named_at(endpoint_address(), "in");
    let scene = Scene::with_options(
        "opt-told",
        &[
            ("global-auth-url", &format!("http://{}/", keeper.address)),
            ("global-auth-request-redirect", "https://$host/after"),
            ("global-auth-snippet", "proxy_set_header X-Realm shop;"),
        ],
    );
    let site = scene.site("told");
    assert_eq!(Echo::of(&site.get("/a")).target, "/a");
    let asked = keeper.last_request();
    assert_eq!(
        (asked.header("x-auth-request-redirect"), asked.header("x-realm")),
        (Some("https://told.test/after"), Some("shop"))
    );
    holds_for(Duration::from_millis(100), "it was asked once", || keeper.request_count() == 1);
}
