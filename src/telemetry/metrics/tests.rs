use std::process::{Command, Stdio};
use std::time::Duration;

use super::*;
use crate::diagnostics::Origin;
use crate::model::*;
use crate::snapshot::upstream::{EndpointStatus, Health, UpstreamStatus};
use crate::telemetry::record::testing::record;
use crate::telemetry::record::{RequestRecord, UpstreamConnection};

fn route(name: &str, upstream: Option<&str>) -> Route {
    let action = match upstream {
        Some(upstream) => Action::Forward(Forward {
            upstream: UpstreamName::new(upstream),
            rewrite: Rewrite::default(),
            timeouts: RouteTimeouts::default(),
            retry: None,
        }),
        None => Action::Respond(Respond { status: 200, headers: Vec::new(), body: "".into() }),
    };
    let matches =
        RouteMatch { path: PathMatch::Prefix("/".into()), methods: Vec::new(), headers: Vec::new(), query: Vec::new() };
    Route { name: RouteName::new(name), origin: Origin::builtin(), matches, action, filters: Vec::new() }
}

fn model(routes: Vec<Route>) -> Model {
    Model {
        process: Process {
            threads: Threads::Auto,
            access_log: None,
            admin: None,
            trusted_proxies: Vec::new(),
            request_ids: crate::model::RequestIds::OfTrustedProxies,
            lanes: crate::defaults::LANES,
            forwarded: ForwardedField::Omit,
            shutdown: Shutdown { delay: Duration::ZERO, timeout: Duration::ZERO },
            resolvers: Vec::new(),
            session_tickets: SessionTickets::Off,
            ocsp_stapling: OcspStapling::Off,
            redis: None,
            replicas: None,
        },
        listeners: Vec::new(),
        tcp_listeners: Vec::new(),
        udp_listeners: Vec::new(),
        acme: None,
        certificates: Vec::new(),
        hosts: vec![Reused::from(VirtualHost {
            origin: Origin::builtin(),
            names: Vec::new(),
            listeners: Vec::new(),
            tls: HostTls::default(),
            patterns: Default::default(),
            filters: Vec::new(),
            routes,
        })],
        upstreams: Vec::new(),
        cache_stores: Vec::new(),
    }
}

fn metrics() -> Metrics {
    Metrics::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000))
}

/// Every family with at least one sample.
fn all_families() -> Metrics {
    let metrics = metrics();
    let api = metrics.route(&route("api", Some("backend")))[0].clone();
    api.begin();
    api.end("GET", &record());
    let backend = metrics.upstream(&UpstreamName::new("backend"));
    backend.connected(UpstreamConnection::New { took: Duration::from_millis(3) });
    backend.connected(UpstreamConnection::Reused);
    backend.retried();
    backend.health_changed(Health::Unhealthy);
    backend.end(&record());
    let calls = metrics.rate_limit(&LimitName::Shared("calls".into()));
    calls.passed.add(5);
    calls.delayed.increment();
    metrics.concurrency_limit(&LimitName::Place("route:api".into())).limited.add(2);
    let https = metrics.listener(&ListenerName::new("https"));
    drop(https.accepted());
    https.rejected(Rejection::Handshake);
    https.unrouted.begin();
    https.unrouted.end("POST", &RequestRecord { status: 404, ..record() });
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000);
    metrics.reload(Reload::Applied { generation: 7, at });
    metrics.reload(Reload::Rejected);
    let validity = |not_after| Validity { not_before: SystemTime::UNIX_EPOCH + Duration::from_secs(7), not_after };
    let later = at + Duration::from_secs(1);
    metrics.set_certificates([("a.crt".into(), validity(later)), ("a.crt".into(), validity(at))]);
    metrics.order("a.test", Order::Issued);
    metrics.order("a.test", Order::Failed { in_a_row: 1 });
    metrics.order("a.test", Order::Failed { in_a_row: 2 });
    metrics.access_log_dropped().add(3);
    metrics
}

fn statuses() -> Vec<UpstreamStatus> {
    let endpoint = EndpointStatus {
        address: "10.0.0.1:80".into(),
        name: None,
        weight: 1,
        backup: false,
        health: Health::Unhealthy,
        ejected_for: None,
        reason: None,
        in_flight: 2,
        requests: 5,
        failures: 1,
        ewma_ms: None,
    };
    vec![UpstreamStatus {
        name: UpstreamName::new("backend"),
        balance: LbPolicy::RoundRobin,
        endpoints: vec![endpoint],
        waiting: 0,
        ejections: 4,
        unresolved: Vec::new(),
    }]
}

