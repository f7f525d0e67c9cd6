//! Which Ingresses are ours.

use std::cmp::Reverse;
use std::sync::Arc;

use super::settings::{ClassByName, ClassRules, WithoutClass};
use crate::sources::kube::state::{ClusterState, Ingress};

/// Before `spec.ingressClassName` there was this; where both are written, the field counts.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

/// The oldest first: of two that want the same, the first gets it. Of two of one second it is the one whose name comes last, as in
/// ingress-nginx.
pub fn ours<'s>(state: &'s ClusterState, rules: &ClassRules) -> Vec<&'s Arc<Ingress>> {
    let mut ours: Vec<_> =
        state.ingresses.iter().map(|(_, ingress)| ingress).filter(|ingress| is_ours(state, rules, ingress)).collect();
    ours.sort_by_cached_key(|ingress| age(ingress));
    ours
}

/// What comes first by it is the older one.
pub type Age = (i64, Reverse<String>);

pub fn age(ingress: &Ingress) -> Age {
    (ingress.created, Reverse(ingress.key.to_string()))
}

pub fn is_ours(state: &ClusterState, rules: &ClassRules, ingress: &Ingress) -> bool {
    match (&ingress.class_name, ingress.annotation(CLASS_ANNOTATION)) {
        (Some(name), _) => state.classes.get(name).is_some_and(|class| {
            class.controller == rules.controller
                || rules.by_name == ClassByName::Regard && class.name == rules.annotation
        }),
        (None, Some(name)) => *name == rules.annotation,
        (None, None) => rules.without_class == WithoutClass::Serve,
    }
}
