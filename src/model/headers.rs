//! `headers`: edits of header fields, and the variables that their values may hold, as data.

use std::sync::Arc;

use serde::Serialize;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HeaderEdits {
    pub request: EditSet,
    pub response: EditSet,
    /// Of the answers whose response is edited.
    pub statuses: EditedStatuses,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EditedStatuses {
    #[default]
    All,
    /// Those to which nginx's `add_header` adds without `always`.
    Success,
}

impl EditedStatuses {
    pub fn contain(self, status: u16) -> bool {
        match self {
            EditedStatuses::All => true,
            EditedStatuses::Success => matches!(status, 200 | 201 | 204 | 206 | 301..=304 | 307 | 308),
        }
    }
}

/// Applied in this order: remove, set, add, append.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EditSet {
    /// Replaces every field of that name.
    pub set: Vec<(Arc<str>, HeaderTemplate)>,
    /// Adds a field beside those that are there.
    pub add: Vec<(Arc<str>, HeaderTemplate)>,
    /// Joins a value to the list that is there, by a comma.
    pub append: Vec<(Arc<str>, HeaderTemplate)>,
    pub remove: Vec<Arc<str>>,
}

/// A header value: text with variables of a small, closed set, as `${client-ip}` in the file. One that
/// comes out empty is not sent, as in nginx.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct HeaderTemplate(pub Vec<TemplatePart>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TemplatePart {
    Text(Arc<str>),
    Variable(Variable),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variable {
    ClientIp,
    /// Empty behind a trusted proxy: the port is the proxy's.
    ClientPort,
    Host,
    Method,
    /// Normalized: decoded, without the query.
    Path,
    /// Without the question mark.
    Query,
    /// Path and query, as they came.
    Uri,
    Scheme,
    RequestId,
    Route,
    Upstream,
    /// The address that the request was sent to.
    Endpoint,
    TlsVersion,
    TlsCipher,
    /// Whose password was right.
    User,
    /// A field of the request, by its name in lowercase.
    Header(Arc<str>),
}

impl Variable {
    pub const ALL: [(&'static str, Variable); 15] = [
        ("client-ip", Variable::ClientIp),
        ("client-port", Variable::ClientPort),
        ("host", Variable::Host),
        ("method", Variable::Method),
        ("path", Variable::Path),
        ("query", Variable::Query),
        ("uri", Variable::Uri),
        ("scheme", Variable::Scheme),
        ("request-id", Variable::RequestId),
        ("route", Variable::Route),
        ("upstream", Variable::Upstream),
        ("endpoint", Variable::Endpoint),
        ("tls-version", Variable::TlsVersion),
        ("tls-cipher", Variable::TlsCipher),
        ("user", Variable::User),
    ];

    fn parse(name: &str) -> Result<Self, String> {
        if let Some(header) = name.strip_prefix("header:") {
            let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            return match !header.is_empty() && header.bytes().all(is_token) {
                true => Ok(Variable::Header(header.to_ascii_lowercase().into())),
                false => Err(format!("\"{header}\" is not the name of a header field")),
            };
        }
        let known = || Self::ALL.into_iter();
        known().find(|(known, _)| *known == name).map(|(_, variable)| variable).ok_or_else(|| {
            let known: Vec<_> = known().map(|(name, _)| name).collect();
            format!("there is no variable \"{name}\"; there are {} and header:NAME", known.join(", "))
        })
    }
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
            let variable = Variable::parse(name)?;
            if !literal.is_empty() {
                parts.push(TemplatePart::Text(std::mem::take(&mut literal).into()));
            }
            parts.push(TemplatePart::Variable(variable));
            rest = next;
        }
        literal.push_str(rest);
        if !literal.is_empty() || parts.is_empty() {
            parts.push(TemplatePart::Text(literal.into()));
        }
        Ok(Self(parts))
    }
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
        let parts = HeaderTemplate::parse("${header:X-In}${uri}").unwrap().0;
        assert_eq!(parts, [Variable::Header("x-in".into()), Variable::Uri].map(TemplatePart::Variable));
    }

    #[test]
    fn a_template_refuses_what_could_split_a_header() {
        assert!(HeaderTemplate::parse("a\r\nSet-Cookie: b").unwrap_err().contains("control character"));
        assert!(HeaderTemplate::parse("${clientip}").unwrap_err().contains("no variable \"clientip\""));
        assert!(HeaderTemplate::parse("${header:a b}").unwrap_err().contains("\"a b\" is not the name"));
        assert!(HeaderTemplate::parse("$x").unwrap_err().contains("${name}"));
    }
}
