//! `cors`: preflights are answered, other answers say who may read them.
//!
//! ```text
//! preflight ──► 204 with methods, headers, max-age ─┐
//! other ──► … ──► answer, Weir's own included ──────┴──► allow-origin, credentials, expose-headers, Vary
//! ```
//!
//! The upstream's own fields give way: two voices could only contradict each other, and browsers refuse two values.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
};
use http::{HeaderName, HeaderValue};

use super::Verdict;
use super::headers::{Head, vary_by};
use crate::snapshot::cors::{Cors, Permission};
use crate::snapshot::request::{HeaderFields, RequestView};

/// The answer to a preflight. A refused one is answered, too: without permission, which is a refusal to a browser.
pub fn preflight(cors: &Cors, request: &RequestView<'_>) -> Option<Verdict> {
    if !Cors::is_preflight(request) {
        return None;
    }
    let fields = match cors.permission(request.headers.first("origin")) {
        Permission::Granted(_) => permitted(cors),
        Permission::Refused | Permission::NotAsked => Vec::new(),
    };
    Some(Verdict::Answer { status: 204, fields, detail: "a preflight" })
}

fn permitted(cors: &Cors) -> Vec<(HeaderName, HeaderValue)> {
    let fields = [
        (ACCESS_CONTROL_ALLOW_METHODS, cors.methods.clone()),
        (ACCESS_CONTROL_ALLOW_HEADERS, cors.headers.clone()),
        (ACCESS_CONTROL_MAX_AGE, Some(cors.max_age.clone())),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// Says on an answer who may read it.
pub fn permit(cors: &Cors, head: &mut impl Head, request: &dyn HeaderFields) {
    for name in [ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_EXPOSE_HEADERS] {
        if head.contains(&name) {
            head.remove(&name);
        }
    }
    if cors.varies() {
        vary_by(head, "Origin");
    }
    let Permission::Granted(origin) = cors.permission(request.first("origin")) else { return };
    head.set(&ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if cors.allows_credentials() {
        head.set(&ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
    }
    if let Some(expose) = &cors.expose {
        head.set(&ACCESS_CONTROL_EXPOSE_HEADERS, expose);
    }
}

/// For `explain`.
pub fn in_words(cors: &Cors, request: &RequestView<'_>) -> String {
    let origin = request.headers.first("origin");
    match (cors.permission(origin), origin) {
        (Permission::NotAsked, _) | (Permission::Granted(_), None) => "the request names no origin".into(),
        (Permission::Granted(_), Some(origin)) => {
            format!("{} may read the answer", String::from_utf8_lossy(origin))
        }
        (Permission::Refused, origin) => {
            format!("{} may not read the answer", String::from_utf8_lossy(origin.unwrap_or_default()))
        }
    }
}
