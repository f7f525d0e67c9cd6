//! `rate-limit`: how often.
//!
//! ```text
//! all but the last: asked ──► the last: asked and counted ──► the others: counted ──► the longest of their delays
//! ```
//!
//! nginx's order: what one limit refuses is counted by none.

use std::time::{Duration, Instant};

use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue};

use super::Verdict;
use crate::model::{LimitMode, LimitName};
use crate::snapshot::limit::{Counting, RateLimit, Standing};
use crate::snapshot::request::RequestView;

/// draft-ietf-httpapi-ratelimit-headers.
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// How long the request has to wait before it goes on, or why it does not.
pub fn run(limits: &[RateLimit], request: &RequestView<'_>, now: Instant) -> Result<Duration, Verdict> {
    judge(limits, |limit| limit, |limit, counting| limit.ask(request, now, counting))
}

/// As [`run`], of whatever has a limit and can be asked.
pub(super) fn judge<'a, T>(
    items: &'a [T],
    limit_of: impl Fn(&'a T) -> &'a RateLimit,
    ask: impl Fn(&T, Counting) -> Standing,
) -> Result<Duration, Verdict> {
    let Some((last, others)) = items.split_last() else { return Ok(Duration::ZERO) };
    would_pass(others, &limit_of, &ask)?;
    let limit = limit_of(last);
    let mut delay = match (ask(last, Counting::IfItPasses), limit.definition().mode) {
        (Standing::Exceeds { wait, .. }, LimitMode::Enforce) => return Err(refuse(limit, wait)),
        (standing, _) => note(limit, standing),
    };
    for item in others {
        let limit = limit_of(item);
        let counting = match limit.definition().mode {
            LimitMode::Enforce => Counting::Always,
            LimitMode::DryRun => Counting::IfItPasses,
        };
        delay = delay.max(note(limit, ask(item, counting)));
    }
    Ok(delay)
}

/// Whether none of them refuses the request. It is not counted.
pub(super) fn would_pass<'a, T>(
    items: &'a [T],
    limit_of: impl Fn(&'a T) -> &'a RateLimit,
    ask: impl Fn(&T, Counting) -> Standing,
) -> Result<(), Verdict> {
    let enforced = items.iter().filter(|item| limit_of(item).definition().mode == LimitMode::Enforce);
    enforced.into_iter().try_for_each(|item| match ask(item, Counting::Never) {
        Standing::Exceeds { wait, .. } => Err(refuse(limit_of(item), wait)),
        Standing::NotCounted | Standing::Passes { .. } => Ok(()),
    })
}

/// Counts a request that goes on, and says after which delay.
pub(super) fn note(limit: &RateLimit, standing: Standing) -> Duration {
    let (metrics, name) = (&limit.metrics, limit.definition().name.as_str());
    match (standing, limit.definition().mode) {
        (Standing::NotCounted, _) => Duration::ZERO,
        (Standing::Passes { delay: Duration::ZERO, .. }, _) => {
            metrics.passed.increment();
            Duration::ZERO
        }
        (Standing::Passes { delay, .. }, LimitMode::Enforce) => {
            metrics.delayed.increment();
            delay
        }
        // Another request was counted between the two questions: this one has been let pass.
        (Standing::Exceeds { .. }, LimitMode::Enforce) => {
            metrics.passed.increment();
            Duration::ZERO
        }
        (Standing::Passes { excess, .. } | Standing::Exceeds { excess, .. }, LimitMode::DryRun) => {
            metrics.dry_run.increment();
            tracing::debug!(limit = name, excess, "a rate limit would have held this request up");
            Duration::ZERO
        }
    }
}

pub(super) fn refuse(limit: &RateLimit, wait: Duration) -> Verdict {
    limit.metrics.limited.increment();
    let seconds = whole_seconds(wait);
    let fields = [
        (RETRY_AFTER, seconds.to_string()),
        (RATE_LIMIT, format!("\"{}\";r=0;t={seconds}", policy(&limit.definition().name))),
        (RATE_LIMIT_POLICY, policy_of(limit)),
    ];
    Verdict::Refuse {
        status: limit.definition().status,
        detail: "too many requests: try again later",
        fields: fields.into_iter().filter_map(|(name, text)| Some((name, HeaderValue::try_from(text).ok()?))).collect(),
    }
}

/// Where a limit has no name, its place is nobody's business.
fn policy(name: &LimitName) -> &str {
    match name {
        LimitName::Shared(name) => name,
        LimitName::Place(_) => "default",
    }
}

fn policy_of(limit: &RateLimit) -> String {
    let definition = limit.definition();
    format!("\"{}\";q={};w={}", policy(&definition.name), definition.rate.count, definition.rate.per.as_secs())
}

/// Rounded up: who comes back after that long is let pass.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

pub(super) fn terms(limit: &RateLimit) -> String {
    let definition = limit.definition();
    let shared = limit.share().map(|replicas| format!(", shared by {} replicas", replicas.get()));
    let (burst, delay) = (definition.burst.get(), definition.delay);
    format!("{}, burst {burst}, delay {delay}{}", definition.rate, shared.unwrap_or_default())
}

/// For `explain`: as it stands now, without being counted.
pub fn in_words(limit: &RateLimit, request: &RequestView<'_>, now: Instant) -> String {
    let terms = terms(limit);
    let requests = |excess: u32| f64::from(excess) / 1000.0;
    let standing = match limit.ask(request, now, Counting::Never) {
        Standing::NotCounted => "this request is not counted".into(),
        Standing::Passes { excess, delay: Duration::ZERO } => format!("passes, {} above the rate", requests(excess)),
        Standing::Passes { excess, delay } => {
            format!("passes after {}, {} above the rate", crate::model::format_duration(delay), requests(excess))
        }
        Standing::Exceeds { excess, wait } => format!(
            "{} above the rate is too much; the next would pass in {}",
            requests(excess),
            crate::model::format_duration(wait)
        ),
    };
    format!("{terms}: {standing}")
}
