//! A split beside nginx's `split_clients` and `map`: the same client goes to the same upstream.

mod support;

use support::{Nginx, Origin, Request, Weir, request};

const NGINX: &str = r#"
set_real_ip_from 127.0.0.1;
real_ip_header X-Forwarded-For;
split_clients "${http_x_user}checkout" $by_header { 5% next; 20.5% third; * stable; }
split_clients "$cookie_id" $by_cookie { 50% next; 0.1% third; * stable; }
split_clients "$arg_user" $by_query { 33.33% next; 33.33% third; * stable; }
split_clients "$uri" $by_path { 10% next; * stable; }
split_clients "$remote_addr" $by_client { 30% next; * stable; }
map $cookie_canary $by_cookie_canary { always next; never stable; default $by_client; }
map $http_x_canary $canary { always next; never stable; default $by_cookie_canary; }
"#;

const SERVER: &str = "
location /header/ { return 200 $by_header; }
location /cookie/ { return 200 $by_cookie; }
location /query/ { return 200 $by_query; }
location /path/ { return 200 $by_path; }
location /client/ { return 200 $by_client; }
location /canary/ { return 200 $canary; }
";

const WEIR: &str = "
- { path: /header, split: { weights: { next: 50, third: 205, stable: 745 }, key: { header: X-User }, salt: checkout } }
- { path: /cookie, split: { weights: { next: 500, third: 1, stable: 499 }, key: { cookie: id } } }
- { path: /query, split: { weights: { next: 3333, third: 3333, stable: 3334 }, key: { query: user } } }
- { path: /path, split: { weights: { next: 1, stable: 9 }, key: path } }
- { path: /client, split: { weights: { next: 3, stable: 7 }, key: client-ip } }
- path: /canary
  split:
    weights: { next: 3, stable: 7 }
    key: client-ip
    rules:
      - { headers: { X-Canary: always }, upstream: next }
      - { headers: { X-Canary: never }, upstream: stable }
      - { cookies: { canary: always }, upstream: next }
      - { cookies: { canary: never }, upstream: stable }
";

/// What both are sent, by number.
fn requests(number: usize) -> Vec<(String, Vec<(&'static str, String)>)> {
    let client = ("X-Forwarded-For", format!("203.0.{}.{}", number % 7, number));
    let v6 = ("X-Forwarded-For", format!("2001:db8:0:{number:x}::{number:x}"));
    let canary = [("X-Canary", "always"), ("X-Canary", "never"), ("Cookie", "canary=always"), ("X-Canary", "maybe")];
    let (name, value) = canary[number % canary.len()];
    let cookie = ("Cookie", format!("canary={}", ["always", "never", "x"][number % 3]));
    let mut canary = vec![client.clone(), (name, value.to_owned())];
    if name != "Cookie" {
        canary.push(cookie);
    }
    vec![
        ("/header/".into(), vec![("X-User", format!("user-{number}"))]),
        ("/cookie/".into(), vec![("Cookie", format!("a=b; id={}", "x".repeat(number % 40) + &number.to_string()))]),
        (format!("/query/?user={number}"), Vec::new()),
        (format!("/path/{number}/%41"), Vec::new()),
        ("/client/".into(), vec![client]),
        ("/client/".into(), vec![v6]),
        ("/canary/".into(), canary),
    ]
}

#[test]
fn the_same_client_goes_to_the_same_upstream() {
    let origins = ["stable", "next", "third"].map(|name| (name, Origin::named(name)));
    let nginx = Nginx::start_with(NGINX, SERVER);
    let upstreams: String =
        origins.iter().map(|(name, o)| format!("  {name}: {{ endpoints: [\"{}\"] }}\n", o.address)).collect();
    let weir = Weir::start(&format!(
        "trusted-proxies: [127.0.0.1/32]\nupstreams:\n{upstreams}hosts:\n  - names: [\"*\"]\n    routes:\n{}",
        support::indent(WEIR, 6)
    ));
    let mut compared = 0;
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..150 {
        for (target, fields) in requests(number) {
            let asked = |to| {
                let add = |request: Request, (name, value): &(&str, String)| request.header(name, value);
                fields.iter().fold(request(to, "GET", &target), add).send().text()
            };
            let expected = asked(nginx.address);
            assert_eq!(asked(weir.http), expected, "{target} {fields:?}");
            compared += 1;
            seen.insert((target.split('/').nth(1).unwrap_or_default().to_owned(), expected));
        }
    }
    assert_eq!(compared, 1050);
    assert!(seen.len() >= 13, "every way is taken: {seen:?}");
}
