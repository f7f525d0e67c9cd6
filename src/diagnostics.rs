//! What is wrong with an input, where, and what to do about it.
//!
//! ```text
//! sources ──► Diagnostics ──► `weir check`, the log, the admin API, a Kubernetes Event
//! ```
//!
//! A diagnostic is data: rendering belongs to whoever shows it. This module knows nothing of files,
//! YAML or the model; every room may use it.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// A place in a text that a person wrote. Lines and columns count from 1; columns count characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Origin {
    /// The file as the operator named it, or `namespace/name` of a cluster object.
    pub file: Arc<str>,
    pub line: u32,
    pub column: u32,
    /// How many characters the marked piece has; at least 1.
    #[serde(skip)]
    pub length: u32,
}

impl Origin {
    /// An origin for what no text names: defaults, `weir demo`, tests.
    pub fn builtin() -> Self {
        Self { file: "built-in".into(), line: 0, column: 0, length: 1 }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 { f.write_str(&self.file) } else { write!(f, "{}:{}:{}", self.file, self.line, self.column) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The input cannot be used.
    Error,
    /// The input is used; it probably does not do what its author meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

/// One finding. `message` says what is wrong, lowercase and without a full stop; `help` says what to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Diagnostic {
    pub severity: Severity,
    pub origin: Origin,
    /// The key's path, as `hosts[0].routes[2].timeout`; empty where there is none.
    pub path: String,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Diagnostic {
    pub fn error(origin: Origin, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, origin, path: path.into(), message: message.into(), help: None }
    }

    pub fn warning(origin: Origin, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(origin, path, message) }
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// `weir.yaml:14:9: error: routes[2].timeout: "5" has no unit; write "5s"`: one line, for logs.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: ", self.origin, self.severity)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        if let Some(help) = &self.help {
            write!(f, "; {help}")?;
        }
        Ok(())
    }
}

/// Everything found in one input. Nothing stops at the first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Diagnostics(Vec<Diagnostic>);

impl FromIterator<Diagnostic> for Diagnostics {
    fn from_iter<I: IntoIterator<Item = Diagnostic>>(found: I) -> Self {
        Self(found.into_iter().collect())
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(one: Diagnostic) -> Self {
        Self(vec![one])
    }
}

impl Diagnostics {
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    pub fn extend(&mut self, other: Diagnostics) {
        self.0.extend(other.0);
    }

    /// The same findings, none of them graver than `limit`.
    pub fn at_most(mut self, limit: Severity) -> Self {
        self.0.iter_mut().for_each(|finding| finding.severity = finding.severity.max(limit));
        self
    }

    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|d| d.severity == Severity::Error)
    }

    /// Those that were not there before.
    pub fn new_since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a Diagnostic> {
        let known: HashSet<&Diagnostic> = before.iter().collect();
        self.iter().filter(move |finding| !known.contains(finding))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn count(&self, severity: Severity) -> usize {
        self.0.iter().filter(|d| d.severity == severity).count()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter()
    }

    /// By file, line and column, errors before warnings at one place; equal findings once.
    pub fn sorted(mut self) -> Self {
        self.0.sort_by(|a, b| {
            (&a.origin, a.severity, &a.path, &a.message).cmp(&(&b.origin, b.severity, &b.path, &b.message))
        });
        self.0.dedup();
        self
    }
}
