//! Whether an answer is kept, and until when (RFC 9111 §3, §4.2; RFC 5861).
//!
//! ```text
//! X-Accel-Expires ─► s-maxage, max-age ─► Expires ─► by status, as configured     the first that speaks
//! ```

use std::time::{Duration, SystemTime};

use http::header::{AGE, AUTHORIZATION, DATE, ETAG, EXPIRES, LAST_MODIFIED, SET_COOKIE, VARY};
use http::{HeaderMap, HeaderName};
use pingora::http::ResponseHeader;
use pingora_cache::cache_control::{CacheControl, Cacheable, InterpretCacheControl};

use super::CachePolicy;
use crate::model::{StaleOn, UpstreamLifetimes};

/// Of an answer that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    pub fresh_until: SystemTime,
    /// When it came into being, as far as is known.
    pub epoch: SystemTime,
    /// How long after its time it may be shown while it is fetched anew, and while it cannot be.
    pub stale_while_revalidate: Duration,
    pub stale_if_error: Duration,
}

/// What of the request bears on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Anonymously,
    /// With `Authorization`, or by somebody who had to say who he is: only what the answer allows to be shared is kept (RFC 9111 §3.5).
    WithCredentials,
}

impl Asked {
    pub fn by(request: &HeaderMap) -> Self {
        if request.contains_key(AUTHORIZATION) { Asked::WithCredentials } else { Asked::Anonymously }
    }
}

const X_ACCEL_EXPIRES: HeaderName = HeaderName::from_static("x-accel-expires");

impl CachePolicy {
    /// Why it is not kept, for the log.
    pub fn lifetime(&self, answer: &ResponseHeader, asked: Asked, now: SystemTime) -> Result<Lifetime, &'static str> {
        let (status, headers) = (answer.status.as_u16(), &answer.headers);
        if matches!(status, 100..=199 | 206 | 304) {
            return Err("a part of an answer");
        }
        if headers.contains_key(SET_COOKIE) {
            return Err("it sets a cookie");
        }
        if headers
            .get_all(VARY)
            .iter()
            .any(|vary| vary.as_bytes().split(|b| *b == b',').any(|name| name.trim_ascii() == b"*"))
        {
            return Err("it varies by what is not in the request");
        }
        let own = match self.definition.upstream {
            UpstreamLifetimes::Follow => says_itself(headers, asked, now)?,
            UpstreamLifetimes::Ignore => None,
        };
        let configured = || match (asked, self.definition.upstream) {
            // Nobody said that it may be shared.
            (Asked::WithCredentials, UpstreamLifetimes::Follow) => None,
            (Asked::WithCredentials, UpstreamLifetimes::Ignore) | (Asked::Anonymously, _) => {
                self.definition.lifetimes.of(status).map(|time| (time, Duration::ZERO))
            }
        };
        let (time, age) = own.or_else(configured).ok_or("nothing says how long it is good for")?;
        let time = time.min(LONGEST);
        let (while_revalidate, if_error) = self.stale_times(headers);
        let lifetime = Lifetime {
            // Past already where nothing is left.
            fresh_until: if time > age { now + (time - age) } else { now - Duration::from_secs(1) },
            epoch: now.checked_sub(age).unwrap_or(now),
            stale_while_revalidate: while_revalidate,
            stale_if_error: if_error,
        };
        let can_be_validated = headers.contains_key(ETAG) || headers.contains_key(LAST_MODIFIED);
        if lifetime.fresh_until < now && !can_be_validated && (while_revalidate + if_error).is_zero() {
            return Err("it is past its time already, and could not be validated");
        }
        Ok(lifetime)
    }

    fn stale_times(&self, headers: &HeaderMap) -> (Duration, Duration) {
        let definition = &self.definition;
        let configured = |reason: &dyn Fn(&StaleOn) -> bool| match definition.stale_on.iter().any(reason) {
            true => definition.stale_for,
            false => Duration::ZERO,
        };
        let updating = configured(&|reason| *reason == StaleOn::Updating);
        let error = configured(&|reason| *reason != StaleOn::Updating);
        let own = match definition.upstream {
            UpstreamLifetimes::Follow => cache_control(headers),
            UpstreamLifetimes::Ignore => None,
        };
        let Some(own) = own else { return (updating, error) };
        // None of both where it must be validated first.
        (
            own.serve_stale_while_revalidate_duration().unwrap_or(updating),
            own.serve_stale_if_error_duration().unwrap_or(error),
        )
    }
}

/// Whether the answer itself allows to be shown after its time when the upstream fails.
pub fn allows_stale_if_error(headers: &HeaderMap) -> bool {
    cache_control(headers).is_some_and(|control| matches!(control.stale_if_error(), Ok(Some(_))))
}

fn cache_control(headers: &HeaderMap) -> Option<CacheControl> {
    CacheControl::from_headers_named("cache-control", headers)
}

/// As good as for ever, and no moment that a clock does not have.
const LONGEST: Duration = Duration::from_secs(u32::MAX as u64);

/// How long it is good for by its own word, and how old it is; none where it does not say.
fn says_itself(
    headers: &HeaderMap,
    asked: Asked,
    now: SystemTime,
) -> Result<Option<(Duration, Duration)>, &'static str> {
    let text = |name: &HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
    if let Some(accel) = text(&X_ACCEL_EXPIRES).and_then(|text| accel_expires(text, now)) {
        return if accel.is_zero() { Err("X-Accel-Expires says so") } else { Ok(Some((accel, Duration::ZERO))) };
    }
    let control = cache_control(headers);
    if let Some(control) = &control {
        if control.is_cacheable() == Cacheable::No {
            return Err("Cache-Control says so");
        }
        if asked == Asked::WithCredentials && !control.allow_caching_authorized_req() {
            return Err("the request had credentials, and nothing says that the answer may be shared");
        }
    } else if asked == Asked::WithCredentials {
        return Err("the request had credentials, and nothing says that the answer may be shared");
    }
    let age = Duration::from_secs(text(&AGE).and_then(|age| age.parse().ok()).unwrap_or(0));
    if let Some(time) = control.as_ref().and_then(InterpretCacheControl::fresh_duration) {
        return Ok(Some((time, age)));
    }
    let Some(expires) = text(&EXPIRES) else { return Ok(None) };
    // What is no date is past (RFC 9111 §5.3), and so is what has two.
    let date = |text: &str| httpdate::parse_http_date(text).ok();
    let from = text(&DATE).and_then(date).unwrap_or(now);
    let until = if headers.get_all(EXPIRES).iter().count() == 1 { date(expires) } else { None };
    Ok(Some((until.and_then(|until| until.duration_since(from).ok()).unwrap_or_default(), age)))
}

/// Seconds, or a moment as `@1700000000`, as nginx reads it.
fn accel_expires(text: &str, now: SystemTime) -> Option<Duration> {
    match text.strip_prefix('@') {
        Some(moment) => {
            let moment = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(moment.parse().ok()?))?;
            Some(moment.duration_since(now).unwrap_or_default())
        }
        None => text.parse().ok().map(Duration::from_secs),
    }
}

#[cfg(test)]
mod tests;
