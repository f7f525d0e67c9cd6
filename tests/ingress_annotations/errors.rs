//! Pages instead of errors, and a backend for where there is none.

use crate::cluster::service;
use crate::stage::{NAMESPACE, stage};
use crate::support::{Answer, Origin};

/// A Service that says which error it was asked about.
fn pages(name: &str) -> Origin {
    stage().origin(name, |asked| {
        let code = asked.header("x-code").unwrap_or("none");
        Answer::status(code.parse().unwrap_or(200), &format!("a page for {code}"))
    })
}

#[test]
fn errors_come_from_the_default_backend() {
    let pages = pages("pages");
    let draft = stage().draft("paged").with("custom-http-errors", "404,418").with("default-backend", "pages");
    let site = draft.with("disable-proxy-intercept-errors", "false").serve();
    let answer =
        site.ask("GET", "/a/418?b").header("Accept", "text/html").header("X-Request-ID", "of-the-client").send();
    assert_eq!((answer.status, answer.text().as_str()), (418, "a page for 418"));
    let asked = pages.last_request();
    assert_eq!(
        (asked.target.as_str(), asked.header("x-code"), asked.header("x-format")),
        ("/", Some("418"), Some("text/html"))
    );
    assert_eq!(asked.header("x-original-uri"), Some("/a/418?b"));
    assert_eq!((asked.header("x-namespace"), asked.header("x-ingress-name")), (Some(NAMESPACE), Some("paged")));
    assert_eq!((asked.header("x-service-name"), asked.header("x-service-port")), (Some("echo"), Some("80")));
    assert_eq!(asked.header("x-request-id"), Some("of-the-client"));
    assert_eq!(site.get("/500").status, 500);
    assert!(site.get("/500").text().contains("/500"), "it is the backend's own");
}

#[test]
fn the_backends_own_errors_may_be_left_alone() {
    let _pages = pages("own-pages");
    let draft = stage().draft("own-errors").with("custom-http-errors", "403,404").with("default-backend", "own-pages");
    let draft = draft.with("disable-proxy-intercept-errors", "true").with("denylist-source-range", "127.0.8.1");
    let site = draft.serve();
    assert!(site.get("/404").text().contains("/404"), "it is the backend's own");
    assert_eq!(site.ask("GET", "/").from([127, 0, 8, 1]).send().text(), "a page for 403");
}

#[test]
fn a_service_without_endpoints_gives_way_to_the_default_backend() {
    let instead = stage().named("instead");
    stage().cluster.apply(service(NAMESPACE, "empty", &[("web", 80)]));
    let site = stage().draft("empty").path("/", "empty").with("default-backend", "instead").serve();
    site.weir.shows("empty.test", "/", "instead");
    let asked = instead.last_request();
    assert_eq!((asked.header("x-code"), asked.header("x-service-name")), (Some("503"), Some("empty")));
    assert_eq!((asked.header("x-namespace"), asked.header("x-ingress-name")), (Some(NAMESPACE), Some("empty")));
    let alone = stage().draft("empty-alone").path("/", "empty").serve();
    assert_eq!(alone.get("/").status, 503);
}
