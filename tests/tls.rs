//! TLS towards clients: which certificate, which versions, and what happens when files change.

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use support::{Authority, Connection, Identity, Origin, TlsClient, Weir, eventually, free_address};

/// A Weir whose TLS listener has these keys, in front of `origin`.
fn weir_with(https: SocketAddr, listener_keys: &str, certificates: &[&Path], origin: &Origin) -> Weir {
    let certificates: String = certificates
        .iter()
        .map(|stem| format!("  - file: {{ cert: {0}.crt, key: {0}.key }}\n", stem.display()))
        .collect();
    let certificates = if certificates.is_empty() { String::new() } else { format!("certificates:\n{certificates}") };
    Weir::start(&format!(
        "listeners:\n  https:\n    address: \"{https}\"\n{}{certificates}{}",
        support::indent(listener_keys, 4),
        Weir::forwarding_to(&[origin.address], "")
    ))
}

struct Fixture {
    folder: tempfile::TempDir,
    authority: Authority,
    origin: Origin,
    https: SocketAddr,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture {
            folder: tempfile::tempdir().unwrap(),
            authority: Authority::new("test"),
            origin: Origin::named("origin"),
            https: free_address(),
        }
    }

    /// Issues a certificate and writes it as `NAME.crt` and `NAME.key`.
    fn certificate(&self, name: &str, dns_names: &[&str]) -> Identity {
        let identity = self.authority.issue(dns_names);
        identity.write(self.folder.path(), name);
        identity
    }

    fn weir(&self, listener_keys: &str, certificates: &[&str]) -> Weir {
        let stems: Vec<_> = certificates.iter().map(|name| self.folder.path().join(name)).collect();
        let stems: Vec<_> = stems.iter().map(|stem| stem.as_path()).collect();
        weir_with(self.https, listener_keys, &stems, &self.origin)
    }

    fn shown(&self, name: &str) -> Vec<u8> {
        TlsClient::trusting_anyone(&[b"http/1.1"]).certificate_for(self.https, name)
    }
}

#[test]
fn the_name_that_is_asked_for_chooses_the_certificate() {
    let fixture = Fixture::new();
    let exact = fixture.certificate("exact", &["www.a.test", "a.test"]);
    let wild = fixture.certificate("wild", &["*.a.test"]);
    let other = fixture.certificate("other", &["b.test"]);
    let _weir = fixture.weir("tls: {}", &["wild", "exact", "other"]);
    for (name, certificate) in
        [("a.test", &exact), ("www.a.test", &exact), ("WWW.A.test", &exact), ("api.a.test", &wild), ("b.test", &other)]
    {
        assert_eq!(fixture.shown(name), certificate.der(), "{name}");
    }
    let mut connection = fixture.authority.client().connect(fixture.https, "api.a.test").unwrap();
    connection.write("GET / HTTP/1.1\r\nHost: api.a.test\r\n\r\n");
    assert_eq!(connection.read_response().text(), "origin");
}

#[test]
fn a_wildcard_covers_one_label() {
    let fixture = Fixture::new();
    let wild = fixture.certificate("wild", &["*.a.test"]);
    let _weir = fixture.weir("tls: {}", &["wild"]);
    assert_eq!(fixture.shown("x.a.test"), wild.der());
    assert_ne!(fixture.shown("x.y.a.test"), wild.der(), "RFC 9525 §6.3");
}

#[test]
fn where_no_certificate_fits_a_self_signed_one_is_shown_and_named_in_the_log() {
    let fixture = Fixture::new();
    let weir = fixture.weir("tls: {}", &[]);
    let shown = fixture.shown("nobody.test");
    let (_, parsed) = x509_parser::parse_x509_certificate(&shown).expect("a certificate");
    assert_eq!(parsed.issuer(), parsed.subject(), "it is self-signed");
    eventually("the log tells", || weir.log().contains("self-signed").then_some(()));

    assert!(
        fixture.authority.client().connect(fixture.https, "nobody.test").is_err(),
        "nobody takes it for a real one"
    );
}

