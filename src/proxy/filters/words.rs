//! What a chain would do with a request, in words, for `explain`. Nothing is counted.

use std::time::Instant;

use super::{
    BASIC_AUTH, CONCURRENCY_LIMIT, FORWARD_AUTH, JWT, RATE_LIMIT, Verdict, basic_auth, cache, cache_headers, compress,
    concurrency_limit, cors, forward_auth, jwt, mirror, rate_limit, run,
};
use crate::model::{LimitMode, LimitName, TokenPresence, format_duration};
use crate::snapshot::chain::FilterChain;
use crate::snapshot::limit::{Counting, RateLimit, SharedRateLimit, Standing};
use crate::snapshot::request::RequestView;

/// What checks and limits do with the request, for `explain`; none where they let it pass at once.
pub fn in_words(chain: &FilterChain, request: &RequestView<'_>, raw_target: &str, now: Instant) -> Option<String> {
    if let Some((filter, verdict)) = run(&chain.checks, request, raw_target) {
        return Some(match verdict {
            Verdict::Refuse { status, detail, .. } | Verdict::Answer { status, detail, .. } => {
                format!("answered {status} by {filter}: {detail}")
            }
            Verdict::Passed { status, .. } => format!("answered {status} by {filter}"),
            Verdict::Redirect { status, location } => {
                format!("redirected with {status} by {filter} to {}", String::from_utf8_lossy(location.as_bytes()))
            }
        });
    }
    let full = chain.concurrency_limits.iter().find(|limit| {
        let definition = limit.definition();
        let is_full = limit.in_flight(request).is_some_and(|count| count >= definition.max.get());
        is_full && definition.mode == LimitMode::Enforce
    });
    if let Some(limit) = full {
        return Some(format!("answered {} by {CONCURRENCY_LIMIT}, as things stand", limit.definition().status));
    }
    rate_in_words(&chain.rate_limits, request, now).or_else(|| {
        let sign_in = chain.sign_in.as_ref()?;
        if let Some(jwt) = &sign_in.jwt
            && sign_in.or_by_address.is_none()
            && jwt.definition().presence == TokenPresence::Required
            && !jwt::has_token(jwt, request)
        {
            return Some(format!("answered 401 by {JWT}: the request has no token"));
        }
        let is_needed = sign_in.or_by_address.is_none();
        let asks = is_needed && sign_in.basic.is_some() && request.headers.first("authorization").is_none();
        asks.then(|| format!("answered 401 by {BASIC_AUTH}: the request has no Authorization"))
    })
}

fn rate_in_words(limits: &[RateLimit], request: &RequestView<'_>, now: Instant) -> Option<String> {
    let enforced = limits.iter().filter(|limit| limit.definition().mode == LimitMode::Enforce);
    enforced.into_iter().find_map(|limit| match limit.ask(request, now, Counting::Never) {
        Standing::NotCounted | Standing::Passes { .. } => None,
        Standing::Exceeds { wait, .. } => Some(format!(
            "answered {} by {RATE_LIMIT}, as things stand; let pass in {}",
            limit.definition().status,
            format_duration(wait)
        )),
    })
}

/// How a request stands with a limit, for `explain`.
pub struct LimitInWords {
    /// `rate-limit` or `concurrency-limit`.
    pub kind: &'static str,
    pub name: String,
    pub standing: String,
}

/// Each limit of the chain in its order. Nothing is counted.
pub fn limits_in_words(chain: &FilterChain, request: &RequestView<'_>, now: Instant) -> Vec<LimitInWords> {
    let concurrency = chain.concurrency_limits.iter().map(|limit| LimitInWords {
        kind: CONCURRENCY_LIMIT,
        name: named(&limit.definition().name, limit.definition().mode),
        standing: concurrency_limit::in_words(limit, request),
    });
    let rate = chain.rate_limits.iter().map(|limit| LimitInWords {
        kind: RATE_LIMIT,
        name: named(&limit.definition().name, limit.definition().mode),
        standing: rate_limit::in_words(limit, request, now),
    });
    let shared = chain.shared_rate_limits.iter().map(|SharedRateLimit { local: limit, .. }| LimitInWords {
        kind: RATE_LIMIT,
        name: named(&limit.definition().name, limit.definition().mode),
        standing: format!("{}: counted in Redis, which is not asked", rate_limit::terms(limit)),
    });
    let sign_in = || chain.sign_in.iter();
    let later = |kind, name: &LimitName, mode| LimitInWords {
        kind,
        name: named(name, mode),
        standing: "counts by what the token says: asked when it was verified".into(),
    };
    let known_concurrency = sign_in()
        .flat_map(|sign_in| &sign_in.concurrency_limits)
        .map(|limit| later(CONCURRENCY_LIMIT, &limit.definition().name, limit.definition().mode));
    let known_rate = sign_in()
        .flat_map(|sign_in| &sign_in.rate_limits)
        .map(|limit| later(RATE_LIMIT, &limit.definition().name, limit.definition().mode));
    concurrency.chain(rate).chain(shared).chain(known_concurrency).chain(known_rate).collect()
}

/// What a filter that lets the request pass makes of it.
pub struct Note {
    pub filter: &'static str,
    pub words: String,
}

/// Of the filters whose part in the answer is not seen from what they are.
pub fn notes_in_words(chain: &FilterChain, request: &RequestView<'_>) -> Vec<Note> {
    let cors = chain.cors.iter().map(|cors| Note { filter: "cors", words: cors::in_words(cors, request) });
    let sign_in = || chain.sign_in.iter();
    let basic = sign_in().filter_map(|sign_in| sign_in.basic.as_ref());
    let basic = basic.map(|_| Note { filter: BASIC_AUTH, words: basic_auth::in_words(request.headers).into() });
    let jwt = sign_in().filter_map(|sign_in| sign_in.jwt.as_ref());
    let jwt = jwt.map(|jwt| Note { filter: JWT, words: jwt::in_words(jwt, request) });
    let forward = sign_in().filter_map(|sign_in| sign_in.forward.as_ref());
    let forward = forward.map(|auth| Note { filter: FORWARD_AUTH, words: forward_auth::in_words(auth, request) });
    let rules = (!chain.cache_rules.is_empty()).then_some(&chain.cache_rules);
    let caching = rules
        .into_iter()
        .map(|rules| Note { filter: "cache-headers", words: cache_headers::in_words(rules, request.path) });
    let cache = chain.cache.iter().map(|policy| Note { filter: "cache", words: cache::in_words(policy, request) });
    let compress = chain.compress.iter();
    let compress = compress.map(|compress| Note { filter: "compress", words: compress::in_words(compress, request) });
    let mirrors = chain.mirrors.iter();
    let mirrors = mirrors.map(|mirror| Note { filter: "mirror", words: mirror::in_words(mirror) });
    cors.chain(jwt).chain(basic).chain(forward).chain(cache).chain(caching).chain(compress).chain(mirrors).collect()
}

fn named(name: &LimitName, mode: LimitMode) -> String {
    match mode {
        LimitMode::Enforce => name.to_string(),
        LimitMode::DryRun => format!("{name}, dry run"),
    }
}
