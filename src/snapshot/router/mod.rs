//! Which route a request takes, and why.
//!
//! ```text
//! request ──► host (hash; wildcards label by label) ──► its routes, most specific first ──► first that takes it
//!                                                         exact (hash) · patterns · prefixes (by length, hash)
//! ```
//!
//! One total order decides, top to bottom; a row counts only where the rows above are equal:
//!
//! | # | Compared | First | nginx | Gateway API |
//! |---|---|---|---|---|
//! | 1 | host | exact name, then one label below, then the longest wildcard, then the catch-all | same | same |
//! | 2 | kind of path | exact, then regex, then prefix | same | exact, prefix; regex as one likes |
//! | 3 | path | regex: the longer literal beginning; prefix: the longer | regex: file order; prefix: same | prefix: same |
//! | 4 | methods | the fewer it takes; `GET` takes `HEAD` along; any method last | – | a method before none |
//! | 5 | headers | more conditions, then more exact ones, then more patterns | – | more conditions |
//! | 6 | query | as headers | – | more conditions |
//! | 7 | position | earlier in the file | – | same |
//!
//! A route whose conditions fail falls on to the next of the same host; a host that matched is final, so that a
//! wildcard host's routes never leak into a host of its own.
//!
//! Patterns stand before prefixes as in nginx: whoever writes `^/api/v1/auth/(login|register)` beside `/api/`
//! and `/` means the pattern to win, however short its literal beginning. That beginning (row 3) is the text
//! which every match must start with: `/api/v1/auth/` here, nothing where the pattern has no `^`. A longer one
//! is the narrower pattern, so file order decides only between patterns that begin alike. A host whose
//! [`PatternOrder`] is `Listed` has them asked in their order alone. nginx's `^~` has no
//! counterpart: a prefix that must beat patterns is written as a pattern, `^/static/`.
//!
//! A lookup allocates nothing and takes no lock. The hash tables are filled from configuration and only read
//! by requests, so no request can lengthen a probe; their seeds are random (foldhash), so no tenant's host
//! names can be chosen to collide either.

mod condition;
mod explain;
#[cfg(test)]
mod fixture;
mod hosts;
mod pattern_start;
#[cfg(test)]
mod properties;
mod shadow;
mod specificity;
mod table;

use std::sync::Arc;

use crate::model::{HostName, PatternOrder, RouteMatch};
use crate::snapshot::request::RequestView;

pub(super) use condition::hold;
pub(in crate::snapshot) use condition::prefix_text;
pub use explain::{Explanation, NameVerdict, RouteVerdict, Verdict};
pub use shadow::{Shadowed, unreachable};
pub use specificity::Specificity;

use hosts::HostTable;
use table::RouteTable;

/// A virtual host as the router sees it.
pub struct HostEntry<'m> {
    pub names: &'m [HostName],
    pub patterns: PatternOrder,
    /// In the order of the file.
    pub routes: Vec<&'m RouteMatch>,
}

/// Indices into what the router was built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId {
    pub host: usize,
    pub route: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Route(RouteId),
    /// The host is served, but none of its routes takes the request.
    NoRoute {
        host: usize,
    },
    /// No host has a name that covers the request's.
    NoHost,
}

pub struct Router {
    hosts: HostTable,
    /// By index of the host.
    tables: Vec<Arc<RouteTable>>,
}

