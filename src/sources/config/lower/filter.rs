//! Filters.

use std::collections::HashMap;
use std::sync::Arc;

use super::limit::{self, LimitPlaces};
use super::process::all;
use super::{
    Lowering, bandwidth, basic_auth, buffering, cache, cache_headers, compress, cors, error_pages, forward_auth,
    headers, jwt, mirror, redirect, response_rewrite,
};
use crate::defaults;
use crate::model::{
    EditSet, EditedStatuses, Filter, FilterKind, HeaderEdits, HeaderTemplate, Logging, Satisfy, SecurityHeaders,
};
use crate::sources::config::decode::{Field, List, Table};
use crate::sources::config::shapes::{self, StatusesWord, TextOrOff, scalar};
use crate::sources::config::tree::NodeId;

/// One of each kind at most; of limits, one of each name; of mirrors, one to each upstream. `level` is where they stand, as `route:api`.
pub fn filters(cx: &Lowering, written: Field<List<shapes::Filter>>, level: String) -> Vec<Filter> {
    let mut places = LimitPlaces::of(level);
    let mut first_lines: HashMap<String, u32> = HashMap::new();
    let mut filters = Vec::new();
    for (at, shape) in written.value().unwrap_or_default().into_iter().filter_map(Field::given) {
        let kind = kind(cx, at, shape, &mut places);
        let line = cx.findings.line(at.value());
        let what = what_stands_once(&kind);
        if let Some(first) = first_lines.insert(what.clone(), line) {
            let message = format!("{what} is in this list twice; it was first at line {first}");
            cx.error_with(at.value(), message, "make one of them");
        }
        filters.push(Filter { origin: cx.findings.origin(at.value()), kind });
    }
    filters
}

/// A limit that stood twice would count each request twice, and a mirror send it twice.
fn what_stands_once(kind: &FilterKind) -> String {
    match (kind.limit(), kind.mirror()) {
        (Some(limit), _) => format!("\"{}\" with the name \"{}\"", kind.name(), limit.name()),
        (_, Some(mirror)) => format!("\"{}\" to the upstream \"{}\"", kind.name(), mirror.upstream),
        (None, None) => format!("\"{}\"", kind.name()),
    }
}

fn kind(cx: &Lowering, at: NodeId, shape: shapes::Filter, places: &mut LimitPlaces) -> FilterKind {
    match shape {
        shapes::Filter::HttpsRedirect(shape) => FilterKind::HttpsRedirect(redirect::https(shape)),
        shapes::Filter::WwwRedirect(shape) => FilterKind::WwwRedirect(redirect::www(cx, at, shape)),
        shapes::Filter::AppRoot(shape) => FilterKind::AppRoot(redirect::app_root(cx, at, shape)),
        shapes::Filter::TrailingSlash(shape) => FilterKind::TrailingSlash(redirect::trailing_slash(cx, at, shape)),
        shapes::Filter::Allow(list) => {
            if list.is_empty() {
                let help = "write whom, as allow: [10.0.0.0/8], or deny: [0.0.0.0/0, \"::/0\"] for nobody";
                cx.error_with(at.value(), "\"allow\" with an empty list would refuse everyone", help);
            }
            FilterKind::Allow(all(Field::Given(at, list)))
        }
        shapes::Filter::Deny(list) => {
            if list.is_empty() {
                let help = "write whom, as deny: [10.0.0.0/8], or take it out";
                cx.error_with(at.value(), "\"deny\" with an empty list would refuse nobody", help);
            }
            FilterKind::Deny(all(Field::Given(at, list)))
        }
        shapes::Filter::Cors(shape) => FilterKind::Cors(cors::cors(cx, at, shape)),
        shapes::Filter::BasicAuth(shape) => FilterKind::BasicAuth(basic_auth::basic_auth(cx, at, shape)),
        shapes::Filter::Jwt(shape) => FilterKind::Jwt(jwt::jwt(cx, at, *shape, places.level())),
        shapes::Filter::ForwardAuth(shape) => {
            FilterKind::ForwardAuth(forward_auth::forward_auth(cx, at, *shape, places.level()))
        }
        shapes::Filter::Cache(shape) => FilterKind::Cache(cache::cache(cx, at, shape)),
        shapes::Filter::CacheHeaders(list) => FilterKind::CacheHeaders(cache_headers::cache_headers(cx, at, list)),
        shapes::Filter::Compress(shape) => FilterKind::Compress(compress::compress(cx, at, shape)),
        shapes::Filter::RateLimit(shape) => FilterKind::RateLimit(limit::rate_limit(cx, at, shape, places)),
        shapes::Filter::ConcurrencyLimit(shape) => {
            FilterKind::ConcurrencyLimit(limit::concurrency_limit(cx, at, shape, places))
        }
        shapes::Filter::ErrorPages(shape) => FilterKind::ErrorPages(error_pages::error_pages(cx, at, shape)),
        shapes::Filter::Headers(shape) => FilterKind::Headers(HeaderEdits {
            request: edit_set(cx, shape.request.value().unwrap_or_default()),
            statuses: statuses(&shape.response),
            response: edit_set(cx, shape.response.value().unwrap_or_default().into()),
        }),
        shapes::Filter::SecurityHeaders(shape) => FilterKind::SecurityHeaders(security_headers(shape)),
        shapes::Filter::MaxBodySize(size) => FilterKind::MaxBodySize(size.0),
        shapes::Filter::Bandwidth(shape) => FilterKind::Bandwidth(bandwidth::bandwidth(cx, at, shape)),
        shapes::Filter::RequestBuffering(shape) => {
            FilterKind::RequestBuffering(buffering::request_buffering(cx, shape))
        }
        shapes::Filter::Mirror(shape) => FilterKind::Mirror(mirror::mirror(cx, at, shape, places.level())),
        shapes::Filter::Satisfy(shapes::SatisfyWord::All) => FilterKind::Satisfy(Satisfy::All),
        shapes::Filter::Satisfy(shapes::SatisfyWord::Any) => FilterKind::Satisfy(Satisfy::Any),
        shapes::Filter::ResponseRewrite(shape) => {
            FilterKind::ResponseRewrite(response_rewrite::response_rewrite(cx, shape))
        }
        shapes::Filter::AccessLog(shapes::Switch::On) => FilterKind::AccessLog(Logging::On),
        shapes::Filter::AccessLog(shapes::Switch::Off) => FilterKind::AccessLog(Logging::Off),
    }
}

