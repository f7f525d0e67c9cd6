//! What only the cache is told.

use std::sync::Arc;
use std::time::Duration;

use super::{quantity, scalar};
use crate::model;

scalar! {
    /// When a stale answer is shown: `error` (no endpoint could be reached, or none answered properly), `timeout`, `updating` (it is
    /// being fetched anew), or a status of the upstream: 403, 404, 429, 500 to 599.
    StaleOn(model::StaleOn), "error, timeout, updating or a status", model::StaleOn::parse,
    { "anyOf": [
        { "enum": ["error", "timeout", "updating", 403, 404, 429] },
        { "type": "integer", "minimum": 500, "maximum": 599 }
    ] }
}

scalar! {
    /// A span of time with its unit, as `5s`, or `off`.
    TimeoutOrOff(Option<Duration>), "a duration, as 5s, or off", timeout_or_off,
    { "anyOf": [{ "const": "off" }, { "type": "string", "pattern": "^([0-9]+(ms|s|m|h|d|w))+$" }] }
}

scalar! {
    /// The name of a parameter of the query, as it is sent.
    QueryName(Arc<str>), "the name of a query parameter", query_name,
    { "type": "string", "pattern": "^[^&=#? ]+$" }
}

fn timeout_or_off(text: &str) -> Result<Option<Duration>, String> {
    match text {
        "off" => Ok(None),
        _ => quantity::timeout(text).map(Some),
    }
}

fn query_name(text: &str) -> Result<Arc<str>, String> {
    match text.is_empty() || text.contains(|c: char| "&=#?".contains(c) || c.is_whitespace() || c.is_control()) {
        true => Err(format!("\"{text}\" is not the name of a query parameter")),
        false => Ok(text.into()),
    }
}
