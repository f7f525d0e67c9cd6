//! Signed tokens on the wire: every key with a value that is not its default, and an issuer that rotates its keys, goes down, hangs and
//! talks nonsense.

mod support;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{
    Answer, Authority, Connection, H2Client, Issuer, Nginx, Origin, Received, Request, Response, Weir, eventually,
    free_address, in_seconds, jwks, request, weir_command,
};

fn good() -> Value {
    json!({ "sub": "ann", "iss": "us", "aud": "api", "exp": in_seconds(600) })
}

fn file(origin: &Origin, keys: &str) -> String {
    format!(
        "access-log: {{ format: json, file: access.log }}\n\
         upstreams: {{ origin: {{ endpoints: [\"{}\"] }} }}\n\
         hosts:\n  - names: [\"*\"]\n    filters: [ {{ jwt: {{ {keys} }} }} ]\n    routes:\n\
         \x20     - {{ path: /, upstream: origin }}\n\
         \x20     - {{ path: /own, respond: {{ status: 200, body: inside }} }}\n\
         \x20     - {{ path: /cors, upstream: origin, filters: [ {{ cors: {{ origins: [\"https://a.test\"] }} }} ] }}\n",
        origin.address
    )
}

/// With a file of keys.
fn start(origin: &Origin, issuers: &[&Issuer], keys: &str) -> Weir {
    Weir::start_with(&file(origin, &format!("jwks: keys.json, {keys}")), &[("keys.json", &jwks(issuers))])
}

fn with(request: Request, token: &str) -> Request {
    request.header("Authorization", &format!("Bearer {token}"))
}

fn ask(weir: &Weir, token: &str) -> Response {
    with(weir.request("GET", "/"), token).send()
}

fn log(weir: &Weir, lines: usize) -> String {
    eventually("the lines are written", || {
        let log = std::fs::read_to_string(weir.folder().join("access.log")).ok()?;
        (log.lines().count() >= lines).then_some(log)
    })
}

#[test]
fn who_has_a_valid_token_comes_in_and_the_upstream_learns_who_it_is() {
    let (origin, issuer) = (Origin::named("passed"), Issuer::new("one", "ES256"));
    let keys = "claims-to-headers: { sub: X-User, realm.roles: X-Roles, absent: X-Absent }";
    let weir = start(&origin, &[&issuer], keys);
    let mut claims = good();
    claims["realm"] = json!({ "roles": ["a", "b"] });
    let token = issuer.token(&claims);
    let spoofed = with(weir.request("GET", "/"), &token)
        .header("X-User", "eve")
        .header("x_user", "eve")
        .header("X-Absent", "eve")
        .send();
    assert_eq!((spoofed.status, spoofed.text().as_str()), (200, "passed"));
    let forwarded = origin.only_request();
    assert_eq!((forwarded.headers("x-user"), forwarded.headers("x-roles")), (vec!["ann"], vec!["a,b"]));
    assert_eq!((forwarded.header("x-absent"), forwarded.header("x_user")), (None, None));
    assert_eq!(forwarded.header("authorization"), Some(&*format!("Bearer {token}")));
    assert_eq!(with(weir.request("GET", "/own"), &token).send().text(), "inside");
    assert!(log(&weir, 2).lines().all(|line| line.contains("\"user\":\"ann\"")));
    assert_eq!(weir.metric("weir_jwt_total", &["filter=\"host:*\"", "outcome=\"passed\""]), Some(2.0));
}

