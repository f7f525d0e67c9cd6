//! Rate limits that several processes count together: shares of the rate, and a real Redis that is killed, paused and locked.
//!
//! Rates are of hours wherever time must not matter: within a test nothing leaks out of a bucket.

mod support;

use std::time::{Duration, Instant};

use support::{Authority, Knot, Redis, Request, Signal, Weir, eventually, weir_command};

/// Answers `/` itself, under these filters (a YAML list in one line), with these keys at the top.
fn file(top: &str, filters: &str) -> String {
    format!(
        "{top}\nhosts:\n  - names: [\"*\"]\n    routes: [ {{ name: all, path: /, respond: {{}}, filters: {filters} }} ]\n"
    )
}

fn in_redis(redis: &Redis, filters: &str) -> String {
    file(&format!("redis: {{ url: \"{}\", timeout: 1s }}", redis.url()), filters)
}

#[track_caller]
fn statuses(weir: &Weir, count: usize, make: impl Fn(Request) -> Request) -> Vec<u16> {
    (0..count).map(|_| make(weir.request("GET", "/")).send().status).collect()
}

fn as_it_is(request: Request) -> Request {
    request
}

fn counted(weir: &Weir, outcome: &str) -> f64 {
    weir.metric("weir_rate_limit_total", &[&format!("outcome=\"{outcome}\"")]).unwrap_or(0.0)
}

fn asked(weir: &Weir, outcome: &str) -> f64 {
    weir.metric("weir_redis_requests_total", &[&format!("outcome=\"{outcome}\"")]).unwrap_or(0.0)
}

/// Sends as fast as they are answered, from so many clients at once to both, until `until` says so. How many got each status.
fn flood(weirs: [&Weir; 2], clients: usize, until: impl Fn(usize) -> bool + Sync) -> Vec<u16> {
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..clients)
            .map(|client| {
                let (weir, until) = (weirs[client % 2], &until);
                scope.spawn(move || {
                    let mut answers = Vec::new();
                    let mut connection = weir.connect();
                    while !until(answers.len()) {
                        connection.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
                        answers.push(connection.read_response().status);
                    }
                    answers
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().expect("answers")).collect()
    })
}

fn how_many(answers: &[u16], status: u16) -> usize {
    answers.iter().filter(|answer| **answer == status).count()
}

#[test]
fn two_processes_let_no_more_pass_than_one_limit() {
    let redis = Redis::start();
    let yaml = in_redis(&redis, "[ { rate-limit: { rate: 1/h, burst: 29, scope: redis } } ]");
    let (first, second) = (Weir::start(&yaml), Weir::start(&yaml));
    let answers = flood([&first, &second], 8, |sent| sent == 50);
    assert_eq!((answers.len(), how_many(&answers, 200), how_many(&answers, 429)), (400, 30, 370));
    assert_eq!(counted(&first, "passed") + counted(&second, "passed"), 30.0);
    assert_eq!(counted(&first, "limited") + counted(&second, "limited"), 370.0);
    assert_eq!(asked(&first, "answered") + asked(&second, "answered"), 400.0);
    assert_eq!(first.metric("weir_redis_up", &[]), Some(1.0));
    let lives = redis.ask(&["--scan"]).lines().map(|key| redis.ask(&["PTTL", key])).collect::<Vec<_>>();
    let hours: Vec<i64> = lives.iter().map(|life| life.trim().parse::<i64>().unwrap() / 3_600_000).collect();
    assert!(hours.contains(&29) && hours.iter().all(|hours| (0..=30).contains(hours)), "{hours:?}");
}

#[test]
fn a_rate_holds_over_time_and_over_processes() {
    let redis = Redis::start();
    let yaml = in_redis(&redis, "[ { rate-limit: { rate: 50/s, burst: 10, scope: redis } } ]");
    let (first, second) = (Weir::start(&yaml), Weir::start(&yaml));
    let begun = Instant::now();
    let answers = flood([&first, &second], 4, |_| begun.elapsed() > Duration::from_secs(3));
    let (passed, seconds) = (how_many(&answers, 200) as f64, begun.elapsed().as_secs_f64());
    assert!(passed <= 11.0 + 50.0 * seconds + 1.0, "{passed} in {seconds} s");
    assert!(passed >= 50.0 * 2.5, "{passed} in {seconds} s");
    assert_eq!(how_many(&answers, 200) + how_many(&answers, 429), answers.len());
}

