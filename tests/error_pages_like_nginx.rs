//! Error pages beside nginx's `error_page` and `proxy_intercept_errors`: the same requests to both.
//!
//! Compared are the status, the body and its length, and the fields that tell what to do about the error.

mod support;

use std::net::SocketAddr;

use support::{Answer, Nginx, Origin, Weir, free_address, indent, request};

struct Case {
    /// `PAGE` answers with the page, `ORIGIN` with the status that ends the path, `DOWN` not at all.
    nginx: &'static str,
    weir: &'static str,
    requests: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        nginx: "location /off/ { error_page 404 500 /page; proxy_pass http://ORIGIN; }",
        weir: "{ path: /off/, upstream: origin, filters: [ { error-pages: { pages: [ { status: [404, 500], text: page } ] } } ] }",
        requests: &["/off/200", "/off/404", "/off/500", "HEAD /off/404"],
    },
    Case {
        nginx: "location /on/ { error_page 401 404 500 /page; proxy_intercept_errors on; proxy_pass http://ORIGIN; }",
        weir: "{ path: /on/, upstream: origin, filters: [ { error-pages: { intercept: true, pages: [ { status: [401, 404, 500], text: page } ] } } ] }",
        requests: &[
            "/on/200",
            "/on/401",
            "/on/404",
            "/on/500",
            "/on/503",
            "HEAD /on/404",
            "POST /on/404",
            "/on/empty-404",
            "/on/chunked-404",
            "/on/404?q=1",
        ],
    },
    Case {
        nginx: "location /ok/ { error_page 404 =200 /page; proxy_intercept_errors on; proxy_pass http://ORIGIN; }",
        weir: "{ path: /ok/, upstream: origin, filters: [ { error-pages: { intercept: true, pages: [ { status: 404, text: page, as: 200 } ] } } ] }",
        requests: &["/ok/404", "HEAD /ok/404", "/ok/500", "/ok/200"],
    },
    Case {
        nginx: "location /as/ { error_page 500 502 =503 /page; proxy_intercept_errors on; proxy_pass http://ORIGIN; }",
        weir: "{ path: /as/, upstream: origin, filters: [ { error-pages: { intercept: true, pages: [ { status: [500, 502], text: page, as: 503 } ] } } ] }",
        requests: &["/as/500", "/as/502", "/as/404"],
    },
    Case {
        nginx: "location /two/ { error_page 404 /page; error_page 500 501 502 503 504 =500 /page; proxy_intercept_errors on; proxy_pass http://ORIGIN; }",
        weir: "{ path: /two/, upstream: origin, filters: [ { error-pages: { intercept: true, pages: [ { status: 404, text: page }, { status: 500-504, text: page, as: 500 } ] } } ] }",
        requests: &["/two/404", "/two/500", "/two/504", "/two/403"],
    },
    // From an upstream.
    Case {
        nginx: "location /up/ { error_page 404 500 @page; proxy_intercept_errors on; proxy_pass http://ORIGIN; }",
        weir: "{ path: /up/, upstream: origin, filters: [ { error-pages: { intercept: true, pages: [ { status: [404, 500], upstream: pages } ] } } ] }",
        requests: &["/up/404", "/up/500", "HEAD /up/404", "POST /up/404", "/up/200"],
    },
    Case {
        nginx: "location /theirs/ { error_page 404 500 = @page; proxy_intercept_errors on; proxy_pass http://ORIGIN; }",
        weir: "{ path: /theirs/, upstream: origin, filters: [ { error-pages: { intercept: true, pages: [ { status: [404, 500], upstream: pages, as: upstream } ] } } ] }",
        requests: &["/theirs/404", "/theirs/500", "HEAD /theirs/500"],
    },
    // Errors of their own.
    Case {
        nginx: "location /down/ { error_page 502 504 /page; proxy_pass http://DOWN; }",
        weir: "{ path: /down/, upstream: down, filters: [ { error-pages: { pages: [ { status: [502, 504], text: page } ] } } ] }",
        requests: &["/down/", "HEAD /down/", "POST /down/"],
    },
    Case {
        nginx: "location /downto/ { error_page 502 =200 @page; proxy_pass http://DOWN; }",
        weir: "{ path: /downto/, upstream: down, filters: [ { error-pages: { pages: [ { status: 502, upstream: pages, as: 200 } ] } } ] }",
        requests: &["/downto/"],
    },
    Case {
        nginx: "location /said { error_page 410 503 /page; location /said/bare { return 410; } location /said/text { return 410 'said'; } }",
        weir: "{ path: /said/bare, respond: { status: 410 }, filters: [ { error-pages: { pages: [ { status: 410, text: page } ] } } ] }\n\
               - { path: /said/text, respond: { status: 410, body: said }, filters: [ { error-pages: { pages: [ { status: 410, text: page } ] } } ] }",
        requests: &["/said/bare", "HEAD /said/bare", "/said/text"],
    },
    Case {
        nginx: "location /denied { error_page 403 /page; deny all; }",
        weir: "{ path: /denied, respond: {}, filters: [ { deny: [0.0.0.0/0] }, { error-pages: { pages: [ { status: 403, text: page } ] } } ] }",
        requests: &["/denied", "HEAD /denied"],
    },
    Case {
        nginx: "location /secret { error_page 401 /page; auth_basic site; auth_basic_user_file USERS; }",
        weir: "{ path: /secret, respond: {}, filters: [ { basic-auth: { file: users, realm: site } }, { error-pages: { pages: [ { status: 401, text: page } ] } } ] }",
        requests: &["/secret"],
    },
    Case {
        nginx: "location /large { error_page 413 /page; client_max_body_size 3; proxy_pass http://ORIGIN; }",
        weir: "{ path: /large, upstream: origin, filters: [ { max-body-size: 3B }, { error-pages: { pages: [ { status: 413, text: page } ] } } ] }",
        requests: &["POST /large/200"],
    },
    Case {
        nginx: "location /none/ { error_page 404 /page; return 404; }",
        weir: "{ exact: /none/there, respond: {} }",
        requests: &["/none/x", "HEAD /none/x", "POST /none/x"],
    },
];

