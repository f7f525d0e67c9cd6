//! Annotations: one entry for each, and what an Ingress's come to.
//!
//! ```text
//! metadata.annotations ──Registry──► Policy          an entry: key, aliases, value, tier, doc, what if not, effect
//!                          └──────► what is unknown, unreadable or refused        └──► k8s/annotations.md
//! ```
//!
//! Pure text: what a value refers to (a Secret, a Service) is looked up by the translation.

mod doc;
mod policy;
mod registry;
pub mod rewrite;
pub mod value;

pub use doc::reference;
pub use policy::*;
pub use registry::destination;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use crate::sources::kube::state::Ingress;
use value::{Read, quoted};

/// What stands before each key, where nothing else is said.
pub const DEFAULT_PREFIX: &str = "nginx.ingress.kubernetes.io";

/// One annotation.
pub struct Annotation {
    /// Without the prefix.
    pub key: &'static str,
    pub aliases: &'static [&'static str],
    pub kind: Kind,
    /// As in the reference: 1 matters to nearly everybody, 4 to few.
    pub tier: u8,
    /// What it does here, and where that differs from ingress-nginx.
    pub doc: &'static str,
    pub otherwise: Otherwise,
    effect: Effect,
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    /// `on` or `off`.
    Switch,
    Number,
    /// Whole, without a unit.
    Seconds,
    Size,
    Text,
    Url,
    Words,
    Networks,
    FieldNames,
    Codes,
    /// `name` or `namespace/name`.
    Object,
}

/// What becomes of the Ingress's routes where an annotation cannot be honoured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// They are served without it.
    LeaveOut,
    /// They answer 503: it protects them.
    Close,
}

enum Effect {
    /// Writes into the policy.
    Set(fn(&mut Policy, &str) -> Read<()>),
    /// Tunes what there is none of here; nothing that a client could see.
    Nothing,
    /// Weir does not have it; a value that asks for nothing is passed over.
    Refused(fn(&str) -> bool),
}

impl Annotation {
    const fn new(key: &'static str, kind: Kind, tier: u8, doc: &'static str, effect: Effect) -> Self {
        Self { key, aliases: &[], kind, tier, doc, otherwise: Otherwise::LeaveOut, effect }
    }

    const fn set(
        key: &'static str,
        kind: Kind,
        tier: u8,
        doc: &'static str,
        set: fn(&mut Policy, &str) -> Read<()>,
    ) -> Self {
        Self::new(key, kind, tier, doc, Effect::Set(set))
    }

    const fn nothing(key: &'static str, kind: Kind, tier: u8, doc: &'static str) -> Self {
        Self::new(key, kind, tier, doc, Effect::Nothing)
    }

    /// `asks_for_nothing`: of a value, whether it changes nothing.
    const fn refused(
        key: &'static str,
        kind: Kind,
        tier: u8,
        doc: &'static str,
        asks_for_nothing: fn(&str) -> bool,
    ) -> Self {
        Self::new(key, kind, tier, doc, Effect::Refused(asks_for_nothing))
    }

    const fn alias(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    const fn or_close(mut self) -> Self {
        self.otherwise = Otherwise::Close;
        self
    }

    /// What it writes, if it is honoured.
    pub fn setter(&self) -> Option<fn(&mut Policy, &str) -> Read<()>> {
        if let Effect::Set(set) = self.effect { Some(set) } else { None }
    }

    pub fn support(&self) -> Support {
        match self.effect {
            Effect::Set(_) => Support::Honoured,
            Effect::Nothing => Support::WithoutEffect,
            Effect::Refused(_) => Support::Refused,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    Honoured,
    WithoutEffect,
    Refused,
}

/// In the order of their groups.
pub fn all() -> impl Iterator<Item = &'static Annotation> {
    registry::GROUPS.iter().flat_map(|(_, entries)| entries.iter())
}

/// By key and alias.
static BY_KEY: LazyLock<HashMap<&'static str, &'static Annotation>> = LazyLock::new(|| {
    all()
        .flat_map(|entry| [entry.key].into_iter().chain(entry.aliases.iter().copied()).map(move |key| (key, entry)))
        .collect()
});

/// What is wrong with one annotation.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    /// As it is written, with the prefix.
    pub key: Arc<str>,
    pub problem: Problem,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    Unknown,
    Unreadable(Otherwise),
    Refused(Otherwise),
}

/// Findings of one Ingress are cut off here: an object of 256 KiB can hold ten thousand mistakes.
const MOST_FINDINGS: usize = 20;

/// Reads those below `prefix`. What cannot be read is told, and the rest read all the same.
pub fn read(ingress: &Ingress, prefix: &str) -> (Policy, Vec<Finding>) {
    let (mut policy, mut findings) = (Policy::default(), Vec::new());
    for (key, value) in &ingress.annotations {
        let Some(name) = key.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('/')) else { continue };
        // As in ingress-nginx, an empty value is none. An alias gives way to the key.
        let Some(entry) = BY_KEY.get(name) else {
            tell(&mut findings, key, Problem::Unknown, || unknown(name));
            continue;
        };
        if value.trim().is_empty() || name != entry.key && is_written(ingress, prefix, entry.key) {
            continue;
        }
        apply(entry, key, value, &mut policy, &mut findings);
    }
    (policy, findings)
}

fn apply(entry: &Annotation, key: &Arc<str>, value: &str, policy: &mut Policy, findings: &mut Vec<Finding>) {
    let (problem, message) = match entry.effect {
        Effect::Set(set) => match set(policy, value) {
            Ok(()) => return,
            Err(message) => (Problem::Unreadable(entry.otherwise), message),
        },
        Effect::Nothing => return,
        Effect::Refused(asks_for_nothing) if asks_for_nothing(value) => return,
        Effect::Refused(_) => (Problem::Refused(entry.otherwise), entry.doc.to_owned()),
    };
    if entry.otherwise == Otherwise::Close {
        policy.close(format!("{key} cannot be honoured"));
    }
    tell(findings, key, problem, || message);
}

fn tell(findings: &mut Vec<Finding>, key: &Arc<str>, problem: Problem, message: impl FnOnce() -> String) {
    if findings.len() < MOST_FINDINGS {
        findings.push(Finding { key: key.clone(), problem, message: message() });
    }
}

fn is_written(ingress: &Ingress, prefix: &str, key: &str) -> bool {
    ingress.annotation(&format!("{prefix}/{key}")).is_some_and(|value| !value.trim().is_empty())
}

/// With the key that may have been meant.
fn unknown(name: &str) -> String {
    let near = |known: &&&str| known.len().abs_diff(name.len()) <= 2 && strsim::damerau_levenshtein(known, name) <= 2;
    match BY_KEY.keys().filter(near).min() {
        Some(known) => format!("there is no annotation {}; did you mean \"{known}\"?", quoted(name)),
        None => format!("there is no annotation {}", quoted(name)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn keys_and_aliases_are_unique_and_every_entry_is_explained() {
        let mut seen = HashSet::new();
        for entry in all() {
            for key in [entry.key].iter().chain(entry.aliases) {
                assert!(seen.insert(*key), "{key} is here twice");
            }
            assert!((1..=4).contains(&entry.tier), "{}", entry.key);
            assert!(!entry.doc.is_empty() && !entry.doc.ends_with('.'), "{}", entry.key);
        }
        assert!(seen.len() > 130, "ingress-nginx has 136 keys, and {} are known", seen.len());
    }
}
