//! What a path is replaced by: text with captures, and a query where one is written.
//!
//! ```text
//! /index.php?id=$1&v=${version} ──► path [text] · query [text, group 1, text, group "version"]
//! ```
//!
//! `$1` and `${name}`, as nginx's `rewrite` has them; braces end a name, as in header values. A bare `$name` is nginx's for its
//! variables, too, and is refused with what to write.

use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::Pattern;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    text: Arc<str>,
    path: Vec<Piece>,
    query: Option<Vec<Piece>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Text(Arc<str>),
    /// Of the pattern, counted from 1; 0 is the whole match.
    Group(usize),
}

/// What a file cannot mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadReplacement {
    /// The pattern does not have it: a name or a number, and the text that follows a number at once.
    NoGroup { group: String },
    /// `$name`
    Bare { name: String },
    /// A dollar sign before what is no group.
    Dollar,
}

impl Replacement {
    /// Without captures: a dollar sign is itself.
    pub fn literal(text: &str) -> Self {
        let piece = |text: &str| vec![Piece::Text(text.into())];
        match text.split_once('?') {
            Some((path, query)) => Self { text: text.into(), path: piece(path), query: Some(piece(query)) },
            None => Self { text: text.into(), path: piece(text), query: None },
        }
    }

    /// With captures of `pattern`. Everything that is wrong with it is told.
    pub fn parse(text: &str, pattern: &Pattern) -> Result<Self, Vec<BadReplacement>> {
        let (path, query) = match text.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (text, None),
        };
        let mut wrong = Vec::new();
        let mut read = |text| pieces(text, pattern, &mut wrong);
        let replacement = Self { text: text.into(), path: read(path), query: query.map(read) };
        if wrong.is_empty() { Ok(replacement) } else { Err(wrong) }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn path(&self) -> &[Piece] {
        &self.path
    }

    /// Before the client's.
    pub fn query(&self) -> Option<&[Piece]> {
        self.query.as_deref()
    }
}

fn pieces(text: &str, pattern: &Pattern, wrong: &mut Vec<BadReplacement>) -> Vec<Piece> {
    let (mut pieces, mut literal, mut rest) = (Vec::new(), String::new(), text);
    while let Some((before, after)) = rest.split_once('$') {
        literal.push_str(before);
        if let Some(next) = after.strip_prefix('$') {
            literal.push('$');
            rest = next;
            continue;
        }
        let (group, next) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some(braced) => braced,
            None => after.split_at(after.bytes().take_while(u8::is_ascii_digit).count()),
        };
        rest = next;
        match number(pattern, group) {
            Some(number) => {
                if !literal.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut literal).into()));
                }
                pieces.push(Piece::Group(number));
            }
            None if group.is_empty() => wrong.push(bare(after)),
            None => wrong.push(BadReplacement::NoGroup { group: group.into() }),
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal.into()));
    }
    pieces
}

fn number(pattern: &Pattern, group: &str) -> Option<usize> {
    match group.parse::<usize>() {
        Ok(number) => Some(number).filter(|number| *number < pattern.regex().captures_len()),
        Err(_) => pattern.regex().capture_names().position(|name| name == Some(group)),
    }
}

fn bare(after: &str) -> BadReplacement {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    match &after[..after.find(|c| !is_name(c)).unwrap_or(after.len())] {
        "" => BadReplacement::Dollar,
        name => BadReplacement::Bare { name: name.into() },
    }
}

impl Serialize for Replacement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Replacement, Vec<BadReplacement>> {
        Replacement::parse(text, &Pattern::parse("^/(a)/(?<rest>.*)$").unwrap())
    }

    fn text(text: &str) -> Piece {
        Piece::Text(text.into())
    }

    #[test]
    fn groups_are_found_by_number_and_by_name() {
        let read = parse("/$1x/${2}0/${rest}/$$1?of=$0&x").unwrap();
        let path = [text("/"), Piece::Group(1), text("x/"), Piece::Group(2), text("0/"), Piece::Group(2), text("/$1")];
        assert_eq!(read.path(), path);
        assert_eq!(read.query(), Some(&[text("of="), Piece::Group(0), text("&x")][..]));
        assert_eq!(read.as_str(), "/$1x/${2}0/${rest}/$$1?of=$0&x");
        assert_eq!(Replacement::literal("/$1?").query(), Some(&[text("")][..]));
    }

    #[test]
    fn every_mistake_is_told() {
        let group = |group: &str| BadReplacement::NoGroup { group: group.into() };
        let bare = |name: &str| BadReplacement::Bare { name: name.into() };
        assert_eq!(
            parse("/$20/${no}/$rest/$?$uri"),
            Err(vec![group("20"), group("no"), bare("rest"), BadReplacement::Dollar, bare("uri")])
        );
        assert_eq!(parse("/${}/${1"), Err(vec![BadReplacement::Dollar, BadReplacement::Dollar]));
    }
}
