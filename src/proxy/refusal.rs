//! A request that is answered with an error, or by a filter, before it could go anywhere.

use std::borrow::Cow;

use http::{HeaderName, HeaderValue};

use super::answer::Answer;
use super::filters::Verdict;
use crate::telemetry::record::{Ended, RequestRecord};

pub struct Refused {
    pub status: u16,
    /// For the log: `request`, or the filter that refused it.
    pub by: &'static str,
    pub detail: Cow<'static, str>,
    pub fields: Vec<(HeaderName, HeaderValue)>,
}

impl Refused {
    pub fn new(status: u16, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, by: "request", detail: detail.into(), fields: Vec::new() }
    }

    /// The page that the client is shown. `accept`: what its Accept says.
    pub fn page(self, request_id: &str, accept: Option<&[u8]>, record: &mut RequestRecord) -> Answer {
        record.ended = Ended::Refused(self.by);
        let mut answer = Answer::error(self.status, self.detail, request_id, accept);
        answer.headers.extend(self.fields);
        answer
    }
}

/// What a filter's verdict comes to: an answer, or a refusal.
pub fn judged(filter: &'static str, verdict: Verdict, record: &mut RequestRecord) -> Result<Answer, Refused> {
    record.ended = Ended::Refused(filter);
    match verdict {
        Verdict::Refuse { status, detail, fields } => {
            Err(Refused { status, by: filter, detail: detail.into(), fields })
        }
        Verdict::Redirect { status, location } => Ok(Answer::redirect(status, location)),
        Verdict::Passed { status, fields, body } => Ok(Answer { status, headers: fields, body, error: None }),
        Verdict::Answer { status, fields, .. } => Ok(Answer { headers: fields, ..Answer::empty(status) }),
    }
}
