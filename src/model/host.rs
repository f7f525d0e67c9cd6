//! A virtual host: the names it answers to and its routes.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::{Filter, HostTls, ListenerName, Route};
use crate::diagnostics::Origin;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VirtualHost {
    pub origin: Origin,
    pub names: Vec<HostName>,
    /// The listeners it is served on; empty: all.
    pub listeners: Vec<ListenerName>,
    pub tls: HostTls,
    /// Apply to every route of this host, after the listener's filters and before the route's.
    pub filters: Vec<Filter>,
    pub patterns: PatternOrder,
    pub routes: Vec<Route>,
}

/// In which order a host's patterns are asked, where several take a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PatternOrder {
    /// The one with the longer literal beginning first.
    #[default]
    Narrowest,
    /// As they stand in the list, as nginx does.
    Listed,
}

/// What a virtual host answers to. Lowercase, without port and trailing dot.
/// Precedence: exact, then the longest wildcard, then the catch-all.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostName {
    Exact(Arc<str>),
    /// `*.example.org`, kept as `example.org`: any one label or more before it.
    Wildcard(Arc<str>),
    /// `*.example.org` as Kubernetes has it, kept as `example.org`: exactly one label before it. Comes before a wildcard of the
    /// same name.
    OneLabel(Arc<str>),
    /// `*`
    CatchAll,
}

impl HostName {
    /// Reads `example.org`, `*.example.org`, `*`, an IPv4 address or an IPv6 address in brackets.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::CatchAll);
        }
        let (wildcard, name) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        check_name(text, &name)?;
        let name = canonical(name);
        Ok(if wildcard { Self::Wildcard(name.into()) } else { Self::Exact(name.into()) })
    }
}

/// An IPv6 address has many spellings; requests are brought to the same one.
fn canonical(name: String) -> String {
    match name.trim_matches(['[', ']']).parse::<std::net::Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => name,
    }
}

fn check_name(text: &str, name: &str) -> Result<(), String> {
    if let Some(inner) = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')) {
        return match inner.parse::<std::net::Ipv6Addr>() {
            Ok(_) => Ok(()),
            Err(_) => Err(format!("\"{text}\" is not an IPv6 address in brackets")),
        };
    }
    if name.contains("://") || name.contains('/') {
        return Err(format!("\"{text}\" is not a host name; write the name alone, without scheme and path"));
    }
    if name.contains(':') {
        return Err(format!("\"{text}\" is not a host name; write it without the port, every port is matched"));
    }
    if name.contains('*') {
        return Err(format!(
            "\"{text}\" is not a host name; a wildcard stands alone as the first label, as in \"*.example.org\""
        ));
    }
    if !name.is_ascii() {
        return Err(format!("\"{text}\" is not a host name; write an international name in its ASCII form (xn--…)"));
    }
    let label_is_good = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if name.is_empty() || name.len() > 253 || !name.split('.').all(label_is_good) {
        return Err(format!("\"{text}\" is not a host name"));
    }
    Ok(())
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostName::Exact(name) => f.write_str(name),
            HostName::Wildcard(name) | HostName::OneLabel(name) => write!(f, "*.{name}"),
            HostName::CatchAll => f.write_str("*"),
        }
    }
}

impl Serialize for HostName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lowered_and_lose_the_trailing_dot() {
        assert_eq!(HostName::parse("Example.ORG.").unwrap(), HostName::Exact("example.org".into()));
        assert_eq!(HostName::parse("*.Example.org").unwrap(), HostName::Wildcard("example.org".into()));
        assert_eq!(HostName::parse("*").unwrap(), HostName::CatchAll);
        assert_eq!(HostName::parse("[2001:DB8:0::1]").unwrap(), HostName::Exact("[2001:db8::1]".into()));
    }

    #[test]
    fn what_is_no_host_name_is_refused_with_the_mend() {
        assert!(HostName::parse("https://a.test").unwrap_err().contains("without scheme"));
        assert!(HostName::parse("a.test:80").unwrap_err().contains("without the port"));
        assert!(HostName::parse("a.*.test").unwrap_err().contains("wildcard"));
        assert!(HostName::parse("").is_err());
        assert!(HostName::parse("a..b").is_err());
    }
}