#[test]
fn who_has_none_or_a_bad_one_is_told_why() {
    let (origin, issuer) = (Origin::named("passed"), Issuer::new("one", "RS256"));
    let weir = start(&origin, &[&issuer], "issuer: [us, them], audience: api, leeway: 5s, realm: The \"site\"");
    let with_claim = |name: &str, value: Value| {
        let mut claims = good();
        claims[name] = value;
        issuer.token(&claims)
    };
    let unsigned = format!("{}.", issuer.token_with(&json!({ "alg": "none" }), &good()).rsplit_once('.').unwrap().0);
    let public = issuer.jwk()["n"].as_str().unwrap().as_bytes().to_vec();
    let cases = [
        (with_claim("exp", json!(in_seconds(-10))), "it has expired"),
        (with_claim("nbf", json!(in_seconds(60))), "it is not valid yet"),
        (with_claim("aud", json!("web")), "it is for somebody else"),
        (with_claim("iss", json!("eve")), "it was not issued by whom it must be"),
        (Issuer::new("one", "RS256").token(&good()), "its signature is wrong"),
        (Issuer::new("two", "RS256").token(&good()), "it was signed with a key that is not known here"),
        (Issuer::with_secret("one", "HS256", &public).token(&good()), "its algorithm is not accepted here"),
        (unsigned, "its algorithm is not accepted here"),
        ("a.b.c".into(), "it is no signed token"),
    ];
    for (token, reason) in &cases {
        for target in ["/", "/own"] {
            let answer = with(weir.request("GET", target), token).send();
            let challenge =
                format!("Bearer realm=\"The \\\"site\\\"\", error=\"invalid_token\", error_description=\"{reason}\"");
            assert_eq!((answer.status, answer.headers("www-authenticate")), (401, vec![&*challenge]));
        }
    }
    let bare = "Bearer realm=\"The \\\"site\\\"\"";
    for authorization in [None, Some("Basic YW5uOmE="), Some("Bearer"), Some("Bearer ")] {
        let request = weir.request("GET", "/");
        let answer = authorization.iter().fold(request, |request, value| request.header("Authorization", value)).send();
        assert_eq!((answer.status, answer.headers("www-authenticate")), (401, vec![bare]), "{authorization:?}");
    }
    let twice = with(with(weir.request("GET", "/"), &issuer.token(&good())), &issuer.token(&good())).send();
    assert!(twice.status == 401 && twice.header("www-authenticate").unwrap().contains("more than one"));
    assert_eq!(ask(&weir, &with_claim("exp", json!(in_seconds(-2)))).status, 200, "within the leeway");
    assert_eq!(ask(&weir, &with_claim("iss", json!("them"))).status, 200);
    assert_eq!(origin.request_count(), 2);
    let log = log(&weir, 2 * cases.len() + 7);
    assert_eq!(log.matches("\"refused_by\":\"jwt\"").count(), 2 * cases.len() + 5, "{log}");
}

#[test]
fn a_token_that_says_too_little_is_forbidden() {
    let (origin, issuer) = (Origin::named("passed"), Issuer::new("one", "EdDSA"));
    let weir = start(&origin, &[&issuer], "claims: { scope: [write, admin], realm.roles: editor, level: 5 }");
    let status = |scope: &str, roles: Value, level: Value| {
        let mut claims = good();
        (claims["scope"], claims["realm"], claims["level"]) = (scope.into(), json!({ "roles": roles }), level);
        let answer = ask(&weir, &issuer.token(&claims));
        if answer.status == 403 {
            let challenge = answer.header("www-authenticate").unwrap();
            assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
        }
        answer.status
    };
    assert_eq!(status("read write", json!(["editor"]), json!(5)), 200);
    assert_eq!(status("admin", json!("editor"), json!("5")), 200);
    assert_eq!(status("read", json!(["editor"]), json!(5)), 403);
    assert_eq!(status("write", json!(["reader"]), json!(5)), 403);
    assert_eq!(status("write", json!(["editor"]), json!(null)), 403);
    assert_eq!(ask(&weir, &issuer.token(&good())).status, 403);
    assert_eq!(weir.metric("weir_jwt_total", &["outcome=\"forbidden\""]), Some(4.0));
}

