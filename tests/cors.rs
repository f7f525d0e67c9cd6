//! CORS on the wire: every key with a value that is not its default, and beside nginx as ingress-nginx has it rendered.

mod support;

use support::{Answer, H2Client, Nginx, Origin, Request, Response, Weir, request, weir_command};

/// Says something of its own about origins, and answers `OPTIONS`, too.
fn origin() -> Origin {
    Origin::start(|request| match request.target.as_str() {
        "/404" => Answer::status(404, "nothing"),
        "/varies" => Answer::with_headers("Vary: Accept\r\nAccess-Control-Allow-Origin: https://b.a.test\r\n", "ok"),
        "/varies-already" => Answer::with_headers("Vary: Accept, origin\r\n", "ok"),
        _ => Answer::with_headers(
            "Access-Control-Allow-Origin: https://upstream.test\r\nAccess-Control-Allow-Credentials: true\r\n\
             Access-Control-Expose-Headers: X-Upstream\r\n",
            "passed",
        ),
    })
}

fn file(origin: &Origin, filters: &str) -> String {
    format!(
        "access-log: {{ format: json, file: access.log }}\n\
         upstreams: {{ origin: {{ endpoints: [\"{}\"] }} }}\n\
         hosts:\n  - names: [\"*\"]\n    filters: {filters}\n    routes:\n\
         \x20     - {{ path: /, upstream: origin }}\n\
         \x20     - {{ path: /own, respond: {{ status: 403 }} }}\n\
         \x20     - {{ path: /closed, upstream: origin, filters: [ {{ allow: [192.0.2.0/24] }} ] }}\n\
         \x20     - {{ path: /limited, upstream: origin, filters: [ {{ rate-limit: {{ rate: 1/h }} }} ] }}\n\
         \x20     - {{ path: /public, upstream: origin, filters: [ {{ cors: {{ origins: [\"*\"] }} }} ] }}\n",
        origin.address
    )
}

const FILTERS: &str = "[ { cors: { origins: [\"https://a.test\", \"https://*.a.test:8443\", { regex: \"https://[a-z]+[.]b[.]test\" }], \
    methods: [GET, PURGE], headers: [X-Token, X-Other], expose: [X-Total, X-Page], credentials: true, max-age: 1h } } ]";

fn preflight(to: std::net::SocketAddr, target: &str, origin: &str) -> Request {
    request(to, "OPTIONS", target).header("Origin", origin).header("Access-Control-Request-Method", "PURGE")
}

const FIELDS: [&str; 6] = [
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-expose-headers",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-max-age",
];

fn cors_fields(response: &Response) -> Vec<(&'static str, Vec<&str>)> {
    FIELDS.into_iter().map(|name| (name, response.headers(name))).filter(|(_, values)| !values.is_empty()).collect()
}

#[test]
fn a_preflight_is_answered_with_what_may_be_sent() {
    let origin = origin();
    let weir = Weir::start(&file(&origin, FILTERS));
    for allowed in ["https://a.test", "https://c.b.a.test:8443", "https://x.b.test"] {
        let answer = preflight(weir.http, "/", allowed).send();
        assert_eq!(answer.status, 204);
        assert_eq!(
            cors_fields(&answer),
            [
                ("access-control-allow-origin", vec![allowed]),
                ("access-control-allow-credentials", vec!["true"]),
                ("access-control-expose-headers", vec!["X-Total, X-Page"]),
                ("access-control-allow-methods", vec!["GET, PURGE"]),
                ("access-control-allow-headers", vec!["X-Token, X-Other"]),
                ("access-control-max-age", vec!["3600"]),
            ]
        );
        assert_eq!(answer.headers("vary"), ["Origin"]);
    }
    assert_eq!(origin.request_count(), 0);
    let log = support::eventually("the lines are written", || {
        std::fs::read_to_string(weir.folder().join("access.log")).ok().filter(|log| log.lines().count() == 3)
    });
    assert!(log.lines().all(|line| line.contains("\"refused_by\":\"cors\"")), "{log}");
}

#[test]
fn a_preflight_of_another_origin_is_answered_without_permission() {
    let origin = origin();
    let weir = Weir::start(&file(&origin, FILTERS));
    for refused in ["https://evil.test", "http://a.test", "https://a.test.evil", "https://x.b.test.evil", "null", ""] {
        let answer = preflight(weir.http, "/", refused).send();
        assert_eq!((answer.status, cors_fields(&answer)), (204, Vec::new()), "{refused}");
        assert_eq!(answer.headers("vary"), ["Origin"]);
    }
    assert_eq!(origin.request_count(), 0);
}

