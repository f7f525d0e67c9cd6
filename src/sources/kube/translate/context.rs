//! What every step of a translation has at hand.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::backend::Upstreams;
use super::common::Common;
use super::endpoints::Slices;
use super::material::Material;
use super::report::{Reason, Report};
use super::settings::Settings;
use crate::model::Pattern;
use crate::sources::kube::options::Options;
use crate::sources::kube::state::{CertificateNames, ClusterState, ConfigMap, Ingress, ObjectKey, Secret};

/// What every part of a translation is translated by.
pub struct Scene<'s> {
    pub state: &'s ClusterState,
    pub settings: &'s Settings,
    pub options: &'s Options,
    pub common: &'s Common,
    pub slices: Slices<'s>,
}

pub struct Context<'s> {
    /// Looked into by the functions below alone: what was looked for is written down.
    state: &'s ClusterState,
    pub settings: &'s Settings,
    pub options: &'s Options,
    pub common: &'s Common,
    pub report: Report,
    pub material: Material,
    /// That were looked for.
    pub secrets: BTreeSet<ObjectKey>,
    pub config_maps: BTreeSet<ObjectKey>,
    pub upstreams: Upstreams<'s>,
    /// Upstreams of no Service, by their names' order.
    pub others: BTreeMap<Arc<str>, crate::model::Upstream>,
    patterns: &'s mut Patterns,
    noted: BTreeSet<(String, String)>,
}

impl<'s> Context<'s> {
    pub fn new(scene: &'s Scene<'s>, patterns: &'s mut Patterns, report: Report) -> Self {
        Self {
            state: scene.state,
            settings: scene.settings,
            options: scene.options,
            common: scene.common,
            report,
            material: Material::default(),
            secrets: BTreeSet::new(),
            config_maps: BTreeSet::new(),
            upstreams: Upstreams::new(scene.state, scene.options, &scene.slices),
            others: BTreeMap::new(),
            patterns,
            noted: BTreeSet::new(),
        }
    }

    pub fn config_map(&mut self, key: &ObjectKey) -> Option<&'s Arc<ConfigMap>> {
        self.config_maps.insert(key.clone());
        self.state.config_maps.get(key)
    }

    pub fn secret(&mut self, key: &ObjectKey) -> Result<&'s Arc<Secret>, String> {
        self.secrets.insert(key.clone());
        self.state.secrets.get(key).ok_or_else(|| format!("there is no Secret {key}"))
    }

    /// A certificate and its key that can be served.
    pub fn key_pair(&mut self, key: &ObjectKey) -> Result<(&'s Arc<Secret>, &'s CertificateNames), String> {
        let secret = self.secret(key)?;
        let names = secret.key_pair().map_err(|reason| format!("the Secret {key} cannot be used: {reason}"))?;
        Ok((secret, names))
    }

    pub fn pattern(&mut self, source: &str) -> Result<Pattern, String> {
        self.patterns.read(source)
    }

    pub fn warn(&mut self, ingress: &Ingress, reason: Reason, path: impl Into<String>, message: impl Into<String>) {
        self.report.warn(ingress, reason, path, message);
    }

    /// For who runs Weir: of a global option. The same is said once, however many Ingresses it is for.
    pub fn note(&mut self, option: &str, message: String) {
        if self.noted.insert((option.to_owned(), message.clone())) {
            self.report.note(crate::diagnostics::Origin::builtin(), &format!("data[{option}]"), message);
        }
    }

    /// The path of an annotation in its object.
    pub fn annotation(&self, key: &str) -> String {
        annotation_path(&format!("{}/{key}", self.settings.annotations_prefix))
    }
}

/// By source: many rules have the same.
#[derive(Default)]
pub struct Patterns(HashMap<String, Result<Pattern, String>>);

/// A bound on what is remembered of Ingresses that are gone.
const MOST_PATTERNS: usize = 10_000;

impl Patterns {
    fn read(&mut self, source: &str) -> Result<Pattern, String> {
        if let Some(known) = self.0.get(source) {
            return known.clone();
        }
        let read = Pattern::parse(source).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "the pattern is too large".to_owned(),
            _ => "the pattern cannot be read: look-around and back references are not there".to_owned(),
        });
        if self.0.len() >= MOST_PATTERNS {
            self.0.clear();
        }
        self.0.insert(source.to_owned(), read.clone());
        read
    }
}

pub fn annotation_path(key: &str) -> String {
    format!("metadata.annotations[{key}]")
}
