//! Who may speak with a host, and how: what a virtual host asks of its TLS connections.

use std::path::PathBuf;

use serde::Serialize;

use super::{TlsVersion, Tunnel};
use crate::diagnostics::Origin;

/// A host's own; what it does not say is the listener's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HostTls {
    pub min_version: Option<TlsVersion>,
    pub client_auth: HostClientAuth,
    /// Set: TLS of this host does not end here. On TLS listeners none of its routes is served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passthrough: Option<Tunnel>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostClientAuth {
    /// As at the listener.
    #[default]
    Inherited,
    Off,
    Own(ClientAuth),
}

/// Clients show certificates of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClientAuth {
    pub origin: Origin,
    /// PEM: whose certificates are accepted.
    pub ca: PathBuf,
    pub mode: ClientAuthMode,
    pub forward: ForwardCertificate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientAuthMode {
    /// Who shows none is not served.
    Required,
    /// Who shows none is served, who shows a wrong one is not.
    Optional,
}

/// Whether upstreams are told of the certificate: `Client-Cert` (RFC 9440) and `X-Client-*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardCertificate {
    Omit,
    Send,
}