#[test]
fn a_preflight_comes_before_limits_and_redirects_but_not_past_deny_and_allow() {
    let origin = origin();
    let weir = Weir::start(&file(&origin, &FILTERS.replacen('[', "[ https-redirect, ", 1)));
    for _ in 0..3 {
        assert_eq!(preflight(weir.http, "/limited", "https://a.test").send().status, 204);
    }
    let refused = preflight(weir.http, "/closed", "https://a.test").send();
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (403, Some("https://a.test")));
}

#[test]
fn options_that_are_no_preflight_go_to_the_upstream() {
    let origin = origin();
    let weir = Weir::start(&file(&origin, FILTERS));
    let plain = weir.request("OPTIONS", "/").send();
    assert_eq!((plain.status, plain.text().as_str()), (200, "passed"));
    let with_origin = weir.request("OPTIONS", "/").header("Origin", "https://a.test").send();
    assert_eq!(with_origin.text(), "passed");
    assert_eq!(with_origin.header("access-control-allow-origin"), Some("https://a.test"));
    assert_eq!(origin.request_count(), 2);
}

#[test]
fn every_answer_says_who_may_read_it_whatever_its_status() {
    let origin = origin();
    let weir = Weir::start(&file(&origin, FILTERS));
    weir.get("/limited");
    for (target, status) in [("/", 200), ("/404", 404), ("/own", 403), ("/closed", 403), ("/limited", 429)] {
        let answer = weir.request("GET", target).header("Origin", "https://a.test").send();
        assert_eq!(answer.status, status, "{target}");
        assert_eq!(
            cors_fields(&answer),
            [
                ("access-control-allow-origin", vec!["https://a.test"]),
                ("access-control-allow-credentials", vec!["true"]),
                ("access-control-expose-headers", vec!["X-Total, X-Page"]),
            ],
            "{target}"
        );
        assert_eq!(answer.headers("vary"), ["Origin"], "{target}");
        for other in [Some("https://evil.test"), None] {
            let request = weir.request("GET", target);
            let request = other.map_or(request.clone(), |other| request.header("Origin", other));
            let answer = request.send();
            assert_eq!((answer.status, cors_fields(&answer)), (status, Vec::new()), "{target} {other:?}");
            assert_eq!(answer.headers("vary"), ["Origin"], "{target} {other:?}");
        }
    }
    let varies = weir.request("GET", "/varies").header("Origin", "https://a.test").send();
    assert_eq!(varies.headers("vary"), ["Accept", "Origin"]);
    assert_eq!(weir.get("/varies-already").headers("vary"), ["Accept, origin"]);
}

#[test]
fn every_origin_is_a_star_for_all_and_the_nearest_filter_stands() {
    let origin = origin();
    let weir = Weir::start(&file(&origin, FILTERS));
    for asked in [Some("https://anybody.test"), None] {
        let request = weir.request("GET", "/public");
        let answer = asked.map_or(request.clone(), |asked| request.header("Origin", asked)).send();
        assert_eq!(cors_fields(&answer), [("access-control-allow-origin", vec!["*"])]);
        assert_eq!(answer.header("vary"), None);
    }
    let answer = preflight(weir.http, "/public", "https://anybody.test").send();
    let methods = answer.header("access-control-allow-methods");
    assert_eq!((answer.status, methods), (204, Some("GET, PUT, POST, DELETE, PATCH, OPTIONS")));
    assert_eq!(answer.header("access-control-max-age"), Some("1728000"));
}

#[test]
fn a_listeners_filter_holds_for_its_hosts_and_over_http_2() {
    let address = support::free_address();
    let weir = Weir::start(&format!(
        "listeners: {{ http: {{ address: \"{address}\", filters: {FILTERS} }} }}\n\
         hosts: [ {{ names: [\"*\"], routes: [ {{ path: /, respond: {{ body: own }} }} ] }} ]\n"
    ));
    let mut client = H2Client::plain(address);
    let origin = ("origin", "https://a.test");
    let answer = client.send("GET", "a.test", "/", &[origin], None);
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some("https://a.test")));
    let answer = client.send("OPTIONS", "a.test", "/", &[origin, ("access-control-request-method", "GET")], None);
    assert_eq!((answer.status, answer.header("access-control-allow-methods")), (204, Some("GET, PURGE")));
    drop(weir);
}

