//! nginx's ways to say a backend's cookies and redirects in other words.
//!
//! ```text
//! "inner.test shop.test" · "~^/app(/.*)$ $1" ──► TextRewrite
//! ```

use super::value::{Read, quoted};
use crate::model::{Pattern, TextRewrite};
use crate::sources::kube::snippet;

/// Two words: what is found, and what stands in its place. None: `off`.
pub fn of_cookies(text: &str) -> Read<Option<TextRewrite>> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    match *words {
        ["off"] => Ok(None),
        [from, to] => pair(from, to, Case::Ignored).map(Some),
        _ => Err(format!("{} is no pair; write what is replaced and what stands in its place", quoted(text))),
    }
}

/// `proxy-redirect-from` and `-to`: None where nothing is replaced.
pub fn of_redirects(from: Option<&str>, to: Option<&str>) -> Read<Option<TextRewrite>> {
    match (from, to) {
        // `default` is about the name of a backend in nginx's own configuration, which no backend knows.
        (None | Some("off" | "default"), _) | (_, None | Some("off")) => Ok(None),
        (Some(from), Some(to)) => pair(from, to, Case::Regarded).map(Some),
    }
}

/// Of a pattern after a single tilde.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Regarded,
    Ignored,
}

fn pair(from: &str, to: &str, case: Case) -> Read<TextRewrite> {
    let Some(pattern) = from.strip_prefix('~') else {
        let from = from.strip_prefix('.').unwrap_or(from);
        let to = if case == Case::Ignored { to.strip_prefix('.').unwrap_or(to) } else { to };
        return Ok(TextRewrite::Text { from: from.into(), to: snippet::template(to)? });
    };
    let (ignored, pattern) = pattern.strip_prefix('*').map_or((case, pattern), |pattern| (Case::Ignored, pattern));
    let source = if ignored == Case::Ignored { format!("(?i){pattern}") } else { pattern.to_owned() };
    let pattern = Pattern::parse(&source).map_err(|_| format!("{} is no pattern that can be read", quoted(pattern)))?;
    Ok(TextRewrite::Regex { to: captures(to, &pattern)?.into(), pattern })
}

/// `$1` becomes `${1}`; other variables cannot stand beside a pattern.
fn captures(text: &str, pattern: &Pattern) -> Read<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let digit = after.chars().next().and_then(|digit| digit.to_digit(10)).map(|digit| digit as usize);
        let Some(digit) = digit else {
            return Err(format!("{} has a variable; beside a pattern there are its captures, $1 to $9", quoted(text)));
        };
        // As in nginx, one that the pattern has not is empty.
        if digit < pattern.regex().captures_len() {
            out.push_str(&format!("${{{digit}}}"));
        }
        rest = &after[1..];
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HeaderTemplate;

    #[test]
    fn pairs_are_texts_or_patterns_and_off_is_none() {
        let text =
            |from: &str, to: &str| TextRewrite::Text { from: from.into(), to: HeaderTemplate::parse(to).unwrap() };
        assert_eq!(of_cookies("off"), Ok(None));
        assert_eq!(of_cookies(".inner.test .shop.test"), Ok(Some(text("inner.test", "shop.test"))));
        assert_eq!(
            of_redirects(Some("http://inner/"), Some("$scheme://$host/")),
            Ok(Some(text("http://inner/", "${scheme}://${host}/")))
        );
        assert_eq!((of_redirects(Some("default"), Some("x")), of_redirects(None, Some("x"))), (Ok(None), Ok(None)));
        let Ok(Some(TextRewrite::Regex { pattern, to })) = of_cookies("~^/app(/.*)$ $1$2") else { panic!("a pattern") };
        assert_eq!((pattern.as_str(), &*to), ("(?i)^/app(/.*)$", "${1}"));
        for wrong in ["", "a", "a b c", "~( x", "~a $host", "a $geo"] {
            assert!(of_cookies(wrong).is_err(), "{wrong}");
        }
    }
}