#[test]
fn a_refusal_looks_as_it_does_without_redis() {
    let redis = Redis::start();
    let weir = Weir::start(&in_redis(
        &redis,
        "[ { rate-limit: { rate: 5/m, burst: 2, scope: redis, name: calls, allow: [127.0.0.8/32], key: client-ip } } ]",
    ));
    assert_eq!(statuses(&weir, 3, as_it_is), [200; 3]);
    let refused = weir.get("/");
    assert_eq!(refused.status, 429);
    let seconds: u64 = refused.header("retry-after").expect("it is told").parse().expect("whole seconds");
    assert!((8..=13).contains(&seconds), "{seconds}");
    assert_eq!(refused.header("ratelimit"), Some(&*format!("\"calls\";r=0;t={seconds}")));
    assert_eq!(refused.header("ratelimit-policy"), Some("\"calls\";q=5;w=60"));
    assert_eq!(statuses(&weir, 5, |request| request.from([127, 0, 0, 8])), [200; 5], "allowed");
    assert_eq!(statuses(&weir, 1, |request| request.from([127, 0, 0, 9])), [200], "another client");
    let text = weir.admin("/explain?url=http://a.test/&from=127.0.0.1").text();
    assert!(text.contains("5/m, burst 2, delay none: counted in Redis, which is not asked"), "{text}");
}

#[test]
fn delays_and_dry_runs_are_the_same_in_redis() {
    let redis = Redis::start();
    let weir = Weir::start(&in_redis(&redis, "[ { rate-limit: { rate: 4/s, burst: 2, delay: all, scope: redis } } ]"));
    let begun = Instant::now();
    let mut took: Vec<_> = std::thread::scope(|scope| {
        let ask = || (weir.get("/").status, begun.elapsed());
        let clients: Vec<_> = (0..5).map(|_| scope.spawn(ask)).collect();
        clients.into_iter().map(|client| client.join().expect("an answer")).collect()
    });
    took.sort_by_key(|(status, took)| (*status, *took));
    let statuses: Vec<u16> = took.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    for (nth, milliseconds) in [(1, 220), (2, 470)] {
        assert!(took[nth].1 >= Duration::from_millis(milliseconds), "{took:?}");
    }
    assert_eq!(counted(&weir, "delayed"), 2.0);

    let weir =
        Weir::start(&in_redis(&redis, "[ { rate-limit: { rate: 1/h, scope: redis, dry-run: true, key: host } } ]"));
    assert_eq!(self::statuses(&weir, 3, as_it_is), [200; 3]);
    assert_eq!((counted(&weir, "passed"), counted(&weir, "dry-run")), (1.0, 2.0));
}

#[test]
fn several_limits_are_asked_in_one_round_trip_and_what_one_refuses_none_counts() {
    let redis = Redis::start();
    let weir = Weir::start(&in_redis(
        &redis,
        "[ { rate-limit: { rate: 1/h, burst: 3, name: wide, key: host, scope: redis } }, \
           { rate-limit: { rate: 1/h, burst: 1, name: narrow, scope: redis } }, \
           { rate-limit: { rate: 1/h, burst: 2, name: own, key: host } } ]",
    ));
    let from = |last: u8| move |request: Request| request.from([127, 0, 0, last]);
    // The third is refused by the narrow one: the others have counted two.
    assert_eq!(statuses(&weir, 3, from(1)), [200, 200, 429]);
    let before = redis.info("cmdstat_evalsha");
    assert_eq!(statuses(&weir, 1, from(2)), [200]);
    assert!(redis.info("cmdstat_evalsha") - before <= 2, "one round trip, and a probe where it is the thread's first");
    // Its own limit is reached: Redis is not even asked, so that the wide one has one left.
    let before = asked(&weir, "answered");
    assert_eq!(statuses(&weir, 2, from(3)), [429; 2]);
    assert_eq!(asked(&weir, "answered"), before);
    let other = Weir::start(&in_redis(
        &redis,
        "[ { rate-limit: { rate: 1/h, burst: 3, name: wide, key: host, scope: redis } } ]",
    ));
    assert_eq!(statuses(&other, 2, as_it_is), [200, 429]);
}

