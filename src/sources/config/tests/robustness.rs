//! Whatever the text, there is an answer: a model or findings, never a panic.

use proptest::prelude::*;

use super::*;

const GOOD: &str = r#"
threads: 2
access-log: { format: combined, file: log/access.log }
trusted-proxies: &private [10.0.0.0/8, "2001:db8::/32"]
listeners:
  http: { address: ":80", proxy-protocol: { trusted: *private } }
  https: { address: "0.0.0.0:443", tls: { min-version: 1.3 }, limits: { header-timeout: 5s } }
certificates:
  - file: { cert: a.crt, key: a.key }
upstreams:
  o:
    endpoints: ["a:80", { address: "[::1]:80", weight: 3, backup: true }]
    balance: { hash: { cookie: id } }
    health-check: { http: { path: /health, status: [200, "300-399"], body: ok }, interval: 5s }
    retry: { attempts: 2, on: [connect, 502], budget: 10% }
hosts:
  - names: [example.org, "*.example.org"]
    filters:
      - https-redirect
      - headers: { request: { set: { X-A: "${client-ip}" } }, response: { remove: [Server] } }
    routes:
      - path: /api
        upstream: o
        headers: { X-V: { regex: "^v[0-9]+$" } }
        rewrite: { regex: { pattern: "^/api/(.*)$", replacement: "/$1" } }
      - regex: ^/old/
        redirect: { host: new.example.org, status: 308 }
      - path: /
        respond: { status: 404, body: |
          nothing
          here
          }
"#;

fn check(text: &str) {
    let loaded = parse(text, "weir.yaml", Path::new("/"));
    assert_eq!(loaded.whole().is_none(), loaded.diagnostics.has_errors());
    for diagnostic in loaded.diagnostics.iter() {
        assert!(diagnostic.origin.line >= 1 && diagnostic.origin.column >= 1, "{diagnostic}");
        assert!(!diagnostic.message.is_empty());
    }
    report::text(&loaded.diagnostics, &loaded.source);
}

#[test]
fn the_good_file_is_good() {
    model(&GOOD.replace("|\n          nothing\n          here\n          }", "nothing }"));
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        check(&text);
    }

    #[test]
    fn no_text_of_yaml_characters_panics(text in "[ \\t\\n:,a-c0-9&*!|>'\"%@`#?{}\\[\\]-]{0,80}") {
        check(&text);
    }

    #[test]
    fn no_mutation_of_a_good_file_panics(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..12, "[ \\n:,a-z0-9&*'\"{}\\[\\]/$%-]{0,6}"), 1..6)
    ) {
        let mut chars: Vec<char> = GOOD.chars().collect();
        for (at, length, insert) in edits {
            let from = at.index(chars.len());
            let to = (from + length).min(chars.len());
            chars.splice(from..to, insert.chars());
        }
        check(&chars.into_iter().collect::<String>());
    }
}
