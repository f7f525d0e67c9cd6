//! `cache` on the wire: what is kept and for how long, what is shown when the upstream fails, who waits for whom, what outlives the
//! process, and how it is taken out. Every key with a value that is not its default.

mod support;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::{Answer, Connection, H2Client, Origin, Received, Response, Weir, eventually, free_address, request};

/// Answers with the lines that stand for the path in its table, and a number that grows with each answer.
struct Numbered {
    origin: Origin,
    lines: Arc<Mutex<Vec<(String, u16, String)>>>,
}

impl Numbered {
    fn start() -> Self {
        Self::start_at(free_address())
    }

    fn start_at(address: SocketAddr) -> Self {
        let (lines, count) = (Arc::<Mutex<Vec<(String, u16, String)>>>::default(), AtomicUsize::new(0));
        let table = lines.clone();
        let origin = Origin::start_at(address, move |request: &Received| {
            let path = request.target.split('?').next().unwrap_or_default();
            let table = table.lock().unwrap();
            let (status, lines) = table
                .iter()
                .rev()
                .find(|(known, _, _)| path == known)
                .map_or((200, "Cache-Control: max-age=60\r\n"), |(_, status, lines)| (*status, lines));
            let etag = lines.split("\r\n").find_map(|line| line.strip_prefix("ETag: "));
            if etag.is_some() && request.header("if-none-match") == etag {
                return Answer::Send(format!("HTTP/1.1 304 Not Modified\r\n{lines}\r\n").into_bytes());
            }
            let body = format!("answer {}", count.fetch_add(1, Relaxed));
            Answer::Send(
                format!("HTTP/1.1 {status} Scripted\r\n{lines}Content-Length: {}\r\n\r\n{body}", body.len())
                    .into_bytes(),
            )
        });
        Self { origin, lines }
    }

    /// From now on.
    fn say(&self, path: &str, status: u16, lines: &str) {
        self.lines.lock().unwrap().push((path.into(), status, lines.into()));
    }

    fn asked(&self) -> usize {
        self.origin.received().len()
    }
}

fn file(origin: SocketAddr, cache: &str) -> String {
    file_with(origin, cache, "")
}

/// `keys` are the upstream's.
fn file_with(origin: SocketAddr, cache: &str, keys: &str) -> String {
    format!(
        "upstreams: {{ origin: {{ endpoints: [\"{origin}\"], outlier-detection: off, retry: {{ attempts: 1 }}, {keys} }} }}\n\
         hosts:\n  - names: [\"*\"]\n    filters: [ {{ cache: {cache} }} ]\n    routes: [ {{ path: /, upstream: origin }} ]\n"
    )
}

fn status(response: &Response) -> &str {
    response.header("x-cache-status").unwrap_or("none")
}

/// What it was, and what became of it in the cache.
fn got(response: Response) -> (String, String) {
    (response.text(), status(&response).to_owned())
}

fn pair(text: &str, status: &str) -> (String, String) {
    (text.into(), status.into())
}

#[test]
fn an_answer_is_kept_and_shown_again() {
    let origin = Numbered::start();
    let weir = Weir::start(&file(origin.origin.address, "{}"));
    let first = weir.get("/a?b=1");
    assert_eq!((first.text().as_str(), status(&first), first.header("age")), ("answer 0", "MISS", None));
    assert_eq!(first.header("cache-status"), Some("weir; fwd=uri-miss; fwd-status=200; stored"));
    let second = weir.get("/a?b=1");
    assert_eq!((second.text().as_str(), status(&second)), ("answer 0", "HIT"));
    assert!(second.header("age").is_some_and(|age| age.parse::<u64>().is_ok_and(|age| age < 10)));
    assert!(second.header("cache-status").is_some_and(|words| words.starts_with("weir; hit; ttl=")));
    assert_eq!(second.header("content-length"), Some("8"));
    assert_eq!(got(weir.get("/a?b=2")), pair("answer 1", "MISS"), "another query is another URL");
    assert_eq!(got(weir.request("GET", "/a?b=1").host("b.test").send()), pair("answer 2", "MISS"), "and another host");
    let head = weir.request("HEAD", "/a?b=1").send();
    assert_eq!((head.status, status(&head), head.header("content-length")), (200, "HIT", Some("8")));
    assert_eq!(got(weir.request("POST", "/p").body("x").send()), pair("answer 3", "none"));
    assert_eq!(origin.asked(), 4);
}

#[test]
fn a_head_request_fetches_the_whole_answer() {
    let origin = Numbered::start();
    let weir = Weir::start(&file(origin.origin.address, "{}"));
    let head = weir.request("HEAD", "/a").send();
    assert_eq!((status(&head), head.text().as_str()), ("MISS", ""));
    assert_eq!(got(weir.get("/a")), pair("answer 0", "HIT"));
    assert_eq!(origin.origin.received()[0].method, "GET");
}

#[test]
fn http2_clients_share_what_is_kept() {
    let origin = Numbered::start();
    let weir = Weir::start(&file(origin.origin.address, "{}"));
    assert_eq!(got(weir.get("/a")), pair("answer 0", "MISS"));
    let response = H2Client::plain(weir.http).get("weir.test", "/a");
    assert_eq!((response.header("x-cache-status"), response.text().as_str()), (Some("HIT"), "answer 0"));
}

