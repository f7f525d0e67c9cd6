//! The `headers` filter beside nginx's `add_header`, `proxy_set_header` and `proxy_hide_header`: which answers are edited, what variables
//! stand for, and what is inherited.

mod support;

use std::net::SocketAddr;

use support::{Answer, Authority, Nginx, Origin, Response, Weir, free_address, request};

const STATUSES: [u16; 24] = [
    200, 201, 202, 203, 204, 205, 206, 300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 416, 429, 500, 502,
    503,
];

/// Answers with the status that ends the path, and fields of its own.
fn origin() -> Origin {
    Origin::start(|request| {
        let path = request.target.split('?').next().unwrap_or_default();
        let status: u16 = path.rsplit('/').next().and_then(|status| status.parse().ok()).unwrap_or(200);
        let body = if matches!(status, 204 | 304) { "" } else { "Content-Length: 2\r\n\r\nok" };
        let end = if body.is_empty() { "\r\n" } else { body };
        Answer::Send(
            format!("HTTP/1.1 {status} S\r\nX-Up: origin\r\nX-Hidden: 1\r\nVary: Accept\r\n{end}").into_bytes(),
        )
    })
}

struct Pair {
    nginx: Nginx,
    weir: Weir,
    origin: Origin,
}

fn pair(server: &str, filters: &str, routes: &str) -> Pair {
    let origin = origin();
    let down = free_address();
    let fill_in = |text: &str| text.replace("ORIGIN", &origin.address.to_string()).replace("DOWN", &down.to_string());
    let nginx = Nginx::start(&fill_in(server));
    let weir = Weir::start(&format!(
        "upstreams:\n  origin: {{ endpoints: [\"{}\"], outlier-detection: off }}\n  down: {{ endpoints: [\"{down}\"] }}\n\
         hosts:\n  - names: [\"*\"]\n    filters: {filters}\n    routes:\n{}",
        origin.address,
        support::indent(routes, 6)
    ));
    Pair { nginx, weir, origin }
}

fn values(answer: &Response, names: &[&str]) -> Vec<Vec<String>> {
    names.iter().map(|name| answer.headers(name).into_iter().map(str::to_owned).collect()).collect()
}

