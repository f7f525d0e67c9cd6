//! Every algorithm, every fault, and another library's opinion of the same tokens.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::defaults;
use crate::model::{JwtAlgorithm, KeysUrl};

#[allow(dead_code)]
#[path = "../../tests/support/tokens.rs"]
mod issuer;
use issuer::{Issuer, in_seconds, jwks};

const ASYMMETRIC: [&str; 10] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"];

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

fn set(issuers: &[&Issuer]) -> KeySet {
    KeySet::parse(jwks(issuers).as_bytes()).unwrap()
}

fn terms<'a>(issuers: &'a [Arc<str>], audiences: &'a [Arc<str>]) -> Terms<'a> {
    Terms { algorithms: &defaults::JWT_ALGORITHMS, issuers, audiences, leeway: Duration::from_secs(30) }
}

fn ask(token: &str, keys: &KeySet) -> Result<Claims, Invalid> {
    verify(token.as_bytes(), keys, &terms(&[], &[]), now()).map(|verified| verified.claims)
}

fn good() -> Value {
    json!({ "sub": "ann", "exp": in_seconds(600) })
}

#[test]
fn every_algorithm_verifies_its_own_signatures_and_no_others() {
    let issuers = ASYMMETRIC.map(|algorithm| Issuer::new(algorithm, algorithm));
    let all = set(&issuers.iter().collect::<Vec<_>>());
    assert_eq!((all.len(), all.left_out), (10, 0));
    for issuer in &issuers {
        let token = issuer.token(&good());
        assert_eq!(ask(&token, &all).unwrap().subject(), Some("ann"), "{}", issuer.algorithm);
        for other in &issuers {
            let renamed = issuer.token_with(&json!({ "alg": other.algorithm, "kid": issuer.kid }), &good());
            assert_eq!(ask(&renamed, &all).is_ok(), issuer.algorithm == other.algorithm);
            let stolen = issuer.token_with(&json!({ "alg": issuer.algorithm, "kid": other.kid }), &good());
            assert_eq!(ask(&stolen, &all).is_ok(), issuer.kid == other.kid);
        }
    }
    for algorithm in ["HS256", "HS384", "HS512"] {
        let issuer = Issuer::new("a secret of some length", algorithm);
        let keys = KeySet::of_secret("a secret of some length".repeat(3).as_bytes());
        let named = [JwtAlgorithm::named(algorithm).unwrap()];
        let terms = Terms { algorithms: &named, ..terms(&[], &[]) };
        assert!(verify(issuer.token(&good()).as_bytes(), &keys, &terms, now()).is_ok());
        assert_eq!(ask(&issuer.token(&good()), &keys), Err(Invalid::Algorithm), "it is not among the pinned ones");
    }
}

#[test]
fn a_public_key_is_no_secret_and_nothing_goes_unsigned() {
    let issuer = Issuer::new("one", "RS256");
    let keys = set(&[&issuer]);
    let jwk = issuer.jwk();
    let secrets = [
        jwk.to_string().into_bytes(),
        jwk["n"].as_str().unwrap().as_bytes().to_vec(),
        URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap(),
        Vec::new(),
    ];
    let with_hmac = [&defaults::JWT_ALGORITHMS[..], &[JwtAlgorithm::HS256]].concat();
    for secret in secrets {
        let forged = Issuer::with_secret("one", "HS256", &secret).token(&good());
        assert_eq!(ask(&forged, &keys), Err(Invalid::Algorithm));
        let lax = Terms { algorithms: &with_hmac, ..terms(&[], &[]) };
        assert_eq!(
            verify(forged.as_bytes(), &keys, &lax, now()),
            Err(Invalid::UnknownKey),
            "even where it is accepted"
        );
    }
    for algorithm in ["none", "None", "NONE", "", "RS255"] {
        let token = issuer.token_with(&json!({ "alg": algorithm, "kid": "one" }), &good());
        let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
        assert_eq!([ask(&token, &keys), ask(&unsigned, &keys)], [Err(Invalid::Algorithm), Err(Invalid::Algorithm)]);
    }
    let shown = KeySet::parse(jwks(&[&issuer, &Issuer::new("secret", "HS256")]).as_bytes()).unwrap();
    assert_eq!((shown.len(), shown.left_out), (1, 1), "a secret that everybody is shown is left out");
}

