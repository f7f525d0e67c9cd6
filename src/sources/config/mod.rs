//! The file `weir.yaml`: from its text to the model, with everything that is wrong reported at once.
//!
//! ```text
//! text ──tree──► Document ──decode──► shapes::File ──lower──► Model
//!                   │                     │             │
//!                   └─────────────────────┴─────────────┴──► Diagnostics ──report──► text, JSON
//! ```
//!
//! Pure, but for [`load`], which reads the file, and [`watch`], which sees it change. What the file names (certificates,
//! authorities) is read by those who use it.

mod decode;
mod findings;
mod lower;
pub mod report;
mod shapes;
mod source;
mod suggest;
mod tree;
pub mod watch;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use schemars::generate::SchemaSettings;

use crate::diagnostics::{Diagnostic, Diagnostics, Origin};
use crate::model::Model;
use findings::Findings;
pub use lower::Understood;
pub use source::SourceText;
use tree::Document;

/// What became of a file.
#[derive(Debug)]
pub struct Loaded {
    /// None where not even its outline could be read.
    pub understood: Option<Understood>,
    /// Errors and warnings, in the order of the file.
    pub diagnostics: Diagnostics,
    pub source: SourceText,
    /// The file itself and every file that it names and Weir reads.
    pub files: Vec<PathBuf>,
}

impl Loaded {
    /// The model, where there are no errors.
    pub fn whole(&self) -> Option<&Model> {
        self.understood.as_ref().filter(|_| !self.diagnostics.has_errors()).map(|understood| &understood.model)
    }
}

/// Reads a file. That it cannot be read is a finding, too.
pub fn load(path: &Path) -> Loaded {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut loaded = match SourceText::read(path) {
        Ok(source) => interpret(source, folder),
        Err(finding) => failed(SourceText::new(&path.display().to_string(), ""), finding),
    };
    loaded.files.insert(0, path.to_owned());
    loaded
}

/// Reads a text. `name` is what findings call it; relative paths in it begin at `folder`.
pub fn parse(text: &str, name: &str, folder: &Path) -> Loaded {
    interpret(SourceText::new(name, text), folder)
}

/// The JSON Schema of the file (draft 2020-12), for editors and `weir schema`.
pub fn schema() -> serde_json::Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<shapes::File>().to_value()
}

fn interpret(source: SourceText, folder: &Path) -> Loaded {
    if let Err(finding) = source.check_characters() {
        return failed(source, finding);
    }
    let document = match Document::parse(source.text()) {
        Ok(document) => document,
        Err(problem) => {
            let tree::Span { line, column, length } = problem.span;
            let origin = Origin { file: source.name().clone(), line, column, length: length.max(1) };
            let finding = Diagnostic::error(origin, problem.path, problem.message);
            return failed(source, Diagnostic { help: problem.help, ..finding });
        }
    };
    let findings = Findings::new(source.name().clone(), &document);
    let lowered = decode::decode(&findings).value().map(|file| lower::lower(file, &findings, folder));
    let diagnostics = findings.into_diagnostics();
    let (understood, files) = match lowered {
        Some((understood, files)) => (Some(understood), files.into_iter().collect()),
        None => (None, Vec::new()),
    };
    Loaded { understood, diagnostics, source, files }
}

fn failed(source: SourceText, finding: Diagnostic) -> Loaded {
    let mut diagnostics = Diagnostics::default();
    diagnostics.push(finding);
    Loaded { understood: None, diagnostics, source, files: Vec::new() }
}
