//! `jwt`. Its files are read by `tokens`, its URL is fetched by `jwks`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Lowering, headers};
use crate::defaults;
use crate::model::{
    ForwardCredentials, Jwt, JwtAlgorithm, JwtKeys, KeysUrl, RequiredClaim, TokenPresence, TokenSource,
};
use crate::sources::config::decode::{Field, List, OneOrList, Scalar, Table};
use crate::sources::config::shapes::{self, scalar};
use crate::sources::config::tree::NodeId;

/// `level` is where it stands, as `route:api`.
pub fn jwt(cx: &Lowering, at: NodeId, shape: shapes::Jwt, level: &str) -> Jwt {
    let keys = KeyKeys { jwks: shape.jwks, ca: shape.ca, refresh: shape.refresh, secret_file: shape.secret_file };
    let keys = keys_of(cx, at, keys);
    let algorithms = algorithms(cx, shape.algorithms, &keys);
    let names_nobody = matches!(shape.audience, Field::Absent);
    let audiences = values(cx, shape.audience);
    if names_nobody && matches!(keys, JwtKeys::Url(_)) && !cx.is_one_misspelled(at, &["audience"]) {
        let message = "a token that was issued for somebody else lets its owner in here, too: there is no \"audience\"";
        cx.warning(at.key(), message, "write whom tokens are for, as audience: api");
    }
    Jwt {
        place: level.into(),
        keys,
        algorithms,
        issuers: values(cx, shape.issuer),
        audiences,
        leeway: shape.leeway.scalar_or(defaults::JWT_LEEWAY),
        claims: claims(cx, shape.claims),
        from: match shape.from.value() {
            None | Some(shapes::TokenSource::Authorization) => TokenSource::Authorization,
            Some(shapes::TokenSource::Header(name)) => TokenSource::Header(name.0.to_ascii_lowercase().into()),
            Some(shapes::TokenSource::Cookie(name)) => TokenSource::Cookie(name.0),
            Some(shapes::TokenSource::Query(name)) => TokenSource::Query(name.0),
        },
        claims_to_headers: claims_to_headers(cx, shape.claims_to_headers),
        forward: match shape.forward.value() {
            Some(true) => ForwardCredentials::Send,
            Some(false) => ForwardCredentials::Omit,
            None => defaults::FORWARD_TOKEN,
        },
        presence: match shape.optional.value() {
            Some(true) => TokenPresence::Optional,
            Some(false) => TokenPresence::Required,
            None => defaults::TOKEN_PRESENCE,
        },
        realm: shape.realm.scalar_or(defaults::BASIC_AUTH_REALM.into()),
    }
}

struct KeyKeys {
    jwks: Field<scalar::UrlOrFile>,
    ca: Field<scalar::FilePath>,
    refresh: Field<scalar::Timeout>,
    secret_file: Field<scalar::FilePath>,
}

fn keys_of(cx: &Lowering, at: NodeId, keys: KeyKeys) -> JwtKeys {
    let written = [("jwks", keys.jwks.key()), ("secret-file", keys.secret_file.key())];
    if cx.only_one(&written) == 0 {
        let help = "write jwks: https://issuer.example.org/.well-known/jwks.json, or a file, or secret-file";
        cx.missing(at, &["jwks", "secret-file"], "nothing says what signatures are verified with", help);
    }
    match keys.jwks.scalar() {
        Some(url) if url.contains("://") => {
            if url.split('/').nth(2).is_some_and(|authority| authority.contains('@')) {
                let help = "leave it out; what is shown there is public";
                cx.error_with(at.key(), "a user name in the url of jwks is sent to nobody", help);
            }
            if let Field::Given(at, _) = &keys.ca
                && url.starts_with("http://")
            {
                let help = "write https, or take it out";
                cx.error_with(at.key(), "there is no certificate to verify: jwks is http", help);
            }
            return JwtKeys::Url(KeysUrl {
                url,
                ca: keys.ca.scalar().map(|path| cx.file(path)),
                refresh: keys.refresh.scalar_or(defaults::JWKS_REFRESH),
            });
        }
        other => {
            for (key, place) in [("ca", keys.ca.key()), ("refresh", keys.refresh.key())] {
                if let Some(place) = place {
                    let message = format!("\"{key}\" belongs to a \"jwks\" that is a URL");
                    cx.error_with(place, message, "take it out: a file is read again when it changes");
                }
            }
            if let Some(file) = other {
                return JwtKeys::File(cx.file(PathBuf::from(&*file)));
            }
        }
    }
    // Without any it has been reported: no such model is served.
    JwtKeys::SecretFile(keys.secret_file.scalar().map_or_else(PathBuf::new, |path| cx.file(path)))
}

