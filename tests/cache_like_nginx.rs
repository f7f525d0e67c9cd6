//! The same requests, in the same order and at the same times, to nginx with `proxy_cache` and to Weir with `cache`, each in front of
//! an origin of its own that says the same: the same statuses, cache outcomes and bodies.
//!
//! ```text
//! steps ──► nginx: proxy_cache …  ──► origin ──► status, outcome, body, asked ──┐
//!    └────► Weir:  cache: { … }   ──► origin ──► status, outcome, body, asked ──┴──► equal
//! ```
//!
//! Where the two differ on purpose, the step says what each does, and why.

mod support;

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use support::{Answer, Nginx, Origin, Received, Response, Weir, request};

/// One cache as both write it.
struct Case {
    name: &'static str,
    nginx: &'static str,
    weir: &'static str,
    steps: &'static [Step],
}

struct Step {
    /// After the case's beginning, in milliseconds.
    at: u64,
    method: &'static str,
    /// Its path says what the origin answers: see [`answer`].
    target: &'static str,
    headers: &'static [(&'static str, &'static str)],
    differs: Differs,
}

enum Differs {
    No,
    /// (nginx's outcome, Weir's outcome); what follows from it is not compared.
    Outcome(&'static str, &'static str, &'static str),
}

const fn get(target: &'static str) -> Step {
    Step { at: 0, method: "GET", target, headers: &[], differs: Differs::No }
}

const fn at(at: u64, target: &'static str) -> Step {
    Step { at, ..get(target) }
}

const fn with(target: &'static str, headers: &'static [(&'static str, &'static str)]) -> Step {
    Step { headers, ..get(target) }
}

const fn differs(step: Step, nginx: &'static str, weir: &'static str, why: &'static str) -> Step {
    Step {
        differs: Differs::Outcome(nginx, weir, why),
        at: step.at,
        method: step.method,
        target: step.target,
        headers: step.headers,
    }
}

/// `/STATUS/WHAT/…`: an answer of that status, with the fields that `what` stands for, and a number that grows with each answer of the
/// path.
fn origin() -> Origin {
    let counts: Mutex<HashMap<String, usize>> = Mutex::default();
    Origin::start(move |request: &Received| {
        let path = request.target.split('?').next().unwrap_or_default().to_owned();
        let mut parts = path.split('/').skip(1);
        let mut status: u16 = parts.next().and_then(|part| part.parse().ok()).unwrap_or(200);
        let fields = fields(parts.next().unwrap_or_default());
        let number = {
            let mut counts = counts.lock().unwrap();
            let count = counts.entry(path.clone()).or_default();
            *count += 1;
            *count
        };
        if path.contains("/then-fails") && number > 1 {
            status = 503;
        }
        if path.contains("/then-silent") && number > 1 {
            return Answer::Silence;
        }
        if path.contains("/then-resets") && number > 1 {
            return Answer::Reset;
        }
        let etag = fields.split("\r\n").find_map(|line| line.strip_prefix("ETag: "));
        if etag.is_some() && request.header("if-none-match") == etag {
            return Answer::Send(format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n").into_bytes());
        }
        let body = format!("{path} {number}");
        let body = if status == 204 { String::new() } else { body };
        let length = if status == 204 { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        Answer::Send(format!("HTTP/1.1 {status} Scripted\r\n{fields}{length}\r\n{body}").into_bytes())
    })
}

fn fields(what: &str) -> &'static str {
    match what {
        "minute" => "Cache-Control: max-age=60\r\n",
        "shared" => "Cache-Control: max-age=0, s-maxage=60\r\n",
        "second" => "Cache-Control: max-age=1\r\n",
        "private" => "Cache-Control: private, max-age=60\r\n",
        "no-store" => "Cache-Control: no-store\r\n",
        "no-cache" => "Cache-Control: no-cache\r\n",
        "zero" => "Cache-Control: max-age=0\r\n",
        "expires" => "Expires: Fri, 01 Jan 2100 00:00:00 GMT\r\n",
        "expired" => "Expires: Thu, 01 Jan 1970 00:00:01 GMT\r\n",
        "both" => "Expires: Thu, 01 Jan 1970 00:00:01 GMT\r\nCache-Control: max-age=60\r\n",
        "accel" => "X-Accel-Expires: 60\r\nCache-Control: no-store\r\n",
        "accel-zero" => "X-Accel-Expires: 0\r\nCache-Control: max-age=60\r\n",
        "accel-at" => "X-Accel-Expires: @4102444800\r\n",
        "cookie" => "Set-Cookie: a=b\r\nCache-Control: max-age=60\r\n",
        "star" => "Vary: *\r\nCache-Control: max-age=60\r\n",
        "vary" => "Vary: X-Kind\r\nCache-Control: max-age=60\r\n",
        "etag" => "ETag: \"v\"\r\nCache-Control: max-age=1\r\n",
        "etag-minute" => "ETag: \"v\"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nCache-Control: max-age=60\r\n",
        "swr" => "Cache-Control: max-age=1, stale-while-revalidate=60\r\n",
        "sie" => "Cache-Control: max-age=1, stale-if-error=60\r\n",
        "public" => "Cache-Control: public, max-age=60\r\n",
        _ => "",
    }
}

const PRIVACY: &str = "the request had credentials, and nothing says that the answer may be shared (RFC 9111 §3.5)";

const ORDER: &str =
    "nginx heeds the field that comes first; Cache-Control stands above Expires wherever it is (RFC 9111 §5.3)";

const CHANGE: &str = "a POST in between, which makes what is kept of the URL invalid (RFC 9111 §4.4)";

const OUTAGE: &str = "stale-if-error is for answers of 500, 502, 503 and 504, too (RFC 5861 §4)";

const CASES: &[Case] = &[
    Case {
        name: "by-status",
        nginx: "proxy_cache_valid 200 302 10m; proxy_cache_valid 404 1m; proxy_cache_valid any 0;",
        weir: "{ ttl: { 200: 10m, 302: 10m, 404: 1m } }",
        steps: &[
            get("/200/-/a"),
            get("/200/-/a"),
            get("/302/-/a"),
            get("/302/-/a"),
            get("/404/-/a"),
            get("/404/-/a"),
            get("/500/-/a"),
            get("/500/-/a"),
            get("/301/-/a"),
            get("/301/-/a"),
            get("/204/-/a"),
            get("/204/-/a"),
            get("/200/-/a?x"),
            get("/200/-/a?x"),
            get("/200/-/a?y"),
            get("/418/-/a"),
            get("/418/-/a"),
        ],
    },
    Case {
        name: "one-time",
        nginx: "proxy_cache_valid 10m;",
        weir: "{ ttl: 10m }",
        steps: &[
            get("/200/-/b"),
            get("/200/-/b"),
            get("/301/-/b"),
            get("/301/-/b"),
            get("/302/-/b"),
            get("/302/-/b"),
            get("/404/-/b"),
            get("/404/-/b"),
            get("/303/-/b"),
            get("/303/-/b"),
            get("/503/-/b"),
            get("/503/-/b"),
        ],
    },
    Case {
        name: "any",
        nginx: "proxy_cache_valid 200 10m; proxy_cache_valid any 1m;",
        weir: "{ ttl: { 200: 10m, any: 1m } }",
        steps: &[
            get("/200/-/c"),
            get("/200/-/c"),
            get("/404/-/c"),
            get("/404/-/c"),
            get("/500/-/c"),
            get("/500/-/c"),
            get("/410/-/c"),
            get("/410/-/c"),
            get("/204/-/c"),
            get("/204/-/c"),
        ],
    },
    Case {
        name: "own-word",
        nginx: "proxy_cache_valid 200 10m;",
        weir: "{ ttl: { 200: 10m } }",
        steps: &[
            get("/200/minute/d"),
            get("/200/minute/d"),
            get("/200/shared/d"),
            get("/200/shared/d"),
            get("/200/private/d"),
            get("/200/private/d"),
            get("/200/no-store/d"),
            get("/200/no-store/d"),
            get("/200/no-cache/d"),
            get("/200/no-cache/d"),
            get("/200/zero/d"),
            get("/200/zero/d"),
            get("/200/expires/d"),
            get("/200/expires/d"),
            get("/200/expired/d"),
            get("/200/expired/d"),
            get("/200/both/d"),
            differs(get("/200/both/d"), "MISS", "HIT", ORDER),
            get("/200/accel/d"),
            get("/200/accel/d"),
            get("/200/accel-zero/d"),
            get("/200/accel-zero/d"),
            get("/200/accel-at/d"),
            get("/200/accel-at/d"),
            get("/200/cookie/d"),
            get("/200/cookie/d"),
            get("/200/star/d"),
            get("/200/star/d"),
            get("/500/minute/d"),
            get("/500/minute/d"),
            get("/404/minute/d"),
            get("/404/minute/d"),
            get("/404/-/d"),
            get("/404/-/d"),
        ],
    },
    Case {
        name: "nothing-said",
        nginx: "",
        weir: "{}",
        steps: &[
            get("/200/-/e"),
            get("/200/-/e"),
            get("/200/minute/e"),
            get("/200/minute/e"),
            get("/404/minute/e"),
            get("/404/minute/e"),
        ],
    },
    Case {
        name: "ignored",
        nginx: "proxy_cache_valid 200 10m; proxy_ignore_headers X-Accel-Expires Expires Cache-Control;",
        weir: "{ ttl: { 200: 10m }, upstream-ttl: ignore }",
        steps: &[
            get("/200/no-store/f"),
            get("/200/no-store/f"),
            get("/200/private/f"),
            get("/200/private/f"),
            get("/200/expired/f"),
            get("/200/expired/f"),
            get("/200/accel-zero/f"),
            get("/200/accel-zero/f"),
            get("/404/minute/f"),
            get("/404/minute/f"),
            get("/200/cookie/f"),
            get("/200/cookie/f"),
            get("/200/star/f"),
            get("/200/star/f"),
            with("/200/-/f-auth", &[("Authorization", "Basic YTpi")]),
            with("/200/-/f-auth", &[("Authorization", "Basic YTpi")]),
        ],
    },
    Case {
        name: "variants",
        nginx: "",
        weir: "{}",
        steps: &[
            with("/200/vary/g", &[("X-Kind", "one")]),
            with("/200/vary/g", &[("X-Kind", "one")]),
            with("/200/vary/g", &[("X-Kind", "two")]),
            with("/200/vary/g", &[("X-Kind", "two")]),
            with("/200/vary/g", &[("X-Kind", "one")]),
            get("/200/vary/g"),
            get("/200/vary/g"),
        ],
    },
    Case {
        name: "keys",
        nginx: "proxy_cache_key $host$uri$http_x_tenant$cookie_site$arg_page; proxy_cache_valid 200 10m;",
        weir: "{ ttl: { 200: 10m }, key: [ host, path, { header: X-Tenant }, { cookie: site }, { query: page } ] }",
        steps: &[
            get("/200/-/h?page=1&utm=a"),
            get("/200/-/h?utm=b&page=1"),
            get("/200/-/h?page=2"),
            get("/200/-/h"),
            with("/200/-/h?page=1", &[("X-Tenant", "t")]),
            with("/200/-/h?page=1", &[("X-Tenant", "t")]),
            with("/200/-/h?page=1", &[("Cookie", "x=y; site=s")]),
            with("/200/-/h?page=1", &[("Cookie", "site=s")]),
            with("/200/-/h?page=1", &[("Cookie", "site=r")]),
            get("/200/./-/h?page=1"),
        ],
    },
    Case {
        name: "conditions",
        nginx: "proxy_cache_valid 200 10m; proxy_cache_bypass $http_x_anew $arg_anew; proxy_no_cache $cookie_session; proxy_cache_key $uri;",
        weir: "{ ttl: { 200: 10m }, bypass: [ { header: X-Anew }, { query: anew } ], no-store: [ { cookie: session } ], key: [ path ] }",
        steps: &[
            with("/200/-/i", &[("Cookie", "session=1")]),
            with("/200/-/i", &[("Cookie", "session=1")]),
            get("/200/-/i"),
            with("/200/-/i", &[("Cookie", "session=1")]),
            with("/200/-/i", &[("X-Anew", "1")]),
            get("/200/-/i"),
            with("/200/-/i", &[("X-Anew", "0")]),
            with("/200/-/i", &[("X-Anew", "")]),
            get("/200/-/i?anew=1"),
            get("/200/-/i?anew=0"),
            get("/200/-/i"),
            with("/200/-/i", &[("Cookie", "session=0")]),
        ],
    },
    Case {
        name: "methods",
        nginx: "proxy_cache_valid 200 10m;",
        weir: "{ ttl: { 200: 10m } }",
        steps: &[
            Step { method: "HEAD", ..get("/200/-/j") },
            get("/200/-/j"),
            Step { method: "HEAD", ..get("/200/-/j") },
            Step { method: "POST", ..get("/200/-/k") },
            Step { method: "POST", ..get("/200/-/k") },
            get("/200/-/k"),
            Step { method: "OPTIONS", ..get("/200/-/k") },
            get("/200/-/k"),
            Step { method: "POST", ..get("/200/-/k") },
            differs(get("/200/-/k"), "HIT", "MISS", CHANGE),
        ],
    },
    Case {
        name: "uses",
        nginx: "proxy_cache_valid 200 10m; proxy_cache_min_uses 3;",
        weir: "{ ttl: { 200: 10m }, min-uses: 3 }",
        steps: &[
            get("/200/-/l"),
            get("/200/-/l"),
            get("/200/-/l"),
            get("/200/-/l"),
            get("/200/-/l?x"),
            get("/200/-/l?x"),
        ],
    },
    Case {
        name: "clients-conditions",
        nginx: "",
        weir: "{}",
        steps: &[
            with("/200/etag-minute/m", &[("If-None-Match", "\"v\"")]),
            with("/200/etag-minute/m", &[("If-None-Match", "\"v\"")]),
            with("/200/etag-minute/m", &[("If-None-Match", "\"w\"")]),
            with("/200/etag-minute/m", &[("If-None-Match", "*")]),
            with("/200/etag-minute/m", &[("If-None-Match", "\"w\", \"v\"")]),
            with("/200/etag-minute/m", &[("If-Modified-Since", "Thu, 01 Jan 2026 00:00:00 GMT")]),
            with("/200/etag-minute/m", &[("If-Modified-Since", "Wed, 31 Dec 2025 00:00:00 GMT")]),
            get("/200/etag-minute/m"),
        ],
    },
    Case {
        name: "credentials",
        nginx: "proxy_cache_valid 200 10m;",
        weir: "{ ttl: { 200: 10m } }",
        steps: &[
            with("/200/public/n", &[("Authorization", "Basic YTpi")]),
            get("/200/public/n"),
            with("/200/-/n", &[("Authorization", "Basic YTpi")]),
            differs(with("/200/-/n", &[("Authorization", "Basic YTpi")]), "HIT", "MISS", PRIVACY),
        ],
    },
    Case {
        name: "client-says",
        nginx: "",
        weir: "{}",
        steps: &[
            get("/200/minute/o"),
            with("/200/minute/o", &[("Cache-Control", "no-cache")]),
            with("/200/minute/o", &[("Pragma", "no-cache")]),
            with("/200/minute/o", &[("Cache-Control", "no-store")]),
            with("/200/minute/p", &[("Cache-Control", "only-if-cached")]),
            get("/200/minute/p"),
        ],
    },
    Case {
        name: "expiry",
        nginx: "proxy_cache_valid 200 2s;",
        weir: "{ ttl: { 200: 2s } }",
        steps: &[
            at(0, "/200/-/q"),
            at(0, "/200/second/q"),
            at(400, "/200/-/q"),
            at(400, "/200/second/q"),
            at(4500, "/200/-/q"),
            at(4500, "/200/second/q"),
            at(4600, "/200/-/q"),
            at(4600, "/200/second/q"),
        ],
    },
    Case {
        name: "validated",
        nginx: "proxy_cache_revalidate on;",
        weir: "{}",
        steps: &[at(0, "/200/etag/r"), at(300, "/200/etag/r"), at(3500, "/200/etag/r"), at(3600, "/200/etag/r")],
    },
    Case {
        name: "stale",
        nginx: "proxy_cache_use_stale error timeout http_503; proxy_read_timeout 500ms;",
        weir: "{ use-stale: [ error, timeout, 503 ] }",
        steps: &[
            at(0, "/200/second/then-fails"),
            at(0, "/200/second/then-resets"),
            at(0, "/200/second/then-silent"),
            at(3500, "/200/second/then-fails"),
            at(3500, "/200/second/then-resets"),
            at(3500, "/200/second/then-silent"),
            at(4600, "/200/second/then-fails"),
            at(4600, "/503/-/s"),
        ],
    },
    Case {
        name: "not-stale",
        nginx: "proxy_cache_use_stale updating; proxy_read_timeout 500ms;",
        weir: "{ use-stale: [ updating ], background-update: false }",
        steps: &[
            at(0, "/200/second/then-resets/t"),
            at(0, "/200/sie/then-fails/t"),
            at(0, "/200/sie/then-resets/t"),
            differs(at(3500, "/200/sie/then-fails/t"), "EXPIRED", "STALE", OUTAGE),
            at(3500, "/200/sie/then-resets/t"),
        ],
    },
    Case {
        name: "behind",
        nginx: "proxy_cache_background_update on; proxy_cache_use_stale updating;",
        weir: "{ use-stale: [ updating ] }",
        steps: &[
            at(0, "/200/second/u"),
            at(3500, "/200/second/u"),
            at(3900, "/200/second/u"),
            at(0, "/200/swr/u"),
            at(7500, "/200/second/u"),
        ],
    },
];

/// Two proxies, two origins, every case.
struct Pair {
    nginx: (Nginx, Origin),
    weir: (Weir, Origin),
}

/// Cases stand at hosts of their own.
fn pair() -> Pair {
    let (before_nginx, before_weir) = (origin(), origin());
    let zones: String =
        CASES.iter().map(|case| format!("proxy_cache_path cache-{0} keys_zone={0}:1m;\n", case.name)).collect();
    let servers: String = CASES
        .iter()
        .map(|case| {
            format!(
                "server {{ listen LISTEN; server_name {0}.test; location / {{ proxy_cache {0}; {1}
                 add_header X-Cache-Status $upstream_cache_status always; proxy_http_version 1.1;
                 proxy_set_header Connection ''; proxy_pass http://{2}; }} }}\n",
                case.name, case.nginx, before_nginx.address
            )
        })
        .collect();
    let nginx = Nginx::start_with_servers(&zones, &servers);
    let hosts: String = CASES
        .iter()
        .map(|case| {
            format!(
                "  - names: [{0}.test]\n    filters: [ {{ cache: {1} }} ]\n    routes: [ {{ path: /, upstream: origin }} ]\n",
                case.name, case.weir
            )
        })
        .collect();
    let weir = Weir::start(&format!(
        "upstreams: {{ origin: {{ endpoints: [\"{}\"], outlier-detection: off, retry: {{ attempts: 1 }}, timeouts: {{ read: 500ms }} }} }}\nhosts:\n{hosts}",
        before_weir.address
    ));
    Pair { nginx: (nginx, before_nginx), weir: (weir, before_weir) }
}

/// What a client sees of it.
#[derive(Debug, PartialEq)]
struct Seen {
    status: u16,
    outcome: String,
    body: String,
}

impl Seen {
    fn of(response: &Response) -> Self {
        let outcome = response.header("x-cache-status").unwrap_or_default().to_owned();
        // The pages of errors are each one's own.
        let body = if response.text().starts_with('/') { response.text() } else { String::new() };
        Self { status: response.status, outcome, body }
    }
}

fn run(case: &Case, address: std::net::SocketAddr) -> Vec<Seen> {
    let begun = Instant::now();
    let host = format!("{}.test", case.name);
    let seen = case.steps.iter().map(|step| {
        std::thread::sleep(Duration::from_millis(step.at).saturating_sub(begun.elapsed()));
        let mut request = request(address, step.method, step.target).host(&host);
        for (name, value) in step.headers {
            request = request.header(name, value);
        }
        Seen::of(&request.send())
    });
    seen.collect()
}

#[test]
fn the_cache_does_what_nginx_does() {
    let pair = pair();
    let (nginx, weir) = (pair.nginx.0.address, pair.weir.0.http);
    let unlike: Vec<String> = std::thread::scope(|scope| {
        let cases: Vec<_> = CASES
            .iter()
            .map(|case| (case, scope.spawn(move || run(case, nginx)), scope.spawn(move || run(case, weir))))
            .collect();
        let joined = cases.into_iter().map(|(case, theirs, ours)| (case, theirs.join().unwrap(), ours.join().unwrap()));
        joined.flat_map(|(case, theirs, ours)| compare(case, &theirs, &ours)).collect()
    });
    let steps = || CASES.iter().flat_map(|case| case.steps);
    let on_purpose = steps().filter(|step| !matches!(step.differs, Differs::No)).count();
    println!("{} requests compared, {on_purpose} differ on purpose", steps().count());
    assert!(unlike.is_empty(), "{}", unlike.join("\n"));
    assert!(steps().count() > 150, "only {} were compared", steps().count());
}

/// Where the two were not alike.
fn compare(case: &Case, theirs: &[Seen], ours: &[Seen]) -> Vec<String> {
    let mut unlike = Vec::new();
    for (number, (step, (theirs, ours))) in case.steps.iter().zip(theirs.iter().zip(ours)).enumerate() {
        let (as_expected, why) = match step.differs {
            Differs::No => (ours == theirs, "the same"),
            Differs::Outcome(nginx, weir, why) => ((&*theirs.outcome, &*ours.outcome) == (nginx, weir), why),
        };
        if !as_expected {
            let asked = format!("{} step {number}: {} {} {:?}", case.name, step.method, step.target, step.headers);
            unlike.push(format!("{asked}\n  nginx {theirs:?}\n  weir  {ours:?}\n  expected: {why}"));
        }
    }
    unlike
}
