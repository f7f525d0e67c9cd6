//! What is said of a wrong file: exactly this, at exactly this place.
//!
//! Each file in `mistakes/` holds cases: `===`, the text, `=>`, and the findings expected of it. After a change that is
//! meant: `UPDATE_MISTAKES=1 cargo test mistakes`, and read the difference.

use super::*;

#[test]
fn every_mistake_is_named_at_its_place() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sources/config/tests/mistakes");
    let mut cases = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let golden = std::fs::read_to_string(&path).unwrap();
        let found: String = golden.split("===\n").skip(1).map(answered).collect();
        cases += golden.matches("===\n").count();
        if std::env::var_os("UPDATE_MISTAKES").is_some() {
            std::fs::write(&path, &found).unwrap();
        } else {
            assert_same_cases(&golden, &found, &path);
        }
    }
    assert!(cases > 80, "only {cases} cases were found");
}

/// A case with the findings that there are. One without findings is no mistake.
fn answered(case: &str) -> String {
    let (text, _) = case.split_once("=>\n").expect("a case has a line =>");
    let found = findings(text);
    assert!(!found.is_empty(), "nothing was found in:\n{text}");
    format!("===\n{text}=>\n{}\n\n", found.join("\n"))
}

#[track_caller]
fn assert_same_cases(golden: &str, found: &str, path: &Path) {
    for (golden, found) in golden.split("===\n").zip(found.split("===\n")) {
        assert_eq!(found, golden, "in {}", path.display());
    }
}

const TEN: &str = r#"threads: many
listeners:
  http:
    adress: ":80"
  https: { address: "0.0.0.0:443", tls: { min-version: 1.1 } }
certificates:
  - file: { cert: certs/a.crt, key: certs/a.key }
upstreams:
  backend:
    endpoints: ["backend-1", "backend-2:80"]
    balance: least-conections
hosts:
  - names: [example.org, "example.org:443"]
    filters: [https-redirekt]
    routes:
      - path: /api
        upstream: backnd
        timeouts: { read: 5 }
      - path: "/caf\u00e9/../x"
        upstream: backend
        retries: 3
"#;

#[test]
fn ten_mistakes_in_one_file_are_all_named() {
    assert_eq!(
        findings(TEN),
        [
            "1:10 threads: \"many\" is not a number of threads; write \"auto\", or a number from 1 to 1024",
            "4:5 listeners.http.adress: unknown key \"adress\"; did you mean \"address\"?",
            "5:56 listeners.https.tls.min-version: TLS 1.1 is withdrawn (RFC 8996); write \"1.2\" or \"1.3\"",
            "10:17 upstreams.backend.endpoints[0]: \"backend-1\" has no port; write \"backend-1:80\"",
            "11:14 upstreams.backend.balance: unknown balance policy \"least-conections\"; did you mean \"least-connections\"?",
            "13:26 hosts[0].names[1]: \"example.org:443\" is not a host name; write it without the port, every port is matched",
            "14:15 hosts[0].filters[0]: unknown filter \"https-redirekt\"; did you mean \"https-redirect\"?",
            "17:19 hosts[0].routes[0].upstream: there is no upstream \"backnd\"; did you mean \"backend\"?",
            "18:27 hosts[0].routes[0].timeouts.read: \"5\" has no unit; write \"5s\" for seconds",
            "19:15 hosts[0].routes[1].path: \"/café/../x\" never matches, since paths are normalized first; write \"/x\"",
            "21:9 hosts[0].routes[1].retries: unknown key \"retries\"; did you mean \"retry\"?",
        ]
    );
}

#[test]
fn a_report_shows_each_with_its_line() {
    let loaded = parse(TEN, "weir.yaml", Path::new("/"));
    let report = report::text(&loaded.diagnostics, &loaded.source);
    let expected = "weir.yaml:17:19: error: hosts[0].routes[0].upstream: there is no upstream \"backnd\"\n   \
                    17 |         upstream: backnd\n      |                   ^^^^^^\n  \
                    help: did you mean \"backend\"?\n\n";
    assert!(report.contains(expected), "{report}");
    assert!(report.ends_with("\n11 errors\n"), "{report}");
}

#[test]
fn what_is_declared_but_wrong_is_still_declared() {
    let text = "listeners: { http: 80, https: { address: ':443' } }\n\
                upstreams: { a: 5, b: }\n\
                hosts:\n\
                - { names: [x], listeners: [http], routes: [{ path: /, upstream: a }, { path: /b, upstream: b }] }\n";
    assert_eq!(
        findings(text),
        [
            "1:20 listeners.http: expected a map with address, found \"80\"",
            "2:17 upstreams.a: expected a map with endpoints, found \"5\"",
            "2:20 upstreams.b: has no value; write one, or take it out",
        ]
    );
}

#[test]
fn tabs_and_control_characters_are_named_at_their_place() {
    assert_eq!(
        findings("a:\n\t- b\n"),
        ["2:1 tabs disallowed within this context (block indentation); indent with spaces"]
    );
    assert_eq!(
        findings("a: 1\nb: \u{1}\n"),
        ["2:4 the control character '\\u{1}' cannot stand in a file; in a quoted string write it as an escape"]
    );
}

#[test]
fn a_flood_of_findings_is_cut_off() {
    let text = format!("listeners: {{}}\n{}", (0..1000).map(|i| format!("k{i}: 1\n")).collect::<String>());
    let found = findings(&text);
    assert_eq!(found.len(), 201);
    assert_eq!(found[200], "202:1 there are more than 200 findings; the others are left out");
}
