//! Nothing that is honoured is left out: the reference page, the registry of options and `--help` are walked.

use std::path::Path;

use crate::support::weir_command;

fn text_of(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Suites of their own: of what is no HTTP, of certificates and of reviews.
const OTHERS: [&str; 3] = ["tests/ingress_tcp.rs", "tests/ingress_acme.rs", "tests/ingress_webhook.rs"];

/// Of this suite, but for this file, and of the others.
fn tests() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ingress_annotations");
    let files = std::fs::read_dir(folder).expect("the suite's folder").map(|entry| entry.expect("an entry").path());
    let files = files.filter(|path| !path.ends_with("covered.rs"));
    let own: String = files.map(|path| std::fs::read_to_string(path).expect("a source")).collect();
    own + &OTHERS.map(text_of).concat()
}

/// Those of the reference page's rows that say so, of tiers 1 to 3, aliases included.
fn honoured() -> Vec<String> {
    let page = text_of("k8s/annotations.md");
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let is_meant = cells.len() > 5 && matches!(cells[3], "1" | "2" | "3") && cells[4] == "honoured";
        is_meant.then(|| cells[1].split(", ").map(|key| key.trim_matches('`').to_owned()).collect::<Vec<_>>())
    });
    rows.flatten().collect()
}

#[test]
fn every_annotation_that_is_honoured_has_a_test_on_the_wire() {
    let (keys, tests) = (honoured(), tests());
    assert!(keys.len() > 90, "only {} annotations were found", keys.len());
    let is_set = |key: &str| ['"', '/'].iter().any(|before| tests.contains(&format!("{before}{key}\"")));
    let missing: Vec<_> = keys.iter().filter(|key| !is_set(key)).collect();
    assert!(missing.is_empty(), "no test sets {missing:?}");
}

/// Those that the registry sets.
fn options() -> Vec<String> {
    let registry = text_of("src/sources/kube/options/registry.rs");
    let begin = registry.find("pub const ENTRIES").expect("the registry");
    let mut keys = Vec::new();
    for start in ["set!(", "global_auth(", "key:"] {
        for (at, _) in registry[begin..].match_indices(start) {
            let rest = registry[begin + at + start.len()..].trim_start();
            let key = rest.strip_prefix('"').and_then(|rest| rest.split('"').next());
            keys.extend(key.map(str::to_owned));
        }
    }
    keys
}

#[test]
fn every_option_that_is_honoured_has_a_test_on_the_wire() {
    let (keys, tests) = (options(), tests());
    assert!(keys.len() > 60, "only {} options were found", keys.len());
    let missing: Vec<_> = keys.iter().filter(|key| !tests.contains(&format!("(\"{key}\""))).collect();
    assert!(missing.is_empty(), "no test sets {missing:?}");
}

/// As `--help` names them, but for help itself.
fn flags() -> Vec<String> {
    let output = weir_command().args(["ingress", "--help"]).output().expect("weir starts");
    let help = String::from_utf8(output.stdout).expect("text");
    let words = help.split_whitespace().filter_map(|word| word.strip_prefix("--"));
    let flags = words.map(|word| word.split(['=', '[', ',', ';', ')']).next().unwrap_or_default().to_owned());
    let mut flags: Vec<_> = flags.filter(|flag| !flag.is_empty() && flag != "help").collect();
    flags.sort();
    flags.dedup();
    flags
}

#[test]
fn every_flag_has_a_test_on_the_wire() {
    let files = ["tests/ingress.rs", "tests/support/kube.rs"].map(text_of).concat();
    let (flags, tests) = (flags(), tests() + &files);
    assert!(flags.len() > 25, "only {} flags were found", flags.len());
    let missing: Vec<_> = flags.iter().filter(|flag| !tests.contains(&format!("--{flag}"))).collect();
    assert!(missing.is_empty(), "no test gives {missing:?}");
}
