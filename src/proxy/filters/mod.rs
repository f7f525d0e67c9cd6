//! How a chain acts on a request: checks answer, edits change heads.

mod access;
mod headers;
mod https_redirect;

use http::HeaderValue;

use crate::snapshot::chain::{Check, FilterChain};
use crate::snapshot::request::RequestView;

pub use headers::apply;

/// What a check says to a request it does not let pass.
pub enum Verdict {
    Refuse { status: u16, detail: &'static str },
    Redirect { status: u16, location: HeaderValue },
}

/// The first check that does not let the request pass, by its name in the file, and what it says.
pub fn run(checks: &[Check], request: &RequestView<'_>, raw_target: &str) -> Option<(&'static str, Verdict)> {
    checks.iter().find_map(|check| {
        let (name, verdict) = match check {
            Check::Deny(networks) => ("deny", access::deny(networks, request)),
            Check::Allow(networks) => ("allow", access::allow(networks, request)),
            Check::HttpsRedirect(redirect) => ("https-redirect", https_redirect::run(redirect, request, raw_target)),
        };
        verdict.map(|verdict| (name, verdict))
    })
}

/// The answer that the checks give, for `explain`; none where they let the request pass.
pub fn in_words(chain: &FilterChain, request: &RequestView<'_>, raw_target: &str) -> Option<String> {
    let (filter, verdict) = run(&chain.checks, request, raw_target)?;
    Some(match verdict {
        Verdict::Refuse { status, detail } => format!("answered {status} by {filter}: {detail}"),
        Verdict::Redirect { status, location } => {
            format!("redirected with {status} by {filter} to {}", String::from_utf8_lossy(location.as_bytes()))
        }
    })
}
