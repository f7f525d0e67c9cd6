//! `conditions`: requests that are answered for what they are, as data: nginx's `if` with a `return`.
//!
//! ```text
//! request ──► subject ──test──► holds: the answer · does not hold: the next one, and after the last the request goes on
//! ```

use std::sync::Arc;

use serde::Serialize;

use super::{Pattern, Redirect, Respond};

/// In their order; the first that holds answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Conditions(pub Vec<Condition>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Condition {
    pub subject: Subject,
    pub test: Test,
    pub answer: ConditionalAnswer,
}

/// What is looked at; what a request has not is the empty text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// Lowercase.
    Header(Arc<str>),
    Cookie(Arc<str>),
    Query(Arc<str>),
    Method,
    Host,
    Scheme,
    /// Path and query, as they came.
    Uri,
    /// Normalized.
    Path,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Test {
    /// It is neither empty nor `0`.
    Given,
    Is(Arc<str>),
    IsNot(Arc<str>),
    Matches(Pattern),
    MatchesNot(Pattern),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConditionalAnswer {
    Respond(Respond),
    Redirect(Redirect),
}
