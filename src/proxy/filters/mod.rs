//! How a chain acts on a request: checks answer, limits count, edits change heads.
//!
//! ```text
//! RequestView ──► checks ──► concurrency limits ──► rate limits ──► Admission { places, delay, … } ──► (what does Redis say?)
//!                   │            │                      │                                            ──► (who is it?)
//!                   └────────────┴──────────────────────┴─────────────────────────────────────────────────┴──► Verdict
//! ```

mod access;
mod basic_auth;
mod cache;
mod cache_headers;
mod compress;
mod concurrency_limit;
mod conditions;
mod cors;
mod error_pages;
pub mod forward_auth;
mod headers;
pub mod jwt;
mod mirror;
mod rate_limit;
mod redirect;
mod response_rewrite;
mod shared_rate_limit;
mod words;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::model::EditedStatuses;
use crate::passwords::Checks;
use crate::shared_counts::Links;
use crate::snapshot::basic_auth::BasicAuth;
use crate::snapshot::chain::{Addresses, ByAddress, Check, Facts, FilterChain, SignIn};
use crate::snapshot::request::RequestView;

pub use compress::{Compression, EncodingFailed, Framing, negotiate};
pub use concurrency_limit::Places;
pub use error_pages::{choose, content_type};
pub use headers::{FieldValue, Head, ResponseHead, apply, joined, vary_by};
pub use response_rewrite::rewrite;
pub use shared_rate_limit::Pending;
pub use words::{LimitInWords, Note, in_words, limits_in_words, notes_in_words};

/// Where in a body a piece stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Within,
    End,
}

/// What a check or a limit says to a request it does not let pass.
#[derive(Debug)]
pub enum Verdict {
    Refuse {
        status: u16,
        detail: &'static str,
        fields: Vec<(HeaderName, HeaderValue)>,
    },
    Redirect {
        status: u16,
        location: HeaderValue,
    },
    /// Somebody else's refusal, whole.
    Passed {
        status: u16,
        fields: Vec<(HeaderName, HeaderValue)>,
        body: Bytes,
    },
    /// It wanted no more than this; `detail` is for `explain`.
    Answer {
        status: u16,
        detail: &'static str,
        fields: Vec<(HeaderName, HeaderValue)>,
    },
}

impl Verdict {
    pub const fn refuse(status: u16, detail: &'static str) -> Self {
        Verdict::Refuse { status, detail, fields: Vec::new() }
    }
}

/// The first check that does not let the request pass, by its name in the file, and what it says.
pub fn run(checks: &[Check], request: &RequestView<'_>, raw_target: &str) -> Option<(&'static str, Verdict)> {
    checks.iter().find_map(|check| {
        let (name, verdict) = match check {
            Check::Deny(_) | Check::Allow(_) => return by_list(check, request),
            // Before any redirect, and still not past who may not come in at all.
            Check::Cors(cors) => {
                let answer = cors::preflight(cors, request)?;
                return checks.iter().find_map(|check| by_list(check, request)).or(Some(("cors", answer)));
            }
            Check::Redirect(redirecting) => {
                (redirect::name(redirecting), redirect::run(redirecting, request, raw_target))
            }
            Check::Conditions(all) => ("conditions", conditions::run(all, request, raw_target)),
            Check::Closed(name) => (*name, Some(CLOSED)),
        };
        verdict.map(|verdict| (name, verdict))
    })
}

/// What a list of addresses says to whom it refuses.
fn by_list(check: &Check, request: &RequestView<'_>) -> Option<(&'static str, Verdict)> {
    match check {
        Check::Deny(networks) => access::deny(networks, request).map(|verdict| ("deny", verdict)),
        Check::Allow(networks) => access::allow(networks, request).map(|verdict| ("allow", verdict)),
        Check::Cors(_) | Check::Redirect(_) | Check::Conditions(_) | Check::Closed(_) => None,
    }
}

const CLOSED: Verdict = Verdict::refuse(503, "this is closed until its configuration can be used");