#[test]
fn fields_are_added_to_the_answers_that_nginx_adds_them_to() {
    let pair = pair(
        "location /success/ { add_header X-A a; proxy_pass http://ORIGIN; }
         location /always/ { add_header X-A a always; proxy_pass http://ORIGIN; }
         location /beside/ { add_header X-Up own always; proxy_pass http://ORIGIN; }
         location /instead/ { proxy_hide_header X-Up; add_header X-Up own; proxy_hide_header X-Hidden; proxy_pass http://ORIGIN; }
         location /down/success { add_header X-A a; proxy_pass http://DOWN; }
         location /down/always { add_header X-A a always; proxy_pass http://DOWN; }
         location /moved/ { add_header X-A a; return 301 /x; }
         location /refused/ { add_header X-A a; return 403; }",
        "[]",
        "
        - { path: /success, upstream: origin, filters: [ { headers: { response: { statuses: success, add: { X-A: a } } } } ] }
        - { path: /always, upstream: origin, filters: [ { headers: { response: { add: { X-A: a } } } } ] }
        - { path: /beside, upstream: origin, filters: [ { headers: { response: { statuses: all, add: { X-Up: own } } } } ] }
        - path: /instead
          upstream: origin
          filters: [ { headers: { response: { statuses: success, set: { X-Up: own }, remove: [X-Hidden] } } } ]
        - { path: /down/success, upstream: down, filters: [ { headers: { response: { statuses: success, add: { X-A: a } } } } ] }
        - { path: /down/always, upstream: down, filters: [ { headers: { response: { add: { X-A: a } } } } ] }
        - { path: /moved, redirect: { status: 301, path: /x }, filters: [ { headers: { response: { statuses: success, add: { X-A: a } } } } ] }
        - { path: /refused, respond: { status: 403 }, filters: [ { headers: { response: { statuses: success, add: { X-A: a } } } } ] }
        ",
    );
    let of_status = |path: &str| STATUSES.map(|status| format!("/{path}/{status}"));
    let fixed = ["/down/success", "/down/always", "/moved/", "/refused/", "/instead/200"].map(str::to_owned);
    let targets: Vec<String> =
        [of_status("success"), of_status("always"), of_status("beside")].concat().into_iter().chain(fixed).collect();
    for target in &targets {
        let seen = |to: SocketAddr| {
            let answer = request(to, "GET", target).send();
            (answer.status, values(&answer, &["x-a", "x-up", "x-hidden"]))
        };
        assert_eq!(seen(pair.nginx.address), seen(pair.weir.http), "{target}");
    }
    assert!(targets.len() > 70);
    // nginx hides a field from every answer, and adds its own to some: such an answer has none. Here they go together.
    let up = |to: SocketAddr| request(to, "GET", "/instead/404").send().header("x-up").map(str::to_owned);
    assert_eq!([up(pair.nginx.address), up(pair.weir.http)], [None, Some("origin".into())]);
}

#[test]
fn variables_stand_for_what_nginx_has_them_stand_for() {
    let pair = pair(
        "location / {
           proxy_set_header X-Uri $request_uri; proxy_set_header X-Query $args; proxy_set_header X-Path $uri;
           proxy_set_header X-Host $host; proxy_set_header X-Method $request_method; proxy_set_header X-Scheme $scheme;
           proxy_set_header X-Ip $remote_addr; proxy_set_header X-In $http_x_in; proxy_set_header X-Tls $ssl_protocol;
           proxy_set_header X-User $remote_user; proxy_set_header X-Both a$http_x_in-$args;
           add_header X-Sent $request_uri; add_header X-None $http_x_none; add_header X-Up-Addr $upstream_addr;
           proxy_pass http://ORIGIN; }",
        "[]",
        "
        - path: /
          upstream: origin
          filters:
            - headers:
                request:
                  set:
                    X-Uri: ${uri}
                    X-Query: ${query}
                    X-Path: ${path}
                    X-Host: ${host}
                    X-Method: ${method}
                    X-Scheme: ${scheme}
                    X-Ip: ${client-ip}
                    X-In: \"${header:X-In}\"
                    X-Tls: ${tls-version}
                    X-User: ${user}
                    X-Both: \"a${header:x-in}-${query}\"
                response:
                  add: { X-Sent: \"${uri}\", X-None: \"${header:X-None}\", X-Up-Addr: \"${endpoint}\" }
        ",
    );
    let sent =
        ["x-uri", "x-query", "x-path", "x-host", "x-method", "x-scheme", "x-ip", "x-in", "x-tls", "x-user", "x-both"];
    for (method, target, field) in [
        ("GET", "/", None),
        ("GET", "/a%20b?x=%20&y", Some("in")),
        ("POST", "/a//b/../c?x=1?2", Some("a, b")),
        ("GET", "/?", Some("")),
        ("GET", "/%C3%BC", None),
        ("HEAD", "/x", Some("in")),
    ] {
        let seen = |to: SocketAddr| {
            let request = request(to, method, target).host("A.test:8080");
            let request = field.map_or(request.clone(), |value| request.header("X-In", value));
            let answer = request.send();
            let received = pair.origin.last_request();
            let received: Vec<_> = sent.iter().map(|name| received.header(name).map(str::to_owned)).collect();
            (received, values(&answer, &["x-sent", "x-none", "x-up-addr"]))
        };
        assert_eq!(seen(pair.nginx.address), seen(pair.weir.http), "{method} {target}");
    }
    // A client's own spelling of what is set goes nowhere, even where the value comes out empty.
    let forged = |to: SocketAddr| {
        request(to, "GET", "/").header("X-User", "admin").header("X-Tls", "TLSv9").send();
        let received = pair.origin.last_request();
        [received.header("x-user").map(str::to_owned), received.header("x-tls").map(str::to_owned)]
    };
    assert_eq!((forged(pair.nginx.address), forged(pair.weir.http)), ([None, None], [None, None]));
}

#[test]
fn a_level_with_edits_of_its_own_replaces_those_of_the_outer_ones() {
    let pair = pair(
        "add_header X-A host always; add_header X-B host always; proxy_set_header X-Q host;
         location /none/ { proxy_pass http://ORIGIN; }
         location /own/ { add_header X-A route always; proxy_pass http://ORIGIN; }
         location /both/ { add_header X-A route always; proxy_set_header X-R route; proxy_pass http://ORIGIN; }
         location /request/ { proxy_set_header X-R route; proxy_pass http://ORIGIN; }",
        "[ { headers: { request: { set: { X-Q: host } }, response: { add: { X-A: host, X-B: host } } } } ]",
        "
        - { path: /none, upstream: origin }
        - { path: /own, upstream: origin, filters: [ { headers: { response: { add: { X-A: route } } } } ] }
        - path: /both
          upstream: origin
          filters: [ { headers: { request: { set: { X-R: route } }, response: { add: { X-A: route } } } } ]
        - { path: /request, upstream: origin, filters: [ { headers: { request: { set: { X-R: route } } } } ] }
        ",
    );
    let seen = |to: SocketAddr, target: &str| {
        let answer = request(to, "GET", target).send();
        let received = pair.origin.last_request();
        let sent = ["x-q", "x-r"].map(|name| received.header(name).map(str::to_owned));
        (values(&answer, &["x-a", "x-b"]), sent)
    };
    for target in ["/none/200", "/none/404", "/both/200", "/both/500"] {
        assert_eq!(seen(pair.nginx.address, target), seen(pair.weir.http, target), "{target}");
    }
    // nginx inherits what goes up and what comes down apart; of Weir's filter both are one, and the nearest stands.
    assert_eq!(seen(pair.nginx.address, "/own/200").0, seen(pair.weir.http, "/own/200").0);
    let [theirs, ours] = [pair.nginx.address, pair.weir.http].map(|to| seen(to, "/own/200").1[0].clone());
    assert_eq!([theirs.as_deref(), ours.as_deref()], [Some("host"), None]);
    let [theirs, ours] = [pair.nginx.address, pair.weir.http].map(|to| seen(to, "/request/200").0.concat().len());
    assert_eq!([theirs, ours], [2, 0]);
}

#[test]
fn values_are_appended_to_a_list_and_variables_tell_where_the_request_went() {
    let pair = pair(
        "location / { return 204; }",
        "[]",
        "
        - name: api
          path: /
          upstream: origin
          filters:
            - headers:
                request: { append: { X-List: \"more;by=${client-ip}\" }, set: { X-From: \"${client-ip}:${client-port}\" } }
                response: { append: { Vary: Origin, X-New: one }, set: { X-Went: \"${route} ${upstream} ${endpoint}\" } }
        ",
    );
    let mut client = pair.weir.connect();
    client.write("GET / HTTP/1.1\r\nHost: a\r\nX-List: a\r\nX-List: b\r\n\r\n");
    let answer = client.read_response();
    let received = pair.origin.last_request();
    assert_eq!(received.headers("x-list"), ["a, b, more;by=127.0.0.1"]);
    assert_eq!(received.header("x-from"), Some(&*client.local_address().to_string()));
    assert_eq!(values(&answer, &["vary", "x-new"]), [["Accept, Origin"], ["one"]]);
    assert_eq!(answer.header("x-went"), Some(&*format!("api origin {}", pair.origin.address)));
    pair.weir.get("/");
    assert_eq!(pair.origin.last_request().headers("x-list"), ["more;by=127.0.0.1"]);
}

#[test]
fn the_version_and_the_cipher_of_tls_and_the_user_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("test");
    let (cert, key) = authority.issue(&["a.test"]).write(folder.path(), "a");
    let (origin, https) = (origin(), free_address());
    let _weir = Weir::start_with(
        &format!(
            "listeners: {{ https: {{ address: \"{https}\", tls: {{}} }} }}\n\
             certificates: [ {{ file: {{ cert: {}, key: {} }} }} ]\n\
             upstreams: {{ origin: {{ endpoints: [\"{}\"] }} }}\n\
             hosts: [ {{ names: [a.test], filters: [ {{ basic-auth: {{ file: users }} }}, {{ headers: {{ request: {{ set: \
             {{ X-Tls: \"${{tls-version}} ${{tls-cipher}}\", X-User: \"${{user}}\" }} }} }} }} ], routes: [ {{ path: /, upstream: origin }} ] }} ]\n",
            cert.display(),
            key.display(),
            origin.address
        ),
        &[("users", "ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")],
    );
    let mut connection = authority.client().connect(https, "a.test").unwrap();
    connection.write("GET / HTTP/1.1\r\nHost: a.test\r\nAuthorization: Basic YW5uOnNlY3JldA==\r\n\r\n");
    assert_eq!(connection.read_response().status, 200);
    let received = origin.last_request();
    assert!(received.header("x-tls").is_some_and(|tls| tls.starts_with("TLSv1.3 TLS_")), "{received:?}");
    assert_eq!(received.header("x-user"), Some("ann"));
}
