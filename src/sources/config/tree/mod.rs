//! The file as a tree in which every node knows its place.
//!
//! ```text
//! text ──saphyr-parser──► events ──build──► Document (nodes in one vector, parents known) ──► decode, findings
//! ```
//!
//! It keeps scalars as they were written: what a `5` or a `1.2` means is decided by the key it stands at.
//! Nothing here knows which keys there are.

mod build;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

/// One YAML document. The root is the first node.
#[derive(Debug)]
pub struct Document<'t> {
    nodes: Vec<Node<'t>>,
    /// What is wrong but did not hinder reading on.
    pub problems: Vec<Problem>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeId(u32);

#[derive(Debug)]
pub struct Node<'t> {
    pub span: Span,
    pub step: Step<'t>,
    pub kind: Kind<'t>,
    parent: NodeId,
}

/// Where a piece of text begins, counted from 1, and how many characters it has (perhaps with blanks after it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub line: u32,
    pub column: u32,
    pub length: u32,
}

/// How a node is reached from its parent.
#[derive(Clone, Debug)]
pub enum Step<'t> {
    Root,
    Item(u32),
    Key { name: Cow<'t, str>, span: Span },
}

#[derive(Debug)]
pub enum Kind<'t> {
    Scalar { text: Cow<'t, str>, style: Style },
    List(Vec<NodeId>),
    Map(Vec<NodeId>),
}

/// Quoted text is never a number, `true` or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Plain,
    Quoted,
}

/// A fault of the text itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    pub span: Span,
    pub path: String,
    pub message: String,
    pub help: Option<String>,
}

impl<'t> Document<'t> {
    pub const ROOT: NodeId = NodeId(0);

    /// Reads one document. What is no YAML at all ends it at the first fault, since nothing after it can be trusted.
    pub fn parse(text: &'t str) -> Result<Self, Problem> {
        build::document(text)
    }

    pub fn node(&self, id: NodeId) -> &Node<'t> {
        &self.nodes[id.0 as usize]
    }

    pub fn parent(&self, id: NodeId) -> NodeId {
        self.node(id).parent
    }

    /// As `hosts[0].routes[2].timeouts.read`; empty for the root.
    pub fn path(&self, id: NodeId) -> String {
        path(&self.nodes, id)
    }
}

fn path(nodes: &[Node], id: NodeId) -> String {
    let mut steps = Vec::new();
    let mut at = id;
    // What stands before the root has no node yet.
    while let Some(node) = nodes.get(at.0 as usize).filter(|node| !matches!(node.step, Step::Root)) {
        steps.push(&node.step);
        at = node.parent;
    }
    let mut path = String::new();
    for step in steps.into_iter().rev() {
        step.append_to(&mut path);
    }
    path
}

impl NodeId {
    pub fn number(self) -> u32 {
        self.0
    }

    pub fn from_number(number: u32) -> Self {
        Self(number)
    }
}

impl Node<'_> {
    /// Whether it is `null`, `~` or not there at all.
    pub fn is_null(&self) -> bool {
        match &self.kind {
            Kind::Scalar { text, style: Style::Plain } => matches!(&**text, "" | "~" | "null" | "Null" | "NULL"),
            Kind::Scalar { .. } | Kind::List(_) | Kind::Map(_) => false,
        }
    }

    /// What it is, for "expected …, found …".
    pub fn description(&self) -> String {
        match &self.kind {
            Kind::List(_) => "a list".into(),
            Kind::Map(_) => "a map".into(),
            Kind::Scalar { .. } if self.is_null() => "nothing".into(),
            Kind::Scalar { text, .. } => format!("\"{}\"", abridged(text)),
        }
    }
}

impl Step<'_> {
    fn append_to(&self, path: &mut String) {
        match self {
            Step::Root => {}
            Step::Item(index) => path.push_str(&format!("[{index}]")),
            Step::Key { name, .. } => {
                if !path.is_empty() {
                    path.push('.');
                }
                let is_plain = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
                match is_plain(name) {
                    true => path.push_str(name),
                    false => path.push_str(&format!("{:?}", abridged(name))),
                }
            }
        }
    }
}

/// Enough of a text to recognize it by.
pub fn abridged(text: &str) -> Cow<'_, str> {
    const LENGTH: usize = 80;
    match text.char_indices().nth(LENGTH) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}
