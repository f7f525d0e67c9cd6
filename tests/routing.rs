//! Which route takes a request: by host, path, method, header and query, and what of the path goes upstream.

mod support;

use support::{Nginx, Origin, Weir, free_address, request};

/// A route table that answers with its own names.
fn table(routes: &str) -> Weir {
    Weir::start(&format!("hosts:\n  - names: [\"*\"]\n    routes:\n{}", support::indent(routes, 6)))
}

#[test]
fn an_exact_path_beats_a_prefix_of_equal_length_and_a_longer_prefix_a_shorter_one() {
    let weir = table(
        "
        - path: /
          respond: { status: 200, body: root }
        - path: /api
          respond: { status: 200, body: api }
        - path: /api/v1
          respond: { status: 200, body: v1 }
        - exact: /api
          respond: { status: 200, body: exact }
        ",
    );
    for (path, taken_by) in [
        ("/api", "exact"),
        ("/api/", "api"),
        ("/api/v1", "v1"),
        ("/api/v1/users", "v1"),
        ("/api/v2", "api"),
        ("/other", "root"),
    ] {
        assert_eq!(weir.get(path).text(), taken_by, "{path}");
    }
}

#[test]
fn a_prefix_ends_at_a_segment() {
    let weir = table(
        "
        - path: /api/
          respond: { status: 200, body: api }
        ",
    );
    for path in ["/api", "/api/", "/api/x", "/api?q=1"] {
        assert_eq!(weir.get(path).text(), "api", "{path}");
    }
    for path in ["/apis", "/ap", "/", "/API"] {
        assert_eq!(weir.get(path).status, 404, "{path}");
    }
}

#[test]
fn a_regex_is_unanchored_unless_it_says_otherwise() {
    let weir = table(
        r#"
        - regex: "^/users/[0-9]+$"
          respond: { status: 200, body: user }
        - regex: "\\.(png|svg)$"
          respond: { status: 200, body: image }
        "#,
    );
    assert_eq!(weir.get("/users/42").text(), "user");
    assert_eq!(weir.get("/users/42/x").status, 404);
    assert_eq!(weir.get("/deep/in/logo.svg").text(), "image");
}

#[test]
fn a_regex_stands_between_exact_paths_and_prefixes() {
    let weir = table(
        r#"
        - path: /api/v1/auth
          respond: { status: 200, body: prefix }
        - regex: "^/api/v1/auth/(login|register)"
          respond: { status: 200, body: regex }
        - exact: /api/v1/auth/register
          respond: { status: 200, body: exact }
        "#,
    );
    assert_eq!(weir.get("/api/v1/auth/login").text(), "regex");
    assert_eq!(weir.get("/api/v1/auth/register").text(), "exact");
    assert_eq!(weir.get("/api/v1/auth/logout").text(), "prefix");
}

#[test]
fn methods_headers_and_query_parameters_narrow_a_route() {
    let weir = table(
        r#"
        - path: /a
          respond: { status: 200, body: any }
        - path: /a
          methods: [POST, PUT]
          respond: { status: 200, body: writes }
        - path: /a
          headers: { X-Canary: always }
          respond: { status: 200, body: canary }
        - path: /a
          headers: { X-Version: { regex: "^2\\." } }
          respond: { status: 200, body: second }
        - path: /a
          query: { debug: "1" }
          respond: { status: 200, body: debug }
        - path: /presence
          headers: { X-Any: present, X-None: absent }
          respond: { status: 200, body: here }
        "#,
    );
    assert_eq!(weir.get("/a").text(), "any");
    assert_eq!(weir.request("POST", "/a").body("x").send().text(), "writes");
    assert_eq!(weir.request("GET", "/a").header("x-canary", "always").send().text(), "canary");
    assert_eq!(weir.request("GET", "/a").header("X-Canary", "never").send().text(), "any");
    assert_eq!(weir.request("GET", "/a").header("X-Version", "2.1").send().text(), "second");
    assert_eq!(weir.request("GET", "/a").header("X-Version", "12.1").send().text(), "any");
    assert_eq!(weir.get("/a?x=2&debug=1").text(), "debug");
    assert_eq!(weir.get("/a?debug=10").text(), "any");
    assert_eq!(weir.request("GET", "/presence").header("X-Any", "").send().text(), "here");
    assert_eq!(weir.request("GET", "/presence").header("X-Any", "1").header("X-None", "1").send().status, 404);
}

#[test]
fn a_route_for_get_takes_head_along_and_refuses_other_methods() {
    let weir = table(
        "
        - path: /
          methods: [GET]
          respond: { status: 200, body: got }
        ",
    );
    assert_eq!(weir.get("/").text(), "got");
    assert_eq!(weir.request("HEAD", "/").send().status, 200);
    assert!(matches!(weir.request("DELETE", "/").send().status, 404 | 405));
}

#[test]
fn an_exact_host_beats_the_longest_wildcard_and_that_the_catch_all() {
    let weir = Weir::start(
        r#"
        hosts:
          - names: ["*"]
            routes: [ { path: /, respond: { status: 200, body: anyone } } ]
          - names: ["*.example.org"]
            routes: [ { path: /, respond: { status: 200, body: wild } } ]
          - names: ["*.api.example.org"]
            routes: [ { path: /, respond: { status: 200, body: wilder } } ]
          - names: [www.example.org, example.org]
            routes: [ { path: /, respond: { status: 200, body: exact } } ]
        "#,
    );
    for (host, taken_by) in [
        ("www.example.org", "exact"),
        ("example.org", "exact"),
        ("WWW.Example.ORG", "exact"),
        ("www.example.org:8080", "exact"),
        ("www.example.org.", "exact"),
        ("blog.example.org", "wild"),
        ("a.b.example.org", "wild"),
        ("v1.api.example.org", "wilder"),
        ("example.net", "anyone"),
        ("127.0.0.1", "anyone"),
        ("[::1]:80", "anyone"),
    ] {
        assert_eq!(weir.request("GET", "/").host(host).send().text(), taken_by, "{host}");
    }
}

