//! How the handshakes of one listener go: a configuration for each host that has terms of its own.
//!
//! ```text
//! the name alone ──► a host whose TLS ends elsewhere? ──► where
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

/// Made anew for thousands of hosts with each change. Seeds are random: no tenant's names can be chosen to collide.
type Names = HashMap<Arc<str>, Target, foldhash::fast::RandomState>;

pub struct Policy {
    /// The listener's own is the first.
    sites: Vec<Site>,
    exact: Names,
    /// By the name below the star.
    wildcard: Names,
    one_label: Names,
    catch_all: Target,
    challenge: Arc<ServerConfig>,
    looks_first: bool,
}

#[derive(Clone, Copy)]
enum Target {
    /// One of `sites`.
    Here(usize),
    Elsewhere(usize),
}

/// Where TLS of a host ends.
#[derive(Clone, Copy)]
pub enum Spoken<'a> {
    Here(&'a Arc<Terms>),
    /// At one of the tunnels that whoever builds the policy has.
    Elsewhere(usize),
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
        hosts: &[(&[HostName], Spoken<'_>)],
        challenge: Arc<ServerConfig>,
        ways: impl Fn(&Terms) -> Result<Ways, rustls::Error>,
    ) -> Result<Self, rustls::Error> {
        let own = Site::new(own, ways(own)?);
        let (mut exact, wildcard, one_label) = (Names::default(), Names::default(), Names::default());
        exact.reserve(hosts.len());
        let catch_all = Target::Here(0);
        let looks_first = hosts.iter().any(|(_, spoken)| matches!(spoken, Spoken::Elsewhere(_)));
        let mut policy = Self { sites: vec![own], exact, wildcard, one_label, catch_all, challenge, looks_first };
        for (names, spoken) in hosts {
            let site = match spoken {
                Spoken::Elsewhere(tunnel) => Target::Elsewhere(*tunnel),
                Spoken::Here(terms) => Target::Here(policy.site_of(terms, &ways)?),
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

    fn site_of(
        &mut self,
        terms: &Arc<Terms>,
        ways: impl Fn(&Terms) -> Result<Ways, rustls::Error>,
    ) -> Result<usize, rustls::Error> {
        if let Some(known) = self.sites.iter().position(|site| site.terms == *terms) {
            return Ok(known);
        }
        self.sites.push(Site::new(terms, ways(terms)?));
        Ok(self.sites.len() - 1)
    }

    /// Whether a name may lead elsewhere: then it has to be known before the handshake begins.
    pub fn looks_first(&self) -> bool {
        self.looks_first
    }

    /// Which tunnel takes connections that ask for this name, which is lowercase; none: they are served here.
    pub fn elsewhere(&self, name: Option<&str>) -> Option<usize> {
        match self.target(name) {
            Target::Elsewhere(tunnel) => Some(tunnel),
            Target::Here(_) => None,
        }
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
        match self.target(name) {
            Target::Here(site) => &self.sites[site],
            // Who comes so far did not ask for it when it was looked.
            Target::Elsewhere(_) => &self.sites[0],
        }
    }

    fn target(&self, name: Option<&str>) -> Target {
        let name = name.map(|name| name.strip_suffix('.').unwrap_or(name));
        let found = name.and_then(|name| {
            self.exact.get(name).or_else(|| self.one_label(name)).or_else(|| self.longest_wildcard(name))
        });
        found.copied().unwrap_or(self.catch_all)
    }

    fn one_label(&self, name: &str) -> Option<&Target> {
        let (label, parent) = name.split_once('.')?;
        self.one_label.get(parent).filter(|_| !label.is_empty())
    }

    fn longest_wildcard(&self, name: &str) -> Option<&Target> {
        let parents = name.match_indices('.').filter(|(dot, _)| *dot > 0).map(|(dot, _)| &name[dot + 1..]);
        // No walk along the labels where nothing could be found.
        if self.wildcard.is_empty() { None } else { parents.into_iter().find_map(|parent| self.wildcard.get(parent)) }
    }
}
