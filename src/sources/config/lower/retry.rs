//! Retries, of an upstream and of a route that wants it otherwise.

use std::num::NonZeroU32;
use std::time::Duration;

use super::Lowering;
use super::process::all;
use crate::defaults;
use crate::model::{ByteSize, Percent, Retry, RetryOn};
use crate::sources::config::decode::Field;
use crate::sources::config::shapes;

/// What was written; none: the key was not.
pub struct Overrides {
    attempts: Option<NonZeroU32>,
    on: Option<Vec<RetryOn>>,
    timeout: Option<Duration>,
    budget: Option<Percent>,
    max_body: Option<ByteSize>,
}

impl Overrides {
    pub fn over(&self, otherwise: Retry) -> Retry {
        Retry {
            attempts: self.attempts.unwrap_or(otherwise.attempts),
            on: self.on.clone().unwrap_or(otherwise.on),
            timeout: self.timeout.or(otherwise.timeout),
            budget: self.budget.unwrap_or(otherwise.budget),
            max_body: self.max_body.unwrap_or(otherwise.max_body),
        }
    }
}

pub fn overrides(cx: &Lowering, shape: shapes::Retry) -> Overrides {
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
    Overrides {
        attempts: shape.attempts.scalar(),
        on: match shape.on {
            Field::Absent => None,
            written => Some(all(written)),
        },
        timeout: shape.timeout.scalar(),
        budget: shape.budget.scalar(),
        max_body: shape.max_body.scalar(),
    }
}
