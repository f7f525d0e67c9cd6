//! What somebody behind Weir is told of the client: the same fields from either lane.
//!
//! ```text
//! client, connection ──► X-Forwarded-*, X-Real-IP, X-Request-ID, (Forwarded), (the client's certificate) ──► a head
//! ```
//!
//! What a client that is no trusted proxy says of itself is replaced, not appended to: an upstream may believe it.

use http::header::FORWARDED;
use http::{HeaderName, HeaderValue};

use super::client_address::{Client, Through};
use super::client_certificate;
use super::connection::{Connection, address_value};
use super::filters::{FieldValue, Head, joined};
use super::request_id::RequestId;
use crate::model::ForwardedField;
use crate::snapshot::table::CertificateFields;

pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request and whom it is from.
#[derive(Clone, Copy)]
pub struct Introduction<'a, Host> {
    pub client: &'a Client,
    pub connection: &'a Connection,
    /// The client's Host.
    pub host: Option<Host>,
    pub request_id: &'a RequestId,
}

impl<Host: FieldValue + Copy> Introduction<'_, Host> {
    /// Everything that an upstream is told.
    pub fn make(&self, head: &mut impl Head, certificate: CertificateFields, forwarded: ForwardedField) {
        self.tell_of_client(head);
        self.tell_of_certificate(head, certificate);
        head.set(&X_REQUEST_ID, self.request_id);
        match (forwarded, self.client.through) {
            (ForwardedField::Send, _) => self.append_forwarded(head),
            (ForwardedField::Omit, Through::TrustedProxy) => {}
            (ForwardedField::Omit, Through::Nobody) => head.remove(&FORWARDED),
        }
    }

    fn tell_of_client(&self, head: &mut impl Head) {
        let peer = &self.connection.peer_value;
        head.set(&X_FORWARDED_PROTO, self.client.scheme.as_str());
        match self.client.through {
            Through::Nobody => {
                head.set(&X_FORWARDED_FOR, peer);
                head.set(&X_REAL_IP, peer);
                head.set(&X_FORWARDED_PORT, &self.connection.port_value);
                self.set_forwarded_host(head);
            }
            Through::TrustedProxy => {
                append_list(head, &X_FORWARDED_FOR, peer.clone());
                head.set(&X_REAL_IP, address_value(self.client.address));
                if !head.contains(&X_FORWARDED_PORT) {
                    head.set(&X_FORWARDED_PORT, &self.connection.port_value);
                }
                if !head.contains(&X_FORWARDED_HOST) {
                    self.set_forwarded_host(head);
                }
            }
        }
    }

    fn set_forwarded_host(&self, head: &mut impl Head) {
        match self.host {
            Some(host) => head.set(&X_FORWARDED_HOST, host),
            None => head.remove(&X_FORWARDED_HOST),
        }
    }

    fn tell_of_certificate(&self, head: &mut impl Head, fields: CertificateFields) {
        let values = || self.connection.tls.as_ref().and_then(|tls| tls.certificate.as_ref());
        match (fields, self.client.through) {
            (CertificateFields::Keep, _) | (CertificateFields::KeepOfTrustedProxies, Through::TrustedProxy) => {}
            (CertificateFields::KeepOfTrustedProxies, Through::Nobody) | (CertificateFields::Remove, _) => {
                client_certificate::sanitize(head);
            }
            (CertificateFields::Set, _) => {
                client_certificate::sanitize(head);
                client_certificate::tell(head, values());
            }
            (CertificateFields::SetSslClient(cert), _) => {
                client_certificate::sanitize(head);
                client_certificate::tell_as_ssl_client(head, values(), cert);
            }
        }
    }

    /// RFC 7239. What an untrusted client wrote is dropped.
    fn append_forwarded(&self, head: &mut impl Head) {
        let peer = self.connection.peer.ip().to_canonical();
        let node = if peer.is_ipv6() { format!("\"[{peer}]\"") } else { peer.to_string() };
        let mut element = format!("for={node};proto={}", self.client.scheme.as_str());
        if let Some(host) = self.host.as_ref().and_then(|host| str::from_utf8(host.text()).ok()) {
            element.push_str(&format!(";host=\"{}\"", host.replace(['"', '\\'], "")));
        }
        // Made of what headers hold.
        let Ok(element) = HeaderValue::try_from(element) else { return };
        match self.client.through {
            Through::TrustedProxy => append_list(head, &FORWARDED, element),
            Through::Nobody => head.set(&FORWARDED, element),
        }
    }

    /// To somebody else than the upstream: without `Forwarded`. `said` is what the client sent.
    pub fn make_to_others(
        &self,
        head: &mut http::HeaderMap,
        said: &http::HeaderMap,
        certificate: Option<CertificateFields>,
    ) {
        // What a trusted proxy said is gone on with, whether it is among the fields that are passed or not.
        for name in [X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PORT] {
            head.remove(&name);
            if self.client.through == Through::TrustedProxy {
                head.extend(said.get_all(&name).iter().map(|value| (name.clone(), value.clone())));
            }
        }
        self.tell_of_client(head);
        if let Some(fields) = certificate {
            self.tell_of_certificate(head, fields);
        }
        head.insert(X_REQUEST_ID, self.request_id.to_header_value());
        if self.client.through == Through::Nobody {
            head.remove(FORWARDED);
        }
    }
}

/// One field with the whole list: some upstreams read the first field only.
fn append_list(head: &mut impl Head, name: &HeaderName, item: HeaderValue) {
    let list = joined(head, name, item);
    head.set(name, list);
}
