//! From the parser's events to the tree: attaches each node to its parent, refuses what a configuration has no use for
//! (several documents, tags, keys that are no text, keys written twice) and bounds what aliases can grow to.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Tag};

use super::super::source::Lines;
use super::{Document, Kind, Node, NodeId, Problem, Span, Step, Style, path};

/// A file of 10,000 hosts has about 200,000.
const MAX_NODES: usize = 1_000_000;

/// The deepest key of the file is at 9.
const MAX_DEPTH: usize = 64;

/// Maps up to this size are searched for a key written twice; larger ones get an index.
const SMALL_MAP: usize = 16;

pub(super) fn document(text: &str) -> Result<Document<'_>, Problem> {
    // A value takes about as many characters, indentation included.
    const CHARACTERS_PER_NODE: usize = 12;
    let nodes = Vec::with_capacity((text.len() / CHARACTERS_PER_NODE).min(MAX_NODES));
    let mut builder = Builder { nodes, ..Builder::default() };
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| builder.syntax_problem(&error, text))?;
        builder.event(event, span.into())?;
    }
    if builder.nodes.is_empty() {
        return Err(problem(Span { line: 1, column: 1, length: 1 }, "the file is empty"));
    }
    Ok(Document { nodes: builder.nodes, problems: builder.problems })
}

#[derive(Default)]
struct Builder<'t> {
    nodes: Vec<Node<'t>>,
    open: Vec<Open<'t>>,
    /// Nodes that aliases may name. One that is still open is not there yet, so that no alias can hold itself.
    anchors: HashMap<usize, NodeId>,
    problems: Vec<Problem>,
    documents: usize,
}

/// A list or a map that has begun.
struct Open<'t> {
    id: NodeId,
    anchor: usize,
    children: Vec<NodeId>,
    shape: Shape<'t>,
    /// How it stands in its parent.
    role: Role,
}

enum Shape<'t> {
    List,
    Map { slot: Slot<'t>, index: HashSet<Cow<'t, str>> },
}

/// What comes next in a map.
enum Slot<'t> {
    Key,
    Value(Cow<'t, str>, Span),
    /// The value of a key that cannot be used.
    LostValue,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Kept,
    /// Belongs to a key that cannot be used: read, but not attached.
    Lost,
    /// Stands where a key should be.
    Key,
}