/// A secret is no public key: what fits the one never fits the other.
fn algorithms(cx: &Lowering, written: Field<List<scalar::JwtAlgorithm>>, keys: &JwtKeys) -> Vec<JwtAlgorithm> {
    let is_secret = matches!(keys, JwtKeys::SecretFile(_));
    let Some((at, list)) = written.given() else {
        return if is_secret { defaults::JWT_SECRET_ALGORITHMS.to_vec() } else { defaults::JWT_ALGORITHMS.to_vec() };
    };
    if list.is_empty() {
        cx.error_with(at.value(), "an empty list accepts no token", "write how they are signed, as [ES256]");
    }
    let mut algorithms = Vec::new();
    for (at, algorithm) in list.into_iter().filter_map(Field::given) {
        let algorithm = algorithm.into_value();
        if algorithm.is_symmetric() != is_secret {
            let (message, help) = match is_secret {
                true => ("is not for a secret", "write HS256, HS384 or HS512, or jwks instead of secret-file"),
                false => ("needs a secret, and what jwks shows is public", "write secret-file instead of jwks"),
            };
            cx.error_with(at.value(), format!("{algorithm} {message}"), help);
        }
        algorithms.push(algorithm);
    }
    algorithms
}

fn values(cx: &Lowering, written: Field<OneOrList<scalar::ClaimValue>>) -> Vec<Arc<str>> {
    match written.given() {
        None => Vec::new(),
        Some((_, OneOrList::One(value))) => vec![value.0],
        Some((at, OneOrList::List(list))) => {
            if list.is_empty() {
                cx.error_with(at.value(), "an empty list accepts nobody", "write at least one, or take it out");
            }
            list.into_iter().filter_map(Field::scalar).collect()
        }
    }
}

fn claims(cx: &Lowering, written: Field<Table<OneOrList<scalar::ClaimValue>>>) -> Vec<RequiredClaim> {
    let entries = written.value().map_or(Vec::new(), |Table(entries)| entries);
    let mut claims = Vec::new();
    for (name, field) in entries {
        let of_its_own = match name.as_str() {
            "iss" => Some("issuer"),
            "aud" => Some("audience"),
            _ => None,
        };
        if let (Some(key), Some(place)) = (of_its_own, field.key()) {
            cx.error_with(place, format!("\"{name}\" has a key of its own"), format!("write {key}"));
        }
        claims.push(RequiredClaim { name: name.into(), one_of: values(cx, field) });
    }
    claims
}

fn claims_to_headers(cx: &Lowering, written: Field<Table<scalar::HeaderName>>) -> Vec<(Arc<str>, Arc<str>)> {
    let mut first_lines: HashMap<String, u32> = HashMap::new();
    let mut pairs = Vec::new();
    for (claim, field) in written.value().map_or(Vec::new(), |Table(entries)| entries) {
        let Some((at, name)) = field.given() else { continue };
        let Some(name) = headers::checked_name(cx, at.value(), &name.0) else { continue };
        let line = cx.findings.line(at.value());
        if let Some(first) = first_lines.insert(name.to_ascii_lowercase(), line) {
            let message = format!("\"{name}\" tells of two claims; the other is at line {first}");
            cx.error_with(at.value(), message, "give each a field of its own");
        }
        pairs.push((claim.into(), name));
    }
    pairs
}
