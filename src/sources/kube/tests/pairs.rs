//! Golden pairs: `pairs/NAME.yaml`, manifests, and `pairs/NAME.txt`, what they come to.
//!
//! After a change that is meant: `UPDATE_PAIRS=1 cargo test --lib kube::tests::pairs`, and read the difference.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::cluster::cluster;
use super::render;
use crate::sources::kube::annotations::{self, DEFAULT_PREFIX, Support};
use crate::sources::kube::translate::translate;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sources/kube/tests/pairs")
}

fn files(extension: &str) -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

#[test]
fn every_pair_comes_to_what_it_says() {
    let inputs = files("yaml");
    assert!(inputs.len() > 40, "only {} pairs were found", inputs.len());
    let mut differing = Vec::new();
    for input in &inputs {
        let (state, settings) = cluster(&std::fs::read_to_string(input).unwrap());
        let found = render::text(&translate(&state, &settings), &settings);
        let golden = input.with_extension("txt");
        if std::env::var_os("UPDATE_PAIRS").is_some() {
            std::fs::write(&golden, &found).unwrap();
        } else if std::fs::read_to_string(&golden).ok().as_ref() != Some(&found) {
            differing.push(format!("{}:\n{found}", golden.display()));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
    let orphans: Vec<_> =
        files("txt").into_iter().filter(|golden| !inputs.contains(&golden.with_extension("yaml"))).collect();
    assert!(orphans.is_empty(), "no manifests belong to {orphans:?}");
}

#[test]
fn every_annotation_that_is_honoured_or_refused_has_a_pair() {
    let manifests: String = files("yaml").iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let is_written = |key: &str| manifests.contains(&format!("{DEFAULT_PREFIX}/{key}: "));
    let missing: Vec<_> = annotations::all()
        .filter(|entry| entry.support() != Support::WithoutEffect)
        .flat_map(|entry| std::iter::once(&entry.key).chain(entry.aliases))
        .filter(|key| !is_written(key))
        .collect();
    assert!(missing.is_empty(), "no pair writes {missing:?}");
}
