//! How the endpoints of an upstream are connected to: one template for each upstream, one `HttpPeer` for each endpoint.
//!
//! ```text
//! model::Upstream + UpstreamTlsMaterial ──► PeerTemplate ──(address, name)──► HttpPeer
//! ```
//!
//! Pingora pools connections by a hash of the peer that leaves out the roots and ALPN: a connection that was
//! verified against one CA would serve a peer that trusts another. The group key closes that: it covers everything
//! that decides whom a connection trusts and what it speaks. It is the same over reloads as long as that is the same.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pingora::protocols::ALPN;
use pingora::protocols::tls::CaType;
use pingora::upstreams::peer::HttpPeer;
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::model::{self, UpstreamProtocol, Verify};
use crate::tls::UpstreamTlsMaterial;

/// Streams on one upstream connection before another is opened. Servers commonly allow 100 to 250 (RFC 9113 asks
/// for at least 100).
const MAX_H2_STREAMS: usize = 100;

#[derive(Debug, Error, PartialEq)]
pub enum UpstreamTlsError {
    #[error("the CA file holds no certificate")]
    NoCa,
    #[error("a certificate of the CA file is not X.509: {0}")]
    BadCa(String),
    #[error("the client certificate file holds no certificate")]
    NoClientCertificate,
    #[error("a certificate of the client certificate file is not X.509: {0}")]
    BadClientCertificate(String),
    #[error("the client certificate's key can't be read")]
    BadClientKey,
    #[error("{0}")]
    Unusable(#[from] rustls::Error),
}

#[derive(Debug)]
pub struct PeerTemplate {
    protocol: UpstreamProtocol,
    tls: Option<TlsPolicy>,
    timeouts: model::UpstreamTimeouts,
    /// How long an idle connection is kept; zero keeps none.
    idle: Duration,
    pub(super) group: u64,
}

#[derive(Debug)]
struct TlsPolicy {
    verify: Verify,
    server_name: Option<Arc<str>>,
    ca: Option<Arc<CaType>>,
    client: Option<Arc<CertKey>>,
}

impl PeerTemplate {
    pub fn new(definition: &model::Upstream, material: &UpstreamTlsMaterial) -> Result<Self, UpstreamTlsError> {
        let tls = definition.tls.as_ref().map(|tls| TlsPolicy::new(tls, material)).transpose()?;
        let keepalive = &definition.keepalive;
        Ok(Self {
            protocol: definition.protocol,
            tls,
            timeouts: definition.timeouts.clone(),
            idle: if keepalive.connections == 0 { Duration::ZERO } else { keepalive.idle_timeout },
            group: group_key(definition, material),
        })
    }

