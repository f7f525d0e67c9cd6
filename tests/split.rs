//! Several upstreams behind one route: by rule, by session, by key and by weight.

mod support;

use std::collections::BTreeMap;

use support::{H2Client, Origin, Request, Weir, eventually, indent, weir_command};

struct Shop {
    stable: Origin,
    next: Origin,
    weir: Weir,
}

impl Shop {
    /// With these keys of the split, and of its route; `STABLE` and `NEXT` stand for the addresses.
    fn start(split: &str, route: &str) -> Shop {
        let (stable, next) = (Origin::named("stable"), Origin::named("next"));
        let weir = Weir::start(&yaml(&stable, &next, split, route));
        Shop { stable, next, weir }
    }

    fn asked(&self, change: impl Fn(Request) -> Request) -> String {
        let answer = change(self.weir.request("GET", "/")).send();
        assert_eq!(answer.status, 200);
        answer.text()
    }

    /// How many of `count` requests `next` answers.
    fn next_of(&self, count: usize, change: impl Fn(usize, Request) -> Request) -> usize {
        (0..count).filter(|at| self.asked(|request| change(*at, request)) == "next").count()
    }
}

fn yaml(stable: &Origin, next: &Origin, split: &str, route: &str) -> String {
    let upstream = |name: &str, origin: &Origin, keys: &str| {
        format!("  {name}:\n    endpoints: [ \"{}\" ]\n    sticky: {{ cookie: {name}{keys} }}\n", origin.address)
    };
    format!(
        "upstreams:\n{}{}hosts:\n  - names: [\"*\"]\n    routes:\n      - path: /\n        split:\n{}\n{}\n",
        upstream("stable", stable, ""),
        upstream("next", next, ""),
        indent(split, 10),
        indent(route, 8)
    )
}

#[test]
fn weights_share_the_requests_out_by_chance() {
    let shop = Shop::start("weights: { stable: 80, next: 20 }", "");
    let next = shop.next_of(1000, |_, request| request);
    // Five standard deviations around 200 of 1,000.
    assert!((137..=263).contains(&next), "{next}");
    assert_eq!(shop.stable.request_count() + shop.next.request_count(), 1000);
    // Each is counted where it went: a canary is judged by its own errors.
    for (name, count) in [("stable", 1000 - next), ("next", next)] {
        let label = format!("upstream=\"{name}\"");
        eventually("the last one is counted", || {
            let counted = shop.weir.metric("weir_requests_total", &[&label, "code=\"200\""])?;
            (counted == count as f64).then_some(())
        });
    }
}

#[test]
fn a_weight_of_nothing_gets_nothing() {
    let shop = Shop::start("weights: { stable: 1, next: 0 }", "");
    assert_eq!(shop.next_of(200, |_, request| request), 0);
    let shop = Shop::start("weights: { stable: 0, next: 1000000 }", "");
    assert_eq!(shop.next_of(200, |_, request| request), 200);
}

#[test]
fn a_key_keeps_who_has_it_in_one_place() {
    let shop = Shop::start("weights: { stable: 50, next: 50 }\nkey: { header: X-User }", "");
    let places: BTreeMap<usize, String> =
        (0..40).map(|user| (user, shop.asked(|r| r.header("X-User", &user.to_string())))).collect();
    for (user, place) in &places {
        assert_eq!(&shop.asked(|r| r.header("X-User", &user.to_string())), place, "user {user}");
    }
    assert!(places.values().any(|place| place == "next") && places.values().any(|place| place == "stable"));
    // Who lacks it goes by chance: 100 requests in one place have a chance of 1 in 2^99.
    let next = shop.next_of(100, |_, request| request);
    assert!((1..=99).contains(&next), "{next}");
}

#[test]
fn another_salt_chooses_others() {
    let placed = |salt: &str| -> Vec<String> {
        let shop =
            Shop::start(&format!("weights: {{ stable: 50, next: 50 }}\nkey: {{ cookie: id }}\nsalt: {salt}"), "");
        (0..64).map(|user| shop.asked(|r| r.header("Cookie", &format!("id={user}")))).collect()
    };
    let first = placed("checkout");
    assert_eq!(first, placed("checkout"), "the same in every process");
    assert_ne!(first, placed("search"));
}

const CANARY: &str = "
weights: { stable: 100 }
rules:
  - { headers: { X-Canary: always }, upstream: next }
  - { headers: { X-Canary: never }, upstream: stable }
  - { cookies: { canary: always }, upstream: next }
  - { query: { preview: { regex: '^[0-9]+$' } }, headers: { X-Team: present }, upstream: next }";

