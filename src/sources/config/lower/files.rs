//! `files`. Whether the root is there is looked at by `files`.

use std::path::PathBuf;
use std::sync::Arc;

use super::Lowering;
use super::rewrite::MatchedBy;
use crate::defaults;
use crate::model::{Coding, Files, HiddenFiles, RoutePrefix};
use crate::sources::config::decode::{Either, Field, List, OneOrList, Table};
use crate::sources::config::shapes::{self, CodingWord, HiddenFilesWord, scalar};
use crate::sources::config::tree::NodeId;

pub fn files(cx: &Lowering, at: NodeId, shape: shapes::Files, matched_by: MatchedBy) -> Files {
    let root = cx.required(shape.root, at, "root", "root: /srv/www");
    Files {
        // Without one it has been reported: no such model is served.
        root: root.map_or_else(PathBuf::new, |(_, root)| cx.path(root.0)),
        index: index(cx, shape.index),
        fallback: fallback(cx, shape.fallback),
        precompressed: precompressed(cx, shape.precompressed),
        prefix: prefix(cx, shape.strip_prefix, matched_by),
        hidden_files: match shape.hidden_files.value() {
            Some(HiddenFilesWord::Deny) => HiddenFiles::Deny,
            Some(HiddenFilesWord::Serve) => HiddenFiles::Serve,
            None => defaults::HIDDEN_FILES,
        },
        types: types(cx, shape.types),
    }
}

fn index(cx: &Lowering, written: Field<OneOrList<scalar::FileName>>) -> Vec<Arc<str>> {
    match written.given() {
        None => vec![defaults::FILES_INDEX.into()],
        Some((_, OneOrList::One(name))) => vec![name.0],
        Some((at, OneOrList::List(list))) => {
            if list.is_empty() {
                cx.error_with(at.value(), "an empty list", "write names, as index.html, or take the key out");
            }
            list.into_iter().filter_map(Field::scalar).collect()
        }
    }
}

fn fallback(cx: &Lowering, written: Field<scalar::MatchedPath>) -> Option<Arc<str>> {
    let (at, path) = written.given()?;
    if path.0.ends_with('/') {
        let help = format!("write \"{}index.html\"", path.0);
        cx.error_with(at.value(), format!("\"{}\" is a folder; the fallback is a file", path.0), help);
    }
    Some(path.0.trim_start_matches('/').into())
}

fn precompressed(cx: &Lowering, written: Field<Either<bool, List<CodingWord>>>) -> Vec<Coding> {
    let (at, list) = match written.given() {
        None | Some((_, Either::Short(false))) => return Vec::new(),
        Some((_, Either::Short(true))) => return Coding::BY_PREFERENCE.into(),
        Some((at, Either::Full(list))) => (at, list),
    };
    if list.is_empty() {
        cx.error_with(at.value(), "an empty list", "write codings, as [brotli, gzip], or false");
    }
    let given = list.into_iter().filter_map(Field::value).map(|word| match word {
        CodingWord::Gzip => Coding::Gzip,
        CodingWord::Brotli => Coding::Brotli,
        CodingWord::Zstd => Coding::Zstd,
    });
    let mut codings: Vec<Coding> = given.collect();
    codings.sort_unstable();
    codings.dedup();
    codings
}

fn prefix(cx: &Lowering, written: Field<bool>, matched_by: MatchedBy) -> RoutePrefix {
    match (written, matched_by) {
        (Field::Given(at, true), MatchedBy::Exact | MatchedBy::Regex) => {
            let message = "only the prefix of a \"path\" can be stripped";
            cx.error_with(at.value(), message, "write path: … instead, or take strip-prefix out");
            RoutePrefix::Keep
        }
        (Field::Given(_, true), MatchedBy::Prefix | MatchedBy::Unknown) => RoutePrefix::Strip,
        (Field::Given(_, false), _) => RoutePrefix::Keep,
        (Field::Absent | Field::Wrong(_), _) => defaults::ROUTE_PREFIX,
    }
}

fn types(cx: &Lowering, written: Field<Table<scalar::MediaType>>) -> Vec<(Arc<str>, Arc<str>)> {
    let mut types = Vec::new();
    for (extension, field) in written.value().map_or(Vec::new(), |Table(entries)| entries) {
        let Some((at, media_type)) = field.given() else { continue };
        match scalar::extension(&extension) {
            Ok(extension) => types.push((extension, media_type.0)),
            Err(message) => cx.error(at.key(), message),
        }
    }
    types
}