#[test]
fn keys_tell_limits_prefixes_and_ways_to_count_apart() {
    let redis = Redis::start();
    let weir = |prefix: &str, limit: &str| {
        let top = format!("redis: {{ url: \"{}/2\", timeout: 1s, key-prefix: \"{prefix}\" }}", redis.url());
        Weir::start(&file(&top, &format!("[ {{ rate-limit: {{ rate: 1/h, scope: redis, {limit} }} }} ]")))
    };
    assert_eq!(statuses(&weir("a:", "name: x"), 2, as_it_is), [200, 429]);
    assert_eq!(statuses(&weir("a:", "name: x"), 1, as_it_is), [429], "another process");
    assert_eq!(statuses(&weir("b:", "name: x"), 1, as_it_is), [200]);
    assert_eq!(statuses(&weir("a:", "name: y"), 1, as_it_is), [200]);
    assert_eq!(statuses(&weir("a:", "name: x, key: host"), 1, as_it_is), [200]);
    let keys = redis.ask(&["-n", "2", "--scan", "--pattern", "a:x:*"]);
    assert_eq!(keys.lines().count(), 2, "{keys}");
    assert!(!keys.contains("127.0.0.1"), "{keys}");
}

/// How one of the ways out answers: while Redis is there, while it is away, and when it is back without what it kept.
#[track_caller]
fn survives_a_kill(on_failure: &str, away: [u16; 3]) {
    let mut redis = Redis::start();
    let weir = Weir::start(&in_redis(
        &redis,
        &format!("[ {{ rate-limit: {{ rate: 1/h, burst: 1, scope: redis, {on_failure} }} }} ]"),
    ));
    assert_eq!(statuses(&weir, 3, as_it_is), [200, 200, 429], "{on_failure}");
    redis.kill();
    let begun = Instant::now();
    assert_eq!(statuses(&weir, 3, as_it_is), away, "{on_failure}");
    assert!(begun.elapsed() < Duration::from_millis(900), "nobody waits for a timeout: {:?}", begun.elapsed());
    assert_eq!(weir.metric("weir_redis_up", &[]), Some(0.0));
    redis.restart();
    eventually("Redis counts again", || (weir.metric("weir_redis_up", &[]) == Some(1.0)).then_some(()));
    let answers = statuses(&weir, 4, as_it_is);
    assert_eq!((how_many(&answers, 200), answers[3]), (2, 429), "{on_failure}: {answers:?}");
    let log = weir.log();
    assert_eq!(log.matches("Redis does not answer").count(), 1, "{log}");
    assert_eq!(log.matches("Redis answers again").count(), 1, "{log}");
}

#[test]
fn while_redis_is_away_requests_are_allowed() {
    survives_a_kill("on-redis-failure: allow", [200, 200, 200]);
}

#[test]
fn while_redis_is_away_requests_are_refused() {
    survives_a_kill("on-redis-failure: refuse", [503, 503, 503]);
}

#[test]
fn while_redis_is_away_each_process_counts_by_itself() {
    survives_a_kill("on-redis-failure: local", [200, 200, 429]);
    survives_a_kill("", [200, 200, 429]);
}

#[test]
fn redis_is_killed_and_restarted_under_load() {
    let mut redis = Redis::start();
    let yaml = in_redis(&redis, "[ { rate-limit: { rate: 20/s, burst: 5, scope: redis } } ]");
    let (first, second) = (Weir::start(&yaml), Weir::start(&yaml));
    let done = std::sync::atomic::AtomicBool::new(false);
    let begun = Instant::now();
    let (answers, seconds) = std::thread::scope(|scope| {
        let load = scope.spawn(|| flood([&first, &second], 6, |_| done.load(std::sync::atomic::Ordering::Relaxed)));
        let several = |weir: &Weir| asked(weir, "answered") > 50.0;
        eventually("both have counted", || (several(&first) && several(&second)).then_some(()));
        redis.kill();
        eventually("both do without it", || {
            (asked(&first, "unasked") > 50.0 && asked(&second, "unasked") > 50.0).then_some(())
        });
        redis.restart();
        let before = [&first, &second].map(|weir| asked(weir, "answered"));
        eventually("both ask it again", || {
            (asked(&first, "answered") > before[0] + 50.0 && asked(&second, "answered") > before[1] + 50.0)
                .then_some(())
        });
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        (load.join().expect("answers"), begun.elapsed().as_secs_f64())
    });
    assert_eq!(how_many(&answers, 200) + how_many(&answers, 429), answers.len(), "no error page");
    // Exactly while it is there, by each process alone while it is not; three times a bucket began empty.
    let most = 2.0 * 20.0 * seconds + 4.0 * 6.0;
    assert!(how_many(&answers, 200) as f64 <= most, "{} of {most}", how_many(&answers, 200));
    eventually("no connection is left over", || (redis.connections() <= 4).then_some(()));
}