#[test]
fn time_is_kept_with_leeway() {
    let issuer = Issuer::new("one", "EdDSA");
    let keys = set(&[&issuer]);
    for (claims, expected) in [
        (json!({ "exp": in_seconds(-20) }), Ok(())),
        (json!({ "exp": in_seconds(-40) }), Err(Invalid::Expired)),
        (json!({ "exp": in_seconds(600), "nbf": in_seconds(20) }), Ok(())),
        (json!({ "exp": in_seconds(600), "nbf": in_seconds(60) }), Err(Invalid::TooEarly)),
        (json!({ "exp": in_seconds(600) as f64 + 0.5, "nbf": 0 }), Ok(())),
        (json!({ "exp": 1e300 }), Ok(())),
        (json!({}), Err(Invalid::Endless)),
        (json!({ "exp": null }), Err(Invalid::Malformed)),
        (json!({ "exp": "tomorrow" }), Err(Invalid::Malformed)),
        (json!({ "exp": in_seconds(600), "nbf": "now" }), Err(Invalid::Malformed)),
        (json!([1]), Err(Invalid::Malformed)),
    ] {
        assert_eq!(ask(&issuer.token(&claims), &keys).map(drop), expected, "{claims}");
    }
    let token = issuer.token(&json!({ "exp": in_seconds(100) }));
    let verified = verify(token.as_bytes(), &keys, &terms(&[], &[]), now()).unwrap();
    assert!((125..=130).contains(&verified.remaining.as_secs()), "{:?}", verified.remaining);
}

#[test]
fn who_issued_it_and_for_whom_is_looked_at() {
    let issuer = Issuer::new("one", "ES256");
    let keys = set(&[&issuer]);
    let (issuers, audiences) = (["a".into(), "b".into()], ["api".into()]);
    for (iss, aud, expected) in [
        (json!("b"), json!("api"), Ok(())),
        (json!("a"), json!(["web", "api"]), Ok(())),
        (json!("c"), json!("api"), Err(Invalid::Issuer)),
        (json!(null), json!("api"), Err(Invalid::Issuer)),
        (json!("a"), json!("apis"), Err(Invalid::Audience)),
        (json!("a"), json!([]), Err(Invalid::Audience)),
        (json!("a"), json!(null), Err(Invalid::Audience)),
    ] {
        let token = issuer.token(&json!({ "exp": in_seconds(600), "iss": iss, "aud": aud }));
        let outcome = verify(token.as_bytes(), &keys, &terms(&issuers, &audiences), now());
        assert_eq!(outcome.map(drop), expected, "{iss} {aud}");
    }
}

#[test]
fn what_is_no_token_is_refused() {
    let issuer = Issuer::new("one", "ES256");
    let keys = set(&[&issuer]);
    let token = issuer.token(&good());
    let parts: Vec<&str> = token.split('.').collect();
    for wrong in [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "a.b",
        &format!("{}.{}", parts[0], parts[1]),
        &format!("{token}.x"),
        &format!("{token}="),
        &format!(" {token}"),
        &format!("{}.{}.{}", parts[0], parts[1], "é"),
    ] {
        assert_eq!(ask(wrong, &keys).map(drop), Err(Invalid::Malformed), "{wrong:?}");
    }
    let empty = format!("{}.{}.", parts[0], parts[1]);
    let other = issuer.token(&json!({ "exp": in_seconds(601) }));
    let mixed = format!("{}.{}.{}", parts[0], parts[1], other.rsplit_once('.').unwrap().1);
    for wrong in [&empty, &mixed] {
        assert_eq!(ask(wrong, &keys).map(drop), Err(Invalid::Signature));
    }
    let header = |header: Value| ask(&issuer.token_with(&header, &good()), &keys).map(drop);
    assert_eq!(header(json!({ "alg": "ES256", "crit": ["b64"], "b64": false })), Err(Invalid::Critical));
    assert_eq!(header(json!({ "alg": "ES256", "jwk": Issuer::new("one", "ES256").jwk() })), Ok(()));
    assert_eq!(header(json!({ "kid": "one" })), Err(Invalid::Malformed));
    assert_eq!(header(json!({ "alg": ["ES256"] })), Err(Invalid::Malformed));
}

