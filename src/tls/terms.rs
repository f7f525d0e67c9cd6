//! On which terms a host is spoken with, and whether a connection has agreed to them.
//!
//! ```text
//! model::ListenerTls + model::HostTls + ClientRoots ──► Terms ──► Policy (handshakes)
//!                                                         └──judge(Agreement)──► each request: served, or 421
//! ```
//!
//! A handshake is for a name, and a request on its connection may be for another one: only what was agreed on counts.

use std::sync::Arc;

use aws_lc_rs::digest;

use super::agreement::Agreement;
use super::client_roots::{ClientRootFiles, ClientRoots};
use crate::model::{ClientAuth, ClientAuthMode, ForwardCertificate, HostClientAuth, HostTls, ListenerTls, TlsVersion};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    pub min_version: TlsVersion,
    /// None: clients are not asked for certificates.
    pub client: Option<ClientTerms>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTerms {
    pub roots: Arc<ClientRoots>,
    pub mode: ClientAuthMode,
    pub forward: ForwardCertificate,
}

/// Why a request cannot be served by the connection it came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmet {
    /// Another connection may be served.
    Version,
    /// Another connection may be served.
    Certificate,
    /// There is no TLS at this listener: no connection will do.
    Plain,
}

impl Terms {
    /// What a host asks for at a listener (None: a plain one); a host of `None` is one without a word of its own. A file
    /// that is missing among `roots` accepts nobody.
    pub fn of(listener: Option<&ListenerTls>, host: Option<&HostTls>, roots: &ClientRootFiles) -> Self {
        let inherited = listener.and_then(|tls| tls.client_auth.as_ref());
        let auth = match host.map(|host| &host.client_auth) {
            None | Some(HostClientAuth::Inherited) => inherited,
            Some(HostClientAuth::Off) => None,
            Some(HostClientAuth::Own(auth)) => Some(auth),
        };
        let own_version = host.and_then(|host| host.min_version);
        let version = own_version.or(listener.map(|tls| tls.min_version));
        Self { min_version: version.unwrap_or(TlsVersion::V1_2), client: auth.map(|auth| ClientTerms::of(auth, roots)) }
    }

    /// Whether a connection (None: a plain one) will do.
    pub fn judge(&self, agreement: Option<&Agreement>) -> Result<(), Unmet> {
        let Some(agreement) = agreement else {
            return match &self.client {
                Some(ClientTerms { mode: ClientAuthMode::Required, .. }) => Err(Unmet::Plain),
                Some(ClientTerms { mode: ClientAuthMode::Optional, .. }) | None => Ok(()),
            };
        };
        // The handshake itself has seen to them.
        if std::ptr::eq(self, &*agreement.terms) {
            return Ok(());
        }
        if agreement.version < self.min_version {
            return Err(Unmet::Version);
        }
        let Some(wanted) = &self.client else { return Ok(()) };
        let asked = agreement.terms.client.as_ref().is_some_and(|had| had.roots.are_among(&wanted.roots));
        let shown = match wanted.mode {
            ClientAuthMode::Required => agreement.client.is_some(),
            ClientAuthMode::Optional => true,
        };
        if asked && shown { Ok(()) } else { Err(Unmet::Certificate) }
    }

    /// The same for those whose sessions may be resumed by each other: what a session was not asked for when it began,
    /// it would not be asked for when it is resumed.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        if let Some(client) = &self.client {
            context.update(match client.mode {
                ClientAuthMode::Required => b"required",
                ClientAuthMode::Optional => b"optional",
            });
            for root in client.roots.certificates() {
                context.update(digest::digest(&digest::SHA256, root).as_ref());
            }
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(context.finish().as_ref());
        fingerprint
    }
}

impl ClientTerms {
    fn of(auth: &ClientAuth, roots: &ClientRootFiles) -> Self {
        Self { roots: roots.get(&auth.ca).cloned().unwrap_or_default(), mode: auth.mode, forward: auth.forward }
    }
}

#[cfg(test)]
#[path = "terms_tests.rs"]
mod tests;
