//! Several upstreams behind one route.

use std::sync::Arc;

use super::Lowering;
use super::route::{FieldKind, Manner, Scope, conditions};
use super::upstream::hash_key;
use crate::model::{FieldMatch, Split, SplitArm, SplitKey, SplitRule, SplitSessions, UpstreamName};
use crate::sources::config::decode::{Field, Table};
use crate::sources::config::shapes::{self, scalar};
use crate::sources::config::tree::{NodeId, abridged};

/// None where it cannot be told who goes where.
pub fn split(cx: &Lowering, at: NodeId, shape: shapes::Split, manner: &Manner, scope: &Scope) -> Option<Split> {
    let example = "weights: { stable: 95, next: 5 }, by the names of upstreams";
    let weights = cx.required(shape.weights, at, "weights", example);
    if weights.is_none() {
        scope.upstream_names.lost_a_use();
    }
    let arms = weights.map(|(at, table)| arms(cx, at, table, manner, scope));
    let rules: Vec<_> = rules(cx, shape.rules, scope);
    if let (Field::Absent, Some(place)) = (&shape.key, shape.salt.key()) {
        cx.error_with(place, "\"salt\" has no effect without a key", "write key: client-ip, or take the salt out");
    }
    let salt: Arc<str> = shape.salt.value().unwrap_or_default().into();
    let by = shape.key.value().map(|key| SplitKey { key: hash_key(key), salt });
    let mut arms = arms?;
    for rule in &rules {
        if !arms.iter().any(|arm| arm.forward.upstream == rule.upstream) {
            arms.push(SplitArm { weight: 0, forward: manner.to(rule.upstream.as_str(), scope) });
        }
    }
    Some(Split { rules, arms, by, sessions: SplitSessions::Kept })
}

fn arms(
    cx: &Lowering,
    at: NodeId,
    Table(entries): Table<scalar::SplitWeight>,
    manner: &Manner,
    scope: &Scope,
) -> Vec<SplitArm> {
    let are_readable = entries.iter().all(|(_, field)| !field.is_wrong());
    let mut arms = Vec::new();
    for (name, field) in entries {
        let Some((at, scalar::SplitWeight(weight))) = field.given() else {
            scope.upstream_names.lost_a_use();
            continue;
        };
        scope.upstream_names.resolve_key(cx, at, &name);
        arms.push(SplitArm { weight, forward: manner.to(&name, scope) });
    }
    if are_readable && arms.iter().all(|arm| arm.weight == 0) {
        let help = "give at least one upstream a weight above 0";
        cx.error_with(at.value(), "these weights lead nowhere", help);
    }
    arms
}

fn rules(cx: &Lowering, written: Field<Vec<Field<shapes::SplitRule>>>, scope: &Scope) -> Vec<SplitRule> {
    if written.is_wrong() {
        scope.upstream_names.lost_a_use();
    }
    let rule = |field: Field<shapes::SplitRule>| {
        let rule = field.given().and_then(|(at, shape)| rule(cx, at, shape, scope));
        if rule.is_none() {
            scope.upstream_names.lost_a_use();
        }
        rule
    };
    written.value().unwrap_or_default().into_iter().filter_map(rule).collect()
}

fn rule(cx: &Lowering, at: NodeId, shape: shapes::SplitRule, scope: &Scope) -> Option<SplitRule> {
    let keys = [shape.headers.key(), shape.cookies.key(), shape.query.key()];
    if keys.iter().all(Option::is_none) {
        let help = "write headers: { x-canary: always }, cookies: { … } or query: { … }";
        cx.missing(at, &["headers", "cookies", "query"], "nothing says which requests the rule takes", help);
    }
    let headers = conditions(cx, shape.headers, FieldKind::Header);
    let cookies = conditions(cx, shape.cookies, FieldKind::Cookie);
    let query = conditions(cx, shape.query, FieldKind::Query);
    let (place, name) = cx.required(shape.upstream, at, "upstream", "upstream: next, where they go")?;
    scope.upstream_names.resolve(cx, place, &name);
    let (headers, cookies, query) = (headers?, cookies?, query?);
    let is_empty = |conditions: &Vec<FieldMatch>| conditions.is_empty();
    if [&headers, &cookies, &query].into_iter().all(is_empty) && keys.iter().any(Option::is_some) {
        let message = format!("this rule sends every request to {}", abridged(&name));
        cx.error_with(at.value(), message, "name a header, a cookie or a query parameter that must be there");
    }
    Some(SplitRule { headers, cookies, query, scheme: None, upstream: UpstreamName::new(name) })
}
