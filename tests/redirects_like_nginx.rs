//! Redirects and rewrites beside nginx's: the same requests to both, and what the two make of each.
//!
//! ```text
//! request ─┬─► nginx (return, rewrite … redirect, permanent, break, last) ─┐
//!          └─► Weir  (redirect, rewrite, www-redirect, app-root, …)  ──────┴─► status, Location, what the origin got
//! ```
//!
//! The one that a request names its port to answers with that port; both are written as `PORT` here. What is meant to differ is listed
//! with its reason, and must differ as it says.

mod support;

use std::net::SocketAddr;

use support::{Answer, Nginx, Origin, Weir, indent, request};

/// A place of each, and what is asked of it.
struct Case {
    nginx: &'static str,
    weir: &'static str,
    /// Methods other than GET stand before the target.
    requests: &'static [&'static str],
}

const CASES: &[Case] = &[
    // A fixed place. nginx's `return` drops the query unless it is written.
    Case {
        nginx: "location = /fixed { return 301 /new; }",
        weir: "{ exact: /fixed, redirect: { status: 301, path: /new, query: drop } }",
        requests: &["/fixed", "/fixed?a=1", "HEAD /fixed?a=1", "POST /fixed?a=1", "DELETE /fixed", "/%66ixed"],
    },
    Case {
        nginx: "location = /kept { return 302 /new$is_args$args; }",
        weir: "{ exact: /kept, redirect: { path: /new } }",
        requests: &["/kept", "/kept?a=1&b=%20+", "/kept?", "PUT /kept?x"],
    },
    Case {
        nginx: "location = /with { return 307 /new?x=1; }",
        weir: "{ exact: /with, redirect: { status: 307, path: '/new?x=1', query: drop } }",
        requests: &["/with", "/with?a=1", "POST /with"],
    },
    Case {
        nginx: "location = /joined { rewrite ^ /new?x=1 permanent; }",
        weir: "{ exact: /joined, redirect: { status: 301, path: '/new?x=1' } }",
        requests: &["/joined", "/joined?a=1", "/joined?a=1?2"],
    },
    Case {
        nginx: "location = /303 { return 303 /new; } location = /308 { return 308 /new; }",
        weir: "{ regex: ^/(303)$, redirect: { status: 303, path: /new, query: drop } }\n\
               - { regex: ^/(308)$, redirect: { status: 308, path: /new, query: drop } }",
        requests: &["/303", "POST /303?a", "/308", "POST /308?a"],
    },
    Case {
        nginx: "location /tls/ { return 301 https://$host$request_uri; }",
        weir: "{ path: /tls, redirect: { status: 301, scheme: https } }",
        requests: &["/tls/", "/tls/a//b?c=/", "/tls/%2e%61?x", "POST /tls/a%20b"],
    },
    Case {
        nginx: "location /away/ { return 302 https://b.test$request_uri; }",
        weir: "{ path: /away, redirect: { scheme: https, host: b.test } }",
        requests: &["/away/x?y", "/away/%C3%A9", "/away///x"],
    },
    Case {
        nginx: "location = /bare { absolute_redirect off; return 302 /new; }",
        weir: "{ exact: /bare, redirect: { path: /new, query: drop, relative: true } }",
        requests: &["/bare", "/bare?x"],
    },
    // Patterns with captures.
    Case {
        nginx: "location /re/ { rewrite ^/re/(.*)$ /to/$1 permanent; }",
        weir: r"{ path: /re/, redirect: { status: 301, regex: { pattern: ^/re/(.*)$, replacement: /to/$1 } } }",
        requests: &[
            "/re/",
            "/re/a",
            "/re/a/b?c=d",
            "/re/a?",
            "/re/a?b?c",
            "HEAD /re/a",
            "POST /re/a?b",
            "/re/a%20b",
            "/re/%C3%BC",
            "/re/a/../b",
            "/re/a//b",
            "//re///a",
            "/re/a%2Fb",
            "/re/a%3Fb",
            "/re/a%23b",
            "/re/a%25b",
            "/re/a+b",
            "/re/a;b=c,d",
            "/re//evil.test/",
            "/re/%0d%0aX:y",
            "/re/a%22b",
        ],
    },
    Case {
        nginx: "location /drop/ { rewrite ^/drop/(.*)$ /to/$1? redirect; }",
        weir: r"{ path: /drop/, redirect: { regex: { pattern: ^/drop/(.*)$, replacement: /to/$1 }, query: drop } }",
        requests: &["/drop/a", "/drop/a?b=c", "/drop/?x"],
    },
    Case {
        nginx: "location /item/ { rewrite ^/item/([0-9]+)$ /show?id=$1 redirect; return 404; }",
        weir: r"{ path: /item/, redirect: { regex: { pattern: '^/item/([0-9]+)$', replacement: '/show?id=$1' } } }",
        requests: &["/item/7", "/item/7?x=1", "/item/7?", "/item/x", "POST /item/12?x"],
    },
    Case {
        nginx: "location /find/ { rewrite ^/find/(.*)$ /search?q=$1? permanent; }",
        weir: r"{ path: /find/, redirect: { status: 301, regex: { pattern: ^/find/(.*)$, replacement: '/search?q=$1' }, query: drop } }",
        requests: &[
            "/find/x?y=1",
            "/find/a/b",
            "/find/a%20b",
            "/find/a%26b",
            "/find/a=b",
            "/find/a%2Bb",
            "/find/a%3Fb",
            "/find/%C3%BC",
        ],
    },
    Case {
        nginx: r#"location /named/ { rewrite "^/named/(?<year>[0-9]{4})/(?<slug>[a-z-]+)$" /$slug/$year permanent; return 404; }"#,
        weir: r"{ path: /named/, redirect: { status: 301, regex: { pattern: '^/named/(?<year>[0-9]{4})/(?<slug>[a-z-]+)$', replacement: '/${slug}/${year}' } } }",
        requests: &["/named/2024/a-post", "/named/2024/a-post?x=1", "/named/24/a-post", "/named/2024/"],
    },
    Case {
        nginx: r"location ~ ^/user/([0-9]+)/([a-z]*)$ { return 302 /u?id=$1&tab=$2; }",
        weir: r"{ regex: '^/user/([0-9]+)/([a-z]*)$', redirect: { regex: { replacement: '/u?id=$1&tab=$2' }, query: drop } }",
        requests: &["/user/7/posts", "/user/7/?x=1"],
    },
    Case {
        nginx: r"location ~* ^/case/(.*)\.HTM$ { rewrite (?i)^/case/(.*)\.htm$ /case-$1.html permanent; }",
        weir: r"{ regex: '(?i)^/case/(.*)\.HTM$', redirect: { status: 301, regex: { replacement: /case-$1.html } } }",
        requests: &["/case/a.htm", "/CASE/B.HTM?x", "/case/a/b.Htm"],
    },
    Case {
        nginx: r"location /opt { rewrite ^/opt(/v([0-9]))?/(.*)$ /api/$2/$3 redirect; }",
        weir: r"{ path: /opt, redirect: { regex: { pattern: '^/opt(/v([0-9]))?/(.*)$', replacement: /api/$2/$3 } } }",
        requests: &["/opt/v2/x", "/opt/x"],
    },
    Case {
        nginx: r"location /gone/ { rewrite ^/gone/(.*)$ http://b.test/$1 permanent; }",
        weir: r"{ path: /gone/, redirect: { status: 301, scheme: http, host: b.test, regex: { pattern: ^/gone/(.*)$, replacement: /$1 } } }",
        requests: &["/gone/x?y=z", "/gone/"],
    },
    // What goes upstream.
    Case {
        nginx: "location /up/ { rewrite ^/up/(.*)$ /inner/$1 break; proxy_pass http://ORIGIN; }",
        weir: r"{ path: /up/, upstream: origin, rewrite: { regex: { pattern: ^/up/(.*)$, replacement: /inner/$1 } } }",
        requests: &[
            "/up/",
            "/up/a?b=c",
            "/up/a%20b",
            "/up/a//b",
            "/up/a/./b",
            "POST /up/x?y",
            "/up/%C3%BC",
            "/up/a%25b",
            "/up/a%3Fb",
            "/up/a;b",
            "/up/a+b?c+d",
            "/up/../x",
        ],
    },
    Case {
        nginx: "location /upq/ { rewrite ^/upq/([^/]*)/(.*)$ /index.php?a=$1&b=$2 break; proxy_pass http://ORIGIN; }",
        weir: r"{ path: /upq/, upstream: origin, rewrite: { regex: { pattern: '^/upq/([^/]*)/(.*)$', replacement: '/index.php?a=$1&b=$2' } } }",
        requests: &["/upq/x/y", "/upq/x/y?z=1", "/upq/x/y%20z", "/upq/%26/y", "/upq/x"],
    },
    Case {
        nginx: "location /upd/ { rewrite ^/upd/(.*)$ /inner/$1? break; proxy_pass http://ORIGIN; }",
        weir: r"{ path: /upd/, upstream: origin, rewrite: { regex: { pattern: ^/upd/(.*)$, replacement: /inner/$1 }, query: drop } }",
        requests: &["/upd/a?b=c", "/upd/a"],
    },
    Case {
        nginx: "location /cut/ { set $args ''; proxy_pass http://ORIGIN$uri; }",
        weir: "{ path: /cut/, upstream: origin, rewrite: { query: drop } }",
        requests: &["/cut/a?b=c", "/cut/a"],
    },
    Case {
        nginx: "location /last/ { rewrite ^/last/(.*)$ /inner/$1 last; } location /inner/ { proxy_pass http://ORIGIN; }",
        weir: r"{ path: /last/, upstream: origin, rewrite: { regex: { pattern: ^/last/(.*)$, replacement: /inner/$1 } } }",
        requests: &["/last/a?b", "/last/a/b"],
    },
    Case {
        nginx: "location = /whole { rewrite ^ /index.html?v=1 break; proxy_pass http://ORIGIN; }",
        weir: "{ exact: /whole, upstream: origin, rewrite: { path: '/index.html?v=1' } }",
        requests: &["/whole", "/whole?x=1"],
    },
    Case {
        nginx: "location /api/ { proxy_pass http://ORIGIN/; }",
        weir: "{ path: /api/, upstream: origin, rewrite: { prefix: / } }",
        requests: &["/api/a?b", "/api/", "/api/a//b"],
    },
    // Slashes at the end.
    Case {
        nginx: "location /auto/ { proxy_pass http://ORIGIN; }",
        weir: "{ exact: /auto, redirect: { status: 301, path: /auto/ } }\n- { path: /auto/, upstream: origin }",
        requests: &["/auto", "/auto?x=1", "HEAD /auto", "POST /auto", "/auto/", "/auto/a"],
    },
    Case {
        nginx: "location /add/ { rewrite ^([^.]*[^/])$ $1/ permanent; proxy_pass http://ORIGIN; }",
        weir: "{ path: /add/, upstream: origin, filters: [ { trailing-slash: { slash: add, status: 301 } } ] }",
        requests: &[
            "/add/a",
            "/add/a?b=c",
            "/add/a/",
            "/add/a.js",
            "POST /add/a",
            "/add//a",
            "/add/%C3%BC",
            "/add/a.b/c",
        ],
    },
    Case {
        nginx: "location /rem/ { rewrite ^/(.*)/$ /$1 permanent; proxy_pass http://ORIGIN; }",
        weir: "{ path: /rem/, upstream: origin, filters: [ { trailing-slash: { slash: remove, status: 301 } } ] }",
        requests: &[
            "/rem/a/",
            "/rem/a/?b=c",
            "/rem/a",
            "POST /rem/a/",
            "/rem/a//",
            "//rem/a/",
            "/rem/a%20b/",
            "/rem/a.js/",
        ],
    },
];

