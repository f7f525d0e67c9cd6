//! The total order of one host's routes: rows 2 to 7 of the table in [`super`].

use std::cmp::Reverse;
use std::sync::Arc;

use crate::model::{FieldMatch, PathMatch, PatternOrder, RouteMatch, ValueMatch};

use super::condition::{prefix_text, takes_method};
use super::pattern_start::PatternStart;

/// Smaller is more specific. No two routes of a host are equal: the position differs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Specificity {
    pub(super) path: PathRank,
    /// How many methods it takes; `usize::MAX` for any.
    methods: usize,
    headers: Reverse<FieldRank>,
    query: Reverse<FieldRank>,
    pub(super) position: usize,
}

/// Routes of one rank can all take the same path; their text is the key they are looked up by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PathRank {
    Exact(Text),
    /// The text that every match begins with; none where patterns are asked as they are listed.
    Regex(Text),
    /// Without the trailing slash.
    Prefix(Text),
}

/// Longer first. Two texts of one length cannot both begin the same path, so their order has no effect;
/// having one keeps routes of one text side by side.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Text {
    length: Reverse<usize>,
    pub bytes: Box<[u8]>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct FieldRank {
    conditions: usize,
    exact: usize,
    patterns: usize,
}

impl Specificity {
    /// `position` is the route's index among its host's.
    pub fn of(matched: &RouteMatch, position: usize, patterns: PatternOrder) -> Self {
        Self {
            path: PathRank::of(&matched.path, patterns),
            methods: method_count(&matched.methods),
            headers: Reverse(FieldRank::of(&matched.headers)),
            query: Reverse(FieldRank::of(&matched.query)),
            position,
        }
    }
}

impl PathRank {
    fn of(path: &PathMatch, patterns: PatternOrder) -> Self {
        match path {
            PathMatch::Exact(text) => Self::Exact(Text::new(text.as_bytes())),
            PathMatch::Regex(_) if patterns == PatternOrder::Listed => Self::Regex(Text::new(b"")),
            PathMatch::Regex(pattern) => Self::Regex(Text::new(&PatternStart::of(pattern).literal)),
            PathMatch::Prefix(text) => Self::Prefix(Text::new(prefix_text(text).as_bytes())),
        }
    }
}

impl Text {
    fn new(bytes: &[u8]) -> Self {
        Self { length: Reverse(bytes.len()), bytes: bytes.into() }
    }
}

impl FieldRank {
    fn of(fields: &[FieldMatch]) -> Self {
        let count = |wanted: fn(&ValueMatch) -> bool| fields.iter().filter(|field| wanted(&field.value)).count();
        Self {
            conditions: fields.len(),
            exact: count(|value| matches!(value, ValueMatch::Exact(_))),
            patterns: count(|value| matches!(value, ValueMatch::Regex(_))),
        }
    }
}

fn method_count(methods: &[Arc<str>]) -> usize {
    if methods.is_empty() {
        return usize::MAX;
    }
    let listed = methods.iter().enumerate().filter(|(at, method)| !methods[..*at].contains(method)).count();
    let head_comes_along = takes_method(methods, "HEAD") && !methods.iter().any(|method| **method == *"HEAD");
    listed + usize::from(head_comes_along)
}
