//! Real handshakes, in memory: a rustls client against the configuration that listeners use.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

use super::testing::{Authority, Files, Key, Leaf};
use super::*;
use crate::model::{Http2, SessionTickets, TlsVersion};

const TICKETS: SessionTickets = SessionTickets::Rotate { every: std::time::Duration::from_secs(3600) };

struct Scene {
    authority: Authority,
    files: Files,
    server: ServerTls,
}

impl Scene {
    fn new(leaves: &[(&str, Leaf)]) -> Self {
        let resolver = CertificateResolver::new(Vec::new()).unwrap();
        let server = ServerTls::new(Arc::new(resolver), &TICKETS).unwrap();
        let scene = Self { authority: Authority::new(), files: Files::new(), server };
        scene.replace(leaves);
        scene
    }

    fn replace(&self, leaves: &[(&str, Leaf)]) {
        let load = |(name, leaf): &(&str, Leaf)| self.files.loaded(&self.authority, name, leaf);
        self.server.certificates().replace_files(leaves.iter().map(load).collect());
    }

    fn config(&self, min_version: TlsVersion, http2: Http2) -> Arc<ServerConfig> {
        let terms = Arc::new(Terms { min_version, ciphers: crate::model::Ciphers::default(), client: None });
        self.server.policy(http2, &terms, &[]).unwrap().site(None).config.clone()
    }

    fn client(&self, provider: CryptoProvider, versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der.clone()).unwrap();
        let provider = Arc::new(provider);
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
        ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_webpki_verifier(verifier)
            .with_no_client_auth()
    }

    fn modern_client(&self) -> ClientConfig {
        self.client(rustls::crypto::aws_lc_rs::default_provider(), rustls::ALL_VERSIONS)
    }
}

fn connect(client: ClientConfig, name: &str, server: &Arc<ServerConfig>) -> (ClientConnection, ServerConnection) {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    (ClientConnection::new(Arc::new(client), name).unwrap(), ServerConnection::new(server.clone()).unwrap())
}

/// Carries bytes to and fro until both are done; the first error of either side.
fn shake(client: &mut ClientConnection, server: &mut ServerConnection) -> Result<(), rustls::Error> {
    while client.wants_write() || server.wants_write() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        feed(&wire, |bytes| server.read_tls(bytes));
        server.process_new_packets()?;
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        feed(&wire, |bytes| client.read_tls(bytes));
        client.process_new_packets()?;
    }
    Ok(())
}

fn feed(mut wire: &[u8], mut read: impl FnMut(&mut &[u8]) -> std::io::Result<usize>) {
    while !wire.is_empty() {
        read(&mut wire).unwrap();
    }
}

fn leaf_of(client: &ClientConnection) -> CertificateDer<'static> {
    client.peer_certificates().unwrap()[0].clone().into_owned()
}

fn leaf_in(scene: &Scene, host: &str) -> CertificateDer<'static> {
    scene.server.certificates().store().covering(host).unwrap().key().cert[0].clone()
}

#[test]
fn the_certificate_is_chosen_by_sni() {
    let scene = Scene::new(&[("a", Leaf::for_names(&["a.test"])), ("b", Leaf::for_names(&["*.b.test"]))]);
    let config = scene.config(TlsVersion::V1_2, Http2::Offer);
    for host in ["a.test", "x.b.test"] {
        let (mut client, mut server) = connect(scene.modern_client(), host, &config);
        shake(&mut client, &mut server).unwrap();
        assert_eq!(leaf_of(&client), leaf_in(&scene, host));
        assert_eq!(server.server_name(), Some(host));
    }
}

