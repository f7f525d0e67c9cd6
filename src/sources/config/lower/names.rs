//! The names that a file declares, and who uses them.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};

use super::Lowering;
use crate::sources::config::decode::{Field, Table};
use crate::sources::config::findings::Place;
use crate::sources::config::suggest;
use crate::sources::config::tree::{NodeId, abridged};

/// Every name under `listeners` or `upstreams`, whether its value can be used or not.
pub struct Names {
    noun: &'static str,
    declared: Option<HashMap<String, Place>>,
    used: RefCell<HashSet<String>>,
    uses_are_known: Cell<bool>,
}

impl Names {
    pub fn of<T>(noun: &'static str, table: &Field<Table<T>>) -> Self {
        let declared = match table {
            Field::Given(_, Table(entries)) => {
                let place = |field: &Field<T>| field.key();
                Some(entries.iter().filter_map(|(name, field)| Some((name.clone(), place(field)?))).collect())
            }
            Field::Absent => Some(HashMap::new()),
            Field::Wrong(_) => None,
        };
        Self { noun, declared, used: RefCell::default(), uses_are_known: Cell::new(true) }
    }

    /// Marks a name as used. One that nobody declared is reported.
    pub fn resolve(&self, cx: &Lowering, at: NodeId, name: &str) -> bool {
        self.resolve_at(cx, at.value(), name)
    }

    /// As [`resolve`](Self::resolve), for a name that is a key.
    pub fn resolve_key(&self, cx: &Lowering, at: NodeId, name: &str) -> bool {
        self.resolve_at(cx, at.key(), name)
    }

    fn resolve_at(&self, cx: &Lowering, place: Place, name: &str) -> bool {
        let Some(declared) = &self.declared else { return true };
        if declared.contains_key(name) {
            self.used.borrow_mut().insert(name.to_owned());
            return true;
        }
        self.lost_a_use();
        let message = format!("there is no {} \"{}\"", self.noun, abridged(name));
        match cx.findings.is_full() {
            true => cx.error(place, message),
            false => cx.error_with(place, message, self.help_for(name, declared)),
        }
        false
    }

    fn help_for(&self, name: &str, declared: &HashMap<String, Place>) -> String {
        let mut known: Vec<_> = declared.keys().map(String::as_str).collect();
        known.sort_unstable();
        let help = suggest::help_for(name, known.into_iter());
        help.unwrap_or_else(|| format!("declare it under \"{}s\"", self.noun))
    }

    /// Someone may have used any of them, but what they wrote cannot be read.
    pub fn lost_a_use(&self) {
        self.uses_are_known.set(false);
    }

    /// Warns of what nobody uses, where all users could be read.
    pub fn report_unused(&self, cx: &Lowering) {
        let Some(declared) = &self.declared else { return };
        if !self.uses_are_known.get() {
            return;
        }
        let used = self.used.borrow();
        let mut unused: Vec<_> = declared.iter().filter(|(name, _)| !used.contains(*name)).collect();
        unused.sort_unstable_by_key(|(name, _)| *name);
        for (name, place) in unused {
            let message = format!("no route uses the {} \"{}\"", self.noun, abridged(name));
            cx.warning(*place, message, "route something to it, or take it out");
        }
    }
}

/// Names stand in metrics, logs and paths of findings.
pub fn check_name(cx: &Lowering, noun: &str, name: &str, place: Place) {
    const LONGEST: usize = 100;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > LONGEST || !name.chars().all(is_plain) {
        let message = format!("\"{}\" cannot name a {noun}", abridged(name));
        cx.error_with(place, message, format!("use up to {LONGEST} letters, digits, hyphens, underscores and dots"));
    }
}
