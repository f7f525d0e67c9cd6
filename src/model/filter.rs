//! Filters: what is checked, edited or bounded on the way, as data.
//!
//! Each kind is one variant here and one file in `proxy/filters/`. A filter may stand at a listener, a host
//! or a route; of two of one kind the nearest to the route wins, but `allow` and `deny` of all levels hold. Limits may stand several at
//! one level: those of the nearest level that has any hold, all of them. `compile` turns filters into checks, limits, edit lists and
//! body stages, so that neither lane needs to know a kind.

use std::sync::Arc;

use ipnet::IpNet;
use serde::Serialize;

use super::units::ByteSize;
use super::{BasicAuth, Cache, CacheHeaders, Compress, ConcurrencyLimit, Cors, LimitName, RateLimit, RedirectStatus};
use crate::diagnostics::Origin;

#[derive(Clone, Debug, Serialize)]
pub struct Filter {
    #[serde(skip)]
    pub origin: Origin,
    #[serde(flatten)]
    pub kind: FilterKind,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FilterKind {
    /// Plain requests are sent to the same URL over https.
    HttpsRedirect(HttpsRedirect),
    /// Only these clients; others get 403.
    Allow(Vec<IpNet>),
    /// Not these clients; they get 403. Asked before `allow`.
    Deny(Vec<IpNet>),
    /// Which other origins' scripts may read answers.
    Cors(Cors),
    ConcurrencyLimit(ConcurrencyLimit),
    RateLimit(RateLimit),
    /// Who has neither name nor password gets 401.
    BasicAuth(BasicAuth),
    /// Answers are kept for others.
    Cache(Cache),
    /// How long browsers and caches may keep an answer.
    CacheHeaders(CacheHeaders),
    /// Which answers are made smaller on the way.
    Compress(Compress),
    Headers(HeaderEdits),
    SecurityHeaders(SecurityHeaders),
    /// The largest request body; a larger one is answered 413.
    MaxBodySize(ByteSize),
}

/// What counts requests, and is known by a name.
#[derive(Clone, Copy, Debug)]
pub enum Limit<'a> {
    Rate(&'a RateLimit),
    Concurrency(&'a ConcurrencyLimit),
}

impl<'a> Limit<'a> {
    pub fn name(self) -> &'a LimitName {
        match self {
            Limit::Rate(limit) => &limit.name,
            Limit::Concurrency(limit) => &limit.name,
        }
    }
}

impl FilterKind {
    /// The limit that it is, if it is one.
    pub fn limit(&self) -> Option<Limit<'_>> {
        match self {
            FilterKind::RateLimit(limit) => Some(Limit::Rate(limit)),
            FilterKind::ConcurrencyLimit(limit) => Some(Limit::Concurrency(limit)),
            FilterKind::HttpsRedirect(_)
            | FilterKind::Allow(_)
            | FilterKind::Deny(_)
            | FilterKind::Cors(_)
            | FilterKind::BasicAuth(_)
            | FilterKind::Cache(_)
            | FilterKind::CacheHeaders(_)
            | FilterKind::Compress(_)
            | FilterKind::Headers(_)
            | FilterKind::SecurityHeaders(_)
            | FilterKind::MaxBodySize(_) => None,
        }
    }

