//! What `jwt` holds: algorithms, claims, and where keys are.

use std::sync::Arc;

use super::scalar;
use crate::model;
use crate::sources::config::tree::abridged;

scalar! {
    /// A URL, with http or https, or a file; a relative path begins at the folder of the configuration file.
    UrlOrFile(Arc<str>), "a URL or the path of a file", url_or_file,
    { "type": "string", "minLength": 1 }
}

scalar! {
    /// How tokens are signed, as `ES256`.
    JwtAlgorithm(model::JwtAlgorithm), "an algorithm, as ES256", algorithm,
    { "enum": ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512"] }
}

scalar! {
    /// The name of a claim; dots lead to what is nested.
    ClaimName(Arc<str>), "the name of a claim", claim,
    { "type": "string", "minLength": 1 }
}

scalar! {
    /// The value of a claim, as a text.
    ClaimValue(Arc<str>), "the value of a claim", claim,
    { "type": ["string", "number", "boolean"] }
}

scalar! {
    /// The name of a parameter of the query.
    ParameterName(Arc<str>), "the name of a parameter", parameter,
    { "type": "string", "pattern": "^[A-Za-z0-9._~-]+$" }
}

fn url_or_file(text: &str) -> Result<Arc<str>, String> {
    match text.contains("://") {
        true => crate::model::acme_words::url(text),
        false if text.is_empty() => Err("neither a URL nor the path of a file can be empty".into()),
        false => Ok(text.into()),
    }
}

fn algorithm(text: &str) -> Result<model::JwtAlgorithm, String> {
    if text.eq_ignore_ascii_case("none") {
        return Err("a token that is not signed could be anybody's; write how it is signed, as ES256".into());
    }
    model::JwtAlgorithm::named(text).ok_or_else(|| {
        let known: Vec<_> = model::JwtAlgorithm::ALL.iter().map(|(name, _)| *name).collect();
        format!("there is no algorithm \"{}\"; there are {}", abridged(text), known.join(", "))
    })
}

fn claim(text: &str) -> Result<Arc<str>, String> {
    if text.is_empty() { Err("a claim cannot be empty".into()) } else { Ok(text.into()) }
}

fn parameter(text: &str) -> Result<Arc<str>, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_plain) {
        true => Ok(text.into()),
        false => Err(format!(
            "\"{}\" cannot name a parameter of a query; use letters, digits, hyphens, dots and underscores",
            abridged(text)
        )),
    }
}