#[test]
fn a_modern_client_gets_tls_1_3_with_the_post_quantum_group_and_http_2() {
    let scene = Scene::new(&[("a", Leaf::for_names(&["a.test"]))]);
    let mut config = scene.modern_client();
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
    let (mut client, mut server) = connect(config, "a.test", &scene.config(TlsVersion::V1_2, Http2::Offer));
    shake(&mut client, &mut server).unwrap();
    assert_eq!(server.alpn_protocol(), Some(&b"h2"[..]));
    let group = server.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
    let facts = TlsFacts::of(&server).unwrap();
    assert_eq!(facts, TlsFacts { version: "TLSv1.3", cipher: "TLS_AES_256_GCM_SHA384" });
}

#[test]
fn http_2_is_not_offered_where_it_is_off() {
    let scene = Scene::new(&[("a", Leaf::for_names(&["a.test"]))]);
    let mut config = scene.modern_client();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let (mut client, mut server) = connect(config, "a.test", &scene.config(TlsVersion::V1_2, Http2::Off));
    shake(&mut client, &mut server).unwrap();
    assert_eq!(server.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[test]
fn an_unknown_name_and_a_wildcard_two_labels_deep_get_the_self_signed_certificate() {
    let scene = Scene::new(&[("b", Leaf::for_names(&["*.b.test"]))]);
    let config = scene.config(TlsVersion::V1_2, Http2::Offer);
    for host in ["unknown.test", "x.y.b.test", "b.test"] {
        let (mut client, mut server) = connect(scene.modern_client(), host, &config);
        let error = shake(&mut client, &mut server).unwrap_err();
        assert!(matches!(error, rustls::Error::InvalidCertificate(_)), "{error}");
        let shown = super::certificate::Leaf::parse(&leaf_shown(&scene, host)).unwrap();
        assert!(shown.issuer.contains(super::fallback::FALLBACK_NAME), "{}", shown.issuer);
    }
}

/// What a client that verifies nothing is shown.
fn leaf_shown(scene: &Scene, host: &str) -> CertificateDer<'static> {
    let mut config = scene.modern_client();
    config.dangerous().set_certificate_verifier(Arc::new(accept_any::AcceptAny));
    let (mut client, mut server) = connect(config, host, &scene.config(TlsVersion::V1_2, Http2::Offer));
    shake(&mut client, &mut server).unwrap();
    leaf_of(&client)
}

#[test]
fn a_client_without_sni_is_shown_the_first_certificate() {
    let scene = Scene::new(&[("ip", Leaf::for_names(&["127.0.0.1"])), ("b", Leaf::for_names(&["b.test"]))]);
    let (mut client, mut server) =
        connect(scene.modern_client(), "127.0.0.1", &scene.config(TlsVersion::V1_2, Http2::Offer));
    shake(&mut client, &mut server).unwrap();
    assert_eq!(server.server_name(), None);
    assert_eq!(leaf_of(&client), leaf_in(&scene, "127.0.0.1"));
}

#[test]
fn a_swap_changes_the_next_handshake_and_leaves_open_connections_alone() {
    use std::io::{Read, Write};

    let scene = Scene::new(&[("old", Leaf::for_names(&["a.test"]))]);
    let config = scene.config(TlsVersion::V1_2, Http2::Offer);
    let (mut client, mut server) = connect(scene.modern_client(), "a.test", &config);
    shake(&mut client, &mut server).unwrap();
    let old = leaf_in(&scene, "a.test");
    scene.replace(&[("new", Leaf::for_names(&["a.test"]))]);

    client.writer().write_all(b"still here").unwrap();
    shake(&mut client, &mut server).unwrap();
    let mut heard = [0; 10];
    server.reader().read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"still here");

    let (mut client, mut server) = connect(scene.modern_client(), "a.test", &config);
    shake(&mut client, &mut server).unwrap();
    assert_ne!(leaf_of(&client), old);
    assert_eq!(leaf_of(&client), leaf_in(&scene, "a.test"));
}

