//! Who comes in and what is said of the upstream, beside nginx: `satisfy`, `proxy_cookie_domain`, `proxy_cookie_path`, `proxy_redirect`; the same
//! requests to both.
//!
//! ```text
//! request ─┬─► nginx (satisfy any; proxy_redirect a b) ──────────┐
//!          └─► Weir  (satisfy: any, response-rewrite: …) ────────┴─► status, challenge, Location, Set-Cookie
//! ```

mod support;

use std::net::SocketAddr;

use support::{Answer, Nginx, Origin, Weir, request};

/// `admin:studio`.
const USERS: &str = "admin:{SHA}mhLFDy8jr58aMTr5Uq7iswYnrHs=\n";
const KNOWN: &str = "Basic YWRtaW46c3R1ZGlv";
const UNKNOWN: &str = "Basic YWRtaW46d3Jvbmc=";

/// A place of each. `USERS` is a file of users, `YES` and `NO` a service that lets everybody in, or nobody.
struct Access {
    nginx: &'static str,
    weir: &'static str,
}

const ACCESS: &[Access] = &[
    Access { nginx: "satisfy any; allow 127.0.1.0/24; deny all;", weir: "{ satisfy: any }, { allow: [127.0.1.0/24] }" },
    Access {
        nginx: "satisfy any; allow 127.0.1.0/24; deny all; auth_basic x; auth_basic_user_file USERS;",
        weir: "{ satisfy: any }, { allow: [127.0.1.0/24] }, { basic-auth: { file: users, realm: x } }",
    },
    Access {
        nginx: "satisfy all; allow 127.0.1.0/24; deny all; auth_basic x; auth_basic_user_file USERS;",
        weir: "{ satisfy: all }, { allow: [127.0.1.0/24] }, { basic-auth: { file: users, realm: x } }",
    },
    Access {
        nginx: "satisfy any; deny 127.0.1.0/24; auth_basic x; auth_basic_user_file USERS;",
        weir: "{ satisfy: any }, { deny: [127.0.1.0/24] }, { basic-auth: { file: users, realm: x } }",
    },
    Access {
        nginx: "satisfy any; deny 127.0.1.2; allow 127.0.1.0/24; deny all; auth_basic x; auth_basic_user_file USERS;",
        weir: "{ satisfy: any }, { deny: [127.0.1.2] }, { allow: [127.0.1.0/24] }, { basic-auth: { file: users, realm: x } }",
    },
    Access {
        nginx: "satisfy any; allow 127.0.1.0/24; deny all; auth_request /yes;",
        weir: "{ satisfy: any }, { allow: [127.0.1.0/24] }, { forward-auth: { url: YES } }",
    },
    Access {
        nginx: "satisfy any; allow 127.0.1.0/24; deny all; auth_request /no;",
        weir: "{ satisfy: any }, { allow: [127.0.1.0/24] }, { forward-auth: { url: NO } }",
    },
    Access {
        nginx: "satisfy any; auth_basic x; auth_basic_user_file USERS; auth_request /no;",
        weir: "{ satisfy: any }, { basic-auth: { file: users, realm: x } }, { forward-auth: { url: NO } }",
    },
];

fn access_of(to: SocketAddr, target: &str, from: [u8; 4], password: Option<&str>) -> String {
    let asked = request(to, "GET", target).from(from);
    let answer = password.map_or(asked.clone(), |password| asked.header("Authorization", password)).send();
    format!("{} {}", answer.status, answer.header("www-authenticate").is_some())
}

#[test]
fn who_comes_in_is_who_comes_in_at_nginx() {
    let folder = tempfile::tempdir().expect("a folder");
    let users = folder.path().join("users");
    std::fs::write(&users, USERS).expect("the file can be written");
    let keeper = Origin::start(|asked| Answer::status(if asked.target == "/yes" { 200 } else { 403 }, ""));
    let origin = Origin::named("in");
    let mut locations = String::new();
    let mut routes = String::new();
    for (number, case) in ACCESS.iter().enumerate() {
        let nginx = case.nginx.replace("USERS", &users.display().to_string());
        locations.push_str(&format!("location /{number} {{ {nginx} proxy_pass http://{}; }}\n", origin.address));
        let url = |path: &str| format!("\"http://{}/{path}\"", keeper.address);
        let weir =
            case.weir.replace("YES", &url("yes")).replace("NO", &url("no")).replace("file: users", "file: USERS");
        let weir = weir.replace("USERS", &users.display().to_string());
        routes.push_str(&format!("      - {{ path: /{number}, upstream: o, filters: [ {weir} ] }}\n"));
    }
    let nginx = Nginx::start(&format!(
        "{locations} location = /yes {{ internal; proxy_pass http://{0}; }} location = /no {{ internal; proxy_pass http://{0}; }}
         location = / {{ return 200; }}",
        keeper.address
    ));
    let weir = Weir::start(&format!(
        "upstreams: {{ o: {{ endpoints: [\"{}\"] }} }}\nhosts:\n  - names: [\"*\"]\n    routes:\n{routes}",
        origin.address
    ));
    for (number, case) in ACCESS.iter().enumerate() {
        for from in [[127, 0, 1, 1], [127, 0, 1, 2], [127, 0, 2, 1]] {
            for password in [None, Some(KNOWN), Some(UNKNOWN)] {
                let of = |to| access_of(to, &format!("/{number}"), from, password);
                assert_eq!(of(weir.http), of(nginx.address), "{} from {from:?} with {password:?}", case.nginx);
            }
        }
    }
}

