//! What a token says.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// Of a token that was verified.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims(Map<String, Value>);

impl Claims {
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok().map(Self)
    }

    /// `name` is that of a claim, or leads with dots to one that is nested: some names have dots themselves.
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).or_else(|| {
            let mut steps = name.split('.');
            let first = self.0.get(steps.next()?)?;
            steps.try_fold(first, |value, step| value.as_object()?.get(step))
        })
    }

    pub fn subject(&self) -> Option<&str> {
        self.0.get("sub")?.as_str()
    }

    /// As one text: a list with commas, an object as JSON. None where there is no such claim.
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        match self.get(name)? {
            Value::Null => None,
            Value::String(text) => Some(Cow::Borrowed(text)),
            Value::Array(items) => Some(Cow::Owned(items.iter().map(of_one).collect::<Vec<_>>().join(","))),
            other => Some(Cow::Owned(of_one(other))),
        }
    }

    /// Whether the claim is one of these, or has one among its own. Scopes are words of one text (RFC 8693 §4.2).
    pub fn has_one_of(&self, name: &str, wanted: &[impl AsRef<str>]) -> bool {
        let is_wanted = |text: &str| wanted.iter().any(|wanted| wanted.as_ref() == text);
        match self.get(name) {
            None | Some(Value::Null) => false,
            Some(Value::String(text)) if matches!(name, "scope" | "scp") => text.split(' ').any(is_wanted),
            Some(Value::Array(items)) => items.iter().any(|item| is_wanted(&of_one(item))),
            Some(other) => is_wanted(&of_one(other)),
        }
    }

    /// Seconds since 1970; none where there is no such claim.
    pub(super) fn time(&self, name: &str) -> Result<Option<f64>, NotATime> {
        match self.0.get(name) {
            None => Ok(None),
            Some(value) => value.as_f64().filter(|time| time.is_finite()).map(Some).ok_or(NotATime),
        }
    }
}

pub(super) struct NotATime;

fn of_one(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