/// Where Weir answers otherwise, and why.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    (
        "/re/a%3Fb",
        "301 http://a.test:PORT/to/a%3Fb",
        "a question mark that was part of the path stays one: nginx makes a query of what follows it",
    ),
    ("/re/%0d%0aX:y", "400", "no path holds control bytes; nginx finds no match, since a dot is no line feed"),
    (
        "/opt/x",
        "302 http://a.test:PORT/api/x",
        "a group that took no part leaves no second slash: origins read it differently",
    ),
    (
        "/add/a.b/c",
        "301 http://a.test:PORT/add/a.b/c/",
        "the last segment says whether it is a file; the common recipe for nginx takes any dot for one",
    ),
];

struct Pair {
    nginx: Nginx,
    weir: Weir,
    _origin: Origin,
}

impl Pair {
    fn start(server: &str, hosts: &str) -> Pair {
        let origin = Origin::start(|request| Answer::ok(&format!("{} {}", request.method, request.target)));
        let nginx = Nginx::start(&server.replace("ORIGIN", &origin.address.to_string()));
        let upstream = format!("upstreams: {{ origin: {{ endpoints: [\"{}\"] }} }}\n", origin.address);
        let weir = Weir::start(&(upstream + hosts));
        Pair { nginx, weir, _origin: origin }
    }

