//! Who may come in, by address and by password.

use crate::stage::{Echo, NAMESPACE, Site, stage};

/// The status that is told who comes from this address.
fn from(site: &Site<'_>, address: [u8; 4]) -> u16 {
    site.ask("GET", "/").from(address).send().status
}

#[test]
fn only_the_clients_of_the_list_come_in() {
    for key in ["allowlist-source-range", "whitelist-source-range"] {
        let site = stage().draft(key).with(key, "127.0.3.0/24, 10.9.9.9").serve();
        assert_eq!((from(&site, [127, 0, 3, 4]), from(&site, [127, 0, 4, 4])), (200, 403), "{key}");
    }
}

#[test]
fn who_is_denied_stays_outside_even_where_allowed() {
    let draft = stage().draft("denied").with("denylist-source-range", "127.0.3.4");
    let site = draft.with("allowlist-source-range", "127.0.3.0/24").serve();
    assert_eq!((from(&site, [127, 0, 3, 4]), from(&site, [127, 0, 3, 5])), (403, 200));
}

/// `admin:studio`, as `htpasswd -s` writes it.
const HASH: &str = "{SHA}mhLFDy8jr58aMTr5Uq7iswYnrHs=";
const CREDENTIALS: &str = "Basic YWRtaW46c3R1ZGlv";

#[test]
fn users_of_a_secret_come_in_by_password() {
    stage().secret("users", &[("auth", &format!("admin:{HASH}\n"))]);
    stage().secret("users-in-a-map", &[("admin", HASH), ("other", "{SHA}AAAAAAAAAAAAAAAAAAAAAAAAAAA=")]);
    for (name, secret, kind) in [("by-file", "users", "auth-file"), ("by-map", "users-in-a-map", "auth-map")] {
        let draft = stage().draft(name).with("auth-type", "basic").with("auth-secret-type", kind);
        let draft = draft.with("auth-secret", &format!("{NAMESPACE}/{secret}"));
        let site = draft.with("auth-realm", "Staff only").serve();
        let stranger = site.get("/");
        assert_eq!(stranger.status, 401, "{name}");
        let asked = stranger.header("www-authenticate").expect("it asks");
        assert!(asked.starts_with("Basic realm=\"Staff only\""), "{asked}");
        let wrong = site.ask("GET", "/").header("Authorization", "Basic YWRtaW46d3Jvbmc=").send();
        assert_eq!(wrong.status, 401, "{name}");
        let known = Echo::of(&site.ask("GET", "/").header("Authorization", CREDENTIALS).send());
        assert_eq!(known.header("authorization"), None, "what is secret goes no further");
    }
}

#[test]
fn a_secret_that_is_not_there_closes_the_route() {
    let site = stage().draft("unguarded").with("auth-type", "basic").with("auth-secret", "nowhere").serve();
    assert_eq!(site.ask("GET", "/").header("Authorization", CREDENTIALS).send().status, 503);
}

#[test]
fn an_address_or_a_password_is_enough_where_any_will_do() {
    stage().secret("any-users", &[("auth", &format!("admin:{HASH}\n"))]);
    let draft = |name: &str, satisfy: &str| {
        let draft = stage().draft(name).with("auth-type", "basic").with("auth-secret", "any-users");
        draft.with("satisfy", satisfy).with("allowlist-source-range", "127.0.11.0/24")
    };
    let any = draft("any", "any").with("denylist-source-range", "127.0.11.9").serve();
    let all = draft("all", "all").serve();
    let ask = |site: &Site<'_>, address, knows: bool| {
        let asked = site.ask("GET", "/").from(address);
        if knows { asked.header("Authorization", CREDENTIALS).send().status } else { asked.send().status }
    };
    assert_eq!((ask(&any, [127, 0, 11, 1], false), ask(&any, [127, 0, 12, 1], true)), (200, 200));
    assert_eq!((ask(&any, [127, 0, 12, 1], false), ask(&any, [127, 0, 11, 9], false)), (401, 401));
    assert_eq!((ask(&all, [127, 0, 11, 1], false), ask(&all, [127, 0, 12, 1], true)), (401, 403));
    assert_eq!(ask(&all, [127, 0, 11, 1], true), 200);
}
