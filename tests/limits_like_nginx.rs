//! The same requests at the same times to nginx with `limit_req` and `limit_conn` and to Weir: the same statuses, the same delays.
//!
//! ```text
//! schedule ──► nginx: limit_req zone=… burst=… delay=…   ──► statuses, times ──┐
//!    └───────► Weir:  rate-limit: { rate, burst, delay } ──► statuses, times ──┴──► equal
//! ```
//!
//! Every bound is a quarter of a request away from what a schedule reaches, so that a busy machine is not taken for a difference;
//! where one is so busy that the bounds are reached all the same, the schedule is run again by another client.

mod support;

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use support::{Answer, Connection, H2Client, Nginx, Origin, Weir, eventually, request};

/// One limit as both write it, at a location of its own.
struct Case {
    path: &'static str,
    zone: &'static str,
    nginx: &'static str,
    weir: &'static str,
    /// When requests are sent, in milliseconds; those of one time at once.
    schedule: &'static [(u64, usize)],
}

const CASES: &[Case] = &[
    Case {
        path: "/nodelay",
        zone: "zone=nodelay:1m rate=2r/s",
        nginx: "limit_req zone=nodelay burst=3 nodelay;",
        weir: "{ rate-limit: { rate: 2/s, burst: 3, delay: none, status: 503 } }",
        schedule: &[(0, 6), (750, 3), (1375, 3), (2375, 3)],
    },
    Case {
        path: "/strict",
        zone: "zone=strict:1m rate=2r/s",
        nginx: "limit_req zone=strict;",
        weir: "{ rate-limit: { rate: 2/s, status: 503 } }",
        schedule: &[(0, 3), (250, 1), (750, 2), (1000, 1), (1500, 1), (2250, 2)],
    },
    Case {
        path: "/delay",
        zone: "zone=delay:1m rate=4r/s",
        nginx: "limit_req zone=delay burst=5;",
        weir: "{ rate-limit: { rate: 4/s, burst: 5, delay: all, status: 503 } }",
        schedule: &[(0, 8), (625, 4)],
    },
    Case {
        path: "/partly",
        zone: "zone=partly:1m rate=4r/s",
        nginx: "limit_req zone=partly burst=5 delay=3;",
        weir: "{ rate-limit: { rate: 4/s, burst: 5, delay: 3, status: 503 } }",
        schedule: &[(0, 8), (625, 4), (1625, 4)],
    },
    Case {
        path: "/minute",
        zone: "zone=minute:1m rate=30r/m",
        nginx: "limit_req zone=minute burst=2 nodelay;",
        weir: "{ rate-limit: { rate: 30/m, burst: 2, status: 503 } }",
        schedule: &[(0, 5), (1000, 1), (2500, 2)],
    },
    Case {
        path: "/sign-in",
        zone: "zone=signin:1m rate=5r/m",
        nginx: "limit_req zone=signin burst=3 nodelay; limit_req_status 429;",
        weir: "{ rate-limit: { rate: 5/m, burst: 3 } }",
        schedule: &[(0, 6), (1500, 2)],
    },
    Case {
        path: "/api",
        zone: "zone=api:1m rate=30r/s",
        nginx: "limit_req zone=api burst=50 nodelay;",
        weir: "{ rate-limit: { rate: 30/s, burst: 50, status: 503 } }",
        // The bound itself is passed at once or a millisecond later: it is not asked for.
        schedule: &[(0, 40), (1000, 20), (2500, 30)],
    },
    Case {
        path: "/both",
        zone: "zone=wide:1m rate=2r/s; limit_req_zone $binary_remote_addr zone=narrow:1m rate=4r/s",
        nginx: "limit_req zone=wide burst=4 nodelay; limit_req zone=narrow burst=2;",
        weir: "{ rate-limit: { rate: 2/s, burst: 4, status: 503 } }, { rate-limit: { rate: 4/s, burst: 2, delay: all, status: 503 } }",
        schedule: &[(0, 5), (625, 3), (1625, 4)],
    },
    Case {
        path: "/trial",
        zone: "zone=trial:1m rate=1r/s",
        nginx: "limit_req zone=trial burst=1; limit_req_dry_run on;",
        weir: "{ rate-limit: { rate: 1/s, burst: 1, delay: all, dry-run: true } }",
        schedule: &[(0, 4)],
    },
];

/// Both in front of one origin, with every case.
struct Pair {
    nginx: Nginx,
    weir: Weir,
    _origin: Origin,
}

