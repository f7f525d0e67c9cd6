//! Certificates of clients, and names of hosts.

use crate::stage::{Draft, Echo, NAMESPACE, Site, authority, stage};
use crate::support::{Authority, H2Client, Identity, TlsClient};

const H1: &[&[u8]] = &[b"http/1.1"];

fn showing(identity: &Identity) -> TlsClient {
    TlsClient::showing(identity, authority(), H1)
}

fn stranger() -> TlsClient {
    authority().client()
}

/// With the Secret of that name, which holds the authority.
fn asking(name: &str, clients: &Authority) -> Draft {
    stage().secret(name, &[("ca.crt", &clients.pem())]);
    stage().draft(name).with("auth-tls-secret", &format!("{NAMESPACE}/{name}")).tls()
}

/// Percent-encoded, as nginx does it.
fn escaped(pem: &str) -> String {
    let text = pem.replace("\r\n", "\n");
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(escape).collect()
}

const FORGED: &str =
    "ssl-client-verify: SUCCESS\r\nssl-client-subject-dn: CN=forged\r\nssl_client_issuer_dn: CN=forged\r\n";

#[test]
fn clients_must_show_a_certificate_of_the_authority() {
    let clients = Authority::new("clients");
    let draft = asking("shown", &clients).with("auth-tls-verify-client", "on");
    let site = draft.with("auth-tls-pass-certificate-to-upstream", "true").serve();
    let member = clients.issue(&["member"]);
    let echo = Echo::of(&site.say_as(&showing(&member), "/", FORGED));
    assert_eq!(echo.header("ssl-client-verify"), Some("SUCCESS"));
    assert_eq!(echo.header("ssl-client-subject-dn"), Some("CN=member"));
    assert_eq!(echo.header("ssl-client-issuer-dn"), Some("CN=clients"));
    assert_eq!(
        (echo.header("ssl-client-cert"), echo.header("ssl_client_issuer_dn")),
        (Some(&*escaped(&member.cert)), None)
    );
    let nobody = site.get_as(&stranger(), "/");
    assert_eq!(nobody.status, 400);
    assert!(nobody.text().contains("No required SSL certificate was sent"), "{}", nobody.text());
    let other = site.get_as(&showing(&Authority::new("others").issue(&["member"])), "/");
    assert_eq!(other.status, 400);
    assert!(other.text().contains("The SSL certificate error"), "{}", other.text());
    let mut h2 = H2Client::tls(site.weir.https, &site.host, &TlsClient::trusting(authority(), &[b"h2"]));
    assert_eq!(h2.get(&site.host, "/").status, 400);
}

#[test]
fn a_certificate_may_be_missing_or_anyone_s() {
    let clients = Authority::new("clients");
    let other = Authority::new("others").issue(&["member"]);
    let optional = asking("maybe-shown", &clients).with("auth-tls-verify-client", "optional").serve();
    let echo = Echo::of(&optional.say_as(&stranger(), "/", FORGED));
    assert_eq!((echo.header("ssl-client-verify"), echo.header("ssl-client-subject-dn")), (Some("NONE"), None));
    assert_eq!(optional.get_as(&showing(&other), "/").status, 400);
    let member = Echo::of(&optional.get_as(&showing(&clients.issue(&["member"])), "/"));
    assert_eq!((member.header("ssl-client-verify"), member.header("ssl-client-cert")), (Some("SUCCESS"), None));

    let anyone = asking("shown-by-anyone", &clients).with("auth-tls-verify-client", "optional_no_ca").serve();
    let echo = Echo::of(&anyone.get_as(&showing(&other), "/"));
    assert_eq!(echo.header("ssl-client-verify"), Some("FAILED:unable to verify the first certificate"));
    assert_eq!(echo.header("ssl-client-subject-dn"), Some("CN=member"));
    let expired = clients.issue_with(&["member"], |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    assert_eq!(anyone.get_as(&showing(&expired), "/").status, 400);
    assert_eq!(Echo::of(&anyone.get_as(&stranger(), "/")).header("ssl-client-verify"), Some("NONE"));
}

#[test]
fn only_some_names_come_in_and_others_are_shown_the_way() {
    let clients = Authority::new("clients");
    let draft = asking("by-name", &clients).with("auth-tls-match-cn", "CN=(ann|bob)$");
    let site = draft.with("auth-tls-error-page", "https://help.test/certificates").serve();
    assert_eq!(site.get_as(&showing(&clients.issue(&["bob"])), "/").status, 200);
    assert_eq!(site.get_as(&showing(&clients.issue(&["eve"])), "/").status, 403);
    let shown = site.get_as(&stranger(), "/");
    assert_eq!((shown.status, shown.header("location")), (302, Some("https://help.test/certificates")));
}

#[test]
fn a_host_without_its_authority_serves_nobody() {
    let site = stage().draft("unverified").with("auth-tls-secret", "nowhere").tls().serve();
    assert_eq!(site.get_as(&stranger(), "/").status, 403);
    assert_eq!(site.get("/").status, 403);
}

#[test]
fn tls_1_2_is_spoken_with_the_suites_of_the_ingress_in_its_order() {
    let suites = "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256:!aNULL";
    let draft = stage().draft("ciphered").with("ssl-ciphers", suites).with("ssl-prefer-server-ciphers", "true");
    let site = draft.tls().serve();
    let agreed = |offered: &str| {
        let output = std::process::Command::new("openssl")
            .args(["s_client", "-connect", &site.weir.https.to_string(), "-servername", &site.host])
            .args(["-tls1_2", "-cipher", offered])
            .stdin(std::process::Stdio::null())
            .output()
            .expect("openssl starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().find_map(|line| line.trim().strip_prefix("Cipher    : ")).unwrap_or("none").to_owned()
    };
    assert_eq!(agreed("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305"), "ECDHE-ECDSA-CHACHA20-POLY1305");
    assert_eq!(agreed("ECDHE-ECDSA-AES128-GCM-SHA256"), "ECDHE-ECDSA-AES128-GCM-SHA256");
    assert!(["none", "0000"].contains(&&*agreed("ECDHE-ECDSA-AES256-GCM-SHA384")));
}

#[test]
fn a_host_has_more_names() {
    let site = stage().draft("named").with("server-alias", "alias.test, other-alias.test").serve();
    for host in ["named.test", "alias.test", "other-alias.test"] {
        let site = Site { weir: site.weir, host: host.into() };
        assert_eq!(site.echo("/").header("host"), Some(host));
    }
}