fn origin() -> Origin {
    Origin::start(|request| {
        let path = request.target.split('?').next().unwrap_or_default();
        let last = path.rsplit('/').next().unwrap_or_default();
        let status: u16 = last.rsplit('-').next().and_then(|status| status.parse().ok()).unwrap_or(200);
        let body = if request.method == "HEAD" { "" } else { "of the origin" };
        let head =
            |framing: &str| format!("HTTP/1.1 {status} S\r\nWWW-Authenticate: Basic\r\nX-Own: 1\r\n{framing}\r\n\r\n");
        Answer::Send(match last.split_once('-') {
            Some(("empty", _)) => head("Content-Length: 0").into_bytes(),
            Some(_) => format!("{}d\r\nof the origin\r\n0\r\n\r\n", head("Transfer-Encoding: chunked")).into_bytes(),
            None => format!("{}{body}", head("Content-Length: 13")).into_bytes(),
        })
    })
}

fn outcome(to: SocketAddr, asked: &str) -> String {
    let (method, target) = asked.split_once(' ').unwrap_or(("GET", asked));
    let request = request(to, method, target);
    let answer = if method == "POST" { request.body("four") } else { request }.send();
    // nginx sends an upstream's answer to HEAD on as it came.
    let length = answer.header("content-length").map_or("-", |length| length);
    let challenge = answer.header("www-authenticate").and_then(|value| value.split(' ').next()).unwrap_or("-");
    let challenge = if answer.status == 401 { challenge } else { "" };
    format!("{} {length} {challenge} {:?}", answer.status, answer.text())
}

#[test]
fn each_error_is_shown_as_nginx_shows_it() {
    let origin = origin();
    let pages = Origin::start(|request| match request.method.as_str() {
        "HEAD" => Answer::Send(b"HTTP/1.1 404 S\r\nContent-Length: 8\r\n\r\n".to_vec()),
        _ => Answer::status(418, "the page"),
    });
    let down = free_address();
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    std::fs::write(&users, "ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n").unwrap();
    let fill_in = |text: &str| {
        text.replace("ORIGIN", &origin.address.to_string())
            .replace("DOWN", &down.to_string())
            .replace("USERS", &users.display().to_string())
    };
    let server: String = CASES.iter().map(|case| format!("{}\n", fill_in(case.nginx))).collect();
    let shown = format!(
        "location = /page {{ default_type text/plain; return 200 'the page'; }}\n\
         location @page {{ proxy_method GET; proxy_pass_request_body off; proxy_set_header Content-Length ''; proxy_pass http://{}; }}\n",
        pages.address
    );
    let nginx = Nginx::start(&(shown + &server));
    let routes: String = CASES.iter().map(|case| format!("- {}\n", case.weir)).collect();
    let retry = "retry: { attempts: 1 }, outlier-detection: off";
    let weir = Weir::start_with(
        &format!(
            "upstreams:\n  origin: {{ endpoints: [\"{}\"], {retry} }}\n  pages: {{ endpoints: [\"{}\"], {retry} }}\n  \
             down: {{ endpoints: [\"{down}\"], {retry} }}\n\
             hosts:\n  - names: [\"*\"]\n    filters: [ {{ error-pages: {{ pages: [ {{ status: 404, text: page }} ] }} }} ]\n    \
             routes:\n{}",
            origin.address,
            pages.address,
            indent(&routes, 6)
        ),
        &[("page", "the page"), ("users", "ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")],
    );
    let requests: Vec<&str> = CASES.iter().flat_map(|case| case.requests).copied().collect();
    let mut wrong = Vec::new();
    for asked in &requests {
        let (theirs, ours) = (outcome(nginx.address, asked), outcome(weir.http, asked));
        if theirs != ours {
            wrong.push(format!("{asked}\n  nginx {theirs}\n  weir  {ours}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), requests.len(), wrong.join("\n"));
    assert!(requests.len() >= 40, "only {} requests were compared", requests.len());
    // nginx drops what the upstream has said beside its body, but for WWW-Authenticate. A page stands for the body alone here: a session that
    // ends with an error ends, and what must not be kept is not kept.
    let fields = |to| request(to, "GET", "/on/404").send().header("x-own").map(str::to_owned);
    assert_eq!([fields(nginx.address), fields(weir.http)], [None, Some("1".into())]);
}