#[test]
fn a_redis_that_hangs_holds_nobody_up_for_long() {
    let redis = Redis::start();
    let top = format!("redis: {{ url: \"{}\", timeout: 200ms }}", redis.url());
    let limit = "[ { rate-limit: { rate: 1/h, burst: 100, scope: redis, on-redis-failure: allow } } ]";
    let weir = Weir::start(&format!("threads: 1\n{}", file(&top, limit)));
    assert_eq!(weir.get("/").status, 200);
    redis.signal(Signal::Pause);
    let took: Vec<_> = (0..10)
        .map(|_| {
            let begun = Instant::now();
            assert_eq!(weir.get("/").status, 200);
            begun.elapsed()
        })
        .collect();
    assert!(took.iter().all(|took| *took < Duration::from_millis(700)), "{took:?}");
    // Three wait until it is clear that it hangs, and one perhaps while it is tried anew.
    let waited = took.iter().filter(|took| **took >= Duration::from_millis(190)).count();
    assert!((3..=4).contains(&waited), "{took:?}");
    assert!((3.0..=waited as f64).contains(&asked(&weir, "timeout")), "{took:?}");
    redis.signal(Signal::Resume);
    eventually("it is asked again", || {
        let before = asked(&weir, "answered");
        assert_eq!(weir.get("/").status, 200);
        (asked(&weir, "answered") > before).then_some(())
    });
    assert_eq!(weir.metric("weir_redis_up", &[]), Some(1.0));
    eventually("no connection is left over", || (redis.connections() == 1).then_some(()));
}

#[test]
fn one_late_answer_is_no_outage() {
    let redis = Redis::start();
    let top = format!("redis: {{ url: \"{}\", timeout: 200ms }}", redis.url());
    let limit = "[ { rate-limit: { rate: 1/h, burst: 100, scope: redis, on-redis-failure: refuse } } ]";
    let weir = Weir::start(&format!("threads: 1\n{}", file(&top, limit)));
    assert_eq!(weir.get("/").status, 200);
    let connected = redis.info("total_connections_received");
    redis.ask(&["CLIENT", "PAUSE", "600", "ALL"]);
    let refused = weir.get("/");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert!(refused.text().contains("requests cannot be counted now"), "{}", refused.text());
    eventually("it is over", || (weir.get("/").status == 200).then_some(()));
    let own = redis.info("total_connections_received") - connected;
    assert!(own <= 4, "{own} connections, those of redis-cli among them");
    assert!(weir.log().matches("Redis does not answer").count() <= 1);
}

#[test]
fn forgotten_scripts_are_sent_again() {
    let redis = Redis::start();
    let weir = Weir::start(&in_redis(&redis, "[ { rate-limit: { rate: 1/h, burst: 2, scope: redis } } ]"));
    for expected in [200, 200, 200, 429] {
        assert_eq!(weir.get("/").status, expected);
        redis.ask(&["SCRIPT", "FLUSH"]);
    }
    assert_eq!((asked(&weir, "answered"), asked(&weir, "error")), (4.0, 0.0));
}

#[test]
fn a_password_is_read_from_its_file_and_again_when_that_changes() {
    let redis = Redis::start_with(&["--requirepass", "swordfish"], Some("swordfish"));
    let top = format!("redis: {{ url: \"{}\", password-file: redis-password, timeout: 1s }}", redis.url());
    let limit = "[ { rate-limit: { rate: 1/h, scope: redis, on-redis-failure: refuse } } ]";
    let weir = Weir::start_with(&file(&top, limit), &[("redis-password", "wrong\n")]);
    assert_eq!(statuses(&weir, 2, as_it_is), [503; 2]);
    eventually("it is said why", || weir.log().contains("Password authentication failed").then_some(()));
    let before = weir.generation();
    std::fs::write(weir.folder().join("redis-password"), "swordfish\n").unwrap();
    weir.wait_for_generation_after(before);
    assert_eq!(statuses(&weir, 2, as_it_is), [200, 429]);
    for shown in [weir.log(), weir.admin("/config").text(), weir.admin("/metrics").text()] {
        assert!(!shown.contains("swordfish"), "{shown}");
    }
}

