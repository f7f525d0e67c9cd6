//! What every step of a translation has at hand.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::backend::Upstreams;
use super::material::Material;
use super::report::{Reason, Report};
use super::settings::Settings;
use crate::model::Pattern;
use crate::sources::kube::options::Options;
use crate::sources::kube::state::{CertificateNames, ClusterState, Ingress, ObjectKey, Secret};

pub struct Context<'s> {
    pub state: &'s ClusterState,
    pub settings: &'s Settings,
    pub options: &'s Options,
    pub report: Report,
    pub material: Material,
    /// That were looked for.
    pub secrets: BTreeSet<ObjectKey>,
    pub upstreams: Upstreams<'s>,
    /// Upstreams of no Service, by their names' order.
    pub others: BTreeMap<Arc<str>, crate::model::Upstream>,
    /// By source: many rules have the same.
    patterns: HashMap<String, Result<Pattern, String>>,
    noted: BTreeSet<(String, String)>,
}

impl<'s> Context<'s> {
    pub fn new(state: &'s ClusterState, settings: &'s Settings, options: &'s Options, report: Report) -> Self {
        Self {
            state,
            settings,
            options,
            report,
            material: Material::default(),
            secrets: BTreeSet::new(),
            upstreams: Upstreams::new(state, options),
            others: BTreeMap::new(),
            patterns: HashMap::new(),
            noted: BTreeSet::new(),
        }
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
        if let Some(known) = self.patterns.get(source) {
            return known.clone();
        }
        let read = Pattern::parse(source).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "the pattern is too large".to_owned(),
            _ => "the pattern cannot be read: look-around and back references are not there".to_owned(),
        });
        self.patterns.insert(source.to_owned(), read.clone());
        read
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

pub fn annotation_path(key: &str) -> String {
    format!("metadata.annotations[{key}]")
}
