use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SigningKey, date_time_ymd,
};
use rustls::pki_types::CertificateDer;

use super::der::{self, BIT_STRING, ENUMERATED, GENERALIZED_TIME, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE};
use super::request::Question;
use super::response::{Span, Status, Unusable, check};
use super::schedule::Standing;

const GOOD: &[u8] = &[0x80, 0];
const UNKNOWN: &[u8] = &[0x82, 0];
const THIS_UPDATE: &str = "20260301000000Z";
const NEXT_UPDATE: &str = "20260308000000Z";

/// 2026-03-01 and some days.
fn at(days: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_772_323_200 + days * 86_400)
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
}

impl Authority {
    fn named(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let der = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), der }
    }

    fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> (CertificateDer<'static>, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["a.test".to_owned()]).unwrap();
        change(&mut params);
        (params.signed_by(&key, &self.issuer).unwrap().der().clone(), key)
    }

    /// Names this responder, and comes with its issuer.
    fn question(&self, responder: &str) -> Option<Question> {
        let (leaf, _) = self.issue(|params| params.custom_extensions.push(access(responder)));
        Question::about(&[leaf, self.der.clone()])
    }
}

/// Authority information access: OCSP at this URL.
fn access(responder: &str) -> CustomExtension {
    let ocsp = der::item(OBJECT_IDENTIFIER, &[&[0x2b, 6, 1, 5, 5, 7, 0x30, 1]]);
    let location = der::item(der::context_primitive(6), &[responder.as_bytes()]);
    let content = der::item(SEQUENCE, &[&der::item(SEQUENCE, &[&ocsp, &location])]);
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], content)
}

fn time(text: &str) -> Vec<u8> {
    der::item(GENERALIZED_TIME, &[text.as_bytes()])
}

/// What a responder would answer.
struct Answer<'a> {
    about: &'a Question,
    status: &'a [u8],
    this_update: &'a str,
    next_update: Option<&'a str>,
    certificates: &'a [CertificateDer<'static>],
}

impl<'a> Answer<'a> {
    fn good(about: &'a Question) -> Self {
        Self { about, status: GOOD, this_update: THIS_UPDATE, next_update: Some(NEXT_UPDATE), certificates: &[] }
    }

    fn signed(&self, key: &KeyPair) -> Vec<u8> {
        let request = self.about.encoded();
        // The question's own CertID: request, body, list, single request.
        let id = (0..4).fold(Reader(&request), |reader, _| { reader }.expect(SEQUENCE).unwrap().reader()).0;
        let next = self.next_update.map(|next| der::item(der::context(0), &[&time(next)])).unwrap_or_default();
        let single = der::item(SEQUENCE, &[id, self.status, &time(self.this_update), &next]);
        let by = der::item(der::context(2), &[&der::item(OCTET_STRING, &[&[0; 20]])]);
        let data = der::item(SEQUENCE, &[&by, &time(THIS_UPDATE), &der::item(SEQUENCE, &[&single])]);
        // ecdsa-with-SHA256
        let algorithm =
            der::item(SEQUENCE, &[&der::item(OBJECT_IDENTIFIER, &[&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]])]);
        let signature = der::item(BIT_STRING, &[&[0], &key.sign(&data).unwrap()]);
        let certificates: Vec<u8> = self.certificates.iter().flat_map(|der| der.to_vec()).collect();
        let certificates = der::item(der::context(0), &[&der::item(SEQUENCE, &[&certificates])]);
        let basic = der::item(SEQUENCE, &[&data, &algorithm, &signature, &certificates]);
        let kind = der::item(OBJECT_IDENTIFIER, &[&[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1]]);
        let bytes = der::item(SEQUENCE, &[&kind, &der::item(OCTET_STRING, &[&basic])]);
        der::item(SEQUENCE, &[&der::item(ENUMERATED, &[&[0]]), &der::item(der::context(0), &[&bytes])])
    }
}

fn scene() -> (Authority, Question) {
    let authority = Authority::named("authority");
    let question = authority.question("http://ocsp.test/").unwrap();
    (authority, question)
}

#[test]
fn only_a_certificate_that_names_a_responder_and_comes_with_its_issuer_is_asked_about() {
    let (authority, question) = scene();
    assert_eq!(question.responder, "http://ocsp.test/");
    assert!(authority.question("ldap://ocsp.test/").is_none());
    let (plain, _) = authority.issue(|_| {});
    assert!(Question::about(&[plain, authority.der.clone()]).is_none());
    let (leaf, _) = authority.issue(|params| params.custom_extensions.push(access("http://ocsp.test/")));
    assert!(Question::about(std::slice::from_ref(&leaf)).is_none());
    assert!(Question::about(&[leaf, Authority::named("another").der]).is_none());
}

