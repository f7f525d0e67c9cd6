//! A second backend for some of the requests.

use crate::stage::{Draft, Site, stage};
use crate::support::{Origin, Response, eventually};

/// A host `NAME.test` whose backend has a canary, as the draft says it, and what they lead to.
struct Tried {
    site: Site<'static>,
    _origins: [Origin; 2],
}

fn tried(name: &'static str, canary: impl FnOnce(Draft) -> Draft) -> Tried {
    let stage = stage();
    let second: &'static str = Box::leak(format!("{name}-canary").into_boxed_str());
    let origins = [stage.named(name), stage.named(second)];
    let site = stage.draft(name).path("/", name).serve();
    let draft = stage.draft(second).host(&site.host).path("/", second).with("canary", "true");
    canary(draft).apply(stage.cluster);
    stage.knows(&[origins[0].address, origins[1].address]);
    Tried { site, _origins: origins }
}

impl Tried {
    fn is_canary(&self, answer: &Response) -> bool {
        assert_eq!(answer.status, 200);
        answer.text().ends_with("-canary")
    }

    fn with(&self, field: &str, value: &str) -> bool {
        self.is_canary(&self.site.ask("GET", "/").header(field, value).send())
    }
}

#[test]
fn a_canary_gets_its_weight_of_the_total() {
    let tried = tried("weighted", |draft| draft.with("canary-weight", "150").with("canary-weight-total", "300"));
    let count = (0..200).filter(|_| tried.is_canary(&tried.site.get("/"))).count();
    // Half of them, where a total of 100 would have given it all: ten standard deviations are left to chance.
    assert!((30..=170).contains(&count), "{count} of 200");
}

#[test]
fn a_header_leads_to_the_canary_or_away_from_it() {
    let tried = tried("by-header", |draft| draft.with("canary-by-header", "X-Canary").with("canary-weight", "100"));
    assert!(tried.with("X-Canary", "always") && !tried.with("X-Canary", "never"));
    eventually("others go by the weight", || tried.with("X-Canary", "maybe").then_some(()));
}

#[test]
fn a_header_leads_to_the_canary_by_its_value_or_a_pattern() {
    let by_value =
        tried("by-value", |draft| draft.with("canary-by-header", "X-Version").with("canary-by-header-value", "next"));
    assert!(by_value.with("X-Version", "next") && !by_value.with("X-Version", "always"));
    let by_pattern = tried("by-pattern", |draft| {
        draft.with("canary-by-header", "X-Region").with("canary-by-header-pattern", "^eu-(west|north)$")
    });
    assert!(by_pattern.with("X-Region", "eu-north") && !by_pattern.with("X-Region", "eu-south"));
}

#[test]
fn a_session_stays_on_its_side_unless_each_request_is_led_anew() {
    let stage = stage();
    let _origins = [stage.named("held"), stage.named("held-canary")];
    for (name, behaviour, sides) in [("held", "sticky", 1), ("led-anew", "legacy", 2)] {
        let draft = stage.draft(name).path("/", "held").with("affinity", "cookie");
        let site = draft.with("affinity-canary-behavior", behaviour).serve();
        let draft = stage.draft(&format!("{name}-canary")).host(&site.host).path("/", "held-canary");
        let canary = draft.with("canary", "true").with("canary-weight", "50").apply(stage.cluster);
        let visited = |cookie: Option<&str>| {
            let asked = site.ask("GET", "/");
            cookie.map_or(asked.clone(), |cookie| asked.header("Cookie", cookie)).send()
        };
        let first = eventually("a session begins at the canary", || {
            Some(visited(None)).filter(|answer| answer.text() == "held-canary")
        });
        let cookie =
            first.header("set-cookie").and_then(|cookie| cookie.split(';').next()).expect("a cookie").to_owned();
        let seen: std::collections::BTreeSet<_> = (0..40).map(|_| visited(Some(&cookie)).text()).collect();
        assert_eq!(seen.len(), sides, "{behaviour}: {seen:?}");
        // A backend has one at a time.
        stage.cluster.delete(&canary);
    }
}

#[test]
fn a_cookie_leads_to_the_canary() {
    let tried = tried("by-cookie", |draft| draft.with("canary-by-cookie", "beta"));
    assert!(tried.with("Cookie", "a=b; beta=always") && !tried.with("Cookie", "beta=never"));
    assert!(!tried.is_canary(&tried.site.get("/")));
}
