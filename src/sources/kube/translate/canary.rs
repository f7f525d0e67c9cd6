//! Canaries: a second backend for the rules of another Ingress.
//!
//! ```text
//! canary's host + path + kind ──► the location of the other ──► its backend ──► every route to that backend is split
//! ```
//!
//! As in ingress-nginx a canary belongs to the backend: it takes its share wherever that one is led to. One canary for each.

use std::collections::HashMap;
use std::sync::Arc;

use super::backend::{Backend, Variant};
use super::context::Context;
use super::prepare::Prepared;
use super::report::Reason;
use super::server::{Kind, Leads, Servers, host_name};
use crate::model::{Action, FieldMatch, Forward, Split, SplitArm, SplitRule, SplitSessions, UpstreamName, ValueMatch};
use crate::sources::kube::annotations::Canary;
use crate::sources::kube::state::{IngressBackend, ObjectKey};

/// By the backend whose share they take.
pub type Canaries<'p> = HashMap<Backend, Share<'p>>;

pub struct Share<'p> {
    asked: &'p Canary,
    /// `affinity-canary-behavior: legacy`, of the rule's own Ingress.
    splits_sessions: bool,
    backend: Backend,
}

pub fn find<'p>(cx: &mut Context<'_>, servers: &Servers<'_>, all: &'p [Prepared<'p>]) -> Canaries<'p> {
    let mut canaries = Canaries::new();
    for prepared in all.iter().filter(|prepared| prepared.policy.canary.is_on) {
        for (index, rule) in prepared.ingress.rules.iter().enumerate() {
            for (nth, path) in rule.paths.iter().enumerate() {
                let IngressBackend::Service { name, port } = &path.backend else { continue };
                let service = ObjectKey::new(prepared.ingress.key.namespace.clone(), name.clone());
                let backend = Backend { service, port: port.clone() };
                let text: Arc<str> = path.path.clone().unwrap_or_else(|| "/".into());
                let host = host_name(rule).ok().and_then(|name| servers.get(&name));
                let location = host.and_then(|server| server.location(&text, Kind::of(path.path_type)));
                let owner = location.and_then(|location| location.owner);
                let splits_sessions = owner.is_some_and(|owner| owner.policy.session.splits_canaries);
                let problem = match location.map(|location| &location.leads) {
                    Some(Leads::To(primary)) if *primary == backend => "the canary's backend is the rule's own",
                    Some(Leads::To(primary)) if canaries.contains_key(primary) => {
                        if canaries[primary].backend == backend {
                            continue;
                        }
                        "the rule's backend has a canary already"
                    }
                    Some(Leads::To(primary)) => {
                        let share = Share { asked: &prepared.policy.canary, splits_sessions, backend };
                        canaries.insert(primary.clone(), share);
                        continue;
                    }
                    Some(Leads::Nowhere | Leads::Refused) | None => {
                        "no other Ingress has a rule of this host, path and type"
                    }
                };
                let at = format!("spec.rules[{index}].http.paths[{nth}]");
                cx.warn(prepared.ingress, Reason::Conflict, at, format!("{problem}: the canary has no effect there"));
            }
        }
    }
    canaries
}

impl Share<'_> {
    /// The route of the other, with this one's share taken from it. A canary without endpoints takes none.
    pub fn of(&self, cx: &mut Context<'_>, primary: Forward, variant: &Variant) -> Action {
        if !cx.upstreams.has_endpoints(&self.backend) {
            return Action::Forward(primary);
        }
        let Ok(canary) = cx.upstreams.of(&self.backend, variant) else { return Action::Forward(primary) };
        let total = self.asked.total.max(LEAST_TOTAL);
        let weight = self.asked.weight.min(total);
        Action::Split(Split {
            rules: self.rules(&primary.upstream, &canary),
            arms: vec![
                SplitArm { weight: total - weight, forward: primary.clone() },
                SplitArm { weight, forward: Forward { upstream: canary, ..primary } },
            ],
            by: None,
            sessions: if self.splits_sessions { SplitSessions::Split } else { SplitSessions::Kept },
        })
    }

    /// The header before the cookie, both before the weight.
    fn rules(&self, primary: &UpstreamName, canary: &UpstreamName) -> Vec<SplitRule> {
        let Canary { header, header_value, header_pattern, cookie, .. } = self.asked;
        let mut rules = Vec::new();
        let mut rule = |headers, cookies, upstream: &UpstreamName| {
            rules.push(SplitRule { headers, cookies, query: Vec::new(), scheme: None, upstream: upstream.clone() });
        };
        let field = |name: &Arc<str>, value| vec![FieldMatch { name: name.clone(), value }];
        let exact = |text: &str| ValueMatch::Exact(text.into());
        match (header, header_value, header_pattern) {
            (None, _, _) => {}
            (Some(name), Some(value), _) => rule(field(name, exact(value)), Vec::new(), canary),
            (Some(name), None, Some(pattern)) => {
                rule(field(name, ValueMatch::Regex(pattern.clone())), Vec::new(), canary);
            }
            (Some(name), None, None) => {
                rule(field(name, exact("always")), Vec::new(), canary);
                rule(field(name, exact("never")), Vec::new(), primary);
            }
        }
        if let Some(name) = cookie {
            rule(Vec::new(), field(name, exact("always")), canary);
            rule(Vec::new(), field(name, exact("never")), primary);
        }
        rules
    }
}

/// A smaller `canary-weight-total` counts as this.
const LEAST_TOTAL: u32 = 100;
