//! `files`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Either, Field, List, OneOrList, Table, scalar};
use crate::defaults;

/// Answers from a folder: the file of the path, or the index of the folder of that name, else the fallback, else 404. Links that
/// lead out of the root are not followed; folders are never listed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with root")]
#[schemars(extend("required" = ["root"]))]
pub struct Files {
    /// The folder. It may be a link that is moved to the next release.
    pub root: Field<scalar::FilePath>,
    /// What a folder is answered with: the first of these that is there.
    #[schemars(extend("default" = defaults::FILES_INDEX))]
    pub index: Field<OneOrList<scalar::FileName>>,
    /// What is answered, with 200, where there is no file, as `/index.html` of a single-page application: a path below the root.
    pub fallback: Field<scalar::MatchedPath>,
    /// Whether `app.js.zst`, `app.js.br` and `app.js.gz` are sent instead of `app.js` to clients that can read them, or in which
    /// codings such files are there.
    #[schemars(extend("default" = false))]
    pub precompressed: Field<Either<bool, List<CodingWord>>>,
    /// Whether the route's `path` stands for the root (nginx's `alias`) instead of naming a folder below it (nginx's `root`).
    #[schemars(extend("default" = false))]
    pub strip_prefix: Field<bool>,
    /// What becomes of files and folders whose names begin with a dot, `/.well-known` apart.
    #[schemars(extend("default" = "deny"))]
    pub hidden_files: Field<HiddenFilesWord>,
    /// Content types by extension, beside those that are known.
    pub types: Field<Table<scalar::MediaType>>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename = "coding", rename_all = "kebab-case")]
#[schemars(inline)]
pub enum CodingWord {
    Gzip,
    Brotli,
    Zstd,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename = "word", rename_all = "kebab-case")]
#[schemars(inline)]
pub enum HiddenFilesWord {
    /// Answered 404.
    Deny,
    Serve,
}