    /// Of nginx and of Weir.
    fn outcomes(&self, asked: &str, host: &str) -> [String; 2] {
        [self.nginx.address, self.weir.http].map(|to| outcome(to, asked, host))
    }
}

/// `host` without a port is sent with the port of whoever is asked.
fn outcome(to: SocketAddr, asked: &str, host: &str) -> String {
    let (method, target) = asked.split_once(' ').unwrap_or(("GET", asked));
    let host = host.replace("PORT", &to.port().to_string());
    let answer = request(to, method, target).host(&host).send();
    let location = answer.header("location").map(|location| location.replace(&format!(":{}", to.port()), ":PORT"));
    match (answer.status, location) {
        (status, Some(location)) => format!("{status} {location}"),
        (200, None) => format!("200 {}", answer.text()),
        (status, None) => status.to_string(),
    }
}

#[test]
fn each_request_is_sent_where_nginx_sends_it() {
    let server: String = CASES.iter().map(|case| format!("{}\n", case.nginx)).collect();
    let routes: String = CASES.iter().map(|case| format!("- {}\n", case.weir)).collect();
    let pair = Pair::start(&server, &format!("hosts:\n  - names: [\"*\"]\n    routes:\n{}", indent(&routes, 6)));
    let requests: Vec<&str> = CASES.iter().flat_map(|case| case.requests).copied().collect();
    let (mut wrong, mut differing) = (Vec::new(), 0);
    for asked in &requests {
        let [theirs, ours] = pair.outcomes(asked, "a.test:PORT");
        let meant = DIFFERENCES.iter().find(|(request, ..)| request == asked);
        differing += usize::from(meant.is_some());
        let agrees = match meant {
            Some((_, outcome, _)) => ours == *outcome && theirs != ours,
            None => theirs == ours,
        };
        if !agrees {
            wrong.push(format!("{asked}\n  nginx {theirs}\n  weir  {ours}\n  meant {meant:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), requests.len(), wrong.join("\n"));
    assert_eq!(differing, DIFFERENCES.len(), "each difference that is listed is asked for once");
    assert!(requests.len() >= 100, "only {} requests were compared", requests.len());
}

#[test]
fn the_other_name_and_the_root_of_an_application_are_found_as_by_ingress_nginx() {
    // As its template has them: one server for the name that redirects, `if ($uri = /)` for the root.
    let pair = Pair::start(
        "if ($host = www.a.test) { return 308 $scheme://a.test$request_uri; }
         if ($host = b.test) { return 301 $scheme://www.b.test$request_uri; }
         set $root ''; if ($host = c.test) { set $root $uri; }
         if ($root = /) { return 302 $scheme://$http_host/app; }
         location / { proxy_pass http://ORIGIN; }",
        r#"
hosts:
  - names: [a.test, www.a.test, api.a.test, "*.a.test"]
    filters: [ { www-redirect: to-apex } ]
    routes: [ { path: /, upstream: origin } ]
  - names: [b.test, www.b.test, api.b.test]
    filters: [ { www-redirect: { to: to-www, status: 301 } } ]
    routes: [ { path: /, upstream: origin } ]
  - names: [c.test]
    filters: [ { app-root: /app } ]
    routes: [ { path: /, upstream: origin } ]
"#,
    );
    for (host, asked) in [
        ("www.a.test", "/"),
        ("www.a.test", "/x//y?z=%20"),
        ("WWW.A.test", "POST /x"),
        ("a.test", "/x"),
        ("api.a.test", "/x"),
        ("www.c.a.test", "/x"),
        ("b.test", "/x?y"),
        ("b.test", "HEAD //evil.test/"),
        ("www.b.test", "/x"),
        ("api.b.test", "/x"),
        ("c.test", "/"),
        ("c.test:PORT", "/?x=1"),
        ("c.test:PORT", "POST /"),
        ("c.test", "/app"),
        ("c.test", "/x/.."),
        ("c.test", "/index.html"),
    ] {
        let [theirs, ours] = pair.outcomes(asked, host);
        // The origin is told whom the client named.
        assert_eq!(theirs, ours, "{asked} of {host}");
    }
    // ingress-nginx drops the port, and with it everybody who does not come by the scheme's own.
    let [theirs, ours] = pair.outcomes("/x", "www.a.test:PORT");
    assert_eq!([&*theirs, &*ours], ["308 http://a.test/x", "308 http://a.test:PORT/x"]);
}
