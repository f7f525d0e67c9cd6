//! What the cache has at hand: fresh and in memory, and how its head goes out. The same in both lanes.
//!
//! ```text
//! key ──► Store ──fresh? this variant? no condition?──► Object ──Age, what the cache did──► a head, ready for edits
//! ```

use std::sync::Arc;
use std::time::SystemTime;

use http::header::{AGE, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE};
use http::{HeaderName, HeaderValue};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora_cache::key::HashBinary;

use crate::cache::Object;
use crate::model::StatusFields;
use crate::snapshot::cache::{CachePolicy, variance};
use crate::snapshot::request::HeaderFields;
use crate::telemetry::record::CacheOutcome;

/// None: it is Pingora's to find out what can be sent.
pub fn find(policy: &CachePolicy, key: HashBinary, request: &dyn HeaderFields, now: SystemTime) -> Option<Arc<Object>> {
    if CONDITIONS.iter().any(|name| request.first(name.as_str()).is_some()) {
        return None;
    }
    let object = policy.store.at_hand(u128::from_be_bytes(key)).filter(|object| object.fresh_until >= now)?;
    let is_asked_for = object.variance.is_none()
        || variance(&object.head.headers, request).map(u128::from_be_bytes) == object.variance;
    is_asked_for.then_some(object)
}

/// What asks for a part, or for nothing where nothing has changed.
const CONDITIONS: [HeaderName; 6] = [RANGE, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_MATCH, IF_UNMODIFIED_SINCE, IF_RANGE];

pub fn head(object: &Object, policy: &CachePolicy, now: SystemTime) -> Result<ResponseHeader> {
    let mut head = object.head.clone();
    head.insert_header(AGE, now.duration_since(object.epoch).unwrap_or_default().as_secs())?;
    let left = object.fresh_until.duration_since(now).unwrap_or_default().as_secs();
    tell(&mut head, policy, CacheOutcome::Hit, || format!("weir; hit; ttl={left}"));
    Ok(head)
}

/// Says what the cache did, where the policy wants it said; `words`: as RFC 9211 has it.
pub fn tell(
    response: &mut ResponseHeader,
    policy: &CachePolicy,
    outcome: CacheOutcome,
    words: impl FnOnce() -> String,
) {
    for name in X_ACCEL {
        response.remove_header(&name);
    }
    if policy.definition.status_fields == StatusFields::Omit {
        return;
    }
    // These fail only beyond 32,768 fields.
    let _ = response.insert_header(X_CACHE_STATUS, HeaderValue::from_static(outcome.as_upper_str()));
    if let Ok(words) = HeaderValue::try_from(words()) {
        // Caches behind us have said theirs (RFC 9211 §2).
        let _ = response.append_header(CACHE_STATUS, words);
    }
}

const X_CACHE_STATUS: HeaderName = HeaderName::from_static("x-cache-status");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Meant for us.
const X_ACCEL: [HeaderName; 1] = [HeaderName::from_static("x-accel-expires")];
