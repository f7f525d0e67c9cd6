//! Pieces of HTTP: methods, header names and values, statuses, patterns.

use std::sync::Arc;
use std::time::Duration;

use super::quantity::whole;
use super::scalar;
use crate::model::{self, Expires, HeaderTemplate, OriginPattern, Pattern, RedirectStatus, TlsVersion};

scalar! {
    /// A request method, in capitals.
    Method(Arc<str>), "a method, as GET", method,
    { "type": "string", "pattern": "^[A-Z0-9!#$%&'*+.^_`|~-]+$" }
}

scalar! {
    /// The name of a header field.
    HeaderName(Arc<str>), "the name of a header field", header_name,
    { "type": "string", "pattern": "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$" }
}

scalar! {
    /// The value of a header field; `${client-ip}`, `${client-port}`, `${host}`, `${method}`, `${path}`, `${query}`, `${uri}`, `${scheme}`,
    /// `${request-id}`, `${tls-version}`, `${tls-cipher}`, `${user}` and `${header:NAME}` stand for those of the request, `${route}`,
    /// `${upstream}` and `${endpoint}` for where it went, `$$` for a dollar sign. A value that comes out empty is not sent.
    Template(HeaderTemplate), "the value of a header field", HeaderTemplate::parse,
    { "type": "string" }
}

scalar! {
    /// A cipher suite of TLS 1.2, by OpenSSL's name.
    CipherSuite(model::CipherSuite), "a cipher suite", model::CipherSuite::parse,
    { "type": "string" }
}

scalar! {
    /// The value of a header field.
    HeaderValue(Arc<str>), "the value of a header field", header_value,
    { "type": "string" }
}

scalar! {
    /// A regular expression, as the Rust `regex` crate reads them: in linear time, without look-around and back-references.
    Regex(Pattern), "a regular expression", regex,
    { "type": "string", "format": "regex" }
}

scalar! {
    /// An origin, as `https://a.test` or `https://*.a.test:8443`; `"*"` is every one.
    CorsOrigin(Option<OriginPattern>), "an origin, as https://a.test", cors_origin,
    { "type": "string", "pattern": "^([*]|[A-Za-z][A-Za-z0-9+.-]*://[^/]+)$" }
}

scalar! {
    /// A regular expression for whole origins, as the Rust `regex` crate reads them.
    OriginRegex(OriginPattern), "a regular expression", origin_regex,
    { "type": "string", "format": "regex" }
}

scalar! {
    /// A content type without parameters, as `text/html`, or a range of them as `image/*`.
    MediaRange(model::MediaRange), "a content type, as image/*", model::MediaRange::parse,
    { "type": "string", "pattern": "^[^/;]+/([^/;]+|[*])$" }
}

scalar! {
    /// A content type, as `text/plain; charset=utf-8`.
    MediaType(Arc<str>), "a content type, as text/plain", media_type,
    { "type": "string", "pattern": "^[^/; ]+/[^/; ]+" }
}

scalar! {
    /// What follows the last dot of a file's name, without it.
    Extension(Arc<str>), "an extension, as js", extension,
    { "type": "string", "pattern": "^[^./]+$" }
}

scalar! {
    /// How much later, as `30d` or `1y` (365 days), or `off`.
    Expiry(Expires), "a duration, as 30d, or off", expiry,
    { "type": "string", "pattern": "^(off|[0-9]+y|([0-9]+(ms|s|m|h|d|w))+)$" }
}

scalar! {
    /// The status of an answer, 200 to 599.
    Status(u16), "a status from 200 to 599", status,
    { "type": "integer", "minimum": 200, "maximum": 599 }
}

scalar! {
    /// The status of a refusal, 400 to 599.
    RefusalStatus(u16), "a status from 400 to 599", refusal_status,
    { "type": "integer", "minimum": 400, "maximum": 599 }
}

scalar! {
    /// The status of a redirect: 301 and 308 are permanent; 307 and 308 keep the method.
    RedirectCode(RedirectStatus), "a redirect status", redirect_code,
    { "enum": [301, 302, 303, 307, 308] }
}

scalar! {
    /// A status, or a range of them as `200-399`.
    StatusRange(model::StatusRange), "a status, as 200, or a range, as 200-399", status_range,
    { "anyOf": [
        { "type": "integer", "minimum": 100, "maximum": 599 },
        { "type": "string", "pattern": "^[1-5][0-9]{2}(-[1-5][0-9]{2})?$" }
    ] }
}

