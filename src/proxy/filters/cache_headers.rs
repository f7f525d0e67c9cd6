//! `cache-headers`: how long an answer may be kept.
//!
//! ```text
//! head of the answer ──status is one that is kept?──► the first rule that fits ──► Cache-Control, Expires
//! ```

use std::time::{Duration, SystemTime};

use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, EXPIRES};

use super::headers::ResponseHead;
use crate::model::{CacheEffect, Expires, UpstreamCaching};
use crate::snapshot::cache_headers::{CacheRule, Effect};

/// What may be kept of itself, and what only redirects: an error that is kept would outlive its cause.
const STATUSES: [u16; 9] = [200, 203, 204, 206, 301, 302, 304, 307, 308];

pub fn keep(rules: &[CacheRule], head: &mut impl ResponseHead, path: &str, now: SystemTime) {
    if !STATUSES.contains(&head.status()) {
        return;
    }
    let fits = |rule: &&CacheRule| rule.fits_path(path) && rule.fits_type(head.first(CONTENT_TYPE.as_str()));
    let Some(rule) = rules.iter().find(fits) else { return };
    let Effect::Set { cache_control, expires, upstream } = &rule.effect else { return };
    let has_own = head.contains(&CACHE_CONTROL) || head.contains(&EXPIRES);
    if has_own && *upstream == UpstreamCaching::Keep {
        return;
    }
    head.set(&CACHE_CONTROL, cache_control);
    match expires {
        Expires::After(after) => head.set(&EXPIRES, date(now, *after)),
        Expires::Off if has_own => head.remove(&EXPIRES),
        Expires::Off => {}
    }
}

/// As far as dates can be written.
fn date(now: SystemTime, after: Duration) -> HeaderValue {
    let then = now.checked_add(after).unwrap_or(now);
    HeaderValue::try_from(httpdate::fmt_http_date(then)).unwrap_or(HeaderValue::from_static("0"))
}

/// For `explain`: what is known before there is an answer.
pub fn in_words(rules: &[CacheRule], path: &str) -> String {
    let mut words = Vec::new();
    for rule in rules.iter().filter(|rule| rule.fits_path(path)) {
        let effect = match &rule.definition().effect {
            CacheEffect::Untouched => "untouched",
            CacheEffect::Set { cache_control, .. } => cache_control,
        };
        let types: Vec<_> = rule.definition().types.iter().map(ToString::to_string).collect();
        if types.is_empty() {
            words.push(effect.to_owned());
            return words.join("; else ");
        }
        words.push(format!("answers of {}: {effect}", types.join(", ")));
    }
    words.push("untouched".into());
    words.join("; else ")
}