#[test]
fn a_token_may_be_elsewhere_and_need_not_go_upstream() {
    let (origin, issuer) = (Origin::named("passed"), Issuer::new("one", "ES384"));
    let token = issuer.token(&good());
    let weir = start(&origin, &[&issuer], "from: { cookie: session }, forward: false");
    let answer = weir.request("GET", "/").header("Cookie", &format!("a=1; session={token}; sessions=2")).send();
    assert_eq!(answer.status, 200);
    assert_eq!(origin.last_request().headers("cookie"), ["a=1; sessions=2"]);
    assert_eq!(ask(&weir, &token).status, 401, "it is looked for in the cookie alone");
    weir.reload(&file(&origin, "jwks: keys.json, from: { header: X-Token }, forward: false"));
    for value in [token.clone(), format!("Bearer {token}")] {
        assert_eq!(weir.request("GET", "/").header("X-Token", &value).send().status, 200);
        assert_eq!(origin.last_request().header("x-token"), None);
    }
    weir.reload(&file(&origin, "jwks: keys.json, from: { query: access }, forward: false"));
    let target = format!("/a?b=1&access={token}&c=2");
    assert_eq!(weir.get(&target).status, 200);
    assert_eq!(origin.last_request().target, "/a?b=1&c=2");
    assert!(log(&weir, 5).contains("/a?b=1&c=2") && !log(&weir, 5).contains(&token), "it stands in no log");
    weir.reload(&file(&origin, "jwks: keys.json, from: { query: access }"));
    assert_eq!(weir.get(&target).status, 200);
    assert_eq!(origin.last_request().target, target);
    weir.reload(&file(&origin, "jwks: keys.json, forward: false"));
    assert_eq!(ask(&weir, &token).status, 200);
    assert_eq!(origin.last_request().header("authorization"), None);
}

#[test]
fn where_a_token_is_optional_a_bad_one_is_refused_all_the_same() {
    let (origin, issuer) = (Origin::named("passed"), Issuer::new("one", "ES256"));
    let weir = start(&origin, &[&issuer], "optional: true, claims-to-headers: { sub: X-User }");
    assert_eq!(weir.request("GET", "/").header("X-User", "eve").send().status, 200);
    assert_eq!(origin.last_request().header("x-user"), None);
    assert_eq!(ask(&weir, &issuer.token(&good())).status, 200);
    assert_eq!(origin.last_request().header("x-user"), Some("ann"));
    assert_eq!(ask(&weir, "a.b.c").status, 401);
    assert_eq!(weir.metric("weir_jwt_total", &["outcome=\"anonymous\""]), Some(1.0));
}

#[test]
fn algorithms_are_pinned_and_a_secret_is_for_its_own() {
    let origin = Origin::named("passed");
    let (rsa, ec) = (Issuer::new("rsa", "RS256"), Issuer::new("ec", "ES256"));
    let weir = start(&origin, &[&rsa, &ec], "algorithms: [ES256]");
    assert_eq!([ask(&weir, &ec.token(&good())).status, ask(&weir, &rsa.token(&good())).status], [200, 401]);
    let secret = "a secret that is long enough";
    let hmac = |algorithm| Issuer::with_secret("one", algorithm, secret.repeat(2).as_bytes());
    std::fs::write(weir.folder().join("secret"), format!("{}\n", secret.repeat(2))).unwrap();
    weir.reload(&file(&origin, "secret-file: secret"));
    let status = |issuer: &Issuer| ask(&weir, &issuer.token(&good())).status;
    assert_eq!([status(&hmac("HS256")), status(&hmac("HS512")), status(&ec)], [200, 401, 401]);
    weir.reload(&file(&origin, "secret-file: secret, algorithms: [HS384, HS512]"));
    assert_eq!([status(&hmac("HS256")), status(&hmac("HS512"))], [401, 200]);
    let generation = weir.generation();
    std::fs::write(weir.folder().join("secret"), "another secret that is long enough\n").unwrap();
    weir.wait_for_generation_after(generation);
    assert_eq!(status(&hmac("HS512")), 401, "a token that was good by the old secret");
    for shown in [weir.log(), weir.admin("/config").text()] {
        assert!(!shown.contains("long enough"), "{shown}");
    }
}

