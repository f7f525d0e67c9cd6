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

use super::agreement::{Agreement, Flaw, Shown};
use super::client_roots::{ClientRootFiles, ClientRoots};
use crate::model::{
    Ciphers, ClientAuth, ClientAuthMode, ClientAuthRefusal, ForwardCertificate, HostClientAuth, HostTls, ListenerTls,
    Pattern, TlsVersion,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    pub min_version: TlsVersion,
    pub ciphers: Ciphers,
    /// None: clients are not asked for certificates.
    pub client: Option<ClientTerms>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTerms {
    pub roots: Arc<ClientRoots>,
    pub mode: ClientAuthMode,
    pub subject: Option<Pattern>,
    pub refusal: ClientAuthRefusal,
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
    /// The client was asked for a certificate, and has shown none.
    NoCertificate,
    /// It has shown one that was not issued by who it should have been, or not for now.
    BadCertificate,
    /// Its certificate is in another name.
    Subject,
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
        let ciphers = host.and_then(|host| host.ciphers.clone()).or_else(|| listener.map(|tls| tls.ciphers.clone()));
        Self {
            min_version: version.unwrap_or(TlsVersion::V1_2),
            ciphers: ciphers.unwrap_or_default(),
            client: auth.map(|auth| ClientTerms::of(auth, roots)),
        }
    }

    /// Whether a connection (None: a plain one) will do.
    pub fn judge(&self, agreement: Option<&Agreement>) -> Result<(), Unmet> {
        let Some(agreement) = agreement else {
            // Who names nobody may come so where names do not matter.
            let asks = |client: &ClientTerms| client.mode == ClientAuthMode::Required || client.subject.is_some();
            return if self.client.as_ref().is_some_and(asks) { Err(Unmet::Plain) } else { Ok(()) };
        };
        let are_its_own = std::ptr::eq(self, &*agreement.terms);
        if !are_its_own && agreement.version < self.min_version {
            return Err(Unmet::Version);
        }
        let Some(wanted) = &self.client else { return Ok(()) };
        let had = agreement.terms.client.as_ref();
        if !are_its_own && !had.is_some_and(|had| had.roots.are_among(&wanted.roots)) {
            return Err(Unmet::Certificate);
        }
        wanted.judge(&agreement.client)
    }

    /// The same for those whose sessions may be resumed by each other: what a session was not asked for when it began,
    /// it would not be asked for when it is resumed.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        if let Some(client) = &self.client {
            context.update(match client.mode {
                ClientAuthMode::Required => &b"required"[..],
                ClientAuthMode::Optional => b"optional",
                ClientAuthMode::OptionalOfAnyone => b"optional of anyone",
            });
            if client.is_told_by_answers() {
                context.update(b"told by answers");
            }
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
        Self {
            roots: roots.get(&auth.ca).cloned().unwrap_or_default(),
            mode: auth.mode,
            subject: auth.subject.clone(),
            refusal: auth.refusal.clone(),
            forward: auth.forward,
        }
    }

    /// Whether handshakes end well whatever certificate is shown: what it is worth is looked at for each request.
    pub(super) fn is_told_by_answers(&self) -> bool {
        let accepts_anyone = self.mode == ClientAuthMode::OptionalOfAnyone;
        accepts_anyone || matches!(self.refusal, ClientAuthRefusal::Request { .. })
    }

    /// Of a client that was asked.
    fn judge(&self, shown: &Shown) -> Result<(), Unmet> {
        let certificate = match (shown, self.mode) {
            (Shown::Nothing, ClientAuthMode::Required) => {
                // Where the handshake should have seen to it, another connection may be asked for one.
                let is_told = self.is_told_by_answers();
                return Err(if is_told { Unmet::NoCertificate } else { Unmet::Certificate });
            }
            (Shown::Nothing, ClientAuthMode::Optional | ClientAuthMode::OptionalOfAnyone) => {
                // Nobody's name is none of those that are accepted.
                return if self.subject.is_some() { Err(Unmet::Subject) } else { Ok(()) };
            }
            (Shown::Good(certificate), _) => certificate,
            (Shown::Bad { certificate, flaw: Flaw::Issuer, .. }, ClientAuthMode::OptionalOfAnyone) => certificate,
            (Shown::Bad { .. }, _) => return Err(Unmet::BadCertificate),
        };
        let fits = |pattern: &Pattern| pattern.regex().is_match(&certificate.subject);
        if self.subject.as_ref().is_none_or(fits) { Ok(()) } else { Err(Unmet::Subject) }
    }
}

#[cfg(test)]
#[path = "terms_tests.rs"]
mod tests;
