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
    query: QueryRewrite,
}

impl<'a> Sent<'a> {
    fn new(host: &'a str, target: &'a str) -> Self {
        let Ok(Target::Resource(resource)) = Target::parse(target.as_bytes()) else { panic!("{target} is refused") };
        Self { scheme: Scheme::Http, host, port: None, resource, query: QueryRewrite::Keep }
    }

    fn with_view<T>(&self, then: impl FnOnce(&RequestView<'_>) -> T) -> T {
        then(&RequestView {
            method: "GET",
            path: &self.resource.path,
            query: self.resource.query,
            host: self.host,
            port: self.port,
            headers: &HeaderMap::new(),
            client: IpAddr::from([127, 0, 0, 1]),
            scheme: self.scheme,
        })
    }

    fn upstream(&self, matched: &PathMatch, rewrite: Option<&PathRewrite>) -> Result<String, BadRewrite> {
        self.with_view(|view| {
            upstream_target(rewrite, self.query, matched, view, &self.resource.raw).map(Cow::into_owned)
        })
    }

    fn location(&self, redirect: &Redirect) -> Result<String, BadRewrite> {
        self.with_view(|view| location(redirect, &prefix("/"), view, &self.resource.raw))
    }
}

fn prefix(path: &str) -> PathMatch {
    PathMatch::Prefix(path.into())
}

fn regex(pattern: &str, replacement: &str) -> PathRewrite {
    let pattern = Pattern::parse(pattern).unwrap();
    let replacement = Replacement::parse(replacement, &pattern).unwrap();
    PathRewrite::Regex { pattern, replacement }
}

fn full(text: &str) -> PathRewrite {
    PathRewrite::Full(Replacement::literal(text))
}

fn rewritten(target: &str, matched: &PathMatch, rewrite: PathRewrite) -> String {
    Sent::new("a.test", target).upstream(matched, Some(&rewrite)).unwrap()
}

fn redirect() -> Redirect {
    Redirect {
        status: RedirectStatus::Found,
        scheme: None,
        host: None,
        port: None,
        path: None,
        query: QueryRewrite::Keep,
        form: LocationForm::Absolute,
    }
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
        ("/100%#", "/100%25%23?q=1"),
        ("/x?a=%20 &b", "/x?a=%20%20&b&q=1"),
        ("/x?", "/x?q=1"),
    ] {
        assert_eq!(rewritten("/a?q=1", &prefix("/"), full(text)), result);
    }
}

