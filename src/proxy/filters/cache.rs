//! `cache` in words, for `explain`. What acts is in the full lane: only it can keep an answer.

use crate::model::format_duration;
use crate::snapshot::cache::CachePolicy;
use crate::snapshot::request::RequestView;

pub fn in_words(policy: &CachePolicy, request: &RequestView<'_>) -> String {
    let (definition, store) = (&policy.definition, policy.store.name());
    if !matches!(request.method, "GET" | "HEAD") {
        return "not asked: answers to GET and HEAD are kept alone; a change that goes well makes what is kept of its URL be fetched anew"
            .into();
    }
    if policy.bypasses(request) {
        return format!("not asked, because the request has what \"bypass\" names; the answer is kept in \"{store}\"");
    }
    if policy.keeps_nothing_of(request) {
        return format!(
            "asked in \"{store}\"; the answer is not kept, because the request has what \"no-store\" names"
        );
    }
    let statuses =
        definition.lifetimes.by_status.iter().map(|(status, time)| format!("{status} {}", format_duration(*time)));
    let any = definition.lifetimes.any.map(|time| format!("any other {}", format_duration(time)));
    let times: Vec<_> = statuses.chain(any).collect();
    match times.is_empty() {
        true => format!("asked in \"{store}\"; answers are kept that say for how long"),
        false => format!("asked in \"{store}\"; answers that do not say themselves are kept for: {}", times.join(", ")),
    }
}
