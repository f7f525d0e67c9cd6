//! What Ingresses ask issuers of Weir's for, and what is told of wishes that cannot be granted.

use std::time::Duration;

use super::cluster::cluster;
use crate::model::{ChallengeType, KeyType};
use crate::sources::kube::issuance::{Issuance, Issuer, issuance};
use crate::sources::kube::translate::translate;

/// An Ingress of `namespace/name`, the older the smaller `age`; `more` stands in its metadata, `spec` below `spec`.
fn ingress(key: &str, created: u32, annotations: &str, spec: &str) -> String {
    let (namespace, name) = key.split_once('/').unwrap();
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{ namespace: {namespace}, name: {name}, \
         creationTimestamp: \"2026-01-01T00:00:0{created}Z\", annotations: {{ {annotations} }} }}\nspec: {{ {spec} }}"
    )
}

const LETSENCRYPT: &str = "acme.weir/issuer: letsencrypt";

fn wanted(documents: &[String]) -> Issuance {
    let (state, settings) = cluster(&documents.join("\n---\n"));
    let issuers = ["letsencrypt", "staging,directory=letsencrypt-staging"].map(|text| Issuer::parse(text).unwrap());
    issuance(&state, &settings.class, &issuers)
}

fn shown(issuance: &Issuance) -> Vec<String> {
    let each = issuance.wanted.iter().map(|wanted| {
        let names: Vec<_> = wanted.domains.iter().map(ToString::to_string).collect();
        let by: Vec<_> = wanted.ingresses.iter().map(|object| object.key.to_string()).collect();
        format!("{} from {} for {} by {}", wanted.secret, wanted.issuer, names.join(" "), by.join(" "))
    });
    each.collect()
}

fn told(issuance: &Issuance) -> Vec<String> {
    let each = issuance.events.iter().map(|event| format!("{} {}: {}", event.object.key, event.reason, event.message));
    each.collect()
}

#[test]
fn a_secret_of_an_annotated_ingress_gets_the_names_of_its_entry_or_of_its_rules() {
    let found = wanted(&[
        ingress("a/one", 1, LETSENCRYPT, "tls: [{ hosts: [b.test, A.test], secretName: one }]"),
        ingress("a/two", 2, LETSENCRYPT, "rules: [{ host: c.test }, { host: d.test }], tls: [{ secretName: two }]"),
        ingress("a/none", 3, "", "tls: [{ hosts: [e.test], secretName: three }]"),
        ingress("b/other", 4, "acme.weir/issuer: staging", "tls: [{ hosts: [f.test], secretName: one }]"),
    ]);
    assert_eq!(
        shown(&found),
        [
            "a/one from letsencrypt for a.test b.test by a/one",
            "a/two from letsencrypt for c.test d.test by a/two",
            "b/one from staging for f.test by b/other",
        ]
    );
    assert!(found.events.is_empty(), "{:?}", found.events);
}

#[test]
fn a_name_is_ordered_once_into_the_secret_of_the_oldest() {
    let tls = "tls: [{ hosts: [a.test], secretName: one }]";
    let both = "tls: [{ hosts: [a.test, b.test], secretName: two }]";
    let found = wanted(&[
        ingress("xx/younger", 2, LETSENCRYPT, both),
        ingress("x/older", 1, LETSENCRYPT, tls),
        ingress("x/same", 3, LETSENCRYPT, "tls: [{ hosts: [a.test, c.test], secretName: one }]"),
        ingress("z/late", 4, LETSENCRYPT, tls),
    ]);
    assert_eq!(
        shown(&found),
        [
            "x/one from letsencrypt for a.test c.test by x/older x/same",
            "xx/two from letsencrypt for b.test by xx/younger",
        ]
    );
    let conflict = "spec.tls[0]: a.test is in the certificate of the Secret x/one, whose Ingress comes first";
    assert_eq!(told(&found), [format!("xx/younger Conflict: {conflict}"), format!("z/late Conflict: {conflict}")]);
}

#[test]
fn wishes_that_cannot_be_granted_are_told_with_what_to_do() {
    for (annotations, spec, expected) in [
        (
            "acme.weir/issuer: nobody",
            "tls: [{ hosts: [a.test], secretName: s }]",
            "metadata.annotations[acme.weir/issuer]: there is no issuer \"nobody\"; there are: letsencrypt, staging",
        ),
        (LETSENCRYPT, "rules: [{ host: a.test }]", "spec.tls: no Secret is named that a certificate could come into"),
        (
            LETSENCRYPT,
            "tls: [{ hosts: [a.test] }]",
            "spec.tls[0]: no Secret is named that a certificate could come into",
        ),
        (LETSENCRYPT, "tls: [{ secretName: s }]", "spec.tls[0]: no host is named that a certificate could be for"),
        (
            LETSENCRYPT,
            "tls: [{ hosts: ['*.a.test'], secretName: s }]",
            "spec.tls[0]: *.a.test needs dns-01, which issuers of the cluster do not have; use cert-manager",
        ),
        (
            LETSENCRYPT,
            "tls: [{ hosts: [intranet], secretName: s }]",
            "spec.tls[0]: \"intranet\" is not a public name; write it in full, as \"intranet.example.org\"",
        ),
        (
            "acme.weir/issuer: letsencrypt, cert-manager.io/cluster-issuer: x",
            "tls: [{ hosts: [a.test], secretName: s }]",
            "metadata.annotations[acme.weir/issuer]: cert-manager.io/cluster-issuer asks cert-manager for the same \
             certificate; take one of the two out",
        ),
    ] {
        let found = wanted(&[ingress("a/x", 1, annotations, spec)]);
        assert_eq!(told(&found), [format!("a/x IssuanceFailed: {expected}")]);
        assert!(found.wanted.is_empty(), "{:?}", found.wanted);
    }
    let found = wanted(&[ingress("a/x", 1, "acme.weir/isuer: letsencrypt", "")]);
    let message = "metadata.annotations[acme.weir/isuer]: there is no annotation \"acme.weir/isuer\"; there is \
                   acme.weir/issuer";
    assert_eq!(told(&found), [format!("a/x UnsupportedAnnotation: {message}")]);
}

