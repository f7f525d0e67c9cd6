//! What is changed of a path, for rewrites and redirects alike.

use super::Lowering;
use crate::model::{PathRewrite, Pattern};
use crate::sources::config::decode::Field;
use crate::sources::config::shapes::{self, scalar};
use crate::sources::config::tree::NodeId;

/// The three ways to write it, of which one may be used.
pub struct PathKeys {
    pub path: Field<scalar::SentPath>,
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

pub fn path_rewrite(cx: &Lowering, keys: PathKeys, matched_by: MatchedBy) -> Option<PathRewrite> {
    cx.only_one(&[("path", keys.path.key()), ("prefix", keys.prefix.key()), ("regex", keys.regex.key())]);
    if let Some(place) = keys.prefix.key()
        && matches!(matched_by, MatchedBy::Exact | MatchedBy::Regex)
    {
        let help = "write \"path\" for the whole path, or \"regex\" with a pattern and its replacement";
        cx.error_with(place, "the route matches no prefix that could be replaced", help);
    }
    if let Some(path) = keys.path.scalar() {
        return Some(PathRewrite::Full(path));
    }
    if let Some(prefix) = keys.prefix.scalar() {
        return Some(PathRewrite::Prefix(prefix));
    }
    keys.regex.given().and_then(|(at, shape)| regex_rewrite(cx, at, shape))
}

fn regex_rewrite(cx: &Lowering, at: NodeId, shape: shapes::RegexRewrite) -> Option<PathRewrite> {
    let pattern = cx.required(shape.pattern, at, "pattern", "pattern: ^/old/(.*)");
    let replacement = cx.required(shape.replacement, at, "replacement", "replacement: /new/$1");
    let ((_, pattern), (replacement_at, replacement)) = (pattern?, replacement?);
    for group in groups(&replacement.0) {
        if !has_group(&pattern.0, group) {
            cx.error_with(replacement_at.value(), format!("the pattern has no group \"{group}\""), mend(group));
        }
    }
    Some(PathRewrite::Regex { pattern: pattern.0, replacement: replacement.0 })
}

/// The names and numbers after each `$`, as the `regex` crate reads them: the longest run of letters, digits and
/// underscores, so that `$1_x` asks for a group of that name.
fn groups(replacement: &str) -> Vec<&str> {
    let mut groups = Vec::new();
    let mut rest = replacement;
    while let Some((_, after)) = rest.split_once('$') {
        if let Some(next) = after.strip_prefix('$') {
            rest = next;
            continue;
        }
        let (group, next) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some(braced) => braced,
            None => {
                let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                after.split_at(after.find(|c| !is_name(c)).unwrap_or(after.len()))
            }
        };
        if !group.is_empty() {
            groups.push(group);
        }
        rest = next;
    }
    groups
}

fn has_group(pattern: &Pattern, group: &str) -> bool {
    match group.parse::<usize>() {
        Ok(number) => number < pattern.regex().captures_len(),
        Err(_) => pattern.regex().capture_names().flatten().any(|name| name == group),
    }
}

fn mend(group: &str) -> String {
    let digits = group.len() - group.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    match digits {
        0 => "groups are numbered from 1, or named as in (?<name>…)".into(),
        all if all == group.len() => "groups are counted by their opening parentheses".into(),
        _ => format!("write \"${{{}}}{}\" to end the group's number", &group[..digits], &group[digits..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_as_the_regex_crate_reads_them() {
        assert_eq!(groups("/a/$1/${2}x/$name$$5/$"), ["1", "2", "name"]);
        assert_eq!(groups("$1_x"), ["1_x"]);
    }

    #[test]
    fn a_number_that_runs_into_text_is_mended() {
        assert_eq!(mend("1_x"), "write \"${1}_x\" to end the group's number");
    }
}
