//! What is said of objects: Events for who wrote them, diagnostics for who runs Weir.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::diagnostics::{Diagnostic, Diagnostics, Origin};
use crate::sources::kube::state::{Ingress, ObjectKey};

/// What is told of an object: a Warning, unless its reason is good news.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event {
    pub object: ObjectReference,
    pub reason: Reason,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectReference {
    pub kind: ObjectKind,
    pub key: ObjectKey,
    pub uid: Arc<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKind {
    Ingress,
    ConfigMap,
    Service,
    Secret,
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ObjectKind::Ingress => "Ingress",
            ObjectKind::ConfigMap => "ConfigMap",
            ObjectKind::Service => "Service",
            ObjectKind::Secret => "Secret",
        })
    }
}

/// Of an Event: one word in camel case, as `kubectl get events` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Reason {
    /// Somebody older has the same host and path.
    Conflict,
    /// A rule, a backend or a host that cannot be served.
    InvalidRule,
    /// A value that cannot be read; the annotation is left out.
    InvalidAnnotation,
    /// An annotation that is not known, or that Weir does not have.
    UnsupportedAnnotation,
    /// A route was closed, since what protects it could not be built.
    RouteClosed,
    /// A Secret that is missing, or whose content cannot be used.
    InvalidSecret,
    /// A Service that is not there, or has no such port.
    ServiceNotFound,
    /// An entry of the TCP or UDP services that cannot be served, or a port that cannot be listened on.
    InvalidService,
    /// A global option that is not known, or whose value cannot be read.
    InvalidOption,
    /// An update that cannot be used: what there was before is served on.
    UpdateNotUsed,
    /// A certificate that an issuer of Weir's is to issue cannot be had, or not yet.
    IssuanceFailed,
    /// It has been issued. Nothing is wrong.
    Issued,
}

impl Event {
    /// Its message as long as an Event's may be.
    pub fn new(object: ObjectReference, reason: Reason, message: String) -> Self {
        Self { object, reason, message: shortened(message) }
    }
}

impl Reason {
    pub fn is_good_news(self) -> bool {
        self == Self::Issued
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What is said of objects.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Sorted; equal ones once.
    pub events: Vec<Event>,
    pub diagnostics: Diagnostics,
}

/// Where a translation writes down what it found.
#[derive(Debug, Default)]
pub struct Report {
    events: BTreeSet<Event>,
    /// How many there are of an object.
    told: HashMap<(ObjectKind, ObjectKey), usize>,
    diagnostics: Diagnostics,
}

/// An object of a megabyte can hold thousands of mistakes.
const MOST_OF_ONE: usize = 25;

/// An Event's message may have 1024 characters (events.k8s.io, `note`), and what was written may be long.
const LONGEST_MESSAGE: usize = 1000;

impl Report {
    /// Says it to both. `path` is the part of the object, as `spec.rules[0]`.
    pub fn warn(&mut self, ingress: &Ingress, reason: Reason, path: impl Into<String>, message: impl Into<String>) {
        let object = ObjectReference { kind: ObjectKind::Ingress, key: ingress.key.clone(), uid: ingress.uid.clone() };
        self.warn_of(object, reason, path, message);
    }

    pub fn warn_of(
        &mut self,
        object: ObjectReference,
        reason: Reason,
        path: impl Into<String>,
        message: impl Into<String>,
    ) {
        let told = self.told.entry((object.kind, object.key.clone())).or_default();
        *told += 1;
        let (path, message) = match (*told).cmp(&MOST_OF_ONE) {
            Ordering::Less => (path.into(), message.into()),
            Ordering::Equal => (String::new(), "more is wrong with this object; the rest is left out".to_owned()),
            Ordering::Greater => return,
        };
        let text = if path.is_empty() { message.clone() } else { format!("{path}: {message}") };
        self.diagnostics.push(Diagnostic::warning(origin(object.kind, &object.key), path, message));
        self.events.insert(Event::new(object, reason, text));
    }

    /// For who runs Weir alone.
    pub fn note(&mut self, origin: Origin, path: &str, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::warning(origin, path, message));
    }

    pub fn finish(self) -> (Vec<Event>, Diagnostics) {
        (self.events.into_iter().collect(), self.diagnostics.sorted())
    }
}

/// `ingress/namespace/name`
pub fn origin(kind: ObjectKind, key: &ObjectKey) -> Origin {
    Origin { file: format!("{}/{key}", kind.to_string().to_ascii_lowercase()).into(), ..Origin::builtin() }
}

fn shortened(mut text: String) -> String {
    if text.len() > LONGEST_MESSAGE {
        let end = (0..=LONGEST_MESSAGE).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        text.truncate(end);
        text.push('…');
    }
    text
}
