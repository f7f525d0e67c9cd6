//! `cors`: which other origins' scripts may read answers, as data.
//!
//! ```text
//! Origin of the request ──► CorsOrigins ──► allowed: Access-Control-* of the filter · not: none
//! ```
//!
//! What browsers make of it stands in the Fetch standard (§3.3, "CORS protocol").

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::{Pattern, serialize_duration};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cors {
    pub origins: CorsOrigins,
    /// Which a preflight allows.
    pub methods: Vec<Arc<str>>,
    /// Which fields of a request a preflight allows.
    pub headers: Vec<Arc<str>>,
    /// Which fields of an answer scripts may read beside the few that they may always.
    pub expose: Vec<Arc<str>>,
    pub credentials: Credentials,
    /// How long a browser may remember a preflight's answer.
    #[serde(serialize_with = "serialize_duration")]
    pub max_age: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CorsOrigins {
    /// Every origin. Never with credentials: any site could then act for whoever visits it.
    Any,
    Listed(Vec<OriginPattern>),
}

/// Scheme, host and port, as browsers write them: lowercase, without the scheme's default port. Case is not regarded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OriginPattern {
    /// `https://a.test:8443`
    Exact(Arc<str>),
    /// `https://*.a.test`: one or more labels before the parent, whose port belongs to it.
    Below { scheme: Arc<str>, parent: Arc<str> },
    /// Matches the whole origin.
    Regex(Pattern),
}

impl OriginPattern {
    /// Reads `scheme://host`, `scheme://host:port` and `scheme://*.host`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("\"{text}\" is not an origin; write it as \"https://a.test\" or \"https://*.a.test:8443\"");
        if text.eq_ignore_ascii_case("null") {
            return Err(
                "every sandboxed page has the origin \"null\", whoever wrote it; name the sites that are meant".into(),
            );
        }
        let lower = text.to_ascii_lowercase();
        let (scheme, authority) = lower.split_once("://").ok_or_else(wrong)?;
        if let Some((origin, _)) = authority.split_once('/') {
            return Err(format!("an origin has no path; write \"{scheme}://{origin}\""));
        }
        let authority = without_default_port(scheme, authority);
        let (below, parent) = match authority.strip_prefix("*.") {
            Some(parent) => (true, parent),
            None => (false, authority),
        };
        if !is_scheme(scheme) || !is_authority(parent) {
            return Err(wrong());
        }
        Ok(match below {
            true => OriginPattern::Below { scheme: scheme.into(), parent: parent.into() },
            false => OriginPattern::Exact(format!("{scheme}://{parent}").into()),
        })
    }

    pub fn matches(&self, origin: &str) -> bool {
        match self {
            OriginPattern::Exact(allowed) => allowed.eq_ignore_ascii_case(origin),
            OriginPattern::Below { scheme, parent } => is_below(scheme, parent, origin).unwrap_or(false),
            OriginPattern::Regex(pattern) => pattern.is_match(origin),
        }
    }
}

/// `None`: too short for it, or other bytes than ASCII where it would be split.
fn is_below(scheme: &str, parent: &str, origin: &str) -> Option<bool> {
    let starts = origin.get(..scheme.len())?.eq_ignore_ascii_case(scheme);
    let authority = origin.get(scheme.len()..)?.strip_prefix("://")?;
    let at = authority.len().checked_sub(parent.len())?;
    let ends = authority.get(at..)?.eq_ignore_ascii_case(parent);
    let labels = authority.get(..at)?.strip_suffix('.')?;
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(is_host_byte);
    Some(starts && ends && labels.split('.').all(is_label))
}

/// As browsers write origins: no pattern with it would ever match.
fn without_default_port<'a>(scheme: &str, authority: &'a str) -> &'a str {
    let port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return authority,
    };
    authority.strip_suffix(port).unwrap_or(authority)
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

fn is_authority(text: &str) -> bool {
    if let Some(address) = text.strip_prefix('[') {
        let Some((address, rest)) = address.split_once(']') else { return false };
        let port = rest.strip_prefix(':').map_or(rest.is_empty(), is_port);
        return port && address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(is_host_byte);
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Whether scripts may send cookies and passwords along, and read what comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Credentials {
    Allow,
    Omit,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_matched_whole_with_scheme_and_port() {
        for (pattern, origin, expected) in [
            ("https://a.test", "https://a.test", true),
            ("https://a.test", "HTTPS://A.test", true),
            ("https://A.test:443", "https://a.test", true),
            ("https://a.test", "http://a.test", false),
            ("https://a.test", "https://a.test:8443", false),
            ("https://a.test", "https://a.test.evil", false),
            ("https://a.test:8443", "https://a.test:8443", true),
            ("https://a.test:8443", "https://a.test", false),
            ("app://localhost", "app://localhost", true),
            ("http://[::1]:80", "http://[::1]", true),
        ] {
            assert_eq!(OriginPattern::parse(pattern).unwrap().matches(origin), expected, "{pattern} {origin}");
        }
    }

    #[test]
    fn a_star_stands_for_one_or_more_labels_and_nothing_else() {
        for (pattern, origin, expected) in [
            ("https://*.a.test", "https://b.a.test", true),
            ("https://*.a.test", "https://c.b.A.test", true),
            ("https://*.a.test", "https://a.test", false),
            ("https://*.a.test", "https://.a.test", false),
            ("https://*.a.test", "https://b..a.test", false),
            ("https://*.a.test", "https://evila.test", false),
            ("https://*.a.test", "http://b.a.test", false),
            ("https://*.a.test", "https://b.a.test:8443", false),
            ("https://*.a.test:8443", "https://b.a.test:8443", true),
            ("https://*.a.test", "https://evil.test/.a.test", false),
            ("https://*.a.test", "https://evil.test:1.a.test", false),
            ("https://*.a.test", "https://ä.a.test", false),
            ("https://*.a.test", "null", false),
            ("https://*.a.test", "", false),
        ] {
            assert_eq!(OriginPattern::parse(pattern).unwrap().matches(origin), expected, "{pattern} {origin}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused_with_what_to_write() {
        for (text, words) in [
            ("a.test", "write it as"),
            ("https://a.test/", "write \"https://a.test\""),
            ("https://a*.test", "is not an origin"),
            ("https://a.test:x", "is not an origin"),
            ("https://a.test:0", "is not an origin"),
            ("https://", "is not an origin"),
            ("1a://b", "is not an origin"),
            ("https://*.", "is not an origin"),
            ("null", "sandboxed"),
        ] {
            assert!(OriginPattern::parse(text).unwrap_err().contains(words), "{text}");
        }
    }
}
