//! Data flows one way through the house: which room may know of which stands here, and the sources are held to it.
//!
//! ```text
//! cli ─► app ─► sources ─► model ◄─ compile ─► snapshot ◄─ proxy      a path `crate::room::…` in a file of `src/`
//!                                                                     is a door; one that is not below is a defect
//! ```
//!
//! A door that nobody uses any more is taken out, so that the table stays true. Files of tests may build what they need
//! from any room.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A room, the rooms it may use, and why where the flow alone does not say it.
const DOORS: &[(&str, &[&str])] = &[
    // Know nothing of the house.
    ("timestamp", &[]),
    ("sharded", &[]),
    ("diagnostics", &[]),
    // The contents of what a model names: on the disk, or brought along by a source that has no files.
    ("material", &[]),
    // What is said with, and what is said in: no room that works.
    ("model", &["diagnostics"]),
    ("defaults", &["model"]),
    // What is kept of answers, and their files. It knows no rule.
    ("cache", &["model"]),
    // A door to the outside each. Nobody but `app` and `cli` may know of files.
    ("sources", &["defaults", "diagnostics", "model"]),
    ("tls", &["diagnostics", "material", "model", "timestamp"]),
    // Files of pages. What is filled in on the request path is what was read.
    ("error_pages", &["diagnostics", "model"]),
    // Public keys and secrets of tokens. What is asked on the request path is what was read, or fetched by `jwks`.
    ("tokens", &["diagnostics", "model"]),
    // `telemetry`: fetches are counted.
    ("jwks", &["diagnostics", "http_client", "model", "telemetry", "tokens"]),
    // Files of users. What is asked on the request path is what was read.
    ("passwords", &["diagnostics", "material", "model"]),
    // Folders of files that are answered with. The one room that the request path asks about a disk, on threads that may wait for it.
    ("files", &["diagnostics", "model"]),
    // `tls`: whose certificates are asked about, and where the answers go.
    ("ocsp", &["http_client", "tls"]),
    // Limits that processes count together. What a limit is, is not known there.
    ("shared_counts", &["diagnostics", "model", "telemetry"]),
    // `tls`: what a handshake agreed on is logged. `snapshot`: endpoints' statuses are shown as metrics.
    ("telemetry", &["cache", "model", "sharded", "snapshot", "timestamp", "tls"]),
    // `tls`: certificates for upstreams, read already. `telemetry`: a route carries its counters, so that none is looked up.
    (
        "snapshot",
        &[
            "cache",
            "diagnostics",
            "error_pages",
            "files",
            "model",
            "passwords",
            "sharded",
            "shared_counts",
            "telemetry",
            "tls",
            "tokens",
        ],
    ),
    // `telemetry`, `tls`: handed through into the snapshot.
    (
        "compile",
        &[
            "cache",
            "diagnostics",
            "error_pages",
            "files",
            "model",
            "passwords",
            "sharded",
            "shared_counts",
            "snapshot",
            "telemetry",
            "tls",
            "tokens",
        ],
    ),
    ("http_client", &["tls"]),
    // `tls`: what is ordered is shown there. It knows no file of Weir's: its storage is the authority's business.
    ("acme", &["diagnostics", "http_client", "model", "timestamp", "tls"]),
    ("discovery", &["snapshot"]),
    ("health", &["model", "snapshot"]),
    // Serves what it is given: it knows no file but those that `files` opens, no control plane and nobody who looks at it.
    (
        "proxy",
        &[
            "cache",
            "error_pages",
            "files",
            "model",
            "passwords",
            "sharded",
            "shared_counts",
            "snapshot",
            "telemetry",
            "tls",
            "tokens",
        ],
    ),
    // `proxy`: the very checks and keys that serve.
    ("explain", &["diagnostics", "files", "model", "proxy", "snapshot"]),
    // Sees the program through its own trait `Inspect`, which `app` implements.
    ("admin", &["diagnostics", "model", "timestamp"]),
    // Answers through its own trait `Judge`, which `app` implements: it does not know what is asked.
    ("admission", &["tls"]),
    // Assembles the rooms.
    (
        "app",
        &[
            "acme",
            "admin",
            "admission",
            "cache",
            "compile",
            "diagnostics",
            "discovery",
            "error_pages",
            "explain",
            "files",
            "health",
            "jwks",
            "material",
            "model",
            "ocsp",
            "passwords",
            "proxy",
            "shared_counts",
            "snapshot",
            "sources",
            "telemetry",
            "tls",
            "tokens",
        ],
    ),
    ("cli", &["app", "diagnostics", "explain", "sources", "telemetry"]),
    ("main", &["cli"]),
];

