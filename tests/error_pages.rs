//! Own error pages on the wire: by status and format, from files and from an upstream, for Weir's errors and the upstream's.

mod support;

use std::io::Write;

use support::{Answer, H2Client, Nginx, Origin, Weir, eventually, free_address, holds_for};

const HTML: &str = "<h1 title='${reason}'>${status}</h1><p>${message} at ${host} (${request-id}): ${other}</p>\n";
const JSON: &str = r#"{"status":${status},"reason":"${reason}","message":"${message}","id":"${request-id}"}"#;
const TEXT: &str = "plain ${status}\n";
const FILES: [(&str, &str); 3] = [("e.html", HTML), ("e.json", JSON), ("e.txt", TEXT)];

/// Routes beside an origin and an upstream that is down, all with this filter.
fn file(origin: &Origin, filter: &str) -> String {
    format!(
        "upstreams: {{ origin: {{ endpoints: [\"{}\"], retry: {{ attempts: 1 }} }}, down: {{ endpoints: [\"{}\"] }} }}\n\
         hosts:\n  - names: [a.test]\n    filters: [ {{ error-pages: {filter} }} ]\n    routes:\n\
         \x20     - {{ path: /origin, upstream: origin }}\n\
         \x20     - {{ path: /down, upstream: down }}\n\
         \x20     - {{ path: /own, respond: {{ status: 503 }} }}\n\
         \x20     - {{ path: /text, respond: {{ status: 503, body: text }} }}\n\
         \x20     - {{ path: /limited, upstream: origin, filters: [ {{ rate-limit: {{ rate: 1/h }} }} ] }}\n\
         \x20     - {{ path: /secret, upstream: origin, filters: [ {{ basic-auth: {{ file: users }} }} ] }}\n\
         \x20     - {{ path: /denied, upstream: origin, filters: [ deny: [0.0.0.0/0] ] }}\n\
         \x20     - {{ path: /small, upstream: origin, filters: [ max-body-size: 3B ] }}\n",
        origin.address,
        free_address()
    )
}

fn start(origin: &Origin, filter: &str) -> Weir {
    let files: Vec<_> = FILES.into_iter().chain([("users", "ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")]).collect();
    Weir::start_with(&file(origin, filter), &files)
}

const OWN: &str = "{ pages: [ { status: [4xx, 502-503], html: e.html, json: e.json, text: e.txt } ] }";
const ALL: &str = "{ intercept: true, pages: [ { status: [404, 5xx], text: e.txt } ] }";

#[test]
fn errors_of_weirs_own_are_shown_in_the_format_that_accept_prefers_and_keep_their_fields() {
    let origin = Origin::named("passed");
    let weir = start(&origin, OWN);
    let get = |target: &str, accept: &str| weir.request("GET", target).host("a.test").header("Accept", accept).send();

    let html = get("/down", "text/html,application/xhtml+xml,*/*;q=0.8");
    assert_eq!((html.status, html.header("content-type")), (502, Some("text/html; charset=utf-8")));
    let text = html.text();
    assert!(text.starts_with("<h1 title='Bad Gateway'>502</h1><p>the server behind this proxy"), "{text}");
    assert!(text.contains(" at a.test (") && text.ends_with("): ${other}</p>\n"), "{text}");
    assert_eq!(html.header("content-length"), Some(&*text.len().to_string()));

    let json = get("/denied", "application/json");
    assert_eq!((json.status, json.header("content-type")), (403, Some("application/json")));
    let json: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    assert_eq!((&json["status"], &json["reason"]), (&403.into(), &"Forbidden".into()));

    assert_eq!(get("/limited", "text/plain").text(), "passed");
    let limited = get("/limited", "text/plain");
    assert_eq!((limited.status, limited.text().as_str()), (429, "plain 429\n"));
    assert!(limited.header("retry-after").is_some());
    let asked = get("/secret", "text/plain");
    assert_eq!((asked.status, asked.text().as_str()), (401, "plain 401\n"));
    assert!(asked.header("www-authenticate").is_some_and(|value| value.starts_with("Basic")));

    let nothing = get("/nothing", "text/plain");
    assert_eq!((nothing.status, nothing.text().as_str()), (404, "plain 404\n"), "no route of the host");
    assert_eq!(
        (get("/own", "text/plain").text().as_str(), get("/text", "text/plain").text().as_str()),
        ("plain 503\n", "text")
    );
    let body = weir.request("POST", "/small").host("a.test").header("Accept", "text/plain").body("four").send();
    assert_eq!((body.status, body.text().as_str()), (413, "plain 413\n"));
    let elsewhere = weir.request("GET", "/").host("b.test").send();
    assert!(elsewhere.text().contains("no such host here"), "another host's pages are not shown");

    let head = weir.request("HEAD", "/down").host("a.test").header("Accept", "text/plain").send();
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (502, Some("10"), 0));
}

