//! The filters that redirect, ready to be asked: where a request is sent instead of being served.
//!
//! ```text
//! http://a.test/ ──https-redirect──► https://a.test/ ──www-redirect──► https://www.a.test/ ──app-root──► …/app
//! ```
//!
//! Each is asked on its own, so that the first redirect of a plain request leads to the same host over TLS: browsers' preload lists ask
//! for that.

use std::collections::HashSet;
use std::sync::Arc;

use super::request::RequestView;
use super::rewrite::{BadRewrite, PathWriter, origin, push_raw, push_visible};
use crate::model::{
    AppRoot, HttpsRedirect, LocationForm, RedirectSlash, RedirectStatus, Scheme, SlashSpelling, TrailingSlash, WwwForm,
};

#[derive(Debug)]
pub enum Redirecting {
    Https(HttpsRedirect),
    Www(WwwRedirect),
    AppRoot(AppRoot),
    TrailingSlash(TrailingSlash),
}

#[derive(Debug)]
pub struct WwwRedirect {
    pub to: WwwForm,
    pub status: RedirectStatus,
    pub served: Served,
}

/// The names that a listener's hosts answer to, wildcards left out.
pub type Served = Arc<HashSet<Box<str>>>;

impl Redirecting {
    pub fn status(&self) -> RedirectStatus {
        match self {
            Redirecting::Https(redirect) => redirect.status,
            Redirecting::Www(redirect) => redirect.status,
            Redirecting::AppRoot(redirect) => redirect.status,
            Redirecting::TrailingSlash(redirect) => redirect.status,
        }
    }

    /// `None`: the request is right where it is. `raw` is its path and query as they came.
    pub fn location(&self, request: &RequestView<'_>, raw: &str) -> Option<Result<String, BadRewrite>> {
        match self {
            Redirecting::Https(redirect) => https(redirect, request, raw),
            Redirecting::Www(redirect) => www(redirect, request, raw).map(Ok),
            Redirecting::AppRoot(redirect) => app_root(redirect, request).map(Ok),
            Redirecting::TrailingSlash(redirect) => trailing_slash(redirect, request).map(Ok),
        }
    }
}

fn https(redirect: &HttpsRedirect, request: &RequestView<'_>, raw: &str) -> Option<Result<String, BadRewrite>> {
    if request.scheme == Scheme::Https {
        return None;
    }
    if request.host.is_empty() {
        return Some(Err(BadRewrite::NoHost));
    }
    let mut location = origin(Scheme::Https, request.host, Some(redirect.port), raw.len());
    let raw = match redirect.slash {
        RedirectSlash::Keep => raw,
        RedirectSlash::Drop => raw.strip_suffix('/').unwrap_or(raw),
    };
    push_raw(&mut location, raw);
    Some(Ok(location))
}

fn www(redirect: &WwwRedirect, request: &RequestView<'_>, raw: &str) -> Option<String> {
    let bare = request.host.strip_prefix(WWW);
    let target = match (redirect.to, bare) {
        (WwwForm::Apex, Some(bare)) => redirect.served.get(bare),
        (WwwForm::Www, None) => redirect.served.get(&*format!("{WWW}{}", request.host)),
        (WwwForm::Apex, None) | (WwwForm::Www, Some(_)) => None,
    }?;
    let mut location = origin(request.scheme, target, request.port, raw.len());
    push_raw(&mut location, raw);
    Some(location)
}

const WWW: &str = "www.";

fn app_root(redirect: &AppRoot, request: &RequestView<'_>) -> Option<String> {
    (request.path == "/").then(|| {
        let mut location = here(redirect.form, request, redirect.path.len());
        push_visible(&mut location, &redirect.path);
        location
    })
}

fn trailing_slash(redirect: &TrailingSlash, request: &RequestView<'_>) -> Option<String> {
    let path = match (redirect.spelling, request.path.strip_suffix('/')) {
        (SlashSpelling::Without, Some(path)) if !path.is_empty() => PathWriter::for_length(path.len()).request(path),
        (SlashSpelling::With, None) if !is_a_name_of_its_own(request.path) => {
            PathWriter::for_length(request.path.len()).request(request.path).file("/")
        }
        (SlashSpelling::With | SlashSpelling::Without, _) => return None,
    };
    let path = path.finish();
    let mut location = here(redirect.form, request, path.len());
    location.push_str(&path);
    if let Some(query) = request.query {
        location.push('?');
        push_visible(&mut location, query);
    }
    Some(location)
}

