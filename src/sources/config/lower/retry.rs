//! Retries, of an upstream and of a route that wants it otherwise.

use super::Lowering;
use super::process::all;
use crate::defaults;
use crate::model::Retry;
use crate::sources::config::decode::Field;
use crate::sources::config::shapes;

/// What holds where nothing is written.
pub fn standard() -> Retry {
    Retry {
        attempts: defaults::RETRY_ATTEMPTS,
        on: defaults::RETRY_ON.to_vec(),
        timeout: Some(defaults::RETRY_TIMEOUT),
        budget: defaults::RETRY_BUDGET,
        max_body: defaults::RETRY_MAX_BODY,
    }
}

/// Keys that are not written are taken from `otherwise`.
pub fn retry(cx: &Lowering, shape: shapes::Retry, otherwise: Retry) -> Retry {
    if let Field::Given(at, attempts) = &shape.attempts
        && attempts.0.get() > defaults::RETRY_ATTEMPTS_LIMIT
    {
        let message = format!("{} attempts would multiply an overload", attempts.0);
        cx.error_with(at.value(), message, format!("write at most {}", defaults::RETRY_ATTEMPTS_LIMIT));
    }
    if let Field::Given(at, size) = &shape.max_body
        && size.0 > defaults::RETRY_MAX_BODY
    {
        let message = format!("a body of {} cannot be kept for another attempt", size.0);
        cx.error_with(at.value(), message, format!("write at most {}", defaults::RETRY_MAX_BODY));
    }
    Retry {
        attempts: shape.attempts.scalar_or(otherwise.attempts),
        on: match shape.on {
            Field::Absent => otherwise.on,
            written => all(written),
        },
        timeout: shape.timeout.scalar().or(otherwise.timeout),
        budget: shape.budget.scalar_or(otherwise.budget),
        max_body: shape.max_body.scalar_or(otherwise.max_body),
    }
}
