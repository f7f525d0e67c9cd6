//! Which endpoint a request goes to: by load, by a key, by a cookie.

use std::collections::HashMap;
use std::time::Duration;

use crate::cluster::endpoint_address;
use crate::stage::{Draft, Site, Stage, stage};
use crate::support::{Answer, Origin, Response};

/// Two endpoints that say who they are, behind a Service of this name.
fn pair(stage: &Stage, name: &str) -> [Origin; 2] {
    let pair = ["first", "second"].map(|says| Origin::named_at(endpoint_address(), says));
    stage.backend(name, &[pair[0].address, pair[1].address]);
    pair
}

#[track_caller]
fn serve(stage: &Stage, draft: Draft, pair: &[Origin; 2]) -> Site<'static> {
    let site = draft.serve();
    stage.knows(&[pair[0].address, pair[1].address]);
    site
}

/// Who answered how often.
fn answered(requests: impl Iterator<Item = Response>) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    requests.for_each(|answer| *counts.entry(answer.text()).or_default() += 1);
    counts
}

/// Says who it is, after a while.
pub fn slow() -> Origin {
    Origin::start_at(endpoint_address(), |_| {
        Answer::drive(|stream| {
            std::thread::sleep(Duration::from_millis(300));
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nslow";
            let _ = std::io::Write::write_all(stream, answer);
        })
    })
}

#[test]
fn the_faster_endpoint_gets_more_where_latency_counts() {
    let stage = stage();
    let fast = Origin::named_at(endpoint_address(), "fast");
    let slow = slow();
    stage.backend("uneven", &[fast.address, slow.address]);
    let site = |name: &str, value: &str| stage.draft(name).path("/", "uneven").with("load-balance", value).serve();
    let (ewma, in_turn) = (site("uneven", "ewma"), site("uneven-in-turn", "round_robin"));
    stage.knows(&[fast.address, slow.address]);
    let slow_of = |site: &Site<'_>| answered((0..16).map(|_| site.get("/"))).remove("slow").unwrap_or_default();
    let (with, without) = (slow_of(&ewma), slow_of(&in_turn));
    assert!(with < without && without >= 6, "{with} of 16 went to the slow one, and {without} in turn");
}

#[test]
fn requests_with_one_key_go_to_one_endpoint() {
    let stage = stage();
    let pair = pair(stage, "hashed");
    let draft = |name: &str, key: &str| stage.draft(name).path("/", "hashed").with("upstream-hash-by", key);
    let by_user = serve(stage, draft("hashed-by-user", "$http_x_user"), &pair);
    let ask = |user: usize| by_user.ask("GET", "/").header("X-User", &format!("user-{user}")).send();
    assert_eq!(answered((0..10).map(|_| ask(1))).len(), 1);
    assert_eq!(answered((0..40).map(ask)).len(), 2, "many keys use both");
    let by_uri = serve(stage, draft("hashed-by-uri", "$request_uri"), &pair);
    assert_eq!(answered((0..10).map(|_| by_uri.get("/a?b"))).len(), 1);
    assert_eq!(answered((0..40).map(|n| by_uri.get(&format!("/{n}")))).len(), 2);
}

#[test]
fn a_key_may_be_of_several_parts_and_have_several_endpoints() {
    let stage = stage();
    let four = ["a", "b", "c", "d"].map(|says| Origin::named_at(endpoint_address(), says));
    let addresses: Vec<_> = four.iter().map(|origin| origin.address).collect();
    stage.backend("many", &addresses);
    let draft = |name: &str| stage.draft(name).path("/", "many");
    let joined = draft("hashed-by-two").with("upstream-hash-by", "$http_x_user-$request_uri").serve();
    let subset =
        draft("hashed-to-two").with("upstream-hash-by", "$http_x_user").with("upstream-hash-by-subset", "true");
    let subset = subset.with("upstream-hash-by-subset-size", "2").serve();
    stage.knows(&addresses);
    let ask = |site: &Site<'_>, user: &str, target: &str| site.ask("GET", target).header("X-User", user).send();
    assert_eq!(answered((0..10).map(|_| ask(&joined, "ann", "/a"))).len(), 1);
    assert_eq!(answered((0..60).map(|n| ask(&joined, "ann", &format!("/{n}")))).len(), 4, "each part counts");
    assert_eq!(answered((0..60).map(|n| ask(&joined, &format!("user-{n}"), "/a"))).len(), 4, "each part counts");
    assert_eq!(answered((0..40).map(|_| ask(&subset, "ann", "/"))).len(), 2);
    assert_eq!(answered((0..80).map(|n| ask(&subset, &format!("user-{n}"), "/"))).len(), 4);
}

#[test]
fn a_session_stays_with_its_endpoint_by_a_cookie_as_the_ingress_writes_it() {
    let stage = stage();
    let pair = pair(stage, "bound");
    let draft = stage.draft("bound").path("/", "bound").with("affinity", "cookie");
    let draft = draft.with("session-cookie-name", "route").with("session-cookie-path", "/shop");
    let draft = draft.with("session-cookie-max-age", "600").with("session-cookie-expires", "1200");
    let draft = draft.with("session-cookie-samesite", "Strict").with("session-cookie-domain", "bound.test");
    let site = serve(stage, draft.with("session-cookie-secure", "true"), &pair);
    let answer = site.get("/");
    let cookie = answer.header("set-cookie").expect("a cookie").to_owned();
    let (pair_of_cookie, attributes) = cookie.split_once("; ").expect("attributes");
    assert!(pair_of_cookie.starts_with("route="), "{cookie}");
    for attribute in ["Path=/shop", "HttpOnly", "Max-Age=600", "SameSite=Strict", "Domain=bound.test", "Secure"] {
        assert!(attributes.split("; ").any(|known| known == attribute), "{attribute}: {cookie}");
    }
    let again = || site.ask("GET", "/").header("Cookie", pair_of_cookie).send();
    assert_eq!(answered((0..10).map(|_| again())), HashMap::from([(answer.text(), 10)]));
    assert_eq!(again().header("set-cookie"), None);
    assert_eq!(answered((0..20).map(|_| site.get("/"))).len(), 2, "others are sent to both");
}

#[test]
fn a_session_cookie_without_more_is_as_in_ingress_nginx() {
    let stage = stage();
    let pair = pair(stage, "plainly-bound");
    let draft = stage.draft("plainly-bound").path("/app", "plainly-bound").with("affinity", "cookie");
    let site = serve(stage, draft.with("session-cookie-expires", "60"), &pair);
    let answer = site.get("/app");
    let cookie = answer.header("set-cookie").expect("a cookie");
    assert!(cookie.starts_with("INGRESSCOOKIE="), "{cookie}");
    for attribute in ["Path=/app", "HttpOnly", "Max-Age=60"] {
        assert!(cookie.split("; ").any(|known| known == attribute), "{attribute}: {cookie}");
    }
    assert!(!cookie.contains("Secure"), "{cookie}");
}
