//! What is waited for before a snapshot is served: that its upstreams are resolved and checked, as far as they will be soon.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::snapshot::Snapshot;
use crate::snapshot::upstream::Upstream;

/// How long a new configuration may take to find out where its upstreams are and how they do, before requests meet it.
/// Names mostly resolve within milliseconds, and an endpoint that hangs is known after the health check's default timeout.
const SETTLE_LIMIT: Duration = Duration::from_secs(2);
/// The same where there are many authors, for what is new alone: the next change may be somebody else's.
const SETTLE_LIMIT_OF_MANY: Duration = Duration::from_millis(100);
const SETTLE_STEP: Duration = Duration::from_millis(2);

/// Waits until the upstreams are resolved and checked, or until it has taken too long: a request that came before would be
/// refused for want of endpoints, or sent to one that does not work.
///
/// With `previous`, only what it lacks is waited for, and not for long.
pub(super) async fn settle(snapshot: &Snapshot, previous: Option<&Arc<Snapshot>>) {
    let upstreams = lacking(previous, snapshot);
    let settled = async {
        let keys = || snapshot.jwts.key_sets.values();
        while !upstreams.iter().all(|upstream| upstream.is_settled()) || !keys().all(|keys| keys.is_settled()) {
            tokio::time::sleep(SETTLE_STEP).await;
        }
    };
    let limit = if previous.is_some() { SETTLE_LIMIT_OF_MANY } else { SETTLE_LIMIT };
    // What is not settled by then is served as it stands.
    let _ = tokio::time::timeout(limit, settled).await;
}

/// Upstreams whose names the snapshot before did not have.
fn lacking<'s>(previous: Option<&Arc<Snapshot>>, snapshot: &'s Snapshot) -> Vec<&'s Arc<Upstream>> {
    let Some(previous) = previous else { return snapshot.upstreams.values().collect() };
    // Of thousands few are not the very same: only they are looked up.
    let same: HashSet<*const Upstream, foldhash::fast::RandomState> =
        previous.upstreams.values().map(Arc::as_ptr).collect();
    let others = snapshot.upstreams.iter().filter(|(_, upstream)| !same.contains(&Arc::as_ptr(upstream)));
    others.filter(|(name, _)| !previous.upstreams.contains_key(*name)).map(|(_, upstream)| upstream).collect()
}