/// What is replaced by each, and what the upstream says.
struct Said {
    nginx: &'static str,
    weir: &'static str,
    fields: &'static [&'static str],
}

const SAID: &[Said] = &[
    Said {
        nginx: "proxy_cookie_domain inner.test shop.test;",
        weir: "cookie-domain: { from: inner.test, to: shop.test }",
        fields: &[
            "Set-Cookie: a=b; Domain=inner.test",
            "Set-Cookie: a=b; domain=.INNER.test; Path=/",
            "Set-Cookie: a=b;Domain=inner.test;Secure",
            "Set-Cookie: a=b; Domain=x.inner.test",
            "Set-Cookie: Domain=inner.test; Path=/",
            "Set-Cookie: a=b; Path=/; HttpOnly",
        ],
    },
    Said {
        nginx: "proxy_cookie_path /app/ /;",
        weir: "cookie-path: { from: /app/, to: / }",
        fields: &[
            "Set-Cookie: a=b; Path=/app/x",
            "Set-Cookie: a=b; path=/app/; Secure",
            "Set-Cookie: a=b; Path=/app",
            "Set-Cookie: a=b; Path=/App/x",
        ],
    },
    Said {
        nginx: "proxy_cookie_path ~^/app(/.*)$ /v2$1;",
        weir: "cookie-path: { regex: '^/app(/.*)$', to: /v2$1 }",
        fields: &["Set-Cookie: a=b; Path=/app/x; Secure", "Set-Cookie: a=b; Path=/other"],
    },
    Said {
        nginx: "proxy_redirect http://inner.test/app/ http://shop.test/;",
        weir: "location: { from: 'http://inner.test/app/', to: 'http://shop.test/' }",
        fields: &[
            "Location: http://inner.test/app/a?b",
            "Location: http://inner.test/",
            "Location: /app/a",
            "Refresh: 5; url=http://inner.test/app/a",
        ],
    },
    Said {
        nginx: "proxy_redirect http://inner.test/ $scheme://$host/in/;",
        weir: "location: { from: 'http://inner.test/', to: '${scheme}://${host}/in/' }",
        fields: &["Location: http://inner.test/a?b=c", "Location: https://inner.test/a"],
    },
    Said {
        nginx: "proxy_redirect ~^http://([^/]+)(/.*)$ https://shop.test/$1$2;",
        weir: "location: { regex: '^http://([^/]+)(/.*)$', to: 'https://shop.test/$1$2' }",
        fields: &["Location: http://inner.test/a", "Location: https://inner.test/a"],
    },
    Said {
        nginx: "proxy_redirect http://inner.test /in;",
        weir: "location: { from: 'http://inner.test', to: /in }",
        fields: &["Location: http://inner.test/a"],
    },
];

#[test]
fn what_an_upstream_says_of_itself_reads_as_behind_nginx() {
    // The query is the field that it sends.
    let origin = Origin::start(|asked| {
        let place: usize = asked
            .target
            .trim_start_matches('/')
            .replace('-', "/")
            .split('/')
            .next()
            .unwrap_or("0")
            .parse()
            .unwrap_or(0);
        let field: usize = asked.target.rsplit('-').next().unwrap_or("0").parse().unwrap_or(0);
        let line = SAID[place].fields[field];
        Answer::Send(format!("HTTP/1.1 302 Found\r\n{line}\r\nContent-Length: 0\r\n\r\n").into_bytes())
    });
    let mut locations = String::new();
    let mut routes = String::new();
    for (number, case) in SAID.iter().enumerate() {
        locations
            .push_str(&format!("location /{number}- {{ {} proxy_pass http://{}; }}\n", case.nginx, origin.address));
        let filter = format!("{{ response-rewrite: {{ {} }} }}", case.weir);
        routes.push_str(&format!("      - {{ regex: ^/{number}-, upstream: o, filters: [ {filter} ] }}\n"));
    }
    let nginx = Nginx::start(&format!("{locations} location = / {{ return 200; }} port_in_redirect off;"));
    let weir = Weir::start(&format!(
        "upstreams: {{ o: {{ endpoints: [\"{}\"] }} }}\nhosts:\n  - names: [\"*\"]\n    routes:\n{routes}",
        origin.address
    ));
    for (number, case) in SAID.iter().enumerate() {
        for (at, field) in case.fields.iter().enumerate() {
            let of = |to: SocketAddr| {
                let answer = request(to, "GET", &format!("/{number}-{at}")).host("shop.example").send();
                ["location", "refresh", "set-cookie"].map(|name| answer.header(name).unwrap_or("-").to_owned())
            };
            assert_eq!(of(weir.http), of(nginx.address), "{} of {field}", case.nginx);
        }
    }
}

#[test]
fn requests_of_a_route_may_be_left_out_of_the_access_log() {
    let weir = Weir::start(
        "access-log: json\nhosts:\n  - names: [\"*\"]\n    routes:\n      - { path: /quiet, respond: {}, filters: [ { access-log: off } ] }\n      \
         - { path: /, respond: {}, filters: [ { access-log: on } ] }\n",
    );
    assert_eq!((weir.get("/quiet").status, weir.get("/loud").status), (200, 200));
    support::eventually("the other one is in the log", || weir.log().contains("/loud").then_some(()));
    assert!(!weir.log().contains("/quiet"), "{}", weir.log());
}
