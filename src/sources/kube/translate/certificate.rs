//! Certificates: which Secret a host is served with, and what it asks of its clients.

use std::sync::Arc;

use super::context::Context;
use super::prepare::Prepared;
use super::report::{ObjectKind, Reason, origin};
use super::server::{Clients, Server, Servers, host_name};
use crate::diagnostics::Origin;
use crate::model::{
    Certificate, CertificateSource, CertificateUse, ClientAuth, ClientAuthMode, ClientAuthRefusal, ForwardCertificate,
    HostClientAuth, HostName, SslClientCert,
};
use crate::sources::kube::annotations::ClientVerify;
use crate::sources::kube::issuance::awaits;
use crate::sources::kube::state::{AUTHORITIES, CERTIFICATE, CertificateNames, Ingress, ObjectKey, PRIVATE_KEY};

/// What a host's clients are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The default certificate: TLS was asked for, and the host's own cannot be used.
    Default,
    Own(ObjectKey),
}

/// The first Ingress of a host that speaks of TLS decides.
pub fn assign(cx: &mut Context<'_>, servers: &mut Servers<'_>, primaries: &[&Prepared<'_>]) {
    for prepared in primaries {
        let ingress = prepared.ingress;
        if ingress.tls.is_empty() {
            continue;
        }
        for rule in &ingress.rules {
            let Ok(name) = host_name(rule) else { continue };
            match servers.get_mut(&name) {
                Some(server) if server.shown.is_none() && name != HostName::CatchAll => {
                    server.shown = Some(shown(cx, ingress, &name));
                }
                Some(Server { shown: Some(Shown::Own(first)), .. }) => tell_of_another(cx, ingress, &name, first),
                Some(_) | None => {}
            }
        }
    }
}

/// Who comes later may name the same Secret, and is told where it names another.
fn tell_of_another(cx: &mut Context<'_>, ingress: &Ingress, host: &HostName, first: &ObjectKey) {
    let Some((at, secret)) = secret_of(cx, ingress, host) else { return };
    let key = ObjectKey::new(ingress.key.namespace.clone(), secret);
    if key != *first {
        let message = format!("{host} is served with the certificate in the Secret {first}, whose Ingress comes first");
        cx.warn(ingress, Reason::Conflict, at, message);
    }
}

fn shown(cx: &mut Context<'_>, ingress: &Ingress, host: &HostName) -> Shown {
    let Some((at, secret)) = secret_of(cx, ingress, host) else { return Shown::Default };
    let key = ObjectKey::new(ingress.key.namespace.clone(), secret);
    match cx.key_pair(&key) {
        Ok((_, names)) if covers(names, host) => return Shown::Own(key),
        Ok(_) => {
            let message = format!("the certificate in the Secret {key} does not have the name {host}");
            cx.warn(ingress, Reason::InvalidSecret, at, message);
        }
        // It is on its way: what is wrong with that is told by who has it issued.
        Err(_) if awaits(ingress) && cx.secret(&key).is_err() => {}
        Err(message) => cx.warn(ingress, Reason::InvalidSecret, at, message),
    }
    Shown::Default
}

/// Of the entry that names the host; else of the first whose certificate has its name.
fn secret_of(cx: &mut Context<'_>, ingress: &Ingress, host: &HostName) -> Option<(String, Arc<str>)> {
    let text = host.to_string();
    let at = |index: usize| format!("spec.tls[{index}]");
    let entries = || ingress.tls.iter().enumerate();
    let names = |hosts: &[Arc<str>]| hosts.iter().any(|other| other.trim_end_matches('.').eq_ignore_ascii_case(&text));
    if let Some((index, entry)) = entries().find(|(_, entry)| names(&entry.hosts)) {
        return Some((at(index), entry.secret.clone()?));
    }
    entries().find_map(|(index, entry)| {
        let secret = entry.secret.clone()?;
        let key = ObjectKey::new(ingress.key.namespace.clone(), secret.clone());
        let (_, names) = cx.key_pair(&key).ok()?;
        covers(names, host).then(|| (at(index), secret))
    })
}

fn covers(names: &CertificateNames, host: &HostName) -> bool {
    match host {
        HostName::Exact(name) => names.cover(name),
        HostName::OneLabel(parent) | HostName::Wildcard(parent) => names.cover_below(parent),
        HostName::CatchAll => false,
    }
}

/// The Secret of each host that has one, for the names of that host.
pub fn certificates(cx: &mut Context<'_>, servers: &Servers<'_>) -> Vec<((ObjectKey, HostName), Certificate)> {
    let mut certificates = Vec::new();
    for (name, server) in servers {
        let Some(Shown::Own(key)) = &server.shown else { continue };
        let names = cx.key_pair(key).map(|(_, names)| names.clone()).unwrap_or_default();
        let others = server.aliases.iter().chain(server.led_here.as_ref().map(|(from, _)| from));
        let others = others.filter(|other| covers(&names, other)).cloned();
        let names = [name.clone()].into_iter().chain(others).collect();
        let certificate = certificate(cx, key, CertificateUse::Only(names));
        certificates.extend(certificate.map(|certificate| ((key.clone(), name.clone()), certificate)));
    }
    certificates
}

pub fn default_certificate(cx: &mut Context<'_>) -> Option<Certificate> {
    let key = cx.settings.default_certificate.clone()?;
    match cx.key_pair(&key) {
        Ok(_) => certificate(cx, &key, CertificateUse::Fallback),
        Err(message) => {
            cx.report.note(Origin::builtin(), "--default-ssl-certificate", message);
            None
        }
    }
}

fn certificate(cx: &mut Context<'_>, key: &ObjectKey, usage: CertificateUse) -> Option<Certificate> {
    let secret = cx.secret(key).ok()?;
    let (cert, private) = (secret.bytes(CERTIFICATE).ok()?.clone(), secret.bytes(PRIVATE_KEY).ok()?.clone());
    let source = CertificateSource::File {
        cert: cx.material.add(key, CERTIFICATE, cert),
        key: cx.material.add(key, PRIVATE_KEY, private),
    };
    Some(Certificate { origin: origin(ObjectKind::Secret, key), source, usage })
}

/// `auth-tls-*`: the first Ingress of a host that has a Secret for it decides.
pub fn ask_clients(cx: &mut Context<'_>, server: &mut Server<'_>, prepared: &Prepared<'_>) {
    let asked = &prepared.policy.client_certificate;
    let Some(reference) = &asked.secret else { return };
    if !matches!(server.clients, Clients::Undecided) {
        return;
    }
    let mode = match asked.verify {
        ClientVerify::On => ClientAuthMode::Required,
        ClientVerify::Optional => ClientAuthMode::Optional,
        ClientVerify::OptionalNoCa => ClientAuthMode::OptionalOfAnyone,
        ClientVerify::Off => return,
    };
    let ingress = prepared.ingress;
    let built = reference.within(&ingress.key.namespace).and_then(|key| {
        let secret = cx.secret(&key)?;
        let authorities =
            secret.authorities().map_err(|reason| format!("the Secret {key} cannot be used: {reason}"))?;
        Ok(cx.material.add(&key, AUTHORITIES, authorities.clone()))
    });
    server.clients = match built {
        Ok(ca) => Clients::Decided(HostClientAuth::Own(ClientAuth {
            origin: origin(ObjectKind::Ingress, &ingress.key),
            ca,
            mode,
            subject: asked.subject.clone(),
            refusal: ClientAuthRefusal::Request { page: asked.error_page.clone() },
            forward: ForwardCertificate::SslClient(match asked.pass_to_upstream {
                true => SslClientCert::Send,
                false => SslClientCert::Omit,
            }),
        })),
        Err(message) => {
            let path = cx.annotation("auth-tls-secret");
            cx.warn(ingress, Reason::RouteClosed, path, format!("{message}; the host answers 403"));
            Clients::Refused
        }
    };
}
