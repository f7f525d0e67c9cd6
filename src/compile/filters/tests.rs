use std::num::NonZeroU32;
use std::time::{Duration, SystemTime};

use super::*;
use crate::diagnostics::Origin;
use crate::model::{
    self, AskedWith, AuthRefusal, AuthService, ByteSize, Counted, ForwardCredentials, Ipv6Prefix, JwtAlgorithm,
    JwtKeys, LimitKey, LimitMode, LimitName, SetCookie, TokenPresence, TokenSource, UpstreamName,
};

fn filter(kind: FilterKind) -> Filter {
    Filter { origin: Origin::builtin(), kind }
}

fn limit(size: u64) -> Filter {
    filter(FilterKind::MaxBodySize(ByteSize(size)))
}

fn deny(network: &str) -> Filter {
    filter(FilterKind::Deny(vec![network.parse().unwrap()]))
}

fn at_most(name: &str) -> Filter {
    filter(FilterKind::ConcurrencyLimit(model::ConcurrencyLimit {
        name: LimitName::Place(name.into()),
        max: NonZeroU32::MIN,
        counted: Counted { key: vec![LimitKey::ClientIp], ipv6_prefix: Ipv6Prefix::new(64), allow: Vec::new() },
        status: 429,
        mode: LimitMode::Enforce,
    }))
}

fn chain_of(listener: &[Filter], host: &[Filter], route: &[Filter]) -> FilterChain {
    let metrics = Metrics::new(SystemTime::UNIX_EPOCH);
    let outside = Outside {
        states: &States::default(),
        redis: None,
        metrics: &metrics,
        users: &UserFiles::new(),
        served: &Served::default(),
        upstreams: &Upstreams::new(),
        pages: &PageFiles::new(),
        forward_auths: &ForwardAuths::new(),
        jwts: &Jwts::default(),
        stores: &Stores::default(),
        mirrors: &Mirrors::new(),
    };
    chain(Levels { listener, host, route }, outside)
}

#[test]
fn the_nearest_filter_of_a_kind_stands() {
    let chain = chain_of(&[limit(1)], &[limit(2)], &[limit(3)]);
    assert_eq!(chain.max_body, Some(3));
    assert_eq!(chain.applied.len(), 1);
}

#[test]
fn restrictions_of_access_add_up() {
    let chain = chain_of(&[deny("10.0.0.0/8")], &[limit(2)], &[deny("192.0.2.0/24")]);
    let levels: Vec<_> = chain.applied.iter().map(|filter| (filter.name, filter.level)).collect();
    assert_eq!(levels, [("deny", "route"), ("deny", "listener"), ("max-body-size", "host")]);
    assert_eq!(chain.checks.len(), 2);
}

/// What the model has of it was left out of what is built.
#[test]
fn a_filter_that_could_not_be_built_closes_its_route() {
    let jwt = model::Jwt {
        place: "host:a".into(),
        keys: JwtKeys::File("keys.json".into()),
        algorithms: vec![JwtAlgorithm::ES256],
        issuers: Vec::new(),
        audiences: Vec::new(),
        leeway: Duration::ZERO,
        claims: Vec::new(),
        from: TokenSource::Authorization,
        claims_to_headers: Vec::new(),
        forward: ForwardCredentials::Send,
        presence: TokenPresence::Required,
        realm: "".into(),
    };
    let forward_auth = model::ForwardAuth {
        place: "host:a".into(),
        service: AuthService { upstream: UpstreamName::new("u"), target: "/".into(), host: None },
        method: "GET".into(),
        timeout: Duration::from_secs(1),
        request_headers: AskedWith::All,
        set_headers: Vec::new(),
        response_headers: Vec::new(),
        set_cookie: SetCookie::Never,
        sign_in: None,
        refusal: AuthRefusal::Own,
        failure_status: 500,
        cache: None,
    };
    let filters = [filter(FilterKind::ForwardAuth(forward_auth)), filter(FilterKind::Jwt(jwt))];
    let chain = chain_of(&[], &filters, &[]);
    let closed: Vec<_> = chain.checks.iter().map(|check| format!("{check:?}")).collect();
    assert_eq!(closed, ["Closed(\"jwt\")", "Closed(\"forward-auth\")"]);
    assert!(chain.sign_in.is_none());
}

#[test]
fn limits_that_count_by_claims_wait_for_the_token() {
    let mut by_claim = at_most("b");
    if let FilterKind::ConcurrencyLimit(limit) = &mut by_claim.kind {
        limit.counted.key.push(LimitKey::JwtClaim("sub".into()));
    }
    let chain = chain_of(&[], &[], &[at_most("a"), by_claim]);
    let names = |limits: &[ConcurrencyLimit]| -> Vec<_> {
        limits.iter().map(|limit| limit.definition().name.to_string()).collect()
    };
    assert_eq!(names(&chain.concurrency_limits), ["a"]);
    assert_eq!(names(&chain.sign_in.unwrap().concurrency_limits), ["b"]);
}

#[test]
fn limits_of_the_nearest_level_hold_and_all_of_them() {
    let names = |chain: &FilterChain| -> Vec<_> {
        chain.concurrency_limits.iter().map(|limit| limit.definition().name.to_string()).collect()
    };
    let (listener, host) = ([at_most("a")], [at_most("b"), at_most("c")]);
    assert_eq!(names(&chain_of(&listener, &host, &[deny("10.0.0.0/8")])), ["b", "c"]);
    assert_eq!(names(&chain_of(&listener, &host, &[at_most("d")])), ["d"]);
    assert_eq!(names(&chain_of(&listener, &[], &[])), ["a"]);
}
