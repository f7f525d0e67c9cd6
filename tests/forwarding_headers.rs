//! What the origin is told about the client, whom Weir believes, and which fields stay behind.

mod support;

use support::{Answer, Authority, Origin, Received, Weir, free_address};

/// A Weir in front of one origin, with more top-level keys.
fn weir_with(keys: &str, origin: &Origin) -> Weir {
    Weir::start(&format!("{}{}", support::indent(keys, 0), Weir::forwarding_to(&[origin.address], "")))
}

/// What the origin sees of a GET with these fields.
fn forwarded(keys: &str, fields: &[(&str, &str)]) -> Received {
    let origin = Origin::named("origin");
    let weir = weir_with(keys, &origin);
    let request = weir.request("GET", "/").host("site.test:8080");
    fields.iter().fold(request, |request, (name, value)| request.header(name, value)).send();
    origin.only_request()
}

#[test]
fn the_origin_learns_who_asked_for_what_and_how() {
    let origin = Origin::named("origin");
    let weir = Weir::in_front_of(&[origin.address]);
    weir.request("GET", "/").host("site.test:8080").from([127, 0, 0, 5]).send();
    let seen = origin.only_request();
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.5"));
    assert_eq!(seen.header("x-real-ip"), Some("127.0.0.5"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("x-forwarded-host"), Some("site.test:8080"));
    assert_eq!(seen.header("x-forwarded-port"), Some(weir.http.port().to_string().as_str()));
    assert_eq!(seen.header("host"), Some("site.test:8080"), "the client's host is passed on");
    assert_eq!(seen.header("forwarded"), None, "only where the file asks for it");
}

#[test]
fn every_request_gets_an_id_of_its_own() {
    let origin = Origin::named("origin");
    let weir = Weir::in_front_of(&[origin.address]);
    weir.get("/");
    weir.get("/");
    let ids: Vec<_> = origin.received().iter().map(|r| r.header("x-request-id").unwrap().to_owned()).collect();
    assert!(ids[0].len() >= 16 && ids[0] != ids[1], "{ids:?}");
}

#[test]
fn what_a_stranger_says_about_itself_is_replaced() {
    let seen = forwarded(
        "",
        &[
            ("X-Forwarded-For", "10.0.0.1"),
            ("X-Forwarded-For", "10.0.0.2"),
            ("X-Real-IP", "10.0.0.1"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "evil.test"),
            ("X-Forwarded-Port", "443"),
            ("X-Request-ID", "forged"),
            ("Forwarded", "for=10.0.0.1"),
        ],
    );
    assert_eq!(seen.headers("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.headers("x-real-ip"), ["127.0.0.1"]);
    assert_eq!(seen.headers("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.headers("x-forwarded-host"), ["site.test:8080"]);
    assert_ne!(seen.header("x-forwarded-port"), Some("443"));
    assert_ne!(seen.header("x-request-id"), Some("forged"));
    assert_eq!(seen.header("forwarded"), None);
}

#[test]
fn a_trusted_proxy_is_believed_and_appended_to() {
    let seen = forwarded(
        "trusted-proxies: [ 127.0.0.0/8 ]\n",
        &[
            ("X-Forwarded-For", "203.0.113.9"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "www.site.test"),
            ("X-Forwarded-Port", "443"),
            ("X-Request-ID", "cdn-4711"),
        ],
    );
    assert_eq!(seen.header("x-forwarded-for"), Some("203.0.113.9, 127.0.0.1"));
    assert_eq!(seen.header("x-real-ip"), Some("203.0.113.9"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.header("x-forwarded-host"), Some("www.site.test"));
    assert_eq!(seen.header("x-forwarded-port"), Some("443"));
    assert_eq!(seen.header("x-request-id"), Some("cdn-4711"));
}

#[test]
fn the_client_is_the_last_address_that_no_trusted_proxy_has() {
    let trusted = "trusted-proxies: [ 127.0.0.0/8, 198.51.100.0/24 ]\n";
    let client = |chain: &str| {
        let seen = forwarded(trusted, &[("X-Forwarded-For", chain)]);
        seen.header("x-real-ip").unwrap().to_owned()
    };
    assert_eq!(client("1.1.1.1, 203.0.113.9, 198.51.100.7"), "203.0.113.9", "what stands before it may be forged");
    assert_eq!(
        client("203.0.113.9, not-an-address, 198.51.100.7"),
        "198.51.100.7",
        "what cannot be read ends the walk"
    );
    assert_eq!(client("2001:db8::1"), "2001:db8::1");
}

#[test]
fn the_decided_client_is_the_one_that_limits_see() {
    let origin = Origin::named("origin");
    let weir = Weir::start(&format!(
        r#"
        trusted-proxies: [ 127.0.0.1/32 ]
        upstreams:
          origin:
            endpoints: [ "{}" ]
        hosts:
          - names: ["*"]
            filters:
              - allow: [ 203.0.113.0/24 ]
              - deny: [ 203.0.113.66/32 ]
            routes:
              - path: /
                upstream: origin
        "#,
        origin.address
    ));
    let status = |from, chain: &str| weir.request("GET", "/").from(from).header("X-Forwarded-For", chain).send().status;
    assert_eq!(status([127, 0, 0, 1], "203.0.113.9"), 200);
    assert_eq!(status([127, 0, 0, 1], "203.0.113.66"), 403, "deny is asked first");
    assert_eq!(status([127, 0, 0, 1], "192.0.2.1"), 403);
    assert_eq!(status([127, 0, 0, 2], "203.0.113.9"), 403, "a stranger cannot name its own address");
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn forwarded_is_sent_where_the_file_asks_for_it() {
    let seen = forwarded("forwarded: true\n", &[]);
    let forwarded = seen.header("forwarded").expect("RFC 7239").to_ascii_lowercase();
    for part in ["for=127.0.0.1", "proto=http", "host=\"site.test:8080\""] {
        assert!(forwarded.contains(part), "{part} in {forwarded}");
    }
}

#[test]
fn the_scheme_is_https_behind_tls() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("test");
    let (cert, key) = authority.issue(&["site.test"]).write(folder.path(), "site");
    let (origin, https) = (Origin::named("origin"), free_address());
    let _weir = Weir::start(&format!(
        r#"
        listeners:
          https:
            address: "{https}"
            tls: {{}}
        certificates:
          - file:
              cert: {}
              key: {}
        {}"#,
        cert.display(),
        key.display(),
        support::indent(&Weir::forwarding_to(&[origin.address], ""), 8).trim_start()
    ));
    let mut connection = authority.client().connect(https, "site.test").unwrap();
    connection.write("GET / HTTP/1.1\r\nHost: site.test\r\n\r\n");
    assert_eq!(connection.read_response().status, 200);
    assert_eq!(origin.only_request().header("x-forwarded-proto"), Some("https"));
}

#[test]
fn fields_for_one_hop_do_not_reach_the_origin() {
    let seen = forwarded(
        "",
        &[
            ("Connection", "keep-alive, X-Mine"),
            ("X-Mine", "dropped, because Connection names it"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "keep-alive"),
            ("Proxy-Authorization", "Basic eDp5"),
            ("TE", "gzip"),
            ("Upgrade", "h2c"),
            ("X-Kept", "stays"),
        ],
    );
    for name in ["x-mine", "keep-alive", "proxy-connection", "proxy-authorization", "te", "upgrade"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert_eq!(seen.header("x-kept"), Some("stays"));
    let connection = seen.header("connection").unwrap_or_default().to_ascii_lowercase();
    assert!(!connection.contains("x-mine") && !connection.contains("close"), "{connection}");
}

#[test]
fn connection_cannot_be_used_to_strip_what_weir_adds() {
    let seen = forwarded("", &[("Connection", "X-Real-IP, X-Request-ID")]);
    assert_eq!(seen.header("x-real-ip"), Some("127.0.0.1"));
    assert!(seen.header("x-request-id").is_some());
    let origin = Origin::named("origin");
    let weir = weir_with("", &origin);
    for protected in ["X-Forwarded-For", "Host"] {
        assert_eq!(weir.request("GET", "/").header("Connection", protected).send().status, 400, "{protected}");
    }
    assert_eq!(origin.request_count(), 0);
}

#[test]
fn fields_for_one_hop_do_not_reach_the_client() {
    let origin = Origin::start(|_| {
        let fields =
            "Connection: X-Inner\r\nX-Inner: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\nX-Outer: 2\r\n";
        Answer::with_headers(fields, "body")
    });
    let answer = Weir::in_front_of(&[origin.address]).get("/");
    for name in ["x-inner", "keep-alive", "proxy-connection"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    assert_eq!((answer.header("x-outer"), answer.text().as_str()), (Some("2"), "body"));
}

/// A Weir whose only route has these filters.
fn filtered(filters: &str, origin: &Origin) -> Weir {
    let file = Weir::forwarding_to(&[origin.address], "");
    Weir::start(&format!("{file}        filters:\n{}", support::indent(filters, 10)))
}

#[test]
fn header_filters_edit_the_request() {
    let origin = Origin::named("origin");
    let weir = filtered(
        r#"
        - headers:
            request:
              set: { X-Set: new, X-Client: "for ${client-ip} via ${method} ${path}" }
              add: { X-Add: second }
              remove: [ X-Secret ]
        "#,
        &origin,
    );
    weir.request("GET", "/p").header("X-Set", "old").header("X-Add", "first").header("X-Secret", "1").send();
    let seen = origin.only_request();
    assert_eq!(seen.headers("x-set"), ["new"]);
    assert_eq!(seen.headers("x-add"), ["first", "second"]);
    assert_eq!(seen.headers("x-client"), ["for 127.0.0.1 via GET /p"]);
    assert_eq!(seen.header("x-secret"), None);
}

#[test]
fn header_filters_edit_the_response() {
    let origin = Origin::start(|_| Answer::with_headers("X-Set: old\r\nX-Add: first\r\nX-Powered-By: php\r\n", ""));
    let weir = filtered(
        "
        - headers:
            response:
              set: { X-Set: new }
              add: { X-Add: second }
              remove: [ X-Powered-By ]
        ",
        &origin,
    );
    let answer = weir.get("/");
    assert_eq!(answer.headers("x-set"), ["new"]);
    assert_eq!(answer.headers("x-add"), ["first", "second"]);
    assert_eq!(answer.header("x-powered-by"), None);
}

#[test]
fn security_headers_are_set_unless_the_origin_sent_its_own() {
    let origin = Origin::start(|_| Answer::with_headers("X-Frame-Options: SAMEORIGIN\r\n", ""));
    let answer = filtered("- security-headers\n", &origin).get("/");
    assert_eq!(answer.headers("x-frame-options"), ["SAMEORIGIN"]);
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert!(answer.header("referrer-policy").is_some());
    assert_eq!(answer.header("strict-transport-security"), None, "on TLS only (RFC 6797 §7.2)");
}

#[test]
fn a_client_may_name_its_request_where_the_file_lets_it() {
    let seen = forwarded("request-ids: of-clients", &[("X-Request-ID", "of-the-client")]);
    assert_eq!(seen.header("x-request-id"), Some("of-the-client"));
    let seen = forwarded("request-ids: of-clients", &[("X-Request-ID", "with spaces in it")]);
    assert_eq!(seen.header("x-request-id").map(str::len), Some(32), "what is no name is replaced");
}