#[test]
fn a_good_answer_of_the_issuer_holds_for_as_long_as_it_says() {
    let (authority, question) = scene();
    let answer = Answer::good(&question).signed(authority.issuer.key());
    let span = Span { from: at(0), until: at(7) };
    assert_eq!(check(&answer, &question, at(1)), Ok(Status::Good(span)));
    assert_eq!(check(&answer, &question, at(7)), Err(Unusable::Late));
    assert_eq!(check(&answer, &question, at(0) - Duration::from_secs(60)), Ok(Status::Good(span)), "clocks differ");
    assert_eq!(check(&answer, &question, at(0) - Duration::from_secs(600)), Err(Unusable::Early));
}

#[test]
fn revoked_unknown_and_endless_answers_are_told_apart() {
    let (authority, question) = scene();
    let key = authority.issuer.key();
    let revoked = der::item(der::context(1), &[&time(THIS_UPDATE)]);
    let answer = |status, next_update| Answer { status, next_update, ..Answer::good(&question) }.signed(key);
    let checked = |answer: Vec<u8>| check(&answer, &question, at(1));
    assert!(matches!(checked(answer(&revoked, Some(NEXT_UPDATE))), Ok(Status::Revoked(_))));
    assert_eq!(checked(answer(UNKNOWN, Some(NEXT_UPDATE))), Err(Unusable::Unknown));
    assert_eq!(checked(answer(GOOD, None)), Err(Unusable::Endless));
    let other = authority.question("http://ocsp.test/").unwrap();
    assert_eq!(checked(Answer::good(&other).signed(key)), Err(Unusable::OtherCertificate));
    let refused = der::item(SEQUENCE, &[&der::item(ENUMERATED, &[&[6]])]);
    assert_eq!(checked(refused), Err(Unusable::Refused("unauthorized")));
}

#[test]
fn a_delegate_may_answer_only_where_the_issuer_lets_it() {
    let (authority, question) = scene();
    let for_ocsp = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
        params.not_after = date_time_ymd(2027, 1, 1);
    };
    let checked = |(der, key): (CertificateDer<'static>, KeyPair), now| {
        let certificates = &[der][..];
        check(&Answer { certificates, ..Answer::good(&question) }.signed(&key), &question, now)
    };
    assert!(checked(authority.issue(for_ocsp), at(1)).is_ok());
    assert_eq!(checked(authority.issue(|_| {}), at(1)), Err(Unusable::Signature), "a leaf for something else");
    let over = |params: &mut CertificateParams| {
        for_ocsp(params);
        params.not_after = date_time_ymd(2026, 2, 1);
    };
    assert_eq!(checked(authority.issue(over), at(1)), Err(Unusable::Signature), "it has expired");
    assert_eq!(
        checked(Authority::named("authority").issue(for_ocsp), at(1)),
        Err(Unusable::Signature),
        "another one of the same name"
    );
    let stranger = Authority::named("stranger");
    assert_eq!(
        checked((stranger.der.clone(), KeyPair::generate().unwrap()), at(1)),
        Err(Unusable::Signature),
        "nobody"
    );
}

#[test]
fn an_answer_that_was_changed_or_cut_is_not_used() {
    let (authority, question) = scene();
    let answer = Answer::good(&question).signed(authority.issuer.key());
    assert!(check(&[&answer[..], &[0]].concat(), &question, at(1)).is_err(), "something hangs on");
    for position in 0..answer.len() {
        assert!(check(&answer[..position], &question, at(1)).is_err(), "cut at {position}");
        let mut changed = answer.clone();
        changed[position] ^= 1;
        // What surrounds the signed part may be written otherwise; that changes nothing of what is said.
        if let Ok(status) = check(&changed, &question, at(1)) {
            assert_eq!(status, Status::Good(Span { from: at(0), until: at(7) }), "byte {position}");
        }
    }
}

#[test]
fn a_responder_is_asked_again_at_half_time_and_a_failure_leaves_the_old_answer() {
    let mut standing = Standing::new(at(0));
    assert!(standing.is_due(at(0)));
    let until = at(0) + Duration::from_secs(86_400);
    let good = Status::Good(Span { from: at(0), until });
    standing.answered(good, vec![1], at(0));
    let half = at(0) + Duration::from_secs(43_200);
    assert_eq!((standing.next, standing.wakes()), (half, half));

    let waits: Vec<u64> = (0..8).map(|_| standing.failed(half).as_secs()).collect();
    assert_eq!(waits, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
    assert!(!standing.expire(half));
    assert!(standing.staple.is_some());
    assert!(standing.expire(until));
    assert!(standing.staple.is_none());
}

#[test]
fn a_revoked_certificate_loses_its_staple_at_once() {
    let mut standing = Standing::new(at(0));
    let span = Span { from: at(0), until: at(7) };
    standing.answered(Status::Good(span), vec![1], at(0));
    assert_eq!(standing.next, at(1), "trusted for a day, whatever it says");
    standing.answered(Status::Revoked(span), vec![2], at(1));
    assert!(standing.staple.is_none());
}
