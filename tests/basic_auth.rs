//! Basic authentication on the wire: every key with a value that is not its default, files that change, and beside nginx's `auth_basic`.

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use support::{Answer, Connection, H2Client, Nginx, Origin, Request, Weir, eventually, request, weir_command};

fn bcrypt(password: &str, cost: u32, version: bcrypt::Version) -> String {
    bcrypt::hash_with_salt(password, cost, *b"a salt of Weir's").unwrap().format_for_version(version)
}

/// Of `secret`, in each form; the SHA ones and apr1 are what `openssl` and `htpasswd` have written.
fn users() -> String {
    let openssl = std::process::Command::new("openssl").args(["passwd", "-apr1", "-salt", "Weir", "secret"]).output();
    let apr1 = String::from_utf8(openssl.expect("openssl runs").stdout).unwrap();
    let sha = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, b"secretsalt");
    format!(
        "# of the test\n\n2a:{}\n2b:{}\n2y:{}\napr1:{}\nsha:{{SHA}}5en6G6MezRroT3XKqkdPOmY/BfQ=\nssha:{{SSHA}}{}\n",
        bcrypt("secret", 4, bcrypt::Version::TwoA),
        bcrypt("secret", 4, bcrypt::Version::TwoB),
        bcrypt("secret", 4, bcrypt::Version::TwoY),
        apr1.trim(),
        STANDARD.encode([sha.as_ref(), b"salt"].concat()),
    )
}

const NAMES: [&str; 6] = ["2a", "2b", "2y", "apr1", "sha", "ssha"];

fn file(origin: &Origin, filter: &str) -> String {
    format!(
        "access-log: {{ format: json, file: access.log }}\n\
         upstreams: {{ origin: {{ endpoints: [\"{}\"] }} }}\n\
         hosts:\n  - names: [\"*\"]\n    filters: [ {{ basic-auth: {filter} }} ]\n    routes:\n\
         \x20     - {{ path: /, upstream: origin }}\n\
         \x20     - {{ path: /own, respond: {{ status: 200, body: inside }} }}\n\
         \x20     - {{ path: /small, upstream: origin, filters: [ max-body-size: 10B ] }}\n\
         \x20     - {{ path: /limited, upstream: origin, filters: [ {{ rate-limit: {{ rate: 1/h, burst: 2 }} }} ] }}\n\
         \x20     - {{ path: /cors, upstream: origin, filters: [ {{ cors: {{ origins: [\"https://a.test\"] }} }} ] }}\n\
         \x20     - {{ path: /forwarded, upstream: origin, filters: [ {{ basic-auth: {{ file: users, realm: Inner, forward: true }} }} ] }}\n\
         \x20     - {{ path: /replaced, upstream: origin, filters: [ {{ headers: {{ request: {{ set: {{ Authorization: Bearer x }} }} }} }} ] }}\n",
        origin.address
    )
}

const FILTER: &str = "{ file: users, realm: 'The \"site\"' }";

fn start(origin: &Origin) -> Weir {
    Weir::start_with(&file(origin, FILTER), &[("users", &users())])
}

