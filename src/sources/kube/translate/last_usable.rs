//! An object that was edited into something that cannot be used is served as it was before, and that is said.
//!
//! ```text
//! ClusterState ──each object that changed: can it be used?──► ClusterState as it is to be served ──► Translator
//!                  └ no, and before it could ──► its last usable form · a Warning Event
//! ```
//!
//! Who may come in is no matter of this: an update that changes it takes effect, and what cannot be honoured of it closes its
//! routes. What was there before this process began is not known: then what can be used of an object is served.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::class::is_ours;
use super::report::{Findings, ObjectKind, ObjectReference, Reason, Report};
use super::server::{check_path, host_name};
use super::settings::Settings;
use crate::model::Pattern;
use crate::sources::kube::annotations::{self, Otherwise};
use crate::sources::kube::state::{CERTIFICATE, ClusterState, Ingress, IngressBackend, ObjectKey, PRIVATE_KEY, Secret};

#[derive(Default)]
pub struct LastUsable {
    /// As it came last.
    seen: ClusterState,
    ingresses: BTreeMap<ObjectKey, Kept<Ingress>>,
    secrets: BTreeMap<ObjectKey, Kept<Secret>>,
}

/// An object that stands in for what became of it.
struct Kept<T> {
    last: Arc<T>,
    /// Where the object as it is now cannot be used, and why.
    problem: Problem,
}

struct Problem {
    object: ObjectReference,
    path: String,
    message: String,
}

impl LastUsable {
    /// The cluster as it is to be served.
    pub fn of(&mut self, state: &ClusterState, settings: &Settings) -> ClusterState {
        self.take_in_ingresses(state, settings);
        self.take_in_secrets(state);
        self.seen = state.clone();
        let mut served = state.clone();
        for (key, kept) in &self.ingresses {
            served.ingresses.put_back(key.clone(), kept.last.clone());
        }
        for (key, kept) in &self.secrets {
            served.secrets.put_back(key.clone(), kept.last.clone());
        }
        served
    }

    /// What is not served as it is written.
    pub fn findings(&self) -> Findings {
        let ingresses = self.ingresses.values().map(|kept| &kept.problem);
        let mut report = Report::default();
        for problem in ingresses.chain(self.secrets.values().map(|kept| &kept.problem)) {
            let message = format!("{}; what there was before is served on", problem.message);
            report.warn_of(problem.object.clone(), Reason::UpdateNotUsed, problem.path.clone(), message);
        }
        let (events, diagnostics) = report.finish();
        Findings { events, diagnostics }
    }

    fn take_in_ingresses(&mut self, state: &ClusterState, settings: &Settings) {
        let changes = state.ingresses.since(&self.seen.ingresses);
        for gone in changes.gone.iter().filter(|gone| state.ingresses.get(&gone.key).is_none()) {
            self.ingresses.remove(&gone.key);
        }
        for now in changes.come {
            let kept = self.ingresses.remove(&now.key).map(|kept| kept.last);
            let Some(last) = kept.or_else(|| self.seen.ingresses.get(&now.key).cloned()) else { continue };
            let is_served = |state: &ClusterState, ingress: &Ingress| is_ours(state, &settings.class, ingress);
            let is_update = last.uid == now.uid && is_served(&self.seen, &last) && is_served(state, now);
            if is_update
                && let Some(problem) = problem(now, &settings.annotations_prefix)
                && self::problem(&last, &settings.annotations_prefix).is_none()
                && protection(&last, &settings.annotations_prefix) == protection(now, &settings.annotations_prefix)
            {
                self.ingresses.insert(now.key.clone(), Kept { last, problem });
            }
        }
    }

    /// Of certificates that are served alone: what else a Secret holds says who may come in.
    fn take_in_secrets(&mut self, state: &ClusterState) {
        let changes = state.secrets.since(&self.seen.secrets);
        for gone in changes.gone.iter().filter(|gone| state.secrets.get(&gone.key).is_none()) {
            self.secrets.remove(&gone.key);
        }
        for now in changes.come {
            let kept = self.secrets.remove(&now.key).map(|kept| kept.last);
            let Some(last) = kept.or_else(|| self.seen.secrets.get(&now.key).cloned()) else { continue };
            if last.is_known_pair()
                && others(&last).eq(others(now))
                && let Err(message) = now.key_pair()
            {
                let object = ObjectReference { kind: ObjectKind::Secret, key: now.key.clone(), uid: now.uid.clone() };
                let problem = Problem { object, path: "data".into(), message: message.to_owned() };
                self.secrets.insert(now.key.clone(), Kept { last, problem });
            }
        }
    }
}

/// What a Secret holds beside its certificate.
fn others(secret: &Secret) -> impl Iterator<Item = (&Arc<str>, &[u8])> {
    let others = secret.data.iter().filter(|(key, _)| ***key != *CERTIFICATE && ***key != *PRIVATE_KEY);
    others.map(|(key, bytes)| (key, bytes.as_bytes()))
}

/// Annotations that say who may come in.
fn protection<'i>(ingress: &'i Ingress, prefix: &str) -> Vec<(&'i Arc<str>, &'i Arc<str>)> {
    let protects = |key: &str| {
        let Some(key) = key.strip_prefix(prefix).and_then(|key| key.strip_prefix('/')) else { return false };
        let names = |entry: &&annotations::Annotation| entry.key == key || entry.aliases.contains(&key);
        // Snippets may be about anything.
        key.ends_with("-snippet")
            || annotations::all().any(|entry| entry.otherwise == Otherwise::Close && names(&entry))
    };
    ingress.annotations.iter().filter(|(key, _)| protects(key)).map(|(key, value)| (key, value)).collect()
}

/// The first of its rules that could not be served.
fn problem(ingress: &Ingress, prefix: &str) -> Option<Problem> {
    let object = ObjectReference { kind: ObjectKind::Ingress, key: ingress.key.clone(), uid: ingress.uid.clone() };
    let found = |path: String, message: String| Some(Problem { object: object.clone(), path, message });
    let (policy, _) = annotations::read(ingress, prefix);
    for (index, rule) in ingress.rules.iter().enumerate() {
        if let Err(message) = host_name(rule) {
            return found(format!("spec.rules[{index}].host"), message);
        }
        for (nth, path) in rule.paths.iter().enumerate() {
            let at = format!("spec.rules[{index}].http.paths[{nth}]");
            let text = path.path.as_deref().unwrap_or("/");
            let rewrite = &policy.rewrite;
            let is_pattern = rewrite.use_regex || rewrite.target.as_ref().is_some_and(|target| **target != *text);
            if let Err(message) = check_path(text) {
                return found(at, message);
            }
            if is_pattern && Pattern::parse(&format!("(?i)^{text}")).is_err() {
                return found(at, "the pattern cannot be read".into());
            }
            if let IngressBackend::Other(what) = &path.backend {
                return found(at, format!("{what} is no Service that could be asked"));
            }
        }
    }
    None
}