    /// The key it has in the file.
    pub fn name(&self) -> &'static str {
        match self {
            FilterKind::HttpsRedirect(_) => "https-redirect",
            FilterKind::Allow(_) => "allow",
            FilterKind::Deny(_) => "deny",
            FilterKind::Cors(_) => "cors",
            FilterKind::ConcurrencyLimit(_) => "concurrency-limit",
            FilterKind::RateLimit(_) => "rate-limit",
            FilterKind::BasicAuth(_) => "basic-auth",
            FilterKind::Cache(_) => "cache",
            FilterKind::CacheHeaders(_) => "cache-headers",
            FilterKind::Compress(_) => "compress",
            FilterKind::Headers(_) => "headers",
            FilterKind::SecurityHeaders(_) => "security-headers",
            FilterKind::MaxBodySize(_) => "max-body-size",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HttpsRedirect {
    pub status: RedirectStatus,
    /// The port of the https URL; 443 is left out of it.
    pub port: u16,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HeaderEdits {
    pub request: EditSet,
    pub response: EditSet,
}

/// Applied in this order: remove, set, add.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EditSet {
    /// Replaces every field of that name.
    pub set: Vec<(Arc<str>, HeaderTemplate)>,
    /// Adds a field beside those that are there.
    pub add: Vec<(Arc<str>, HeaderTemplate)>,
    pub remove: Vec<Arc<str>>,
}

/// A header value: text with variables of a small, closed set, as `$client-ip` in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct HeaderTemplate(pub Vec<TemplatePart>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TemplatePart {
    Text(Arc<str>),
    Variable(Variable),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variable {
    ClientIp,
    Host,
    Method,
    Path,
    Scheme,
    RequestId,
}

impl Variable {
    pub const ALL: [(&'static str, Variable); 6] = [
        ("client-ip", Variable::ClientIp),
        ("host", Variable::Host),
        ("method", Variable::Method),
        ("path", Variable::Path),
        ("scheme", Variable::Scheme),
        ("request-id", Variable::RequestId),
    ];
}

impl HeaderTemplate {
    /// Reads `text ${client-ip} text`; `$$` is a dollar sign. Refuses bytes that no header value may have.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(bad) = text.chars().find(|c| c.is_control() && *c != '\t') {
            return Err(format!("a header value cannot hold the control character {bad:?}"));
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            literal.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            if let Some(next) = after.strip_prefix('$') {
                literal.push('$');
                rest = next;
                continue;
            }
            let Some((name, next)) = after.strip_prefix('{').and_then(|a| a.split_once('}')) else {
                return Err("a variable is written \"${name}\", a dollar sign \"$$\"".into());
            };
            let Some((_, variable)) = Variable::ALL.iter().find(|(known, _)| *known == name) else {
                let known: Vec<_> = Variable::ALL.iter().map(|(name, _)| *name).collect();
                return Err(format!("there is no variable \"{name}\"; there are {}", known.join(", ")));
            };
            if !literal.is_empty() {
                parts.push(TemplatePart::Text(std::mem::take(&mut literal).into()));
            }
            parts.push(TemplatePart::Variable(*variable));
            rest = next;
        }
        literal.push_str(rest);
        if !literal.is_empty() || parts.is_empty() {
            parts.push(TemplatePart::Text(literal.into()));
        }
        Ok(Self(parts))
    }
}

/// The preset: each field is set on every answer unless the upstream sent its own; `None` leaves it out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SecurityHeaders {
    /// `Strict-Transport-Security`, on TLS only.
    pub hsts: Option<Arc<str>>,
    pub frame_options: Option<Arc<str>>,
    pub content_type_options: Option<Arc<str>>,
    pub referrer_policy: Option<Arc<str>>,
    pub permissions_policy: Option<Arc<str>>,
    pub content_security_policy: Option<Arc<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_keeps_text_and_finds_variables() {
        let parts = HeaderTemplate::parse("for=${client-ip}; $$5").unwrap().0;
        assert_eq!(parts.len(), 3);
        assert_eq!(parts[1], TemplatePart::Variable(Variable::ClientIp));
        assert_eq!(parts[2], TemplatePart::Text("; $5".into()));
    }

    #[test]
    fn a_template_refuses_what_could_split_a_header() {
        assert!(HeaderTemplate::parse("a\r\nSet-Cookie: b").unwrap_err().contains("control character"));
        assert!(HeaderTemplate::parse("${clientip}").unwrap_err().contains("no variable \"clientip\""));
        assert!(HeaderTemplate::parse("$x").unwrap_err().contains("${name}"));
    }
}