#[test]
fn explain_says_whether_an_origin_is_allowed() {
    let origin = origin();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weir.yaml");
    let listener = "listeners: { http: { address: \"127.0.0.1:80\" } }\n";
    std::fs::write(&path, format!("{listener}{}", file(&origin, FILTERS))).unwrap();
    let explained = |arguments: &[&str]| {
        let output = weir_command().arg("explain").arg(&path).args(arguments).output().expect("weir starts");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let asked =
        ["OPTIONS", "http://a.test/", "-H", "Origin: https://a.test", "-H", "Access-Control-Request-Method: GET"];
    assert!(explained(&asked).contains("answered 204 by cors: a preflight"), "{}", explained(&asked));
    let text = explained(&["GET", "http://a.test/", "-H", "Origin: https://evil.test"]);
    assert!(text.contains("filter    cors of the host"), "{text}");
    assert!(text.contains("note      cors: https://evil.test may not read the answer"), "{text}");
}

/// What ingress-nginx v1.15 renders for `cors-allow-origin: https://a.test, https://*.a.test:8443`, with `add_header … always` for its
/// `more_set_headers`, and the upstream's own fields hidden, which that replaces.
fn nginx(origin: &Origin) -> Nginx {
    let fields = "add_header Access-Control-Allow-Origin $http_origin always;
        add_header Access-Control-Allow-Credentials true always;
        add_header Access-Control-Allow-Methods 'GET, PURGE' always;
        add_header Access-Control-Allow-Headers 'X-Token, X-Other' always;
        add_header Access-Control-Expose-Headers 'X-Total, X-Page' always;
        add_header Access-Control-Max-Age 3600 always;";
    Nginx::start(&format!(
        "location / {{
           set $cors '';
           if ($http_origin ~* ((https://a\\.test)|(https://[A-Za-z0-9\\-]+\\.a\\.test:8443))$ ) {{ set $cors 'true'; }}
           if ($request_method = 'OPTIONS') {{ set $cors ${{cors}}options; }}
           if ($cors = 'true') {{ {fields} }}
           if ($cors = 'trueoptions') {{ {fields} return 204; }}
           proxy_hide_header Access-Control-Allow-Origin;
           proxy_hide_header Access-Control-Allow-Credentials;
           proxy_hide_header Access-Control-Expose-Headers;
           proxy_pass http://{};
         }}",
        origin.address
    ))
}

#[test]
fn what_browsers_read_is_what_ingress_nginx_says() {
    let origin = origin();
    let (nginx, weir) = (nginx(&origin), Weir::start(&file(&origin, FILTERS)));
    // Of an answer that is no preflight's, browsers do not read these; ingress-nginx sends them all the same, Weir does not.
    let of_preflights = &FIELDS[3..];
    let mut compared = 0;
    for target in ["/", "/404", "/x?y=1"] {
        for asked in ["https://a.test", "https://b.a.test:8443", "https://evil.test", "http://a.test", "null"] {
            for method in ["GET", "POST", "DELETE", "OPTIONS"] {
                let ask = |to| {
                    let request = request(to, method, target).header("Origin", asked);
                    match method {
                        "OPTIONS" => request.header("Access-Control-Request-Method", "GET").send(),
                        _ => request.send(),
                    }
                };
                let (theirs, ours) = (ask(nginx.address), ask(weir.http));
                let is_allowed = asked.ends_with("a.test") && asked.starts_with("https") || asked.ends_with(":8443");
                let read = |response: &Response| -> Vec<_> {
                    let fields = cors_fields(response).into_iter();
                    let fields = fields.filter(|(name, _)| method == "OPTIONS" || !of_preflights.contains(name));
                    fields.map(|(name, values)| (name, values.join("|"))).collect()
                };
                assert_eq!(read(&theirs), read(&ours), "{method} {target} from {asked}");
                // A preflight without permission goes to the upstream there; here it does not.
                if is_allowed || method != "OPTIONS" {
                    assert_eq!(theirs.status, ours.status, "{method} {target} from {asked}");
                }
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 60);
}
