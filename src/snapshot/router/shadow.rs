//! Routes that can never be chosen: a more specific one takes all they could take.
//!
//! Only what is certain is reported: one other route of the same host whose path covers this one's, and whose
//! every condition holds whenever this one's do. Several routes that cover one together are not looked for, nor
//! hosts whose names all belong to earlier hosts.

use std::sync::Arc;

use crate::model::{FieldMatch, PathMatch, RouteMatch, ValueMatch};

use super::condition::{prefix_text, takes_method};
use super::pattern_start::{PatternStart, Reach};
use super::table::RouteTable;
use super::{HostEntry, RouteId};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadowed {
    pub loser: RouteId,
    pub winner: RouteId,
    /// Why the winner always wins, lowercase and without a full stop.
    pub reason: String,
}

/// In the order of the hosts and their routes. Of several winners the most specific is named.
pub fn unreachable(hosts: &[HostEntry<'_>]) -> Vec<Shadowed> {
    let in_host = |(host, entry): (usize, &HostEntry<'_>)| ShadowedRoutes::of(entry).in_host(host);
    hosts.iter().enumerate().flat_map(in_host).collect()
}

/// A host's routes with what each of their patterns is known to take.
struct ShadowedRoutes {
    table: RouteTable,
    /// By rank; None where the path is no pattern.
    starts: Vec<Option<PatternStart>>,
}

impl ShadowedRoutes {
    fn of(entry: &HostEntry<'_>) -> Self {
        let table = RouteTable::build(&entry.routes, entry.patterns);
        let start = |path: &PathMatch| match path {
            PathMatch::Regex(pattern) => Some(PatternStart::of(pattern)),
            PathMatch::Exact(_) | PathMatch::Prefix(_) => None,
        };
        let starts = table.routes.iter().map(|route| start(&route.matched.path)).collect();
        Self { table, starts }
    }

    fn in_host(&self, host: usize) -> Vec<Shadowed> {
        let id = |rank: usize| RouteId { host, route: self.table.routes[rank].position };
        let shadowed = |loser: usize| {
            let (winner, reason) = self.winner_over(loser)?;
            Some(Shadowed { loser: id(loser), winner: id(winner), reason })
        };
        let mut found: Vec<_> = (0..self.table.routes.len()).filter_map(shadowed).collect();
        found.sort_by_key(|shadowed| shadowed.loser);
        found
    }

    fn winner_over(&self, loser: usize) -> Option<(usize, String)> {
        self.rivals(loser).into_iter().find_map(|rival| Some((rival, self.covers(rival, loser)?)))
    }

    /// The ranks before `loser` whose path could cover its path, most specific first.
    fn rivals(&self, loser: usize) -> Vec<usize> {
        let table = &self.table;
        let before = |rank: &usize| *rank < loser;
        match &table.routes[loser].matched.path {
            PathMatch::Exact(text) => table.exact.get(text.as_bytes()).into_iter().flatten().filter(before).collect(),
            PathMatch::Prefix(text) => {
                let text = prefix_text(text).as_bytes();
                let patterns = table.regex.beginnings(certain_beginning(text)).flatten();
                patterns.chain(table.prefix.get(text).into_iter().flatten()).filter(before).collect()
            }
            PathMatch::Regex(_) => {
                let literal = self.starts[loser].as_ref().map_or(&b""[..], |start| &start.literal);
                table.regex.beginnings(certain_beginning(literal)).flatten().filter(before).collect()
            }
        }
    }

    /// Why `winner`, asked before `loser`, takes everything that `loser` could.
    fn covers(&self, winner: usize, loser: usize) -> Option<String> {
        let (winning, losing) = (&self.table.routes[winner].matched, &self.table.routes[loser].matched);
        let takes_all = |start: &PatternStart| start.reach == Reach::Every;
        let same_path = match (&winning.path, &losing.path) {
            (PathMatch::Prefix(a), PathMatch::Prefix(b)) => prefix_text(a) == prefix_text(b),
            (a, b) => a == b,
        };
        let covers_path = same_path || self.starts[winner].as_ref().is_some_and(takes_all);
        if !covers_path || !covers_conditions(winning, losing) {
            return None;
        }
        Some(match &winning.path {
            _ if winning == losing => "both match the same requests, and the first one takes them".into(),
            PathMatch::Regex(pattern) if !same_path => {
                format!("the pattern {} takes every path that this route could, and is asked first", pattern.as_str())
            }
            _ => "the path is the same, and the other's conditions hold whenever this route's do".into(),
        })
    }
}

/// Every path begins with a slash, whatever the text says.
fn certain_beginning(text: &[u8]) -> &[u8] {
    if text.is_empty() { b"/" } else { text }
}

fn covers_conditions(winning: &RouteMatch, losing: &RouteMatch) -> bool {
    let implied = |fields: &[FieldMatch], condition: &FieldMatch| fields.iter().any(|field| implies(field, condition));
    covers_methods(&winning.methods, &losing.methods)
        && winning.headers.iter().all(|condition| implied(&losing.headers, condition))
        && winning.query.iter().all(|condition| implied(&losing.query, condition))
}

fn covers_methods(winning: &[Arc<str>], losing: &[Arc<str>]) -> bool {
    winning.is_empty() || (!losing.is_empty() && losing.iter().all(|method| takes_method(winning, method)))
}

/// Whether `condition` holds wherever `field` does.
fn implies(field: &FieldMatch, condition: &FieldMatch) -> bool {
    field.name == condition.name
        && match (&field.value, &condition.value) {
            (ValueMatch::Absent, ValueMatch::Present) => false,
            (ValueMatch::Exact(_) | ValueMatch::Regex(_) | ValueMatch::Present, ValueMatch::Present) => true,
            (ValueMatch::Exact(text), ValueMatch::Regex(pattern)) => pattern.is_match(text),
            (held, asked) => held == asked,
        }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{RouteSpec, Site, exact, prefix, regex};
    use super::*;

    /// (loser, winner) of a site with one host.
    fn shadows(routes: Vec<RouteSpec>) -> Vec<(usize, usize)> {
        let site = Site::new().host(&["*"], routes);
        unreachable(&site.entries()).into_iter().map(|s| (s.loser.route, s.winner.route)).collect()
    }

    #[test]
    fn the_second_of_two_equal_matches_is_never_chosen() {
        assert_eq!(shadows(vec![prefix("/a"), prefix("/"), prefix("/a/")]), [(2, 0)]);
        assert_eq!(shadows(vec![exact("/a"), exact("/a"), exact("/a/")]), [(1, 0)]);
        assert_eq!(shadows(vec![regex("^/a$"), regex("^/a$")]), [(1, 0)]);
        let twice = Site::new().host(&["a.test"], vec![]).host(&["*"], vec![exact("/a"), exact("/a")]);
        assert_eq!(
            unreachable(&twice.entries()),
            [Shadowed {
                loser: RouteId { host: 1, route: 1 },
                winner: RouteId { host: 1, route: 0 },
                reason: "both match the same requests, and the first one takes them".into(),
            }]
        );
    }

    #[test]
    fn a_pattern_that_takes_every_path_hides_what_is_asked_later() {
        assert_eq!(shadows(vec![prefix("/a"), regex("^/"), exact("/b"), regex(r"\.js$")]), [(0, 1), (3, 1)]);
        assert_eq!(shadows(vec![prefix("/"), regex(".*")]), [(0, 1)]);
        assert_eq!(shadows(vec![prefix("/api/v1"), prefix("/api"), regex("^/api/")]), [(0, 2)]);
        let site = Site::new().host(&["*"], vec![prefix("/a"), regex("^/")]);
        assert_eq!(
            unreachable(&site.entries())[0].reason,
            "the pattern ^/ takes every path that this route could, and is asked first"
        );
    }

    #[test]
    fn conditions_that_hold_whenever_the_others_do_shadow() {
        let with = |value| prefix("/").header("x", value);
        assert_eq!(shadows(vec![regex("^/").header("x", None), with(Some("1")), with(None)]), [(1, 0), (2, 0)]);
        assert_eq!(shadows(vec![regex("^/").method("GET"), prefix("/a").method("HEAD")]), [(1, 0)]);
        assert_eq!(shadows(vec![regex("^/").query("q", Some("1")), prefix("/").query("q", Some("1"))]), [(1, 0)]);
    }

    #[test]
    fn a_route_that_could_still_be_chosen_is_not_reported() {
        assert_eq!(shadows(vec![prefix("/"), prefix("/a"), exact("/a"), regex("^/a/[0-9]+$")]), []);
        assert_eq!(shadows(vec![regex("^/").method("GET"), prefix("/")]), []);
        assert_eq!(shadows(vec![regex("^/").header("x", Some("1")), prefix("/").header("x", None)]), []);
        assert_eq!(shadows(vec![prefix("/").header("x", None), prefix("/").query("x", None)]), []);
        assert_eq!(shadows(vec![regex("^/api/"), prefix("/api"), regex("^/ap$")]), []);
        let two_hosts = Site::new().host(&["a.test"], vec![prefix("/")]).host(&["b.test"], vec![prefix("/")]);
        assert_eq!(unreachable(&two_hosts.entries()), []);
    }
}