#[test]
fn a_client_of_an_older_version_than_the_minimum_is_refused() {
    let scene = Scene::new(&[("a", Leaf::for_names(&["a.test"]))]);
    let old = || scene.client(rustls::crypto::aws_lc_rs::default_provider(), &[&rustls::version::TLS12]);
    let (mut client, mut server) = connect(old(), "a.test", &scene.config(TlsVersion::V1_3, Http2::Offer));
    let error = shake(&mut client, &mut server).unwrap_err();
    assert!(matches!(error, rustls::Error::PeerIncompatible(_)), "{error}");

    let (mut client, mut server) = connect(old(), "a.test", &scene.config(TlsVersion::V1_2, Http2::Offer));
    shake(&mut client, &mut server).unwrap();
    let facts = TlsFacts::of(&server).unwrap();
    assert_eq!(facts.version, "TLSv1.2");
    assert_eq!(facts.cipher, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384");
}

#[test]
fn a_client_whose_suites_know_only_rsa_gets_the_rsa_certificate() {
    let scene = Scene::new(&[
        ("ecdsa", Leaf::for_names(&["a.test"])),
        ("rsa", Leaf { key: Key::Rsa, ..Leaf::for_names(&["a.test"]) }),
    ]);
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| suite.suite().as_str().is_some_and(|name| name.contains("RSA_WITH")));
    let config = scene.client(provider, &[&rustls::version::TLS12]);
    let (mut client, mut server) = connect(config, "a.test", &scene.config(TlsVersion::V1_2, Http2::Offer));
    shake(&mut client, &mut server).unwrap();
    assert!(TlsFacts::of(&server).unwrap().cipher.contains("_RSA_"));
    let (mut client, mut server) =
        connect(scene.modern_client(), "a.test", &scene.config(TlsVersion::V1_2, Http2::Offer));
    shake(&mut client, &mut server).unwrap();
    assert_eq!(leaf_of(&client), leaf_in(&scene, "a.test"));
}

#[test]
fn a_returning_client_resumes_even_at_a_listener_that_was_rebuilt() {
    let scene = Scene::new(&[("a", Leaf::for_names(&["a.test"]))]);
    for versions in [&[&rustls::version::TLS12][..], &[&rustls::version::TLS13][..]] {
        let client_config = scene.client(rustls::crypto::aws_lc_rs::default_provider(), versions);
        for expected in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed] {
            let rebuilt = scene.config(TlsVersion::V1_2, Http2::Offer);
            let (mut client, mut server) = connect(client_config.clone(), "a.test", &rebuilt);
            shake(&mut client, &mut server).unwrap();
            assert_eq!(server.handshake_kind(), Some(expected));
        }
    }
}

mod accept_any {
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{DigitallySignedStruct, Error, SignatureScheme};

    #[derive(Debug)]
    pub struct AcceptAny;

    impl ServerCertVerifier for AcceptAny {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256]
        }
    }
}

#[test]
fn a_staple_stays_with_its_certificate_and_leaves_with_it() {
    let scene = Scene::new(&[]);
    let files = |leaves: &[&str]| -> Vec<_> {
        leaves.iter().map(|name| scene.files.loaded(&scene.authority, name, &Leaf::for_names(&[name]))).collect()
    };
    let (resolver, loaded) = (scene.server.certificates(), files(&["a.test", "b.test"]));
    let leaf = loaded[0].key().cert[0].clone();
    let shown = |host: &str| resolver.store().covering(host).unwrap().key().ocsp.clone();
    resolver.replace_files(loaded.clone());
    resolver.staple([(leaf.clone(), vec![1, 2, 3])].into());
    assert_eq!((shown("a.test"), shown("b.test")), (Some(vec![1, 2, 3]), None));
    resolver.replace_files(loaded[..1].to_vec());
    assert_eq!(shown("a.test"), Some(vec![1, 2, 3]), "a swap of the same certificate");
    resolver.replace_files(files(&["a.test"]));
    assert_eq!(shown("a.test"), None, "it is another one now");
    resolver.replace_files(loaded);
    resolver.staple(std::collections::HashMap::new());
    assert_eq!(shown("a.test"), None);
}
