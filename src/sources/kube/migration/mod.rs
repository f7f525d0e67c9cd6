//! What would become of a cluster's Ingresses if Weir took ingress-nginx's place: a verdict for each, and for each annotation.
//!
//! ```text
//! ClusterState ──registry, translate──► Assessment { Ingresses, options, totals } ──► text, JSON or HTML
//! ```
//!
//! Pure, and by the code that serves: what is told here is what would happen.

mod differences;
mod list;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde::Serialize;

use super::annotations::{self, Problem};
use super::options;
use super::state::{ClusterState, Ingress, IngressClass, ObjectKey};
use super::translate::{self, Event, ObjectKind, Reason, Settings};
use differences::difference;

pub use list::list;

/// The worst of the parts is the whole's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Clients and upstreams see what they saw.
    Identical,
    /// It works, and something is not as it was.
    Differs,
    /// It is left out, or its route is closed.
    Refused,
}

impl Verdict {
    pub const ALL: [Verdict; 3] = [Verdict::Identical, Verdict::Differs, Verdict::Refused];

    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Identical => "identical",
            Verdict::Differs => "differs",
            Verdict::Refused => "refused",
        }
    }
}

#[derive(Debug, Serialize)]
pub struct Assessment {
    pub ingresses: Vec<IngressVerdict>,
    /// Of the ConfigMap of global options.
    pub options: Vec<Item>,
    /// Of the ConfigMaps of TCP and UDP services, by port.
    pub services: Vec<Item>,
    /// Ingresses that another controller serves.
    pub others: Vec<String>,
    pub totals: BTreeMap<&'static str, Totals>,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Totals {
    pub ingresses: usize,
    pub annotations: usize,
    pub options: usize,
    pub services: usize,
}

#[derive(Debug, Serialize)]
pub struct IngressVerdict {
    /// `namespace/name`
    pub ingress: String,
    pub hosts: Vec<String>,
    pub verdict: Verdict,
    pub annotations: Vec<Item>,
    /// What was found beside them: conflicts, rules that cannot be served, what is missing.
    pub findings: Vec<Item>,
}

#[derive(Debug, Serialize)]
pub struct Item {
    pub name: String,
    pub verdict: Verdict,
    /// How it differs, or what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Item {
    fn new(name: impl Into<String>, verdict: Verdict, detail: Option<String>) -> Self {
        Self { name: name.into(), verdict, detail }
    }
}

pub fn assess(state: &ClusterState, settings: &Settings) -> Assessment {
    let mut state = state.clone();
    name_classes(&mut state, settings);
    let translation = translate::translate(&state, settings);
    let ours = translate::ours(&state, &settings.class);
    let mut events: HashMap<&ObjectKey, Vec<&Event>> = HashMap::new();
    for event in translation.events.iter().filter(|event| event.object.kind == ObjectKind::Ingress) {
        events.entry(&event.object.key).or_default().push(event);
    }
    let events_of = |ingress: &Ingress| events.get(&ingress.key).map_or(&[][..], Vec::as_slice);
    let ingresses: Vec<_> = ours.iter().map(|ingress| one(ingress, &state, settings, events_of(ingress))).collect();
    let known: HashSet<&ObjectKey> = ours.iter().map(|ingress| &ingress.key).collect();
    let others = state.ingresses.iter().map(|(key, _)| key).filter(|key| !known.contains(key)).map(ToString::to_string);
    let mut assessment = Assessment {
        others: others.collect(),
        options: global(&state, settings),
        services: services(&state, settings, &translation.events),
        ingresses,
        totals: BTreeMap::new(),
    };
    assessment.ingresses.sort_by(|a, b| a.ingress.cmp(&b.ingress));
    assessment.totals = totals(&assessment);
    assessment
}

/// Manifests often come without their IngressClass: one that has the flag's name is taken for ours.
fn name_classes(state: &mut ClusterState, settings: &Settings) {
    let name = &settings.class.annotation;
    if state.classes.get(name).is_none() {
        let class = IngressClass { name: name.clone(), controller: settings.class.controller.clone() };
        state.classes.insert(name.clone(), class);
    }
}