#[test]
fn a_file_of_keys_that_changes_takes_effect_and_one_that_is_broken_changes_nothing() {
    let origin = Origin::named("passed");
    let (old, new) = (Issuer::new("old", "ES256"), Issuer::new("new", "ES256"));
    let weir = start(&origin, &[&old], "");
    let statuses = || [&old, &new].map(|issuer| ask(&weir, &issuer.token(&good())).status);
    assert_eq!(statuses(), [200, 401]);
    let replace = |content: &str| {
        std::fs::write(weir.folder().join(".keys"), content).unwrap();
        std::fs::rename(weir.folder().join(".keys"), weir.folder().join("keys.json")).unwrap();
    };
    let generation = weir.generation();
    replace(&jwks(&[&new]));
    weir.wait_for_generation_after(generation);
    assert_eq!(statuses(), [401, 200]);
    replace("{ \"keys\": [] }");
    weir.wait_for_refusal("none of its 0 keys can be used");
    assert_eq!(statuses(), [401, 200]);
}

/// An issuer's server: what it answers can be changed.
struct KeyServer {
    origin: Origin,
    answer: Arc<Mutex<Box<dyn Fn() -> Answer + Send>>>,
}

impl KeyServer {
    fn start(issuers: &[&Issuer]) -> KeyServer {
        let answer: Arc<Mutex<Box<dyn Fn() -> Answer + Send>>> = Arc::new(Mutex::new(Box::new(|| Answer::Reset)));
        let script = answer.clone();
        let server = KeyServer { origin: Origin::start(move |_| script.lock().unwrap()()), answer };
        server.show(issuers);
        server
    }

    fn show(&self, issuers: &[&Issuer]) {
        let set = jwks(issuers);
        self.answers(move || Answer::ok(&set));
    }

    fn answers(&self, answer: impl Fn() -> Answer + Send + 'static) {
        *self.answer.lock().unwrap() = Box::new(answer);
    }

    fn keys(&self, more: &str) -> String {
        format!("jwks: 'http://{}/keys', audience: api, {more}", self.origin.address)
    }
}

fn fetches(weir: &Weir, result: &str) -> f64 {
    weir.metric("weir_jwks_fetches_total", &[&format!("result=\"{result}\"")]).expect("it is shown")
}

#[test]
fn keys_are_fetched_before_the_first_request_and_rotation_costs_nobody_an_answer() {
    let origin = Origin::named("passed");
    let (old, new) = (Issuer::new("old", "ES256"), Issuer::new("new", "RS256"));
    let server = KeyServer::start(&[&old]);
    let weir = Weir::start(&file(&origin, &server.keys("")));
    assert_eq!(ask(&weir, &old.token(&good())).status, 200);
    let asked = server.origin.only_request();
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("GET", "/keys"));
    assert!(asked.header("user-agent").is_some_and(|agent| agent.starts_with("weir/")));
    server.show(&[&old, &new]);
    // Many at once, of a key that nobody has seen: one fetch, and all pass.
    let token = new.token(&good());
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..20).map(|_| scope.spawn(|| ask(&weir, &token).status)).collect();
        assert!(clients.into_iter().all(|client| client.join().unwrap() == 200));
    });
    assert_eq!(server.origin.request_count(), 2);
    // Made-up keys do not make us ask again and again.
    for n in 0..50 {
        assert_eq!(ask(&weir, &Issuer::new(&format!("k{n}"), "EdDSA").token(&good())).status, 401);
    }
    assert!(server.origin.request_count() <= 3, "{}", server.origin.request_count());
    assert_eq!(weir.metric("weir_jwks_keys", &[]), Some(2.0));
    // A reload that does not concern them fetches nothing anew, and forgets nothing.
    let before = server.origin.request_count();
    server.answers(|| Answer::Reset);
    weir.reload(&(file(&origin, &server.keys("")) + "      - { path: /new, respond: {} }\n"));
    assert_eq!([&old, &new].map(|issuer| ask(&weir, &issuer.token(&good())).status), [200, 200]);
    assert!(server.origin.request_count() <= before + 1);
}

