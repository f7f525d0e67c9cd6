//! What filters cost a request: checks and limits that let it pass, edits on both heads.
//!
//!   cargo bench --bench filters

use std::hint::black_box;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use pingora::http::ResponseHeader;
use weir::model::{
    self, Burst, Counted, Delay, HeaderTemplate, HttpsRedirect, Ipv6Prefix, LimitKey, LimitMode, LimitName, Rate,
    RedirectStatus, Scheme,
};
use weir::proxy::filters;
use weir::snapshot::chain::{Check, Edit, EditValue, Facts, FilterChain};
use weir::snapshot::limit::{ConcurrencyLimit, RateLimit, States};
use weir::snapshot::redirect::Redirecting;
use weir::snapshot::request::RequestView;

fn view(headers: &HeaderMap) -> RequestView<'_> {
    RequestView {
        method: "GET",
        path: "/api/users",
        query: None,
        host: "example.test",
        port: None,
        headers,
        client: IpAddr::from([203, 0, 113, 7]),
        scheme: Scheme::Https,
    }
}

fn networks(count: u8) -> Vec<IpNet> {
    (0..count).map(|n| format!("10.{n}.0.0/16").parse().expect("a network")).collect()
}

fn fixed(name: &'static str, value: &'static str) -> Edit {
    Edit::Set(HeaderName::from_static(name), EditValue::Static(HeaderValue::from_static(value)))
}

fn checks(c: &mut Criterion) {
    let headers = HeaderMap::new();
    let request = view(&headers);
    for count in [1, 10, 100] {
        let deny = [Check::Deny(networks(count))];
        c.bench_function(&format!("deny/{count} networks"), |b| {
            b.iter(|| filters::run(black_box(&deny), &request, "/api/users").is_none());
        });
    }
    let https = HttpsRedirect { status: RedirectStatus::PermanentRedirect, port: 443, slash: Default::default() };
    let redirect = [Check::Redirect(Redirecting::Https(https))];
    c.bench_function("https-redirect/not needed", |b| {
        b.iter(|| filters::run(black_box(&redirect), &request, "/api/users").is_none());
    });
    c.bench_function("no checks", |b| b.iter(|| filters::run(black_box(&[]), &request, "/").is_none()));
}

fn counted(key: Vec<LimitKey>) -> Counted {
    Counted { key, ipv6_prefix: Ipv6Prefix::new(64), allow: Vec::new() }
}

fn rate_limit(rate: &str, key: Vec<LimitKey>) -> RateLimit {
    let definition = model::RateLimit {
        name: LimitName::Shared("bench".into()),
        rate: Rate::parse(rate).expect("a rate"),
        burst: Burst::new(Burst::MOST).expect("a burst"),
        delay: Delay::None,
        scope: model::LimitScope::Process,
        counted: counted(key),
        status: 429,
        mode: LimitMode::Enforce,
    };
    let state = States::default().rate(&definition);
    RateLimit::new(definition, state, Arc::default())
}

fn concurrency_limit() -> ConcurrencyLimit {
    let definition = model::ConcurrencyLimit {
        name: LimitName::Shared("bench".into()),
        max: NonZeroU32::MAX,
        counted: counted(vec![LimitKey::ClientIp]),
        status: 429,
        mode: LimitMode::Enforce,
    };
    let state = States::default().concurrency(&definition);
    ConcurrencyLimit::new(definition, state, Arc::default())
}

fn limits(c: &mut Criterion) {
    let mut headers = HeaderMap::new();
    headers.insert("x-api-key", HeaderValue::from_static("4c1f4b7e-7d3b-4a9c"));
    let request = view(&headers);
    let now = Instant::now();
    let (by_client, by_key) =
        (vec![LimitKey::ClientIp], vec![LimitKey::ClientIp, LimitKey::Header("x-api-key".into())]);
    for (name, rates, concurrencies) in [
        ("rate-limit/client-ip", vec![rate_limit("4000000/s", by_client.clone())], vec![]),
        ("rate-limit/client-ip and a header", vec![rate_limit("4000000/s", by_key)], vec![]),
        (
            "rate-limit/two",
            vec![rate_limit("4000000/s", by_client.clone()), rate_limit("4000000/s", by_client.clone())],
            vec![],
        ),
        ("concurrency-limit/client-ip", vec![], vec![concurrency_limit()]),
    ] {
        let chain = FilterChain { rate_limits: rates, concurrency_limits: concurrencies, ..FilterChain::default() };
        c.bench_function(name, |b| b.iter(|| filters::admit(black_box(&chain), &request, "/", now).is_ok()));
    }
    // Every request by another client: what a flood costs once all places are taken.
    let chain = FilterChain { rate_limits: vec![rate_limit("1/d", by_client)], ..FilterChain::default() };
    let mut client = 0u32;
    c.bench_function("rate-limit/a new client each time", |b| {
        b.iter(|| {
            client = client.wrapping_add(1);
            let request = RequestView { client: IpAddr::from(client.to_be_bytes()), ..request };
            filters::admit(black_box(&chain), &request, "/", now).is_ok()
        });
    });
}

fn edits(c: &mut Criterion) {
    let headers = HeaderMap::new();
    let request = view(&headers);
    let facts = Facts {
        request: &request,
        request_id: "id",
        target: "/api/users",
        client_port: 0,
        route: "api",
        upstream: "api",
        endpoint: None,
        tls: None,
        user: None,
    };
    let preset = [
        fixed("x-frame-options", "DENY"),
        fixed("x-content-type-options", "nosniff"),
        fixed("referrer-policy", "strict-origin-when-cross-origin"),
    ];
    c.bench_function("security headers on an answer", |b| {
        b.iter(|| {
            let mut head = ResponseHeader::build(200, Some(8)).expect("200 is a status");
            filters::apply(black_box(&preset), &mut head, &facts);
            head
        });
    });
    let template = HeaderTemplate::parse("for=${client-ip};host=${host}").expect("a template");
    let variable = [Edit::Set(HeaderName::from_static("x-trace"), EditValue::Template(template.0))];
    c.bench_function("a header with two variables on a request", |b| {
        b.iter(|| {
            let mut head = HeaderMap::new();
            filters::apply(black_box(&variable), &mut head, &facts);
            head
        });
    });
}

criterion_group!(benches, checks, limits, edits);
criterion_main!(benches);
