//! Translates a cluster that changes: what a change does not concern is taken over.
//!
//! ```text
//! state ──Changes──► islands that stand ────────────────────────────────────┐
//!                └─► the Ingresses of those that do not, ──groups──► parts ─┴─► Whole ──► Translation
//!                    and those that came
//! ```
//!
//! It comes to the same as [`translate`](super::translate), which knows of no before: a test holds the two together.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::changes::{Changes, Classes};
use super::class::{Age, is_ours};
use super::common::{Common, read_options};
use super::context::{Patterns, Scene};
use super::endpoints::Slices;
use super::glance::Glance;
use super::island::{Island, WithMain, groups};
use super::part::{Role, part};
use super::report::Report;
use super::settings::Settings;
use super::whole::Whole;
use super::{Translation, put_together, status};
use crate::model::EndpointLists;
use crate::sources::kube::options::Options;
use crate::sources::kube::state::{ClusterState, Ingress, ObjectKey};

pub struct Translator {
    settings: Arc<Settings>,
    /// That was translated last.
    state: ClusterState,
    /// Of the Ingresses that are ours.
    glances: BTreeMap<ObjectKey, Glance>,
    /// The oldest first.
    ages: BTreeMap<Age, ObjectKey>,
    common: Common,
    islands: Vec<Island>,
    whole: Whole,
    patterns: Patterns,
}

/// How much is to be translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Islands,
    Everything,
}

impl Translator {
    pub fn new(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            state: ClusterState::default(),
            glances: BTreeMap::new(),
            ages: BTreeMap::new(),
            common: Common::default(),
            islands: Vec::new(),
            whole: Whole::default(),
            patterns: Patterns::default(),
        }
    }

    /// What the cluster comes to now.
    pub fn follow(&mut self, state: &ClusterState) -> Translation {
        let changes = Changes::between(&self.state, state);
        self.state = state.clone();
        let scope = self.take_in(&changes);
        let fallen = self.fell(&changes, scope);
        let concerned: Vec<ObjectKey> = match scope {
            Scope::Everything => self.glances.keys().cloned().collect(),
            Scope::Islands => {
                let left = fallen.iter().flat_map(|island| &island.members);
                let come = changes.come.iter().map(|ingress| &ingress.key);
                left.chain(come).cloned().collect::<BTreeSet<_>>().into_iter().collect()
            }
        };
        let mut report = Report::default();
        let options = read_options(state, &self.settings, &mut report);
        self.build(&concerned, &options, report);
        // Only now, so that what is said again stays the very same object.
        fallen.into_iter().for_each(|island| self.whole.take_back(island.kept));
        let statuses = status::statuses(state, &self.settings, self.ages.values());
        put_together(&self.whole, &self.settings, &options, statuses)
    }

    /// The lists of `services` as the state has them now. None where more follows from that: then it is to be followed.
    pub fn lists_again(&self, state: &ClusterState, services: &BTreeSet<ObjectKey>) -> Option<EndpointLists> {
        self.whole.lists_again(state, services)
    }

    /// Looks at the Ingresses that are not as they were.
    fn take_in(&mut self, changes: &Changes) -> Scope {
        match changes.classes {
            Classes::Same => {
                changes.ingresses.iter().for_each(|key| self.forget(key));
                changes.come.iter().for_each(|ingress| self.look_at(ingress));
            }
            Classes::Changed => {
                self.glances.clear();
                self.ages.clear();
                let all: Vec<_> = self.state.ingresses.iter().map(|(_, ingress)| ingress.clone()).collect();
                all.iter().for_each(|ingress| self.look_at(ingress));
            }
        }
        let common = Common::of(self.glances.values());
        let concerns_all = self.settings.config_map.as_ref().is_some_and(|key| changes.concern_config_map(key))
            || changes.classes == Classes::Changed
            || common != self.common;
        self.common = common;
        if concerns_all { Scope::Everything } else { Scope::Islands }
    }

    fn look_at(&mut self, ingress: &Arc<Ingress>) {
        if is_ours(&self.state, &self.settings.class, ingress) {
            let glance = Glance::of(ingress, &self.settings.annotations_prefix);
            self.ages.insert(glance.age.clone(), ingress.key.clone());
            self.glances.insert(ingress.key.clone(), glance);
        }
    }

    fn forget(&mut self, key: &ObjectKey) {
        if let Some(glance) = self.glances.remove(key) {
            self.ages.remove(&glance.age);
        }
    }

    /// Takes out the islands that do not come to what they came to before.
    fn fell(&mut self, changes: &Changes, scope: Scope) -> Vec<Island> {
        let come = changes.come.iter().filter_map(|ingress| self.glances.get(&ingress.key));
        let ties: HashSet<_> = come.flat_map(|glance| glance.ties(&self.common)).collect();
        let stands = |island: &Island| match scope {
            Scope::Everything => false,
            Scope::Islands => island.stands(changes, &ties),
        };
        let (standing, fallen) = std::mem::take(&mut self.islands).into_iter().partition(stands);
        self.islands = standing;
        fallen
    }

    /// Translates these Ingresses, and what belongs to none where that is not there.
    fn build(&mut self, concerned: &[ObjectKey], options: &Options, mut report: Report) {
        let Self { settings, state, glances, common, islands, whole, patterns, .. } = self;
        let slices = Slices::of(state, |_| true);
        let scene = Scene { state, settings, options, common, slices };
        let glances = concerned.iter().filter_map(|key| glances.get(key));
        let members = glances.map(|glance| (glance, glance.ties(common))).collect();
        let has_main = islands.iter().any(|island| island.role == Role::Main);
        for group in groups(members, if has_main { WithMain::No } else { WithMain::Yes }) {
            let ingresses: Vec<_> = group.members.iter().map(|glance| &glance.ingress).collect();
            let found = match group.role {
                Role::Main => std::mem::take(&mut report),
                Role::Other => Report::default(),
            };
            let mut part = part(&scene, patterns, &ingresses, group.role, found);
            islands.push(Island {
                role: group.role,
                members: ingresses.iter().map(|ingress| ingress.key.clone()).collect(),
                ties: group.ties,
                looked_at: std::mem::take(&mut part.looked_at),
                kept: whole.add(part),
            });
        }
    }
}
