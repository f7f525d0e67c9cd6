//! `conditions`: whether one holds, and what is answered then.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::Verdict;
use crate::model::{ConditionalAnswer, Conditions, PathMatch, Redirect, Respond, Subject, Test};
use crate::snapshot::request::RequestView;
use crate::snapshot::rewrite;

/// `raw`: path and query, as they came.
pub fn run(conditions: &Conditions, request: &RequestView<'_>, raw: &str) -> Option<Verdict> {
    let holds = |(subject, test): (&Subject, &Test)| holds(test, &value(subject, request, raw));
    let first = conditions.0.iter().find(|condition| holds((&condition.subject, &condition.test)))?;
    Some(match &first.answer {
        ConditionalAnswer::Respond(respond) => respond_with(respond),
        ConditionalAnswer::Redirect(redirect) => redirect_to(redirect, request, raw),
    })
}

fn holds(test: &Test, value: &str) -> bool {
    match test {
        Test::Given => !matches!(value, "" | "0"),
        Test::Is(text) => **text == *value,
        Test::IsNot(text) => **text != *value,
        Test::Matches(pattern) => pattern.is_match(value),
        Test::MatchesNot(pattern) => !pattern.is_match(value),
    }
}

fn value<'a>(subject: &Subject, request: &RequestView<'a>, raw: &'a str) -> Cow<'a, str> {
    let text = |bytes: Option<&'a [u8]>| String::from_utf8_lossy(bytes.unwrap_or_default());
    match subject {
        Subject::Header(name) => text(request.headers.first(name)),
        Subject::Cookie(name) => request.headers.first("cookie").map_or(Cow::Borrowed(""), |_| {
            Cow::Owned(String::from_utf8_lossy(request.cookie(name).unwrap_or_default()).into_owned())
        }),
        Subject::Query(name) => Cow::Owned(request.query_parameter(name).unwrap_or_default().to_owned()),
        Subject::Method => Cow::Borrowed(request.method),
        Subject::Host => Cow::Borrowed(request.host),
        Subject::Scheme => Cow::Borrowed(request.scheme.as_str()),
        Subject::Uri => Cow::Borrowed(raw),
        Subject::Path => Cow::Borrowed(request.path),
    }
}

fn respond_with(respond: &Respond) -> Verdict {
    if respond.body.is_empty() && respond.status >= 400 {
        return Verdict::refuse(respond.status, "requests of this kind are not served here");
    }
    let field = |(name, value): &(std::sync::Arc<str>, std::sync::Arc<str>)| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?))
    };
    let fields = respond.headers.iter().filter_map(field).collect();
    Verdict::Passed { status: respond.status, fields, body: Bytes::copy_from_slice(respond.body.as_bytes()) }
}

fn redirect_to(redirect: &Redirect, request: &RequestView<'_>, raw: &str) -> Verdict {
    let everywhere = PathMatch::Prefix("/".into());
    let location = rewrite::location(redirect, &everywhere, request, raw).ok();
    match location.and_then(|location| HeaderValue::try_from(location).ok()) {
        Some(location) => Verdict::Redirect { status: redirect.status.code(), location },
        None => Verdict::refuse(400, "the request's URL cannot be written as a header"),
    }
}