#[test]
fn every_family_is_exposed_with_its_labels() {
    let text = all_families().render(&statuses(), &[]);
    for line in [
        r#"weir_requests_total{route="api",upstream="backend",method="GET",code="200"} 1"#,
        r#"weir_requests_total{listener="https",method="POST",code="404"} 1"#,
        r#"weir_rate_limit_total{limit="calls",outcome="passed"} 5"#,
        r#"weir_rate_limit_total{limit="calls",outcome="delayed"} 1"#,
        r#"weir_rate_limit_total{limit="calls",outcome="dry-run"} 0"#,
        r#"weir_concurrency_limit_total{limit="route:api",outcome="limited"} 2"#,
        r#"weir_request_duration_seconds_bucket{route="api",upstream="backend",le="0.01"} 0"#,
        r#"weir_request_duration_seconds_bucket{route="api",upstream="backend",le="0.025"} 1"#,
        r#"weir_request_duration_seconds_bucket{route="api",upstream="backend",le="+Inf"} 1"#,
        r#"weir_request_duration_seconds_count{route="api",upstream="backend"} 1"#,
        r#"weir_requests_in_flight{route="api",upstream="backend"} 0"#,
        r#"weir_request_body_bytes_total{route="api",upstream="backend"} 5"#,
        r#"weir_response_body_bytes_total{route="api",upstream="backend"} 1024"#,
        r#"weir_upstream_connections_total{upstream="backend",state="new"} 1"#,
        r#"weir_upstream_connections_total{upstream="backend",state="reused"} 1"#,
        r#"weir_upstream_retries_total{upstream="backend"} 1"#,
        r#"weir_upstream_request_duration_seconds_count{upstream="backend"} 1"#,
        r#"weir_upstream_connect_duration_seconds_bucket{upstream="backend",le="0.005"} 1"#,
        r#"weir_endpoint_healthy{upstream="backend",endpoint="10.0.0.1:80"} 0"#,
        r#"weir_endpoint_requests_total{upstream="backend",endpoint="10.0.0.1:80"} 5"#,
        r#"weir_endpoint_requests_in_flight{upstream="backend",endpoint="10.0.0.1:80"} 2"#,
        r#"weir_endpoint_failures_total{upstream="backend",endpoint="10.0.0.1:80"} 1"#,
        r#"weir_endpoint_health_changes_total{upstream="backend",to="unhealthy"} 1"#,
        r#"weir_endpoint_health_changes_total{upstream="backend",to="ejected"} 4"#,
        r#"weir_connections_accepted_total{listener="https"} 1"#,
        r#"weir_connections_open{listener="https"} 0"#,
        r#"weir_connections_rejected_total{listener="https",reason="handshake"} 1"#,
        r#"weir_access_log_dropped_total 3"#,
        r#"weir_reloads_total{result="applied"} 1"#,
        r#"weir_reloads_total{result="unchanged"} 0"#,
        r#"weir_reloads_total{result="rejected"} 1"#,
        "weir_config_last_reload_successful 0",
        "weir_config_generation 7",
        "weir_config_last_reload_success_timestamp_seconds 2000",
        r#"weir_certificate_not_after_seconds{certificate="a.crt"} 2000"#,
        r#"weir_certificate_not_before_seconds{certificate="a.crt"} 7"#,
        r#"weir_acme_orders_total{certificate="a.test",result="issued"} 1"#,
        r#"weir_acme_orders_total{certificate="a.test",result="failed"} 2"#,
        r#"weir_acme_failures_in_a_row{certificate="a.test"} 2"#,
        concat!("weir_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        "process_start_time_seconds 1000",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn the_process_shows_what_the_kernel_knows_of_it() {
    let text = metrics().render(&statuses(), &[]);
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is not in:\n{text}")).parse::<f64>().unwrap()
    };
    assert!(value("process_resident_memory_bytes") > 1e6);
    assert!(value("process_open_fds") >= 3.0);
    assert!(value("process_threads") >= 1.0);
}

#[test]
fn numbers_survive_a_reload_by_name_and_vanish_with_it() {
    let metrics = metrics();
    for name in ["kept", "removed"] {
        let route = metrics.route(&route(name, None))[0].clone();
        route.begin();
        route.end("GET", &record());
    }
    metrics.rate_limit(&LimitName::Shared("removed".into())).passed.increment();
    metrics.concurrency_limit(&LimitName::Shared("removed".into())).passed.increment();
    let reloaded = model(vec![route("kept", None)]);
    let carried = metrics.route(&reloaded.hosts[0].routes[0])[0].clone();
    metrics.retain(&reloaded);
    carried.begin();
    carried.end("GET", &record());
    let text = metrics.render(&statuses(), &[]);
    assert!(text.contains(r#"weir_requests_total{route="kept",method="GET",code="200"} 2"#), "{text}");
    assert!(!text.contains("removed"), "{text}");
}

#[test]
fn a_route_that_forwards_elsewhere_after_a_reload_begins_anew() {
    let metrics = metrics();
    metrics.route(&route("api", Some("blue")))[0].begin();
    let reloaded = model(vec![route("api", Some("green"))]);
    metrics.route(&reloaded.hosts[0].routes[0])[0].begin();
    metrics.retain(&reloaded);
    let text = metrics.render(&statuses(), &[]);
    assert!(text.contains(r#"weir_requests_in_flight{route="api",upstream="green"} 1"#), "{text}");
    assert!(!text.contains("blue"), "{text}");
}

#[test]
fn a_route_that_was_never_asked_for_is_left_out() {
    let metrics = metrics();
    let _handle = metrics.route(&route("quiet", None));
    assert!(!metrics.render(&statuses(), &[]).contains("quiet"));
}

#[test]
fn promtool_finds_nothing_to_say() {
    let Ok(mut promtool) = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    else {
        eprintln!("skipped: there is no promtool here");
        return;
    };
    std::io::Write::write_all(&mut promtool.stdin.take().unwrap(), all_families().render(&statuses(), &[]).as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}