impl Router {
    /// A name that stands at several hosts belongs to the first of them.
    pub fn build(hosts: &[HostEntry<'_>]) -> Self {
        Self::build_beside(None, hosts, |_| None)
    }

    /// Hosts that are the same as one of `before` have the same routes.
    pub fn build_beside(before: Option<&Self>, hosts: &[HostEntry<'_>], same: impl Fn(usize) -> Option<usize>) -> Self {
        let table = |(index, host): (usize, &HostEntry<'_>)| match (before, same(index)) {
            (Some(before), Some(same)) => before.tables[same].clone(),
            (_, _) => Arc::new(RouteTable::build(&host.routes, host.patterns)),
        };
        Self { hosts: HostTable::build(hosts), tables: hosts.iter().enumerate().map(table).collect() }
    }

    pub fn find(&self, request: &RequestView<'_>) -> Found {
        let Some(name) = self.hosts.find(request.host) else { return Found::NoHost };
        let host = name.host();
        match self.tables[host].find(request) {
            Some(route) => Found::Route(RouteId { host, route: route.position }),
            None => Found::NoRoute { host },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fixture::{Site, exact, prefix, regex, request};
    use super::*;

    fn found(site: &Site, method: &str, host: &str, path: &str) -> Found {
        site.router().find(&request(method, host, path).view())
    }

    fn route(host: usize, route: usize) -> Found {
        Found::Route(RouteId { host, route })
    }

    #[test]
    fn a_pattern_beats_the_prefixes_it_stands_beside() {
        let site = Site::new().host(
            &["app.test"],
            vec![prefix("/"), prefix("/ws/"), prefix("/api/"), regex("^/api/v1/auth/(login|register|magic-link)")],
        );
        assert_eq!(found(&site, "POST", "app.test", "/api/v1/auth/login"), route(0, 3));
        assert_eq!(found(&site, "GET", "app.test", "/api/v1/auth/logout"), route(0, 2));
        assert_eq!(found(&site, "GET", "app.test", "/ws/feed"), route(0, 1));
        assert_eq!(found(&site, "GET", "app.test", "/apis"), route(0, 0));
    }

    #[test]
    fn exact_path_beats_pattern_and_prefix_of_equal_length() {
        let site = Site::new().host(&["*"], vec![prefix("/health"), regex("^/health$"), exact("/health")]);
        assert_eq!(found(&site, "GET", "a.test", "/health"), route(0, 2));
        assert_eq!(found(&site, "GET", "a.test", "/health/"), route(0, 0));
    }

    #[test]
    fn a_prefix_takes_whole_segments() {
        let site = Site::new().host(&["*"], vec![prefix("/api"), prefix("/api/v1/")]);
        assert_eq!(found(&site, "GET", "", "/api"), route(0, 0));
        assert_eq!(found(&site, "GET", "", "/api/"), route(0, 0));
        assert_eq!(found(&site, "GET", "", "/api/v1"), route(0, 1));
        assert_eq!(found(&site, "GET", "", "/api/v10"), route(0, 0));
        assert_eq!(found(&site, "GET", "", "/apis"), Found::NoRoute { host: 0 });
    }

    #[test]
    fn the_pattern_with_the_longer_literal_beginning_is_asked_first() {
        let site = Site::new().host(&["*"], vec![regex(r"\.json$"), regex("^/api/"), regex("^/api/v1/[a-z]+$")]);
        assert_eq!(found(&site, "GET", "", "/api/v1/users"), route(0, 2));
        assert_eq!(found(&site, "GET", "", "/api/v2/users.json"), route(0, 1));
        assert_eq!(found(&site, "GET", "", "/users.json"), route(0, 0));
    }

    #[test]
    fn a_route_whose_conditions_fail_falls_on_within_its_host_only() {
        let post = prefix("/api").method("POST");
        let site = Site::new().host(&["a.test"], vec![post]).host(&["*"], vec![prefix("/")]);
        assert_eq!(found(&site, "POST", "a.test", "/api"), route(0, 0));
        assert_eq!(found(&site, "GET", "a.test", "/api"), Found::NoRoute { host: 0 });
        assert_eq!(found(&site, "GET", "b.test", "/api"), route(1, 0));
    }

    #[test]
    fn conditions_make_a_route_more_specific_wherever_it_stands() {
        let site = Site::new().host(
            &["*"],
            vec![
                prefix("/"),
                prefix("/").header("x-env", None),
                prefix("/").header("x-env", Some("test")),
                prefix("/").query("debug", None),
                prefix("/").method("GET"),
                prefix("/").method("HEAD"),
            ],
        );
        let router = site.router();
        let find = |method: &str, header: Option<&'static str>, query: Option<&'static str>| {
            let mut sent = request(method, "", "/x");
            if let Some(value) = header {
                sent = sent.header("x-env", value);
            }
            sent.query = query;
            router.find(&sent.view())
        };
        assert_eq!(find("PUT", None, None), route(0, 0));
        assert_eq!(find("PUT", Some("live"), None), route(0, 1));
        assert_eq!(find("PUT", Some("test"), Some("debug")), route(0, 2));
        assert_eq!(find("PUT", None, Some("debug=1")), route(0, 3));
        assert_eq!(find("GET", Some("test"), None), route(0, 4));
        assert_eq!(find("HEAD", None, None), route(0, 5));
    }

    #[test]
    fn get_takes_head_along() {
        let site = Site::new().host(&["*"], vec![prefix("/").method("GET")]);
        assert_eq!(found(&site, "HEAD", "", "/"), route(0, 0));
        assert_eq!(found(&site, "get", "", "/"), Found::NoRoute { host: 0 });
    }

    #[test]
    fn the_most_specific_name_chooses_the_host() {
        let site = Site::new()
            .host(&["*"], vec![prefix("/")])
            .host(&["*.test"], vec![prefix("/")])
            .host(&["*.a.test", "b.test"], vec![prefix("/")])
            .host(&["x.a.test", "b.test"], vec![prefix("/")]);
        for (host, index) in [
            ("x.a.test", 3),
            ("y.a.test", 2),
            ("z.y.a.test", 2),
            ("a.test", 1),
            ("b.test", 2),
            ("test", 0),
            ("", 0),
            ("[::1]", 0),
        ] {
            assert_eq!(found(&site, "GET", host, "/"), route(index, 0), "{host}");
        }
    }

    #[test]
    fn one_label_covers_exactly_one_and_comes_before_a_wildcard() {
        let matched = prefix("/").0;
        let names = [[HostName::Wildcard("a.test".into())], [HostName::OneLabel("a.test".into())]];
        let entry = |names| HostEntry { names, patterns: PatternOrder::Narrowest, routes: vec![&matched] };
        let both = Router::build(&[entry(&names[0]), entry(&names[1])]);
        let one = Router::build(&[entry(&names[1])]);
        let found = |router: &Router, host: &str| router.find(&request("GET", host, "/").view());
        assert_eq!(found(&both, "x.a.test"), route(1, 0));
        assert_eq!(found(&both, "y.x.a.test"), route(0, 0));
        assert_eq!(found(&one, "x.a.test"), route(0, 0));
        for host in ["y.x.a.test", "a.test", ".a.test", "xa.test", ""] {
            assert_eq!(found(&one, host), Found::NoHost, "{host}");
        }
    }

    #[test]
    fn patterns_that_are_listed_are_asked_in_their_order() {
        let patterns = [regex("^/[a-z]+/long").0, regex("^/a").0, regex("^/a/long/er").0];
        let found = |patterns_order, path| {
            let names = [HostName::CatchAll];
            let routes = patterns.iter().collect();
            let router = Router::build(&[HostEntry { names: &names, patterns: patterns_order, routes }]);
            router.find(&request("GET", "", path).view())
        };
        assert_eq!(found(PatternOrder::Listed, "/a/long/er"), route(0, 0));
        assert_eq!(found(PatternOrder::Narrowest, "/a/long/er"), route(0, 2));
        assert_eq!(found(PatternOrder::Listed, "/a/x"), route(0, 1));
    }

    #[test]
    fn an_unknown_host_is_told_from_an_unknown_path() {
        let site = Site::new().host(&["*.a.test"], vec![exact("/")]);
        assert_eq!(found(&site, "GET", "a.test", "/"), Found::NoHost);
        assert_eq!(found(&site, "GET", "xa.test", "/"), Found::NoHost);
        assert_eq!(found(&site, "GET", "x.a.test", "/y"), Found::NoRoute { host: 0 });
        assert_eq!(Router::build(&[]).find(&request("GET", "", "/").view()), Found::NoHost);
    }
}