#[test]
fn the_first_rule_that_fits_decides() {
    let shop = Shop::start(CANARY, "");
    type Change = fn(Request) -> Request;
    let cases: &[(&str, Change, &str)] = &[
        ("nothing", |r| r, "stable"),
        ("header", |r| r.header("X-Canary", "always"), "next"),
        ("header in lowercase", |r| r.header("x-canary", "always"), "next"),
        ("another value", |r| r.header("X-Canary", "Always"), "stable"),
        ("cookie", |r| r.header("Cookie", "a=b; canary=always; c=d"), "next"),
        ("another cookie", |r| r.header("Cookie", "xcanary=always"), "stable"),
        ("the header comes first", |r| r.header("X-Canary", "never").header("Cookie", "canary=always"), "stable"),
        ("one condition of two", |r| r.header("X-Team", ""), "stable"),
    ];
    for (name, change, expected) in cases {
        assert_eq!(shop.asked(change), *expected, "{name}");
    }
    let both = |target: &str| shop.weir.request("GET", target).header("X-Team", "a").send().text();
    assert_eq!((both("/?preview=12"), both("/?preview=x")), ("next".to_owned(), "stable".to_owned()));
    let mut h2 = H2Client::plain(shop.weir.http);
    let answer = h2.send("GET", "a.test", "/", &[("cookie", "a=b"), ("cookie", "canary=always")], None);
    assert_eq!(answer.text(), "next", "cookies of HTTP/2 come in pieces");
}

#[test]
fn a_session_stays_where_it_is() {
    let shop =
        Shop::start("weights: { stable: 100, next: 0 }\nrules:\n- { query: { beta: present }, upstream: next }", "");
    let answer = shop.weir.request("GET", "/?beta").send();
    let cookie = answer.header("set-cookie").expect("a session begins").split(';').next().unwrap().to_owned();
    assert!(cookie.starts_with("next="), "{cookie}");
    assert_eq!(shop.asked(|r| r.header("Cookie", &cookie)), "next");
    // One whose endpoint is not there goes where the weights lead.
    assert_eq!(shop.asked(|r| r.header("Cookie", "next=0000000000000000")), "stable");
}

#[test]
fn what_the_route_says_of_forwarding_holds_for_all_of_them() {
    let shop = Shop::start(CANARY, "rewrite: { path: /inner, host: inner.test }");
    for value in ["always", "never"] {
        shop.asked(|r| r.header("X-Canary", value));
    }
    for origin in [&shop.stable, &shop.next] {
        let received = origin.only_request();
        assert_eq!((received.target.as_str(), received.header("host")), ("/inner", Some("inner.test")));
    }
}

#[test]
fn each_upstream_keeps_its_own_retries_where_the_route_has_none() {
    let next = Origin::named("next");
    let down = support::free_address();
    let weir = Weir::start(&format!(
        "upstreams:
  stable: {{ endpoints: [\"{}\"] }}
  next: {{ endpoints: [\"{down}\", \"{}\"], outlier-detection: off, retry: {{ attempts: 2 }} }}
  bare: {{ endpoints: [\"{down}\"], outlier-detection: off, retry: {{ attempts: 1 }} }}
hosts:
  - names: [\"*\"]
    routes:
      - path: /
        split: {{ weights: {{ next: 1 }}, rules: [ {{ headers: {{ X-To: bare }}, upstream: bare }}, {{ headers: {{ X-To: stable }}, upstream: stable }} ] }}
",
        next.address, next.address
    ));
    for _ in 0..6 {
        assert_eq!(weir.get("/").text(), "next", "the endpoint that is down is passed over");
    }
    assert_eq!(weir.request("GET", "/").header("X-To", "bare").send().status, 502);
}

#[test]
fn a_reload_shifts_the_weights() {
    let shop = Shop::start("weights: { stable: 1, next: 0 }", "");
    assert_eq!(shop.next_of(20, |_, r| r), 0);
    shop.weir.reload(&yaml(&shop.stable, &shop.next, "weights: { stable: 0, next: 1 }", ""));
    assert_eq!(shop.next_of(20, |_, r| r), 20);
}

#[test]
fn explain_tells_where_it_goes_or_with_what_chances() {
    let shop = Shop::start(
        "weights: { stable: 95, next: 5 }\nkey: { cookie: id }\nrules:\n- { headers: { X-Canary: always }, upstream: next }",
        "",
    );
    let explained = |arguments: &[&str]| {
        let output = weir_command()
            .arg("explain")
            .arg(shop.weir.file())
            .args(["GET", "http://a.test/"])
            .args(arguments)
            .output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let text = explained(&["-H", "X-Canary: always"]);
    assert!(text.contains("forwarded to upstream next as GET /") && text.contains("by rule 1 of the split"), "{text}");
    assert!(!text.contains(&shop.stable.address.to_string()), "{text}");
    let text = explained(&["-H", "Cookie: id=1"]);
    assert!(text.contains("by the key of the split"), "{text}");
    let text = explained(&[]);
    assert!(text.contains("split by chance: 95 % forwarded to upstream stable as GET /"), "{text}");
    assert!(text.contains("; 5 % forwarded to upstream next"), "{text}");
    assert!(text.contains(&shop.stable.address.to_string()) && text.contains(&shop.next.address.to_string()), "{text}");
}
