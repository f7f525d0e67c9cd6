//! Limits.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};
use std::num::NonZeroU32;

use super::Lowering;
use super::names::check_name;
use super::process::all;
use crate::defaults;
use crate::model::{
    Burst, ConcurrencyLimit, Counted, Delay, Ipv6Prefix, LimitKey, LimitMode, LimitName, LimitScope, OnRedisFailure,
    Rate, RateLimit,
};
use crate::sources::config::decode::{Field, List, OneOrList};
use crate::sources::config::findings::{Findings, Place};
use crate::sources::config::shapes::{self, scalar};
use crate::sources::config::tree::{Document, NodeId};

/// Names limits that have none by where they stand: each one of a level by itself.
pub struct LimitPlaces {
    /// `listener:http`, `host:example.org` or `route:api`.
    level: String,
    rates: usize,
    concurrencies: usize,
}

impl LimitPlaces {
    pub fn of(level: String) -> Self {
        Self { level, rates: 0, concurrencies: 0 }
    }

    /// Where these stand.
    pub fn level(&self) -> &str {
        &self.level
    }

    fn name(level: &str, count: &mut usize) -> LimitName {
        *count += 1;
        match *count {
            1 => LimitName::Place(level.into()),
            number => LimitName::Place(format!("{level}#{number}").into()),
        }
    }
}

/// What limits of one name must have in common, and where it was said first.
#[derive(Default)]
pub struct SharedLimits {
    rates: HashMap<String, SharedRate>,
    concurrencies: HashMap<String, (u32, Vec<LimitKey>, Ipv6Prefix)>,
}

#[derive(Clone)]
struct SharedRate {
    line: u32,
    counts: (Rate, Discriminant<LimitScope>, Vec<LimitKey>, Ipv6Prefix),
}

pub fn rate_limit(cx: &Lowering, at: NodeId, shape: shapes::RateLimit, places: &mut LimitPlaces) -> RateLimit {
    let rate = cx.required(shape.rate, at, "rate", "rate: 30/s");
    check_delay(cx, &shape.burst, &shape.delay);
    let place = LimitPlaces::name(&places.level, &mut places.rates);
    let (named_at, name) = name(cx, "rate limit", shape.name, place);
    let limit = RateLimit {
        name,
        rate: rate.map_or(ANY_RATE, |(_, rate)| rate.0),
        burst: shape.burst.scalar_or(defaults::RATE_LIMIT_BURST),
        delay: shape.delay.scalar_or(defaults::RATE_LIMIT_DELAY),
        scope: scope(cx, shape.scope, shape.on_redis_failure),
        counted: counted(cx, shape.key, shape.ipv6_prefix, shape.allow),
        status: shape.status.scalar_or(defaults::LIMIT_STATUS),
        mode: mode(shape.dry_run),
    };
    if limit.counted.regards_claims() && matches!(limit.scope, LimitScope::Redis { .. }) {
        let help = "write scope: replica-share, or another key";
        cx.error_with(at.value(), "a limit that counts by what tokens say is not counted in Redis", help);
    }
    if let Some(at) = named_at {
        share_rate(cx, at, &limit);
    }
    limit
}

pub fn concurrency_limit(
    cx: &Lowering,
    at: NodeId,
    shape: shapes::ConcurrencyLimit,
    places: &mut LimitPlaces,
) -> ConcurrencyLimit {
    let max = cx.required(shape.max, at, "max", "max: 10");
    let place = LimitPlaces::name(&places.level, &mut places.concurrencies);
    let (named_at, name) = name(cx, "concurrency limit", shape.name, place);
    let limit = ConcurrencyLimit {
        name,
        max: max.map_or(NonZeroU32::MIN, |(_, max)| max.0),
        counted: counted(cx, shape.key, shape.ipv6_prefix, shape.allow),
        status: shape.status.scalar_or(defaults::LIMIT_STATUS),
        mode: mode(shape.dry_run),
    };
    if let Some(at) = named_at {
        share_concurrency(cx, at, &limit);
    }
    limit
}

/// Stands in for a rate that cannot be read.
const ANY_RATE: Rate = Rate { count: NonZeroU32::MIN, per: std::time::Duration::from_secs(1) };

fn scope(cx: &Lowering, written: Field<shapes::LimitScope>, on_failure: Field<shapes::OnRedisFailure>) -> LimitScope {
    if let (Some(place), Some(false)) = (on_failure.key(), is_counted_in_redis(&written)) {
        cx.error_with(place, "this limit does not ask Redis", "write scope: redis, or take it out");
    }
    let on_failure = match on_failure.value() {
        Some(shapes::OnRedisFailure::Allow) => OnRedisFailure::Allow,
        Some(shapes::OnRedisFailure::Refuse) => OnRedisFailure::Refuse,
        Some(shapes::OnRedisFailure::Local) => OnRedisFailure::Local,
        None => defaults::ON_REDIS_FAILURE,
    };
    let needs = |at: NodeId, known: Known, message: &str, help: &str| match known {
        Known::Absent => cx.error_with(at.value(), message, help),
        Known::Written => {}
    };
    match written.given() {
        None => defaults::LIMIT_SCOPE,
        Some((_, shapes::LimitScope::Process)) => LimitScope::Process,
        Some((at, shapes::LimitScope::ReplicaShare)) => {
            let help = "write replicas: { count: 3 } or { dns: NAME } beside \"listeners\"";
            needs(at, cx.counting.replicas, "nothing says how many replicas share the rate", help);
            LimitScope::ReplicaShare
        }
        Some((at, shapes::LimitScope::Redis)) => {
            let help = "write redis: { url: redis://redis:6379 } beside \"listeners\"";
            needs(at, cx.counting.redis, "there is no Redis to count in", help);
            LimitScope::Redis { on_failure }
        }
    }
}

