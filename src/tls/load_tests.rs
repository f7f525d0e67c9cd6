use std::path::PathBuf;

use super::*;
use crate::diagnostics::{Diagnostic, Origin, Severity};
use crate::tls::testing::{Authority, Files, Issued, Leaf, now};

fn model(cert: PathBuf, key: PathBuf) -> Certificate {
    let origin = Origin { file: "weir.yaml".into(), line: 9, column: 5, length: 4 };
    Certificate { origin, source: CertificateSource::File { cert, key }, usage: Default::default() }
}

/// The one finding, and how many certificates were loaded all the same.
fn only_finding(certificate: Certificate) -> (Diagnostic, usize) {
    let (loaded, diagnostics) = load_certificates(&[certificate], &Material::OnDisk, now());
    let found: Vec<_> = diagnostics.iter().cloned().collect();
    assert_eq!(found.len(), 1, "{found:?}");
    (found.into_iter().next().unwrap(), loaded.len())
}

fn issue(until: (i32, u8, u8)) -> Issued {
    Authority::new().issue(&Leaf { until, ..Leaf::for_names(&["a.test"]) })
}

fn assert_text(diagnostic: &Diagnostic, severity: Severity, parts: &[&str]) {
    let text = diagnostic.to_string();
    assert_eq!(diagnostic.severity, severity, "{text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

#[test]
fn a_good_certificate_is_loaded_with_its_names_and_without_a_finding() {
    let files = Files::new();
    let issued = Authority::new().issue(&Leaf::for_names(&["A.test", "*.b.test", "127.0.0.1"]));
    let (loaded, diagnostics) = load_certificates(&[files.certificate("good", &issued)], &Material::OnDisk, now());
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let names: Vec<_> = loaded[0].names().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["a.test", "*.b.test", "127.0.0.1"]);
    assert!(loaded[0].issuer().contains("Test authority"));
    assert_eq!(Timestamp::from(loaded[0].not_after()).rfc3339(), "2100-01-01T00:00:00Z");
}

#[test]
fn both_unreadable_files_are_reported_at_the_origin_with_the_reason() {
    let files = Files::new();
    let (loaded, diagnostics) =
        load_certificates(&[model(files.path("no.crt"), files.path("no.key"))], &Material::OnDisk, now());
    let texts: Vec<_> = diagnostics.iter().map(ToString::to_string).collect();
    assert!(loaded.is_empty());
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].starts_with("weir.yaml:9:5: error: certificates[0].file.cert: cannot read "), "{texts:?}");
    assert!(texts[0].ends_with("no.crt: there is no such file"), "{texts:?}");
    assert!(texts[1].contains("certificates[0].file.key") && texts[1].contains("no.key"), "{texts:?}");
}

#[test]
fn a_broken_certificate_leaves_its_siblings_alone() {
    let files = Files::new();
    let good = files.certificate("good", &issue((2100, 1, 1)));
    let (loaded, diagnostics) =
        load_certificates(&[model(files.path("x"), files.path("y")), good], &Material::OnDisk, now());
    assert_eq!((loaded.len(), diagnostics.count(Severity::Error)), (1, 2));
}

#[test]
fn exchanged_files_are_recognized() {
    let files = Files::new();
    let issued = issue((2100, 1, 1));
    let (cert, key) = (files.write("a.crt", &issued.cert_pem), files.write("a.key", &issued.key_pem));
    let (_, diagnostics) = load_certificates(&[model(key, cert)], &Material::OnDisk, now());
    let texts: Vec<_> = diagnostics.iter().map(ToString::to_string).collect();
    assert!(texts[0].contains("there is no certificate in") && texts[0].contains("exchanged?"), "{texts:?}");
    assert!(texts[1].contains("there is no private key in") && texts[1].contains("exchanged?"), "{texts:?}");
}

#[test]
fn an_encrypted_key_is_told_how_to_be_decrypted() {
    let files = Files::new();
    let cert = files.write("a.crt", &issue((2100, 1, 1)).cert_pem);
    let key =
        files.write("a.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
    let (diagnostic, loaded) = only_finding(model(cert, key));
    assert_text(&diagnostic, Severity::Error, &["there is no private key", "openssl pkey"]);
    assert_eq!(loaded, 0);
}

#[test]
fn a_key_of_another_certificate_is_refused_and_both_files_are_named() {
    let files = Files::new();
    let cert = files.write("a.crt", &issue((2100, 1, 1)).cert_pem);
    let key = files.write("b.key", &issue((2100, 1, 1)).key_pem);
    let (diagnostic, loaded) = only_finding(model(cert, key));
    assert_text(&diagnostic, Severity::Error, &["b.key does not match the certificate in", "a.crt", "issued for"]);
    assert_eq!(loaded, 0);
}

#[test]
fn a_leaf_that_does_not_come_first_is_named_as_the_cause() {
    let files = Files::new();
    let authority = Authority::new();
    let issued = authority.issue(&Leaf::for_names(&["a.test"]));
    let cert = files.write("a.crt", &format!("{}{}", authority.pem, issued.cert_pem));
    let (diagnostic, _) = only_finding(model(cert, files.write("a.key", &issued.key_pem)));
    assert_text(&diagnostic, Severity::Error, &["it matches a later certificate", "must come first"]);
}

#[test]
fn a_chain_out_of_order_is_served_with_a_warning() {
    let files = Files::new();
    let issued = issue((2100, 1, 1));
    let stranger = issue((2100, 1, 1)).cert_pem;
    let cert = files.write("a.crt", &format!("{}{stranger}", issued.cert_pem));
    let (diagnostic, loaded) = only_finding(model(cert, files.write("a.key", &issued.key_pem)));
    assert_text(&diagnostic, Severity::Warning, &["certificate 1 of", "was not issued by the next one"]);
    assert_eq!(loaded, 1);
}

#[test]
fn expired_and_soon_expiring_certificates_are_served_with_a_warning() {
    let files = Files::new();
    let expired = files.certificate("old", &issue((2026, 2, 1)));
    let (diagnostic, loaded) = only_finding(expired);
    assert_text(&diagnostic, Severity::Warning, &["expired on 2026-02-01T00:00:00Z", "served all the same"]);
    assert_eq!(loaded, 1);
    let (diagnostic, loaded) = only_finding(files.certificate("soon", &issue((2026, 3, 10))));
    assert_text(&diagnostic, Severity::Warning, &["expires soon, on 2026-03-10T00:00:00Z", "renew it"]);
    assert_eq!(loaded, 1);
}

#[test]
fn the_common_name_counts_only_without_alternative_names_and_with_a_warning() {
    let files = Files::new();
    let leaf = Leaf { common_name: "cn.test", ..Leaf::for_names(&[]) };
    let certificate = files.certificate("cn", &Authority::new().issue(&leaf));
    let (loaded, diagnostics) = load_certificates(&[certificate], &Material::OnDisk, now());
    assert_eq!(loaded[0].names()[0].to_string(), "cn.test");
    let text = diagnostics.iter().next().unwrap().to_string();
    assert!(text.contains("has no subject alternative name"), "{text}");
}

#[test]
fn no_debug_text_holds_the_key() {
    let files = Files::new();
    let issued = issue((2100, 1, 1));
    let (loaded, _) = load_certificates(&[files.certificate("a", &issued)], &Material::OnDisk, now());
    let text = format!("{loaded:?}");
    assert!(text.contains("a.test") && !text.contains("key") && !text.contains("chain"), "{text}");
}