#[test]
fn a_token_that_names_no_key_is_tried_with_all_and_one_that_names_another_with_none() {
    let issuers = [Issuer::new("one", "ES256"), Issuer::new("two", "ES256")];
    let keys = set(&[&issuers[0], &issuers[1]]);
    let nameless = |issuer: &Issuer| issuer.token_with(&json!({ "alg": "ES256" }), &good());
    assert!(issuers.iter().all(|issuer| ask(&nameless(issuer), &keys).is_ok()));
    assert_eq!(ask(&nameless(&Issuer::new("one", "ES256")), &keys), Err(Invalid::Signature));
    let other = issuers[0].token_with(&json!({ "alg": "ES256", "kid": "three" }), &good());
    assert_eq!(ask(&other, &keys), Err(Invalid::UnknownKey));
    let mut jwk = issuers[0].jwk();
    jwk.as_object_mut().unwrap().remove("kid");
    let unnamed = KeySet::parse(json!({ "keys": [jwk] }).to_string().as_bytes()).unwrap();
    assert!(ask(&other, &unnamed).is_ok(), "a set of one often names none");
}

#[test]
fn keys_that_cannot_be_used_are_left_out_and_a_set_of_none_is_an_error() {
    let issuer = Issuer::new("one", "RS256");
    let with = |key: &str, value: Value| {
        let mut jwk = issuer.jwk();
        jwk[key] = value;
        jwk
    };
    let bad = [
        with("use", json!("enc")),
        with("key_ops", json!(["encrypt"])),
        with("alg", json!("RSA-OAEP")),
        with("kty", json!("EC")),
        with("n", json!("AQAB")),
        with("n", json!("???")),
        with("e", json!("")),
        json!({ "kty": "OKP", "crv": "X25519", "x": "AAAA" }),
        json!({ "kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA" }),
        json!({ "kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode([1; 32]), "y": URL_SAFE_NO_PAD.encode([1; 32]) }),
        json!("text"),
        json!({}),
    ];
    let all = [&bad[..], &[with("use", json!("sig")), with("alg", json!("PS256"))]].concat();
    let mixed = json!({ "keys": all });
    let keys = KeySet::parse(mixed.to_string().as_bytes()).unwrap();
    assert_eq!((keys.len(), keys.left_out), (2, bad.len()));
    let error = |text: &str| KeySet::parse(text.as_bytes()).unwrap_err();
    assert!(error(&json!({ "keys": bad }).to_string()).contains("none of its 12 keys can be used"));
    assert!(error("{\"keys\": []}").contains("none of its 0 keys"));
    assert!(error("[]").contains("no list \"keys\""));
    assert!(error("<html>").contains("not JSON"));
    let many: Vec<_> = (0..65).map(|_| issuer.jwk()).collect();
    assert!(error(&json!({ "keys": many }).to_string()).contains("65 keys"));
    let pinned = KeySet::parse(json!({ "keys": [with("alg", json!("PS256"))] }).to_string().as_bytes()).unwrap();
    assert_eq!(ask(&issuer.token(&good()), &pinned), Err(Invalid::UnknownKey), "the key is for PS256 alone");
}

#[test]
fn claims_are_texts_wherever_they_are() {
    let issuer = Issuer::new("one", "EdDSA");
    let token = issuer.token(&json!({
        "exp": in_seconds(600), "sub": "ann", "n": 5, "yes": true, "list": ["a", 1], "realm": { "roles": ["x", "y"] },
        "https://a.test/role": "admin", "scope": "read write", "null": null,
    }));
    let claims = ask(&token, &set(&[&issuer])).unwrap();
    for (name, text) in [
        ("sub", Some("ann")),
        ("n", Some("5")),
        ("yes", Some("true")),
        ("list", Some("a,1")),
        ("realm.roles", Some("x,y")),
        ("realm", Some("{\"roles\":[\"x\",\"y\"]}")),
        ("https://a.test/role", Some("admin")),
        ("null", None),
        ("realm.none", None),
        ("sub.x", None),
    ] {
        assert_eq!(claims.text(name).as_deref(), text, "{name}");
    }
    assert!(claims.has_one_of("scope", &["write"]) && !claims.has_one_of("scope", &["read write"]));
    assert!(claims.has_one_of("realm.roles", &["z", "y"]) && claims.has_one_of("n", &["5"]));
    assert!(!claims.has_one_of("sub", &["an", "anna"]) && !claims.has_one_of("null", &["null"]));
}

#[test]
fn another_library_takes_and_refuses_the_same_tokens() {
    use jsonwebtoken::{DecodingKey, Validation, decode, jwk::Jwk};
    let mut compared = (0, 0);
    for algorithm in ["RS256", "RS512", "PS256", "PS384", "ES256", "ES384", "EdDSA"] {
        let issuer = Issuer::new("one", algorithm);
        let keys = set(&[&issuer]);
        let jwk: Jwk = serde_json::from_value(issuer.jwk()).unwrap();
        let mut validation = Validation::new(algorithm.parse().unwrap());
        (validation.leeway, validation.validate_nbf) = (30, true);
        validation.set_audience(&["api"]);
        validation.set_issuer(&["us"]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        let (issuers, audiences) = (["us".into()], ["api".into()]);
        let claims = |exp, nbf, iss: &str, aud: &str| json!({ "exp": in_seconds(exp), "nbf": in_seconds(nbf), "iss": iss, "aud": [aud] });
        let mut tokens: Vec<String> = [
            claims(60, -60, "us", "api"),
            claims(-60, -90, "us", "api"),
            claims(60, 50, "us", "api"),
            claims(60, -60, "them", "api"),
            claims(60, -60, "us", "web"),
            json!({ "exp": in_seconds(60) }),
        ]
        .iter()
        .map(|claims| issuer.token(claims))
        .collect();
        // Each bit of a part of the good one flipped.
        for at in (0..tokens[0].len()).step_by(7) {
            let mut bytes = tokens[0].clone().into_bytes();
            bytes[at] ^= 1;
            tokens.extend(String::from_utf8(bytes));
        }
        for token in tokens {
            let theirs = decode::<Value>(&token, &DecodingKey::from_jwk(&jwk).unwrap(), &validation).is_ok();
            let ours = verify(token.as_bytes(), &keys, &terms(&issuers, &audiences), now());
            assert_eq!(ours.is_ok(), theirs, "{token}: {ours:?}");
            if theirs { compared.0 += 1 } else { compared.1 += 1 }
        }
    }
    assert!(compared.0 >= 7 && compared.1 > 200, "{compared:?}");
}

fn fetched() -> Arc<Keys> {
    let refresh = Duration::from_secs(900);
    Arc::new(Keys::new(KeysUrl { url: "http://a.test/".into(), ca: None, refresh }))
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_is_fetched_once_for_all_who_wait_and_not_again_too_soon() {
    let keys = fetched();
    let (old, new) = (Issuer::new("old", "ES256"), Issuer::new("new", "ES256"));
    assert!(!keys.is_settled());
    assert!(keys.conclude(FetchOutcome::Got(set(&[&old]))));
    assert!(keys.is_settled());
    assert!(!keys.conclude(FetchOutcome::Got(set(&[&old]))), "the same set is no other");
    let (seen, start) = (keys.set().unwrap(), Instant::now());
    let fetcher = tokio::spawn({
        let keys = keys.clone();
        async move {
            let mut fetches = 0;
            while tokio::time::timeout(Duration::from_secs(60), keys.wanted()).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
                fetches += 1;
                keys.conclude(FetchOutcome::Got(set(&[&old, &new])));
            }
            fetches
        }
    });
    let waiting = futures::future::join_all((0..50).map(|_| keys.newer_than(&seen, start))).await;
    assert!(waiting.iter().all(|set| set.as_ref().is_some_and(|set| set.len() == 2)));
    let seen = keys.set().unwrap();
    for after in [0, 1, 9] {
        assert!(keys.newer_than(&seen, start + Duration::from_secs(after)).await.is_none());
    }
    assert!(keys.newer_than(&seen, start + Duration::from_secs(11)).await.is_none(), "fetched, and nothing new");
    assert_eq!(fetcher.await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_keys_that_do_not_come_waits_no_longer_than_patience() {
    let keys = fetched();
    keys.conclude(FetchOutcome::Got(set(&[&Issuer::new("one", "ES256")])));
    let (seen, begun) = (keys.set().unwrap(), tokio::time::Instant::now());
    assert!(keys.newer_than(&seen, Instant::now()).await.is_none());
    assert_eq!(begun.elapsed().as_secs(), 3);
}
