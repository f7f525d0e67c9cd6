//! How the handshakes of one listener go: a configuration for each host that has terms of its own.
//!
//! ```text
//! ClientHello ──► ACME's question? ──► Challenge
//!      └────────► name ──exact, then one label, then the longest wildcard, then "*", then the listener's──► Serve(Site)
//! ```
//!
//! The name leads to the host that the router would find for it. Rebuilt at every reload; choosing allocates nothing.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::ClientHello;
use rustls::server::danger::ClientCertVerifier;

use super::challenges::ACME_TLS;
use super::terms::Terms;
use crate::model::HostName;

pub struct Policy {
    /// The listener's own is the first.
    sites: Vec<Site>,
    exact: HashMap<Arc<str>, usize>,
    /// By the name below the star.
    wildcard: HashMap<Arc<str>, usize>,
    one_label: HashMap<Arc<str>, usize>,
    catch_all: usize,
    challenge: Arc<ServerConfig>,
}

/// What is spoken on the same terms.
pub struct Site {
    pub config: Arc<ServerConfig>,
    pub terms: Arc<Terms>,
    /// Of clients' certificates, where handshakes leave that to who judges requests.
    pub verifier: Option<Arc<dyn ClientCertVerifier>>,
}

/// How handshakes go on some terms.
pub struct Ways {
    pub config: Arc<ServerConfig>,
    /// As [`Site::verifier`].
    pub verifier: Option<Arc<dyn ClientCertVerifier>>,
}

impl Site {
    fn new(terms: &Arc<Terms>, Ways { config, verifier }: Ways) -> Self {
        Self { config, terms: terms.clone(), verifier }
    }
}

/// What a handshake is for.
pub enum Handshake<'p> {
    /// For requests.
    Serve(&'p Site),
    /// An ACME authority looks at the certificate, and goes.
    Challenge(&'p Arc<ServerConfig>),
}

impl Policy {
    /// `hosts`: all of the listener's, so that one without terms of its own is not taken for a wildcard's.
    pub(super) fn build(
        own: &Arc<Terms>,
        hosts: &[(&[HostName], &Arc<Terms>)],
        challenge: Arc<ServerConfig>,
        ways: impl Fn(&Terms) -> Result<Ways, rustls::Error>,
    ) -> Result<Self, rustls::Error> {
        let own = Site::new(own, ways(own)?);
        let (exact, wildcard, one_label) = (HashMap::new(), HashMap::new(), HashMap::new());
        let mut policy = Self { sites: vec![own], exact, wildcard, one_label, catch_all: 0, challenge };
        for (names, terms) in hosts {
            let site = match policy.sites.iter().position(|site| site.terms == **terms) {
                Some(known) => known,
                None => {
                    policy.sites.push(Site::new(terms, ways(terms)?));
                    policy.sites.len() - 1
                }
            };
            for name in *names {
                match name {
                    HostName::Exact(name) => drop(policy.exact.insert(name.clone(), site)),
                    HostName::Wildcard(parent) => drop(policy.wildcard.insert(parent.clone(), site)),
                    HostName::OneLabel(parent) => drop(policy.one_label.insert(parent.clone(), site)),
                    HostName::CatchAll => policy.catch_all = site,
                }
            }
        }
        Ok(policy)
    }

    pub fn choose(&self, hello: &ClientHello<'_>) -> Handshake<'_> {
        // RFC 8737 §3: an authority offers this protocol and no other.
        let mut offered = hello.alpn().into_iter().flatten();
        match offered.next() {
            Some(ACME_TLS) if offered.next().is_none() => Handshake::Challenge(&self.challenge),
            Some(_) | None => Handshake::Serve(self.site(hello.server_name())),
        }
    }

    /// `name` is lowercase.
    pub(super) fn site(&self, name: Option<&str>) -> &Site {
        let name = name.map(|name| name.strip_suffix('.').unwrap_or(name));
        let found = name.and_then(|name| {
            self.exact.get(name).or_else(|| self.one_label(name)).or_else(|| self.longest_wildcard(name))
        });
        &self.sites[found.copied().unwrap_or(self.catch_all)]
    }

    fn one_label(&self, name: &str) -> Option<&usize> {
        let (label, parent) = name.split_once('.')?;
        self.one_label.get(parent).filter(|_| !label.is_empty())
    }

    fn longest_wildcard(&self, name: &str) -> Option<&usize> {
        let parents = name.match_indices('.').filter(|(dot, _)| *dot > 0).map(|(dot, _)| &name[dot + 1..]);
        // No walk along the labels where nothing could be found.
        if self.wildcard.is_empty() { None } else { parents.into_iter().find_map(|parent| self.wildcard.get(parent)) }
    }
}
