//! The ordered certificates that handshakes see. One for the life of the process: a reload begins with what was shown.
//!
//! ```text
//! plan, certificate ──► Display ──► tls::CertificateResolver: those certificates, and the names that are awaited
//! ```
//!
//! Where a plan has no certificate yet, one that was shown for some of its names stands in.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::plan::Plan;
use crate::tls::{CertificateResolver, LoadedCertificate};

pub struct Display {
    resolver: Arc<CertificateResolver>,
    shown: Mutex<BTreeMap<String, Shown>>,
}

/// What is shown for one plan.
enum Shown {
    Own(Arc<LoadedCertificate>),
    /// Names without a certificate of their own, and what some of them are shown meanwhile.
    Awaited {
        names: Vec<String>,
        stands_in: Vec<Arc<LoadedCertificate>>,
    },
}

impl Display {
    pub fn new(resolver: Arc<CertificateResolver>) -> Self {
        Self { resolver, shown: Mutex::default() }
    }

    /// From now on these and no others, at once: no handshake falls between.
    pub fn replace(&self, plans: &[(Plan, Option<Arc<LoadedCertificate>>)]) {
        let mut shown = self.shown();
        let before: Vec<Arc<LoadedCertificate>> = shown.values().flat_map(Shown::certificates).cloned().collect();
        let entry = |(plan, certificate): &(Plan, Option<Arc<LoadedCertificate>>)| {
            let own = certificate.clone().map(Shown::Own);
            (plan.name.clone(), own.unwrap_or_else(|| Shown::awaited(plan, &before)))
        };
        *shown = plans.iter().map(entry).collect();
        self.publish(&shown);
    }

    /// For the next handshakes.
    pub fn show(&self, plan: &Plan, certificate: Arc<LoadedCertificate>) {
        let mut shown = self.shown();
        shown.insert(plan.name.clone(), Shown::Own(certificate));
        self.publish(&shown);
    }

    pub fn forget(&self, name: &str) {
        let mut shown = self.shown();
        shown.remove(name);
        self.publish(&shown);
    }

    /// A plan's own certificate.
    pub fn shown_for(&self, name: &str) -> Option<Arc<LoadedCertificate>> {
        match self.shown().get(name)? {
            Shown::Own(certificate) => Some(certificate.clone()),
            Shown::Awaited { .. } => None,
        }
    }

    fn publish(&self, shown: &BTreeMap<String, Shown>) {
        self.resolver.replace_ordered(shown.values().flat_map(Shown::certificates).cloned().collect());
        let awaited: HashSet<Box<str>> =
            shown.values().flat_map(Shown::names).map(|name| name.as_str().into()).collect();
        self.resolver.expect(awaited);
    }

    fn shown(&self) -> MutexGuard<'_, BTreeMap<String, Shown>> {
        // Every change is a single insertion, removal or replacement.
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shown {
    fn awaited(plan: &Plan, before: &[Arc<LoadedCertificate>]) -> Self {
        let fits = |certificate: &&Arc<LoadedCertificate>| {
            plan.wanted
                .domains
                .iter()
                .any(|domain| certificate.names().iter().any(|name| name.to_string() == domain.as_str()))
        };
        Shown::Awaited { names: plan.names(), stands_in: before.iter().filter(fits).cloned().collect() }
    }

    fn certificates(&self) -> &[Arc<LoadedCertificate>] {
        match self {
            Shown::Own(certificate) => std::slice::from_ref(certificate),
            Shown::Awaited { stands_in, .. } => stands_in,
        }
    }

    fn names(&self) -> &[String] {
        match self {
            Shown::Own(_) => &[],
            Shown::Awaited { names, .. } => names,
        }
    }
}