#[test]
fn a_renewed_certificate_is_shown_without_a_restart() {
    let fixture = Fixture::new();
    let first = fixture.certificate("a", &["a.test"]);
    let _weir = fixture.weir("tls: {}", &["a"]);
    assert_eq!(fixture.shown("a.test"), first.der());
    let mut open = fixture.authority.client().connect(fixture.https, "a.test").unwrap();

    let second = fixture.certificate("a", &["a.test"]);
    eventually("the new certificate is shown", || (fixture.shown("a.test") == second.der()).then_some(()));
    open.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(open.read_response().status, 200, "who was connected stays so");
}

#[test]
fn a_renewed_certificate_is_shown_even_while_the_file_is_broken() {
    let fixture = Fixture::new();
    fixture.certificate("a", &["a.test"]);
    let weir = fixture.weir("tls: {}", &["a"]);
    let good = std::fs::read_to_string(weir.file()).unwrap();
    weir.write("hosts: [ unclosed\n");
    weir.wait_for_refusal("rejected");
    for name in ["second", "third"] {
        let renewed = fixture.certificate("a", &["a.test"]);
        eventually(&format!("the {name} one is shown"), || (fixture.shown("a.test") == renewed.der()).then_some(()));
    }
    weir.reload(&format!("{good}# mended\n"));
    assert!(weir.admin("/config/status").text().contains("applied"));
}

#[test]
fn certificate_files_behind_swapped_symlinks_are_followed() {
    // As Kubernetes mounts a Secret: NAME → ..data/NAME, ..data → a folder that is replaced whole.
    let fixture = Fixture::new();
    let folder = fixture.folder.path();
    let place = |version: &str| {
        let identity = fixture.authority.issue(&["a.test"]);
        std::fs::create_dir(folder.join(version)).unwrap();
        identity.write(&folder.join(version), "a");
        std::os::unix::fs::symlink(version, folder.join("..new")).unwrap();
        std::fs::rename(folder.join("..new"), folder.join("..data")).unwrap();
        identity
    };
    let first = place("v1");
    for file in ["a.crt", "a.key"] {
        std::os::unix::fs::symlink(format!("..data/{file}"), folder.join(file)).unwrap();
    }
    let _weir = fixture.weir("tls: {}", &["a"]);
    assert_eq!(fixture.shown("a.test"), first.der());
    let second = place("v2");
    eventually("the new certificate is shown", || (fixture.shown("a.test") == second.der()).then_some(()));
}

#[test]
fn a_broken_renewal_leaves_the_old_certificate_in_place() {
    let fixture = Fixture::new();
    let first = fixture.certificate("a", &["a.test"]);
    let weir = fixture.weir("tls: {}", &["a"]);
    let stranger = fixture.authority.issue(&["a.test"]);
    // A certificate that does not fit the key beside it.
    std::fs::write(fixture.folder.path().join("a.crt"), &stranger.cert).unwrap();
    weir.wait_for_refusal("a.crt");
    assert_eq!(fixture.shown("a.test"), first.der());
}

/// Whether openssl completes a handshake with this version flag.
fn handshakes(https: SocketAddr, version: &str) -> bool {
    Command::new("openssl")
        .args(["s_client", "-connect", &https.to_string(), "-servername", "a.test", version])
        .args(["-cipher", "DEFAULT:@SECLEVEL=0"])
        .stdin(Stdio::null())
        .output()
        .expect("openssl is installed")
        .status
        .success()
}

#[test]
fn versions_before_1_2_are_refused() {
    let fixture = Fixture::new();
    fixture.certificate("a", &["a.test"]);
    let _weir = fixture.weir("tls: {}", &["a"]);
    assert!(handshakes(fixture.https, "-tls1_3"));
    assert!(handshakes(fixture.https, "-tls1_2"));
    assert!(!handshakes(fixture.https, "-tls1_1"), "RFC 8996");
    assert!(!handshakes(fixture.https, "-tls1"), "RFC 8996");
}

#[test]
fn a_listener_can_insist_on_1_3() {
    let fixture = Fixture::new();
    fixture.certificate("a", &["a.test"]);
    let _weir = fixture.weir("tls: { min-version: \"1.3\" }", &["a"]);
    assert!(handshakes(fixture.https, "-tls1_3"));
    assert!(!handshakes(fixture.https, "-tls1_2"));
}