/// The name of what does not let it pass, and what that says.
pub type Refusal = (&'static str, Verdict);

/// What a request is let pass with.
#[derive(Debug, Default)]
pub struct Admission {
    /// To be kept until it is over.
    pub places: Places,
    /// To be waited before it goes on.
    pub delay: Duration,
    /// What Redis is to be asked about, before the delay.
    pub pending: Option<Box<Pending>>,
    /// To be asked who it is, after the delay.
    pub sign_in: Option<Arc<SignIn>>,
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
    let (delay, pending) = rates(chain, request, now).map_err(|refusal| (RATE_LIMIT, refusal))?;
    Ok(Admission { places, delay, pending, sign_in: chain.sign_in.clone() })
}

fn rates(
    chain: &FilterChain,
    request: &RequestView<'_>,
    now: Instant,
) -> Result<(Duration, Option<Box<Pending>>), Verdict> {
    if !chain.shared_rate_limits.is_empty()
        && let Some(pending) = shared_rate_limit::begin(chain, request, now)?
    {
        return Ok((Duration::ZERO, Some(pending)));
    }
    Ok((rate_limit::run(&chain.rate_limits, request, now)?, None))
}

/// What Redis says of a request that was let pass so far: after which delay it goes on, or which filter does not let it.
pub async fn count_shared(pending: &Pending, chain: &FilterChain, links: &Links) -> Result<Duration, Refusal> {
    shared_rate_limit::finish(pending, chain, links).await.map_err(|refusal| (RATE_LIMIT, refusal))
}

/// As [`admit`], for limits that count by what a verified token says: their places, and the delay.
pub fn admit_known(sign_in: &SignIn, request: &RequestView<'_>, now: Instant) -> Result<(Places, Duration), Refusal> {
    let places =
        concurrency_limit::run(&sign_in.concurrency_limits, request).map_err(|refusal| (CONCURRENCY_LIMIT, refusal))?;
    let delay = rate_limit::run(&sign_in.rate_limits, request, now).map_err(|refusal| (RATE_LIMIT, refusal))?;
    Ok((places, delay))
}

/// By name and password; the name of the filter that knows nobody like that, and what it says.
pub async fn basic_auth(
    auth: &BasicAuth,
    passwords: &Checks,
    headers: &HeaderMap,
) -> Result<Arc<str>, (&'static str, Verdict)> {
    basic_auth::run(auth, passwords, headers).await.map_err(|verdict| (BASIC_AUTH, verdict))
}

/// Whether [`edit`] changes anything.
pub fn edits(chain: &FilterChain) -> bool {
    chain.cors.is_some()
        || !chain.cache_rules.is_empty()
        || !chain.response_edits.is_empty()
        || !chain.success_edits.is_empty()
}

/// Edits a head on its way to the client. `kept`: when it came, where clients may be told to keep it.
pub fn edit(chain: &FilterChain, head: &mut impl ResponseHead, facts: &Facts<'_>, kept: Option<SystemTime>) {
    if let Some(cors) = &chain.cors {
        cors::permit(cors, head, facts.request.headers);
    }
    if let Some(now) = kept.filter(|_| !chain.cache_rules.is_empty()) {
        cache_headers::keep(&chain.cache_rules, head, facts.request.path, now);
    }
    apply(&chain.response_edits, head, facts);
    if EditedStatuses::Success.contain(head.status()) {
        apply(&chain.success_edits, head, facts);
    }
}

/// What is said where the address alone would have been enough, and is not.
pub fn by_address(addresses: &Addresses, client: IpAddr) -> Result<ByAddress, Refusal> {
    match addresses.judge(client) {
        ByAddress::Denied => Err((SATISFY, access::REFUSED)),
        known => Ok(known),
    }
}

const CONCURRENCY_LIMIT: &str = "concurrency-limit";
const RATE_LIMIT: &str = "rate-limit";
const BASIC_AUTH: &str = "basic-auth";
pub const SATISFY: &str = "satisfy";
pub const FORWARD_AUTH: &str = "forward-auth";
pub const JWT: &str = "jwt";