    /// `name` is what the endpoint was found by. Where TLS has no name at all, the peer's `sni` stays empty and
    /// [`Endpoint::peer`](super::Endpoint::peer) fills it in from the request.
    pub(super) fn build(&self, address: SocketAddr, name: Option<&str>) -> HttpPeer {
        let fixed = self.tls.as_ref().and_then(|tls| tls.server_name.as_deref()).or(name);
        let sni = fixed.filter(|_| self.tls.is_some()).unwrap_or_default();
        let mut peer = HttpPeer::new(address, self.tls.is_some(), sni.trim_end_matches('.').to_owned());
        peer.group_key = self.group;
        let options = &mut peer.options;
        options.connection_timeout = Some(self.timeouts.connect);
        options.total_connection_timeout = Some(self.timeouts.connect);
        options.read_timeout = Some(self.timeouts.read);
        options.write_timeout = Some(self.timeouts.write);
        options.idle_timeout = Some(self.idle);
        options.max_h2_streams = MAX_H2_STREAMS;
        options.alpn = match self.protocol {
            UpstreamProtocol::Http1 => ALPN::H1,
            UpstreamProtocol::Http2 => ALPN::H2,
            UpstreamProtocol::Auto => ALPN::H2H1,
        };
        if let Some(tls) = &self.tls {
            let verify = tls.verify == Verify::Full;
            options.verify_cert = verify;
            options.verify_hostname = verify;
            options.ca = tls.ca.clone();
            peer.client_cert_key = tls.client.clone();
        }
        peer
    }
}

impl TlsPolicy {
    fn new(tls: &model::UpstreamTls, material: &UpstreamTlsMaterial) -> Result<Self, UpstreamTlsError> {
        let ca = match &material.ca {
            None => None,
            Some(certificates) if certificates.is_empty() => return Err(UpstreamTlsError::NoCa),
            Some(certificates) => Some(parsed(certificates).map_err(UpstreamTlsError::BadCa)?.into()),
        };
        let client = match &material.client {
            None => None,
            Some((chain, key)) => Some(Arc::new(client_certificate(chain, key)?)),
        };
        Ok(Self { verify: tls.verify, server_name: tls.server_name.clone(), ca, client })
    }
}

/// Pingora panics on what it can't read, so it is read here first.
fn client_certificate(
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
) -> Result<CertKey, UpstreamTlsError> {
    if chain.is_empty() {
        return Err(UpstreamTlsError::NoClientCertificate);
    }
    parsed(chain).map_err(UpstreamTlsError::BadClientCertificate)?;
    PrivateKeyDer::try_from(key.secret_der()).map_err(|_| UpstreamTlsError::BadClientKey)?;
    Ok(CertKey::new(chain.iter().map(|der| der.to_vec()).collect(), key.secret_der().to_vec()))
}

fn parsed(certificates: &[CertificateDer<'static>]) -> Result<Vec<WrappedX509>, String> {
    let parse = |der: &CertificateDer<'static>| match X509Certificate::from_der(der) {
        Ok(_) => Ok(WrappedX509::new(der.to_vec(), parse_x509)),
        Err(error) => Err(error.to_string()),
    };
    certificates.iter().map(parse).collect()
}

fn group_key(definition: &model::Upstream, material: &UpstreamTlsMaterial) -> u64 {
    let mut hasher = DefaultHasher::new();
    (definition.protocol as u8).hash(&mut hasher);
    if let Some(tls) = &definition.tls {
        (tls.verify as u8, &tls.server_name).hash(&mut hasher);
        let ders = |chain: &[CertificateDer<'static>], hasher: &mut DefaultHasher| {
            chain.len().hash(hasher);
            chain.iter().for_each(|der| der.as_ref().hash(hasher));
        };
        if let Some(ca) = &material.ca {
            "ca".hash(&mut hasher);
            ders(ca, &mut hasher);
        }
        if let Some((chain, key)) = &material.client {
            "client".hash(&mut hasher);
            ders(chain, &mut hasher);
            key.secret_der().hash(&mut hasher);
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::upstream::tests::definition;

    fn with_tls(server_name: Option<&str>, verify: Verify) -> model::Upstream {
        let tls =
            model::UpstreamTls { verify, server_name: server_name.map(Arc::from), ca: None, client_certificate: None };
        model::Upstream { tls: Some(tls), ..definition("10.0.0.1:443") }
    }

    fn certificate(name: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        (made.cert.der().clone(), PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap())
    }

    fn peer(definition: &model::Upstream, material: &UpstreamTlsMaterial, name: Option<&str>) -> HttpPeer {
        PeerTemplate::new(definition, material).unwrap().build("10.0.0.1:443".parse().unwrap(), name)
    }

    #[test]
    fn the_name_for_tls_is_the_upstreams_or_else_the_endpoints() {
        let none = UpstreamTlsMaterial::default();
        assert_eq!(peer(&with_tls(Some("api.test"), Verify::Full), &none, Some("a.test")).sni, "api.test");
        assert_eq!(peer(&with_tls(None, Verify::Full), &none, Some("a.test.")).sni, "a.test");
        assert_eq!(peer(&with_tls(None, Verify::Full), &none, None).sni, "");
        assert_eq!(peer(&definition("10.0.0.1:80"), &none, Some("a.test")).sni, "");
    }

    #[test]
    fn every_timeout_is_set_and_verification_is_on_unless_skipped() {
        let full = peer(&with_tls(None, Verify::Full), &UpstreamTlsMaterial::default(), None).options;
        assert_eq!(full.total_connection_timeout, Some(Duration::from_secs(5)));
        assert_eq!(
            (full.read_timeout, full.write_timeout),
            (Some(Duration::from_secs(60)), Some(Duration::from_secs(60)))
        );
        assert!(full.idle_timeout.is_some() && full.verify_cert && full.verify_hostname);
        let skip = peer(&with_tls(None, Verify::Skip), &UpstreamTlsMaterial::default(), None).options;
        assert!(!skip.verify_cert && !skip.verify_hostname);
    }

    #[test]
    fn connections_are_shared_only_between_equal_policies() {
        let ((one, _), (other, _)) = (certificate("one.test"), certificate("other.test"));
        let material = |ca: &CertificateDer<'static>| UpstreamTlsMaterial { ca: Some(vec![ca.clone()]), client: None };
        let (definition, http2) = (with_tls(None, Verify::Full), |mut upstream: model::Upstream| {
            upstream.protocol = UpstreamProtocol::Http2;
            upstream
        });
        let key = |definition: &model::Upstream, ca| peer(definition, &material(ca), None).group_key;
        assert_eq!(key(&definition, &one), key(&definition.clone(), &one));
        assert_ne!(key(&definition, &one), key(&definition, &other));
        assert_ne!(key(&definition, &one), key(&with_tls(None, Verify::Skip), &one));
        assert_ne!(key(&definition, &one), key(&http2(definition.clone()), &one));
        assert_ne!(key(&definition, &one), peer(&definition, &UpstreamTlsMaterial::default(), None).group_key);
    }

    #[test]
    fn material_that_can_not_be_used_is_named_and_does_not_panic() {
        let (certificate, key) = certificate("weir.test");
        let rubbish = CertificateDer::from(vec![1, 2, 3]);
        let error = |ca: Option<Vec<_>>, client: Option<(Vec<_>, PrivateKeyDer<'static>)>| {
            let material = UpstreamTlsMaterial { ca, client };
            PeerTemplate::new(&with_tls(None, Verify::Full), &material).unwrap_err().to_string()
        };
        assert_eq!(error(Some(vec![]), None), "the CA file holds no certificate");
        assert!(error(Some(vec![rubbish.clone()]), None).starts_with("a certificate of the CA file is not X.509"));
        assert_eq!(error(None, Some((vec![], key.clone_key()))), "the client certificate file holds no certificate");
        let wrong = error(None, Some((vec![certificate.clone(), rubbish], key)));
        assert!(wrong.starts_with("a certificate of the client certificate file is not X.509"), "{wrong}");
        let bad_key = PrivateKeyDer::Pkcs8(vec![1, 2, 3].into());
        assert_eq!(error(None, Some((vec![certificate], bad_key))), "the client certificate's key can't be read");
    }
}