#[test]
fn a_client_that_never_begins_its_handshake_is_closed_in_time() {
    let fixture = Fixture::new();
    fixture.certificate("a", &["a.test"]);
    let _weir = fixture.weir("tls: {}\nlimits: { header-timeout: 300ms, idle-timeout: 1s }", &["a"]);
    Connection::open(fixture.https).assert_closed();

    let mut client = Connection::open(fixture.https);
    client.write([0x16, 0x03, 0x01, 0x02]);
    client.read_to_end();
}

#[test]
fn plain_http_on_a_tls_port_goes_nowhere() {
    let fixture = Fixture::new();
    fixture.certificate("a", &["a.test"]);
    let _weir = fixture.weir("tls: {}", &["a"]);
    let mut client = Connection::open(fixture.https);
    client.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    client.read_to_end();
    assert_eq!(fixture.origin.byte_count(), 0);
}

#[test]
fn a_session_is_resumed() {
    let fixture = Fixture::new();
    fixture.certificate("a", &["a.test"]);
    let _weir = fixture.weir("tls: {}", &["a"]);
    let session = fixture.folder.path().join("session");
    let run = |flag: &str| {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &fixture.https.to_string(), "-servername", "a.test", "-tls1_2", flag])
            .arg(&session)
            .stdin(Stdio::null())
            .output()
            .expect("openssl is installed");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(run("-sess_out").contains("\nNew, TLSv1.2"));
    let second = run("-sess_in");
    assert!(second.contains("\nReused, TLSv1.2"), "{second}");
}

#[test]
fn sessions_are_resumed_until_tickets_are_switched_off() {
    let fixture = Fixture::new();
    fixture.certificate("a", &["a.test"]);
    let weir = fixture.weir("tls: {}", &["a"]);
    let file = std::fs::read_to_string(weir.file()).unwrap();
    let clients = [&rustls::version::TLS12, &rustls::version::TLS13].map(|v| fixture.authority.client().speaking(v));
    for client in &clients {
        assert_eq!(client.visit(fixture.https, "a.test"), (false, Some(200)));
        assert_eq!(client.visit(fixture.https, "a.test"), (true, Some(200)));
    }
    weir.reload(&format!("session-tickets: off\n{file}"));
    for client in &clients {
        for _ in 0..2 {
            assert_eq!(client.visit(fixture.https, "a.test"), (false, Some(200)));
        }
    }
    weir.reload(&file);
    for client in &clients {
        client.visit(fixture.https, "a.test");
        assert_eq!(client.visit(fixture.https, "a.test"), (true, Some(200)));
    }
}

#[test]
fn clients_are_told_how_long_a_ticket_is_good_for() {
    let fixture = Fixture::new();
    fixture.certificate("a", &["a.test"]);
    let weir = fixture.weir("tls: {}", &["a"]);
    let hint = || {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &fixture.https.to_string(), "-servername", "a.test", "-tls1_2"])
            .stdin(Stdio::null())
            .output()
            .expect("openssl is installed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (_, rest) = text.split_once("lifetime hint: ")?;
        rest.split(' ').next()?.parse::<u32>().ok()
    };
    assert_eq!(hint(), Some(12 * 3600));
    let file = std::fs::read_to_string(weir.file()).unwrap();
    weir.reload(&format!("session-tickets: {{ rotate: 2h }}\n{file}"));
    assert_eq!(hint(), Some(2 * 3600));
}

#[test]
fn browsers_get_strict_transport_security_over_tls() {
    let fixture = Fixture::new();
    let identity = fixture.certificate("a", &["a.test"]);
    let stem = fixture.folder.path().join("a");
    let _weir = Weir::start(&format!(
        "listeners:\n  https:\n    address: \"{}\"\n    tls: {{}}\n    filters: [ security-headers ]\n\
         certificates:\n  - file: {{ cert: {1}.crt, key: {1}.key }}\n{2}",
        fixture.https,
        stem.display(),
        Weir::forwarding_to(&[fixture.origin.address], "")
    ));
    assert_eq!(fixture.shown("a.test"), identity.der());
    let mut connection = fixture.authority.client().connect(fixture.https, "a.test").unwrap();
    connection.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let answer = connection.read_response();
    assert!(answer.header("strict-transport-security").is_some_and(|value| value.starts_with("max-age=")));
}