fn pair() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(|| {
        let origin = Origin::named("passed");
        let zones = CASES.iter().map(|case| format!("limit_req_zone $binary_remote_addr {};\n", case.zone));
        let locations = CASES
            .iter()
            .map(|case| format!("location {} {{ {} proxy_pass http://{}; }}\n", case.path, case.nginx, origin.address));
        let nginx = Nginx::start_with(&zones.collect::<String>(), &locations.collect::<String>());
        let routes = CASES
            .iter()
            .map(|case| format!("      - {{ path: {}, upstream: origin, filters: [ {} ] }}\n", case.path, case.weir));
        let weir = Weir::start(&format!(
            "upstreams: {{ origin: {{ endpoints: [\"{}\"] }} }}\nhosts:\n  - names: [\"*\"]\n    routes:\n{}",
            origin.address,
            routes.collect::<String>()
        ));
        Pair { nginx, weir, _origin: origin }
    })
}

#[derive(Debug)]
struct Outcome {
    status: u16,
    took: Duration,
}

/// What came of each step: the statuses in the order in which they came back, with how long that took.
fn run(to: SocketAddr, case: &Case, from: [u8; 4]) -> Vec<Vec<Outcome>> {
    // Both take the time for their first connections.
    let begun = Instant::now() + Duration::from_millis(50);
    std::thread::scope(|scope| {
        let mut steps = Vec::new();
        for (at, count) in case.schedule {
            // Connections first: their requests then come at the time, and close together.
            let clients: Vec<_> =
                (0..*count).map(|_| Connection::try_open_from((from, 0).into(), to).expect("a connection")).collect();
            std::thread::sleep((begun + Duration::from_millis(*at)).saturating_duration_since(Instant::now()));
            let step: Vec<_> = clients
                .into_iter()
                .map(|mut client| {
                    client.write(format!("GET {} HTTP/1.1\r\nHost: a.test\r\n\r\n", case.path));
                    let sent = Instant::now();
                    scope.spawn(move || Outcome { status: client.read_response().status, took: sent.elapsed() })
                })
                .collect();
            steps.push(step);
        }
        let collect = |step: Vec<std::thread::ScopedJoinHandle<'_, Outcome>>| {
            let mut outcomes: Vec<_> = step.into_iter().map(|client| client.join().expect("an answer")).collect();
            outcomes.sort_by_key(|outcome| (outcome.status, outcome.took));
            outcomes
        };
        steps.into_iter().map(collect).collect()
    })
}

/// How far two answer times may be apart on a busy machine; the delays are multiples of 250 ms.
const TOLERANCE: Duration = Duration::from_millis(150);

fn difference(case: &Case, from: [u8; 4]) -> Result<usize, String> {
    let pair = pair();
    let (nginx, weir) = std::thread::scope(|scope| {
        let nginx = scope.spawn(|| run(pair.nginx.address, case, from));
        let weir = run(pair.weir.http, case, from);
        (nginx.join().expect("nginx answers"), weir)
    });
    let mut compared = 0;
    for ((at, _), (theirs, ours)) in case.schedule.iter().zip(nginx.iter().zip(&weir)) {
        for (theirs_one, ours_one) in theirs.iter().zip(ours) {
            if theirs_one.status != ours_one.status || theirs_one.took.abs_diff(ours_one.took) > TOLERANCE {
                return Err(format!("{} at {at} ms: nginx {theirs:?}, weir {ours:?}", case.path));
            }
            compared += 1;
        }
    }
    Ok(compared)
}

#[test]
fn rates_bursts_and_delays_are_those_of_nginx() {
    pair();
    let compared: usize = std::thread::scope(|scope| {
        let begin = |(nth, case): (usize, &'static Case)| {
            // One after the other, or a small machine is busy with their first steps alone.
            std::thread::sleep(Duration::from_millis(if nth == 0 { 0 } else { 130 }));
            scope.spawn(|| compare(case))
        };
        let cases: Vec<_> = CASES.iter().enumerate().map(begin).collect();
        cases.into_iter().map(|case| case.join().expect("they agree")).sum()
    });
    let requests: usize = CASES.iter().flat_map(|case| case.schedule).map(|(_, count)| count).sum();
    assert!(compared == requests && compared >= 60, "{compared} of {requests} were compared");
}

/// Three times at most: what differs by chance does not differ three times.
#[track_caller]
fn compare(case: &Case) -> usize {
    let mut differences = Vec::new();
    for attempt in 1..=3 {
        match difference(case, [127, 0, 0, attempt]) {
            Ok(compared) => return compared,
            Err(difference) => {
                eprintln!("once more: {difference}");
                differences.push(difference);
            }
        }
    }
    panic!("{}", differences.join("\n"));
}

