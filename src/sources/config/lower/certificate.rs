//! Certificates. Their bytes are read by `tls`.

use std::collections::HashMap;
use std::path::PathBuf;

use super::{Lowering, acme};
use crate::model::{Acme, AcmeCertificate, Certificate, CertificateSource, CertificateUse, Extent, Listener};
use crate::sources::config::decode::{Field, List};
use crate::sources::config::findings::{Findings, Place};
use crate::sources::config::shapes;
use crate::sources::config::tree::{Document, NodeId};

/// Whether there is anything to serve TLS with; what could not be read counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificates {
    Named,
    Missing,
}

pub fn are_named(
    cx: &Lowering,
    written: &Field<List<shapes::Certificate>>,
    acme: &Field<shapes::Acme>,
) -> Certificates {
    if let Field::Given(_, acme) = acme
        && !matches!(acme.on_demand, Field::Absent)
    {
        return Certificates::Named;
    }
    match written {
        Field::Given(_, list) if !list.is_empty() => Certificates::Named,
        Field::Wrong(_) => Certificates::Named,
        Field::Given(..) | Field::Absent if cx.certificates.get() == Extent::Partial => Certificates::Named,
        Field::Given(..) | Field::Absent => Certificates::Missing,
    }
}

/// Whether all of them are known before they are looked at one by one.
pub fn extent(findings: &Findings, written: &Field<List<shapes::Certificate>>) -> Extent {
    match written.is_wrong() || findings.is_misspelled(Document::ROOT, "certificates") {
        true => Extent::Partial,
        false => Extent::Whole,
    }
}

/// On what kinds of listener an ACME authority may be answered. What could not be read counts.
#[derive(Clone, Copy, Debug)]
pub struct Challengeable {
    pub plain: bool,
    pub tls: bool,
}

impl Challengeable {
    pub fn of<'l>(listeners: impl Iterator<Item = &'l Listener> + Clone, written: Extent) -> Self {
        let partial = written == Extent::Partial;
        Self {
            plain: partial || listeners.clone().any(|listener| listener.tls.is_none()),
            tls: partial || listeners.clone().any(|listener| listener.tls.is_some()),
        }
    }
}

/// Whether an authority is named; one that cannot be read is.
#[derive(Clone, Copy)]
pub enum Authority<'a> {
    Named(&'a Acme),
    Unreadable,
    Missing,
}

pub fn certificates(
    cx: &Lowering,
    written: Field<List<shapes::Certificate>>,
    authority: Authority,
    listeners: Challengeable,
) -> Vec<Certificate> {
    let mut certificates = Vec::new();
    let mut names: HashMap<String, u32> = HashMap::new();
    for field in written.value().unwrap_or_default() {
        let place = field.key();
        match field.given().and_then(|(at, written)| certificate(cx, at, written, authority, listeners)) {
            Some(certificate) => {
                if let (Some(place), CertificateSource::Acme(ordered)) = (place, &certificate.source) {
                    check_called(cx, &mut names, place, ordered);
                }
                certificates.push(certificate);
            }
            None => cx.certificates.set(Extent::Partial),
        }
    }
    certificates
}

/// One that is ordered is called by its first name, in the storage and by operators.
fn check_called(cx: &Lowering, names: &mut HashMap<String, u32>, place: Place, ordered: &AcmeCertificate) {
    let Some(name) = ordered.domains.first() else { return };
    if let Some(line) = names.insert(name.to_string(), cx.findings.line(place)) {
        let message =
            format!("a certificate is called by its first name, and \"{name}\" is one at line {line} already");
        cx.error_with(place, message, "put the names of both into one, or write another name first");
    }
}

fn certificate(
    cx: &Lowering,
    at: NodeId,
    written: shapes::Certificate,
    authority: Authority,
    listeners: Challengeable,
) -> Option<Certificate> {
    let source = match written {
        shapes::Certificate::Acme(ordered) => {
            let acme = match authority {
                Authority::Named(acme) => Some(acme),
                Authority::Unreadable => None,
                Authority::Missing => {
                    let message = "no authority is named that this certificate could be ordered from";
                    cx.error_with(at.key(), message, "write at the top: acme: { email: you@example.org, storage: … }");
                    None
                }
            };
            CertificateSource::Acme(acme::certificate(cx, at, ordered, acme, listeners)?)
        }
        shapes::Certificate::File(pair) => {
            let (cert, key) = key_pair(cx, at, pair)?;
            CertificateSource::File { cert, key }
        }
    };
    Some(Certificate { origin: cx.findings.origin(at.value()), source, usage: CertificateUse::ItsNames })
}

/// The files of a certificate and its key.
pub fn key_pair(cx: &Lowering, at: NodeId, pair: shapes::KeyPair) -> Option<(PathBuf, PathBuf)> {
    let cert = cx.required(pair.cert, at, "cert", "cert: path/to/chain.pem");
    let key = cx.required(pair.key, at, "key", "key: path/to/key.pem");
    let (cert, key) = (cert?.1.0, key?.1.0);
    Some((cx.file(cert), cx.file(key)))
}