#[test]
fn a_host_that_nobody_serves_is_not_found() {
    let weir = Weir::start(
        "
        hosts:
          - names: [known.test]
            routes: [ { path: /, respond: { status: 200, body: known } } ]
        ",
    );
    assert_eq!(weir.request("GET", "/").host("known.test").send().status, 200);
    assert_eq!(weir.request("GET", "/").host("unknown.test").send().status, 404);
}

#[test]
fn a_host_can_be_kept_to_one_listener() {
    let (public, inside) = (free_address(), free_address());
    let _weir = Weir::start(&format!(
        r#"
        listeners:
          public:
            address: "{public}"
          inside:
            address: "{inside}"
        hosts:
          - names: [both.test]
            routes:
              - path: /
                respond:
                  status: 200
                  body: both
          - names: [inside.test]
            listeners: [inside]
            routes:
              - path: /
                respond:
                  status: 200
                  body: inside
        "#
    ));
    let status = |listener, host: &str| request(listener, "GET", "/").host(host).send().status;
    assert_eq!((status(public, "both.test"), status(inside, "both.test")), (200, 200));
    assert_eq!((status(public, "inside.test"), status(inside, "inside.test")), (404, 200));
}

#[test]
fn an_absolute_target_and_the_host_field_must_agree() {
    let weir = Weir::start(
        "
        hosts:
          - names: [a.test]
            routes: [ { path: /x, respond: { status: 200, body: a } } ]
        ",
    );
    let mut connection = weir.connect();
    connection.write("GET http://a.test/x HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(connection.read_response().text(), "a");
    connection.write("GET http://A.Test/x HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(connection.read_response().text(), "a", "a host has no case");
    connection.write("GET http://a.test/x HTTP/1.1\r\nHost: b.test\r\n\r\n");
    assert_eq!(connection.read_response().status, 400, "who reads the target and who reads the field would differ");
}

#[test]
fn matching_sees_the_normalized_path_while_the_raw_path_goes_upstream() {
    let origin = Origin::named("origin");
    let weir = Weir::start(&format!(
        r#"
        upstreams:
          origin:
            endpoints: [ "{}" ]
        hosts:
          - names: ["*"]
            routes:
              - path: /api
                upstream: origin
              - path: /
                respond:
                  status: 418
        "#,
        origin.address
    ));
    for target in ["/api/a%20b?x=%2F&y", "/%61pi/x", "//api//x", "/other/../api/x", "/api/./x", "/api/%C3%A9"] {
        assert_eq!(weir.get(target).text(), "origin", "{target}");
        assert_eq!(origin.last_request().target, target, "it goes upstream as it came");
    }
    for target in ["/api/../x", "/api/%2e%2e/x", "/apix"] {
        assert_eq!(weir.get(target).status, 418, "{target} is outside /api");
    }
}

#[test]
fn paths_that_others_may_read_differently_are_refused() {
    let origin = Origin::named("origin");
    let weir = Weir::in_front_of(&[origin.address]);
    for target in ["/a%00b", "/a%zz", "/a%2", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd"] {
        assert_eq!(weir.get(target).status, 400, "{target}");
    }
    assert_eq!(origin.byte_count(), 0, "nothing of it reaches the origin");
}

/// The target and the host that the origin sees for `/old/a/b?q=1` under this `rewrite`.
fn rewritten(rewrite: &str) -> (String, String) {
    let origin = Origin::named("origin");
    let weir = Weir::start(&format!(
        r#"
        upstreams:
          origin:
            endpoints: [ "{}" ]
        hosts:
          - names: ["*"]
            routes:
              - path: /old
                upstream: origin
                rewrite: {rewrite}
        "#,
        origin.address
    ));
    assert_eq!(weir.request("GET", "/old/a/b?q=1").host("client.test").send().status, 200);
    let seen = origin.only_request();
    (seen.target.clone(), seen.header("host").expect("a host").to_owned())
}

#[test]
fn a_rewrite_changes_prefix_path_or_host_and_keeps_the_query() {
    let kept = |target: &str| (target.to_owned(), "client.test".to_owned());
    assert_eq!(rewritten("{ prefix: /new }"), kept("/new/a/b?q=1"));
    assert_eq!(rewritten("{ prefix: / }"), kept("/a/b?q=1"));
    assert_eq!(rewritten("{ path: /index.html }"), kept("/index.html?q=1"));
    assert_eq!(rewritten(r#"{ regex: { pattern: "^/old/([^/]+)/(.*)$", replacement: "/$2/$1" } }"#), kept("/b/a?q=1"));
    assert_eq!(rewritten("{ host: inner.test }"), ("/old/a/b?q=1".into(), "inner.test".into()));
    assert_eq!(rewritten("{ prefix: /new, host: inner.test }"), ("/new/a/b?q=1".into(), "inner.test".into()));
}

#[test]
fn a_real_nginx_is_reached_with_the_path_and_query_as_they_were_sent() {
    let nginx = Nginx::shared();
    let weir = Weir::in_front_of(&[nginx.address]);
    assert_eq!(weir.get("/a/b?x=1&y=%20").text(), "nginx /a/b?x=1&y=%20");
    assert_eq!(weir.get("/empty").status, 204);
}
