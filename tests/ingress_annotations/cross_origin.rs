//! Which other origins' scripts may read answers.

use crate::stage::{Site, stage};
use crate::support::Response;

fn preflight(site: &Site<'_>, origin: &str) -> Response {
    let asked = site.ask("OPTIONS", "/").header("Origin", origin);
    asked.header("Access-Control-Request-Method", "PATCH").send()
}

#[test]
fn preflights_and_answers_say_what_the_ingress_says() {
    let draft = stage().draft("shared").with("enable-cors", "true");
    let draft = draft.with("cors-allow-origin", "https://app.test, https://*.partner.test");
    let draft = draft.with("cors-allow-methods", "GET, PATCH").with("cors-allow-headers", "X-One, X-Two");
    let draft = draft.with("cors-expose-headers", "X-Total").with("cors-max-age", "600");
    let site = draft.with("cors-allow-credentials", "true").serve();
    let asked = preflight(&site, "https://a.partner.test");
    assert_eq!(asked.status, 204);
    for (name, value) in [
        ("access-control-allow-origin", "https://a.partner.test"),
        ("access-control-allow-methods", "GET, PATCH"),
        ("access-control-allow-headers", "X-One, X-Two"),
        ("access-control-allow-credentials", "true"),
        ("access-control-max-age", "600"),
    ] {
        assert_eq!(asked.header(name), Some(value), "{name}");
    }
    let answer = site.ask("GET", "/").header("Origin", "https://app.test").send();
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.test"));
    assert_eq!(answer.header("access-control-expose-headers"), Some("X-Total"));
    let other = site.ask("GET", "/").header("Origin", "https://a.b.partner.test").send();
    assert_eq!((other.status, other.header("access-control-allow-origin")), (200, None));
}

#[test]
fn credentials_may_be_left_out_and_everything_is_off_without_the_switch() {
    let draft =
        stage().draft("shared-without").with("enable-cors", "true").with("cors-allow-origin", "https://app.test");
    let site = draft.with("cors-allow-credentials", "false").serve();
    let answer = site.ask("GET", "/").header("Origin", "https://app.test").send();
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.test"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    let off =
        stage().draft("not-shared").with("enable-cors", "false").with("cors-allow-origin", "https://app.test").serve();
    assert_eq!(
        off.ask("GET", "/").header("Origin", "https://app.test").send().header("access-control-allow-origin"),
        None
    );
}