#[test]
fn a_new_key_by_the_old_name_is_found_too() {
    let origin = Origin::named("passed");
    let (old, new) = (Issuer::new("one", "ES256"), Issuer::new("one", "ES256"));
    let server = KeyServer::start(&[&old]);
    let weir = Weir::start(&file(&origin, &server.keys("")));
    assert_eq!(ask(&weir, &old.token(&good())).status, 200);
    server.show(&[&new]);
    assert_eq!([&new, &old].map(|issuer| ask(&weir, &issuer.token(&good())).status), [200, 401]);
}

#[test]
fn a_key_that_is_taken_out_is_refused_after_the_next_refresh_even_where_its_token_was_known() {
    let origin = Origin::named("passed");
    let (old, new) = (Issuer::new("old", "ES256"), Issuer::new("new", "ES256"));
    let server = KeyServer::start(&[&old]);
    let weir = Weir::start(&file(&origin, &server.keys("refresh: 200ms")));
    let token = old.token(&good());
    assert_eq!([ask(&weir, &token).status, ask(&weir, &token).status], [200, 200]);
    server.show(&[&new]);
    eventually("the old key is gone", || (ask(&weir, &token).status == 401).then_some(()));
    assert_eq!(ask(&weir, &new.token(&good())).status, 200);
}

#[test]
fn while_the_issuer_is_down_the_last_good_keys_are_used() {
    let origin = Origin::named("passed");
    let issuer = Issuer::new("one", "ES256");
    let server = KeyServer::start(&[&issuer]);
    let weir = Weir::start(&file(&origin, &server.keys("refresh: 50ms")));
    let token = issuer.token(&good());
    let bad: [fn() -> Answer; 6] = [
        || Answer::Reset,
        || Answer::status(500, ""),
        || Answer::ok("<html>"),
        || Answer::ok("{ \"keys\": [] }"),
        || Answer::SendAndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_vec()),
        || Answer::with_headers("", &"x".repeat(2 << 20)),
    ];
    for answer in bad {
        let before = fetches(&weir, "failed");
        server.answers(answer);
        eventually("it was noticed", || (fetches(&weir, "failed") > before).then_some(()));
        assert_eq!(ask(&weir, &token).status, 200);
        server.show(&[&issuer]);
        let before = fetches(&weir, "fetched");
        eventually("it is fetched again", || (fetches(&weir, "fetched") > before).then_some(()));
    }
    let log = weir.log();
    assert!(log.contains("keys cannot be fetched; those that are known are used on"), "{log}");
    assert!(log.contains("keys can be fetched again"), "{log}");
    server.origin.stop();
    let before = fetches(&weir, "failed");
    eventually("it was noticed", || (fetches(&weir, "failed") > before).then_some(()));
    assert_eq!(ask(&weir, &token).status, 200);
    let generation = weir.generation();
    weir.write(&(file(&origin, "jwks: 'http://127.0.0.1:9/', audience: api") + "\n"));
    weir.wait_for_generation_after(generation);
    assert_eq!(ask(&weir, &token).status, 503, "another issuer's keys are not known");
}

#[test]
fn before_the_first_keys_nobody_comes_in_and_other_routes_are_served() {
    let origin = Origin::named("passed");
    let (issuer, address) = (Issuer::new("one", "ES256"), free_address());
    let yaml = file(&origin, &format!("jwks: 'http://{address}/keys', audience: api"))
        + "  - names: [open.test]\n    routes: [ { path: /, respond: { body: open } } ]\n";
    let weir = Weir::start(&yaml);
    let token = issuer.token(&good());
    let closed = ask(&weir, &token);
    assert_eq!((closed.status, closed.header("retry-after")), (503, Some("5")));
    assert_eq!(weir.get("/").status, 401, "without a token there is nothing to verify");
    assert_eq!(request(weir.http, "GET", "/").host("open.test").send().text(), "open");
    assert_eq!(weir.metric("weir_jwt_total", &["outcome=\"no-keys\""]), Some(1.0));
    assert!(weir.log().contains("none are known: nobody comes in by a token"), "{}", weir.log());
    let set = jwks(&[&issuer]);
    let server = Origin::start_at(address, move |_| Answer::ok(&set));
    eventually("the keys are there", || (ask(&weir, &token).status == 200).then_some(()));
    drop(server);
    // One that hangs holds up neither the start nor anybody else.
    let hanging = Origin::start(|_| Answer::Silence);
    let begun = Instant::now();
    let yaml = file(&origin, &format!("jwks: 'http://{}/keys', audience: api", hanging.address))
        + "  - names: [open.test]\n    routes: [ { path: /, respond: { body: open } } ]\n";
    let mut weir = Weir::spawn(&yaml);
    eventually("others are served", || {
        let answer = request(weir.http, "GET", "/").host("open.test").try_send().ok()?;
        (answer.text() == "open").then_some(())
    });
    assert!(begun.elapsed() < Duration::from_secs(9));
    assert_eq!(ask(&weir, &token).status, 503);
    assert!(weir.is_running());
}

