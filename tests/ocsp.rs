//! OCSP stapling against a real responder: what clients are shown, and what they are not.

mod support;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rcgen::{CertificateParams, CustomExtension, ExtendedKeyUsagePurpose};
use support::{Authority, Identity, Origin, Process, Weir, eventually, free_address, holds_for};

/// Of the leaf, as the responder's index knows it.
const SERIAL: u8 = 0x4d;

struct Fixture {
    folder: tempfile::TempDir,
    authority: Authority,
    origin: Origin,
    https: SocketAddr,
    responder: SocketAddr,
}

impl Fixture {
    fn new() -> Fixture {
        let fixture = Fixture {
            folder: tempfile::tempdir().unwrap(),
            authority: Authority::new("authority"),
            origin: Origin::named("origin"),
            https: free_address(),
            responder: free_address(),
        };
        let url = format!("http://{}/", fixture.responder);
        let leaf = fixture.authority.issue_with(&["a.test"], |params| {
            params.serial_number = Some(vec![SERIAL].into());
            params.custom_extensions.push(names_responder(&url));
        });
        let chain = Identity { cert: leaf.cert + &fixture.authority.pem(), key: leaf.key };
        chain.write(fixture.folder.path(), "a");
        std::fs::write(fixture.path("ca.crt"), fixture.authority.pem()).unwrap();
        std::fs::write(fixture.path("ca.key"), fixture.authority.key_pem()).unwrap();
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, top: &str) -> String {
        format!(
            "{top}\nlisteners:\n  https: {{ address: \"{}\", tls: {{}} }}\n\
             certificates: [{{ file: {{ cert: {folder}/a.crt, key: {folder}/a.key }} }}]\n{}",
            self.https,
            Weir::forwarding_to(&[self.origin.address], ""),
            folder = self.folder.path().display(),
        )
    }

    /// A responder that knows the leaf by this line of its index, and signs as `signer`.
    fn responder(&self, index: &str, signer: &str) -> Process {
        std::fs::write(self.path("index.txt"), index).unwrap();
        let mut command = Command::new("openssl");
        command.args(["ocsp", "-port", &self.responder.port().to_string(), "-nmin", "60", "-index"]);
        command.arg(self.path("index.txt")).arg("-CA").arg(self.path("ca.crt"));
        command.arg("-rsigner").arg(self.path(&format!("{signer}.crt")));
        command.arg("-rkey").arg(self.path(&format!("{signer}.key")));
        let responder = Process::start(command, &self.path("responder.log"));
        // It cannot be tried: a connection without a request stops it for good.
        eventually("the responder listens", || responder.log().contains("waiting for OCSP").then_some(()));
        responder
    }

    /// What a client that asks for it is shown.
    fn shown(&self) -> String {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &self.https.to_string(), "-servername", "a.test", "-status"])
            .stdin(Stdio::null())
            .output()
            .expect("openssl is installed");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn staple(&self) -> Option<String> {
        let shown = self.shown();
        assert!(shown.contains("CONNECTED") && shown.contains("OCSP response"), "{shown}");
        (!shown.contains("OCSP response: no response sent")).then_some(shown)
    }
}

/// Authority information access: OCSP at a URL of fewer than a hundred bytes.
fn names_responder(url: &str) -> CustomExtension {
    let item = |tag: u8, content: &[u8]| [&[tag, u8::try_from(content.len()).unwrap()], content].concat();
    let ocsp = item(0x06, &[0x2b, 6, 1, 5, 5, 7, 0x30, 1]);
    let access = item(0x30, &[ocsp, item(0x86, url.as_bytes())].concat());
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], item(0x30, &access))
}

fn valid() -> String {
    format!("V\t350101000000Z\t\t{SERIAL:02X}\tunknown\t/CN=a.test\n")
}

#[test]
fn a_good_answer_is_stapled_until_it_is_switched_off() {
    let fixture = Fixture::new();
    let _responder = fixture.responder(&valid(), "ca");
    let weir = Weir::start(&fixture.file(""));
    let shown = eventually("a staple", || fixture.staple());
    assert!(shown.contains("OCSP Response Status: successful"), "{shown}");
    assert!(shown.contains("Cert Status: good"), "{shown}");

    // The same certificate, given anew.
    weir.reload(&fixture.file("# changed"));
    assert!(fixture.staple().is_some(), "it stays with its certificate");
    weir.reload(&fixture.file("ocsp-stapling: off"));
    assert!(fixture.staple().is_none());
    weir.reload(&fixture.file("ocsp-stapling: on"));
    eventually("a staple again", || fixture.staple());
}

#[test]
fn a_delegate_of_the_authority_is_believed_and_anybody_else_is_not() {
    let fixture = Fixture::new();
    let signer = |name: &str, change: fn(&mut CertificateParams)| {
        fixture.authority.issue_with(&[name], change).write(fixture.folder.path(), name);
    };
    signer("delegate", |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning]);
    signer("impostor", |_| {});

    let impostor = fixture.responder(&valid(), "impostor");
    let weir = Weir::start(&fixture.file(""));
    eventually("the log tells why", || weir.log().contains("neither by the certificate's issuer").then_some(()));
    assert!(fixture.staple().is_none());
    drop(impostor);

    let _delegate = fixture.responder(&valid(), "delegate");
    // Does not wait for the next attempt.
    weir.reload(&fixture.file("ocsp-stapling: off"));
    weir.reload(&fixture.file("ocsp-stapling: on"));
    let shown = eventually("a staple", || fixture.staple());
    assert!(shown.contains("Cert Status: good"), "{shown}");
}

#[test]
fn a_revoked_certificate_is_an_error_in_the_log_and_no_staple() {
    let fixture = Fixture::new();
    let revoked = format!("R\t350101000000Z\t260101000000Z\t{SERIAL:02X}\tunknown\t/CN=a.test\n");
    let _responder = fixture.responder(&revoked, "ca");
    let weir = Weir::start(&fixture.file(""));
    let is_told = |line: &str| line.contains("ERROR") && line.contains("has revoked this certificate");
    eventually("the log tells", || weir.log().lines().any(is_told).then_some(()));
    assert!(fixture.staple().is_none());
}

#[test]
fn a_responder_that_is_not_there_costs_no_client_anything() {
    let fixture = Fixture::new();
    let weir = Weir::start(&fixture.file(""));
    eventually("the log tells", || weir.log().contains("no OCSP answer to staple").then_some(()));
    assert!(fixture.staple().is_none());
    let (_, status) = fixture.authority.client().visit(fixture.https, "a.test");
    assert_eq!(status, Some(200));
}

#[test]
fn nobody_is_asked_where_it_is_off() {
    let fixture = Fixture::new();
    let listener = std::net::TcpListener::bind(fixture.responder).unwrap();
    listener.set_nonblocking(true).unwrap();
    let _weir = Weir::start(&fixture.file("ocsp-stapling: off"));
    assert!(fixture.staple().is_none());
    holds_for(std::time::Duration::from_millis(300), "nobody asks", || listener.accept().is_err());
}
