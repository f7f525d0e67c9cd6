//! A part of a file (RFC 9110 §14).
//!
//! ```text
//! Range: bytes=0-99 ──(If-Range: is it still the same?)──► 0..100 · the whole · 416
//! ```
//!
//! Several parts at once are answered with the whole, as §14.2 allows: the clients that ask for them (readers of PDF files, mostly)
//! manage, and floods of them are an old attack.

use std::time::SystemTime;

use http::header::{IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue};

use super::precondition::expressible;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Whole,
    /// Not empty; the end does not belong to it.
    Bytes {
        from: u64,
        to: u64,
    },
    Unsatisfiable,
}

/// What a GET asks for of a file with so many bytes.
pub fn range(headers: &HeaderMap, length: u64, etag: &HeaderValue, modified: SystemTime) -> Part {
    let Some(value) = headers.get(RANGE) else { return Part::Whole };
    if headers.get(IF_RANGE).is_some_and(|condition| !is_same(condition, etag, modified)) {
        return Part::Whole;
    }
    match value.as_bytes() {
        [b'b' | b'B', b'y' | b'Y', b't' | b'T', b'e' | b'E', b's' | b'S', b'=', ranges @ ..] if !ranges.is_empty() => {
            part(ranges, length)
        }
        // Another unit: not regarded.
        _ => Part::Whole,
    }
}

/// Compared strongly, dates to the second (RFC 9110 §13.1.5).
fn is_same(condition: &HeaderValue, etag: &HeaderValue, modified: SystemTime) -> bool {
    if condition.as_bytes().ends_with(b"\"") {
        return condition == etag;
    }
    let date = condition.to_str().ok().and_then(|text| httpdate::parse_http_date(text).ok());
    date == Some(expressible(modified))
}

/// What is no range is refused, as in nginx: who asks for a part has no use for the whole.
fn part(ranges: &[u8], length: u64) -> Part {
    let mut found = None;
    for range in ranges.split(|byte| *byte == b',') {
        let Some((from, to)) = bounds(range, length) else { return Part::Unsatisfiable };
        match (from < to, found) {
            (true, Some(_)) => return Part::Whole,
            (true, None) => found = Some((from, to)),
            // Nothing of an empty file is all of it.
            (false, _) if from == 0 => return Part::Whole,
            (false, _) => {}
        }
    }
    found.map_or(Part::Unsatisfiable, |(from, to)| Part::Bytes { from, to })
}

/// `0-99`, `100-` or `-100`. None: it is no range. Beyond the end there is nothing: the bounds are the wrong way round then.
fn bounds(range: &[u8], length: u64) -> Option<(u64, u64)> {
    let dash = range.iter().position(|byte| *byte == b'-')?;
    let (first, last) = (range[..dash].trim_ascii(), range[dash + 1..].trim_ascii());
    match (first, last) {
        (b"", last) => Some((length.saturating_sub(number(last)?), length)),
        (first, b"") => Some((number(first)?, length)),
        (first, last) => Some((number(first)?, number(last)?.saturating_add(1).min(length))),
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_a_part_several_are_the_whole_and_nonsense_is_refused() {
        use Part::{Unsatisfiable, Whole};
        let bytes = |from, to| Part::Bytes { from, to };
        for (range, length, expected) in [
            ("0-99", 1000, bytes(0, 100)),
            ("0-0", 1000, bytes(0, 1)),
            ("999-", 1000, bytes(999, 1000)),
            ("-1", 1000, bytes(999, 1000)),
            ("-5000", 1000, bytes(0, 1000)),
            ("500-5000", 1000, bytes(500, 1000)),
            (" 1 - 2 ", 1000, bytes(1, 3)),
            ("1000-", 1000, Unsatisfiable),
            ("-0", 1000, Unsatisfiable),
            ("5-2", 1000, Unsatisfiable),
            ("", 1000, Unsatisfiable),
            ("-", 1000, Unsatisfiable),
            ("a-b", 1000, Unsatisfiable),
            ("1", 1000, Unsatisfiable),
            ("1-2-3", 1000, Unsatisfiable),
            ("+1-2", 1000, Unsatisfiable),
            ("0-18446744073709551615", 1000, bytes(0, 1000)),
            ("0-99999999999999999999", 1000, Unsatisfiable),
            ("0-1,5-6", 1000, Whole),
            ("0-1, 2000-", 1000, bytes(0, 2)),
            ("2000-,3000-", 1000, Unsatisfiable),
            ("0-1,", 1000, Unsatisfiable),
            ("0-", 0, Whole),
            ("-5", 0, Whole),
            ("1-", 0, Unsatisfiable),
        ] {
            assert_eq!(part(range.as_bytes(), length), expected, "{range} of {length}");
        }
    }

    #[test]
    fn if_range_must_name_the_very_file() {
        let modified = httpdate::parse_http_date("Thu, 01 Jan 2026 00:00:00 GMT").unwrap();
        let ask = |condition: &'static str, unit: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, HeaderValue::from_static(unit));
            headers.insert(IF_RANGE, HeaderValue::from_static(condition));
            range(&headers, 10, &HeaderValue::from_static("\"e\""), modified)
        };
        let part = Part::Bytes { from: 1, to: 3 };
        assert_eq!(ask("\"e\"", "bytes=1-2"), part);
        assert_eq!(ask("\"e\"", "Bytes=1-2"), part);
        assert_eq!(ask("Thu, 01 Jan 2026 00:00:00 GMT", "bytes=1-2"), part);
        for other in ["W/\"e\"", "\"x\"", "Thu, 01 Jan 2026 00:00:01 GMT", "e", ""] {
            assert_eq!(ask(other, "bytes=1-2"), Part::Whole, "{other}");
        }
        assert_eq!(ask("\"e\"", "lines=1-2"), Part::Whole);
    }
}
