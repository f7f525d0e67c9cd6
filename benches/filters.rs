//! What filters cost a request: checks that let it pass, edits on both heads.
//!
//!   cargo bench --bench filters

use std::hint::black_box;
use std::net::IpAddr;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use pingora::http::ResponseHeader;
use weir::model::{HeaderTemplate, HttpsRedirect, RedirectStatus, Scheme};
use weir::proxy::filters;
use weir::snapshot::chain::{Check, Edit, EditValue};
use weir::snapshot::request::RequestView;

fn view(headers: &HeaderMap) -> RequestView<'_> {
    RequestView {
        method: "GET",
        path: "/api/users",
        query: None,
        host: "example.test",
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
    let redirect = [Check::HttpsRedirect(HttpsRedirect { status: RedirectStatus::PermanentRedirect, port: 443 })];
    c.bench_function("https-redirect/not needed", |b| {
        b.iter(|| filters::run(black_box(&redirect), &request, "/api/users").is_none());
    });
    c.bench_function("no checks", |b| b.iter(|| filters::run(black_box(&[]), &request, "/").is_none()));
}

fn edits(c: &mut Criterion) {
    let headers = HeaderMap::new();
    let request = view(&headers);
    let preset = [
        fixed("x-frame-options", "SAMEORIGIN"),
        fixed("x-content-type-options", "nosniff"),
        fixed("referrer-policy", "strict-origin-when-cross-origin"),
    ];
    c.bench_function("security headers on an answer", |b| {
        b.iter(|| {
            let mut head = ResponseHeader::build(200, Some(8)).expect("200 is a status");
            filters::apply(black_box(&preset), &mut head, &request, "id");
            head
        });
    });
    let template = HeaderTemplate::parse("for=${client-ip};host=${host}").expect("a template");
    let variable = [Edit::Set(HeaderName::from_static("x-trace"), EditValue::Template(template.0))];
    c.bench_function("a header with two variables on a request", |b| {
        b.iter(|| {
            let mut head = HeaderMap::new();
            filters::apply(black_box(&variable), &mut head, &request, "id");
            head
        });
    });
}

criterion_group!(benches, checks, edits);
criterion_main!(benches);
