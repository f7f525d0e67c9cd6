//! A cluster that never stands still, under load: every edit is served soon, and nobody who is served meanwhile notices.
//!
//! `WEIR_STORM=full WEIR_BIN=target/release/weir` asks for the figures as they are promised: 10,000 Ingresses, five minutes.

// It has a part of it.
#[allow(dead_code)]
#[path = "support/kube.rs"]
mod cluster;
mod support;

use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use cluster::{Cluster, Ingress, endpoint_address, ingress, service, slice};
use support::{Chatter, Load, Origin, WebSocket, WebSocketOrigin, eventually, full_storm, request};

const EDITS_A_SECOND: u32 = 10;
/// What is promised of a change until it is served.
const HALF: Duration = Duration::from_millis(200);
const NEARLY_ALL: Duration = Duration::from_secs(1);

/// The endpoint of every Service but those that are edited.
struct Backends {
    http: SocketAddr,
    sockets: SocketAddr,
}

fn objects(namespace: &str, name: &str, backend: SocketAddr) -> [Value; 3] {
    let host = format!("{name}.test");
    [
        service(namespace, name, &[("web", 80)]),
        slice(namespace, name, ("web", backend.port()), &[backend.ip()]),
        ingress(namespace, name, &host, &[("/", name, json!(80))]),
    ]
}

#[test]
fn a_cluster_that_is_edited_all_the_time_costs_nobody_an_answer_or_a_connection() {
    let (count, length) = if full_storm() { (10_000, Duration::from_secs(300)) } else { (300, Duration::from_secs(8)) };
    let cluster = Cluster::start();
    cluster.prepare("storm");
    let backends = Backends { http: endpoint_address(), sockets: endpoint_address() };
    let _http = Origin::named_at(backends.http, "site");
    let _sockets = WebSocketOrigin::start_at(backends.sockets);
    let sites = (0..count).flat_map(|n| objects("storm", &format!("site-{n}"), backends.http));
    cluster.apply_all(sites.chain(objects("storm", "chat", backends.sockets)).collect());
    let weir = Ingress::start_slowly(&cluster, "storm", &[], Duration::from_secs(120));

    let open = (0..20).map(|_| WebSocket::open(weir.http, "chat.test", "/")).collect();
    let chatter = Chatter::start(open);
    let load = Load::start_paced(weir.http, "site-0.test", 500);
    let before = weir.resident_kib();
    let mut waits = edit(&cluster, &weir, backends.http, count, length);
    let after = weir.resident_kib();
    let (report, echoes) = (load.stop(), chatter.stop());

    waits.sort();
    let part = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize];
    println!(
        "{count} Ingresses, {} edits in {length:?}: live after {:?} (half), {:?} (99 %), {:?} (all); {before} KiB before, \
         {after} KiB after; {} requests (99 % within {:?}), {echoes} echoes",
        waits.len(),
        part(0.5),
        part(0.99),
        part(1.0),
        report.requests,
        report.p99,
    );
    assert_eq!(report.failures(), 0, "{report:?}");
    assert!(echoes > 0, "the sockets stayed open, and talked");
    if full_storm() {
        assert!(part(0.5) < HALF && part(0.99) < NEARLY_ALL);
        assert!(after < before + before / 4, "memory grows");
    }
}

/// Edits at an even pace. How long each took until it was served, from when the API server had it.
fn edit(cluster: &Cluster, weir: &Ingress, backend: SocketAddr, count: usize, length: Duration) -> Vec<Duration> {
    let (begun, pause) = (Instant::now(), Duration::from_secs(1) / EDITS_A_SECOND);
    let (report, waits) = mpsc::channel();
    let http = weir.http;
    std::thread::scope(|scope| {
        for (number, at) in (1..).zip((0..).map(|n| pause * n)).take_while(|(_, at)| *at < length) {
            std::thread::sleep((begun + at).saturating_duration_since(Instant::now()));
            // Sites that the load does not ask for.
            let name = format!("site-{}", 1 + number % (count - 1));
            let host = format!("edit-{number}.test");
            cluster.apply(ingress("storm", &name, &host, &[("/", &name, json!(80))]));
            if number % 3 == 0 {
                // The pods of another one were replaced: here by themselves.
                let other = format!("site-{}", 1 + (number + 7) % (count - 1));
                cluster.apply(slice("storm", &other, ("web", backend.port()), &[backend.ip(), [10, 98, 0, 1].into()]));
                cluster.apply(slice("storm", &other, ("web", backend.port()), &[backend.ip()]));
            }
            let (report, edited) = (report.clone(), Instant::now());
            scope.spawn(move || {
                eventually(&format!("{host} is served"), || {
                    let answer = request(http, "GET", "/").host(&host).try_send().ok()?;
                    (answer.status == 200).then_some(())
                });
                let _ = report.send(edited.elapsed());
            });
        }
    });
    drop(report);
    waits.into_iter().collect()
}

/// A pod as the API sees it from its start to its end.
struct Pod {
    address: IpAddr,
    origin: Option<Origin>,
    conditions: Value,
}

#[test]
fn backends_that_are_rolled_under_load_cost_no_answer() {
    let rounds = if full_storm() { 100 } else { 6 };
    let cluster = Cluster::shared();
    cluster.prepare("rolling");
    let port = endpoint_address().port();
    cluster.apply(service("rolling", "site", &[("web", 80)]));
    cluster.apply(ingress("rolling", "site", "site.test", &[("/", "site", json!(80))]));
    let start = |number: u8| {
        let address: IpAddr = [10, 97, 0, number].into();
        let origin = Some(Origin::named_at((address, port).into(), "site"));
        Pod { address, origin, conditions: json!({ "ready": true, "serving": true, "terminating": false }) }
    };
    let show = |pods: &[Pod]| {
        let mut object = slice("rolling", "site", ("web", port), &[]);
        let endpoint = |pod: &Pod| json!({ "addresses": [pod.address], "conditions": pod.conditions });
        object["endpoints"] = pods.iter().map(endpoint).collect();
        cluster.apply(object);
    };
    let mut pods: Vec<Pod> = (1..=3).map(start).collect();
    show(&pods);
    let weir = Ingress::start(cluster, "rolling", &[]);
    weir.shows("site.test", "/", "site");
    let load = Load::start_paced(weir.http, "site.test", 500);

    // Addresses come again when those that had them are long gone.
    for number in (4..=250).cycle().take(rounds * 3) {
        // As a Deployment does it: another one comes, the oldest is asked to go, and is gone.
        pods.push(start(number));
        show(&pods);
        pods[0].conditions = json!({ "ready": false, "serving": true, "terminating": true });
        show(&pods);
        // It goes on serving for as long as its `preStop` sleeps: until nobody asks it any more.
        let leaving = pods[0].origin.take().expect("it runs");
        let mut asked = leaving.request_count();
        let mut quiet = 0;
        eventually("the pod that leaves is not asked any more", || {
            let now = leaving.request_count();
            quiet = if std::mem::replace(&mut asked, now) == now { quiet + 1 } else { 0 };
            (quiet == 10).then_some(())
        });
        leaving.stop();
        pods.remove(0);
        show(&pods);
    }
    let report = load.stop();
    println!("{} pods replaced under {} requests, 99 % within {:?}", rounds * 3, report.requests, report.p99);
    assert_eq!(report.failures(), 0, "{report:?}");
}