#[test]
fn keys_over_tls_are_verified() {
    let (origin, issuer) = (Origin::named("passed"), Issuer::new("one", "ES256"));
    let (authority, other) = (Authority::new("one"), Authority::new("other"));
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = authority.issue(&["localhost"]).write(folder.path(), "issuer");
    std::fs::write(folder.path().join("keys"), jwks(&[&issuer])).unwrap();
    let (ours, others) = (authority.write_pem(folder.path()), folder.path().join("other.pem"));
    std::fs::write(&others, other.pem()).unwrap();
    let address = free_address();
    let service = format!(
        "server {{ listen {address} ssl; ssl_certificate {}; ssl_certificate_key {}; root {}; }}",
        cert.display(),
        key.display(),
        folder.path().display()
    );
    let _nginx = Nginx::start_with(&service, "location / { return 200; }");
    let keys = |ca: &std::path::Path| {
        let url = format!("https://localhost:{}/keys", address.port());
        format!("jwks: '{url}', ca: {}, audience: api", ca.display())
    };
    let weir = Weir::start(&file(&origin, &keys(&ours)));
    assert_eq!(ask(&weir, &issuer.token(&good())).status, 200);
    weir.reload(&file(&origin, &keys(&others)));
    assert_eq!(ask(&weir, &issuer.token(&good())).status, 503);
}

#[test]
fn limits_count_by_what_a_token_says() {
    let (origin, issuer) = (Origin::named("passed"), Issuer::new("one", "ES256"));
    let limits = "filters: [ { rate-limit: { rate: 1/h, burst: 1, key: { jwt-claim: sub } } }, \
                  { concurrency-limit: { max: 1, key: { jwt-claim: tenant } } } ]";
    let yaml = file(&origin, "jwks: keys.json")
        .replace("{ path: /, upstream: origin }", &format!("{{ path: /, upstream: origin, {limits} }}"));
    let weir = Weir::start_with(&yaml, &[("keys.json", &jwks(&[&issuer]))]);
    let token = |sub: &str| issuer.token(&json!({ "sub": sub, "exp": in_seconds(600) }));
    let status = |sub: &str| ask(&weir, &token(sub)).status;
    assert_eq!(["ann", "ann", "ann", "bob", "bob", "bob"].map(status), [200, 200, 429, 200, 200, 429]);
    // What is not verified is counted under nobody's name.
    let forged = Issuer::new("one", "ES256").token(&json!({ "sub": "eve", "exp": in_seconds(600) }));
    for _ in 0..5 {
        assert_eq!(ask(&weir, &forged).status, 401);
    }
    assert_eq!(status("eve"), 200);
    assert_eq!(origin.request_count(), 5);
    let nameless = issuer.token(&json!({ "exp": in_seconds(600) }));
    assert!((0..5).all(|_| ask(&weir, &nameless).status == 200), "a token without the claim is not counted");
    let labels = ["limit=\"route:*/\"", "outcome=\"limited\""];
    assert_eq!(weir.metric("weir_rate_limit_total", &labels), Some(2.0));
}

