//! `error-pages`: which of a rule's files is shown.
//!
//! ```text
//! Accept ──► quality, then how closely it is named, then where ──► html · json · text
//! ```

use http::HeaderValue;

use crate::error_pages::Page;
use crate::model::PageFormat;

/// What Accept prefers (RFC 9110 §12.5.1); the first where it prefers none, or takes none of them.
pub fn choose<'p, 'a, P: AsRef<Page>>(pages: &'p [P], accept: impl Iterator<Item = &'a [u8]>) -> Option<&'p Page> {
    let ranges: Vec<Range<'_>> =
        accept.flat_map(|field| field.split(|b| *b == b',')).filter_map(Range::parse).collect();
    let mut best: Option<(Preference, &Page)> = None;
    for page in pages.iter().map(AsRef::as_ref) {
        let preference = preference(&ranges, page.format());
        if best.is_none_or(|(other, _)| preference > other) {
            best = Some((preference, page));
        }
    }
    best.map(|(_, page)| page)
}

pub fn content_type(format: PageFormat) -> HeaderValue {
    HeaderValue::from_static(match format {
        PageFormat::Html => "text/html; charset=utf-8",
        PageFormat::Json => "application/json",
        PageFormat::Text => "text/plain; charset=utf-8",
    })
}

/// In thousandths, then by kind of range, then the earlier.
type Preference = (u16, u8, std::cmp::Reverse<usize>);

fn preference(ranges: &[Range<'_>], format: PageFormat) -> Preference {
    // Its own, and one by which it may be asked for, too.
    let (own, other) = match format {
        PageFormat::Html => ("text/html", Some("application/xhtml+xml")),
        PageFormat::Json => ("application/json", Some("application/problem+json")),
        PageFormat::Text => ("text/plain", None),
    };
    let of_type = |name: &str| {
        let fitting =
            ranges.iter().enumerate().filter_map(|(at, range)| Some((range.closeness(name)?, at, range.quality)));
        // The closest range speaks for a type, whatever the others say.
        let closest = fitting.max_by_key(|(closeness, at, _)| (*closeness, std::cmp::Reverse(*at)));
        closest.map(|(closeness, at, quality)| (quality, closeness, std::cmp::Reverse(at)))
    };
    let named = other.and_then(of_type).filter(|(_, closeness, _)| *closeness == NAMED);
    of_type(own).into_iter().chain(named).max().unwrap_or((0, 0, std::cmp::Reverse(usize::MAX)))
}

/// The closeness of a range without a star.
const NAMED: u8 = 3;

struct Range<'a> {
    name: &'a str,
    quality: u16,
}

impl<'a> Range<'a> {
    fn parse(text: &'a [u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(text).ok()?.split(';').map(str::trim);
        let name = parts.next()?;
        let quality = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        let quality = quality.map_or(1.0, |quality| quality.parse::<f32>().unwrap_or(0.0));
        Some(Self { name, quality: (quality.clamp(0.0, 1.0) * 1000.0) as u16 })
    }

    fn closeness(&self, name: &str) -> Option<u8> {
        let of_kind = |kind: &str| name.split_once('/').is_some_and(|(known, _)| known.eq_ignore_ascii_case(kind));
        match self.name.strip_suffix("/*") {
            None => self.name.eq_ignore_ascii_case(name).then_some(NAMED),
            Some("*") => Some(1),
            Some(kind) => of_kind(kind).then_some(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn chosen(formats: &[PageFormat], accept: &[&str]) -> PageFormat {
        let pages: Vec<_> = formats.iter().map(|format| Arc::new(Page::parse(*format, ""))).collect();
        choose(&pages, accept.iter().map(|field| field.as_bytes())).unwrap().format()
    }

    #[test]
    fn the_format_is_what_accept_prefers() {
        use PageFormat::{Html, Json, Text};
        let all = [Html, Json, Text];
        for (accept, format) in [
            (&[][..], Html),
            (&["*/*"], Html),
            (&["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], Html),
            (&["application/json, text/plain, */*"], Json),
            (&["application/json"], Json),
            (&["text/plain, application/json"], Text),
            (&["text/html;q=0.5", "application/problem+json"], Json),
            (&["text/*;q=0.9, text/html;q=0.1"], Text),
            (&["text/html;q=0, */*"], Json),
            (&["image/png"], Html),
            (&["APPLICATION/JSON;q=0.2"], Json),
        ] {
            assert_eq!(chosen(&all, accept), format, "{accept:?}");
        }
        assert_eq!(chosen(&[Json], &["text/html"]), Json, "a page of another format is better than none");
    }
}