scalar! {
    /// The status of an error, or several, as `404`, `500-504` or `5xx`.
    ErrorStatusRange(model::StatusRange), "the status of an error, as 404, 5xx or 500-504", error_status_range,
    { "anyOf": [
        { "type": "integer", "minimum": 400, "maximum": 599 },
        { "type": "string", "pattern": "^[45](xx|[0-9]{2}(-[45][0-9]{2})?)$" }
    ] }
}

scalar! {
    /// A status from 200 to 599, or `upstream`.
    PageStatus(model::PageStatus), "a status from 200 to 599, or upstream", page_status,
    { "anyOf": [{ "const": "upstream" }, { "type": "integer", "minimum": 200, "maximum": 599 }] }
}

scalar! {
    /// What is tried again: `connect` (no connection), `reset` (it broke before an answer), `timeout` (the read timeout passed
    /// before an answer), or a status from 500 to 599.
    RetryOn(model::RetryOn), "connect, reset, timeout or a status", retry_on,
    { "anyOf": [{ "enum": ["connect", "reset", "timeout"] }, { "type": "integer", "minimum": 500, "maximum": 599 }] }
}

scalar! {
    /// A version of TLS: `1.2` or `1.3`.
    TlsMinVersion(TlsVersion), "1.2 or 1.3", tls_version,
    { "enum": ["1.2", "1.3", 1.2, 1.3] }
}

