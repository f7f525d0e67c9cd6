//! `cache-headers` on the wire: the first user's table, every key with a value that is not its default, and beside nginx's `expires` and
//! `add_header`.

mod support;

use std::time::{Duration, SystemTime};

use support::{Answer, Nginx, Origin, Received, Response, Weir, request, weir_command};

/// Answers with the status and the content type of the path: `/201/a.png`, `/sw.js`; some say themselves how long they may be kept.
fn origin() -> Origin {
    Origin::start(|request: &Received| {
        let path = request.target.split('?').next().unwrap_or_default();
        let status = path.split('/').nth(1).and_then(|part| part.parse().ok()).unwrap_or(200);
        let kind = match path.rsplit('.').next() {
            Some("png") => "image/png",
            Some("woff2") => "font/woff2",
            Some("js") => "text/javascript; charset=utf-8",
            Some("txt") => "text/plain",
            _ if path.starts_with("/api") => "application/json",
            Some(_) | None => "text/html; charset=utf-8",
        };
        let own = match path.split('/').nth(1) {
            Some("api") => "Cache-Control: private\r\nExpires: Thu, 01 Jan 1970 00:00:01 GMT\r\n",
            Some("assets" | "own") => "Cache-Control: max-age=1\r\nExpires: Thu, 01 Jan 1970 00:00:01 GMT\r\n",
            Some("own-expires") => "Expires: Thu, 01 Jan 1970 00:00:01 GMT\r\n",
            Some(_) | None => "",
        };
        let body = if matches!(status, 204 | 304) { "" } else { "Content-Length: 2\r\n\r\nok" };
        let end = if body.is_empty() { "\r\n" } else { "" };
        Answer::Send(format!("HTTP/1.1 {status} Scripted\r\nContent-Type: {kind}\r\n{own}{body}{end}").into_bytes())
    })
}