#[test]
fn what_http2_clients_send_with_a_get_keeps_its_answer_out_of_the_cache() {
    let origin = Numbered::start();
    let weir = Weir::start(&file(origin.origin.address, "{}"));
    let mut client = H2Client::plain(weir.http);
    for (number, method) in ["GET", "GET", "HEAD"].into_iter().enumerate() {
        let response = client.send(method, "weir.test", "/a", &[], Some("x=evil".into()));
        assert_eq!((response.status, response.header("x-cache-status")), (200, None), "{method} {number}");
    }
    let plain = client.get("weir.test", "/a");
    assert_eq!((plain.header("x-cache-status"), plain.text().as_str()), (Some("MISS"), "answer 3"));
    let with_body = client.send("GET", "weir.test", "/a", &[], Some("x=evil".into()));
    assert_eq!(with_body.text(), "answer 4", "nor is it answered from there");
    assert_eq!(client.get("weir.test", "/a").text(), "answer 3");
}

#[test]
fn lifetimes_by_status_hold_for_answers_that_say_nothing() {
    let origin = Numbered::start();
    origin.say("/plain", 200, "");
    origin.say("/gone", 404, "");
    origin.say("/teapot", 418, "");
    origin.say("/broken", 500, "");
    origin.say("/own", 404, "Cache-Control: max-age=60\r\n");
    let cache = "{ ttl: { 200: 1h, 404: 1s, 500: 0s, any: 1h } }";
    let weir = Weir::start(&file(origin.origin.address, cache));
    for (path, second) in
        [("/plain", "HIT"), ("/gone", "HIT"), ("/teapot", "HIT"), ("/broken", "MISS"), ("/own", "HIT")]
    {
        assert_eq!(status(&weir.get(path)), "MISS", "{path}");
        assert_eq!(status(&weir.get(path)), second, "{path}");
    }
    eventually("the answer of 404 has expired", || (status(&weir.get("/gone")) == "EXPIRED").then_some(()));
    assert_eq!(status(&weir.get("/own")), "HIT", "its own word counts");
}

#[test]
fn one_lifetime_is_for_200_301_and_302() {
    let origin = Numbered::start();
    for (path, status) in [("/200", 200), ("/301", 301), ("/302", 302), ("/404", 404)] {
        origin.say(path, status, "");
    }
    let weir = Weir::start(&file(origin.origin.address, "{ ttl: 1h }"));
    for (path, second) in [("/200", "HIT"), ("/301", "HIT"), ("/302", "HIT"), ("/404", "MISS")] {
        weir.get(path);
        assert_eq!(status(&weir.get(path)), second, "{path}");
    }
}

#[test]
fn what_the_answer_says_of_itself_comes_first_unless_it_is_ignored() {
    let origin = Numbered::start();
    origin.say("/private", 200, "Cache-Control: private\r\n");
    origin.say("/no-store", 200, "Cache-Control: no-store\r\n");
    origin.say("/accel", 200, "X-Accel-Expires: 60\r\nCache-Control: no-store\r\n");
    origin.say("/expired", 200, "Expires: Thu, 01 Jan 1970 00:00:01 GMT\r\n");
    origin.say("/cookie", 200, "Set-Cookie: a=b\r\nCache-Control: max-age=60\r\n");
    let (follow, ignore) = ("{ ttl: 1h }", "{ ttl: 1h, upstream-ttl: ignore }");
    for (cache, seconds) in
        [(follow, ["MISS", "MISS", "HIT", "MISS", "MISS"]), (ignore, ["HIT", "HIT", "HIT", "HIT", "MISS"])]
    {
        let weir = Weir::start(&file(origin.origin.address, cache));
        for (path, second) in ["/private", "/no-store", "/accel", "/expired", "/cookie"].into_iter().zip(seconds) {
            let first = weir.get(path);
            assert_eq!((status(&first), first.header("x-accel-expires")), ("MISS", None), "{path}");
            assert_eq!(status(&weir.get(path)), second, "{cache} {path}");
        }
    }
    let weir = Weir::start(&file(origin.origin.address, follow));
    let words = weir.get("/cookie");
    assert_eq!(words.header("cache-status"), Some("weir; fwd=uri-miss; fwd-status=200; detail=\"it sets a cookie\""));
}

#[test]
fn credentials_keep_an_answer_from_being_shared_unless_it_says_otherwise() {
    let origin = Numbered::start();
    origin.say("/public", 200, "Cache-Control: public, max-age=60\r\n");
    let weir = Weir::start(&file(origin.origin.address, "{ ttl: 1h }"));
    let with = |path: &str| got(weir.request("GET", path).header("Authorization", "Basic YTpi").send());
    assert_eq!(with("/a"), pair("answer 0", "MISS"));
    assert_eq!(with("/a"), pair("answer 1", "MISS"));
    assert_eq!(got(weir.get("/a")), pair("answer 2", "MISS"));
    assert_eq!(with("/public"), pair("answer 3", "MISS"));
    assert_eq!(got(weir.get("/public")), pair("answer 3", "HIT"));
}

#[test]
fn an_answer_for_somebody_who_had_to_sign_in_is_not_shared_either() {
    let (origin, doorman) = (Numbered::start(), Origin::named("come in"));
    origin.say("/mine", 200, "");
    origin.say("/public", 200, "Cache-Control: public, max-age=60\r\n");
    let auth = format!("filters: [ {{ forward-auth: {{ url: \"http://{}/\" }} }}, ", doorman.address);
    let weir = Weir::start(&file(origin.origin.address, "{ ttl: 1h }").replace("filters: [ ", &auth));
    let with = |path: &str, cookie: &str| got(weir.request("GET", path).header("Cookie", cookie).send());
    assert_eq!(with("/mine", "session=a"), pair("answer 0", "MISS"));
    assert_eq!(with("/mine", "session=b"), pair("answer 1", "MISS"), "whoever is known by a cookie");
    assert_eq!(with("/public", "session=a"), pair("answer 2", "MISS"));
    assert_eq!(with("/public", "session=b"), pair("answer 2", "HIT"));
}

