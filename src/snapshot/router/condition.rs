//! Whether one route takes a request. `find` and `explain` both ask here, so that they cannot disagree.

use std::sync::Arc;

use crate::model::{FieldMatch, PathMatch, RouteMatch, ValueMatch};
use crate::snapshot::request::{HeaderFields, RequestView};

/// The first condition that a request does not meet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refusal<'r> {
    Path(&'r PathMatch),
    Method(&'r [Arc<str>]),
    Header(&'r FieldMatch),
    Query(&'r FieldMatch),
}

/// None: the route takes the request.
#[inline]
pub(super) fn refusal<'r>(matched: &'r RouteMatch, request: &RequestView<'_>) -> Option<Refusal<'r>> {
    if !takes_path(&matched.path, request.path) {
        return Some(Refusal::Path(&matched.path));
    }
    if !matched.methods.is_empty() && !takes_method(&matched.methods, request.method) {
        return Some(Refusal::Method(&matched.methods));
    }
    let header = matched.headers.iter().find(|field| !takes_header(field, request.headers));
    let query = || matched.query.iter().find(|field| !takes_parameter(field, request));
    header.map(Refusal::Header).or_else(|| query().map(Refusal::Query))
}

fn takes_path(matched: &PathMatch, path: &str) -> bool {
    match matched {
        PathMatch::Exact(text) => **text == *path,
        PathMatch::Prefix(text) => {
            path.strip_prefix(prefix_text(text)).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        PathMatch::Regex(pattern) => pattern.is_match(path),
    }
}

/// `/api/` is the same prefix as `/api`; the root is the empty one.
pub(in crate::snapshot) fn prefix_text(prefix: &str) -> &str {
    prefix.trim_end_matches('/')
}

/// `GET` takes `HEAD` along. Method names are case-sensitive (RFC 9110 §9.1).
pub(super) fn takes_method(methods: &[Arc<str>], method: &str) -> bool {
    methods.iter().any(|taken| **taken == *method || (method == "HEAD" && **taken == *"GET"))
}

/// Whether all of these hold.
pub(in crate::snapshot) fn hold(
    headers: &[FieldMatch],
    cookies: &[FieldMatch],
    query: &[FieldMatch],
    request: &RequestView<'_>,
) -> bool {
    headers.iter().all(|field| takes_header(field, request.headers))
        && cookies.iter().all(|field| takes_value(field, request.cookie(&field.name)))
        && query.iter().all(|field| takes_parameter(field, request))
}

/// Of a field that is sent several times, one value that fits is enough.
fn takes_header(field: &FieldMatch, headers: &dyn HeaderFields) -> bool {
    let any = |fits: &dyn Fn(&[u8]) -> bool| {
        let mut found = false;
        headers.each(&field.name, &mut |value| found |= fits(value));
        found
    };
    match &field.value {
        ValueMatch::Present => headers.first(&field.name).is_some(),
        ValueMatch::Absent => headers.first(&field.name).is_none(),
        ValueMatch::Exact(text) => any(&|value| value == text.as_bytes()),
        ValueMatch::Regex(pattern) => any(&|value| std::str::from_utf8(value).is_ok_and(|v| pattern.is_match(v))),
    }
}

/// The first value counts, as it was sent: not percent-decoded, as in nginx's `$arg_name` (Gateway API: the first).
fn takes_parameter(field: &FieldMatch, request: &RequestView<'_>) -> bool {
    takes_value(field, request.query_parameter(&field.name).map(str::as_bytes))
}

fn takes_value(field: &FieldMatch, sent: Option<&[u8]>) -> bool {
    match &field.value {
        ValueMatch::Present => sent.is_some(),
        ValueMatch::Absent => sent.is_none(),
        ValueMatch::Exact(text) => sent == Some(text.as_bytes()),
        ValueMatch::Regex(pattern) => {
            sent.and_then(|value| std::str::from_utf8(value).ok()).is_some_and(|value| pattern.is_match(value))
        }
    }
}

impl Refusal<'_> {
    pub fn in_words(self, request: &RequestView<'_>) -> String {
        match self {
            Refusal::Path(matched) => path_in_words(matched, request.path),
            Refusal::Method(methods) => format!("method {} is not among {}", request.method, methods.join(", ")),
            Refusal::Header(field) => {
                let sent = request.headers.first(&field.name).map(|_| Sent);
                field_in_words("header", field, sent)
            }
            Refusal::Query(field) => {
                let sent = request.query_parameter(&field.name).map(|_| Sent);
                field_in_words("query parameter", field, sent)
            }
        }
    }
}

fn path_in_words(matched: &PathMatch, path: &str) -> String {
    match matched {
        PathMatch::Exact(text) => format!("the path {path} is not {text}"),
        PathMatch::Prefix(text) => format!("the path {path} is not below {text}"),
        PathMatch::Regex(pattern) => format!("the path {path} does not match {}", pattern.as_str()),
    }
}

struct Sent;

fn field_in_words(kind: &str, field: &FieldMatch, sent: Option<Sent>) -> String {
    let name = &field.name;
    match (&field.value, sent) {
        (ValueMatch::Absent, _) => format!("the {kind} {name} is present"),
        (ValueMatch::Present | ValueMatch::Exact(_) | ValueMatch::Regex(_), None) => {
            format!("the {kind} {name} is absent")
        }
        // Neither value is told: conditions are used as shared secrets, and explanations are shown around.
        (ValueMatch::Exact(_) | ValueMatch::Regex(_), Some(Sent)) => format!("the {kind} {name} has another value"),
        (ValueMatch::Present, Some(Sent)) => format!("the {kind} {name} is present"),
    }
}
