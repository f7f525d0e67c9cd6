//! What is known of a client connection before its first request.
//!
//! ```text
//! accept ──► PROXY protocol ──► TLS ──► Connection ──(rides in Pingora's ProxyDigest)──► every request on it
//! ```

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Weak};

use http::HeaderValue;
use pingora::protocols::Digest;
use pingora::protocols::raw_connect::ProxyDigest;

use super::client_certificate::CertificateValues;
use super::listener::{ListenerState, Place};
use super::pace::Paces;
use super::spooling::Spooling;
use super::worker::OpenConnections;
use crate::model::Scheme;
use crate::tls::{Agreement, ServerTls};

pub struct Connection {
    pub listener: Arc<ListenerState>,
    /// Held by who serves it, and by who still listens to it then.
    pub place: Weak<Place>,
    /// Those of its worker.
    pub open: OpenConnections,
    /// Who connected: the PROXY header's source where one is required, else the socket's peer.
    pub peer: SocketAddr,
    /// `peer`'s address as a header value, written once.
    pub peer_value: HeaderValue,
    /// The port the client connected to, as the PROXY header or the listener says; a header value, too.
    pub port_value: HeaderValue,
    pub tls: Option<Box<TlsSession>>,
    /// Of the message that is under way on HTTP/1; streams of HTTP/2 have their own.
    pub paces: Paces,
    /// The same for a body that is waited for.
    pub spooling: Spooling,
    /// How long its client was waited for, in microseconds.
    pub waited: AtomicU64,
    /// Another protocol has taken over: what comes from now on is no request.
    pub has_switched: AtomicBool,
}

/// What the handshake agreed on.
pub struct TlsSession {
    /// Lowercase.
    pub server_name: Option<Box<str>>,
    pub agreement: Agreement,
    /// Of the client's certificate, where it has shown one.
    pub certificate: Option<CertificateValues>,
}

impl Connection {
    pub fn scheme(&self) -> Scheme {
        match self.tls {
            Some(_) => Scheme::Https,
            None => Scheme::Http,
        }
    }

    /// Whether the certificate that was shown is not this host's, which has another (RFC 9110 §15.5.20).
    pub fn misdirects(&self, host: &str, server: &ServerTls) -> bool {
        let Some(tls) = &self.tls else { return false };
        let asked = tls.server_name.as_deref();
        asked != Some(host) && server.certificates().store().misdirected(asked, host)
    }

    /// Wraps it so that Pingora carries it along to where only a session is at hand.
    pub fn digest(self: &Arc<Self>) -> Arc<ProxyDigest> {
        let unused = pingora::http::ResponseHeader::build_no_case(200, None);
        let response = Box::new(unused.unwrap_or_else(|_| unreachable!("200 is a status")));
        Arc::new(ProxyDigest::new(response, Some(Box::new(self.clone()))))
    }

    /// The connection that a session of ours runs on.
    pub fn of(digest: Option<&Digest>) -> Option<&Connection> {
        Self::in_digest(digest?.proxy_digest.as_ref()?)
    }

    /// What [`digest`](Self::digest) wrapped.
    pub fn in_digest(digest: &ProxyDigest) -> Option<&Connection> {
        digest.user_data.as_ref()?.downcast_ref::<Arc<Connection>>().map(Arc::as_ref)
    }
}

/// An address as a header value. IPv4-mapped addresses are shown as the IPv4 addresses they are.
pub fn address_value(address: IpAddr) -> HeaderValue {
    let text = address.to_canonical().to_string();
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}
