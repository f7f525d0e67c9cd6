//! Certificates of clients, and what else a host asks of its TLS connections.

use super::{Lowering, tunnel};
use crate::defaults;
use crate::model::{
    CipherOrder, Ciphers, ClientAuth, ClientAuthMode, ClientAuthRefusal, ForwardCertificate, HostClientAuth, HostTls,
};
use crate::sources::config::decode::{Either, Field};
use crate::sources::config::shapes::{self, scalar};
use crate::sources::config::tree::NodeId;

pub fn host_tls(cx: &Lowering, shape: shapes::HostTls) -> HostTls {
    HostTls {
        min_version: shape.min_version.scalar(),
        ciphers: shape.ciphers.value().map(ciphers),
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

pub fn ciphers(shape: shapes::Ciphers) -> Ciphers {
    Ciphers {
        tls12: shape.tls12.value().map(|list| list.into_iter().filter_map(Field::scalar).collect()),
        order: match shape.order.value() {
            Some(shapes::CipherOrder::Server) => CipherOrder::Server,
            Some(shapes::CipherOrder::Client) => CipherOrder::Client,
            None => CipherOrder::default(),
        },
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
            Some(shapes::ClientAuthMode::OptionalOfAnyone) => ClientAuthMode::OptionalOfAnyone,
            None => defaults::CLIENT_AUTH_MODE,
        },
        subject: shape.subject.value().map(|pattern| pattern.0),
        refusal: match shape.refuse.value() {
            Some(shapes::ClientAuthRefusal::Request) => ClientAuthRefusal::Request { page: None },
            Some(shapes::ClientAuthRefusal::Handshake) | None => ClientAuthRefusal::Handshake,
        },
        forward: match shape.forward.value() {
            Some(true) => ForwardCertificate::Send,
            Some(false) => ForwardCertificate::Omit,
            None => defaults::FORWARD_CERTIFICATE,
        },
    })
}
