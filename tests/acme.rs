//! Certificates from a real ACME authority (Pebble): ordered, served, renewed, shared.

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use support::{Origin, Pebble, PebbleSettings, Signal, TlsClient, Weir, eventually, request, weir_command};

/// An authority, and the ports where it looks.
struct Scene {
    pebble: Pebble,
    origin: Origin,
    http: SocketAddr,
    https: SocketAddr,
}

impl Scene {
    fn new(settings: PebbleSettings) -> Scene {
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let (http, https) = (at(settings.http_port), at(settings.tls_port));
        Scene { pebble: Pebble::start(settings), origin: Origin::named("origin"), http, https }
    }

    /// A file with these keys under `acme`, and these certificates.
    fn file(&self, acme: &str, certificates: &[&str]) -> String {
        let (http, https) = (self.http, self.https);
        let listeners = format!(
            "listeners:\n  http: {{ address: \"{http}\", filters: [https-redirect, {{ deny: [127.0.0.1] }}] }}\n  \
             https: {{ address: \"{https}\", tls: {{}} }}\n"
        );
        let list: String = certificates.iter().map(|entry| format!("  - acme: {{ {entry} }}\n")).collect();
        let list = if list.is_empty() { String::new() } else { format!("certificates:\n{list}") };
        let routes = Weir::forwarding_to(&[self.origin.address], "");
        format!("{listeners}{}{list}{routes}", self.pebble.keys(acme))
    }

    fn weir(&self, acme: &str, certificates: &[&str]) -> Weir {
        Weir::start(&self.file(acme, certificates))
    }

    /// Waits until a client that trusts the authority alone is served for `name`; the certificate that it was shown.
    #[track_caller]
    fn served(&self, name: &str) -> Vec<u8> {
        let client = self.pebble.client();
        eventually(&format!("a certificate for {name} is served"), || {
            let mut connection = client.connect(self.https, name).ok()?;
            connection.write(format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n"));
            assert_eq!(connection.read_response().text(), "origin");
            Some(client.certificate_for(self.https, name))
        })
    }

    fn shown(&self, name: &str) -> Vec<u8> {
        TlsClient::trusting_anyone(&[b"http/1.1"]).certificate_for(self.https, name)
    }
}

fn names_of(leaf: &[u8]) -> Vec<String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf).expect("a certificate");
    let extension = parsed.subject_alternative_name().expect("it can be read").expect("it has names");
    let mut names: Vec<_> = extension.value.general_names.iter().map(ToString::to_string).collect();
    names.sort();
    names
}

fn certs(weir: &Weir, arguments: &[&str]) -> (bool, String) {
    let output = weir_command().arg("certs").args(arguments).args(["--admin", &weir.admin.to_string()]).output();
    let output = output.expect("weir certs runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

#[test]
fn http_01_is_answered_before_redirects_and_access_lists_and_the_certificate_is_served() {
    let scene = Scene::new(PebbleSettings::default());
    let weir = scene.weir("", &["domains: [a.test, www.a.test]"]);
    let leaf = scene.served("a.test");
    assert_eq!(scene.served("www.a.test"), leaf, "one certificate for both");
    assert_eq!(names_of(&leaf), ["DNSName(a.test)", "DNSName(www.a.test)"]);
    assert_eq!(request(scene.http, "GET", "/").host("a.test").send().status, 403, "for others nothing changed");
    let unknown = request(scene.http, "GET", "/.well-known/acme-challenge/unknown").host("a.test").send();
    assert_eq!(unknown.status, 403, "a token that is not ours is routed as ever");
    assert!(std::fs::read_dir(weir.folder().join("acme/challenges")).unwrap().next().is_none(), "answers are taken back");
    assert_eq!(weir.metric("weir_acme_orders_total", &["certificate=\"a.test\"", "result=\"issued\""]), Some(1.0));
    assert!(weir.metric("weir_certificate_not_after_seconds", &["certificate=\"acme/a.test\""]).unwrap() > 1.7e9);
}