#[test]
fn requests_without_a_key_are_not_limited_by_either() {
    let origin = Origin::named("passed");
    let nginx = Nginx::start_with(
        "limit_req_zone $http_x_key zone=a:1m rate=1r/m; limit_req_zone $binary_remote_addr$http_x_key zone=b:1m rate=1r/m;",
        &format!(
            "location /one {{ limit_req zone=a; proxy_pass http://{0}; }} location /two {{ limit_req zone=b; proxy_pass http://{0}; }}",
            origin.address
        ),
    );
    let weir = Weir::start(&format!(
        "upstreams: {{ origin: {{ endpoints: [\"{}\"] }} }}\nhosts:\n  - names: [\"*\"]\n    routes:\n\
         \x20     - {{ path: /one, upstream: origin, filters: [ {{ rate-limit: {{ rate: 1/m, key: {{ header: X-Key }}, status: 503 }} }} ] }}\n\
         \x20     - {{ path: /two, upstream: origin, filters: [ {{ rate-limit: {{ rate: 1/m, key: [client-ip, {{ header: X-Key }}], status: 503 }} }} ] }}\n",
        origin.address
    ));
    for (target, key) in [
        ("/one", None),
        ("/one", None),
        ("/one", Some("")),
        ("/one", Some("a")),
        ("/one", Some("a")),
        ("/one", Some("b")),
        ("/two", None),
        ("/two", None),
        ("/two", Some("a")),
        ("/two", Some("a")),
        ("/two", Some("b")),
    ] {
        let ask = |to| {
            let request = request(to, "GET", target);
            key.map_or(request.clone(), |key| request.header("X-Key", key)).send().status
        };
        let (theirs, ours) = (ask(nginx.address), ask(weir.http));
        assert_eq!(theirs, ours, "{target} with {key:?}");
    }
}

#[test]
fn concurrency_is_that_of_nginx() {
    let origin = Origin::start(|request| match request.target.as_str() {
        "/held" => Answer::Silence,
        _ => Answer::ok("passed"),
    });
    // Before its version 1.25 nginx speaks HTTP/2 on ports of its own.
    let h2 = support::free_address();
    let nginx = Nginx::start_with(
        "limit_conn_zone $binary_remote_addr zone=conn:1m; limit_conn_zone $host zone=hosts:1m;",
        &format!(
            "listen {h2} http2; location ~ ^/(held|free) {{ limit_conn conn 3; limit_conn hosts 5; proxy_pass http://{}; }}",
            origin.address
        ),
    );
    let weir = Weir::start(&format!(
        "upstreams: {{ origin: {{ endpoints: [\"{}\"] }} }}\nhosts:\n  - names: [\"*\"]\n    routes:\n\
         \x20     - path: /\n        upstream: origin\n        filters:\n\
         \x20         - concurrency-limit: {{ max: 3, status: 503 }}\n\
         \x20         - concurrency-limit: {{ max: 5, key: host, status: 503 }}\n",
        origin.address
    ));
    let steps = |to: SocketAddr, h2: SocketAddr| {
        let mut held = Vec::new();
        let mut statuses = Vec::new();
        let ask = |from: [u8; 4]| request(to, "GET", "/free").host("a.test").from(from).send().status;
        // Whoever was answered just now may not have left yet.
        let hold = |held: &mut Vec<Connection>, from: [u8; 4]| {
            let client = eventually("a place", || {
                let before = origin.request_count();
                let mut client = Connection::try_open_from((from, 0).into(), to).expect("a connection");
                client.write("GET /held HTTP/1.1\r\nHost: a.test\r\n\r\n");
                eventually("the origin has it, or it is refused", || match origin.request_count() > before {
                    true => Some(true),
                    false => (!client.read_available().is_empty()).then_some(false),
                })
                .then_some(client)
            });
            held.push(client);
        };
        for _ in 0..3 {
            statuses.push(ask([127, 0, 0, 1]));
            hold(&mut held, [127, 0, 0, 1]);
        }
        statuses.push(ask([127, 0, 0, 1]));
        statuses.push(ask([127, 0, 0, 2]));
        for _ in 0..2 {
            hold(&mut held, [127, 0, 0, 2]);
        }
        // The host is full, for whoever asks.
        statuses.extend([ask([127, 0, 0, 2]), ask([127, 0, 0, 3])]);
        held.clear();
        eventually("all have left", || (ask([127, 0, 0, 1]) == 200).then_some(()));
        statuses.push(ask([127, 0, 0, 2]));
        // Each stream of HTTP/2 counts.
        let mut client = H2Client::plain(h2);
        let mut streams: Vec<_> = (0..3)
            .map(|_| {
                let before = origin.request_count();
                let mut stream = client.open_stream("GET", "a.test", "/held", &[]);
                stream.finish();
                origin.wait_for_requests(before + 1);
                stream
            })
            .collect();
        statuses.push(client.get("a.test", "/free").status);
        statuses.push(ask([127, 0, 0, 4]));
        streams.pop().expect("a stream").cancel();
        eventually("its place is free", || (client.get("a.test", "/free").status == 200).then_some(()));
        statuses
    };
    let (theirs, ours) = (steps(nginx.address, h2), steps(weir.http, weir.http));
    assert_eq!(theirs, ours);
    assert_eq!(theirs, [200, 200, 200, 503, 200, 503, 503, 200, 503, 200], "and as it is meant");
}