#[test]
fn requests_of_one_tenant_at_once_are_counted_and_their_places_given_back() {
    let issuer = Issuer::new("one", "ES256");
    let gate = Arc::new(Mutex::new(()));
    let held = gate.lock().unwrap();
    let origin = Origin::start({
        let gate = gate.clone();
        move |_: &Received| {
            let _open = gate.lock();
            Answer::ok("passed")
        }
    });
    let limit = "filters: [ { concurrency-limit: { max: 2, key: { jwt-claim: tenant } } }, \
                 { rate-limit: { rate: 20/s, burst: 50, delay: all, key: [ { jwt-claim: tenant }, path ] } } ]";
    let yaml = file(&origin, "jwks: keys.json")
        .replace("{ path: /, upstream: origin }", &format!("{{ path: /, upstream: origin, {limit} }}"));
    let weir = Weir::start_with(&yaml, &[("keys.json", &jwks(&[&issuer]))]);
    let token = |tenant: &str| issuer.token(&json!({ "tenant": tenant, "exp": in_seconds(600) }));
    std::thread::scope(|scope| {
        let first: Vec<_> = (0..2).map(|_| scope.spawn(|| ask(&weir, &token("a")).status)).collect();
        origin.wait_for_requests(2);
        assert_eq!(ask(&weir, &token("a")).status, 429);
        let other = scope.spawn(|| ask(&weir, &token("b")).status);
        origin.wait_for_requests(3);
        drop(held);
        assert!(first.into_iter().chain([other]).all(|client| client.join().unwrap() == 200));
    });
    assert_eq!(ask(&weir, &token("a")).status, 200);
    let begun = Instant::now();
    assert!((0..6).all(|_| ask(&weir, &token("c")).status == 200));
    assert!(begun.elapsed() >= Duration::from_millis(200), "they were delayed");
}

#[test]
fn all_that_ask_who_it_is_must_know_and_what_costs_least_comes_first() {
    let (origin, issuer) = (Origin::named("passed"), Issuer::new("one", "ES256"));
    let auth = Origin::start(|request: &Received| match request.header("x-user") {
        Some("ann") => Answer::with_headers("X-Team: blue\r\n", ""),
        _ => Answer::status(403, ""),
    });
    let yaml = format!(
        "upstreams: {{ origin: {{ endpoints: [\"{}\"] }} }}\nhosts:\n  - names: [\"*\"]\n    filters:\n\
         \x20     - jwt: {{ jwks: keys.json, from: {{ cookie: token }}, claims-to-headers: {{ sub: X-User }} }}\n\
         \x20     - basic-auth: {{ file: users }}\n\
         \x20   routes:\n\
         \x20     - path: /\n        upstream: origin\n        filters:\n\
         \x20         - forward-auth: {{ url: 'http://{}/', response-headers: [X-Team] }}\n",
        origin.address, auth.address
    );
    let users = "ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n";
    let weir = Weir::start_with(&yaml, &[("keys.json", &jwks(&[&issuer])), ("users", users)]);
    let token = |sub: &str| issuer.token(&json!({ "sub": sub, "exp": in_seconds(600) }));
    let ask = |sub: Option<&str>, password: &str| {
        let mut request = weir.request("GET", "/").header("X-User", "ann").header("Authorization", password);
        if let Some(sub) = sub {
            request = request.header("Cookie", &format!("token={}", token(sub)));
        }
        request.send()
    };
    let (right, wrong) = ("Basic YW5uOnNlY3JldA==", "Basic YW5uOndyb25n");
    let passed = ask(Some("ann"), right);
    assert_eq!(passed.status, 200);
    let forwarded = origin.only_request();
    assert_eq!((forwarded.headers("x-user"), forwarded.headers("x-team")), (vec!["ann"], vec!["blue"]));
    assert_eq!(auth.request_count(), 1);
    let no_token = ask(None, right);
    assert!(no_token.status == 401 && no_token.header("www-authenticate").unwrap().starts_with("Bearer"));
    let no_password = ask(Some("ann"), wrong);
    assert!(no_password.status == 401 && no_password.header("www-authenticate").unwrap().starts_with("Basic"));
    assert_eq!(auth.request_count(), 1, "nobody is asked about who is refused already");
    assert_eq!(ask(Some("bob"), right).status, 403, "the service is told what the token says, not the client");
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn preflights_need_no_token_and_clients_of_http_2_do() {
    let (origin, issuer) = (Origin::named("passed"), Issuer::new("one", "ES256"));
    let weir = start(&origin, &[&issuer], "claims-to-headers: { sub: X-User }");
    let preflight = weir.request("OPTIONS", "/cors").header("Origin", "https://a.test");
    assert_eq!(preflight.header("Access-Control-Request-Method", "PUT").send().status, 204);
    let mut client = H2Client::plain(weir.http);
    let token = format!("Bearer {}", issuer.token(&good()));
    assert_eq!(client.send("GET", "a.test", "/", &[("authorization", &token), ("x-user", "eve")], None).status, 200);
    assert_eq!(origin.only_request().headers("x-user"), ["ann"]);
    let refused = client.get("a.test", "/");
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer realm=\"Restricted\"")));
}