#[test]
fn pages_of_a_listener_are_shown_for_hosts_that_are_not_served() {
    let address = free_address();
    let weir = Weir::start_with(
        &format!(
            "listeners: {{ http: {{ address: \"{address}\", filters: [ {{ error-pages: {{ pages: [ {{ status: 404, text: e.txt, as: 410 }} ] }} }} ] }} }}\n\
             hosts: [ {{ names: [a.test], routes: [ {{ path: /x, respond: {{ status: 200 }} }} ] }} ]\n"
        ),
        &FILES,
    );
    for host in ["a.test", "b.test"] {
        let answer = support::request(address, "GET", "/").host(host).send();
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (410, "plain 404\n"),
            "{host}: the page tells of the error"
        );
    }
    drop(weir);
}

/// An origin that answers with the status that stands in the path, in different ways.
fn erring() -> Origin {
    Origin::start(|request| {
        match request.target.split('?').next().unwrap_or_default().trim_start_matches("/origin") {
        "/200" => Answer::ok("fine"),
        "/404" => Answer::status(404, "upstream's own"),
        "/400" => Answer::status(400, "upstream's own"),
        "/empty" => Answer::status(503, ""),
        "/chunked" => Answer::Send(b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".to_vec()),
        "/fields" => Answer::Send(
            b"HTTP/1.1 404 No\r\nContent-Type: text/x-own\r\nContent-Encoding: gzip\r\nETag: \"1\"\r\nCache-Control: max-age=9\r\n\
              Set-Cookie: a=b\r\nX-Own: 1\r\nContent-Length: 2\r\n\r\nzz"
                .to_vec(),
        ),
        "/head" => Answer::Send(b"HTTP/1.1 404 No\r\nContent-Length: 14\r\n\r\n".to_vec()),
        "/large" => Answer::drive(|stream| {
            let _ = stream.write_all(b"HTTP/1.1 500 No\r\nContent-Length: 50000000\r\n\r\n");
            let _ = (0..5000).try_for_each(|_| stream.write_all(&[b'x'; 10_000]));
        }),
        "/endless" => Answer::drive(|stream| {
            let _ = stream.write_all(b"HTTP/1.1 500 No\r\nContent-Length: 500000000000\r\n\r\n");
            while stream.write_all(&[b'x'; 10_000]).is_ok() {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }),
        "/stalled" => Answer::drive(|stream| {
            let _ = stream.write_all(b"HTTP/1.1 500 No\r\nContent-Length: 100\r\n\r\nx");
            let _ = std::io::Read::read(stream, &mut [0; 1]);
        }),
        _ => Answer::Reset,
    }
    })
}

#[test]
fn errors_of_the_upstream_are_replaced_where_that_is_asked_for() {
    let origin = erring();
    let weir = start(&origin, ALL);
    let get = |target: &str| weir.request("GET", target).host("a.test").send();
    let seen = |target: &str| {
        let answer = get(target);
        (answer.status, answer.text())
    };
    assert_eq!(seen("/origin/404"), (404, "plain 404\n".into()));
    assert_eq!(seen("/origin/empty"), (503, "plain 503\n".into()));
    assert_eq!(seen("/origin/chunked"), (500, "plain 500\n".into()));
    assert_eq!(seen("/origin/reset"), (502, "plain 502\n".into()));
    assert_eq!(seen("/origin/200"), (200, "fine".into()));
    assert_eq!(seen("/origin/400"), (400, "upstream's own".into()), "no page is for that");

    let fields = get("/origin/fields");
    assert_eq!(fields.text(), "plain 404\n");
    assert_eq!(
        (fields.header("content-type"), fields.header("content-length")),
        (Some("text/plain; charset=utf-8"), Some("10"))
    );
    assert_eq!([fields.header("content-encoding"), fields.header("etag")], [None, None], "they told of another body");
    assert_eq!(
        [fields.header("cache-control"), fields.header("set-cookie"), fields.header("x-own")],
        [Some("max-age=9"), Some("a=b"), Some("1")],
        "what tells of something else stays"
    );
    let head = weir.request("HEAD", "/origin/head").host("a.test").send();
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (404, Some("10"), 0));

    let own = start(&origin, &ALL.replace("true", "false"));
    assert_eq!(own.request("GET", "/origin/404").host("a.test").send().text(), "upstream's own");
    assert_eq!(own.request("GET", "/origin/reset").host("a.test").send().text(), "plain 502\n");
}

#[test]
fn both_connections_outlive_a_replaced_answer_and_a_large_or_stalled_one_is_not_waited_for() {
    let origin = erring();
    let weir = Weir::start_with(&("threads: 1\n".to_owned() + &file(&origin, ALL)), &[FILES[2], ("users", "")]);
    let mut client = weir.connect();
    let mut ask = |target: &str| {
        client.write(format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
        client.read_response()
    };
    for target in ["/origin/404", "/origin/empty", "/origin/chunked", "/origin/404", "/origin/200", "/origin/fields"] {
        let answer = ask(target);
        assert_ne!(answer.header("connection"), Some("close"), "{target}");
    }
    assert_eq!(origin.connection_count(), 1, "the upstream's connection was used again");
    for _ in 0..2 {
        assert_eq!(ask("/origin/large").text(), "plain 500\n");
    }
    assert_eq!(ask("/origin/200").text(), "fine");
    eventually("what is not read to its end is closed", || (origin.open_connections() <= 1).then_some(()));
    let stalled = weir.request("GET", "/origin/stalled").host("a.test").send();
    assert_eq!((stalled.status, stalled.text().as_str()), (500, "plain 500\n"), "the client does not wait for it");
    assert!(!weir.log().contains("already sent"), "{}", weir.log());
}

#[test]
fn pages_reach_http2_clients_and_replace_http2_answers() {
    let origin = erring();
    let weir = start(&origin, ALL);
    let mut client = H2Client::plain(weir.http);
    for target in ["/origin/404", "/origin/large", "/origin/chunked", "/origin/empty", "/down", "/origin/large"] {
        let answer = client.get("a.test", target);
        let status = answer.status;
        assert_eq!(answer.text(), format!("plain {status}\n"), "{target}");
        assert_eq!(answer.header("content-length"), Some("10"), "{target}");
    }
    assert_eq!(client.get("a.test", "/origin/200").text(), "fine");
    let mut declined = client.open_websocket("a.test", "/origin/endless");
    assert_eq!((declined.status(), declined.text().as_str()), (500, "plain 500\n"));
    eventually("what is not shown is not read on", || (origin.busy_count() == 0).then_some(()));

    // Before its version 1.25 nginx speaks HTTP/2 on ports of its own.
    let h2 = free_address();
    let _nginx = Nginx::start(&format!("listen {h2} http2; location / {{ return 500 'of nginx'; }}"));
    let weir = Weir::start_with(
        &format!(
            "upstreams: {{ origin: {{ endpoints: [\"{}\"], protocol: http2 }} }}\n\
             hosts: [ {{ names: ['*'], filters: [ {{ error-pages: {ALL} }} ], routes: [ {{ path: /, upstream: origin }} ] }} ]\n",
            h2
        ),
        &FILES,
    );
    for _ in 0..3 {
        let answer = weir.get("/x");
        assert_eq!((answer.status, answer.text().as_str()), (500, "plain 500\n"));
        let answer = H2Client::plain(weir.http).get("a.test", "/x");
        assert_eq!((answer.status, answer.text().as_str()), (500, "plain 500\n"));
    }
}

#[test]
fn a_page_can_have_a_status_of_its_own() {
    let origin = erring();
    let filter = "{ intercept: true, pages: [ { status: 404, text: e.txt, as: 200 }, { status: 4xx, text: e.txt } ] }";
    let text = file(&origin, filter).replace("{ error-pages", "{ cache-headers: [ { expires: 1d } ] }, { error-pages");
    let weir = Weir::start_with(&text, &[FILES[2], ("users", "")]);
    let answer = weir.request("GET", "/origin/404").host("a.test").send();
    assert_eq!((answer.status, answer.text().as_str()), (200, "plain 404\n"));
    assert_eq!(answer.header("cache-control"), None, "an error is nothing to keep, whatever it is called");
    assert_eq!(weir.request("GET", "/nothing").host("a.test").send().status, 200);
    assert_eq!(weir.request("GET", "/denied").host("a.test").send().status, 403);
}

/// A page from an upstream: what it is asked, and what it answers.
fn pages() -> Origin {
    Origin::start(|request| {
        match request.header("x-code") {
        Some("404") => Answer::Send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/x-page\r\nX-Inner: 1\r\nCache-Control: no-store\r\nContent-Length: 4\r\n\r\npage"
                .to_vec(),
        ),
        Some("503") => Answer::Reset,
        Some(_) => Answer::status(500, "other"),
        None => Answer::status(400, "no code"),
    }
    })
}

fn with_pages(pages: &Origin, origin: &Origin, more: &str) -> Weir {
    let filter = format!("{{ intercept: true, pages: [ {{ status: [404, 5xx], upstream: pages {more} }} ] }}");
    let text = file(origin, &filter)
        .replace("upstreams: {", &format!("upstreams: {{ pages: {{ endpoints: [\"{}\"] }},", pages.address));
    Weir::start_with(&text, &[("users", "")])
}

#[test]
fn an_upstream_is_asked_for_the_page_as_ingress_nginx_asks_its_default_backend() {
    let (pages, origin) = (pages(), erring());
    let weir = with_pages(&pages, &origin, "");
    let request =
        weir.request("POST", "/origin/404?a=b").host("a.test:81").header("Accept", "text/x").header("Cookie", "c=d");
    let answer = request.clone().body("body").send();
    assert_eq!((answer.status, answer.text().as_str()), (404, "page"));
    assert_eq!(answer.header("content-type"), Some("text/x-page"));
    assert_eq!((answer.header("x-inner"), answer.header("cache-control")), (None, Some("no-store")));
    let asked = pages.only_request();
    assert_eq!((&*asked.method, &*asked.target, asked.body.len()), ("GET", "/", 0));
    let field = |name| asked.header(name).unwrap_or_default().to_owned();
    assert_eq!([field("host"), field("x-code"), field("x-format")], ["a.test:81", "404", "text/x"]);
    assert_eq!([field("x-original-uri"), field("x-forwarded-for")], ["/origin/404?a=b", "127.0.0.1"]);
    assert_eq!(field("x-request-id").len(), 32);
    assert_eq!([field("cookie"), field("authorization")], ["", ""], "they are not the page's business");

    assert_eq!(weir.request("HEAD", "/nothing").host("a.test").send().header("content-length"), Some("4"));
    let own = weir.request("GET", "/down").host("a.test").send();
    assert_eq!((own.status, own.text().as_str()), (502, "other"));
    for _ in 0..3 {
        weir.request("GET", "/nothing").host("a.test").send();
    }
    assert!(pages.connection_count() <= 2, "they are kept, one for each thread: {}", pages.connection_count());
}

#[test]
fn the_status_of_the_page_can_be_the_upstreams_and_its_path_another() {
    let (pages, origin) = (pages(), erring());
    let weir = with_pages(&pages, &origin, ", path: '/errors?from=weir', as: upstream");
    assert_eq!(weir.request("GET", "/origin/404").host("a.test").send().status, 200);
    assert_eq!(pages.only_request().target, "/errors?from=weir");
    assert_eq!(weir.request("GET", "/down").host("a.test").send().status, 500);
}

#[test]
fn without_its_page_an_error_is_what_it_was() {
    let (pages, origin) = (pages(), erring());
    let weir = with_pages(&pages, &origin, "");
    let answer = weir.request("GET", "/own").host("a.test").send();
    assert_eq!((answer.status, answer.text().as_str()), (503, ""));
    let answer = weir.request("GET", "/origin/empty").host("a.test").send();
    assert_eq!((answer.status, answer.body.len()), (503, 0));
    pages.stop();
    let answer = weir.request("GET", "/origin/404").host("a.test").send();
    assert_eq!((answer.status, answer.text().as_str()), (404, "upstream's own"));
    assert!(weir.request("GET", "/down").host("a.test").send().text().contains("could not be reached"));
}

#[test]
fn a_page_is_read_again_when_it_changes_and_a_bad_one_is_refused() {
    let origin = erring();
    let weir = start(&origin, OWN);
    let get = || weir.request("GET", "/nothing").host("a.test").header("Accept", "application/json").send().text();
    std::fs::write(weir.folder().join("e.json"), "{\"now\": ${status}}").unwrap();
    eventually("the new page", || (get() == "{\"now\": 404}").then_some(()));
    std::fs::write(weir.folder().join("e.json"), "{\"now\": ${status}").unwrap();
    weir.wait_for_refusal("is not JSON once it is filled in");
    holds_for(std::time::Duration::from_millis(200), "the old page", || get() == "{\"now\": 404}");
    std::fs::remove_file(weir.folder().join("e.html")).unwrap();
    weir.wait_for_refusal("e.html cannot be read");
    assert_eq!(get(), "{\"now\": 404}");
}

#[test]
fn an_error_that_is_kept_is_shown_by_its_page_too() {
    let origin = erring();
    let text = file(&origin, ALL).replace("{ error-pages", "{ cache: { ttl: { 404: 1h } } }, { error-pages");
    let weir = Weir::start_with(&text, &[FILES[2], ("users", "")]);
    for attempt in 0..3 {
        let answer = weir.request("GET", "/origin/404").host("a.test").send();
        assert_eq!((answer.status, answer.text().as_str()), (404, "plain 404\n"), "{attempt}");
        let answer = H2Client::plain(weir.http).get("a.test", "/origin/404");
        assert_eq!((answer.status, answer.text().as_str()), (404, "plain 404\n"), "{attempt} over HTTP/2");
        let answer = weir.request("GET", "/origin/404").host("a.test").header("If-None-Match", "\"1\"").send();
        assert_eq!((answer.status, answer.text().as_str()), (404, "plain 404\n"), "{attempt} through Pingora's cache");
    }
    assert_eq!(origin.request_count(), 1, "the upstream was asked once");
}
