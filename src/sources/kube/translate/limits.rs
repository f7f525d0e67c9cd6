//! `limit-*`: one count for each Ingress, by whole addresses, as ingress-nginx has its zones.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::model::{
    Burst, ConcurrencyLimit, Counted, Delay, FilterKind, Ipv6Prefix, LimitKey, LimitMode, LimitName, LimitScope, Rate,
    RateLimit,
};
use crate::sources::kube::annotations::Policy;
use crate::sources::kube::options::Options;
use crate::sources::kube::state::Ingress;

const BURST_MULTIPLIER: u32 = 5;

pub fn filters(options: &Options, ingress: &Ingress, policy: &Policy) -> Vec<FilterKind> {
    let limits = &policy.limits;
    let counted =
        || Counted { key: vec![LimitKey::ClientIp], ipv6_prefix: Ipv6Prefix::new(128), allow: limits.allow.clone() };
    let name = |what: &str| LimitName::Place(format!("ingress:{}:{what}", ingress.key).into());
    let connections = limits.connections.map(|max| {
        FilterKind::ConcurrencyLimit(ConcurrencyLimit {
            name: name("connections"),
            max,
            counted: counted(),
            status: options.connection_limit_status,
            mode: LimitMode::Enforce,
        })
    });
    let multiplier = limits.burst_multiplier.unwrap_or(BURST_MULTIPLIER);
    let rate = |what: &str, count: NonZeroU32, per: u64| {
        let burst = count.get().saturating_mul(multiplier).min(Burst::MOST);
        FilterKind::RateLimit(RateLimit {
            name: name(what),
            rate: Rate { count, per: Duration::from_secs(per) },
            burst: Burst::new(burst).unwrap_or(Burst::NONE),
            delay: Delay::None,
            scope: LimitScope::Process,
            counted: counted(),
            status: options.limit_status,
            mode: LimitMode::Enforce,
        })
    };
    let per_second = limits.per_second.map(|count| rate("rps", count, 1));
    let per_minute = limits.per_minute.map(|count| rate("rpm", count, 60));
    [connections, per_second, per_minute].into_iter().flatten().collect()
}
