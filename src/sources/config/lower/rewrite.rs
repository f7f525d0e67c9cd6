//! What is changed of a path, for rewrites and redirects alike.

use super::Lowering;
use crate::defaults;
use crate::model::{BadReplacement, PathMatch, PathRewrite, Pattern, QueryRewrite, Replacement};
use crate::sources::config::decode::Field;
use crate::sources::config::shapes::{self, scalar};
use crate::sources::config::tree::NodeId;

/// The three ways to write it, of which one may be used.
pub struct PathKeys {
    pub path: Field<scalar::SentTarget>,
    pub prefix: Field<scalar::SentPath>,
    pub regex: Field<shapes::RegexRewrite>,
}

/// By what the route matches the path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum MatchedBy {
    Prefix,
    Exact,
    Regex,
    Unknown,
}

/// Which paths the route takes.
#[derive(Clone, Copy)]
pub struct RoutePath<'a> {
    pub by: MatchedBy,
    /// Of a route that is matched by one, where it could be read.
    pub pattern: Option<&'a Pattern>,
}

impl<'a> RoutePath<'a> {
    pub fn of(by: MatchedBy, path: Option<&'a PathMatch>) -> Self {
        let pattern = match path {
            Some(PathMatch::Regex(pattern)) => Some(pattern),
            Some(PathMatch::Exact(_) | PathMatch::Prefix(_)) | None => None,
        };
        Self { by, pattern }
    }
}

pub fn query_rewrite(written: Field<shapes::QueryWord>) -> QueryRewrite {
    match written.value() {
        Some(shapes::QueryWord::Keep) => QueryRewrite::Keep,
        Some(shapes::QueryWord::Drop) => QueryRewrite::Drop,
        None => defaults::QUERY_REWRITE,
    }
}

pub fn path_rewrite(cx: &Lowering, keys: PathKeys, route: RoutePath<'_>) -> Option<PathRewrite> {
    cx.only_one(&[("path", keys.path.key()), ("prefix", keys.prefix.key()), ("regex", keys.regex.key())]);
    if let Some(place) = keys.prefix.key()
        && matches!(route.by, MatchedBy::Exact | MatchedBy::Regex)
    {
        let help = "write \"path\" for the whole path, or \"regex\" with a pattern and its replacement";
        cx.error_with(place, "the route matches no prefix that could be replaced", help);
    }
    if let Some(path) = keys.path.scalar() {
        return Some(PathRewrite::Full(Replacement::literal(&path)));
    }
    if let Some(prefix) = keys.prefix.scalar() {
        return Some(PathRewrite::Prefix(prefix));
    }
    keys.regex.given().and_then(|(at, shape)| regex_rewrite(cx, at, shape, route))
}

fn regex_rewrite(cx: &Lowering, at: NodeId, shape: shapes::RegexRewrite, route: RoutePath<'_>) -> Option<PathRewrite> {
    let pattern = match (&shape.pattern, route.by) {
        // It has been reported if it could not be read.
        (Field::Absent, MatchedBy::Regex | MatchedBy::Unknown) => route.pattern.cloned(),
        _ => cx.required(shape.pattern, at, "pattern", "pattern: ^/old/(.*)").map(|(_, pattern)| pattern.0),
    };
    let replacement = cx.required(shape.replacement, at, "replacement", "replacement: /new/$1");
    let (pattern, (replacement_at, replacement)) = (pattern?, replacement?);
    match Replacement::parse(&replacement.0, &pattern) {
        Ok(replacement) => Some(PathRewrite::Regex { pattern, replacement }),
        Err(wrong) => {
            for wrong in wrong {
                let (message, help) = in_words(&wrong, &pattern);
                cx.error_with(replacement_at.value(), message, help);
            }
            None
        }
    }
}

/// What is wrong, and what to write.
fn in_words(wrong: &BadReplacement, pattern: &Pattern) -> (String, String) {
    match wrong {
        BadReplacement::NoGroup { group } => (format!("the pattern has no group \"{group}\""), mend(group, pattern)),
        BadReplacement::Bare { name } => (format!("\"${name}\" is no capture"), instead_of(name, pattern)),
        BadReplacement::Dollar => ("a \"$\" begins no capture here".into(), CAPTURES.into()),
    }
}

const CAPTURES: &str = "a capture is written \"$1\" or \"${name}\", a dollar sign \"$$\"";

fn mend(group: &str, pattern: &Pattern) -> String {
    let groups = pattern.regex().captures_len();
    let is_number = group.bytes().all(|b| b.is_ascii_digit());
    let shorter = (1..group.len()).rev().filter(|_| is_number).map(|end| group.split_at(end));
    match shorter.into_iter().find(|(number, _)| number.parse::<usize>().is_ok_and(|number| number < groups)) {
        Some((number, text)) => format!("write \"${{{number}}}{text}\" to end the group's number"),
        None if is_number => "groups are counted by their opening parentheses".into(),
        None => "groups are numbered from 1, or named as in (?<name>…)".into(),
    }
}

/// Also for nginx's variables, which look the same.
fn instead_of(name: &str, pattern: &Pattern) -> String {
    match name {
        _ if pattern.regex().capture_names().flatten().any(|group| group == name) => format!("write \"${{{name}}}\""),
        "args" | "is_args" | "query_string" => "the client's query is kept unless query: drop stands beside it".into(),
        "uri" | "request_uri" | "document_uri" => "for the whole path write \"$0\" with the pattern ^.*$".into(),
        "scheme" | "host" | "http_host" | "server_name" => {
            "they stay as they are; a redirect has the keys scheme and host for others".into()
        }
        _ => CAPTURES.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern() -> Pattern {
        Pattern::parse("^/(a)/(?<rest>.*)$").unwrap()
    }

    #[test]
    fn a_number_that_runs_into_digits_is_mended() {
        assert_eq!(mend("20", &pattern()), "write \"${2}0\" to end the group's number");
        assert_eq!(mend("3", &pattern()), "groups are counted by their opening parentheses");
        assert_eq!(mend("no", &pattern()), "groups are numbered from 1, or named as in (?<name>…)");
    }

    #[test]
    fn what_nginx_calls_a_variable_is_told_what_stands_for_it() {
        assert_eq!(instead_of("rest", &pattern()), "write \"${rest}\"");
        assert!(instead_of("args", &pattern()).contains("query: drop"));
        assert!(instead_of("host", &pattern()).contains("scheme and host"));
        assert_eq!(instead_of("x", &pattern()), CAPTURES);
    }
}
