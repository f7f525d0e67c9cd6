//! What the cache has at hand, sent from the bytes of the request's head.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::header::DATE;
use pingora::protocols::http::date::get_cached_date;
use pingora_cache::key::hash_key;

use super::arrival::Arrival;
use super::client::Client;
use super::head::After;
use super::own::send;
use crate::cache::Object;
use crate::proxy::{Shared, filters, hit};
use crate::snapshot::cache::CachePolicy;
use crate::telemetry::record::{CacheOutcome, Ended};

/// Something that can be sent as it is.
pub struct Kept<'a> {
    policy: &'a CachePolicy,
    object: Arc<Object>,
    now: SystemTime,
}

/// None: the request is the full lane's. Nothing has been counted then.
pub fn find<'a>(arrival: &Arrival<'_>, policy: &'a CachePolicy) -> Option<Kept<'a>> {
    if !arrival.head.takes_what_is_kept() || policy.bypasses(arrival.view) {
        return None;
    }
    let upstream = arrival.forward()?.upstream.definition().name.as_str();
    let (key, now) = (policy.key(upstream, arrival.view, &arrival.target.raw), SystemTime::now());
    let object = hit::find(policy, hash_key(&key), arrival.head, now)?;
    Some(Kept { policy, object, now })
}

impl Kept<'_> {
    /// Each piece may take as long as `patience` to be taken. None: it cannot be sent after all, and nothing has been.
    pub async fn answer(
        self,
        arrival: &Arrival<'_>,
        after: After,
        client: &mut impl Client,
        patience: Duration,
        shared: &Shared,
    ) -> Option<After> {
        let mut record = arrival.record();
        record.cache = Some(CacheOutcome::Hit);
        let mut head = hit::head(&self.object, self.policy, self.now).ok()?;
        filters::edit(&arrival.route.chain, &mut head, &arrival.facts(&record, ""), Some(self.now));
        record.status = head.status.as_u16();
        head.insert_header(DATE, get_cached_date()).ok()?;
        arrival.route.metrics(arrival.arm).begin();
        client.begin_own(head, after);
        let mut body = self.object.body.clone();
        record.bytes_out = body.len() as u64;
        let sent = send(&mut body, client, patience).await;
        if let Err(error) = &sent {
            let is_late = error.kind() == io::ErrorKind::TimedOut;
            record.ended = if is_late { Ended::ClientTimeout } else { Ended::ClientClosed };
            record.bytes_out -= body.len() as u64;
        }
        record.finish(Instant::now());
        arrival.finish(&record, None, shared);
        Some(if sent.is_ok() { after } else { After::Close })
    }
}