#[test]
fn captures_fill_the_replacement() {
    for (path, pattern, replacement, result) in [
        ("/foo/bar/baz", "^/foo(/|$)(.*)", "/$2", "/bar/baz"),
        ("/foo", "^/foo(/|$)(.*)", "/$2", "/"),
        ("/x/y", "^/x(.*)", "/$1", "/y"),
        ("/u/7/edit", "^/u/(?<id>[0-9]+)", "/users/${id}x", "/users/7x/edit"),
        ("/a/b", "^/(a)/(b)(c)?$", "/${1}0/$2x/$3/$$1/{}", "/a0/bx/$1/%7B%7D"),
        ("/p/7?x=1", "^/p/(.*)", "/show?id=$1&of=p", "/show?id=7&of=p&x=1"),
        (
            "/p/a&b=c;%2B%3F%23%25 d?x".replace(' ', "%20").leak(),
            "^/p/(.*)",
            "/show?id=$1",
            "/show?id=a%26b=c%3B%2B%3F%23%25%20d&x",
        ),
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
    let path = Redirect { path: Some(full("/z")), ..redirect() };
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

#[test]
fn a_query_can_be_dropped_with_and_without_a_path() {
    let dropped = |rewrite: Option<&PathRewrite>| {
        let sent = Sent { query: QueryRewrite::Drop, ..Sent::new("a.test", "/a//b?x=1?2") };
        sent.upstream(&prefix("/a"), rewrite).unwrap()
    };
    assert_eq!(dropped(None), "/a//b");
    assert_eq!(dropped(Some(&full("/z"))), "/z");
    assert_eq!(dropped(Some(&full("/z?y"))), "/z?y");
    assert_eq!(dropped(Some(&PathRewrite::Prefix("/z".into()))), "/z/b");
    assert_eq!(dropped(Some(&regex("^/(a)/", "/$1?$1"))), "/ab?a");
    assert_eq!(dropped(Some(&regex("^/none", "/"))), "/a//b?x=1?2", "nothing is replaced");
    let drop = Redirect { query: QueryRewrite::Drop, ..redirect() };
    assert_eq!(Sent::new("a.test", "/a//b?x").location(&drop).unwrap(), "http://a.test/a//b");
    assert_eq!(Sent::new("", "//a?x").location(&drop).unwrap(), "/a");
}

#[test]
fn a_relative_location_has_a_path_alone() {
    let relative = |path| Redirect { form: LocationForm::Relative, path, ..redirect() };
    let sent = Sent { port: Some(8080), ..Sent::new("a.test", "//evil.test/x?q") };
    assert_eq!(sent.location(&relative(None)).unwrap(), "/evil.test/x?q");
    assert_eq!(sent.location(&relative(Some(full("//evil.test")))).unwrap(), "/evil.test?q");
}

#[test]
fn a_redirect_whose_pattern_is_not_there_would_lead_to_itself() {
    let sent = Sent::new("a.test", "/old");
    let path = Redirect { path: Some(regex("^/old/(.*)", "/new/$1")), ..redirect() };
    assert_eq!(sent.location(&path), Err(BadRewrite::NoMatch));
    assert_eq!(BadRewrite::NoMatch.status(), 404);
    let drop = Redirect { query: QueryRewrite::Drop, ..redirect() };
    assert_eq!(sent.location(&drop), Err(BadRewrite::NoMatch), "there is no query");
    let host = Redirect { host: Some("b.test".into()), ..path };
    assert_eq!(sent.location(&host).unwrap(), "http://b.test/old");
}

/// What a file may say; the others are refused.
fn replacement(text: &str) -> Option<PathRewrite> {
    let pattern = Pattern::parse("a(.*)b|/(.)").unwrap();
    let replacement = Replacement::parse(text, &pattern).ok()?;
    Some(PathRewrite::Regex { pattern, replacement })
}

fn rewrites() -> impl Strategy<Value = PathRewrite> {
    prop_oneof![
        "(?s).{0,8}".prop_map(|text| full(&text)),
        "(?s)[/$0-9{}%.\r\n a-c]{0,8}".prop_map(|text| PathRewrite::Prefix(text.into())),
        "(?s)[/$1?2{}%.\r\n a-c]{0,8}".prop_filter_map("no replacement", |text| replacement(&text)),
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
        let port = Some(8080);
        let view =
            RequestView { method: "GET", path: &path, query, host: &host, port, headers: &headers, client, scheme };
        let redirect = Redirect { path: rewrite, ..redirect() };
        if let Ok(location) = location(&redirect, &prefix("/"), &view, &path) {
            prop_assert!(location.bytes().all(|byte| byte.is_ascii_graphic()), "{location:?}");
            prop_assert!(!location.starts_with("//"), "{location:?}");
        }
    }

    #[test]
    fn a_rewritten_path_is_one_that_would_be_accepted(
        path in "(/[a-c.]{1,3}){0,3}/?",
        rewrite in prop_oneof![
            "[/$0-9{}a-c ?#é]{0,8}".prop_map(|text| PathRewrite::Prefix(text.into())),
            "[/$1?2{}a-c ?#é.]{0,8}".prop_filter_map("no replacement", |text| replacement(&text)),
        ],
    ) {
        let path = if path.is_empty() { "/" } else { &path };
        let Ok(Target::Resource(resource)) = Target::parse(path.as_bytes()) else { return Ok(()) };
        let sent = Sent { scheme: Scheme::Http, host: "a.test", port: None, resource, query: QueryRewrite::Keep };
        if let Ok(rewritten) = sent.upstream(&prefix("/"), Some(&rewrite)) {
            let parsed = Target::parse(rewritten.as_bytes());
            prop_assert!(parsed.is_ok(), "{rewritten}: {parsed:?}");
            let (path, _) = rewritten.split_once('?').unwrap_or((&rewritten, ""));
            prop_assert!(!path.contains("//"), "{rewritten}");
        }
    }
}
