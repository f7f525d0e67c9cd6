//! `weir check`: everything that is wrong with a file, at its place, at once.

mod support;

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use support::{Authority, weir_command};
use tempfile::TempDir;

/// Mistakes of all kinds. Each is found by its marked piece, and explained with the word beside it.
const TEN_MISTAKES: &str = "\
acces-log: json
threads: many
listeners:
  http:
    address: 8080
    limits:
      idle-timeout: 5
upstreams:
  backend:
    endpoints: [ backend-one, \"backend-2:80\" ]
    balance: round-robbin
    keepalive: lots
hosts:
  - names: [ https://a.test ]
    routes:
      - path: /api
        upstream: backedn
      - regex: ^/(unclosed
        upstream: backend
      - path: /files
        upstream: backend
        filters:
          - max-body-size: 10XB
";

const MARKS: [(&str, &str); 11] = [
    ("acces-log", "access-log"),
    ("many", "auto"),
    ("8080", "address"),
    ("5", "5s"),
    ("backend-one", "backend-one:80"),
    ("round-robbin", "round-robin"),
    ("lots", "number"),
    ("https://a.test", "without scheme"),
    ("backedn", "backend"),
    ("^/(unclosed", "unclosed"),
    ("10XB", "10MB"),
];

struct Checked {
    folder: TempDir,
    file: PathBuf,
}

impl Checked {
    fn new(yaml: &str) -> Checked {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("weir.yaml");
        std::fs::write(&file, yaml).unwrap();
        Checked { folder, file }
    }

    fn check(&self, arguments: &[&str]) -> Output {
        check(&self.file, arguments)
    }

    fn findings(&self) -> Vec<Finding> {
        let output = self.check(&["--format", "json"]);
        let json: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("stdout is no JSON ({error}): {}", String::from_utf8_lossy(&output.stdout)));
        let mut findings = Vec::new();
        collect(&json, &mut findings);
        findings
    }

    #[track_caller]
    fn finding_at(&self, line: u64) -> Finding {
        let mut findings = self.findings();
        match findings.iter().position(|finding| finding.line == line) {
            Some(at) => findings.swap_remove(at),
            None => panic!("nothing at line {line}: {findings:?}"),
        }
    }
}

fn check(file: &Path, arguments: &[&str]) -> Output {
    weir_command().arg("check").arg(file).args(arguments).output().expect("weir starts")
}

#[derive(Debug)]
struct Finding {
    severity: String,
    line: u64,
    column: u64,
    /// Message and help together.
    text: String,
}

/// Finds the diagnostics wherever in the answer they stand.
fn collect(json: &Value, findings: &mut Vec<Finding>) {
    match json {
        Value::Array(items) => items.iter().for_each(|item| collect(item, findings)),
        Value::Object(fields) => match fields.get("origin") {
            Some(origin) => findings.push(Finding {
                severity: json["severity"].as_str().unwrap_or_default().into(),
                line: origin["line"].as_u64().expect("a line"),
                column: origin["column"].as_u64().expect("a column"),
                text: format!("{} {}", json["message"], json["help"]),
            }),
            None => fields.values().for_each(|field| collect(field, findings)),
        },
        _ => {}
    }
}

/// Line and column of a piece, counted from 1: of a value where it stands as one, else of the first such word.
fn place(piece: &str) -> (u64, u64) {
    let stands_alone = |line: &str| {
        let value = line.split_once(": ").map_or(line, |(_, value)| value);
        value.trim() == piece || line.contains(&format!("[ {piece}")) || line.starts_with(&format!("{piece}:"))
    };
    let (number, line) =
        TEN_MISTAKES.lines().enumerate().find(|(_, line)| stands_alone(line)).expect("the piece is there");
    (number as u64 + 1, line.rfind(piece).expect("it is in the line") as u64 + 1)
}

#[test]
fn every_mistake_is_reported_at_its_line_and_column() {
    let findings = Checked::new(TEN_MISTAKES).findings();
    for (piece, word) in MARKS {
        let place = place(piece);
        let here: Vec<_> = findings.iter().filter(|finding| (finding.line, finding.column) == place).collect();
        assert!(!here.is_empty(), "{piece:?} at {place:?} is not among {findings:#?}");
        assert!(here.iter().any(|finding| finding.text.contains(word)), "{piece:?} says nothing of {word:?}: {here:?}");
        assert!(here.iter().all(|finding| finding.severity == "error"), "{here:?}");
    }
}

#[test]
fn a_person_sees_the_place_the_line_and_what_to_do() {
    let checked = Checked::new(TEN_MISTAKES);
    let output = checked.check(&[]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    for (piece, _) in MARKS {
        let (line, column) = place(piece);
        assert!(text.contains(&format!("weir.yaml:{line}:{column}")), "{piece:?} at {line}:{column} in\n{text}");
    }
    assert!(text.contains("        upstream: backedn"), "the line itself:\n{text}");
    assert!(text.contains("did you mean"), "{text}");
}

#[test]
fn a_good_file_passes_in_silence_or_with_a_word() {
    let checked = Checked::new(
        "listeners:\n  http: { address: \"127.0.0.1:80\" }\nupstreams:\n  a: { endpoints: [ \"127.0.0.1:1\" ] }\n\
         hosts:\n  - names: [a.test]\n    routes: [ { path: /, upstream: a } ]\n",
    );
    assert!(checked.check(&[]).status.success());
    assert!(checked.findings().is_empty());
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let output = check(Path::new("/nowhere/weir.yaml"), &[]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(text.contains("/nowhere/weir.yaml"), "{text}");
    assert!(!text.contains('^'), "there is no line to mark: {text}");
}

#[test]
fn what_is_not_yaml_is_reported_where_it_breaks() {
    let checked = Checked::new("listeners:\n  http: { address: \"127.0.0.1:80\"\nhosts: []\n");
    assert_eq!(checked.check(&[]).status.code(), Some(1));
    assert!(!checked.findings().is_empty());
}

#[test]
fn a_key_that_stands_twice_is_an_error() {
    let checked = Checked::new(
        "listeners:\n  http: { address: \"127.0.0.1:80\" }\n  http: { address: \"127.0.0.1:81\" }\nhosts: []\n",
    );
    assert_eq!(checked.finding_at(3).severity, "error");
}

const LISTENER: &str = "listeners:\n  http: { address: \"127.0.0.1:80\" }\n";

#[test]
fn addresses_that_overlap_are_told() {
    let listeners = |second: &str, rest: &str| {
        Checked::new(&format!(
            "listeners:\n  a: {{ address: \"0.0.0.0:80\" }}\n  b: {{ address: \"{second}\" }}\n{rest}\n\
             hosts:\n  - names: [a.test]\n    routes: [ {{ path: /, respond: {{ status: 200 }} }} ]\n"
        ))
    };
    assert!(listeners("[::]:80", "").findings().is_empty(), "the usual pair");
    let part = listeners("127.0.0.1:80", "").finding_at(3);
    assert!(part.severity == "warning" && part.text.contains("a part of 0.0.0.0:80"), "{part:?}");
    let admin = listeners("0.0.0.0:81", "admin: { address: \"127.0.0.1:81\" }").finding_at(3);
    assert!(admin.severity == "error" && admin.text.contains("admin"), "{admin:?}");
}

#[test]
fn a_name_that_two_hosts_have_is_an_error() {
    let host = "  - names: [a.test]\n    routes: [ { path: /, respond: { status: 200 } } ]\n";
    let checked = Checked::new(&format!("{LISTENER}hosts:\n{host}{host}"));
    let finding = checked.finding_at(6);
    assert_eq!(finding.severity, "error");
    assert!(finding.text.contains("a.test"), "{finding:?}");
}

#[test]
fn a_route_that_no_request_can_reach_is_told() {
    let route = "      - { path: /a, respond: { status: 200 } }\n";
    let checked = Checked::new(&format!("{LISTENER}hosts:\n  - names: [a.test]\n    routes:\n{route}{route}"));
    checked.finding_at(7);
}

/// Every kind of check has something to find here, and the file itself has mistakes, too.
const MISTAKES_INSIDE_AND_OUT: &str = "\
listeners:
  http: { address: 8080 }
  https: { address: \"127.0.0.1:443\", tls: {} }
certificates:
  - file: { cert: a.crt, key: b.key }
  - file: { cert: missing.crt, key: missing.key }
upstreams:
  backend:
    endpoints: [ backend-one ]
    tls: { ca: missing-ca.crt }
hosts:
  - names: [a.test]
    routes:
      - { path: /api, upstream: backedn }
      - { path: /api, respond: { status: 200 } }
      - { path: /only, methods: [ \"GET POST\" ], respond: { status: 200 } }
      - { path: /only, respond: { status: 200 } }
      - { path: /typed, header: { x: y }, respond: { status: 200 } }
      - { path: /typed, respond: { status: 200 } }
";

#[test]
fn mistakes_in_the_file_hide_none_in_what_it_names() {
    let checked = Checked::new(MISTAKES_INSIDE_AND_OUT);
    for name in ["a", "b"] {
        Authority::new("test").issue(&["a.test"]).write(checked.folder.path(), name);
    }
    let findings = checked.findings();
    let expected = [
        (2, "address"),
        (5, "key"),
        (6, "missing.crt"),
        (6, "missing.key"),
        (8, "missing-ca.crt"),
        (9, "backend-one:80"),
        (14, "backedn"),
        (15, "never reached"),
        (16, "GET POST"),
        (18, "unknown key"),
    ];
    for (line, word) in expected {
        let there = findings.iter().any(|finding| finding.line == line && finding.text.contains(word));
        assert!(there, "nothing of {word:?} at line {line}: {findings:#?}");
    }
    assert_eq!(findings.len(), expected.len(), "what follows from a mistake is no other: {findings:#?}");
}

#[test]
fn what_follows_from_a_mistake_is_not_reported() {
    let route = "routes: [ { path: /, respond: { status: 200 } } ]";
    for (certificates, host) in [
        ("certificats: []", "names: [a.test]"),
        ("certificates: [ { file: { cert: a.crt } } ]", "names: [a.test]"),
        ("certificates: 5", "names: [a.test]"),
        ("certificates: [ { file: { cert: a.crt, key: a.key } } ]", "names: [a.test], listeners: [htps]"),
        ("certificates: [ { file: { cert: a.crt, key: a.key } } ]", "names: [b.test], listner: [https]"),
        ("certificates: [ { file: { cert: a.crt, key: a.key } } ]", "names: [b.test], listeners: 5"),
    ] {
        let checked = Checked::new(&format!(
            "listeners:\n  https: {{ address: \"127.0.0.1:443\", tls: {{}} }}\n{certificates}\n\
             hosts:\n  - {{ {host}, {route} }}\n"
        ));
        Authority::new("test").issue(&["a.test"]).write(checked.folder.path(), "a");
        let findings = checked.findings();
        assert_eq!(findings.len(), 1, "{certificates}, {host}: {findings:#?}");
        assert_eq!(findings[0].severity, "error", "{findings:?}");
    }
}

/// A TLS listener with one certificate for `a.test`, and a host.
fn with_certificate(host: &str) -> Checked {
    let checked = Checked::new(&format!(
        "listeners:\n  https: {{ address: \"127.0.0.1:443\", tls: {{}} }}\n\
         certificates:\n  - file: {{ cert: a.crt, key: a.key }}\n\
         hosts:\n  - names: [{host}]\n    routes: [ {{ path: /, respond: {{ status: 200 }} }} ]\n"
    ));
    Authority::new("test").issue(&["a.test"]).write(checked.folder.path(), "a");
    checked
}

#[test]
fn a_certificate_that_does_not_match_its_key_is_an_error() {
    let checked = with_certificate("a.test");
    assert!(checked.findings().is_empty());
    let stranger = Authority::new("test").issue(&["a.test"]);
    std::fs::write(checked.folder.path().join("a.key"), stranger.key).unwrap();
    let finding = checked.finding_at(4);
    assert_eq!(finding.severity, "error");
    assert!(finding.text.contains("key"), "{finding:?}");
}

#[test]
fn a_host_that_no_certificate_covers_is_a_warning() {
    let checked = with_certificate("b.test");
    let finding = checked.finding_at(6);
    assert_eq!(finding.severity, "warning");
    assert!(finding.text.contains("b.test"), "{finding:?}");
    assert!(checked.check(&[]).status.success(), "a warning is no reason to refuse");
}

#[test]
fn a_host_that_requires_client_certificates_is_told_of_where_there_is_no_tls() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Authority::new("clients").write_pem(folder.path());
    let file = |listener: &str| {
        format!(
            "listeners:\n  http: {{ address: \":80\"{listener} }}\nhosts:\n  - names: [a.test]\n    tls: {{ client-auth: {{ ca: {} }} }}\n    \
             routes: [{{ path: /, respond: {{ status: 200 }} }}]\n",
            ca.display()
        )
    };
    let finding = Checked::new(&file("")).finding_at(5);
    assert_eq!(finding.severity, "warning");
    assert!(finding.text.contains("has no TLS: every request for it is answered 403"), "{}", finding.text);
    assert!(Checked::new(&file(", filters: [https-redirect]")).findings().is_empty());
}

#[test]
fn an_authority_of_clients_that_cannot_be_read_is_an_error_at_the_host_that_names_it() {
    let checked = Checked::new(
        "listeners:\n  http: { address: \":80\", filters: [https-redirect] }\nhosts:\n  - names: [a.test]\n    \
         tls: { client-auth: { ca: missing.pem } }\n    routes: [{ path: /, respond: { status: 200 } }]\n",
    );
    let finding = checked.finding_at(5);
    assert_eq!(finding.severity, "error");
    assert!(finding.text.contains("missing.pem: there is no such file"), "{}", finding.text);
}

#[test]
fn the_schema_knows_the_keys_of_the_file() {
    let output = weir_command().arg("schema").output().expect("weir starts");
    assert!(output.status.success());
    let schema: Value = serde_json::from_slice(&output.stdout).expect("a JSON Schema");
    for key in ["listeners", "upstreams", "hosts", "certificates", "trusted-proxies", "admin", "shutdown"] {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
}

#[test]
fn the_version_and_the_completions_are_printed() {
    let run = |arguments: &[&str]| weir_command().args(arguments).output().expect("weir starts");
    let version = run(&["version"]);
    assert!(version.status.success());
    assert!(String::from_utf8_lossy(&version.stdout).contains(env!("CARGO_PKG_VERSION")));
    for shell in ["bash", "zsh", "fish"] {
        let completions = run(&["completions", shell]);
        assert!(completions.status.success());
        assert!(String::from_utf8_lossy(&completions.stdout).contains("explain"), "{shell}");
    }
    assert_eq!(run(&["chekc"]).status.code(), Some(2), "a wrong command line is told apart from a wrong file");
}

#[test]
fn redirects_that_lead_in_a_circle_are_warned_of_and_others_are_not() {
    let file = "listeners:
  http: { address: \":80\" }
hosts:
  - names: [a.test]
    filters: [{ www-redirect: to-www }]
    routes: [{ path: /, respond: {} }]
  - names: [www.a.test]
    filters: [{ www-redirect: to-apex }]
    routes: [{ path: /, respond: {} }]
  - names: [b.test]
    routes:
      - { exact: /old, redirect: { path: /new } }
      - { exact: /new, redirect: { path: /old } }
      - { path: /deep, redirect: { prefix: /deep/er } }
      - { path: /all, redirect: { path: /all/index } }
      - { path: /slash, redirect: { path: /slash/ }, filters: [{ trailing-slash: { slash: remove, relative: true } }] }
      - { path: /once, redirect: { path: /landed } }
      - { path: /off, redirect: { host: c.test } }
      - { path: /secure, redirect: { scheme: https } }
      - { exact: /there, redirect: { path: /there/ } }
      - { path: /, respond: {}, filters: [{ app-root: /landed }] }
";
    let checked = Checked::new(file);
    let mut findings = checked.findings();
    findings.sort_by_key(|finding| finding.line);
    let lines: Vec<_> = findings.iter().map(|finding| (finding.line, &*finding.severity)).collect();
    assert_eq!(lines, [6, 9, 12, 13, 14, 15, 16].map(|line| (line, "warning")), "{findings:#?}");
    for (at, words) in [
        (0, "in a circle: http://a.test/ to http://www.a.test/ to http://a.test/"),
        (2, "in a circle: http://b.test/old to http://b.test/new to http://b.test/old"),
        (4, "http://b.test/deep is redirected on and on, to http://b.test/deep/er and further"),
        (5, "in a circle: http://b.test/all to http://b.test/all/index to http://b.test/all/index"),
        (6, "http://b.test/slash/"),
    ] {
        assert!(findings[at].text.contains(words), "{}", findings[at].text);
    }
    assert!(checked.check(&[]).status.success());
}

#[test]
fn a_www_redirect_without_the_other_name_is_told_that_it_does_nothing() {
    let file = |names: &str| {
        format!(
            "listeners:\n  http: {{ address: \":80\" }}\nhosts:\n  - names: [{names}]\n    filters: [{{ www-redirect: to-apex }}]\n    \
             routes: [{{ path: /, respond: {{}} }}]\n"
        )
    };
    let finding = Checked::new(&file("www.a.test")).finding_at(5);
    assert_eq!(finding.severity, "warning");
    assert!(finding.text.contains("redirects nobody"), "{}", finding.text);
    assert!(Checked::new(&file("www.a.test, a.test")).findings().is_empty());
}