fn one(ingress: &Ingress, state: &ClusterState, settings: &Settings, events: &[&Event]) -> IngressVerdict {
    let prefix = format!("{}/", settings.annotations_prefix);
    let (_, found) = annotations::read(ingress, &settings.annotations_prefix);
    let written = ingress.annotations.iter().filter(|(key, _)| key.starts_with(&prefix));
    let annotations: Vec<Item> = written
        .map(|(key, value)| {
            let problem = found.iter().find(|finding| finding.key == *key);
            let (verdict, detail) = match problem {
                Some(finding) => (of_problem(finding.problem), Some(finding.message.clone())),
                None => difference(&key[prefix.len()..], value)
                    .map_or((Verdict::Identical, None), |how| (Verdict::Differs, Some(how.to_owned()))),
            };
            Item::new(key.strip_prefix(&prefix).unwrap_or(key), verdict, detail)
        })
        .collect();
    let told = |event: &&Event| can_be_told(event, state) && !found.iter().any(|f| event.message.contains(&f.message));
    let findings: Vec<Item> = events
        .iter()
        .copied()
        .filter(told)
        .map(|event| Item::new(event.reason.to_string(), of_reason(event.reason), Some(event.message.clone())))
        .collect();
    let hosts = ingress.rules.iter().map(|rule| rule.host.as_deref().unwrap_or("*").to_owned()).collect();
    let verdict = annotations.iter().chain(&findings).map(|item| item.verdict).max().unwrap_or(Verdict::Identical);
    IngressVerdict { ingress: ingress.key.to_string(), hosts, verdict, annotations, findings }
}

fn of_problem(problem: Problem) -> Verdict {
    match problem {
        // ingress-nginx does not know it either.
        Problem::Unknown => Verdict::Identical,
        Problem::Unreadable(_) | Problem::Refused(_) => Verdict::Refused,
    }
}

fn of_reason(reason: Reason) -> Verdict {
    match reason {
        // As there: the older one has it.
        Reason::Conflict => Verdict::Identical,
        Reason::ServiceNotFound => Verdict::Differs,
        _ => Verdict::Refused,
    }
}

/// Of what was not given nothing can be said: manifests may come without Services, and Secrets are never read.
fn can_be_told(event: &Event, state: &ClusterState) -> bool {
    match event.reason {
        Reason::InvalidSecret => false,
        Reason::RouteClosed => !event.message.contains("Secret"),
        Reason::ServiceNotFound => state.services.iter().next().is_some(),
        _ => true,
    }
}

fn global(state: &ClusterState, settings: &Settings) -> Vec<Item> {
    let Some(map) = settings.config_map.as_ref().and_then(|key| state.config_maps.get(key)) else { return Vec::new() };
    let (_, found) = options::read(&map.data);
    let item = |key: &Arc<str>| match found.iter().find(|finding| finding.key == *key) {
        Some(finding) => Item::new(&**key, Verdict::Refused, Some(finding.message.clone())),
        None => Item::new(&**key, Verdict::Identical, None),
    };
    map.data.keys().map(item).collect()
}

fn services(state: &ClusterState, settings: &Settings, events: &[Event]) -> Vec<Item> {
    let mut items = Vec::new();
    for (kind, key) in [("tcp", &settings.tcp_services), ("udp", &settings.udp_services)] {
        let Some(map) = key.as_ref().and_then(|key| state.config_maps.get(key)) else { continue };
        let said: Vec<&Event> =
            events.iter().filter(|event| event.object.key == map.key && can_be_told(event, state)).collect();
        for (port, value) in &map.data {
            let about = format!("data[{port}]: ");
            let found = said.iter().find_map(|event| Some((event.reason, event.message.strip_prefix(&about)?)));
            let (verdict, detail) = match found {
                Some((reason, message)) => (of_reason(reason), Some(message.to_owned())),
                None => (Verdict::Identical, None),
            };
            items.push(Item::new(format!("{kind} {port}: {value}"), verdict, detail));
        }
    }
    items
}

fn totals(assessment: &Assessment) -> BTreeMap<&'static str, Totals> {
    let of = |verdict: Verdict| {
        let items = assessment.ingresses.iter().flat_map(|ingress| &ingress.annotations);
        Totals {
            ingresses: assessment.ingresses.iter().filter(|ingress| ingress.verdict == verdict).count(),
            annotations: items.filter(|item| item.verdict == verdict).count(),
            options: assessment.options.iter().filter(|item| item.verdict == verdict).count(),
            services: assessment.services.iter().filter(|item| item.verdict == verdict).count(),
        }
    };
    Verdict::ALL.into_iter().map(|verdict| (verdict.as_str(), of(verdict))).collect()
}

#[cfg(test)]
mod tests;
