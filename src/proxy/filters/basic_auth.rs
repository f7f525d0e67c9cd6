//! `basic-auth`: a name and a password (RFC 7617).
//!
//! ```text
//! Authorization ──► name, password ──► passwords::Checks ──► the user's name · 401 · 503 where too many wait
//! ```
//!
//! nginx's order: it comes after the limits, so that they bound how fast passwords can be guessed.

use std::sync::Arc;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue};

use super::Verdict;
use crate::passwords::{Checks, TooMany};
use crate::snapshot::basic_auth::BasicAuth;

/// Some clients leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Who it is, or what is said to whom is nobody.
pub async fn run(auth: &BasicAuth, checks: &Checks, headers: &HeaderMap) -> Result<Arc<str>, Verdict> {
    let Some((name, password)) = credentials(headers) else { return Err(unknown(auth)) };
    match checks.verify(&auth.users, &name, &password).await {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(unknown(auth)),
        Err(TooMany) => Err(Verdict::Refuse {
            status: 503,
            detail: "too many passwords wait to be checked: try again later",
            fields: vec![(RETRY_AFTER, HeaderValue::from_static("1"))],
        }),
    }
}

fn unknown(auth: &BasicAuth) -> Verdict {
    Verdict::Refuse {
        status: 401,
        detail: "a name and a password are needed here",
        fields: vec![(WWW_AUTHENTICATE, auth.challenge.clone())],
    }
}

/// `None`: there are none, or two.
fn credentials(headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return None };
    let (scheme, token) = field.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let mut name = BASE64.decode(token.trim()).ok()?;
    let colon = name.iter().position(|byte| *byte == b':')?;
    let password = name.split_off(colon + 1);
    name.truncate(colon);
    Some((String::from_utf8(name).ok()?, password))
}

/// For `explain`, which knows no passwords.
pub fn in_words(headers: &dyn crate::snapshot::request::HeaderFields) -> &'static str {
    match headers.first(AUTHORIZATION.as_str()) {
        None => "asks for a name and a password",
        Some(_) => "asks for a name and a password; whether these are right is not looked at here",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> Option<(String, Vec<u8>)> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        credentials(&headers)
    }

    #[test]
    fn a_name_ends_at_the_first_colon_and_the_scheme_has_no_case() {
        let expected = Some(("ann".to_owned(), b"a:b".to_vec()));
        assert_eq!(of(&["Basic YW5uOmE6Yg=="]), expected);
        assert_eq!(of(&["bASIC   YW5uOmE6Yg"]), expected);
        assert_eq!(of(&["Basic YW5uOg=="]), Some(("ann".into(), Vec::new())));
    }

    #[test]
    fn what_is_no_name_and_password_is_none() {
        for wrong in ["Basic", "Basic ", "Bearer YW5uOmE6Yg==", "Basic YW5u", "Basic ???", "Basic /zph", "YW5uOmE6Yg=="]
        {
            assert_eq!(of(&[wrong]), None, "{wrong}");
        }
        assert_eq!(of(&["Basic YW5uOmE6Yg==", "Basic YW5uOmE6Yg=="]), None);
        assert_eq!(of(&[]), None);
    }
}
