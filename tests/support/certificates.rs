//! A certificate authority for one test, and a TLS client that trusts it and says what it was shown.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme, StreamOwned};

use super::http1::Connection;

/// Signs certificates; a client that trusts it accepts only those.
pub struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, as PEM.
#[derive(Clone)]
pub struct Identity {
    pub cert: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate");
        Authority { certificate, issuer: Issuer::new(params, key) }
    }

    /// A certificate for these DNS names and addresses.
    pub fn issue(&self, names: &[&str]) -> Identity {
        self.issue_with(names, |_| {})
    }

    /// The same, changed before it is signed.
    pub fn issue_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let names: Vec<String> = names.iter().map(|name| (*name).into()).collect();
        let mut params = CertificateParams::new(names.clone()).expect("these are names");
        params.distinguished_name.push(DnType::CommonName, names[0].as_str());
        change(&mut params);
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity { cert: cert.pem(), key: key.serialize_pem() }
    }

    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// For a program that signs in its name.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    pub fn write_pem(&self, folder: &Path) -> PathBuf {
        let path = folder.join("ca.crt");
        std::fs::write(&path, self.pem()).expect("the file can be written");
        path
    }

    /// A client that trusts this authority alone and offers HTTP/1.1.
    pub fn client(&self) -> TlsClient {
        TlsClient::trusting(self, &[b"http/1.1"])
    }
}

impl Identity {
    /// Writes `NAME.crt` and `NAME.key`, each by an atomic rename.
    pub fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let place = |extension: &str, text: &str| {
            let path = folder.join(format!("{name}.{extension}"));
            let staged = folder.join(format!(".{name}.{extension}.new"));
            std::fs::write(&staged, text).expect("the file can be written");
            std::fs::rename(&staged, &path).expect("the file can be replaced");
            path
        };
        // The key first: whoever looks at the certificate's change finds its key there.
        let key = place("key", &self.key);
        (place("crt", &self.cert), key)
    }

    /// The certificate's bytes, to be compared with what a client was shown.
    pub fn der(&self) -> Vec<u8> {
        CertificateDer::from_pem_slice(self.cert.as_bytes()).expect("a certificate").to_vec()
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(self.cert.as_bytes()).collect::<Result<_, _>>().expect("certificates")
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key")
    }

    pub(super) fn server_config(&self, alpn: &[&[u8]]) -> rustls::ServerConfig {
        let cert = CertificateDer::from_pem_slice(self.cert.as_bytes()).expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key");
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_no_client_auth()
            .with_single_cert(vec![cert], key)
            .expect("the key fits");
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config
    }
}

/// How a TLS connection is made: whom it trusts and what it offers.
#[derive(Clone)]
pub struct TlsClient {
    pub(super) config: Arc<ClientConfig>,
}

impl TlsClient {
    pub fn trusting(authority: &Authority, alpn: &[&[u8]]) -> TlsClient {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate.der().clone()).expect("a root");
        let builder = builder().with_root_certificates(roots);
        Self::offering(builder.with_no_client_auth(), alpn)
    }

    /// As [`TlsClient::trusting`], with the root as PEM.
    pub fn trusting_pem(root: &str, alpn: &[&[u8]]) -> TlsClient {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(root.as_bytes()).expect("a certificate")).expect("a root");
        Self::offering(builder().with_root_certificates(roots).with_no_client_auth(), alpn)
    }

    /// As [`trusting`](Self::trusting), with a certificate of its own.
    pub fn showing(identity: &Identity, authority: &Authority, alpn: &[&[u8]]) -> TlsClient {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate.der().clone()).expect("a root");
        let builder = builder().with_root_certificates(roots);
        let config = builder.with_client_auth_cert(identity.chain(), identity.private_key()).expect("the key fits");
        Self::offering(config, alpn)
    }

    /// Sends no SNI.
    pub fn nameless(&self) -> TlsClient {
        let mut config = ClientConfig::clone(&self.config);
        config.enable_sni = false;
        TlsClient { config: Arc::new(config) }
    }

    /// Sends `GET /` to `name`. Whether the session was resumed, and the answer's status (None: there was no answer).
    pub fn visit(&self, to: SocketAddr, name: &str) -> (bool, Option<u16>) {
        let mut tls = self.session(name);
        let mut stream = TcpStream::connect(to).expect("a connection");
        stream.set_read_timeout(Some(super::LIMIT)).expect("a socket");
        let mut answer = Vec::new();
        let mut session = rustls::Stream::new(&mut tls, &mut stream);
        let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
        let _ = session.write_all(request.as_bytes()).and_then(|()| session.read_to_end(&mut answer));
        let resumed = tls.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        let status =
            answer.strip_prefix(b"HTTP/1.1 ").and_then(|rest| std::str::from_utf8(&rest[..3]).ok()?.parse().ok());
        (resumed, status)
    }

    /// Offers this version only.
    pub fn speaking(self, version: &'static rustls::SupportedProtocolVersion) -> TlsClient {
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .expect("the provider has it")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone));
        let mut config = config.with_client_cert_resolver(self.config.client_auth_cert_resolver.clone());
        config.alpn_protocols = self.config.alpn_protocols.clone();
        TlsClient { config: Arc::new(config) }
    }

    /// Takes whatever certificate it is shown.
    pub fn trusting_anyone(alpn: &[&[u8]]) -> TlsClient {
        let builder = builder().dangerous().with_custom_certificate_verifier(Arc::new(Anyone));
        Self::offering(builder.with_no_client_auth(), alpn)
    }

    fn offering(mut config: ClientConfig, alpn: &[&[u8]]) -> TlsClient {
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        TlsClient { config: Arc::new(config) }
    }

    /// A connection that sends `name` as SNI, after a complete handshake.
    pub fn connect(&self, to: SocketAddr, name: &str) -> std::io::Result<Connection> {
        self.over(Connection::try_open(to)?, name)
    }

    /// The same on a connection that is open already.
    pub fn over(&self, tcp: Connection, name: &str) -> std::io::Result<Connection> {
        let mut tls = self.session(name);
        let mut failure = None;
        let connection = tcp.wrapped(|mut stream: TcpStream| {
            while tls.is_handshaking() && failure.is_none() {
                failure = tls.complete_io(&mut stream).err();
            }
            StreamOwned::new(tls, stream)
        });
        failure.map_or(Ok(connection), Err)
    }

    /// The leaf certificate that the server shows for `name`.
    #[track_caller]
    pub fn certificate_for(&self, to: SocketAddr, name: &str) -> Vec<u8> {
        self.shown(to, name).0
    }

    /// The leaf certificate and the negotiated protocol (empty: none).
    #[track_caller]
    pub fn shown(&self, to: SocketAddr, name: &str) -> (Vec<u8>, String) {
        let mut tls = self.session(name);
        let mut stream = TcpStream::connect(to).expect("a connection");
        stream.set_read_timeout(Some(super::LIMIT)).expect("a socket");
        while tls.is_handshaking() {
            if let Err(error) = tls.complete_io(&mut stream) {
                panic!("no TLS with {to} as {name}: {error}");
            }
        }
        let leaf = tls.peer_certificates().and_then(|chain| chain.first()).expect("a certificate was shown");
        (leaf.to_vec(), String::from_utf8_lossy(tls.alpn_protocol().unwrap_or_default()).into_owned())
    }

    fn session(&self, name: &str) -> ClientConnection {
        let name = ServerName::try_from(name.to_owned()).expect("a server name");
        ClientConnection::new(self.config.clone(), name).expect("a session")
    }
}

fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
}

pub(super) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
