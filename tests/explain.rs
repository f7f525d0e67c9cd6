//! `weir explain`: where a request would go and why, by the matcher that serves.

mod support;

use std::path::Path;

use support::{Origin, Weir, weir_command};

const FILE: &str = r#"
listeners:
  http: { address: "127.0.0.1:8080" }
trusted-proxies: [ 10.0.0.0/8 ]
upstreams:
  backend: { endpoints: [ "127.0.0.1:8501", "127.0.0.1:8502" ] }
  canary: { endpoints: [ "127.0.0.1:8601" ] }
hosts:
  - names: [a.test]
    filters:
      - security-headers
    routes:
      - path: /
        respond: { status: 200, body: root }
      - path: /api
        upstream: backend
        filters:
          - max-body-size: 10MB
      - path: /api
        headers: { X-Canary: always }
        upstream: canary
      - path: /admin
        upstream: backend
        filters:
          - allow: [ 192.168.0.0/16 ]
"#;

/// The number of the line that holds `piece`; of the last where several do.
fn line_of(piece: &str) -> usize {
    FILE.lines().collect::<Vec<_>>().iter().rposition(|line| line.contains(piece)).expect("the piece is there") + 1
}

#[track_caller]
fn explained(arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weir.yaml");
    std::fs::write(&file, FILE).unwrap();
    explained_from(&file, arguments)
}

#[track_caller]
fn explained_from(file: &Path, arguments: &[&str]) -> String {
    let output = weir_command().arg("explain").arg(file).args(arguments).output().expect("weir starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!text.is_empty(), "it says nothing; stderr: {}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn the_route_the_upstream_and_its_endpoints_are_named_with_their_line() {
    let text = explained(&["GET", "http://a.test/api/users?x=1"]);
    let line = line_of("max-body-size") - 3;
    for part in
        ["http", "a.test", "/api", "backend", "127.0.0.1:8501", "127.0.0.1:8502", "max-body-size", "security-headers"]
    {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(text.contains(&format!("weir.yaml:{line}:")), "line {line} in\n{text}");
}

#[test]
fn each_route_that_lost_says_why() {
    let text = explained(&["GET", "http://a.test/api/users"]);
    assert!(text.to_lowercase().contains("x-canary"), "the header that is missing:\n{text}");
    assert!(text.contains(&format!("weir.yaml:{}:", line_of("X-Canary") - 1)), "{text}");
    assert!(text.contains("more specific"), "the root would have taken it:\n{text}");
}

#[test]
fn headers_decide_as_they_do_on_the_wire() {
    let text = explained(&["GET", "http://a.test/api/users", "-H", "X-Canary: always"]);
    assert!(text.contains("canary") && text.contains("127.0.0.1:8601"), "{text}");
    assert!(!text.contains("127.0.0.1:8501"), "{text}");
}

#[test]
fn the_clients_address_decides_as_it_does_on_the_wire() {
    let inside = explained(&["GET", "http://a.test/admin", "--from", "192.168.1.1"]);
    let outside = explained(&["GET", "http://a.test/admin", "--from", "203.0.113.9"]);
    assert!(outside.contains("403") && !inside.contains("403"), "inside:\n{inside}\noutside:\n{outside}");
    let through =
        explained(&["GET", "http://a.test/admin", "--from", "10.0.0.1", "-H", "X-Forwarded-For: 192.168.1.1"]);
    assert!(!through.contains("403"), "a trusted proxy is believed:\n{through}");
}

#[test]
fn a_request_that_nobody_takes_is_explained_too() {
    assert!(explained(&["GET", "http://b.test/"]).contains("404"));
    assert!(explained(&["GET", "http://a.test/../etc"]).contains("400"), "ambiguous paths are refused");
}

#[test]
fn a_file_with_mistakes_is_not_explained_but_checked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weir.yaml");
    std::fs::write(&file, "listeners: {}\nhsots: []\n").unwrap();
    let output = weir_command().arg("explain").arg(&file).args(["GET", "http://a.test/"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).contains("weir.yaml:2:1"));
}

#[test]
fn the_running_table_explains_itself() {
    let origin = Origin::named("origin");
    let weir = Weir::in_front_of(&[origin.address]);
    let answer = weir.admin("/explain?method=GET&url=http://a.test/x");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let json: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    let text = json.to_string();
    assert!(text.contains("origin") && text.contains(&origin.address.to_string()), "{text}");
    assert_eq!(origin.request_count(), 0, "nothing is sent");
}