impl<'t> Builder<'t> {
    fn event(&mut self, event: Event<'t>, span: Span) -> Result<(), Problem> {
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(problem(span, "a second document begins here")
                        .help("a file holds one; write everything in it, without \"---\""));
                }
            }
            Event::Scalar(text, style, anchor, tag) => self.scalar(text, style, anchor, tag.as_deref(), span)?,
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), span);
                self.begin(Shape::List, anchor, span)?;
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), span);
                self.begin(Shape::Map { slot: Slot::Key, index: HashSet::new() }, anchor, span)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => self.alias(anchor, span)?,
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn scalar(
        &mut self,
        text: Cow<'t, str>,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        span: Span,
    ) -> Result<(), Problem> {
        let is_text_tag = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
        self.refuse_tag(tag, span);
        let style = match style {
            ScalarStyle::Plain if !is_text_tag => Style::Plain,
            _ => Style::Quoted,
        };
        let (role, step) = self.next_step();
        if role == Role::Key {
            self.key(text, style, span);
            return Ok(());
        }
        let id = self.add(step, span, Kind::Scalar { text, style })?;
        self.attach(id, role);
        self.remember(anchor, id);
        Ok(())
    }

    fn begin(&mut self, shape: Shape<'t>, anchor: usize, span: Span) -> Result<(), Problem> {
        if self.open.len() >= MAX_DEPTH {
            return Err(problem(span, format!("lists and maps are nested more than {MAX_DEPTH} deep here")));
        }
        let (role, step) = self.next_step();
        let id = self.add(step, span, Kind::List(Vec::new()))?;
        self.open.push(Open { id, anchor, children: Vec::new(), shape, role });
        Ok(())
    }

    fn end(&mut self) {
        let Some(open) = self.open.pop() else { return };
        self.nodes[open.id.0 as usize].kind = match open.shape {
            Shape::List => Kind::List(open.children),
            Shape::Map { .. } => Kind::Map(open.children),
        };
        if open.role == Role::Key {
            let span = self.nodes[open.id.0 as usize].span;
            self.refuse_key(span, "a key is text, not a list or a map");
        }
        self.attach(open.id, open.role);
        self.remember(open.anchor, open.id);
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), Problem> {
        let (role, step) = self.next_step();
        if role == Role::Key {
            self.refuse_key(span, "a key is text, not an alias");
            return Ok(());
        }
        let Some(source) = self.anchors.get(&anchor).copied() else {
            return Err(problem(span, "an alias cannot stand within what it names"));
        };
        let depth = self.open.len();
        let id = self.copy(source, self.parent(), step, depth, span)?;
        self.nodes[id.0 as usize].span = span;
        self.attach(id, role);
        Ok(())
    }

    /// Copies a node and all below it to a new parent; `span` is where that was asked for.
    fn copy(
        &mut self,
        id: NodeId,
        parent: NodeId,
        step: Step<'t>,
        depth: usize,
        span: Span,
    ) -> Result<NodeId, Problem> {
        if depth > MAX_DEPTH {
            return Err(problem(span, format!("aliases nest lists and maps more than {MAX_DEPTH} deep here")));
        }
        let node = &self.nodes[id.0 as usize];
        let at = node.span;
        let (kind, children) = match &node.kind {
            Kind::Scalar { text, style } => (Kind::Scalar { text: text.clone(), style: *style }, Vec::new()),
            Kind::List(children) => (Kind::List(Vec::new()), children.clone()),
            Kind::Map(children) => (Kind::Map(Vec::new()), children.clone()),
        };
        let new = self.add(step, at, kind).map_err(|_| problem(span, "aliases make the file too large here"))?;
        self.nodes[new.0 as usize].parent = parent;
        let mut copies = Vec::with_capacity(children.len());
        for child in children {
            let step = self.nodes[child.0 as usize].step.clone();
            copies.push(self.copy(child, new, step, depth + 1, span)?);
        }
        match &mut self.nodes[new.0 as usize].kind {
            Kind::List(children) | Kind::Map(children) => *children = copies,
            Kind::Scalar { .. } => {}
        }
        Ok(new)
    }

    /// Where the next node will stand.
    fn next_step(&mut self) -> (Role, Step<'t>) {
        let Some(open) = self.open.last_mut() else { return (Role::Kept, Step::Root) };
        match &mut open.shape {
            Shape::List => (Role::Kept, Step::Item(open.children.len() as u32)),
            Shape::Map { slot, .. } => match std::mem::replace(slot, Slot::Key) {
                Slot::Key => (Role::Key, Step::Item(0)),
                Slot::Value(name, span) => (Role::Kept, Step::Key { name, span }),
                Slot::LostValue => (Role::Lost, Step::Item(0)),
            },
        }
    }

    fn key(&mut self, name: Cow<'t, str>, style: Style, span: Span) {
        if name.is_empty() && style == Style::Plain {
            return self.refuse_key(span, "a value without a key");
        }
        if let Some(first) = self.first_use(&name) {
            let path = self.path_of_key(&name, span);
            self.refuse_key(span, format!("the key \"{}\" is here twice; it was first at line {first}", name));
            if let Some(problem) = self.problems.last_mut() {
                problem.path = path;
            }
            return;
        }
        if let Some(Open { shape: Shape::Map { slot, .. }, .. }) = self.open.last_mut() {
            *slot = Slot::Value(name, span);
        }
    }

    /// The line at which the innermost open map has this key already.
    fn first_use(&mut self, name: &str) -> Option<u32> {
        let open = self.open.last_mut()?;
        let Shape::Map { index, .. } = &mut open.shape else { return None };
        let key_of = |id: &NodeId| match &self.nodes[id.0 as usize].step {
            Step::Key { name, span } => Some((name, span.line)),
            Step::Root | Step::Item(_) => None,
        };
        if open.children.len() >= SMALL_MAP {
            let indexed = index.len();
            index.extend(open.children[indexed..].iter().filter_map(key_of).map(|(name, _)| name.clone()));
            if !index.contains(name) {
                return None;
            }
        }
        open.children.iter().filter_map(key_of).find(|(known, _)| *known == name).map(|(_, line)| line)
    }

    fn refuse_key(&mut self, span: Span, message: impl Into<String>) {
        if let Some(Open { shape: Shape::Map { slot, .. }, .. }) = self.open.last_mut() {
            *slot = Slot::LostValue;
        }
        let path = self.path_of(self.parent());
        self.problems.push(Problem { path, ..problem(span, message) });
    }

    fn refuse_tag(&mut self, tag: Option<&Tag>, span: Span) {
        let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) else { return };
        let path = match self.open.last() {
            Some(Open { shape: Shape::Map { slot: Slot::Value(name, span), .. }, .. }) => self.path_of_key(name, *span),
            Some(_) | None => self.path_of(self.parent()),
        };
        let problem = problem(span, format!("the tag \"{tag}\" means nothing here")).help("take it out");
        self.problems.push(Problem { path, ..problem });
    }

    fn add(&mut self, step: Step<'t>, span: Span, kind: Kind<'t>) -> Result<NodeId, Problem> {
        if self.nodes.len() >= MAX_NODES {
            return Err(problem(span, format!("the file has more than {MAX_NODES} values")));
        }
        let id = NodeId(self.nodes.len() as u32);
        self.nodes.push(Node { span, step, kind, parent: self.parent() });
        Ok(id)
    }

    fn attach(&mut self, id: NodeId, role: Role) {
        if let (Role::Kept, Some(open)) = (role, self.open.last_mut()) {
            open.children.push(id);
        }
    }

    fn remember(&mut self, anchor: usize, id: NodeId) {
        if anchor != 0 {
            self.anchors.insert(anchor, id);
        }
    }

    fn parent(&self) -> NodeId {
        self.open.last().map_or(Document::ROOT, |open| open.id)
    }

    fn path_of(&self, id: NodeId) -> String {
        path(&self.nodes, id)
    }

    fn path_of_key(&self, name: &str, span: Span) -> String {
        let mut path = self.path_of(self.parent());
        Step::Key { name: Cow::Borrowed(name), span }.append_to(&mut path);
        path
    }

    fn syntax_problem(&self, error: &ScanError, text: &str) -> Problem {
        let line = error.marker().line() as u32;
        let column = error.marker().col() as u32 + 1;
        let found = problem(Span { line, column, length: 1 }, error.info());
        if error.info().contains("tab") {
            // The scanner stands behind the tab.
            let tab = Lines::of(text).nth(line as usize - 1).and_then(|l| l.chars().position(|c| c == '\t'));
            let column = tab.map_or(column, |at| at as u32 + 1);
            return Problem { span: Span { column, ..found.span }, ..found }.help("indent with spaces");
        }
        match self.open.iter().rev().map(|open| &self.nodes[open.id.0 as usize]).find(|node| node.span.length > 0) {
            Some(Node { span, .. }) => {
                found.help(format!("a list or map in brackets is still open from {}:{}", span.line, span.column))
            }
            None if error.info().contains("mapping values") => {
                found.help("a value that holds \": \" needs quotes; a nested map goes on a new line, indented")
            }
            None => found,
        }
    }
}

impl Problem {
    fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

fn problem(span: Span, message: impl Into<String>) -> Problem {
    Problem { span, path: String::new(), message: message.into(), help: None }
}

/// Block lists and maps have no character of their own: their length is 0.
impl From<saphyr_parser::Span> for Span {
    fn from(span: saphyr_parser::Span) -> Self {
        Self { line: span.start.line() as u32, column: span.start.col() as u32 + 1, length: span.len() as u32 }
    }
}
