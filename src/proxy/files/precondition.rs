//! Preconditions (RFC 9110 §13): whether the client has the file already, or means another one.
//!
//! ```text
//! If-Match, else If-Unmodified-Since ──► 412      If-None-Match, else If-Modified-Since ──► 304
//! ```

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Taken from a request, to be asked elsewhere. Mostly empty.
#[derive(Clone, Debug, Default)]
pub struct Preconditions {
    if_match: Option<HeaderValue>,
    if_none_match: Option<HeaderValue>,
    if_modified_since: Option<SystemTime>,
    if_unmodified_since: Option<SystemTime>,
}

/// How a file stands with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Holds,
    NotModified,
    Failed,
}

impl Preconditions {
    pub fn of(headers: &HeaderMap) -> Self {
        Self {
            if_match: joined(headers, &IF_MATCH),
            if_none_match: joined(headers, &IF_NONE_MATCH),
            if_modified_since: date(headers, &IF_MODIFIED_SINCE),
            if_unmodified_since: date(headers, &IF_UNMODIFIED_SINCE),
        }
    }

    /// In the order of RFC 9110 §13.2.2. `etag` is strong.
    pub fn judge(&self, etag: &HeaderValue, modified: SystemTime) -> Standing {
        let modified = expressible(modified);
        let fails = match (&self.if_match, self.if_unmodified_since) {
            (Some(list), _) => !names(list, etag, Comparison::Strong),
            (None, Some(date)) => modified > date,
            (None, None) => false,
        };
        let is_known = match (&self.if_none_match, self.if_modified_since) {
            (Some(list), _) => names(list, etag, Comparison::Weak),
            (None, Some(date)) => modified <= date,
            (None, None) => false,
        };
        match (fails, is_known) {
            (true, _) => Standing::Failed,
            (false, true) => Standing::NotModified,
            (false, false) => Standing::Holds,
        }
    }
}

/// One list of what may be several fields.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    let rest: Vec<&[u8]> = values.map(HeaderValue::as_bytes).collect();
    if rest.is_empty() {
        return Some(first.clone());
    }
    HeaderValue::from_bytes(&[&[first.as_bytes()], &rest[..]].concat().join(&b", "[..])).ok()
}

/// What is no date is not regarded.
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

/// As a date of HTTP can say it: whole seconds, from 1970 to 9999. Disks may hold others.
pub fn expressible(time: SystemTime) -> SystemTime {
    const LAST: u64 = 253_402_300_799;
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs().min(LAST))
}

#[derive(Clone, Copy, PartialEq)]
enum Comparison {
    /// Weak validators are equal to none.
    Strong,
    /// Whatever is weak about them does not count.
    Weak,
}

/// RFC 9110 §8.8.3.2. An entity-tag may hold commas.
fn names(list: &HeaderValue, etag: &HeaderValue, comparison: Comparison) -> bool {
    let mut rest = list.as_bytes().trim_ascii();
    if rest == b"*" {
        return true;
    }
    while !rest.is_empty() {
        let (is_weak, tag) = match rest {
            [b'W', b'/', tag @ ..] => (true, tag),
            tag => (false, tag),
        };
        let Some(end) = tag.strip_prefix(b"\"").and_then(|tag| tag.iter().position(|byte| *byte == b'"')) else {
            return false;
        };
        let (tag, after) = tag.split_at(end + 2);
        if tag == etag.as_bytes() && (comparison == Comparison::Weak || !is_weak) {
            return true;
        }
        rest = after.trim_ascii_start();
        rest = rest.strip_prefix(b",").unwrap_or(rest).trim_ascii_start();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGED: &str = "Thu, 01 Jan 2026 00:00:00 GMT";
    const BEFORE: &str = "Wed, 31 Dec 2025 23:59:59 GMT";
    const AFTER: &str = "Thu, 01 Jan 2026 00:00:01 GMT";

    fn judge(fields: &[(&'static str, &str)]) -> Standing {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let modified = httpdate::parse_http_date(CHANGED).unwrap() + Duration::from_millis(700);
        Preconditions::of(&headers).judge(&HeaderValue::from_static("\"a,b\""), modified)
    }

    #[test]
    fn tags_count_before_dates_and_failures_before_what_is_known() {
        use Standing::{Failed, Holds, NotModified};
        for (fields, expected) in [
            (&[][..], Holds),
            (&[("if-none-match", "\"a,b\"")], NotModified),
            (&[("if-none-match", "W/\"a,b\"")], NotModified),
            (&[("if-none-match", "\"x\" , W/\"a,b\",\"y\"")], NotModified),
            (&[("if-none-match", "\"x\""), ("if-none-match", "\"a,b\"")], NotModified),
            (&[("if-none-match", "*")], NotModified),
            (&[("if-none-match", "\"a\"")], Holds),
            (&[("if-none-match", "a,b")], Holds),
            (&[("if-none-match", "\"a,b")], Holds),
            (&[("if-modified-since", CHANGED)], NotModified),
            (&[("if-modified-since", AFTER)], NotModified),
            (&[("if-modified-since", BEFORE)], Holds),
            (&[("if-modified-since", "yesterday")], Holds),
            (&[("if-none-match", "\"x\""), ("if-modified-since", AFTER)], Holds),
            (&[("if-none-match", "\"a,b\""), ("if-modified-since", BEFORE)], NotModified),
            (&[("if-match", "\"a,b\"")], Holds),
            (&[("if-match", "*")], Holds),
            (&[("if-match", "W/\"a,b\"")], Failed),
            (&[("if-match", "\"x\"")], Failed),
            (&[("if-unmodified-since", CHANGED)], Holds),
            (&[("if-unmodified-since", BEFORE)], Failed),
            (&[("if-match", "\"a,b\""), ("if-unmodified-since", BEFORE)], Holds),
            (&[("if-match", "\"x\""), ("if-none-match", "\"a,b\"")], Failed),
            (&[("if-match", "*"), ("if-none-match", "\"a,b\"")], NotModified),
        ] {
            assert_eq!(judge(fields), expected, "{fields:?}");
        }
    }
}
