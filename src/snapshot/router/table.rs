//! The routes of one host, most specific first, and what finds the few that a path could take.
//!
//! ```text
//! "/api/v1/x" ──► exact["/api/v1/x"] ──► regex[each literal beginning] ──► prefix["/api/v1"], prefix["/api"], …
//!                 a hash lookup          lengths from the longest down; only a length that some route has, and for
//!                                        prefixes only at the end of a segment, costs a hash lookup
//! ```
//!
//! Each lookup gives a span of `routes`; spans come in the order of Specificity, so the first route that takes
//! the request is the answer.

use std::collections::HashMap;
use std::ops::Range;

use crate::model::{PatternOrder, RouteMatch};
use crate::snapshot::request::RequestView;

use super::condition::refusal;
use super::specificity::{PathRank, Specificity};

/// Indices into [`RouteTable::routes`].
pub(super) type Span = Range<usize>;

#[derive(Default)]
pub(super) struct RouteTable {
    /// Sorted by Specificity.
    pub routes: Vec<RankedRoute>,
    pub exact: TextIndex,
    pub regex: TextIndex,
    pub prefix: TextIndex,
}

pub(super) struct RankedRoute {
    pub matched: RouteMatch,
    /// Its index as it was given.
    pub position: usize,
}

impl RouteTable {
    pub fn build(routes: &[&RouteMatch], patterns: PatternOrder) -> Self {
        let mut order: Vec<Specificity> =
            routes.iter().enumerate().map(|(position, matched)| Specificity::of(matched, position, patterns)).collect();
        order.sort_unstable();

        let mut table = Self::default();
        for alike in order.chunk_by(|a, b| a.path == b.path) {
            let start = table.routes.len();
            table.routes.extend(
                alike
                    .iter()
                    .map(|rank| RankedRoute { matched: routes[rank.position].clone(), position: rank.position }),
            );
            let span = start..table.routes.len();
            match &alike[0].path {
                PathRank::Exact(text) => table.exact.push(&text.bytes, span),
                PathRank::Regex(text) => table.regex.push(&text.bytes, span),
                PathRank::Prefix(text) => table.prefix.push(&text.bytes, span),
            }
        }
        table
    }

    #[inline]
    pub fn find(&self, request: &RequestView<'_>) -> Option<&RankedRoute> {
        let path = request.path.as_bytes();
        let takes = |route: &&RankedRoute| refusal(&route.matched, request).is_none();
        let first_in = |span: Span| self.routes[span].iter().find(takes);
        self.exact
            .get(path)
            .and_then(first_in)
            .or_else(|| self.regex.beginnings(path).find_map(first_in))
            .or_else(|| self.prefix.ancestors(path).find_map(first_in))
    }
}

/// Spans by text.
#[derive(Default)]
pub(super) struct TextIndex {
    spans: HashMap<Box<[u8]>, Span, foldhash::fast::RandomState>,
    /// The lengths that occur, the longest first.
    lengths: Vec<usize>,
}

impl TextIndex {
    /// Texts come longest first.
    fn push(&mut self, text: &[u8], span: Span) {
        if self.lengths.last() != Some(&text.len()) {
            self.lengths.push(text.len());
        }
        self.spans.insert(text.into(), span);
    }

    pub fn get(&self, text: &[u8]) -> Option<Span> {
        self.spans.get(text).cloned()
    }

    /// The spans of the texts that `path` begins with, the longest text first.
    pub fn beginnings<'i>(&'i self, path: &'i [u8]) -> impl Iterator<Item = Span> + 'i {
        self.lengths.iter().filter_map(move |length| self.get(path.get(..*length)?))
    }

    /// As [`Self::beginnings`], for texts that end where a segment of `path` does.
    pub fn ancestors<'i>(&'i self, path: &'i [u8]) -> impl Iterator<Item = Span> + 'i {
        let ends_segment = move |length: &&usize| match path.get(**length) {
            Some(byte) => *byte == b'/',
            None => **length == path.len(),
        };
        self.lengths.iter().filter(ends_segment).filter_map(move |length| self.get(&path[..*length]))
    }
}