#[test]
fn what_an_upstream_is_told_besides_the_key_is_nobody_elses() {
    let origin = Origin::start(|request: &Received| {
        let lines = "Cache-Control: max-age=60, private=\"X-Own\"\r\nX-Own: secret\r\nVary: X-Client\r\n";
        let lines = if request.target == "/varies" { lines } else { &lines[..lines.find("Vary").unwrap()] };
        Answer::with_headers(lines, request.header("host").unwrap_or_default())
    });
    let edits = "{ headers: { request: { set: { X-Client: '${client-ip}' } } } }";
    let filters = format!("{{ cache: {{}} }}, {edits}");
    let weir = Weir::start(&file(origin.address, "{}").replace("{ cache: {} }", &filters));
    let ask = |host: &str, target: &str| weir.request("GET", target).host(host).send();
    assert_eq!(got(ask("a.test:1", "/")), pair("a.test:1", "MISS"));
    assert_eq!(got(ask("a.test", "/")), pair("a.test", "MISS"), "nobody else is sent to that port");
    assert_eq!(got(ask("a.test:80", "/")), pair("a.test", "HIT"), "the port that it has anyway");
    assert_eq!(ask("a.test", "/").header("x-own"), None, "it is one client's own");
    for _ in 0..2 {
        assert_eq!(status(&ask("a.test", "/varies")), "MISS", "it varies by what no client sends");
    }
}

#[test]
fn somebody_with_credentials_takes_the_cache_from_nobody() {
    let origin = Numbered::start();
    let weir = Weir::start(&file(origin.origin.address, "{}"));
    assert_eq!(weir.request("GET", "/a").header("Authorization", "x").send().text(), "answer 0");
    assert_eq!(got(weir.get("/a")), pair("answer 1", "MISS"));
    assert_eq!(got(weir.get("/a")), pair("answer 1", "HIT"));
}

#[test]
fn a_lifetime_beyond_all_clocks_is_a_long_one() {
    let origin = Numbered::start();
    let weir = Weir::start(&file(origin.origin.address, "{}"));
    for (path, time) in [("/a", "9223372036854775807"), ("/b", "@18446744073709551615")] {
        origin.say(path, 200, &format!("X-Accel-Expires: {time}\r\nCache-Control: max-age=60\r\n"));
        assert_eq!([weir.get(path).status, weir.get(path).status], [200; 2], "{time}");
    }
}

#[test]
fn variants_are_kept_apart() {
    let origin = Numbered::start();
    origin.say("/v", 200, "Cache-Control: max-age=60\r\nVary: Accept-Language\r\n");
    let weir = Weir::start(&file(origin.origin.address, "{}"));
    let of = |language: &str| got(weir.request("GET", "/v").header("Accept-Language", language).send());
    assert_eq!(of("de"), pair("answer 0", "MISS"));
    assert_eq!(of("fr"), pair("answer 1", "MISS"));
    assert_eq!((of("de"), of("fr")), (pair("answer 0", "HIT"), pair("answer 1", "HIT")));
    assert_eq!(got(weir.get("/v")), pair("answer 2", "MISS"));
}

#[test]
fn a_key_says_what_tells_requests_apart() {
    let origin = Numbered::start();
    let cache = "{ key: [ host, path, { header: X-Tenant }, { cookie: site }, { query: page } ] }";
    let weir = Weir::start(&file(origin.origin.address, cache));
    assert_eq!(got(weir.get("/a?page=1&utm=x")), pair("answer 0", "MISS"));
    assert_eq!(got(weir.get("/a?utm=y&page=1")), pair("answer 0", "HIT"), "the rest of the query is not regarded");
    assert_eq!(got(weir.get("/a?page=2")), pair("answer 1", "MISS"));
    let tenant = |name: &str| got(weir.request("GET", "/a?page=1").header("X-Tenant", name).send());
    assert_eq!((tenant("t").1, tenant("t").1, tenant("u").1), ("MISS".into(), "HIT".into(), "MISS".into()));
    let site = |cookie: &str| got(weir.request("GET", "/a?page=1").header("Cookie", cookie).send());
    assert_eq!((site("site=s").1, site("x=y; site=s").1), ("MISS".into(), "HIT".into()));
    assert_eq!(site("x=y"), pair("answer 0", "HIT"));
}

#[test]
fn conditions_bypass_the_cache_or_keep_answers_out_of_it() {
    let origin = Numbered::start();
    let cache = "{ bypass: [ { header: X-Anew }, { query: anew } ], no-store: [ { cookie: session } ], key: [ path ] }";
    let weir = Weir::start(&file(origin.origin.address, cache));
    let session = || got(weir.request("GET", "/a").header("Cookie", "session=1").send());
    assert_eq!((session(), session()), (pair("answer 0", "MISS"), pair("answer 1", "MISS")));
    assert_eq!(got(weir.get("/a")), pair("answer 2", "MISS"));
    assert_eq!(session(), pair("answer 2", "HIT"), "what is kept may be shown");
    let anew = weir.request("GET", "/a").header("X-Anew", "1").send();
    assert_eq!(anew.header("cache-status"), Some("weir; fwd=bypass; fwd-status=200; stored"));
    assert_eq!(got(anew), pair("answer 3", "BYPASS"));
    assert_eq!(got(weir.get("/a")), pair("answer 3", "HIT"), "its answer is kept");
    assert_eq!(got(weir.request("GET", "/a").header("X-Anew", "0").send()), pair("answer 3", "HIT"), "0 is no");
    assert_eq!(got(weir.get("/a?anew=yes")), pair("answer 4", "BYPASS"));
}