scalar! {
    /// The name of a cookie.
    CookieName(Arc<str>), "the name of a cookie", cookie_name,
    { "type": "string", "pattern": "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$" }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn method(text: &str) -> Result<Arc<str>, String> {
    if !is_token(text) {
        return Err(format!("\"{text}\" is not a method; write one as GET or POST"));
    }
    match text.to_ascii_uppercase() {
        capitals if capitals == text => Ok(text.into()),
        capitals => Err(format!("methods are told apart by case; write \"{capitals}\"")),
    }
}

pub fn header_name(text: &str) -> Result<Arc<str>, String> {
    match is_token(text) {
        true => Ok(text.into()),
        false => Err(format!(
            "\"{text}\" is not the name of a header field; letters, digits and hyphens make one (RFC 9110 §5.1)"
        )),
    }
}

fn header_value(text: &str) -> Result<Arc<str>, String> {
    match text.chars().find(|c| c.is_control() && *c != '\t') {
        None => Ok(text.into()),
        Some(bad) => Err(format!("a header value cannot hold the control character {bad:?}")),
    }
}

fn regex(text: &str) -> Result<Pattern, String> {
    Pattern::parse(text).map_err(|error| {
        // The crate draws the pattern over several lines; its last line is the reason.
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
        format!("\"{}\" is not a regular expression: {reason}", crate::sources::config::tree::abridged(text))
    })
}

fn media_type(text: &str) -> Result<Arc<str>, String> {
    header_value(text)?;
    let (essence, _) = text.split_once(';').unwrap_or((text, ""));
    match model::MediaRange::parse(essence.trim_end()) {
        Ok(range) if range.to_string().ends_with("/*") => Err(format!("\"{text}\" is a range of types; write one")),
        Ok(_) => Ok(text.into()),
        Err(_) => Err(format!("\"{text}\" is not a content type; write it as \"text/plain; charset=utf-8\"")),
    }
}

pub fn extension(text: &str) -> Result<Arc<str>, String> {
    if let Some(bare) = text.strip_prefix("*.").or(text.strip_prefix('.'))
        && !bare.is_empty()
    {
        return Err(format!("an extension is written without its dot; write \"{bare}\""));
    }
    match text.is_empty() || text.contains(['.', '/', '*']) {
        true => Err(format!("\"{text}\" is not an extension; write what follows the last dot of a name, as \"js\"")),
        false => Ok(text.to_ascii_lowercase().into()),
    }
}

/// nginx's year has 365 days.
fn expiry(text: &str) -> Result<Expires, String> {
    const YEAR: u64 = 365 * 86_400;
    const MOST_YEARS: u64 = 100;
    if text == "off" {
        return Ok(Expires::Off);
    }
    match text.strip_suffix('y').map(whole::<u64>) {
        Some(Some(years)) if years <= MOST_YEARS => Ok(Expires::After(Duration::from_secs(years * YEAR))),
        Some(_) => Err(format!("\"{text}\" is not a duration; write it as \"30d\" or \"1y\"")),
        None => model::parse_duration(text).map(Expires::After),
    }
}

fn cors_origin(text: &str) -> Result<Option<OriginPattern>, String> {
    match text {
        "*" => Ok(None),
        _ => OriginPattern::parse(text).map(Some),
    }
}

/// A pattern that was searched for would let in every site that can put it into its name.
fn origin_regex(text: &str) -> Result<OriginPattern, String> {
    regex(text)?;
    regex(&format!("^(?:{text})$")).map(OriginPattern::Regex)
}

fn status(text: &str) -> Result<u16, String> {
    whole(text)
        .filter(|status| (200..=599).contains(status))
        .ok_or_else(|| format!("\"{text}\" is not the status of an answer; write a number from 200 to 599"))
}

fn refusal_status(text: &str) -> Result<u16, String> {
    whole(text)
        .filter(|status| (400..=599).contains(status))
        .ok_or_else(|| format!("\"{text}\" is not the status of a refusal; write a number from 400 to 599"))
}

fn redirect_code(text: &str) -> Result<RedirectStatus, String> {
    whole(text)
        .and_then(RedirectStatus::from_code)
        .ok_or_else(|| format!("\"{text}\" is not the status of a redirect; write 301, 302, 303, 307 or 308"))
}

fn status_range(text: &str) -> Result<model::StatusRange, String> {
    let wrong = || format!("\"{text}\" is not a status; write it as 200, or a range as \"200-399\"");
    let one = |text: &str| whole(text).filter(|status| (100..=599).contains(status)).ok_or_else(wrong);
    let (from, to) = match text.split_once('-') {
        Some((from, to)) => (one(from)?, one(to)?),
        None => (one(text)?, one(text)?),
    };
    match from <= to {
        true => Ok(model::StatusRange { from, to }),
        false => Err(format!("the range \"{text}\" is empty; write \"{to}-{from}\"")),
    }
}

fn error_status_range(text: &str) -> Result<model::StatusRange, String> {
    match text {
        "4xx" => Ok(model::StatusRange { from: 400, to: 499 }),
        "5xx" => Ok(model::StatusRange { from: 500, to: 599 }),
        _ => match status_range(text) {
            Ok(range) if range.from >= 400 => Ok(range),
            _ => Err(format!("\"{text}\" is not the status of an error; write it as 404, 5xx or 500-504")),
        },
    }
}

fn page_status(text: &str) -> Result<model::PageStatus, String> {
    match (text, whole(text)) {
        ("upstream", _) => Ok(model::PageStatus::OfThePage),
        (_, Some(204 | 304)) => Err(format!("an answer of status {text} has no body (RFC 9110 §6.4.1)")),
        (_, Some(status)) if (200..=599).contains(&status) => Ok(model::PageStatus::Replaced(status)),
        _ => Err(format!("\"{text}\" is not the status of an answer; write a number from 200 to 599, or upstream")),
    }
}

fn retry_on(text: &str) -> Result<model::RetryOn, String> {
    match text {
        "connect" => Ok(model::RetryOn::Connect),
        "reset" => Ok(model::RetryOn::Reset),
        "timeout" => Ok(model::RetryOn::Timeout),
        _ => match whole(text) {
            Some(status) if (500..=599).contains(&status) => Ok(model::RetryOn::Status(status)),
            _ => Err(format!(
                "\"{text}\" is nothing to try again on; write connect, reset, timeout or a status from 500 to 599"
            )),
        },
    }
}

fn tls_version(text: &str) -> Result<TlsVersion, String> {
    match text {
        "1.2" => Ok(TlsVersion::V1_2),
        "1.3" => Ok(TlsVersion::V1_3),
        "1.0" | "1.1" => Err(format!("TLS {text} is withdrawn (RFC 8996); write \"1.2\" or \"1.3\"")),
        _ => Err(format!("\"{text}\" is not a version of TLS; write \"1.2\" or \"1.3\"")),
    }
}

pub fn cookie_name(text: &str) -> Result<Arc<str>, String> {
    match is_token(text) {
        true => Ok(text.into()),
        false => Err(format!("\"{text}\" is not the name of a cookie; letters, digits and hyphens make one")),
    }
}