/// What issue 4's first user writes down.
const TABLE: &str = "
  - { path: /api, cache-control: off }
  - { path: /sw.js, cache-control: no-store }
  - { path: /assets/, cache-control: \"public, max-age=31536000, immutable\" }
  - { type: [\"image/*\", \"font/*\"], expires: 30d }
  - { type: text/html, cache-control: no-cache }
";

fn file(origin: &Origin, rules: &str) -> String {
    format!(
        "upstreams: {{ origin: {{ endpoints: [\"{}\"] }} }}\nhosts:\n  - names: [\"*\"]\n    filters:\n      - cache-headers:\n{}    routes:\n\
         \x20     - {{ path: /, upstream: origin }}\n\
         \x20     - {{ path: /page, respond: {{ headers: {{ Content-Type: text/html }}, body: hello }} }}\n\
         \x20     - {{ path: /moved, redirect: {{ status: 301, path: /new }} }}\n\
         \x20     - {{ path: /closed.png, upstream: origin, filters: [ {{ deny: [127.0.0.0/8] }} ] }}\n\
         \x20     - {{ path: /nearest, upstream: origin, filters: [ {{ cache-headers: [ {{ cache-control: no-transform }} ] }} ] }}\n\
         \x20     - {{ path: /edited, upstream: origin, filters: [ {{ headers: {{ response: {{ set: {{ Cache-Control: edited }} }} }} }} ] }}\n",
        origin.address,
        support::indent(rules, 10)
    )
}

fn caching(response: &Response) -> (String, Option<u64>) {
    let after = response.header("expires").map(|date| {
        let date = httpdate::parse_http_date(date).expect("a date");
        let seconds = date.duration_since(SystemTime::now()).unwrap_or(Duration::ZERO).as_secs_f64();
        // A few seconds pass between the answer and now.
        (seconds / 60.0).round() as u64 * 60
    });
    (response.headers("cache-control").join(" | "), after)
}

const MONTH: u64 = 30 * 86_400;

#[test]
fn the_first_users_table_holds() {
    let origin = origin();
    let weir = Weir::start(&file(&origin, TABLE));
    for (target, cache_control, expires) in [
        ("/", "no-cache", None),
        ("/about?x=1", "no-cache", None),
        ("/page", "no-cache", None),
        ("/sw.js", "no-store", None),
        ("/assets/a.1f3.js", "public, max-age=31536000, immutable", None),
        ("/assets/logo.png", "public, max-age=31536000, immutable", None),
        ("/logo.png", "max-age=2592000", Some(MONTH)),
        ("/fonts/a.woff2", "max-age=2592000", Some(MONTH)),
        ("/api/users", "private", Some(0)),
        ("/api", "private", Some(0)),
        ("/apis.txt", "", None),
        ("/robots.txt", "", None),
        ("/own/a.png", "max-age=2592000", Some(MONTH)),
        ("/own/a.html", "no-cache", None),
        ("/own/a.txt", "max-age=1", Some(0)),
        ("/404/a.png", "", None),
        ("/500/", "", None),
        ("/closed.png", "", None),
        ("/moved", "", None),
        ("/nearest/a.png", "no-transform", None),
        ("/edited/a.png", "edited", Some(MONTH)),
    ] {
        let answer = weir.get(target);
        assert_eq!(caching(&answer), (cache_control.to_owned(), expires), "{target}");
    }
}

#[test]
fn every_key_is_seen() {
    let origin = origin();
    let rules = "
      - { path: /own, extension: [JS, txt], type: text/plain, cache-control: public, expires: 1y, keep: false }
      - { path: /own, extension: html, expires: 2h, keep: true }
      - { path: /own-expires, cache-control: x, keep: true }
      - { extension: [txt, png], cache-control: kept, expires: off, keep: true }
    ";
    let weir = Weir::start(&file(&origin, rules));
    for (target, cache_control, expires) in [
        ("/own/a.txt", "public", Some(365 * 86_400)),
        ("/own/a.TXT", "max-age=1", Some(0)),
        ("/own/a.js", "max-age=1", Some(0)),
        ("/own/a.html", "max-age=1", Some(0)),
        ("/own-expires", "", Some(0)),
        ("/a.txt", "kept", None),
        ("/a.png", "kept", None),
        ("/a.js", "", None),
        ("/a.txt/b", "", None),
    ] {
        assert_eq!(caching(&weir.get(target)), (cache_control.to_owned(), expires), "{target}");
    }
    let yaml = file(&origin, "- { path: /, expires: 2h, keep: true }");
    weir.reload(&yaml);
    assert_eq!(caching(&weir.get("/a.html")), ("max-age=7200".into(), Some(7200)));
    assert_eq!(caching(&weir.get("/moved")), ("max-age=7200".into(), Some(7200)));
}

#[test]
fn explain_says_which_rule_fits() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = folder.path().join("weir.yaml");
    let listener = "listeners: { http: { address: \"127.0.0.1:80\" } }\n";
    std::fs::write(&yaml, format!("{listener}{}", file(&origin(), TABLE))).unwrap();
    for (url, words) in [
        ("http://a.test/assets/a.js", "note      cache-headers: public, max-age=31536000, immutable"),
        ("http://a.test/api/x", "note      cache-headers: untouched"),
        (
            "http://a.test/a",
            "note      cache-headers: answers of image/*, font/*: max-age=2592000; else answers of text/html: no-cache; else untouched",
        ),
    ] {
        let output = weir_command().arg("explain").arg(&yaml).args(["GET", url]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("filter    cache-headers of the host") && text.contains(words), "{text}");
    }
}

/// The same table, as it is written for nginx.
fn nginx(origin: &Origin) -> Nginx {
    let pass = format!("proxy_pass http://{};", origin.address);
    let hide = "proxy_hide_header Cache-Control; proxy_hide_header Expires;";
    Nginx::start_with(
        "map $sent_http_content_type $kept { default off; ~^image/ 30d; ~^font/ 30d; }
         map $sent_http_content_type $page { default ''; ~^text/html no-cache; }",
        &format!(
            "location /api {{ {pass} }}
             location = /sw.js {{ {hide} add_header Cache-Control no-store; {pass} }}
             location /assets/ {{ {hide} add_header Cache-Control 'public, max-age=31536000, immutable'; {pass} }}
             location / {{ {hide} expires $kept; add_header Cache-Control $page; {pass} }}"
        ),
    )
}

#[test]
fn nginx_says_the_same_with_expires_and_add_header() {
    let origin = origin();
    let (nginx, weir) = (nginx(&origin), Weir::start(&file(&origin, TABLE)));
    let files = ["", "a.png", "a.woff2", "a.js", "a.txt", "a.html"];
    let statuses = ["200", "204", "206", "301", "302", "304", "307", "308", "400", "403", "404", "429", "500", "503"];
    let by_status = statuses.iter().flat_map(|status| files.map(|file| format!("/{status}/{file}")));
    let paths = [
        "/",
        "/sw.js",
        "/sw.js?v=2",
        "/assets/a.js",
        "/assets/a.png",
        "/api",
        "/api/a.png",
        "/own/a.html",
        "/x/y.woff2",
    ];
    let mut compared = 0;
    for target in by_status.chain(paths.map(String::from)) {
        for method in ["GET", "HEAD"] {
            // The scripted origin answers HEAD with a body.
            if method == "HEAD" && !target.starts_with("/204") && !target.starts_with("/304") {
                continue;
            }
            let [theirs, ours] = [nginx.address, weir.http].map(|to| request(to, method, &target).send());
            assert_eq!((theirs.status, caching(&theirs)), (ours.status, caching(&ours)), "{method} {target}");
            compared += 1;
        }
    }
    assert!(compared >= 93, "{compared}");
    // nginx keeps what was created or is seen elsewhere, and not what a proxy has changed; Weir does the opposite.
    for (status, theirs, ours) in [("201", true, false), ("303", true, false), ("203", false, true)] {
        let kept = |to| !caching(&request(to, "GET", &format!("/{status}/a.png")).send()).0.is_empty();
        assert_eq!((kept(nginx.address), kept(weir.http)), (theirs, ours), "{status}");
    }
}