#[test]
fn a_thousand_requests_at_once_make_one_of_the_upstream() {
    let origin = Origin::start(|_: &Received| {
        Answer::drive(|stream| {
            // So that all of them have arrived.
            std::thread::sleep(Duration::from_secs(1));
            let _ = std::io::Write::write_all(
                stream,
                b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok",
            );
        })
    });
    let weir = Weir::start(&file(origin.address, "{ lock: 30s }"));
    let mut clients: Vec<Connection> = (0..1000).map(|_| weir.connect()).collect();
    for client in &mut clients {
        client.write("GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n");
    }
    let (mut hits, mut collapsed) = (0, 0);
    for client in &mut clients {
        let response = client.read_response();
        assert_eq!((response.status, response.text().as_str()), (200, "ok"));
        hits += usize::from(status(&response) == "HIT");
        collapsed += usize::from(response.header("cache-status").is_some_and(|words| words.ends_with("collapsed")));
    }
    assert_eq!((origin.received().len(), hits), (1, 999));
    assert!(collapsed > 500, "{collapsed} waited");
}

#[test]
fn who_waits_too_long_or_need_not_wait_goes_on_alone() {
    for (lock, least) in [("off", 0), ("200ms", 150)] {
        let origin = Origin::start(|request: &Received| match request.header("x-slow") {
            Some(_) => Answer::Silence,
            None => Answer::with_headers("Cache-Control: max-age=60\r\n", "ok"),
        });
        let weir = Weir::start(&file(origin.address, &format!("{{ lock: {lock} }}")));
        let mut slow = weir.connect();
        slow.write("GET /a HTTP/1.1\r\nHost: a.test\r\nX-Slow: 1\r\n\r\n");
        eventually("the first is on its way", || (origin.received().len() == 1).then_some(()));
        let begun = std::time::Instant::now();
        assert_eq!(weir.request("GET", "/a").host("a.test").send().text(), "ok");
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(least) && took < Duration::from_secs(4), "{lock}: {took:?}");
    }
}

