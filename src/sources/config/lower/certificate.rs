//! Certificates. Their bytes are read by `tls`.

use std::path::PathBuf;

use super::Lowering;
use crate::model::{Certificate, CertificateSource};
use crate::sources::config::decode::{Field, List};
use crate::sources::config::shapes;
use crate::sources::config::tree::NodeId;

/// Whether there is anything to serve TLS with; what could not be read counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificates {
    Named,
    Missing,
}

pub fn are_named(written: &Field<List<shapes::Certificate>>) -> Certificates {
    match written {
        Field::Given(_, list) if !list.is_empty() => Certificates::Named,
        Field::Wrong(_) => Certificates::Named,
        Field::Given(..) | Field::Absent => Certificates::Missing,
    }
}

pub fn certificates(cx: &Lowering, written: Field<List<shapes::Certificate>>) -> Vec<Certificate> {
    let mut certificates = Vec::new();
    for (at, certificate) in written.value().unwrap_or_default().into_iter().filter_map(Field::given) {
        let source = match certificate {
            shapes::Certificate::File(pair) => {
                key_pair(cx, at, pair).map(|(cert, key)| CertificateSource::File { cert, key })
            }
        };
        certificates.extend(source.map(|source| Certificate { origin: cx.findings.origin(at.value()), source }));
    }
    certificates
}

/// The files of a certificate and its key.
pub fn key_pair(cx: &Lowering, at: NodeId, pair: shapes::KeyPair) -> Option<(PathBuf, PathBuf)> {
    let cert = cx.required(pair.cert, at, "cert", "cert: path/to/chain.pem");
    let key = cx.required(pair.key, at, "key", "key: path/to/key.pem");
    let (cert, key) = (cert?.1.0, key?.1.0);
    Some((cx.file(cert), cx.file(key)))
}
