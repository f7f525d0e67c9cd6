//! `mirror` beside nginx's `mirror` and `mirror_request_body`: the same requests to both, and what either's shadow saw of them.
//!
//! Compared are the status, how many copies came, and of each its method, target, header fields and body. Not compared is how the body
//! is framed (nginx has read it first and knows its length), nor what the two tell of the client beyond what it sent.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use support::{Answer, Connection, Nginx, Origin, Received, Weir, free_address, holds_for};

const NGINX_HTTP: &str = "
    limit_req_zone $binary_remote_addr zone=rate:1m rate=1r/m;
    proxy_cache_path CACHE keys_zone=kept:1m;
";

/// As one who wants the copies to be what the upstream gets would write it.
const NGINX: &str = "
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header Connection '';
    mirror /shadow;
    location = /shadow { internal; proxy_pass http://SHADOW$request_uri; }
    location = /second { internal; proxy_pass http://SHADOW$request_uri; }
    location = /down { internal; proxy_pass http://DOWN$request_uri; }
    location = /bodiless {
        internal;
        proxy_pass_request_body off;
        proxy_set_header Host $http_host;
        proxy_set_header Connection '';
        proxy_set_header Content-Length '';
        proxy_pass http://SHADOW$request_uri;
    }
    location = /hosted {
        internal;
        proxy_set_header Host shadow.test;
        proxy_set_header Connection '';
        proxy_pass http://SHADOW$request_uri;
    }
    location / { proxy_pass http://ORIGIN; }
    location /off { mirror off; proxy_pass http://ORIGIN; }
    location /bodiless/ { mirror /bodiless; mirror_request_body off; proxy_pass http://ORIGIN; }
    location /hosted/ { mirror /hosted; proxy_pass http://ORIGIN; }
    location /both/ { mirror /shadow; mirror /second; proxy_pass http://ORIGIN; }
    location /nobody/ { mirror /down; proxy_pass http://ORIGIN; }
    location /denied/ { deny all; proxy_pass http://ORIGIN; }
    location /limited/ { limit_req zone=rate; proxy_pass http://ORIGIN; }
    location /secret/ { auth_basic x; auth_basic_user_file USERS; proxy_pass http://ORIGIN; }
    location /small/ { client_max_body_size 5; proxy_pass http://ORIGIN; }
    location /moved/ { return 301 /x; }
    location /here/ { return 200 here; }
    location /kept/ { proxy_cache kept; proxy_cache_valid 200 1h; proxy_pass http://ORIGIN; }
    location /failing/ { proxy_pass http://DOWN; }
    location /folder/ { alias FOLDER/; }
";

const WEIR: &str = r#"
cache-stores: { default: { memory: 1MiB } }
upstreams:
  origin: { endpoints: ["ORIGIN"] }
  shadow: { endpoints: ["SHADOW"] }
  second: { endpoints: ["SHADOW"] }
  nobody: { endpoints: ["DOWN"] }
hosts:
  - names: ["*"]
    filters: [ { mirror: { upstream: shadow } } ]
    routes:
      - { path: /, upstream: origin }
      - { path: /off, upstream: origin, filters: [ { mirror: { upstream: shadow, percentage: 0% } } ] }
      - { path: /bodiless, upstream: origin, filters: [ { mirror: { upstream: shadow, request-body: off } } ] }
      - { path: /hosted, upstream: origin, filters: [ { mirror: { upstream: shadow, host: shadow.test } } ] }
      - { path: /both, upstream: origin, filters: [ { mirror: { upstream: shadow } }, { mirror: { upstream: second } } ] }
      - { path: /nobody, upstream: origin, filters: [ { mirror: { upstream: nobody } } ] }
      - { path: /denied, upstream: origin, filters: [ { deny: ["0.0.0.0/0"] } ] }
      - { path: /limited, upstream: origin, filters: [ { rate-limit: { rate: 1/m, status: 503 } } ] }
      - { path: /secret, upstream: origin, filters: [ { basic-auth: { file: users, realm: x, forward: true } } ] }
      - { path: /small, upstream: origin, filters: [ { max-body-size: 5B } ] }
      - { path: /moved, redirect: { path: /x, status: 301 } }
      - { path: /here, respond: { body: here } }
      - { path: /kept, upstream: origin, filters: [ { cache: { ttl: { 200: 1h } } } ] }
      - { path: /failing, upstream: nobody }
      - { path: /folder, files: { root: "FOLDER", strip-prefix: true } }
"#;

/// Of `secret`.
const USERS: &str = "u:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n";

/// A request, the status of its answer, and how many copies there are of it.
const CASES: &[(&str, u16, usize)] = &[
    ("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", 200, 1),
    ("GET /a/b%2Fc?x=%20&y HTTP/1.1\r\nHost: a.test:81\r\n\r\n", 200, 1),
    ("HEAD /h HTTP/1.1\r\nHost: a.test\r\n\r\n", 200, 1),
    ("OPTIONS /o HTTP/1.1\r\nHost: a.test\r\n\r\n", 200, 1),
    ("DELETE /d HTTP/1.1\r\nHost: a.test\r\n\r\n", 200, 1),
    ("PATCH /p HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc", 200, 1),
    ("POST /p HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n", 200, 1),
    ("POST /p HTTP/1.1\r\nHost: a.test\r\nContent-Type: a/b\r\nContent-Length: 5\r\n\r\nhello", 200, 1),
    ("PUT /p HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", 200, 1),
    ("POST /p HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, 1),
    ("GET /b HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello", 200, 1),
    (
        "GET /fields HTTP/1.1\r\nHost: a.test\r\nCookie: a=b\r\nAuthorization: Basic x\r\nAccept: */*\r\nX-Twice: 1\r\nX-Twice: 2\r\n\
         Range: bytes=0-1\r\nIf-None-Match: \"x\"\r\nUser-Agent: test\r\nReferer: http://x/\r\n\r\n",
        200,
        1,
    ),
    ("GET /hop HTTP/1.1\r\nHost: a.test\r\nTE: trailers\r\nKeep-Alive: 5\r\n\r\n", 200, 1),
    ("POST /expect HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", 200, 1),
    ("GET /status/500 HTTP/1.1\r\nHost: a.test\r\n\r\n", 500, 1),
    ("GET /off HTTP/1.1\r\nHost: a.test\r\n\r\n", 200, 0),
    ("GET /bodiless/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 200, 1),
    ("POST /bodiless/ HTTP/1.1\r\nHost: a.test\r\nContent-Type: a/b\r\nContent-Length: 5\r\n\r\nhello", 200, 1),
    ("POST /bodiless/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n0\r\n\r\n", 200, 1),
    ("POST /hosted/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello", 200, 1),
    ("GET /both/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 200, 2),
    ("POST /both/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello", 200, 2),
    ("GET /nobody/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 200, 0),
    ("POST /nobody/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello", 200, 0),
    ("GET /denied/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 403, 0),
    ("POST /denied/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello", 403, 0),
    ("GET /limited/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 200, 1),
    ("GET /limited/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 503, 0),
    ("GET /secret/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 401, 0),
    ("GET /secret/ HTTP/1.1\r\nHost: a.test\r\nAuthorization: Basic dTpzZWNyZXQ=\r\n\r\n", 200, 1),
    ("POST /small/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello", 200, 1),
    ("POST /small/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 6\r\n\r\nlonger", 413, 0),
    ("GET /moved/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 301, 0),
    ("GET /here/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 200, 0),
    ("GET /kept/1 HTTP/1.1\r\nHost: a.test\r\n\r\n", 200, 1),
    ("GET /kept/1 HTTP/1.1\r\nHost: a.test\r\n\r\n", 200, 1),
    ("HEAD /kept/1 HTTP/1.1\r\nHost: a.test\r\n\r\n", 200, 1),
    ("GET /failing/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 502, 1),
];

/// A request, the status of both answers, and how many copies nginx and Weir send.
const DIFFERENCES: &[(&str, u16, [usize; 2], &str)] = &[
    (
        "GET /folder/a.txt HTTP/1.1\r\nHost: a.test\r\n\r\n",
        200,
        [1, 0],
        "what Weir answers from a folder never was a request to an upstream",
    ),
    (
        "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        200,
        [1, 0],
        "of a conversation, nginx copies the first line, as another request than it was",
    ),
    (
        "POST /failing/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello",
        502,
        [1, 0],
        "nginx keeps every client waiting until its body is whole; Weir copies what goes to the upstream, and here nothing goes",
    ),
];

/// One proxy, with an upstream and a shadow of its own.
struct Side {
    proxy: SocketAddr,
    shadow: Origin,
    _origin: Origin,
}

fn upstream() -> Origin {
    Origin::start(|request| {
        let status = request.target.strip_prefix("/status/").map_or(200, |status| status.parse().unwrap());
        let body = if request.method == "HEAD" { "" } else { "origin" };
        Answer::status(status, body)
    })
}

/// Answers with an error: nobody is to see it.
fn shadow() -> Origin {
    Origin::start(|_| Answer::status(500, ""))
}

fn filled_in(text: &str, origin: &Origin, shadow: &Origin, down: SocketAddr) -> String {
    let text = text.replace("ORIGIN", &origin.address.to_string()).replace("SHADOW", &shadow.address.to_string());
    text.replace("DOWN", &down.to_string())
}

/// Method, target, fields in lower case by name, body.
type Copied = (String, String, Vec<(String, String)>, Vec<u8>);

fn copied(copy: &Received) -> Copied {
    const NOT_COMPARED: [&str; 9] = [
        "connection",
        "content-length",
        "transfer-encoding",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-real-ip",
        "x-request-id",
    ];
    let fields = copy.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    let mut fields: Vec<_> = fields.filter(|(name, _)| !NOT_COMPARED.contains(&name.as_str())).collect();
    fields.sort();
    (copy.method.clone(), copy.target.clone(), fields, copy.body.clone())
}

impl Side {
    /// The status, and the copies, which must be `expected`.
    fn ask(&self, request: &str, expected: usize) -> (u16, Vec<Copied>) {
        let before = self.shadow.request_count();
        let mut client = Connection::open(self.proxy);
        client.write(request);
        let status = client.read_response_to(request.split(' ').next().unwrap()).status;
        self.shadow.wait_for_requests(before + expected);
        (status, self.shadow.received()[before..].iter().map(copied).collect())
    }
}

#[test]
fn shadows_see_what_nginxs_see() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("users"), USERS).unwrap();
    let down = free_address();
    let (origins, shadows) = ([upstream(), upstream()], [shadow(), shadow()]);
    let http = NGINX_HTTP.replace("CACHE", &folder.path().join("cache").display().to_string());
    std::fs::write(folder.path().join("a.txt"), "a").unwrap();
    let root = folder.path().display().to_string();
    let server = NGINX.replace("FOLDER", &root).replace("USERS", &folder.path().join("users").display().to_string());
    let nginx = Nginx::start_with(&http, &filled_in(&server, &origins[0], &shadows[0], down));
    let weir = Weir::start_with(
        &filled_in(&WEIR.replace("FOLDER", &root), &origins[1], &shadows[1], down),
        &[("users", USERS)],
    );
    let ([origin, others_origin], [shadow, others_shadow]) = (origins, shadows);
    let nginx = Side { proxy: nginx.address, shadow, _origin: origin };
    let weirs = Side { proxy: weir.http, shadow: others_shadow, _origin: others_origin };
    // The one that asked whether nginx is there.
    nginx.shadow.wait_for_requests(1);
    let (mut copies, begun) = (0, nginx.shadow.request_count());
    for (request, status, expected) in CASES {
        let theirs = nginx.ask(request, *expected);
        let ours = weirs.ask(request, *expected);
        assert_eq!(ours, theirs, "{request}");
        assert_eq!((ours.0, ours.1.len()), (*status, *expected), "{request}");
        copies += expected;
    }
    let mut differences = [copies; 2];
    for (request, status, expected, why) in DIFFERENCES {
        for (side, (proxy, expected)) in [&nginx, &weirs].into_iter().zip(expected).enumerate() {
            assert_eq!(proxy.ask(request, *expected).0, *status, "{request}: {why}");
            differences[side] += expected;
        }
    }
    let counts = || (nginx.shadow.request_count() - begun, weirs.shadow.request_count());
    holds_for(Duration::from_millis(300), "nothing else is copied", || counts() == differences.into());
}