impl From<shapes::ResponseEdits> for shapes::EditSet {
    fn from(edits: shapes::ResponseEdits) -> Self {
        Self { set: edits.set, add: edits.add, append: edits.append, remove: edits.remove }
    }
}

fn statuses(written: &Field<shapes::ResponseEdits>) -> EditedStatuses {
    match written {
        Field::Given(_, shapes::ResponseEdits { statuses: Field::Given(_, word), .. }) => match word {
            StatusesWord::All => EditedStatuses::All,
            StatusesWord::Success => EditedStatuses::Success,
        },
        Field::Given(..) | Field::Wrong(_) | Field::Absent => defaults::EDITED_STATUSES,
    }
}

fn edit_set(cx: &Lowering, shape: shapes::EditSet) -> EditSet {
    EditSet {
        set: headers::fields(cx, shape.set),
        add: headers::fields(cx, shape.add),
        append: appended(cx, shape.append),
        remove: removed(cx, shape.remove),
    }
}

/// What is no list is not one afterwards.
fn appended(cx: &Lowering, written: Field<Table<scalar::Template>>) -> Vec<(Arc<str>, HeaderTemplate)> {
    if let Field::Given(_, Table(entries)) = &written {
        for (name, field) in entries {
            let is_list = !["set-cookie", "cookie"].contains(&&*name.to_ascii_lowercase());
            if let (false, Some(place)) = (is_list, field.key()) {
                let message = format!("\"{name}\" is no list that a comma could divide (RFC 9110 §5.3)");
                cx.error_with(place, message, "write it under add");
            }
        }
    }
    headers::fields(cx, written)
}

fn removed(cx: &Lowering, written: Field<List<scalar::HeaderName>>) -> Vec<Arc<str>> {
    let names = written.value().unwrap_or_default().into_iter().filter_map(Field::given);
    names.filter_map(|(at, name)| headers::checked_name(cx, at.value(), &name.0)).collect()
}

fn security_headers(shape: shapes::SecurityHeaders) -> SecurityHeaders {
    SecurityHeaders {
        hsts: text(shape.hsts, Some(defaults::HSTS)),
        frame_options: text(shape.frame_options, Some(defaults::FRAME_OPTIONS)),
        content_type_options: text(shape.content_type_options, Some(defaults::CONTENT_TYPE_OPTIONS)),
        referrer_policy: text(shape.referrer_policy, Some(defaults::REFERRER_POLICY)),
        permissions_policy: text(shape.permissions_policy, None),
        content_security_policy: text(shape.content_security_policy, None),
    }
}

fn text(written: Field<TextOrOff>, default: Option<&str>) -> Option<Arc<str>> {
    match written.value() {
        Some(TextOrOff::Text(text)) => Some(text.0),
        Some(TextOrOff::Off) => None,
        None => default.map(Into::into),
    }
}