#[test]
fn every_room_uses_only_the_rooms_it_may_know() {
    let doors: BTreeMap<&str, &[&str]> = DOORS.iter().copied().collect();
    let broken: Vec<String> = passages()
        .iter()
        .filter(|passage| !doors.get(&*passage.from).is_some_and(|open| open.contains(&&*passage.to)))
        .map(|passage| format!("{}:{}: `{}` may not use `{}`", passage.file, passage.line, passage.from, passage.to))
        .collect();
    assert!(broken.is_empty(), "the house has no such doors (tests/house.rs):\n{}", broken.join("\n"));
}

#[test]
fn every_door_is_used() {
    let used: BTreeSet<(String, String)> = passages().into_iter().map(|passage| (passage.from, passage.to)).collect();
    for (from, to) in DOORS.iter().flat_map(|(from, to)| to.iter().map(move |to| (*from, *to))) {
        assert!(used.contains(&(from.into(), to.into())), "`{from}` does not use `{to}`: take the door out");
    }
}

#[test]
fn paths_are_found_wherever_they_stand() {
    let text = "use crate::model::{Host, Route};\n// crate::cli is only spoken of\nuse crate::{\n    tls,\n    \
                snapshot::{self, path::{Target}},\n};\nfn f(_: &crate::proxy::Shared) {} // as crate::app says\n\
                use othercrate::health;\npub(in crate::discovery) fn g() {}\n";
    let found: Vec<(usize, String)> = paths(text, "crate::");
    let expected = [(1, "model"), (3, "tls"), (3, "snapshot"), (7, "proxy"), (9, "discovery")];
    assert_eq!(found, expected.map(|(line, room)| (line, room.to_owned())));
}

/// One use of another room.
struct Passage {
    file: String,
    line: usize,
    from: String,
    to: String,
}

fn passages() -> Vec<Passage> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 100, "the sources are in {}", root.display());
    let of_file = |path: PathBuf| {
        let inside = path.strip_prefix(&root).expect("it was found there").to_owned();
        let from = room_of(&inside);
        let text = std::fs::read_to_string(&path).expect("a source can be read");
        let name = if from == "main" { "weir::" } else { "crate::" };
        let others = paths(&text, name).into_iter().filter(|(_, to)| *to != from).collect::<Vec<_>>();
        let file = format!("src/{}", inside.display());
        others.into_iter().map(move |(line, to)| Passage { file: file.clone(), line, from: from.clone(), to })
    };
    files.into_iter().flat_map(of_file).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test(&path) {
            files.push(path);
        }
    }
}

/// `tests.rs`, `load_tests.rs`, `tests/mod.rs`.
fn is_test(path: &Path) -> bool {
    let file = path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("tests"));
    file || path.parent().is_some_and(|folder| folder.ends_with("tests"))
}

/// `proxy/full/mod.rs` and `proxy.rs` are both of the room `proxy`.
fn room_of(inside: &Path) -> String {
    let first = inside.iter().next().expect("a name").to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The first name after each `prefix` in the code, and its line; comments are passed over.
fn paths(text: &str, prefix: &str) -> Vec<(usize, String)> {
    let code: Vec<&str> = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let code = code.join("\n");
    let mut found = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let line = 1 + code[..at].matches('\n').count();
        let rest = &code[at + prefix.len()..];
        let names = if rest.starts_with('{') { names_of_group(rest) } else { vec![name_at(rest)] };
        found.extend(names.into_iter().map(|name| (line, name)));
    }
    found
}

fn name_at(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The names that stand directly in the braces with which `text` begins.
fn names_of_group(text: &str) -> Vec<String> {
    let (mut depth, mut names, mut item_begins) = (0, Vec::new(), false);
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        match c {
            '{' | ',' if depth == 1 => item_begins = true,
            c if item_begins && !c.is_whitespace() => {
                item_begins = false;
                names.push(name_at(&text[at..]));
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names.retain(|name| !name.is_empty());
    names
}
