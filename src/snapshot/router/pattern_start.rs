//! What a pattern says about the beginning of the paths it takes.
//!
//! ```text
//! ^/api/v1/(login|out)  ──► begins with "/api/v1/"
//! ^/api/                ──► begins with "/api/", and takes every path that does
//! \.json$               ──► may begin with anything
//! ```
//!
//! Read from the parsed pattern, by a rule that can be told to a user: after `^`, the literal text up to the
//! first choice, class or repetition.

use regex_syntax::hir::{Dot, Hir, HirKind, Look};

use crate::model::Pattern;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PatternStart {
    /// Every path it takes begins with these bytes; empty where the pattern has no `^`.
    pub literal: Vec<u8>,
    pub reach: Reach,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// For certain it takes every path that begins with the literal.
    Every,
    /// It looks at more than the literal, or it cannot be told.
    Some,
}

impl PatternStart {
    pub fn of(pattern: &Pattern) -> Self {
        match regex_syntax::parse(pattern.as_str()) {
            Ok(hir) => Self::of_pieces(&pieces(&hir)),
            // A pattern was compiled with this very syntax; if it could not be read, nothing is known of it.
            Err(_) => Self { literal: Vec::new(), reach: Reach::Some },
        }
    }

    fn of_pieces(mut pieces: &[&Hir]) -> Self {
        let mut anchored = false;
        while let [first, rest @ ..] = pieces
            && *first.kind() == HirKind::Look(Look::Start)
        {
            anchored = true;
            pieces = rest;
        }
        let mut literal = Vec::new();
        while let [first, rest @ ..] = pieces
            && let HirKind::Literal(text) = first.kind()
        {
            literal.extend_from_slice(&text.0);
            pieces = rest;
        }
        // Every path holds a slash, so that an unanchored "/" asks for nothing.
        let asks_for_nothing = anchored || matches!(literal.as_slice(), b"" | b"/");
        let reach = if asks_for_nothing && may_be_anything(pieces) { Reach::Every } else { Reach::Some };
        Self { literal: if anchored { literal } else { Vec::new() }, reach }
    }
}

/// The pattern as a flat sequence, groups opened.
fn pieces(hir: &Hir) -> Vec<&Hir> {
    match hir.kind() {
        HirKind::Concat(parts) => parts.iter().flat_map(pieces).collect(),
        HirKind::Capture(group) => pieces(&group.sub),
        HirKind::Empty => Vec::new(),
        HirKind::Literal(_)
        | HirKind::Class(_)
        | HirKind::Look(_)
        | HirKind::Repetition(_)
        | HirKind::Alternation(_) => vec![hir],
    }
}

/// Whether the rest of a pattern matches whatever follows: each piece may match nothing, and an end is asked
/// for only after `.*`. (Normal paths hold no line feed.)
fn may_be_anything(pieces: &[&Hir]) -> bool {
    let pieces = match pieces {
        [before @ .., last] if *last.kind() == HirKind::Look(Look::End) => match before.last() {
            Some(piece) if is_dot_star(piece) => before,
            Some(_) | None => return false,
        },
        _ => pieces,
    };
    let may_be_empty = |piece: &&Hir| {
        let properties = piece.properties();
        properties.minimum_len() == Some(0) && properties.look_set().is_empty()
    };
    pieces.iter().all(may_be_empty)
}

fn is_dot_star(piece: &Hir) -> bool {
    match piece.kind() {
        HirKind::Repetition(repeated) => {
            let dots = [Hir::dot(Dot::AnyCharExceptLF), Hir::dot(Dot::AnyChar)];
            repeated.min == 0 && repeated.max.is_none() && dots.contains(&repeated.sub)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_literal_beginning_ends_at_the_first_choice() {
        for (source, literal, reach) in [
            ("^/api/v1/auth/(login|register|magic-link)", "/api/v1/auth/", Reach::Some),
            ("^/api/", "/api/", Reach::Every),
            ("^(/api/(v1|v2))/x", "/api/", Reach::Some),
            ("^(?:/a)(/b)c?", "/a/b", Reach::Every),
            (r"^/v\d+/x", "/v", Reach::Some),
            (r"^/a\.b$", "/a.b", Reach::Some),
            ("^/a.*$", "/a", Reach::Every),
            ("^/a(.*)", "/a", Reach::Every),
            ("^/a(/|$)(.*)", "/a", Reach::Some),
            ("^/a.+", "/a", Reach::Some),
            ("^/a[^/]*$", "/a", Reach::Some),
            (r"^/a\b", "/a", Reach::Some),
            ("(?i)^/Api", "/", Reach::Some),
            ("(?m)^/a", "", Reach::Some),
            ("^/(é|è)", "/", Reach::Some),
            ("^/a|^/b", "", Reach::Some),
            ("^", "", Reach::Every),
            ("^/", "/", Reach::Every),
            ("^$", "", Reach::Some),
            ("", "", Reach::Every),
            (".*", "", Reach::Every),
            ("/.*$", "", Reach::Every),
            ("/a", "", Reach::Some),
            (r"\.json$", "", Reach::Some),
        ] {
            let pattern = Pattern::parse(source).unwrap();
            let start = PatternStart::of(&pattern);
            assert_eq!((String::from_utf8_lossy(&start.literal).as_ref(), start.reach), (literal, reach), "{source}");
        }
    }
}
