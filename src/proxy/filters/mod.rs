//! How a chain acts on a request: checks answer, limits count, edits change heads.
//!
//! ```text
//! RequestView ──► checks ──► concurrency limits ──► rate limits ──► Admission { places, delay }
//!                   └────────────┴──────────────────────┴─────────► Verdict
//! ```

mod access;
mod concurrency_limit;
mod headers;
mod https_redirect;
mod rate_limit;
mod words;

use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue};

use crate::snapshot::chain::{Check, FilterChain};
use crate::snapshot::request::RequestView;

pub use concurrency_limit::Places;
pub use headers::apply;
pub use words::{LimitInWords, in_words, limits_in_words};

/// What a check or a limit says to a request it does not let pass.
#[derive(Debug)]
pub enum Verdict {
    Refuse { status: u16, detail: &'static str, fields: Vec<(HeaderName, HeaderValue)> },
    Redirect { status: u16, location: HeaderValue },
}

impl Verdict {
    const fn refuse(status: u16, detail: &'static str) -> Self {
        Verdict::Refuse { status, detail, fields: Vec::new() }
    }
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

/// What a request is let pass with.
#[derive(Debug, Default)]
pub struct Admission {
    /// To be kept until it is over.
    pub places: Places,
    /// To be waited before it goes on.
    pub delay: Duration,
}

/// Asks checks and limits, and counts the request where it is let pass. The name of the first that does not let it, and what
/// that one says.
pub fn admit(
    chain: &FilterChain,
    request: &RequestView<'_>,
    raw_target: &str,
    now: Instant,
) -> Result<Admission, (&'static str, Verdict)> {
    if let Some(refusal) = run(&chain.checks, request, raw_target) {
        return Err(refusal);
    }
    let places =
        concurrency_limit::run(&chain.concurrency_limits, request).map_err(|refusal| (CONCURRENCY_LIMIT, refusal))?;
    let delay = rate_limit::run(&chain.rate_limits, request, now).map_err(|refusal| (RATE_LIMIT, refusal))?;
    Ok(Admission { places, delay })
}

const CONCURRENCY_LIMIT: &str = "concurrency-limit";
const RATE_LIMIT: &str = "rate-limit";