/// A file, or what a standard says must stand there (RFC 8615).
fn is_a_name_of_its_own(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|last| last.contains('.')) || path.starts_with("/.well-known/")
}

fn here(form: LocationForm, request: &RequestView<'_>, more: usize) -> String {
    match form {
        LocationForm::Absolute => origin(request.scheme, request.host, request.port, more),
        LocationForm::Relative => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use http::HeaderMap;

    use super::*;

    fn location(redirecting: &Redirecting, scheme: Scheme, host: &str, path: &str) -> Option<String> {
        let headers = HeaderMap::new();
        let view = RequestView {
            method: "GET",
            path,
            query: Some("q=1"),
            host,
            port: Some(8080),
            headers: &headers,
            client: IpAddr::from([127, 0, 0, 1]),
            scheme,
        };
        redirecting.location(&view, &format!("{path}?q=1")).map(Result::unwrap)
    }

    fn slash(spelling: SlashSpelling, form: LocationForm) -> Redirecting {
        Redirecting::TrailingSlash(TrailingSlash { spelling, status: RedirectStatus::Found, form })
    }

    #[test]
    fn a_name_is_redirected_only_to_one_that_is_served() {
        let to = |to, targets: &[&str]| {
            let served = Arc::new(targets.iter().map(|name| (*name).into()).collect());
            Redirecting::Www(WwwRedirect { to, status: RedirectStatus::Found, served })
        };
        let (apex, www) = (to(WwwForm::Apex, &["a.test"]), to(WwwForm::Www, &["www.a.test"]));
        let of = |redirect, host| location(redirect, Scheme::Https, host, "//x");
        assert_eq!(of(&apex, "www.a.test").as_deref(), Some("https://a.test:8080//x?q=1"));
        assert_eq!(of(&www, "a.test").as_deref(), Some("https://www.a.test:8080//x?q=1"));
        for (redirect, host) in [
            (&apex, "a.test"),
            (&apex, "www.b.test"),
            (&apex, "www.www.a.test"),
            (&www, "www.a.test"),
            (&www, "b.a.test"),
            (&www, ""),
        ] {
            assert_eq!(of(redirect, host), None, "{host}");
        }
    }

    #[test]
    fn on_the_way_to_https_a_slash_at_the_end_may_be_dropped() {
        let to =
            |slash| Redirecting::Https(HttpsRedirect { status: RedirectStatus::PermanentRedirect, port: 443, slash });
        let of = |slash, raw: &str| {
            let headers = HeaderMap::new();
            let view = RequestView {
                method: "GET",
                path: "/",
                query: None,
                host: "a.test",
                port: Some(8080),
                headers: &headers,
                client: IpAddr::from([127, 0, 0, 1]),
                scheme: Scheme::Http,
            };
            to(slash).location(&view, raw).map(Result::unwrap).unwrap()
        };
        assert_eq!(of(RedirectSlash::Keep, "/a/"), "https://a.test/a/");
        assert_eq!(of(RedirectSlash::Drop, "/a/"), "https://a.test/a");
        assert_eq!(of(RedirectSlash::Drop, "/"), "https://a.test");
        assert_eq!(of(RedirectSlash::Drop, "/a?b=/"), "https://a.test/a?b=");
    }

    #[test]
    fn a_slash_is_added_where_no_file_stands_and_removed_everywhere_but_at_the_root() {
        let with = |path| location(&slash(SlashSpelling::With, LocationForm::Relative), Scheme::Http, "a.test", path);
        assert_eq!(with("/a/ü").as_deref(), Some("/a/%C3%BC/?q=1"));
        for path in ["/", "/a/", "/a.js", "/a/b.c", "/.well-known/openid-configuration"] {
            assert_eq!(with(path), None, "{path}");
        }
        let without =
            |path| location(&slash(SlashSpelling::Without, LocationForm::Absolute), Scheme::Http, "a.test", path);
        assert_eq!(without("/a%2/").as_deref(), Some("http://a.test:8080/a%252?q=1"));
        assert_eq!([without("/"), without("/a")], [None, None]);
    }

    #[test]
    fn without_a_host_no_other_can_be_meant() {
        let remove = slash(SlashSpelling::Without, LocationForm::Absolute);
        assert_eq!(location(&remove, Scheme::Http, "", "//evil.test/").as_deref(), Some("/evil.test?q=1"));
    }
}