fn token(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

fn ask(to: SocketAddr, target: &str, name: &str, password: &str) -> Request {
    request(to, "GET", target).header("Authorization", &token(name, password))
}

fn log(weir: &Weir, lines: usize) -> String {
    eventually("the lines are written", || {
        let log = std::fs::read_to_string(weir.folder().join("access.log")).ok()?;
        (log.lines().count() >= lines).then_some(log)
    })
}

#[test]
fn who_knows_the_password_comes_in_and_the_log_says_who() {
    let origin = Origin::named("passed");
    let weir = start(&origin);
    for name in NAMES {
        let answer = ask(weir.http, "/", name, "secret").send();
        assert_eq!((answer.status, answer.text().as_str()), (200, "passed"), "{name}");
    }
    let log = log(&weir, NAMES.len());
    for name in NAMES {
        assert!(log.contains(&format!("\"user\":\"{name}\"")), "{log}");
    }
    assert!(origin.received().iter().all(|request| request.header("authorization").is_none()));
    assert_eq!(ask(weir.http, "/own", "sha", "secret").send().text(), "inside");
}

#[test]
fn who_does_not_is_asked_for_it() {
    let origin = Origin::named("passed");
    let weir = start(&origin);
    let wrong = [
        Some(token("2b", "Secret")),
        Some(token("apr1", "")),
        Some(token("nobody", "secret")),
        Some(token("sha", "secret ")),
        Some("Bearer abc".into()),
        Some("Basic !!!".into()),
        None,
    ];
    for target in ["/", "/own"] {
        for authorization in &wrong {
            let request = weir.request("GET", target);
            let answer =
                authorization.iter().fold(request, |request, value| request.header("Authorization", value)).send();
            assert_eq!(answer.status, 401, "{authorization:?}");
            assert_eq!(answer.headers("www-authenticate"), ["Basic realm=\"The \\\"site\\\"\", charset=\"UTF-8\""]);
            assert!(answer.text().contains("a name and a password are needed here"));
        }
    }
    let twice = ask(weir.http, "/", "sha", "secret").header("Authorization", &token("2b", "secret")).send();
    assert_eq!(twice.status, 401);
    assert_eq!(origin.request_count(), 0);
    let log = log(&weir, 15);
    assert!(log.lines().all(|line| line.contains("\"refused_by\":\"basic-auth\"")), "{log}");
    assert!(!log.contains("\"user\"") && !log.contains("\"upstream\""), "{log}");
}

#[test]
fn credentials_go_upstream_only_where_that_is_said() {
    let origin = Origin::named("passed");
    let weir = start(&origin);
    ask(weir.http, "/forwarded", "2y", "secret").send();
    assert_eq!(origin.last_request().header("authorization"), Some(&*token("2y", "secret")));
    ask(weir.http, "/replaced", "2y", "secret").send();
    assert_eq!(origin.last_request().headers("authorization"), ["Bearer x"]);
    let nearest = weir.get("/forwarded");
    assert_eq!(nearest.header("www-authenticate"), Some("Basic realm=\"Inner\", charset=\"UTF-8\""));
}

#[test]
fn preflights_are_not_asked_limits_come_first_and_the_size_of_a_body_last() {
    let origin = Origin::named("passed");
    let weir = start(&origin);
    let preflight = weir.request("OPTIONS", "/cors").header("Origin", "https://a.test");
    assert_eq!(preflight.header("Access-Control-Request-Method", "PUT").send().status, 204);
    let guess = |password: &str| ask(weir.http, "/limited", "2b", password).send().status;
    assert_eq!(["a", "b", "c", "d", "secret"].map(guess), [401, 401, 401, 429, 429]);
    let large = |request: Request| request.body("a body of more than ten").send().status;
    assert_eq!(large(weir.request("POST", "/small")), 401);
    assert_eq!(large(ask(weir.http, "/small", "2b", "secret")), 413);
}

#[test]
fn http_2_and_combined_logs_know_the_user() {
    let origin = Origin::named("passed");
    let yaml = file(&origin, FILTER).replace("format: json", "format: combined");
    let weir = Weir::start_with(&yaml, &[("users", &users())]);
    let mut client = H2Client::plain(weir.http);
    let authorization = token("2b", "secret");
    assert_eq!(client.send("GET", "a.test", "/", &[("authorization", &authorization)], None).status, 200);
    assert_eq!(client.get("a.test", "/").status, 401);
    let log = log(&weir, 2);
    assert!(log.contains("127.0.0.1 - 2b [") && log.contains("127.0.0.1 - - ["), "{log}");
}

fn replace_users(weir: &Weir, content: &str) {
    let staged = weir.folder().join(".users.new");
    std::fs::write(&staged, content).unwrap();
    std::fs::rename(staged, weir.folder().join("users")).unwrap();
}

#[test]
fn a_file_that_changes_takes_effect_and_one_that_is_broken_changes_nothing() {
    let origin = Origin::named("passed");
    let weir = start(&origin);
    let status = |name: &str, password: &str| ask(weir.http, "/", name, password).send().status;
    assert_eq!((status("2b", "secret"), status("sha", "secret")), (200, 200));
    let generation = weir.generation();
    replace_users(&weir, &format!("2b:{}\n", bcrypt("other", 4, bcrypt::Version::TwoB)));
    weir.wait_for_generation_after(generation);
    assert_eq!([status("2b", "secret"), status("2b", "other"), status("sha", "secret")], [401, 200, 401]);
    replace_users(&weir, "2b:rqXexS6ZhobKA\n");
    let refusal = weir.wait_for_refusal("old crypt");
    assert!(refusal.contains("users") && !refusal.contains("rqXexS6ZhobKA"), "{refusal}");
    assert_eq!(status("2b", "other"), 200);
    for shown in [weir.log(), weir.admin("/config").text(), log(&weir, 6)] {
        assert!(!shown.contains("rqXexS6ZhobKA") && !shown.contains("$2b$") && !shown.contains("other"), "{shown}");
    }
}

#[test]
fn check_names_the_line_of_a_bad_entry_and_a_file_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = folder.path().join("weir.yaml");
    let file = |name: &str| {
        format!(
            "listeners: {{ http: {{ address: \"127.0.0.1:80\" }} }}\nhosts:\n  - names: [\"*\"]\n    routes:\n\
             \x20     - {{ path: /, respond: {{}}, filters: [ {{ basic-auth: {{ file: {name} }} }} ] }}\n"
        )
    };
    let checked = || {
        let output = weir_command().arg("check").arg(&yaml).output().expect("weir starts");
        assert!(!output.status.success());
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    std::fs::write(folder.path().join("users"), "ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\nbob:hunter2\n").unwrap();
    std::fs::write(&yaml, file("users")).unwrap();
    let text = checked();
    assert!(text.contains("users:2:1: error: user \"bob\": what stands there is no hash"), "{text}");
    assert!(text.contains("htpasswd -B") && !text.contains("hunter2"), "{text}");
    std::fs::write(&yaml, file("missing")).unwrap();
    let text = checked();
    assert!(text.contains("weir.yaml:5:") && text.contains("hosts[0].routes[0].filters[0].basic-auth.file"), "{text}");
    assert!(text.contains("missing cannot be read"), "{text}");
}

#[test]
fn a_dear_password_holds_nobody_up_and_is_paid_for_once() {
    let origin = Origin::named("passed");
    let users = format!("ann:{}\n", bcrypt("secret", 9, bcrypt::Version::TwoY));
    let yaml = format!("threads: 1\n{}", file(&origin, FILTER))
        + "  - names: [open.test]\n    routes: [ { path: /, respond: { body: open } } ]\n";
    let weir = Weir::start_with(&yaml, &[("users", &users)]);
    let mut connection = Connection::open(weir.http);
    let mut timed = |password: &str| {
        let begun = Instant::now();
        let authorization = token("ann", password);
        connection.write(format!("GET / HTTP/1.1\r\nHost: a.test\r\nAuthorization: {authorization}\r\n\r\n"));
        (connection.read_response().status, begun.elapsed())
    };
    let (status, dear) = timed("secret");
    assert_eq!(status, 200);
    let cheap = (0..5).map(|_| timed("secret")).inspect(|(status, _)| assert_eq!(*status, 200)).map(|(_, took)| took);
    let cheap = cheap.min().unwrap();
    assert!(cheap < dear / 4, "the second took {cheap:?}, the first {dear:?}");
    assert!(dear > Duration::from_millis(10), "{dear:?} is too little to tell anything");
    // One thread serves everybody: while it checks a wrong password, others are served.
    std::thread::scope(|scope| {
        let to = weir.http;
        let wrong: Vec<_> = (0..4).map(|_| scope.spawn(move || ask(to, "/", "ann", "wrong").send().status)).collect();
        let mut slowest = Duration::ZERO;
        let mut served = 0;
        while !wrong.iter().all(|client| client.is_finished()) {
            let begun = Instant::now();
            assert_eq!(request(to, "GET", "/").host("open.test").send().text(), "open");
            slowest = slowest.max(begun.elapsed());
            served += 1;
        }
        assert!(
            served > 4 && slowest < dear * 3,
            "{served} were served, the slowest in {slowest:?}; a check takes {dear:?}"
        );
        assert!(wrong.into_iter().all(|client| client.join().unwrap() == 401));
    });
}

#[test]
fn explain_says_that_a_password_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = folder.path().join("weir.yaml");
    std::fs::write(folder.path().join("users"), users()).unwrap();
    let listener = "listeners: { http: { address: \"127.0.0.1:80\" } }\n";
    std::fs::write(&yaml, format!("{listener}{}", file(&Origin::named("passed"), FILTER))).unwrap();
    let output = weir_command().arg("explain").arg(&yaml).args(["GET", "http://a.test/"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("filter    basic-auth of the host"), "{text}");
    assert!(text.contains("note      basic-auth: asks for a name and a password"), "{text}");
    assert!(text.contains("outcome   answered 401 by basic-auth"), "{text}");
}

#[test]
fn nginx_lets_in_the_same_people() {
    let origin = Origin::start(|_| Answer::ok("passed"));
    let weir = start(&origin);
    let path = weir.folder().join("users");
    let nginx = Nginx::start(&format!(
        "location / {{ auth_basic 'The \"site\"'; auth_basic_user_file {}; proxy_pass http://{}; proxy_set_header Authorization ''; }}",
        path.display(),
        origin.address
    ));
    let mut compared = 0;
    for name in NAMES.into_iter().chain(["nobody", "", "# of the test"]) {
        for password in ["secret", "Secret", "secre", "secret ", ""] {
            let answers = [nginx.address, weir.http].map(|to| ask(to, "/", name, password).send());
            let seen = answers.each_ref().map(|answer| {
                let challenge = answer.header("www-authenticate").map(|value| value.replace(", charset=\"UTF-8\"", ""));
                // nginx writes the realm as it is, quotes and all.
                (answer.status, challenge.map(|value| value.replace('\\', "")))
            });
            assert_eq!(seen[0], seen[1], "{name}:{password}");
            compared += 1;
        }
    }
    for authorization in
        ["Basic", "Basic ???", "Bearer x", "basic MmI6c2VjcmV0", "Basic  MmI6c2VjcmV0", "Basic MmI6c2VjcmV0IA"]
    {
        let statuses = [nginx.address, weir.http]
            .map(|to| request(to, "GET", "/").header("Authorization", authorization).send().status);
        assert_eq!(statuses[0], statuses[1], "{authorization}");
        compared += 1;
    }
    assert_eq!(compared, 51);
}