#[test]
fn ten_thousand_tokens_leave_nothing_behind() {
    let (origin, issuer) = (Origin::named("passed"), Issuer::new("one", "EdDSA"));
    let weir = start(&origin, &[&issuer], "");
    let load = |requests: usize, from: usize| {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (weir, issuer) = (&weir, &issuer);
                scope.spawn(move || {
                    let mut connection = Connection::open(weir.http);
                    for n in 0..requests / 4 {
                        let sub = format!("{}-{}", from + thread, n);
                        let token = issuer.token(&json!({ "sub": sub, "exp": in_seconds(600) }));
                        let token = if n % 4 == 3 { token.replace('A', "B") } else { token };
                        connection
                            .write(format!("GET / HTTP/1.1\r\nHost: a.test\r\nAuthorization: Bearer {token}\r\n\r\n"));
                        let status = connection.read_response().status;
                        assert!(status == 200 || (n % 4 == 3 && status == 401), "{status}");
                    }
                });
            }
        });
    };
    load(12_000, 0);
    let before = weir.resident_kib();
    load(12_000, 100);
    let grown = weir.resident_kib().saturating_sub(before);
    assert!(grown < 8 << 10, "{grown} KiB more than before");
}

#[test]
fn explain_and_check_say_what_would_be_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = folder.path().join("weir.yaml");
    let (origin, issuer) = (Origin::named("passed"), Issuer::new("one", "ES256"));
    let listener = "listeners: { http: { address: \"127.0.0.1:80\" } }\n";
    std::fs::write(folder.path().join("keys.json"), jwks(&[&issuer])).unwrap();
    let run = |command: &str, keys: &str, more: &[&str]| {
        std::fs::write(&yaml, format!("{listener}{}", file(&origin, keys))).unwrap();
        let output = weir_command().arg(command).arg(&yaml).args(more).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let explain = |more: &[&str]| run("explain", "jwks: keys.json", &[&["GET", "http://a.test/"], more].concat());
    let text = explain(&[]);
    assert!(text.contains("filter    jwt of the host"), "{text}");
    assert!(text.contains("note      jwt: asks for a token signed with one of the keys in"), "{text}");
    assert!(text.contains("outcome   answered 401 by jwt: the request has no token"), "{text}");
    let text = explain(&["-H", "Authorization: Bearer x"]);
    assert!(text.contains("whether the one that is there is valid is not looked at here"), "{text}");
    assert!(run("check", "jwks: missing.json", &[]).contains("missing.json: it cannot be read"));
    std::fs::write(folder.path().join("secret"), "short").unwrap();
    let text = run("check", "secret-file: secret", &[]);
    assert!(text.contains("a secret of 5 bytes can be guessed") && text.contains("weir.yaml:6:"), "{text}");
    let text = run("check", "jwks: 'https://a.test/keys', audience: a, ca: keys.json", &[]);
    assert!(text.contains("cannot read roots from"), "{text}");
}
