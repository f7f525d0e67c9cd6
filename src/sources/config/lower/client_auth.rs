//! Certificates of clients, and what else a host asks of its TLS connections.

use super::{Lowering, tunnel};
use crate::defaults;
use crate::model::{ClientAuth, ClientAuthMode, ForwardCertificate, HostClientAuth, HostTls};
use crate::sources::config::decode::Either;
use crate::sources::config::shapes::{self, scalar};
use crate::sources::config::tree::NodeId;

pub fn host_tls(cx: &Lowering, shape: shapes::HostTls) -> HostTls {
    HostTls {
        min_version: shape.min_version.scalar(),
        client_auth: match shape.client_auth.given() {
            None => HostClientAuth::Inherited,
            Some((_, Either::Short(scalar::Off(())))) => HostClientAuth::Off,
            Some((at, Either::Full(shape))) => {
                client_auth(cx, at, shape).map_or(HostClientAuth::Inherited, HostClientAuth::Own)
            }
        },
        passthrough: shape.passthrough.given().and_then(|(at, shape)| tunnel::tunnel(cx, at, shape)),
    }
}

/// None where the authority is missing, which has been reported then: no such model is served.
pub fn client_auth(cx: &Lowering, at: NodeId, shape: shapes::ClientAuth) -> Option<ClientAuth> {
    let (_, ca) =
        cx.required(shape.ca, at, "ca", "ca: clients.pem, the authorities whose certificates are accepted")?;
    Some(ClientAuth {
        origin: cx.findings.origin(at.key()),
        ca: cx.file(ca.0),
        mode: match shape.mode.value() {
            Some(shapes::ClientAuthMode::Required) => ClientAuthMode::Required,
            Some(shapes::ClientAuthMode::Optional) => ClientAuthMode::Optional,
            None => defaults::CLIENT_AUTH_MODE,
        },
        forward: match shape.forward.value() {
            Some(true) => ForwardCertificate::Send,
            Some(false) => ForwardCertificate::Omit,
            None => defaults::FORWARD_CERTIFICATE,
        },
    })
}
