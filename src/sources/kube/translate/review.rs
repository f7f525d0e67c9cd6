//! Whether one Ingress could be served as it is written, beside those that are: what an admission webhook is asked.
//!
//! ```text
//! Ingress ──annotations, translated alone──► what is wrong with itself ──┐
//!         ──Claims: host, path, type ──► older Ingress───────────────────┴─► Review { refusals, warnings }
//! ```
//!
//! By the code that serves, and without the rest of the cluster: what it costs does not grow with it. What may still come, a Secret
//! or a Service, is no reason to refuse.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::class::{self, Age};
use super::report::{Event, Reason};
use super::server::{Kind, host_name};
use super::settings::{ClassRules, Settings};
use super::translate;
use crate::model::HostName;
use crate::sources::kube::annotations::{self, Otherwise, Problem};
use crate::sources::kube::state::{ClusterState, Ingress, ObjectKey, Objects};

/// What is said to whoever writes the Ingress.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Review {
    /// None: it is let in.
    pub refusals: Vec<String>,
    /// What is not served as it is written, and does no harm.
    pub warnings: Vec<String>,
}

/// Another controller's Ingress is let in without a word. `conflicts`: what [`Claims`] say.
pub fn review(
    state: &ClusterState,
    settings: &Settings,
    ingress: &Ingress,
    conflicts: impl FnOnce(&Ingress) -> Vec<String>,
) -> Review {
    let mut review = Review::default();
    if !class::is_ours(state, &settings.class, ingress) {
        return review;
    }
    let (policy, findings) = annotations::read(ingress, &settings.annotations_prefix);
    for finding in &findings {
        let text = format!("{}: {}", finding.key, finding.message);
        match finding.problem {
            Problem::Unknown => review.warnings.push(text),
            Problem::Refused(Otherwise::LeaveOut) if !finding.key.ends_with("-snippet") => review.warnings.push(text),
            Problem::Unreadable(_) | Problem::Refused(_) => review.refusals.push(text),
        }
    }
    let is_told = |event: &Event| findings.iter().any(|finding| event.message.contains(&finding.message));
    for event in alone(state, settings, ingress).into_iter().filter(|event| !is_told(event)) {
        match event.reason {
            Reason::Conflict if policy.canary.is_on => {}
            reason if is_refused(reason, &event.message) => review.refusals.push(event.message),
            _ => review.warnings.push(event.message),
        }
    }
    if !policy.canary.is_on {
        review.refusals.extend(conflicts(ingress));
    }
    review
}

/// What is wrong with it in a cluster where no other one is. Where its pods are is no matter.
fn alone(state: &ClusterState, settings: &Settings, ingress: &Ingress) -> Vec<Event> {
    let mut own = ClusterState { ingresses: Objects::default(), slices: Objects::default(), ..state.clone() };
    own.ingresses.insert(ingress.key.clone(), ingress.clone());
    let events = translate(&own, settings).events.into_iter();
    events.filter(|event| event.object.key == ingress.key).collect()
}

fn is_refused(reason: Reason, message: &str) -> bool {
    match reason {
        Reason::InvalidRule | Reason::InvalidAnnotation => true,
        // Beside what was found already, snippets alone are told of with it.
        Reason::UnsupportedAnnotation => true,
        // It opens when the object that is missing comes.
        Reason::RouteClosed => !message.contains("Secret") && !message.contains("ConfigMap"),
        Reason::Conflict
        | Reason::InvalidSecret
        | Reason::ServiceNotFound
        | Reason::InvalidService
        | Reason::InvalidOption
        | Reason::UpdateNotUsed => false,
        Reason::IssuanceFailed | Reason::Issued => false,
    }
}

/// Who has which path of which host. Canaries have none.
#[derive(Debug, Default)]
pub struct Claims {
    /// The oldest first.
    paths: HashMap<HostName, Paths>,
    known: Ingresses,
    classes: Vec<Arc<str>>,
}

type Paths = HashMap<(Arc<str>, Kind), BTreeSet<Age>>;

impl Claims {
    /// As the cluster is now. Costs little where little has changed.
    pub fn follow(&mut self, state: &ClusterState, rules: &ClassRules, prefix: &str) {
        let classes: Vec<Arc<str>> =
            state.classes.iter().map(|(name, class)| class_text(name, &class.controller)).collect();
        if classes != self.classes {
            *self = Self { classes, ..Self::default() };
        }
        let claiming = |ingress: &Ingress| class::is_ours(state, rules, ingress) && !is_canary(ingress, prefix);
        let before = std::mem::replace(&mut self.known, state.ingresses.clone());
        let changes = state.ingresses.since(&before);
        for ingress in changes.gone {
            self.each_path(ingress, |paths, claim| {
                paths.remove(&claim);
            });
        }
        for ingress in changes.come.into_iter().filter(|ingress| claiming(ingress)) {
            self.each_path(ingress, |paths, claim| {
                paths.insert(claim);
            });
        }
    }

    fn each_path(&mut self, ingress: &Ingress, change: impl Fn(&mut BTreeSet<Age>, Age)) {
        let claim = class::age(ingress);
        for rule in &ingress.rules {
            let Ok(host) = host_name(rule) else { continue };
            let paths = self.paths.entry(host.clone()).or_default();
            for path in &rule.paths {
                let place = (path.path.clone().unwrap_or_else(|| "/".into()), Kind::of(path.path_type));
                let claims = paths.entry(place.clone()).or_default();
                change(claims, claim.clone());
                if claims.is_empty() {
                    paths.remove(&place);
                }
            }
            if paths.is_empty() {
                self.paths.remove(&host);
            }
        }
    }

    /// With older ones. One that is only about to be is younger than all.
    pub fn conflicts(&self, ingress: &Ingress) -> Vec<String> {
        let mut own = class::age(ingress);
        if self.known.get(&ingress.key).is_none() {
            own.0 = i64::MAX;
        }
        let mut found = Vec::new();
        for (index, rule) in ingress.rules.iter().enumerate() {
            let Ok(host) = host_name(rule) else { continue };
            let Some(paths) = self.paths.get(&host) else { continue };
            for (nth, path) in rule.paths.iter().enumerate() {
                let text: Arc<str> = path.path.clone().unwrap_or_else(|| "/".into());
                let claims = paths.get(&(text.clone(), Kind::of(path.path_type)));
                let first = claims.into_iter().flatten().find(|(_, Reverse(key))| *key != own.1.0);
                if let Some((_, Reverse(owner))) = first.filter(|first| **first < own) {
                    let at = format!("spec.rules[{index}].http.paths[{nth}]");
                    found.push(format!("{at}: {host}{text} belongs to the Ingress {owner}, which comes first"));
                }
            }
        }
        found
    }
}

type Ingresses = Objects<ObjectKey, Ingress>;

fn is_canary(ingress: &Ingress, prefix: &str) -> bool {
    ingress.annotation(&format!("{prefix}/canary")).is_some_and(|value| annotations::value::boolean(value) == Ok(true))
}

fn class_text(name: &Arc<str>, controller: &Arc<str>) -> Arc<str> {
    format!("{name} {controller}").into()
}
