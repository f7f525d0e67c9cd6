//! `jwt`: a signed token says who it is (RFC 6750).
//!
//! ```text
//! token ──► snapshot::Jwt ──► claims ──required ones?──► Claims · 403 insufficient_scope
//!   └none: 401, or passes            └ 401 invalid_token · 503 while there are no keys
//! ```

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue};

use super::Verdict;
use crate::model::{TokenPresence, TokenSource};
use crate::snapshot::jwt::{Jwt, Unverified};
use crate::snapshot::request::{HeaderFields, RequestView};
use crate::tokens::Claims;

/// What it says, or what is said to whom has none that is good. None: there is no token, and none is needed.
pub async fn run(
    jwt: &Jwt,
    headers: &HeaderMap,
    query: Option<&str>,
    now: Instant,
    calendar: Duration,
) -> Result<Option<Arc<Claims>>, Verdict> {
    let token = match (token(&jwt.definition().from, headers, query), jwt.definition().presence) {
        (Found::One(token), _) => token,
        (Found::None, TokenPresence::Optional) => {
            jwt.metrics.anonymous.increment();
            return Ok(None);
        }
        (Found::None, TokenPresence::Required) => {
            jwt.metrics.refused.increment();
            return Err(refuse(401, jwt.challenge.clone()));
        }
        (Found::Several, _) => {
            jwt.metrics.refused.increment();
            return Err(refuse(401, jwt.challenge_for("invalid_token", "there is more than one")));
        }
    };
    match jwt.verify(&token, now, calendar).await {
        Ok(claims) => match jwt.lacks(&claims) {
            None => {
                jwt.metrics.passed.increment();
                Ok(Some(claims))
            }
            Some(claim) => {
                jwt.metrics.forbidden.increment();
                tracing::debug!(filter = %jwt.definition().place, claim, "a token lacks a claim");
                let words = "what it says is not enough here";
                Err(refuse(403, jwt.challenge_for("insufficient_scope", words)))
            }
        },
        Err(Unverified::Invalid(reason)) => {
            jwt.metrics.refused.increment();
            Err(refuse(401, jwt.challenge_for("invalid_token", &reason.to_string())))
        }
        Err(Unverified::NoKeys) => {
            jwt.metrics.without_keys.increment();
            Err(Verdict::Refuse {
                status: 503,
                detail: "tokens cannot be verified yet: try again later",
                fields: vec![(RETRY_AFTER, HeaderValue::from_static("5"))],
            })
        }
    }
}

fn refuse(status: u16, challenge: HeaderValue) -> Verdict {
    let detail = match status {
        403 => "what the token says is not enough here",
        _ => "a valid token is needed here",
    };
    Verdict::Refuse { status, detail, fields: vec![(WWW_AUTHENTICATE, challenge)] }
}

enum Found<'a> {
    None,
    One(Cow<'a, [u8]>),
    Several,
}

fn token<'a>(from: &TokenSource, headers: &'a HeaderMap, query: Option<&'a str>) -> Found<'a> {
    let mut found = Vec::new();
    match from {
        TokenSource::Authorization => {
            // Another scheme is another filter's.
            let values = headers.get_all(AUTHORIZATION).iter();
            found.extend(values.filter_map(|value| bearer(value.as_bytes())).map(Cow::Borrowed));
        }
        TokenSource::Header(name) => {
            let values = headers.get_all(&**name).iter().map(HeaderValue::as_bytes);
            found.extend(values.map(|value| Cow::Borrowed(bearer(value).unwrap_or(value))));
        }
        TokenSource::Cookie(name) => headers.each("cookie", &mut |field| {
            let pairs = field.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let values =
                pairs.filter_map(|pair| pair.strip_prefix(name.as_bytes())?.trim_ascii_start().strip_prefix(b"="));
            found.extend(values.map(|value| Cow::Owned(value.to_vec())));
        }),
        TokenSource::Query(name) => {
            let pairs = query.into_iter().flat_map(|query| query.split('&'));
            let values = pairs.filter_map(|pair| pair.split_once('=').filter(|(key, _)| *key == &**name));
            found.extend(values.map(|(_, value)| Cow::Borrowed(value.as_bytes())));
        }
    }
    match (found.pop(), found.is_empty()) {
        (None, _) => Found::None,
        (Some(token), true) if token.is_empty() => Found::None,
        (Some(token), true) => Found::One(token),
        (Some(_), false) => Found::Several,
    }
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(6)?;
    let is_bearer = scheme.eq_ignore_ascii_case(b"bearer") && matches!(rest, [b' ' | b'\t', ..]);
    is_bearer.then(|| rest.trim_ascii())
}