/// None where it cannot be told.
fn is_counted_in_redis(scope: &Field<shapes::LimitScope>) -> Option<bool> {
    match scope {
        Field::Given(_, shapes::LimitScope::Redis) => Some(true),
        Field::Given(..) | Field::Absent => Some(false),
        Field::Wrong(_) => None,
    }
}

/// What the file says of where limits are counted, readable or not.
#[derive(Clone, Copy)]
pub struct Counting {
    pub redis: Known,
    pub replicas: Known,
}

#[derive(Clone, Copy)]
pub enum Known {
    Absent,
    Written,
}

impl Counting {
    pub fn of(findings: &Findings<'_>, file: &shapes::File) -> Self {
        let known = |key: &str, is_absent: bool| {
            if is_absent && !findings.is_misspelled(Document::ROOT, key) { Known::Absent } else { Known::Written }
        };
        Self {
            redis: known("redis", matches!(file.redis, Field::Absent)),
            replicas: known("replicas", matches!(file.replicas, Field::Absent)),
        }
    }
}

fn mode(dry_run: Field<bool>) -> LimitMode {
    match dry_run.value() {
        Some(true) => LimitMode::DryRun,
        Some(false) => LimitMode::Enforce,
        None => defaults::LIMIT_MODE,
    }
}

/// The given name, with where it stands, or else that of the place.
fn name(cx: &Lowering, noun: &str, written: Field<String>, place: LimitName) -> (Option<NodeId>, LimitName) {
    match written.given() {
        Some((at, name)) => {
            check_name(cx, noun, &name, at.value());
            (Some(at), LimitName::Shared(name.into()))
        }
        None => (None, place),
    }
}

fn counted(
    cx: &Lowering,
    key: Field<OneOrList<shapes::LimitKey>>,
    ipv6_prefix: Field<scalar::Ipv6PrefixLength>,
    allow: Field<List<scalar::Network>>,
) -> Counted {
    let key = match key.given() {
        None => vec![defaults::LIMIT_KEY],
        Some((_, OneOrList::One(part))) => vec![key_part(part)],
        Some((at, OneOrList::List(parts))) => {
            if parts.is_empty() {
                let help = "write what is counted together, as client-ip";
                cx.error_with(at.value(), "an empty list tells no requests apart, so that none would be limited", help);
            }
            parts.into_iter().filter_map(Field::value).map(key_part).collect()
        }
    };
    Counted { key, ipv6_prefix: Ipv6Prefix::new(ipv6_prefix.scalar_or(defaults::LIMIT_IPV6_PREFIX)), allow: all(allow) }
}

fn key_part(shape: shapes::LimitKey) -> LimitKey {
    match shape {
        shapes::LimitKey::ClientIp => LimitKey::ClientIp,
        shapes::LimitKey::Host => LimitKey::Host,
        shapes::LimitKey::Path => LimitKey::Path,
        shapes::LimitKey::Header(name) => LimitKey::Header(name.0.to_ascii_lowercase().into()),
        shapes::LimitKey::Cookie(name) => LimitKey::Cookie(name.0),
        shapes::LimitKey::JwtClaim(name) => LimitKey::JwtClaim(name.0),
    }
}

fn check_delay(cx: &Lowering, burst: &Field<scalar::Burst>, delay: &Field<scalar::Delay>) {
    let burst = match burst {
        Field::Given(_, burst) => burst.0,
        Field::Absent => defaults::RATE_LIMIT_BURST,
        Field::Wrong(_) => return,
    };
    if let Field::Given(at, scalar::Delay(Delay::After(free))) = delay
        && free.get() >= burst.get()
    {
        let message = format!("nothing is ever delayed: a burst is {} at most", burst.get());
        cx.warning(at.value(), message, "write less than the burst, or none");
    }
    if let Field::Given(at, scalar::Delay(Delay::All)) = delay
        && burst == Burst::NONE
    {
        cx.warning(at.value(), "nothing is ever delayed: there is no burst", "write burst: 10, or as many as may wait");
    }
}

fn share_rate(cx: &Lowering, at: NodeId, limit: &RateLimit) {
    let counted = &limit.counted;
    let ours = SharedRate {
        line: cx.findings.line(at.value()),
        counts: (limit.rate, discriminant(&limit.scope), counted.key.clone(), counted.ipv6_prefix),
    };
    let mut shared = cx.limits.borrow_mut();
    let first = shared.rates.entry(limit.name.to_string()).or_insert_with(|| ours.clone());
    if first.counts != ours.counts {
        differs(cx, at.value(), &limit.name, first.line, "rate, scope, key and ipv6-prefix");
    }
}

fn share_concurrency(cx: &Lowering, at: NodeId, limit: &ConcurrencyLimit) {
    let counted = &limit.counted;
    let ours = (cx.findings.line(at.value()), counted.key.clone(), counted.ipv6_prefix);
    let mut shared = cx.limits.borrow_mut();
    let first = shared.concurrencies.entry(limit.name.to_string()).or_insert_with(|| ours.clone());
    if (&first.1, first.2) != (&ours.1, ours.2) {
        differs(cx, at.value(), &limit.name, first.0, "key and ipv6-prefix");
    }
}

fn differs(cx: &Lowering, place: Place, name: &LimitName, first: u32, common: &str) {
    let message =
        format!("the limit \"{name}\" at line {first} counts otherwise, so that the two cannot count together");
    cx.error_with(place, message, format!("write the same {common}, or another name"));
}