#[test]
fn stale_answers_are_shown_on_what_is_listed() {
    let address = free_address();
    let origin = Numbered::start_at(address);
    for path in ["/broken", "/busy", "/down", "/forbidden"] {
        origin.say(path, 200, "Cache-Control: max-age=0\r\nETag: \"x\"\r\n");
    }
    let cache = "{ use-stale: [ error, 503, 403 ], stale-for: 1h }";
    let weir = Weir::start(&file(address, cache));
    for path in ["/broken", "/busy", "/down", "/forbidden"] {
        assert_eq!(status(&weir.get(path)), "MISS");
    }
    origin.say("/busy", 503, "");
    origin.say("/broken", 500, "");
    origin.say("/forbidden", 403, "");
    let busy = weir.get("/busy");
    assert!(busy.header("cache-status").is_some_and(|words| words.starts_with("weir; hit; fwd=stale; ttl=-")));
    assert_eq!((busy.status, got(busy)), (200, pair("answer 1", "STALE")));
    assert_eq!(weir.get("/forbidden").status, 200);
    assert_eq!(weir.get("/broken").status, 500, "which is not listed");
    drop(origin);
    let down = weir.get("/down");
    assert_eq!((down.status, got(down)), (200, pair("answer 2", "STALE")));
    eventually("it is in the log", || weir.log().contains(r#""cache":"stale","ended":"completed""#).then_some(()));
    let metric = weir.metric("weir_cache_requests_total", &["outcome=\"stale\""]);
    assert_eq!(metric, Some(3.0));
}

#[test]
fn a_slow_upstream_is_passed_over_where_timeout_is_listed() {
    let origin = Origin::start(|request: &Received| match request.header("x-slow") {
        Some(_) => Answer::Silence,
        None => Answer::with_headers("Cache-Control: max-age=0\r\nETag: \"a\"\r\n", "kept"),
    });
    for (listed, expected) in [("timeout", 200), ("error", 504)] {
        let cache = format!("{{ use-stale: [ {listed} ], bypass: [ {{ header: X-Anew }} ] }}");
        let weir = Weir::start(&file_with(origin.address, &cache, "timeouts: { read: 300ms }"));
        weir.get("/a");
        assert_eq!(weir.request("GET", "/a").header("X-Slow", "1").send().status, expected, "{listed}");
    }
}

#[test]
fn stale_answers_end_with_their_time() {
    let address = free_address();
    let origin = Numbered::start_at(address);
    origin.say("/a", 200, "Cache-Control: max-age=0\r\nETag: \"x\"\r\n");
    let weir = Weir::start(&file(address, "{ use-stale: [ error ], stale-for: 2s }"));
    weir.get("/a");
    drop(origin);
    assert_eq!(status(&weir.get("/a")), "STALE");
    eventually("the stale answer is too old", || (weir.get("/a").status == 502).then_some(()));
}

#[test]
fn what_an_answer_allows_of_itself_needs_no_listing() {
    let address = free_address();
    let origin = Numbered::start_at(address);
    origin.say("/a", 200, "Cache-Control: max-age=0, stale-if-error=60\r\n");
    origin.say("/strict", 200, "Cache-Control: max-age=0, must-revalidate\r\nETag: \"x\"\r\n");
    let weir = Weir::start(&file(address, "{ use-stale: [ error ] }"));
    weir.get("/a");
    weir.get("/strict");
    let unlisted = Weir::start(&file(address, "{}"));
    unlisted.get("/a");
    drop(origin);
    assert_eq!(status(&unlisted.get("/a")), "STALE");
    assert_eq!(weir.get("/strict").status, 502, "it must not be shown unvalidated");
}

#[test]
fn a_stale_answer_is_shown_while_it_is_fetched_anew() {
    let origin = Numbered::start();
    origin.say("/a", 200, "Cache-Control: max-age=1, stale-while-revalidate=60\r\n");
    let cache = "{}";
    let filters = "rate-limit: { rate: 1000/s, key: host }";
    let text = file(origin.origin.address, cache).replace("filters: [ ", &format!("filters: [ {{ {filters} }}, "));
    let weir = Weir::start(&text);
    assert_eq!(status(&weir.get("/a")), "MISS");
    let updating = eventually("it is past its time", || {
        let response = weir.get("/a");
        (status(&response) == "STALE").then_some(response)
    });
    assert_eq!(updating.text(), "answer 0", "what is there is shown at once");
    eventually("it has been fetched behind", || (weir.get("/a").text() == "answer 1").then_some(()));
    let counted = weir.metric("weir_rate_limit_total", &["outcome=\"passed\""]).unwrap();
    let requests = weir.metric("weir_requests_total", &["route=", "code=\"200\""]).unwrap();
    assert_eq!(counted, requests, "who refreshes behind is no client");
}

#[test]
fn what_an_http2_client_is_shown_stale_is_fetched_anew_behind_it() {
    // With a pace the stream is one of Weir's own sessions.
    for pace in ["", "bandwidth: { rate: 100MB/s }"] {
        let origin = Numbered::start();
        origin.say("/a", 200, "Cache-Control: max-age=1, stale-while-revalidate=60\r\n");
        let filters = format!("filters: [ {}", if pace.is_empty() { String::new() } else { format!("{{ {pace} }}, ") });
        let weir = Weir::start(&file(origin.origin.address, "{}").replace("filters: [ ", &filters));
        let mut client = H2Client::plain(weir.http);
        assert_eq!(client.get("weir.test", "/a?b=1").text(), "answer 0");
        let stale = eventually("it is past its time", || {
            let response = client.get("weir.test", "/a?b=1");
            (response.header("x-cache-status") == Some("STALE")).then_some(response)
        });
        assert_eq!(stale.text(), "answer 0");
        eventually("it has been fetched", || (origin.asked() == 2).then_some(()));
        assert_eq!(origin.origin.last_request().header("host"), Some("weir.test"));
        eventually("and is shown", || (client.get("weir.test", "/a?b=1").text() == "answer 1").then_some(()));
    }
}

#[test]
fn updating_can_be_listed_for_answers_that_do_not_allow_it_themselves() {
    let origin = Numbered::start();
    origin.say("/a", 200, "");
    let weir = Weir::start(&file(origin.origin.address, "{ ttl: 1s, use-stale: [ updating ] }"));
    weir.get("/a");
    eventually("a stale answer is shown", || (status(&weir.get("/a")) == "STALE").then_some(()));
    eventually("and renewed behind", || (weir.get("/a").text() == "answer 1").then_some(()));
}

#[test]
fn one_waits_and_the_others_are_shown_what_is_stale_where_background_updates_are_off() {
    let slow = Arc::new(AtomicUsize::new(0));
    let count = slow.clone();
    let origin = Origin::start(move |_: &Received| {
        let number = count.fetch_add(1, Relaxed);
        Answer::drive(move |stream| {
            std::thread::sleep(Duration::from_millis(if number == 1 { 1500 } else { 0 }));
            let answer = format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=1\r\nContent-Length: 1\r\n\r\n{number}");
            let _ = std::io::Write::write_all(stream, answer.as_bytes());
        })
    });
    let weir = Weir::start(&file(origin.address, "{ use-stale: [ updating ], background-update: false }"));
    assert_eq!(weir.get("/a").text(), "0");
    std::thread::scope(|scope| {
        let first = scope.spawn(|| {
            eventually("it is fetched anew", || {
                let response = weir.get("/a");
                (status(&response) != "HIT" && status(&response) != "UPDATING").then_some(response)
            })
        });
        eventually("the first is on its way", || (slow.load(Relaxed) == 2).then_some(()));
        assert_eq!(got(weir.get("/a")), pair("0", "UPDATING"));
        assert_eq!(got(first.join().unwrap()), pair("1", "EXPIRED"), "it has waited");
    });
}

#[test]
fn what_is_past_its_time_is_validated() {
    let origin = Numbered::start();
    origin.say("/a", 200, "Cache-Control: max-age=1\r\nETag: \"v1\"\r\n");
    let weir = Weir::start(&file(origin.origin.address, "{}"));
    weir.get("/a");
    let again = eventually("it is validated", || {
        let response = weir.get("/a");
        (status(&response) == "REVALIDATED").then_some(response)
    });
    assert_eq!((again.status, again.text().as_str()), (200, "answer 0"));
    let asked = origin.origin.received();
    assert_eq!(asked.last().and_then(|request| request.header("if-none-match")), Some("\"v1\""));
    origin.say("/a", 200, "Cache-Control: max-age=60\r\nETag: \"v2\"\r\n");
    let changed = eventually("it has changed", || {
        let response = weir.get("/a");
        (status(&response) == "EXPIRED").then_some(response)
    });
    assert_eq!(changed.text(), "answer 1");
    assert_eq!(got(weir.get("/a")), pair("answer 1", "HIT"));
}

#[test]
fn clients_conditions_and_ranges_are_answered_from_what_is_kept() {
    let origin = Numbered::start();
    origin.say("/a", 200, "Cache-Control: max-age=60\r\nETag: \"v1\"\r\nAccept-Ranges: bytes\r\n");
    let weir = Weir::start(&file(origin.origin.address, "{}"));
    // A first request with conditions fetches the whole.
    let first = weir.request("GET", "/a").header("Range", "bytes=0-1").send();
    assert_eq!((first.status, first.text().as_str()), (206, "an"));
    let same = weir.request("GET", "/a").header("If-None-Match", "\"v1\"").send();
    assert_eq!((same.status, status(&same), same.text().as_str()), (304, "HIT", ""));
    let other = weir.request("GET", "/a").header("If-None-Match", "\"v0\"").send();
    assert_eq!((other.status, got(other)), (200, pair("answer 0", "HIT")));
    let part = weir.request("GET", "/a").header("Range", "bytes=2-4").send();
    assert_eq!((part.status, part.header("content-range"), part.text().as_str()), (206, Some("bytes 2-4/8"), "swe"));
    let beyond = weir.request("GET", "/a").header("Range", "bytes=80-").send();
    assert_eq!(beyond.status, 416);
    assert_eq!(origin.asked(), 1);
}

#[test]
fn an_answer_is_kept_from_its_second_request_on_where_min_uses_says_so() {
    let origin = Numbered::start();
    let weir = Weir::start(&file(origin.origin.address, "{ min-uses: 2 }"));
    let outcomes: Vec<_> = (0..3).map(|_| got(weir.get("/a"))).collect();
    assert_eq!(outcomes, [pair("answer 0", "MISS"), pair("answer 1", "MISS"), pair("answer 1", "HIT")]);
}

#[test]
fn larger_bodies_than_allowed_are_not_kept_with_or_without_a_length() {
    let origin = Origin::start(|request: &Received| {
        let body = "x".repeat(3000);
        let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n";
        match request.target.as_str() {
            "/chunked" => {
                Answer::Send(format!("{head}Transfer-Encoding: chunked\r\n\r\nbb8\r\n{body}\r\n0\r\n\r\n").into_bytes())
            }
            "/small" => Answer::with_headers("Cache-Control: max-age=60\r\n", "x"),
            _ => Answer::Send(format!("{head}Content-Length: 3000\r\n\r\n{body}").into_bytes()),
        }
    });
    let weir = Weir::start(&file(origin.address, "{ max-object: 1KiB }"));
    for (path, second, length) in [("/sized", "MISS", 3000), ("/chunked", "MISS", 3000), ("/small", "HIT", 1)] {
        assert_eq!(weir.get(path).text().len(), length);
        let again = weir.get(path);
        assert_eq!((status(&again), again.text().len()), (second, length), "{path}");
    }
}

#[test]
fn chunked_answers_are_kept_whole() {
    let origin = Origin::start(|_: &Received| {
        Answer::Send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n".to_vec())
    });
    let weir = Weir::start(&file(origin.address, "{}"));
    assert_eq!(got(weir.get("/a")), pair("abcde", "MISS"));
    let hit = weir.get("/a");
    assert_eq!((hit.header("content-length"), hit.header("transfer-encoding")), (Some("5"), None));
    assert_eq!(got(hit), pair("abcde", "HIT"));
}

#[test]
fn an_answer_that_breaks_off_is_not_kept() {
    let origin = Origin::start(|_: &Received| {
        Answer::SendAndClose(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\nabc".to_vec())
    });
    let weir = Weir::start(&file(origin.address, "{}"));
    for _ in 0..2 {
        assert!(weir.request("GET", "/a").try_send().is_err());
    }
    assert_eq!(origin.received().len(), 2);
}

#[test]
fn clients_are_heeded_where_the_file_says_so() {
    let origin = Numbered::start();
    let heed = Weir::start(&file(origin.origin.address, "{ client-cache-control: heed }"));
    let ask = |weir: &Weir, value: &str| weir.request("GET", "/a").header("Cache-Control", value).send();
    let alone = ask(&heed, "only-if-cached");
    assert_eq!((alone.status, origin.asked()), (504, 0));
    assert_eq!(got(ask(&heed, "no-store")), pair("answer 0", "MISS"));
    assert_eq!(got(heed.get("/a")), pair("answer 1", "MISS"));
    assert_eq!(got(ask(&heed, "only-if-cached")), pair("answer 1", "HIT"));
    assert_eq!(got(ask(&heed, "no-cache")), pair("answer 2", "EXPIRED"));
    assert_eq!(got(ask(&heed, "max-age=0")), pair("answer 3", "EXPIRED"));
    assert_eq!(got(ask(&heed, "max-age=30")), pair("answer 3", "HIT"));
    let ignore = Weir::start(&file(origin.origin.address, "{}"));
    ignore.get("/a");
    assert_eq!(status(&ask(&ignore, "no-cache")), "HIT");
}

#[test]
fn nothing_is_told_where_status_headers_are_off() {
    let origin = Numbered::start();
    let weir = Weir::start(&file(origin.origin.address, "{ status-headers: false }"));
    for _ in 0..2 {
        let response = weir.get("/a");
        assert_eq!(
            (response.text().as_str(), response.header("cache-status"), status(&response)),
            ("answer 0", None, "none")
        );
    }
    eventually("it is in the log", || weir.log().contains(r#""cache":"hit""#).then_some(()));
}

#[test]
fn a_change_puts_what_is_kept_of_its_url_out_of_date() {
    let origin = Numbered::start();
    origin.say("/moves", 201, "Content-Location: /b\r\n");
    origin.say("/refused", 400, "Cache-Control: max-age=60\r\n");
    let weir = Weir::start(&file(origin.origin.address, "{}"));
    for path in ["/a", "/b", "/refused"] {
        weir.get(path);
    }
    assert_eq!(status(&weir.get("/a")), "HIT");
    weir.request("PUT", "/a").body("new").send();
    assert_eq!(status(&weir.get("/a")), "MISS", "who has changed it does not see the old one");
    weir.request("POST", "/moves").body("new").send();
    assert_eq!((status(&weir.get("/b")), status(&weir.get("/a"))), ("MISS", "HIT"), "what the answer names");
    weir.request("POST", "/refused").body("new").send();
    assert_eq!(status(&weir.get("/refused")), "HIT", "nothing has changed");
}

#[test]
fn what_is_purged_is_fetched_anew() {
    let origin = Numbered::start();
    origin.say("/tagged", 200, "Cache-Control: max-age=60\r\nCache-Tag: red, green\r\n");
    let weir = Weir::start(&file(origin.origin.address, "{}"));
    let purge = |query: &str| {
        let response = request(weir.admin, "POST", &format!("/cache/purge?{query}")).send();
        (response.status, response.text().trim().to_owned())
    };
    let fill = || {
        ["/a?x=1", "/b/1", "/b/2", "/c", "/tagged"].map(|path| drop(weir.request("GET", path).host("a.test").send()))
    };
    let outcome = |path: &str| status(&weir.request("GET", path).host("a.test").send()).to_owned();
    fill();
    assert_eq!(purge("url=https://A.test/a%3Fx=1"), (202, "purged 1".into()));
    assert_eq!((outcome("/a?x=1"), outcome("/b/1")), ("MISS".into(), "HIT".into()));
    assert_eq!(purge("prefix=a.test/b/"), (202, "purged 2".into()));
    assert_eq!((outcome("/b/2"), outcome("/c")), ("MISS".into(), "HIT".into()));
    assert_eq!(purge("tag=green"), (202, "purged 1".into()));
    assert_eq!(outcome("/tagged"), "MISS");
    assert_eq!(purge("all=true&store=default").0, 202);
    assert_eq!(outcome("/c"), "MISS");
    assert_eq!(purge("all=true&store=nowhere"), (409, "there is no cache store \"nowhere\"".into()));
    assert_eq!(purge("").0, 400);
    assert_eq!(purge("url=a.test/&tag=x").0, 400);
    assert!(weir.metric("weir_cache_purged_total", &["store=\"default\""]).is_some_and(|purged| purged >= 4.0));
    assert!(weir.admin("/cache").text().contains("\"memory_objects\": 1"));
}

#[test]
fn what_is_kept_outlives_reloads() {
    let origin = Numbered::start();
    let weir = Weir::start(&file(origin.origin.address, "{}"));
    weir.get("/a");
    weir.reload(&file(origin.origin.address, "{ lock: 1s }"));
    assert_eq!(got(weir.get("/a")), pair("answer 0", "HIT"));
    let smaller = format!("cache-stores: {{ default: {{ memory: 100B }} }}\n{}", file(origin.origin.address, "{}"));
    weir.reload(&smaller);
    assert_eq!(status(&weir.get("/a")), "MISS", "there is no room for it any more");
    assert_eq!(status(&weir.get("/a")), "MISS");
}

fn on_disk(origin: SocketAddr, folder: &Path, memory: &str) -> String {
    format!(
        "cache-stores: {{ files: {{ memory: {memory}, disk: {{ path: \"{}\", size: 64MiB }} }} }}\n{}",
        folder.display(),
        file(origin, "{ store: files, max-object: 32MiB }")
    )
}

#[test]
fn what_is_on_disk_outlives_the_process() {
    let (origin, folder) = (Numbered::start(), tempfile::tempdir().unwrap());
    let cache = folder.path().join("deep/cache");
    origin.say("/tagged", 200, "Cache-Control: max-age=60\r\nCache-Tag: red\r\n");
    let text = on_disk(origin.origin.address, &cache, "1MiB");
    let mut weir = Weir::start(&text);
    for path in ["/a", "/tagged"] {
        weir.request("GET", path).host("a.test").send();
    }
    eventually("both are on the disk", || {
        (weir.metric("weir_cache_objects", &["tier=\"disk\""]) == Some(2.0)).then_some(())
    });
    weir.restart();
    let again = weir.request("GET", "/a").host("a.test").send();
    assert_eq!(got(again), pair("answer 0", "HIT"));
    eventually("the index is made", || {
        (weir.metric("weir_cache_objects", &["tier=\"disk\""]) == Some(2.0)).then_some(())
    });
    assert_eq!(request(weir.admin, "POST", "/cache/purge?tag=red").send().text(), "purged 1\n");
    assert_eq!(status(&weir.request("GET", "/tagged").host("a.test").send()), "MISS");
}

#[test]
fn large_answers_go_through_the_disk_and_come_back_in_ranges() {
    let body: Arc<str> = (0..600_000).map(|n| format!("{n:07};")).collect::<String>().into();
    let sent = body.clone();
    let origin = Origin::start(move |_: &Received| Answer::with_headers("Cache-Control: max-age=60\r\n", &sent));
    let folder = tempfile::tempdir().unwrap();
    let weir = Weir::start(&on_disk(origin.address, folder.path(), "1MiB"));
    assert_eq!(weir.get("/a").text(), *body);
    let hit = eventually("it is on the disk", || {
        let response = weir.get("/a");
        (status(&response) == "HIT").then_some(response)
    });
    assert_eq!(hit.text(), *body);
    let part = weir.request("GET", "/a").header("Range", "bytes=400000-1400007").send();
    assert_eq!((part.status, part.text().as_str()), (206, &body[400_000..=1_400_007]));
}

#[test]
fn a_disk_that_garbles_loses_or_refuses_is_a_miss_and_never_an_error() {
    let (origin, folder) = (Numbered::start(), tempfile::tempdir().unwrap());
    let cache = folder.path().join("cache");
    // Nothing stays in memory.
    let weir = Weir::start(&on_disk(origin.origin.address, &cache, "1KiB"));
    let files = || -> Vec<std::path::PathBuf> {
        let folders = std::fs::read_dir(&cache).into_iter().flatten().flatten();
        let folders = folders.filter(|entry| entry.file_name().len() == 2);
        folders.flat_map(|entry| std::fs::read_dir(entry.path()).unwrap()).map(|entry| entry.unwrap().path()).collect()
    };
    weir.get("/a");
    eventually("it is on the disk", || (status(&weir.get("/a")) == "HIT").then_some(()));
    // Garbled.
    std::fs::write(&files()[0], b"garbage").unwrap();
    assert_eq!(status(&weir.get("/a")), "MISS");
    assert_eq!(weir.metric("weir_cache_corrupt_total", &["store=\"files\""]), Some(1.0));
    eventually("it is kept again", || (status(&weir.get("/a")) == "HIT").then_some(()));
    // Lost.
    std::fs::remove_dir_all(&cache).unwrap();
    assert_eq!(status(&weir.get("/a")), "MISS");
    eventually("the folder is made anew", || (status(&weir.get("/a")) == "HIT").then_some(()));
    // Refusing: a file stands where the folder was.
    std::fs::remove_dir_all(&cache).unwrap();
    std::fs::write(&cache, b"").unwrap();
    for _ in 0..3 {
        let response = weir.get("/a");
        assert_eq!((response.status, status(&response)), (200, "MISS"));
    }
    eventually("the failures are counted", || {
        weir.metric("weir_cache_disk_errors_total", &["store=\"files\""]).filter(|failed| *failed >= 1.0)
    });
}

/// A real file system of 2 MiB, in a mount namespace of the process's own.
#[test]
fn a_disk_that_is_full_is_a_miss_and_never_an_error() {
    let body = "x".repeat(64 * 1024);
    let origin = Origin::start(move |_: &Received| Answer::with_headers("Cache-Control: max-age=60\r\n", &body));
    let folder = tempfile::tempdir().unwrap();
    let (disk, program) = (folder.path().join("disk"), folder.path().join("weir-on-a-small-disk"));
    std::fs::create_dir(&disk).unwrap();
    let (shown, binary) = (disk.display(), support::weir_binary());
    let script = format!(
        "#!/bin/sh\n[ \"$(id -u)\" = 0 ] || user='--user --map-root-user'\nexec unshare $user --mount sh -c \
         'mount -t tmpfs -o size=2m none {shown} && exec {} \"$@\"' sh \"$@\"\n",
        binary.display()
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let mut weir = Weir::spawn_program(&program, &on_disk(origin.address, &disk, "1KiB"));
    weir.wait_until_ready();

    for path in 0..100 {
        let answer = weir.get(&format!("/{path}"));
        assert_eq!((answer.status, answer.body.len(), status(&answer)), (200, 64 * 1024, "MISS"), "/{path}");
    }
    let refused = eventually("the disk refuses some", || {
        weir.metric("weir_cache_disk_errors_total", &["store=\"files\""]).filter(|failed| *failed >= 1.0)
    });
    assert!(refused <= 100.0);
    // What fits is served from there; nothing is served in part.
    let hits = (0..100)
        .filter(|path| {
            let answer = weir.get(&format!("/{path}"));
            assert_eq!((answer.status, answer.body.len()), (200, 64 * 1024), "/{path}");
            status(&answer) == "HIT"
        })
        .count();
    assert!((10..=32).contains(&hits), "{hits} of 32 that 2 MiB have room for");
    // When there is room again it is used again.
    assert_eq!(request(weir.admin, "POST", "/cache/purge?all=true").send().status, 202);
    eventually("it is kept again", || (status(&weir.get("/after")) == "HIT").then_some(()));
    assert!(weir.is_running());
}

#[test]
fn a_folder_that_cannot_be_used_is_named_and_changes_nothing() {
    let (origin, folder) = (Numbered::start(), tempfile::tempdir().unwrap());
    let file_there = folder.path().join("file");
    std::fs::write(&file_there, b"").unwrap();
    let weir = Weir::start(&file(origin.origin.address, "{}"));
    weir.write(&on_disk(origin.origin.address, &file_there, "1MiB"));
    let report = weir.wait_for_refusal("answers cannot be kept in");
    assert!(report.contains("cache-stores.files.disk.path") && report.contains("\"line\": 1"), "{report}");
    assert_eq!(weir.get("/a").status, 200);
}
