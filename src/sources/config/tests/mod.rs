//! The file as its users meet it: what a good one becomes, and what is said of a bad one.

mod keys;
mod mistakes;
mod robustness;
mod sketch;

use std::path::Path;

use super::*;

/// Each finding as `line:column path: message; help`.
fn findings(text: &str) -> Vec<String> {
    parse(text, "weir.yaml", Path::new("/etc/weir")).diagnostics.iter().map(shown).collect()
}

fn shown(diagnostic: &Diagnostic) -> String {
    let Diagnostic { severity, origin: Origin { line, column, .. }, path, message, help } = diagnostic;
    let mut shown = format!("{line}:{column} ");
    if *severity == crate::diagnostics::Severity::Warning {
        shown += "warning: ";
    }
    if !path.is_empty() {
        shown += &format!("{path}: ");
    }
    shown += message;
    match help {
        Some(help) => shown + "; " + help,
        None => shown,
    }
}

/// The model of a text without findings.
#[track_caller]
fn model(text: &str) -> Model {
    let loaded = parse(text, "weir.yaml", Path::new("/etc/weir"));
    assert!(loaded.diagnostics.is_empty(), "{}", report::text(&loaded.diagnostics, &loaded.source));
    loaded.whole().unwrap().clone()
}

#[test]
fn a_file_that_cannot_be_read_is_a_finding() {
    let loaded = load(Path::new("/nowhere/weir.yaml"));
    assert!(loaded.understood.is_none());
    let found: Vec<_> = loaded.diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(found, ["/nowhere/weir.yaml:1:1: error: cannot be read: No such file or directory (os error 2)"]);
    assert_eq!(loaded.files, [Path::new("/nowhere/weir.yaml")]);
}

#[test]
fn a_file_and_what_it_names_are_listed_by_their_paths() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weir.yaml");
    let text = "listeners: { https: { address: ':443', tls: {} } }\n\
                certificates: [{ file: { cert: certs/a.crt, key: /keys/a.key } }]\n\
                access-log: { file: access.log }\n\
                hosts: [{ names: ['*'], routes: [{ path: /, respond: {} }] }]\n";
    std::fs::write(&path, text).unwrap();
    let loaded = load(&path);
    assert!(loaded.whole().is_some(), "{}", report::text(&loaded.diagnostics, &loaded.source));
    let expected = [path.clone(), "/keys/a.key".into(), folder.path().join("certs/a.crt")];
    assert_eq!(loaded.files, expected);
}

/// After a change of the shapes: `UPDATE_SCHEMA=1 cargo test the_schema_in_the_repository`.
#[test]
fn the_schema_in_the_repository_is_the_one_that_is_printed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/schema.json");
    let printed = format!("{:#}\n", schema());
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, &printed).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), printed, "run it with UPDATE_SCHEMA=1");
}
