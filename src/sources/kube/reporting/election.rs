//! One replica of several leads: it holds a Lease (coordination.k8s.io), as client-go's controllers do.
//!
//! ```text
//! nobody's ──create, replace──► ours ──renewed every quarter of its time──► ours
//! another's ──not renewed for its time, by our own clock──► nobody's
//! ```
//!
//! Clocks of machines differ: what counts is for how long *we* have seen no renewal. Of two that write at one time the API server
//! refuses the second.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};

pub struct Election {
    leases: Api<Lease>,
    name: String,
    identity: String,
    ttl: Duration,
    /// The Lease as it was seen last, and since when.
    seen: Option<(LeaseSpec, Instant)>,
    /// When it was last known to be ours.
    held: Option<Instant>,
    has_failed: bool,
}

impl Election {
    pub fn new(client: &Client, namespace: &str, name: &str, identity: &str, ttl: Duration) -> Self {
        Self {
            leases: Api::namespaced(client.clone(), namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
            ttl,
            seen: None,
            held: None,
            has_failed: false,
        }
    }

    /// Until the next attempt.
    pub fn pause(&self) -> Duration {
        self.ttl / 4
    }

    pub fn leads(&self) -> bool {
        // Before another one may take it.
        self.held.is_some_and(|held| held.elapsed() < self.ttl / 2)
    }

    /// Takes the Lease, or renews it. Whether it is ours.
    pub async fn attempt(&mut self) -> bool {
        let led = self.leads();
        let patience = self.pause();
        match tokio::time::timeout(patience, self.take()).await {
            Ok(Ok(taken)) => {
                self.held = taken.then(Instant::now);
                self.has_failed = false;
            }
            Ok(Err(error)) => self.note_failure(&error),
            Err(error) => self.note_failure(&error),
        }
        match (led, self.leads()) {
            (false, true) => tracing::info!(lease = self.name, "this replica leads"),
            (true, false) => tracing::warn!(lease = self.name, "this replica does not lead any more"),
            (true, true) | (false, false) => {}
        }
        self.leads()
    }

    /// Once for each outage.
    fn note_failure(&mut self, error: &dyn std::fmt::Display) {
        if !std::mem::replace(&mut self.has_failed, true) {
            tracing::warn!(lease = self.name, %error, "the lead cannot be taken or kept");
        }
    }

    async fn take(&mut self) -> Result<bool, kube::Error> {
        let Some(lease) = self.leases.get_opt(&self.name).await? else {
            let lease = Lease { metadata: self.metadata(), spec: Some(self.spec(None)) };
            return written(self.leases.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        if !self.may_take(&spec, Instant::now()) {
            return Ok(false);
        }
        let next = Lease { spec: Some(self.spec(Some(&spec))), ..lease };
        written(self.leases.replace(&self.name, &PostParams::default(), &next).await)
    }

    fn may_take(&mut self, spec: &LeaseSpec, now: Instant) -> bool {
        let since = match &self.seen {
            Some((seen, since)) if seen == spec => *since,
            Some(_) | None => {
                self.seen = Some((spec.clone(), now));
                now
            }
        };
        let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let ttl = seconds.map_or(self.ttl, Duration::from_secs);
        match spec.holder_identity.as_deref() {
            None | Some("") => true,
            Some(holder) => holder == self.identity || now.duration_since(since) >= ttl,
        }
    }

    fn spec(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let holder = before.and_then(|spec| spec.holder_identity.as_deref());
        let is_ours = holder == Some(self.identity.as_str());
        let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.ttl.as_secs().max(1)).ok(),
            acquire_time: before.filter(|_| is_ours).and_then(|spec| spec.acquire_time.clone()).or(Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(transitions + i32::from(before.is_some() && !is_ours)),
            ..LeaseSpec::default()
        }
    }

    fn metadata(&self) -> ObjectMeta {
        ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() }
    }

    /// Another one may lead from now on.
    pub async fn resign(&mut self) {
        if self.held.take().is_none() {
            return;
        }
        let resign = async {
            let lease = self.leases.get(&self.name).await?;
            let spec = lease.spec.clone().unwrap_or_default();
            if spec.holder_identity.as_deref() != Some(&self.identity) {
                return Ok(true);
            }
            let spec = LeaseSpec { holder_identity: Some(String::new()), lease_duration_seconds: Some(1), ..spec };
            written(self.leases.replace(&self.name, &PostParams::default(), &Lease { spec: Some(spec), ..lease }).await)
        };
        if let Err(error) = resign.await {
            tracing::warn!(lease = self.name, %error, "the lead cannot be given up; others wait until its time is over");
        }
    }
}

/// 409: somebody else was first.
fn written(answer: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match answer {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