/// The target without the parameter that holds the token; none where it has none.
pub fn without_parameter(target: &str, name: &str) -> Option<String> {
    let (path, query) = target.split_once('?')?;
    let is_token = |pair: &&str| pair.split('=').next() == Some(name);
    if !query.split('&').any(|pair| is_token(&pair)) {
        return None;
    }
    let rest: Vec<&str> = query.split('&').filter(|pair| !is_token(pair)).collect();
    Some(if rest.is_empty() { path.to_owned() } else { format!("{path}?{}", rest.join("&")) })
}

/// Takes the token out of what goes on.
pub fn remove(from: &TokenSource, headers: &mut HeaderMap) {
    match from {
        TokenSource::Authorization => {
            if headers.get_all(AUTHORIZATION).iter().any(|value| bearer(value.as_bytes()).is_some()) {
                headers.remove(AUTHORIZATION);
            }
        }
        TokenSource::Header(name) => drop(headers.remove(&**name)),
        TokenSource::Cookie(name) => remove_cookie(name, headers),
        // It stands in the target.
        TokenSource::Query(_) => {}
    }
}

fn remove_cookie(name: &str, headers: &mut HeaderMap) {
    let fields: Vec<Vec<u8>> = headers
        .get_all(http::header::COOKIE)
        .iter()
        .map(|field| {
            let pairs = field.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let is_other =
                |pair: &&[u8]| pair.split(|byte| *byte == b'=').next().map(<[u8]>::trim_ascii) != Some(name.as_bytes());
            pairs.filter(is_other).collect::<Vec<_>>().join(&b"; "[..])
        })
        .filter(|field| !field.is_empty())
        .collect();
    headers.remove(http::header::COOKIE);
    for field in fields {
        // Pieces of a header value are one.
        if let Ok(value) = HeaderValue::from_bytes(&field) {
            headers.append(http::header::COOKIE, value);
        }
    }
}

/// For `explain`, which verifies nothing.
pub fn in_words(jwt: &Jwt, request: &RequestView<'_>) -> String {
    let definition = jwt.definition();
    let keys = match &definition.keys {
        crate::model::JwtKeys::Url(source) => format!("one of the keys at {}", source.url),
        crate::model::JwtKeys::File(path) => format!("one of the keys in {}", path.display()),
        crate::model::JwtKeys::SecretFile(path) => format!("the secret in {}", path.display()),
    };
    let seen = match has_token(jwt, request) {
        true => "; whether the one that is there is valid is not looked at here",
        false => "",
    };
    format!("asks for a token signed with {keys}{seen}")
}

/// Whether there is anything that could be a token.
pub fn has_token(jwt: &Jwt, request: &RequestView<'_>) -> bool {
    match &jwt.definition().from {
        TokenSource::Authorization => {
            request.headers.first("authorization").is_some_and(|value| bearer(value).is_some())
        }
        TokenSource::Header(name) => request.headers.first(name).is_some(),
        TokenSource::Cookie(name) => request.cookie(name).is_some(),
        TokenSource::Query(name) => request.query_parameter(name).is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_taken_out_by_its_whole_name() {
        for (target, expected) in [
            ("/a?token=x", Some("/a")),
            ("/a?b=1&token=x&c=2", Some("/a?b=1&c=2")),
            ("/a?token", Some("/a")),
            ("/a?tokens=x", None),
            ("/token=x", None),
        ] {
            assert_eq!(without_parameter(target, "token").as_deref(), expected, "{target}");
        }
    }

    #[test]
    fn a_cookie_is_taken_out_and_the_others_stay() {
        let mut headers = HeaderMap::new();
        headers.insert("cookie", "a=1; token=x.y.z; tokens=2".parse().unwrap());
        remove(&TokenSource::Cookie("token".into()), &mut headers);
        assert_eq!(headers["cookie"], "a=1; tokens=2");
        headers.insert("cookie", "token=x".parse().unwrap());
        remove(&TokenSource::Cookie("token".into()), &mut headers);
        assert!(headers.get("cookie").is_none());
    }

    #[test]
    fn only_a_bearer_token_is_one() {
        assert_eq!(bearer(b"bEARER  a.b.c "), Some(&b"a.b.c"[..]));
        for other in [&b"Basic YTpi"[..], b"Bearer", b"Bearera.b.c", b"", b"a.b.c"] {
            assert_eq!(bearer(other), None);
        }
    }
}
