use std::net::IpAddr;

use http::HeaderMap;
use proptest::prelude::*;

use super::*;
use crate::model::{Pattern, RedirectStatus, Scheme};
use crate::snapshot::path::{Resource, Target};

/// What a client sent, as the request path holds it.
struct Sent<'a> {
    scheme: Scheme,
    host: &'a str,
    port: Option<u16>,
    resource: Resource<'a>,
}

impl<'a> Sent<'a> {
    fn new(host: &'a str, target: &'a str) -> Self {
        let Ok(Target::Resource(resource)) = Target::parse(target.as_bytes()) else { panic!("{target} is refused") };
        Self { scheme: Scheme::Http, host, port: None, resource }
    }

    fn with_view<T>(&self, then: impl FnOnce(&RequestView<'_>) -> T) -> T {
        then(&RequestView {
            method: "GET",
            path: &self.resource.path,
            query: self.resource.query,
            host: self.host,
            headers: &HeaderMap::new(),
            client: IpAddr::from([127, 0, 0, 1]),
            scheme: self.scheme,
        })
    }

    fn upstream(&self, matched: &PathMatch, rewrite: Option<&PathRewrite>) -> Result<String, BadRewrite> {
        self.with_view(|view| upstream_target(rewrite, matched, view, &self.resource.raw).map(Cow::into_owned))
    }

    fn location(&self, redirect: &Redirect) -> Result<String, BadRewrite> {
        self.with_view(|view| location(redirect, &prefix("/"), view, &self.resource.raw, self.port))
    }
}

fn prefix(path: &str) -> PathMatch {
    PathMatch::Prefix(path.into())
}

fn regex(pattern: &str, replacement: &str) -> PathRewrite {
    PathRewrite::Regex { pattern: Pattern::parse(pattern).unwrap(), replacement: replacement.into() }
}

fn rewritten(target: &str, matched: &PathMatch, rewrite: PathRewrite) -> String {
    Sent::new("a.test", target).upstream(matched, Some(&rewrite)).unwrap()
}

fn redirect() -> Redirect {
    Redirect { status: RedirectStatus::Found, scheme: None, host: None, port: None, path: None }
}

#[test]
fn without_a_rewrite_the_raw_target_goes_on_untouched() {
    let sent = Sent::new("a.test", "/a//b%20c/../%64?q=%20+");
    assert_eq!(sent.upstream(&prefix("/a"), None).unwrap(), "/a//b%20c/../%64?q=%20+");
    let unmatched = regex("^/x", "/y");
    assert_eq!(sent.upstream(&prefix("/a"), Some(&unmatched)).unwrap(), "/a//b%20c/../%64?q=%20+");
}

#[test]
fn a_replaced_prefix_follows_gateway_api() {
    for (path, matched, replacement, result) in [
        ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
        ("/foo", "/foo", "/xyz", "/xyz"),
        ("/foo/", "/foo", "/xyz", "/xyz/"),
        ("/foo/bar", "/foo", "", "/bar"),
        ("/foo/bar", "/foo", "/", "/bar"),
        ("/foo/", "/foo", "", "/"),
        ("/foo", "/foo", "", "/"),
        ("/foo/", "/foo", "/", "/"),
        ("/foo", "/foo", "/", "/"),
        ("/foo", "/", "/xyz", "/xyz/foo"),
        ("/", "/", "/xyz", "/xyz/"),
        ("/foo//bar?x=//", "/foo", "/", "/bar?x=//"),
    ] {
        let result_is = rewritten(path, &prefix(matched), PathRewrite::Prefix(replacement.into()));
        assert_eq!(result_is, result, "{path} below {matched} to {replacement:?}");
    }
}

#[test]
fn a_prefix_of_an_exact_match_is_all_of_it_and_a_pattern_has_none() {
    let exact = PathMatch::Exact("/foo".into());
    assert_eq!(rewritten("/foo?q", &exact, PathRewrite::Prefix("/x".into())), "/x?q");
    let pattern = PathMatch::Regex(Pattern::parse("^/f").unwrap());
    assert_eq!(rewritten("/%66oo?q", &pattern, PathRewrite::Prefix("/x".into())), "/%66oo?q");
}

#[test]
fn a_full_rewrite_keeps_the_query_and_the_escapes_of_the_file() {
    for (text, result) in [
        ("/x", "/x?q=1"),
        ("x", "/x?q=1"),
        ("", "/?q=1"),
        ("/café/caf%C3%A9", "/caf%C3%A9/caf%C3%A9?q=1"),
        ("/100%?#", "/100%25%3F%23?q=1"),
    ] {
        assert_eq!(rewritten("/a?q=1", &prefix("/"), PathRewrite::Full(text.into())), result);
    }
}

#[test]
fn captures_fill_the_replacement() {
    for (path, pattern, replacement, result) in [
        ("/foo/bar/baz", "^/foo(/|$)(.*)", "/$2", "/bar/baz"),
        ("/foo", "^/foo(/|$)(.*)", "/$2", "/"),
        ("/x/y", "^/x(.*)", "/$1", "/y"),
        ("/u/7/edit", "^/u/(?<id>[0-9]+)", "/users/${id}x", "/users/7x/edit"),
        ("/a/b", "^/(a)/(b)$", "/${1}0/$2/$3/$$/${no}/$x/${}/${1", "/a0/b/$$/$x/$%7B%7D/$%7B1"),
        ("/v1/v1", "v1", "v2", "/v2/v1"),
        ("/a/b", "^/a/", "", "/b"),
        ("/a%20b%2525/c", "^/(.*)/c$", "/%20$1", "/%20a%20b%2525"),
    ] {
        assert_eq!(rewritten(path, &prefix("/"), regex(pattern, replacement)), result, "{path} by {pattern}");
    }
}

#[test]
fn a_capture_cannot_climb() {
    let sent = Sent::new("a.test", "/img../secret");
    let refused = sent.upstream(&prefix("/"), Some(&regex("^/img(.*)", "/files/$1")));
    assert_eq!(refused, Err(BadRewrite::DotSegment));
    let sent = Sent::new("a.test", "/img..;/secret");
    assert_eq!(sent.upstream(&prefix("/"), Some(&regex("^/img", "/"))), Err(BadRewrite::DotSegment));
    assert_eq!(BadRewrite::DotSegment.to_string(), "the rewritten path would hold a dot segment");
}

#[test]
fn a_redirect_keeps_what_it_does_not_name() {
    let sent = Sent { port: Some(8080), ..Sent::new("a.test", "/x//y%20?q=1") };
    assert_eq!(sent.location(&redirect()).unwrap(), "http://a.test:8080/x//y%20?q=1");
    let host = Redirect { host: Some("b.test".into()), ..redirect() };
    assert_eq!(sent.location(&host).unwrap(), "http://b.test/x//y%20?q=1");
    let path = Redirect { path: Some(PathRewrite::Full("/z".into())), ..redirect() };
    assert_eq!(sent.location(&path).unwrap(), "http://a.test:8080/z?q=1");
    let ipv6 = Sent::new("[::1]", "/");
    assert_eq!(ipv6.location(&redirect()).unwrap(), "http://[::1]/");
}

#[test]
fn a_port_stands_only_where_it_is_not_the_schemes_own() {
    let https = |port| Redirect { scheme: Some(Scheme::Https), port, ..redirect() };
    let sent = Sent { port: Some(8080), ..Sent::new("a.test", "/") };
    assert_eq!(sent.location(&https(None)).unwrap(), "https://a.test/");
    assert_eq!(sent.location(&https(Some(443))).unwrap(), "https://a.test/");
    assert_eq!(sent.location(&https(Some(8443))).unwrap(), "https://a.test:8443/");
    let on_80 = Sent { port: Some(80), ..Sent::new("a.test", "/") };
    assert_eq!(on_80.location(&redirect()).unwrap(), "http://a.test/");
    let on_tls = Sent { scheme: Scheme::Https, port: Some(8443), ..Sent::new("a.test", "/") };
    assert_eq!(on_tls.location(&https(None)).unwrap(), "https://a.test:8443/");
}

#[test]
fn without_a_host_only_the_same_server_can_be_meant() {
    let sent = Sent::new("", "//evil.test/x?q");
    assert_eq!(sent.location(&redirect()).unwrap(), "/evil.test/x?q");
    let path = Redirect { path: Some(regex("^/(.*)", "//$1")), ..redirect() };
    assert_eq!(sent.location(&path).unwrap(), "/evil.test/x?q");
    let named = Redirect { scheme: Some(Scheme::Https), host: Some("b.test".into()), ..redirect() };
    assert_eq!(sent.location(&named).unwrap(), "https://b.test//evil.test/x?q");
    let unnamed = Redirect { scheme: Some(Scheme::Https), ..redirect() };
    assert_eq!(sent.location(&unnamed), Err(BadRewrite::NoHost));
    assert_eq!(sent.location(&Redirect { port: Some(81), ..redirect() }), Err(BadRewrite::NoHost));
}

fn rewrites() -> impl Strategy<Value = PathRewrite> {
    prop_oneof![
        "(?s).{0,8}".prop_map(|text| PathRewrite::Full(text.into())),
        "(?s)[/$0-9{}%.\r\n a-c]{0,8}".prop_map(|text| PathRewrite::Prefix(text.into())),
        "(?s)[/$0-9{}%.\r\n a-c]{0,8}".prop_map(|text| regex("a(.*)b|/(.)", &text)),
    ]
}

proptest! {
    /// Whatever a view holds: no trust is put into who made it.
    #[test]
    fn nothing_that_comes_out_can_split_a_header(
        path in "/(?s).{0,12}",
        query in proptest::option::of("(?s).{0,8}"),
        host in "(?s).{0,8}",
        rewrite in proptest::option::of(rewrites()),
    ) {
        let headers = HeaderMap::new();
        let client = IpAddr::from([127, 0, 0, 1]);
        let (query, scheme) = (query.as_deref(), Scheme::Http);
        let view = RequestView { method: "GET", path: &path, query, host: &host, headers: &headers, client, scheme };
        let redirect = Redirect { path: rewrite, ..redirect() };
        if let Ok(location) = location(&redirect, &prefix("/"), &view, &path, None) {
            prop_assert!(location.bytes().all(|byte| byte.is_ascii_graphic()), "{location:?}");
            prop_assert!(!location.starts_with("//"), "{location:?}");
        }
    }

    #[test]
    fn a_rewritten_path_is_one_that_would_be_accepted(
        path in "(/[a-c.]{1,3}){0,3}/?",
        rewrite in prop_oneof![
            "[/$0-9{}a-c ?#é]{0,8}".prop_map(|text| PathRewrite::Prefix(text.into())),
            "[/$0-9{}a-c ?#é.]{0,8}".prop_map(|text| regex("a(.*)b|/(.)", &text)),
        ],
    ) {
        let path = if path.is_empty() { "/" } else { &path };
        let Ok(Target::Resource(resource)) = Target::parse(path.as_bytes()) else { return Ok(()) };
        let sent = Sent { scheme: Scheme::Http, host: "a.test", port: None, resource };
        if let Ok(rewritten) = sent.upstream(&prefix("/"), Some(&rewrite)) {
            let parsed = Target::parse(rewritten.as_bytes());
            prop_assert!(parsed.is_ok(), "{rewritten}: {parsed:?}");
            prop_assert!(!rewritten.contains("//"), "{rewritten}");
        }
    }
}
