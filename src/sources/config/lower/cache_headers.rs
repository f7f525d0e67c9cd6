//! `cache-headers`.

use std::sync::Arc;

use super::Lowering;
use crate::defaults;
use crate::model::{CacheEffect, CacheHeaders, CacheRule, Expires, UpstreamCaching};
use crate::sources::config::decode::{Field, List, OneOrList, Scalar};
use crate::sources::config::shapes::{self, TextOrOff};
use crate::sources::config::tree::NodeId;

pub fn cache_headers(cx: &Lowering, at: NodeId, list: List<shapes::CacheRule>) -> CacheHeaders {
    if list.is_empty() {
        let help = "write rules, as cache-headers: [{ path: /assets, cache-control: max-age=3600 }]";
        cx.error_with(at.value(), "\"cache-headers\" with an empty list does nothing", help);
    }
    let mut rules: Vec<CacheRule> = Vec::new();
    let mut for_all = None;
    for (at, shape) in list.into_iter().filter_map(Field::given) {
        if let Some(line) = for_all {
            let message = format!("this rule is never reached: the one at line {line} fits every answer");
            cx.warning(at.value(), message, "put it before that one, or take it out");
        }
        let fits_every = [shape.path.key(), shape.extension.key(), shape.media_type.key()].iter().all(Option::is_none);
        if fits_every && for_all.is_none() && !cx.is_one_misspelled(at, &["path", "extension", "type"]) {
            for_all = Some(cx.findings.line(at.value()));
        }
        rules.extend(rule(cx, at, shape));
    }
    CacheHeaders(rules)
}

fn rule(cx: &Lowering, at: NodeId, shape: shapes::CacheRule) -> Option<CacheRule> {
    let (extensions, types) = (one_or_all(cx, shape.extension), one_or_all(cx, shape.media_type));
    let effect = effect(cx, at, shape.cache_control, shape.expires, shape.keep)?;
    Some(CacheRule { path: shape.path.scalar(), extensions, types, effect })
}

/// None where nothing is said, or cannot be read.
fn effect(
    cx: &Lowering,
    at: NodeId,
    cache_control: Field<TextOrOff>,
    expires: Field<shapes::scalar::Expiry>,
    keep: Field<bool>,
) -> Option<CacheEffect> {
    let upstream = match keep.value() {
        Some(true) => UpstreamCaching::Keep,
        Some(false) => UpstreamCaching::Replace,
        None => defaults::UPSTREAM_CACHING,
    };
    let (is_wrong, expires_key) = (cache_control.is_wrong() || expires.is_wrong(), expires.key());
    let expires = expires.scalar_or(defaults::EXPIRES);
    let cache_control: Arc<str> = match (cache_control.value(), expires) {
        (Some(TextOrOff::Text(text)), _) => text.0,
        (Some(TextOrOff::Off), Expires::Off) => return Some(CacheEffect::Untouched),
        (Some(TextOrOff::Off), Expires::After(_)) => {
            if let Some(place) = expires_key {
                let message = "with \"cache-control: off\" the answer stays as it is, \"Expires\" and all";
                cx.error_with(place, message, "keep one of cache-control: off and expires");
            }
            return None;
        }
        (None, Expires::After(after)) => format!("max-age={}", after.as_secs()).into(),
        (None, Expires::Off) => {
            if !is_wrong && !cx.is_one_misspelled(at, &["cache-control", "expires"]) {
                let help = "write cache-control: max-age=3600, or cache-control: off for answers that stay as they are";
                cx.error_with(at.value(), "this rule does not say what to do", help);
            }
            return None;
        }
    };
    Some(CacheEffect::Set { cache_control, expires, upstream })
}

fn one_or_all<S: Scalar>(cx: &Lowering, written: Field<OneOrList<S>>) -> Vec<S::Value> {
    match written.given() {
        None => Vec::new(),
        Some((_, OneOrList::One(one))) => vec![one.into_value()],
        Some((at, OneOrList::List(list))) => {
            if list.is_empty() {
                cx.error_with(at.value(), "an empty list fits no answer", "write what is meant, or take the key out");
            }
            list.into_iter().filter_map(Field::scalar).collect()
        }
    }
}
