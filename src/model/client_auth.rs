//! Who may speak with a host, and how: what a virtual host asks of its TLS connections.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::{Ciphers, Pattern, TlsVersion, Tunnel};
use crate::diagnostics::Origin;

/// A host's own; what it does not say is the listener's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HostTls {
    pub min_version: Option<TlsVersion>,
    pub ciphers: Option<Ciphers>,
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
    /// Found in the certificate's subject, as RFC 4514 writes it; who has another name gets 403.
    pub subject: Option<Pattern>,
    pub refusal: ClientAuthRefusal,
    pub forward: ForwardCertificate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientAuthMode {
    /// Who shows none is not served.
    Required,
    /// Who shows none is served, who shows a wrong one is not.
    Optional,
    /// As `Optional`, and one of an authority that nobody knows is not wrong: upstreams are told, and decide.
    OptionalOfAnyone,
}

/// How it is told who is not served for want of a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientAuthRefusal {
    /// The handshake fails.
    #[default]
    Handshake,
    /// The handshake ends well; requests are answered 400, or sent to this URL (302).
    Request { page: Option<Arc<str>> },
}

/// Whether upstreams are told of the certificate, and in which fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardCertificate {
    Omit,
    /// `Client-Cert` (RFC 9440) and `X-Client-*`.
    Send,
    /// `ssl-client-verify`, `-subject-dn` and `-issuer-dn`, as ingress-nginx sends them.
    SslClient(SslClientCert),
}

/// Whether the certificate itself is among them: `ssl-client-cert`, escaped PEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SslClientCert {
    Omit,
    Send,
}
