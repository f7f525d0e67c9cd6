//! Why a request takes the route it takes: `weir explain`, and the admin API over the running table.
//!
//! Slower than `find` and complete: every route of the host is asked, with the same predicates.

use crate::model::HostName;
use crate::snapshot::request::RequestView;

use super::condition::refusal;
use super::hosts::{Candidate, Coverage};
use super::table::RankedRoute;
use super::{Found, RouteId, Router};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The names that cover the request's host or nearly do, most specific first. Empty: there is none.
    pub names: Vec<NameVerdict>,
    /// Every route of the chosen host, most specific first.
    pub routes: Vec<RouteVerdict>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameVerdict {
    pub name: HostName,
    pub host: usize,
    pub verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteVerdict {
    pub route: RouteId,
    pub verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Won,
    /// With the reason, in words.
    Lost(String),
}

impl Explanation {
    /// What the verdicts come to; the same as [`Router::find`] gives.
    pub fn found(&self) -> Found {
        let host = self.names.iter().find(|name| name.verdict == Verdict::Won).map(|name| name.host);
        let route = self.routes.iter().find(|route| route.verdict == Verdict::Won).map(|route| route.route);
        match (host, route) {
            (_, Some(route)) => Found::Route(route),
            (Some(host), None) => Found::NoRoute { host },
            (None, None) => Found::NoHost,
        }
    }
}

impl Router {
    pub fn explain(&self, request: &RequestView<'_>) -> Explanation {
        let chosen = self.hosts.find(request.host);
        let candidates = self.hosts.candidates(request.host);
        let has_won = |candidate: &&Candidate<'_>| Some(candidate.id) == chosen;
        let winner = candidates.iter().find(has_won).map(|winner| winner.name);
        let name_verdict = |candidate: &Candidate<'_>| NameVerdict {
            name: candidate.name.clone(),
            host: candidate.id.host(),
            verdict: if has_won(&candidate) { Verdict::Won } else { Verdict::Lost(why_lost(candidate, winner)) },
        };
        Explanation {
            names: candidates.iter().map(name_verdict).collect(),
            routes: chosen.map(|name| self.explain_routes(name.host(), request)).unwrap_or_default(),
        }
    }

    fn explain_routes(&self, host: usize, request: &RequestView<'_>) -> Vec<RouteVerdict> {
        let mut winner = None;
        let mut verdict = |route: &RankedRoute| match refusal(&route.matched, request) {
            Some(refused) => Verdict::Lost(refused.in_words(request)),
            None if winner.is_some() => Verdict::Lost("a more specific route matched".into()),
            None => {
                winner = Some(route.position);
                Verdict::Won
            }
        };
        let routes = self.tables[host].routes.iter();
        routes
            .map(|route| RouteVerdict { route: RouteId { host, route: route.position }, verdict: verdict(route) })
            .collect()
    }
}

fn why_lost(candidate: &Candidate<'_>, winner: Option<&HostName>) -> String {
    match (candidate.coverage, winner) {
        (Coverage::LabelMissing, _) | (_, None) => format!("{} needs a label before it", candidate.name),
        (_, Some(winner)) if winner == candidate.name => "an earlier host has the same name".into(),
        (_, Some(winner)) => format!("{winner} is more specific"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Site, exact, prefix, regex, request};
    use super::*;

    fn lost(reason: &str) -> Verdict {
        Verdict::Lost(reason.into())
    }

    #[test]
    fn every_route_of_the_host_says_why_it_won_or_lost() {
        let site = Site::new().host(
            &["*"],
            vec![
                prefix("/"),
                prefix("/api"),
                regex("^/api/"),
                exact("/api"),
                prefix("/apis").method("GET"),
                prefix("/apis").header("x-env", None),
                prefix("/apis").header("x-env", Some("test")).header("x-zone", None),
                prefix("/apis").query("v", Some("2")),
            ],
        );
        let sent = request("POST", "a.test", "/apis").header("x-zone", "b").query("v=1");
        let explained = site.router().explain(&sent.view());
        let verdicts: Vec<_> = explained.routes.into_iter().map(|r| (r.route.route, r.verdict)).collect();
        assert_eq!(
            verdicts,
            [
                (3, lost("the path /apis is not /api")),
                (2, lost("the path /apis does not match ^/api/")),
                (4, lost("method POST is not among GET")),
                (6, lost("the header x-env is absent")),
                (5, lost("the header x-env is absent")),
                (7, lost("the query parameter v has another value")),
                (1, lost("the path /apis is not below /api")),
                (0, Verdict::Won),
            ]
        );
    }

    #[test]
    fn a_route_that_would_take_the_request_loses_to_the_more_specific_one() {
        let site = Site::new().host(&["*"], vec![prefix("/"), prefix("/a")]);
        let explained = site.router().explain(&request("GET", "", "/a").view());
        assert_eq!(explained.routes[0].verdict, Verdict::Won);
        assert_eq!(explained.routes[1].verdict, lost("a more specific route matched"));
    }

    #[test]
    fn names_that_cover_the_host_say_why_they_lost() {
        let site = Site::new()
            .host(&["*", "*.a.test"], vec![])
            .host(&["*.test", "a.test"], vec![])
            .host(&["a.test", "b.test"], vec![]);
        let explained = site.router().explain(&request("GET", "a.test", "/").view());
        let verdicts: Vec<_> = explained.names.iter().map(|n| (n.name.to_string(), n.host, &n.verdict)).collect();
        assert_eq!(
            verdicts,
            [
                ("a.test".into(), 1, &Verdict::Won),
                ("a.test".into(), 2, &lost("an earlier host has the same name")),
                ("*.test".into(), 1, &lost("a.test is more specific")),
                ("*".into(), 0, &lost("a.test is more specific")),
                ("*.a.test".into(), 0, &lost("*.a.test needs a label before it")),
            ]
        );
        assert_eq!(explained.found(), Found::NoRoute { host: 1 });
    }

    #[test]
    fn a_host_that_no_name_covers_is_explained_by_silence() {
        let site = Site::new().host(&["a.test"], vec![prefix("/")]);
        let explained = site.router().explain(&request("GET", "b.test", "/").view());
        assert_eq!(explained, Explanation { names: vec![], routes: vec![] });
        assert_eq!(explained.found(), Found::NoHost);
    }
}
