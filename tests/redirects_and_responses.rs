//! Answers of Weir's own: redirects, fixed responses, error pages.

mod support;

use support::{Authority, Weir, free_address, free_port};

fn serving(routes: &str) -> Weir {
    Weir::start(&format!("hosts:\n  - names: [\"*\"]\n    routes:\n{}", support::indent(routes, 6)))
}

/// Status and location of the answer to `GET http://a.test:8080/old/x?q=1` under this `redirect`.
fn redirected(redirect: &str) -> (u16, String) {
    let weir = serving(&format!("- path: /old\n  redirect: {redirect}\n"));
    let answer = weir.request("GET", "/old/x?q=1").host("a.test").send();
    (answer.status, answer.header("location").expect("a location").to_owned())
}

#[test]
fn each_redirect_status_can_be_chosen() {
    for status in [301, 302, 303, 307, 308] {
        let redirect = format!("{{ status: {status}, host: b.test }}");
        assert_eq!(redirected(&redirect).0, status);
    }
}

#[test]
fn a_redirect_replaces_what_it_names_and_keeps_the_rest() {
    let location = |redirect| redirected(redirect).1;
    assert_eq!(location("{ status: 301, scheme: https }"), "https://a.test/old/x?q=1");
    assert_eq!(location("{ status: 301, scheme: https, port: 8443 }"), "https://a.test:8443/old/x?q=1");
    assert_eq!(location("{ status: 301, scheme: https, port: 443 }"), "https://a.test/old/x?q=1");
    assert_eq!(location("{ status: 301, scheme: https, host: b.test }"), "https://b.test/old/x?q=1");
    assert_eq!(location("{ status: 301, scheme: https, path: /new }"), "https://a.test/new?q=1");
    assert_eq!(location("{ status: 301, scheme: https, prefix: /new }"), "https://a.test/new/x?q=1");
    assert_eq!(
        location(r#"{ status: 301, scheme: https, regex: { pattern: "^/old/(.*)$", replacement: "/$1/new" } }"#),
        "https://a.test/x/new?q=1"
    );
}

#[test]
fn a_redirect_can_use_the_pattern_of_its_route_drop_the_query_and_name_the_path_alone() {
    let weir = serving(
        r#"
        - regex: "^/u/(?<id>[0-9]+)/(.*)$"
          redirect: { regex: { replacement: "/user?id=${id}&tab=$2" } }
        - path: /old
          redirect: { prefix: /new, query: drop, relative: true }
        - path: /part
          redirect: { regex: { pattern: "^/part/([a-z]+)$", replacement: "/$1" } }
        "#,
    );
    let answer = |target: &str| {
        let answer = weir.request("GET", target).host("a.test:81").send();
        (answer.status, answer.header("location").unwrap_or_default().to_owned())
    };
    assert_eq!(answer("/u/7/posts?q=1"), (302, "http://a.test:81/user?id=7&tab=posts&q=1".into()));
    assert_eq!(answer("/u/7/%26admin=1"), (302, "http://a.test:81/user?id=7&tab=%26admin=1".into()));
    assert_eq!(answer("/old/x?q=1"), (302, "/new/x".into()));
    assert_eq!(answer("//old//evil.test"), (302, "/new/evil.test".into()));
    assert_eq!(answer("/part/x"), (302, "http://a.test:81/x".into()));
    assert_eq!(answer("/part/7"), (404, String::new()), "it would lead to itself");
}

#[test]
fn filters_that_redirect_can_name_status_and_form() {
    let weir = serving(
        "
        - path: /
          respond: { status: 200, body: here }
          filters:
            - app-root: { path: '/app/?from=root', status: 307, relative: true }
            - trailing-slash: { slash: add, status: 303, relative: true }
        ",
    );
    let answer = |method: &str, target: &str| {
        let answer = weir.request(method, target).send();
        (answer.status, answer.header("location").unwrap_or_default().to_owned())
    };
    assert_eq!(answer("POST", "/?x=1"), (307, "/app/?from=root".into()));
    assert_eq!(answer("GET", "/a?x=1"), (303, "/a/?x=1".into()));
    assert_eq!(answer("GET", "//evil.test//b"), (303, "/evil.test/b/".into()), "no other host is named");
    for target in ["/a/", "/a.css", "/.well-known/change-password"] {
        assert_eq!(answer("GET", target).0, 200, "{target}");
    }
}

#[test]
fn a_redirect_by_a_filter_is_explained_and_logged() {
    let weir = Weir::start(
        "
        hosts:
          - names: [a.test, www.a.test]
            filters: [ { www-redirect: to-apex } ]
            routes: [ { path: /, respond: { status: 200 } } ]
        ",
    );
    let url = "http%3A%2F%2Fwww.a.test%2Fx";
    let explained = weir.admin(&format!("/explain?url={url}")).text();
    assert!(explained.contains("redirected with 308 by www-redirect to http://a.test/x"), "{explained}");
    assert_eq!(weir.request("GET", "/x").host("www.a.test").send().status, 308);
    support::eventually("the line in the log", || weir.log().contains(r#""refused_by":"www-redirect""#).then_some(()));
}

#[test]
fn https_redirect_sends_plain_requests_to_the_same_url_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("test");
    let (cert, key) = authority.issue(&["a.test"]).write(folder.path(), "a");
    let (http, https) = (free_address(), free_address());
    let _weir = Weir::start(&format!(
        r#"
        listeners:
          http:
            address: "{http}"
          https:
            address: "{https}"
            tls: {{}}
        certificates:
          - file:
              cert: {}
              key: {}
        hosts:
          - names: [a.test]
            filters: [ https-redirect ]
            routes:
              - path: /
                respond:
                  status: 200
                  body: safe
        "#,
        cert.display(),
        key.display()
    ));
    let answer = support::request(http, "GET", "/x?y=1").host("a.test").send();
    assert!(matches!(answer.status, 301 | 308), "{}", answer.status);
    assert_eq!(answer.header("location"), Some("https://a.test/x?y=1"));

    let mut connection = authority.client().connect(https, "a.test").unwrap();
    connection.write("GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(connection.read_response().text(), "safe");
}

#[test]
fn https_redirect_can_name_status_and_port() {
    let weir = Weir::start(
        "
        hosts:
          - names: [a.test]
            filters:
              - https-redirect: { status: 307, port: 8443 }
            routes: [ { path: /, respond: { status: 200 } } ]
        ",
    );
    let answer = weir.request("POST", "/x").host("a.test:8080").body("kept by 307").send();
    assert_eq!((answer.status, answer.header("location")), (307, Some("https://a.test:8443/x")));
}

#[test]
fn a_response_has_the_status_headers_and_body_of_the_file() {
    let weir = serving(
        r#"
        - exact: /teapot
          respond: { status: 418, body: "short and stout\n", headers: { Content-Type: text/x-tea, X-Handle: left } }
        - exact: /nothing
          respond: { status: 204 }
        "#,
    );
    let answer = weir.get("/teapot");
    assert_eq!((answer.status, answer.text().as_str()), (418, "short and stout\n"));
    assert_eq!((answer.header("content-type"), answer.header("x-handle")), (Some("text/x-tea"), Some("left")));
    assert_eq!(answer.header("content-length"), Some("16"));
    assert!(answer.header("date").is_some(), "RFC 9110 §6.6.1");

    let head = weir.request("HEAD", "/teapot").send();
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (418, Some("16"), 0));
    assert_eq!(weir.get("/nothing").status, 204);
}

#[test]
fn an_answer_of_weirs_own_keeps_the_connection_open() {
    let weir = serving("- path: /\n  respond: { status: 200, body: again }\n");
    let mut connection = weir.connect();
    for _ in 0..3 {
        connection.write("POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!(connection.read_response().text(), "again", "the body that nobody wanted is read past");
    }
}

#[test]
fn an_error_is_json_html_or_text_as_the_client_accepts() {
    let port = free_port();
    let weir = Weir::in_front_of(&[([127, 0, 0, 1], port).into()]);
    let answer = |accept: &str| weir.request("GET", "/").header("Accept", accept).send();
    let content_type = |accept: &str| answer(accept).header("content-type").unwrap_or_default().to_owned();

    let json = answer("application/json");
    assert_eq!(json.status, 502);
    let body: serde_json::Value = serde_json::from_slice(&json.body).expect("the body is JSON");
    assert_eq!(body["status"], 502, "{body}");
    assert!(content_type("application/json").starts_with("application/json"));
    assert!(content_type("text/html,application/xhtml+xml,*/*;q=0.8").starts_with("text/html"));

    let text = answer("text/html").text();
    assert!(text.contains("502"), "{text}");
    assert!(!text.contains(&port.to_string()), "an error page does not tell where the origins are: {text}");
}

#[test]
fn an_error_page_that_ends_the_connection_says_so() {
    let weir = Weir::in_front_of(&[free_address()]);
    for request in
        ["GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\npart"]
    {
        let mut client = weir.connect();
        client.write(request);
        let answer = client.read_response();
        assert_eq!((answer.status, answer.header("connection")), (502, Some("close")));
        client.assert_closed();
    }
}
