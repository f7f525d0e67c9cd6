//! Collects what is wrong, from decoding and from lowering alike, each at a node of the tree.
//!
//! ```text
//! decode ──┐
//!          ├─► Findings (node ──► line, column, path) ──► Diagnostics
//! lower  ──┘
//! ```

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::sync::Arc;

use super::suggest;
use super::tree::{Document, NodeId, Problem, Span, Step, abridged};
use crate::diagnostics::{Diagnostic, Diagnostics, Origin};

/// More than this nobody reads; it bounds what a hostile file can make of a log.
const MAX_FINDINGS: usize = 200;

pub struct Findings<'d> {
    file: Arc<str>,
    document: &'d Document<'d>,
    found: RefCell<Diagnostics>,
    count: Cell<usize>,
    /// Keys that seem to be there under another name, each with its parent.
    misspelled: RefCell<HashSet<(NodeId, &'static str)>>,
}

/// What of a node is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Value(NodeId),
    /// Its key; the value itself where it stands in a list.
    Key(NodeId),
}

impl<'d> Findings<'d> {
    pub fn new(file: Arc<str>, document: &'d Document<'d>) -> Self {
        let findings =
            Self { file, document, found: RefCell::default(), count: Cell::new(0), misspelled: RefCell::default() };
        for Problem { span, path, message, help } in &document.problems {
            let diagnostic = Diagnostic::error(findings.origin_of(*span), path, message);
            findings.report(Diagnostic { help: help.clone(), ..diagnostic });
        }
        findings
    }

    pub fn document(&self) -> &'d Document<'d> {
        self.document
    }

    pub fn error(&self, place: Place, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(self.origin(place), self.path(place), message)
    }

    pub fn warning(&self, place: Place, message: impl Into<String>) -> Diagnostic {
        Diagnostic::warning(self.origin(place), self.path(place), message)
    }

    /// Keeps a finding; the first one too many is kept as a note that there are more.
    pub fn report(&self, diagnostic: Diagnostic) {
        self.count.set(self.count.get() + 1);
        if self.count.get() <= MAX_FINDINGS {
            self.found.borrow_mut().push(diagnostic);
        } else if self.count.get() == MAX_FINDINGS + 1 {
            let message = format!("there are more than {MAX_FINDINGS} findings; the others are left out");
            self.found.borrow_mut().push(Diagnostic { path: String::new(), message, help: None, ..diagnostic });
        }
    }

    /// Whether more findings would be left out; then none of them needs help.
    pub fn is_full(&self) -> bool {
        self.count.get() >= MAX_FINDINGS
    }

    /// Reports a key that its map does not have. The one that may be meant counts as written.
    pub fn unknown_key(&self, entry: NodeId, key: &str, known: &'static [&'static str]) {
        let unknown = self.error(entry.key(), format!("unknown key \"{}\"", abridged(key)));
        if self.is_full() {
            return self.report(unknown);
        }
        let help = suggest::help_for(key, known.iter().copied());
        self.report(Diagnostic { help, ..unknown });
        if let Some(meant) = suggest::closest(key, known.iter().copied()) {
            self.misspelled.borrow_mut().insert((self.document.parent(entry), meant));
        }
    }

    pub fn is_misspelled(&self, parent: NodeId, key: &str) -> bool {
        self.misspelled.borrow().contains(&(parent, key))
    }

    pub fn origin(&self, place: Place) -> Origin {
        let node = match place {
            Place::Value(id) | Place::Key(id) => self.document.node(id),
        };
        match (place, &node.step) {
            (Place::Key(_), Step::Key { span, .. }) => self.origin_of(*span),
            // Nothing was written where the value should stand.
            (Place::Value(_), Step::Key { span, .. }) if node.is_null() && node.span.length == 0 => {
                self.origin_of(*span)
            }
            (Place::Value(_) | Place::Key(_), Step::Root | Step::Item(_) | Step::Key { .. }) => {
                self.origin_of(node.span)
            }
        }
    }

    pub fn line(&self, place: Place) -> u32 {
        self.origin(place).line
    }

    pub fn path(&self, place: Place) -> String {
        match place {
            Place::Value(id) | Place::Key(id) => self.document.path(id),
        }
    }

    pub fn into_diagnostics(self) -> Diagnostics {
        self.found.into_inner().sorted()
    }

    fn origin_of(&self, span: Span) -> Origin {
        Origin { file: self.file.clone(), line: span.line, column: span.column, length: span.length.max(1) }
    }
}

impl NodeId {
    pub fn value(self) -> Place {
        Place::Value(self)
    }

    pub fn key(self) -> Place {
        Place::Key(self)
    }
}
