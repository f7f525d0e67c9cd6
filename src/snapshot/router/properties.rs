//! The router against a naive scan: sort all routes by Specificity, take the first whose conditions hold.

use proptest::prelude::*;
use proptest::sample::select;

use crate::model::{FieldMatch, HostName, PathMatch, Pattern, RouteMatch, ValueMatch};

use super::fixture::{RouteSpec, Sent, Site, exact, prefix, request};
use super::pattern_start::{PatternStart, Reach};
use super::{Found, HostEntry, RouteId, Specificity, unreachable};

const NAMES: [&str; 8] = ["*", "*.test", "*.a.test", "*.b.a.test", "a.test", "b.a.test", "c.b.a.test", "test"];
const HOSTS: [&str; 9] = ["a.test", "b.a.test", "c.b.a.test", "d.c.b.a.test", "x.a.test", "xa.test", "test", "org", ""];
const PATTERNS: [&str; 12] = [
    "^/a/",
    "^/a",
    "/b$",
    "^/",
    ".*",
    "^/(a|b)/ab",
    "a/b",
    "^/a/b/.*$",
    "^/ab?/",
    "(?i)^/A",
    "^/a/(b|ab)",
    "^/b/[ab]+$",
];
const METHODS: [&str; 4] = ["GET", "HEAD", "POST", "PUT"];

/// Few segments, so that paths and routes meet often.
fn paths() -> impl Strategy<Value = String> {
    let segments = prop::collection::vec(select(vec!["a", "b", "ab"]), 0..5);
    (segments, select(vec!["", "/"])).prop_map(|(segments, end)| match segments.as_slice() {
        [] => "/".into(),
        segments => format!("/{}{end}", segments.join("/")),
    })
}

fn path_matches() -> impl Strategy<Value = PathMatch> {
    prop_oneof![
        paths().prop_map(|path| PathMatch::Exact(path.into())),
        paths().prop_map(|path| PathMatch::Prefix(path.into())),
        select(PATTERNS.to_vec()).prop_map(|source| PathMatch::Regex(Pattern::parse(source).unwrap())),
    ]
}

fn field_matches() -> impl Strategy<Value = Vec<FieldMatch>> {
    let value = prop_oneof![
        select(vec!["1", "2"]).prop_map(|text| ValueMatch::Exact(text.into())),
        Just(ValueMatch::Regex(Pattern::parse("^[12]$").unwrap())),
        Just(ValueMatch::Present),
        Just(ValueMatch::Absent),
    ];
    let field = (select(vec!["x", "y"]), value).prop_map(|(name, value)| FieldMatch { name: name.into(), value });
    prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec(field, 1..3)]
}

fn routes() -> impl Strategy<Value = RouteSpec> {
    let methods = prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec(select(METHODS.to_vec()), 1..3)];
    (path_matches(), methods, field_matches(), field_matches()).prop_map(|(path, methods, headers, query)| {
        let methods = methods.into_iter().map(Into::into).collect();
        RouteSpec(RouteMatch { path, methods, headers, query })
    })
}

fn sites() -> impl Strategy<Value = Site> {
    let host = (prop::collection::vec(select(NAMES.to_vec()), 1..3), prop::collection::vec(routes(), 0..12));
    prop::collection::vec(host, 0..5)
        .prop_map(|hosts| hosts.into_iter().fold(Site::new(), |site, (names, routes)| site.host(&names, routes)))
}

fn requests() -> impl Strategy<Value = Sent> {
    let headers = prop::collection::vec((select(vec!["x", "y"]), select(vec!["1", "2", "3"])), 0..3);
    let query = select(vec![None, Some(""), Some("x"), Some("x=1"), Some("y=2&x=1"), Some("x=3&x=1&y=1")]);
    let head = (select(METHODS.to_vec()), select(HOSTS.to_vec()), paths());
    (head, headers, query).prop_map(|((method, host, path), headers, query)| {
        let sent = Sent { query, ..request(method, host, &path) };
        headers.into_iter().fold(sent, |sent, (name, value)| sent.header(name, value))
    })
}

