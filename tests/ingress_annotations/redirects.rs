//! Rewrites and redirects.

use crate::stage::{ECHO, Site, stage};
use crate::support::{Answer, Response};

/// Status and Location.
fn led(answer: &Response) -> (u16, &str) {
    (answer.status, answer.header("location").unwrap_or("-"))
}

#[test]
fn a_rewritten_path_reaches_the_backend_with_its_captures() {
    let draft = stage().draft("rewritten").with("rewrite-target", "/v2/$2").with("x-forwarded-prefix", "/api");
    let site = draft.pattern("/api(/|$)(.*)", ECHO).serve();
    // Whatever the case, since it is a pattern now.
    let echo = site.echo("/API/users%20x?a=1");
    assert_eq!((echo.target.as_str(), echo.header("x-forwarded-prefix")), ("/v2/users%20x?a=1", Some("/api")));
    assert_eq!(site.get("/other").status, 404);
}

#[test]
fn a_rewrite_target_that_is_a_url_redirects() {
    let draft = stage().draft("rewritten-away").with("rewrite-target", "https://elsewhere.test/$1");
    let site = draft.pattern("/away/(.*)", ECHO).serve();
    assert_eq!(led(&site.get("/away/a?b=c")), (302, "https://elsewhere.test/a?b=c"));
}

#[test]
fn a_path_may_be_a_pattern_of_its_beginning() {
    let site = stage().draft("patterned").with("use-regex", "true").pattern("/item/[0-9]+", ECHO).serve();
    assert_eq!(site.echo("/Item/12/more").target, "/Item/12/more");
    assert_eq!(site.get("/item/x").status, 404);
    let plain = stage().draft("unpatterned").with("use-regex", "false").path("/item", ECHO).serve();
    assert_eq!(plain.get("/items").status, 404);
}

#[test]
fn the_root_leads_into_the_application() {
    let site = stage().draft("rooted").with("app-root", "/app/").serve();
    assert_eq!(led(&site.get("/")), (302, "http://rooted.test/app/"));
    assert_eq!(site.echo("/app/").target, "/app/");
}

#[test]
fn plain_requests_are_sent_to_https_as_the_ingress_wants_it() {
    let left = stage().draft("left-plain").with("ssl-redirect", "false").tls().serve();
    assert_eq!(left.echo("/a").target, "/a");
    let usual = stage().draft("sent-to-tls").tls().serve();
    assert_eq!(led(&usual.get("/a/?b")), (308, "https://sent-to-tls.test/a/?b"));
    assert_eq!(led(&usual.get("/a/")), (308, "https://sent-to-tls.test/a"));
    let forced = stage().draft("forced-to-tls").with("force-ssl-redirect", "true");
    let forced = forced.with("preserve-trailing-slash", "true").serve();
    assert_eq!(led(&forced.get("/a/")), (308, "https://forced-to-tls.test/a/"));
    assert_eq!(forced.get_tls("/a").status, 200);
}

#[test]
fn every_request_is_redirected_where_the_ingress_says_so() {
    let permanent = stage().draft("moved").with("permanent-redirect", "https://new.test/at");
    let permanent = permanent.with("permanent-redirect-code", "308").serve();
    assert_eq!(led(&permanent.get("/x?y")), (308, "https://new.test/at"));
    let temporal = stage().draft("elsewhere-now").with("temporal-redirect", "https://now.test$request_uri");
    let temporal =
        temporal.with("temporal-redirect-code", "307").with("permanent-redirect", "https://new.test").serve();
    assert_eq!(led(&temporal.get("/x?y")), (307, "https://now.test/x?y"));
}

#[test]
fn the_other_form_of_a_name_leads_to_the_one_that_is_served() {
    let site = stage().draft("formed").with("from-to-www-redirect", "true").serve();
    let www = Site { weir: &stage().weir, host: "www.formed.test".into() };
    assert_eq!(led(&www.get("/a?b=c")), (308, "http://formed.test/a?b=c"));
    assert_eq!(site.echo("/a").target, "/a");
}

#[test]
fn a_redirect_to_a_slash_may_be_relative() {
    let site = stage().draft("relative").with("relative-redirects", "true").path("/dir/", ECHO).serve();
    assert_eq!(led(&site.get("/dir?a")), (301, "/dir/?a"));
    let absolute = stage().draft("absolute").with("relative-redirects", "false").path("/dir/", ECHO).serve();
    assert_eq!(led(&absolute.get("/dir?a")), (301, "http://absolute.test/dir/?a"));
}

#[test]
fn a_redirect_to_https_may_name_the_port_and_comes_before_any_question_of_access() {
    let draft = stage().draft("ported").with("force-ssl-redirect", "true").with("use-port-in-redirects", "true");
    let site = draft.with("denylist-source-range", "127.0.0.0/8").serve();
    let port = site.weir.https.port();
    assert_eq!(led(&site.get("/a")), (308, &*format!("https://ported.test:{port}/a")));
    assert_eq!(site.get_tls("/a").status, 403);
}

#[test]
fn redirects_of_a_backend_are_said_in_other_words() {
    let stage = stage();
    let _origin = stage.origin("redirecting", |asked| {
        let location = asked.header("x-location").unwrap_or("/none");
        Answer::Send(format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n").into_bytes())
    });
    let ask = |site: &Site<'_>, location: &str| {
        let answer = site.ask("GET", "/").header("X-Location", location).send();
        answer.header("location").map(str::to_owned)
    };
    let draft =
        stage.draft("redirecting").path("/", "redirecting").with("proxy-redirect-from", "http://inner.test/app/");
    let site = draft.with("proxy-redirect-to", "$scheme://$host/").serve();
    assert_eq!(ask(&site, "http://inner.test/app/a?b").as_deref(), Some("http://redirecting.test/a?b"));
    assert_eq!(ask(&site, "http://other.test/app/").as_deref(), Some("http://other.test/app/"));
    let draft = stage.draft("redirecting-by-pattern").path("/", "redirecting");
    let draft =
        draft.with("proxy-redirect-from", "~^http://[^/]+(/.*)$").with("proxy-redirect-to", "https://shop.test$1");
    assert_eq!(ask(&draft.serve(), "http://inner.test/a").as_deref(), Some("https://shop.test/a"));
    let off = stage.draft("redirecting-still").path("/", "redirecting").with("proxy-redirect-from", "off").serve();
    assert_eq!(ask(&off, "http://inner.test/a").as_deref(), Some("http://inner.test/a"));
}
