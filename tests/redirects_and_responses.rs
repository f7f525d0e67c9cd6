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