fn find_naively(hosts: &[HostEntry<'_>], sent: &Sent) -> Found {
    let named = hosts.iter().enumerate().flat_map(|(index, host)| host.names.iter().map(move |name| (name, index)));
    let covering = named.filter_map(|(name, index)| Some((name_rank(name, &sent.host)?, index)));
    let Some((_, host)) = covering.min_by_key(|(rank, _)| *rank) else { return Found::NoHost };
    let mut routes: Vec<_> = hosts[host].routes.iter().copied().enumerate().collect();
    routes.sort_by_key(|(position, matched)| Specificity::of(matched, *position, hosts[host].patterns));
    match routes.into_iter().find(|(_, matched)| holds(matched, sent)) {
        Some((route, _)) => Found::Route(RouteId { host, route }),
        None => Found::NoRoute { host },
    }
}

/// Smaller is more specific.
fn name_rank(name: &HostName, host: &str) -> Option<(u8, i64)> {
    match name {
        HostName::Exact(text) => (**text == *host).then_some((0, 0)),
        HostName::Wildcard(text) => {
            let suffix = format!(".{text}");
            (host.ends_with(&suffix) && host.len() > suffix.len()).then_some((1, -(text.len() as i64)))
        }
        HostName::OneLabel(text) => {
            let label = host.strip_suffix(&**text)?.strip_suffix('.')?;
            (!label.is_empty() && !label.contains('.')).then_some((1, i64::MIN))
        }
        HostName::CatchAll => Some((2, 0)),
    }
}

fn holds(matched: &RouteMatch, sent: &Sent) -> bool {
    let path = match &matched.path {
        PathMatch::Exact(text) => sent.path == **text,
        PathMatch::Prefix(text) => {
            let wanted: Vec<_> = text.split('/').filter(|segment| !segment.is_empty()).collect();
            let given: Vec<_> = sent.path.split('/').filter(|segment| !segment.is_empty()).collect();
            given.starts_with(&wanted)
        }
        PathMatch::Regex(pattern) => pattern.regex().find(&sent.path).is_some(),
    };
    let mut taken: Vec<&str> = matched.methods.iter().map(|method| &**method).collect();
    if taken.contains(&"GET") {
        taken.push("HEAD");
    }
    let method = taken.is_empty() || taken.contains(&sent.method.as_str());
    let header = |field: &FieldMatch| {
        let values: Vec<_> = sent.headers.get_all(&*field.name).iter().map(|value| value.to_str().unwrap()).collect();
        value_holds(&field.value, &values)
    };
    let parameter = |field: &FieldMatch| {
        let pairs = sent.query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let mut pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let first: Vec<_> = pairs.find(|(name, _)| *name == &*field.name).into_iter().map(|(_, value)| value).collect();
        value_holds(&field.value, &first)
    };
    path && method && matched.headers.iter().all(header) && matched.query.iter().all(parameter)
}

fn value_holds(wanted: &ValueMatch, values: &[&str]) -> bool {
    match wanted {
        ValueMatch::Exact(text) => values.contains(&&**text),
        ValueMatch::Regex(pattern) => values.iter().any(|value| pattern.is_match(value)),
        ValueMatch::Present => !values.is_empty(),
        ValueMatch::Absent => values.is_empty(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn find_equals_the_naive_scan(site in sites(), requests in prop::collection::vec(requests(), 16)) {
        let router = site.router();
        for sent in requests {
            prop_assert_eq!(router.find(&sent.view()), find_naively(&site.entries(), &sent), "{:?}", sent);
        }
    }

    #[test]
    fn explain_agrees_with_find(site in sites(), requests in prop::collection::vec(requests(), 16)) {
        let router = site.router();
        for sent in requests {
            let explained = router.explain(&sent.view());
            prop_assert_eq!(explained.found(), router.find(&sent.view()), "{:?}", sent);
        }
    }

    #[test]
    fn what_is_called_unreachable_is_never_found(
        site in sites(),
        requests in prop::collection::vec(requests(), 64),
    ) {
        let router = site.router();
        let entries = site.entries();
        let shadowed = unreachable(&entries);
        for pair in &shadowed {
            let rank = |id: RouteId| Specificity::of(entries[id.host].routes[id.route], id.route, entries[id.host].patterns);
            prop_assert!(rank(pair.winner) < rank(pair.loser));
        }
        for sent in requests {
            if let Found::Route(found) = router.find(&sent.view()) {
                prop_assert!(shadowed.iter().all(|pair| pair.loser != found), "{:?} finds {:?}", sent, found);
            }
        }
    }

    #[test]
    fn differing_paths_are_chosen_alike_whatever_their_order_in_the_file(
        texts in prop::collection::hash_set(paths(), 1..8),
        sent in requests(),
    ) {
        let prefixes = texts.iter().filter(|text| !text.ends_with('/')).map(|text| prefix(text));
        let routes: Vec<_> = texts.iter().map(|text| exact(text)).chain(prefixes).collect();
        let chosen = |routes: Vec<RouteSpec>| match Site::new().host(&["*"], routes.clone()).router().find(&sent.view()) {
            Found::Route(id) => Some(routes[id.route].0.path.to_string()),
            Found::NoRoute { .. } | Found::NoHost => None,
        };
        let reversed = routes.iter().rev().cloned().collect();
        prop_assert_eq!(chosen(routes), chosen(reversed));
    }

    #[test]
    fn a_pattern_takes_only_what_begins_as_it_says(source in select(PATTERNS.to_vec()), path in paths()) {
        let pattern = Pattern::parse(source).unwrap();
        let start = PatternStart::of(&pattern);
        let begins = path.as_bytes().starts_with(&start.literal);
        prop_assert!(begins || !pattern.is_match(&path));
        prop_assert!(!(begins && start.reach == Reach::Every) || pattern.is_match(&path));
    }
}
