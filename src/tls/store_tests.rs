use super::*;
use crate::tls::testing::{Authority, Files, Key, Leaf, now};

const ANY: &[SignatureScheme] = &[SignatureScheme::RSA_PSS_SHA256, SignatureScheme::ECDSA_NISTP256_SHA256];
const RSA_ONLY: &[SignatureScheme] = &[SignatureScheme::RSA_PSS_SHA256];

/// The stem of the file that is served.
fn selected(store: &CertificateStore, sni: &str, offered: &[SignatureScheme]) -> Option<String> {
    let certificate = store.select(sni, offered, now())?;
    let stem = std::path::Path::new(&**certificate.source()).file_stem()?.to_str()?;
    Some(stem.to_owned())
}

fn store(leaves: &[(&str, Leaf)]) -> CertificateStore {
    let (files, authority) = (Files::new(), Authority::new());
    CertificateStore::new(leaves.iter().map(|(name, leaf)| files.loaded(&authority, name, leaf)).collect())
}

#[test]
fn an_exact_name_beats_a_wildcard_and_a_wildcard_takes_one_label() {
    let store = store(&[("wildcard", Leaf::for_names(&["*.a.test"])), ("exact", Leaf::for_names(&["x.a.test"]))]);
    assert_eq!(selected(&store, "x.a.test", ANY).as_deref(), Some("exact"));
    assert_eq!(selected(&store, "y.a.test", ANY).as_deref(), Some("wildcard"));
    assert_eq!(selected(&store, "a.test", ANY), None);
    assert_eq!(selected(&store, "x.y.a.test", ANY), None);
}

#[test]
fn of_several_the_valid_one_with_the_longest_life_is_served() {
    let until = |until| Leaf { until, ..Leaf::for_names(&["a.test"]) };
    let store =
        store(&[("short", until((2027, 1, 1))), ("long", until((2028, 1, 1))), ("expired", until((2026, 1, 1)))]);
    assert_eq!(selected(&store, "a.test", ANY).as_deref(), Some("long"));
}

#[test]
fn a_valid_wildcard_beats_an_expired_exact_name() {
    let store = store(&[
        ("exact", Leaf { until: (2026, 1, 1), ..Leaf::for_names(&["x.a.test"]) }),
        ("wildcard", Leaf::for_names(&["*.a.test"])),
    ]);
    assert_eq!(selected(&store, "x.a.test", ANY).as_deref(), Some("wildcard"));
}

#[test]
fn of_two_equal_certificates_the_first_of_the_model_is_served() {
    let store = store(&[("first", Leaf::for_names(&["a.test"])), ("second", Leaf::for_names(&["a.test"]))]);
    assert_eq!(selected(&store, "a.test", ANY).as_deref(), Some("first"));
}

#[test]
fn elliptic_curves_are_preferred_and_rsa_serves_those_who_cannot() {
    let store = store(&[
        ("rsa", Leaf { key: Key::Rsa, ..Leaf::for_names(&["a.test"]) }),
        ("ecdsa", Leaf::for_names(&["a.test"])),
    ]);
    assert_eq!(selected(&store, "a.test", ANY).as_deref(), Some("ecdsa"));
    assert_eq!(selected(&store, "a.test", RSA_ONLY).as_deref(), Some("rsa"));
}

#[test]
fn a_request_is_misdirected_only_where_the_connections_certificate_does_not_cover_its_host() {
    let store = store(&[
        ("pair", Leaf::for_names(&["a.test", "b.test"])),
        ("wildcard", Leaf::for_names(&["*.c.test"])),
        ("own", Leaf::for_names(&["own.c.test"])),
    ]);
    assert!(!store.misdirected(Some("a.test"), "a.test"));
    assert!(!store.misdirected(Some("a.test"), "b.test"));
    assert!(!store.misdirected(Some("x.c.test"), "own.c.test"));
    assert!(store.misdirected(Some("a.test"), "x.c.test"));
    assert!(store.misdirected(Some("a.test"), "unknown.test"));
    // Both would be shown the self-signed one.
    assert!(!store.misdirected(Some("unknown.test"), "other.test"));
    assert!(store.misdirected(Some("unknown.test"), "a.test"));
    assert!(!store.misdirected(None, "a.test"));
}

#[test]
fn a_summary_tells_names_key_and_validity() {
    let store = store(&[("old", Leaf { until: (2026, 1, 1), ..Leaf::for_names(&["a.test", "*.a.test"]) })]);
    let json = serde_json::to_value(store.summaries(now())).unwrap();
    assert_eq!(json[0]["names"], serde_json::json!(["a.test", "*.a.test"]));
    assert_eq!(json[0]["key"], "ECDSA");
    assert_eq!(json[0]["not_after"], "2026-01-01T00:00:00Z");
    assert_eq!(json[0]["validity"], "expired");
    assert_eq!(store.validities()[0].1, store.first().unwrap().validity());
}