#[test]
fn redis_is_spoken_to_over_tls_where_its_certificate_can_be_verified() {
    let (authority, folder) = (Authority::new("redis"), tempfile::tempdir().unwrap());
    let (cert, key) = authority.issue(&["127.0.0.1"]).write(folder.path(), "redis");
    let [cert, key] = [cert, key].map(|path| path.display().to_string());
    let port = support::free_port();
    let secure = port.to_string();
    let options = ["--tls-port", &secure, "--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-auth-clients", "no"];
    let redis = Redis::start_with(&[&options[..], &["--tls-ca-cert-file", &cert]].concat(), None);
    let limit = "[ { rate-limit: { rate: 1/h, scope: redis, on-redis-failure: refuse } } ]";
    let weir = |ca: &Authority| {
        let top = format!("redis: {{ url: \"rediss://127.0.0.1:{port}\", ca: ca.pem, timeout: 2s }}");
        Weir::start_with(&file(&top, limit), &[("ca.pem", &ca.pem())])
    };
    let trusting = weir(&authority);
    assert_eq!(statuses(&trusting, 2, as_it_is), [200, 429]);
    let other = weir(&Authority::new("another"));
    assert_eq!(statuses(&other, 2, as_it_is), [503; 2]);
    eventually("it is said why", || other.log().contains("UnknownIssuer").then_some(()));
    drop(redis);
}

#[test]
fn a_redis_that_is_full_is_as_good_as_none() {
    let redis = Redis::start_with(&["--maxmemory", "1", "--maxmemory-policy", "noeviction"], None);
    let weir = Weir::start(&in_redis(&redis, "[ { rate-limit: { rate: 1/h, burst: 1, scope: redis } } ]"));
    assert_eq!(statuses(&weir, 3, as_it_is), [200, 200, 429], "each by itself");
    assert_eq!(weir.metric("weir_redis_up", &[]), Some(0.0));
    redis.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    eventually("it counts", || (weir.metric("weir_redis_up", &[]) == Some(1.0)).then_some(()));
    assert_eq!(statuses(&weir, 3, as_it_is), [200, 200, 429], "in Redis nothing was counted");
}

#[test]
fn a_reload_keeps_connections_and_another_redis_takes_them_all() {
    let (redis, other) = (Redis::start(), Redis::start());
    let limit = |burst: u32| format!("[ {{ rate-limit: {{ rate: 1/h, burst: {burst}, scope: redis }} }} ]");
    let weir = Weir::start(&format!("threads: 1\n{}", in_redis(&redis, &limit(1))));
    assert_eq!(statuses(&weir, 3, as_it_is), [200, 200, 429]);
    let before = redis.info("total_connections_received");
    weir.reload(&format!("threads: 1\n{}", in_redis(&redis, &limit(2))));
    assert_eq!(statuses(&weir, 2, as_it_is), [200, 429]);
    assert_eq!(redis.info("total_connections_received") - before, 1, "but for that of redis-cli");
    weir.reload(&format!("threads: 1\n{}", in_redis(&other, &limit(2))));
    assert_eq!(statuses(&weir, 4, as_it_is), [200, 200, 200, 429]);
    eventually("the first is left", || (redis.connections() == 0 && other.connections() == 1).then_some(()));
}

#[test]
fn a_share_is_the_rate_by_the_number_of_replicas() {
    let limit = "[ { rate-limit: { rate: 6/h, burst: 8, scope: replica-share } } ]";
    let weir = Weir::start(&file("replicas: { count: 2 }", limit));
    assert_eq!(how_many(&statuses(&weir, 12, as_it_is), 200), 5);
    let refused = weir.get("/");
    let seconds: u64 = refused.header("retry-after").expect("it is told").parse().expect("whole seconds");
    assert!((1100..=1201).contains(&seconds), "{seconds}");
    let text = weir.admin("/explain?url=http://a.test/&from=127.0.0.1").text();
    assert!(text.contains("6/h, burst 8, delay none, shared by 2 replicas"), "{text}");
    weir.reload(&file("replicas: { count: 1 }", limit));
    assert_eq!(how_many(&statuses(&weir, 12, as_it_is), 200), 4, "what was counted is kept");
    weir.reload(&file("replicas: { count: 4 }", limit));
    assert_eq!(how_many(&statuses(&weir, 2, as_it_is), 200), 0);
    let file = weir_command().arg("check").arg(weir.file()).output().unwrap();
    assert!(file.status.success());
}

#[test]
fn replicas_are_as_many_as_their_name_has_addresses() {
    let knot = Knot::start("hmac-sha256", &[("svc.test", "weir A 10.0.0.1\nweir A 10.0.0.2\nweir A 10.0.0.3\n")]);
    let top = format!("resolvers: [ \"{}\" ]\nreplicas: {{ dns: weir.svc.test }}", knot.address);
    let weir = Weir::start(&file(&top, "[ { rate-limit: { rate: 6/h, burst: 9, scope: replica-share } } ]"));
    eventually("they are counted", || {
        weir.admin("/explain?url=http://a.test/&from=127.0.0.1").text().contains("shared by 3 replicas").then_some(())
    });
    assert_eq!(how_many(&statuses(&weir, 8, as_it_is), 200), 4);
}
