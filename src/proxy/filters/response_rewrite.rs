//! `response-rewrite`: cookies and redirects of an upstream, in the words of who stands before it.
//!
//! ```text
//! Set-Cookie ──; ──► Domain, Path ──► the first part that fits is replaced ──► Set-Cookie        (nginx: proxy_cookie_domain, _path)
//! Location, Refresh ──────────────────────────────────────────────────────────► Location         (nginx: proxy_redirect)
//! ```

use http::header::{HeaderName, LOCATION, REFRESH, SET_COOKIE};
use http::{HeaderMap, HeaderValue};
use pingora::http::ResponseHeader;

use super::headers::{Head, rendered};
use crate::model::{ResponseRewrite, TextRewrite};
use crate::snapshot::chain::Facts;

/// `host`: as the client wrote it. A redirect to a path alone gets it, once it was rewritten.
pub fn rewrite(rewrite: &ResponseRewrite, head: &mut ResponseHeader, facts: &Facts<'_>, host: &str) {
    if rewrite.cookie_domain.is_some() || rewrite.cookie_path.is_some() {
        each(head, SET_COOKIE, |cookie| cookie_of(rewrite, cookie, facts));
    }
    let Some(location) = &rewrite.location else { return };
    each(head, LOCATION, |url| {
        let url = beginning(location, url, facts)?;
        let is_path = url.starts_with('/') && !host.is_empty();
        Some(if is_path { format!("{}://{host}{url}", facts.request.scheme.as_str()) } else { url })
    });
    each(head, REFRESH, |field| {
        let (before, url) = field.split_at(field.to_ascii_lowercase().find("url=")? + "url=".len());
        Some(format!("{before}{}", beginning(location, url, facts)?))
    });
}

/// Every value of the field; None leaves one as it is.
fn each(head: &mut ResponseHeader, name: HeaderName, change: impl Fn(&str) -> Option<String>) {
    let changed = |value: &HeaderValue| {
        let text = value.to_str().ok().and_then(&change)?;
        HeaderValue::try_from(text).ok()
    };
    let values: Vec<_> = values_of(&head.headers, &name).map(|value| (value.clone(), changed(value))).collect();
    if values.iter().all(|(_, changed)| changed.is_none()) {
        return;
    }
    head.remove(&name);
    for (value, changed) in values {
        head.add(&name, changed.unwrap_or(value));
    }
}

fn values_of<'a>(fields: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a HeaderValue> {
    fields.get_all(name).into_iter()
}

fn cookie_of(rewrite: &ResponseRewrite, cookie: &str, facts: &Facts<'_>) -> Option<String> {
    let mut is_changed = false;
    let mut parts: Vec<String> = Vec::new();
    for (at, part) in cookie.split(';').map(str::trim).enumerate() {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let replaced = match (at, name.trim_end().to_ascii_lowercase().as_str()) {
            (0, _) => None,
            (_, "domain") => rewrite.cookie_domain.as_ref().and_then(|rule| domain(rule, value.trim(), facts)),
            (_, "path") => rewrite.cookie_path.as_ref().and_then(|rule| beginning(rule, value.trim(), facts)),
            _ => None,
        };
        is_changed |= replaced.is_some();
        parts.push(replaced.map_or_else(|| part.to_owned(), |value| format!("{}={value}", name.trim_end())));
    }
    is_changed.then(|| parts.join("; "))
}

fn domain(rule: &TextRewrite, value: &str, facts: &Facts<'_>) -> Option<String> {
    let (dot, name) = value.strip_prefix('.').map_or(("", value), |name| (".", name));
    match rule {
        TextRewrite::Text { from, to } if from.eq_ignore_ascii_case(name) => {
            Some(format!("{dot}{}", rendered(to, facts).unwrap_or_default()))
        }
        TextRewrite::Text { .. } => None,
        TextRewrite::Regex { .. } => whole(rule, name).map(|name| format!("{dot}{name}")),
    }
}

fn beginning(rule: &TextRewrite, value: &str, facts: &Facts<'_>) -> Option<String> {
    match rule {
        TextRewrite::Text { from, to } => {
            value.strip_prefix(&**from).map(|rest| format!("{}{rest}", rendered(to, facts).unwrap_or_default()))
        }
        TextRewrite::Regex { .. } => whole(rule, value),
    }
}

fn whole(rule: &TextRewrite, value: &str) -> Option<String> {
    let TextRewrite::Regex { pattern, to } = rule else { return None };
    let mut text = String::new();
    pattern.regex().captures(value)?.expand(to, &mut text);
    Some(text)
}
