//! Islands: Ingresses that have something in common, directly or by way of others, and nothing with any other one.
//!
//! ```text
//! a ──host x── b ──Service s── c        d ──host y── e        f
//! └────────── one island ─────┘         └── another ─┘        └ a third
//! ```
//!
//! What an island comes to depends on its own Ingresses and on the objects that they name, so that a change elsewhere leaves it as
//! it is. The main island has the catch-all host, and is there even where no Ingress is on it.

use std::collections::{HashMap, HashSet};

use super::changes::Changes;
use super::glance::{Glance, Tie};
use super::part::{LookedAt, Role};
use super::whole::Kept;
use crate::model::HostName;
use crate::sources::kube::state::ObjectKey;

/// As it was translated.
#[derive(Debug)]
pub struct Island {
    pub role: Role,
    pub members: Vec<ObjectKey>,
    pub ties: Vec<Tie>,
    pub looked_at: LookedAt,
    pub kept: Kept,
}

impl Island {
    /// Whether it comes to the same as before: nothing of it has changed, and nobody who came belongs to it.
    pub fn stands(&self, changes: &Changes, come: &HashSet<Tie>) -> bool {
        let has_changed = self.members.iter().any(|member| changes.ingresses.contains(member));
        !has_changed && !changes.concern(&self.looked_at) && !self.ties.iter().any(|tie| come.contains(tie))
    }
}

/// An island before it is translated.
pub struct Group<'g> {
    pub role: Role,
    /// The oldest first.
    pub members: Vec<&'g Glance>,
    pub ties: Vec<Tie>,
}

/// `members` with what ties them to others. With the main island, whether anybody is on it or not, or without it.
pub fn groups<'g>(members: Vec<(&'g Glance, Vec<Tie>)>, main: WithMain) -> Vec<Group<'g>> {
    let mut leaders = Leaders::new(members.len());
    let mut first: HashMap<&Tie, usize> = HashMap::new();
    for (index, (_, ties)) in members.iter().enumerate() {
        for tie in ties {
            let other = *first.entry(tie).or_insert(index);
            leaders.unite(index, other);
        }
    }
    let main_tie = Tie::Host(HostName::CatchAll);
    let main_leader = first.get(&main_tie).map(|index| leaders.of(*index));
    let mut groups: HashMap<usize, Group<'g>> = HashMap::new();
    for (index, (glance, ties)) in members.into_iter().enumerate() {
        let leader = leaders.of(index);
        let role = if Some(leader) == main_leader { Role::Main } else { Role::Other };
        let group = groups.entry(leader).or_insert_with(|| Group { role, members: Vec::new(), ties: Vec::new() });
        group.members.push(glance);
        group.ties.extend(ties);
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    if main == WithMain::Yes && main_leader.is_none() {
        groups.push(Group { role: Role::Main, members: Vec::new(), ties: vec![main_tie] });
    }
    for group in &mut groups {
        group.members.sort_by(|a, b| a.age.cmp(&b.age));
        group.ties.sort();
        group.ties.dedup();
    }
    groups
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithMain {
    Yes,
    /// It stands already.
    No,
}

/// One of each group speaks for it; who follows somebody is of the same group.
struct Leaders(Vec<usize>);

impl Leaders {
    fn new(count: usize) -> Self {
        Self((0..count).collect())
    }

    fn of(&mut self, mut one: usize) -> usize {
        while self.0[one] != one {
            // The way is shorter the next time.
            self.0[one] = self.0[self.0[one]];
            one = self.0[one];
        }
        one
    }

    fn unite(&mut self, one: usize, other: usize) {
        let (one, other) = (self.of(one), self.of(other));
        self.0[one] = other;
    }
}
