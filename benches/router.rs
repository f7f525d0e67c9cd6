//! What a lookup costs as the table grows, and what reading a request's target and host costs.
//!
//! `cargo bench --bench router` (add `-- --quick` for a first look). A lookup takes the same steps from 10 to
//! 10,000 hosts and from 1 to 1,000 routes on one host; what grows is the share of them that miss the cache.

use std::hint::black_box;
use std::net::IpAddr;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::HeaderMap;

use weir::model::{HostName, PathMatch, Pattern, PatternOrder, RouteMatch, Scheme};
use weir::snapshot::host::Authority;
use weir::snapshot::path::Target;
use weir::snapshot::request::RequestView;
use weir::snapshot::router::{Found, HostEntry, Router, unreachable};

/// How many different requests one measurement takes in turn, so that caches see more than one entry.
const REQUESTS: usize = 1_024;

struct Site {
    hosts: Vec<(Vec<HostName>, Vec<RouteMatch>)>,
}

impl Site {
    /// Hosts as our first user has them: a frontend, an API, sockets and a health check.
    fn of_hosts(count: usize, name: impl Fn(usize) -> String) -> Self {
        let host = |index| {
            let paths = ["/", "/api/", "/ws/"].map(|path| PathMatch::Prefix(path.into()));
            let routes = paths.into_iter().chain([PathMatch::Exact("/health".into())]).map(route).collect();
            (vec![HostName::parse(&name(index)).expect("a host name")], routes)
        };
        Self { hosts: (0..count).map(host).collect() }
    }

    fn of_routes(count: usize, path: impl Fn(usize) -> PathMatch) -> Self {
        Self { hosts: vec![(vec![HostName::CatchAll], (0..count).map(path).map(route).collect())] }
    }

    fn entries(&self) -> Vec<HostEntry<'_>> {
        self.hosts
            .iter()
            .map(|(names, routes)| HostEntry {
                names,
                patterns: PatternOrder::Narrowest,
                routes: routes.iter().collect(),
            })
            .collect()
    }
}

fn route(path: PathMatch) -> RouteMatch {
    RouteMatch { path, methods: vec![], headers: vec![], query: vec![] }
}

/// Host and path.
type Asked = (String, String);

/// Measures `find` over requests for things all over the table.
fn measure(criterion: &mut Criterion, group: &str, size: usize, site: &Site, ask: impl Fn(usize) -> Asked) {
    let router = Router::build(&site.entries());
    let headers = HeaderMap::new();
    let client = IpAddr::from([127, 0, 0, 1]);
    let find = |(host, path): &Asked| {
        router.find(black_box(&RequestView {
            method: "GET",
            path,
            query: None,
            host,
            port: None,
            headers: &headers,
            client,
            scheme: Scheme::Http,
        }))
    };
    let requests: Vec<Asked> = (0..REQUESTS).map(|index| ask(index * 7919 % size)).collect();
    for asked in &requests {
        assert!(matches!(find(asked), Found::Route(_)), "{asked:?} finds {:?}", find(asked));
    }
    let mut turn = requests.iter().cycle();
    criterion
        .benchmark_group(group)
        .bench_function(BenchmarkId::from_parameter(size), |bencher| bencher.iter(|| turn.next().map(find)));
}

fn find_among_hosts(criterion: &mut Criterion) {
    for size in [10, 100, 1_000, 10_000] {
        let name = |index| format!("shop-{index}.example.org");
        let site = Site::of_hosts(size, name);
        measure(criterion, "find/hosts", size, &site, |index| (name(index), "/api/v1/users".into()));
    }
    for size in [10, 100, 1_000, 10_000] {
        let site = Site::of_hosts(size, |index| format!("*.shop-{index}.example.org"));
        let name = |index| format!("a.b.shop-{index}.example.org");
        measure(criterion, "find/wildcards", size, &site, |index| (name(index), "/api/v1/users".into()));
    }
}

fn find_among_routes(criterion: &mut Criterion) {
    let service = |index| format!("/service-{index}");
    let host = || "a.test".to_owned();
    for size in [1, 10, 100, 1_000] {
        let site = Site::of_routes(size, |index| PathMatch::Exact(service(index).into()));
        measure(criterion, "find/exact", size, &site, |index| (host(), service(index)));
    }
    for size in [1, 10, 100, 1_000] {
        let site = Site::of_routes(size, |index| PathMatch::Prefix(service(index).into()));
        measure(criterion, "find/prefixes", size, &site, |index| (host(), service(index) + "/v1/users"));
    }
    for size in [1, 10, 100, 1_000] {
        let pattern = |index| Pattern::parse(&format!("^{}/(v1|v2)/", service(index))).expect("a pattern");
        let site = Site::of_routes(size, |index| PathMatch::Regex(pattern(index)));
        measure(criterion, "find/patterns", size, &site, |index| (host(), service(index) + "/v2/users"));
    }
}

fn build(criterion: &mut Criterion) {
    let site = Site::of_hosts(10_000, |index| format!("shop-{index}.example.org"));
    let mut group = criterion.benchmark_group("build");
    group.bench_function("10,000 hosts", |bencher| bencher.iter(|| Router::build(&site.entries())));
    group.bench_function("unreachable in 10,000 hosts", |bencher| bencher.iter(|| unreachable(&site.entries())));
}

fn read(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read");
    for (name, target) in [
        ("clean path", "/api/v1/users/8f14e45f-ceea-4672/orders"),
        ("clean path and query", "/api/v1/users/8f14e45f-ceea-4672/orders?page=2&size=50"),
        ("dirty path", "/api//v1/./users/%38f14e45f/x/../orders"),
    ] {
        group.bench_function(name, |bencher| bencher.iter(|| Target::parse(black_box(target.as_bytes())).is_ok()));
    }
    for (name, host) in [("clean host", "api.example.org"), ("dirty host", "API.Example.org.:8443")] {
        group.bench_function(name, |bencher| bencher.iter(|| Authority::parse(black_box(host.as_bytes())).is_ok()));
    }
}

criterion_group!(benches, find_among_hosts, find_among_routes, build, read);
criterion_main!(benches);