#[test]
fn a_secret_of_somebody_else_is_left_alone_and_one_of_two_issuers_too() {
    let secret = |labels: &str| {
        format!(
            "kind: Secret\nmetadata: {{ namespace: a, name: s, labels: {{ {labels} }} }}\nstringData: {{ note: text }}"
        )
    };
    let asking = ingress("a/x", 1, LETSENCRYPT, "tls: [{ hosts: [a.test], secretName: s }]");
    let found = wanted(&[secret(""), asking.clone()]);
    assert!(found.wanted.is_empty());
    assert_eq!(
        told(&found),
        ["a/x IssuanceFailed: spec.tls[0]: the Secret a/s was not made by Weir and is left alone; delete it, or name \
          another, to have a certificate issued"]
    );
    // One that Weir made goes on, whoever issued it before.
    let found = wanted(&[secret("acme.weir/issuer: staging"), asking.clone()]);
    assert_eq!(shown(&found), ["a/s from letsencrypt for a.test by a/x"]);

    let second = ingress("a/zz", 2, "acme.weir/issuer: staging", "tls: [{ hosts: [b.test], secretName: s }]");
    let found = wanted(&[asking, second]);
    assert_eq!(shown(&found), ["a/s from letsencrypt for a.test by a/x"]);
    assert_eq!(
        told(&found),
        ["a/zz IssuanceFailed: spec.tls[0]: the Secret a/s holds a certificate of the issuer letsencrypt"]
    );
}

#[test]
fn a_secret_that_is_on_its_way_is_not_told_to_be_missing() {
    let spec = "rules: [{ host: a.test }], tls: [{ hosts: [a.test], secretName: s }]";
    for (annotations, expected) in [(LETSENCRYPT, 0), ("", 1)] {
        let (state, settings) = cluster(&ingress("a/x", 1, annotations, spec));
        assert_eq!(translate(&state, &settings).events.len(), expected, "{annotations}");
    }
}

#[test]
fn an_issuer_is_written_on_one_line() {
    let issuer = Issuer::parse("letsencrypt").unwrap();
    assert_eq!((&*issuer.name, &*issuer.acme.directory), ("letsencrypt", crate::defaults::ACME_DIRECTORY));
    let issuer = Issuer::parse(
        "corp,directory=https://ca.test/acme, email=ops@a.test,challenge=tls-alpn-01,key=ecdsa-p384,profile=short,\
         renew-before=240h,ca=/etc/weir/ca.pem,key-id=kid,hmac-secret=account",
    )
    .unwrap();
    let acme = &issuer.acme;
    assert_eq!((&*acme.directory, acme.email.as_deref()), ("https://ca.test/acme", Some("ops@a.test")));
    let issuance = &acme.issuance;
    assert_eq!((issuance.challenge, issuance.key), (ChallengeType::TlsAlpn01, KeyType::EcdsaP384));
    assert_eq!(issuance.profile.as_deref(), Some("short"));
    assert_eq!(issuance.renew_before, Some(Duration::from_secs(864_000)));
    assert_eq!(acme.ca.as_deref().and_then(|path| path.to_str()), Some("/etc/weir/ca.pem"));
    let account = acme.external_account.as_ref().unwrap();
    assert_eq!((&*account.key_id, account.hmac_file.to_str()), ("kid", Some("account")));
    for (written, expected) in [
        ("", "\"\" is no name of an issuer; write lowercase letters, digits and dashes"),
        ("Corp", "\"Corp\" is no name of an issuer; write lowercase letters, digits and dashes"),
        ("corp", "\"corp\" is no directory that everybody knows; write corp,directory=https://…"),
        ("letsencrypt,email", "\"email\" has no value; write it as KEY=VALUE, with commas between them"),
        ("letsencrypt,email=ops", "\"ops\" is not a mail address; write it as \"ops@example.org\""),
        ("letsencrypt,challenge=dns-01", "there is no challenge \"dns-01\" here; there are http-01 and tls-alpn-01"),
        ("letsencrypt,key=dsa", "there is no key \"dsa\"; there are ecdsa-p256, ecdsa-p384, rsa-2048 and rsa-4096"),
        ("letsencrypt,key-id=k", "an external account has both: write key-id=… and hmac-secret=NAME"),
        ("letsencrypt,renew-before=3", "\"3\" is no duration; write it as 30s or 1m30s"),
        ("corp,directory=http://ca.test", "\"http://ca.test\" is not https, which ACME demands; write https://"),
    ] {
        assert_eq!(Issuer::parse(written).unwrap_err(), expected, "{written}");
    }
    let message = Issuer::parse("letsencrypt,mail=x").unwrap_err();
    assert!(message.starts_with("there is no key \"mail\"; there are directory, email, challenge"), "{message}");
}
